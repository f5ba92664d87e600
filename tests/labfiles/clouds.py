"""Clouds made by chance, of everything that a lab file can say."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from emulator.cloud.account import Cloud
from emulator.errors import RequestRefused
from emulator.providers import profile

TABLES = (
    *("vpcs", "subnets", "cvms", "enis", "groups", "acls", "templates", "flow_logs", "route_tables", "eips"),
    *("internet_gateways", "nat_gateways", "peerings", "ccns", "internet_hosts"),
)


def random_cloud(name: str, dice: random.Random, requests: int) -> Cloud:
    """A cloud after so many requests, those among them that were refused left out."""
    cloud = Cloud(profile(name))
    regions = cloud.profile.regions[:2]
    choose, pick = dice.choice, lambda table: dice.choice([*table] or ["nothing"])

    def named() -> str | None:
        return choose([None, "web", "db", "a.b", "sg 1", f"n{dice.randrange(50)}"])

    def rule(owner: str) -> None:
        direction, action, protocol = choose(["ingress", "egress"]), choose(["allow", "deny"]), choose(["tcp", 17, 89])
        said: dict[str, Any] = {"protocol": choose([None, protocol])}
        if said["protocol"] in ("tcp", 17):
            said["port"] = choose([None, 443, "80,8000-8100", pick(cloud.templates)])
        said["cidr"] = choose([None, "10.1.0.0/16", "2001:db8::/32", pick(cloud.groups), pick(cloud.templates)])
        if dice.random() < 0.3:
            said["priority"] = dice.randint(0, 3)
        if dice.random() < 0.2:
            said |= {"source_port": "1000-2000", "local_cidr": "10.1.0.0/16", "protocol": "tcp"}
        cloud.add_rule(owner, direction, action, **said)

    def remove_rule() -> None:
        owner = choose([*cloud.groups.values(), *cloud.acls.values()])
        cloud.remove_rule(owner.id, choose(owner.rules).id)

    def template() -> None:
        kinds = {
            "prefix_list": ["10.2.0.0/16"],
            "port_list": ["22", "8000-8100"],
            "address_template": ["10.0.0.1", "10.0.0.2-10.0.0.9"],
            "service_template": ["TCP:80,443"],
            "address_group": [pick(cloud.templates)],
            "service_group": [pick(cloud.templates)],
        }
        kind = choose([*kinds])
        most = choose([None, 9]) if cloud.profile.provider == "alibaba" else None
        cloud.create_template(kind, kinds[kind], name=named(), max_entries=most)

    def vpc() -> None:
        made = cloud.create_vpc(
            f"10.{dice.randrange(4)}.0.0/16",
            name=named(),
            region=choose(regions),
            ipv6_cidr=choose([None, True]),
        )
        cloud.create_subnet(made.id, str(made.cidr).replace(".0.0/16", ".1.0/24"))

    def subnet() -> None:
        one = choose([*cloud.vpcs.values()])
        block = str(one.cidr).replace(".0.0/16", f".{dice.randrange(2, 9)}.0/24")
        broadcast = cloud.profile.subnet_broadcast and dice.random() < 0.3
        cloud.create_subnet(one.id, block, name=named(), broadcast=broadcast, ipv6_cidr=choose([None, True]))

    def bound() -> list[str] | None:
        return choose([None, None, [pick(cloud.groups)]])

    def host() -> None:
        ip = choose([None, f"8.8.{dice.randrange(9)}.8"])
        cloud.create_internet_host(name=named(), region=choose(regions), ip=ip)

    def flow_log() -> None:
        resource = pick([*cloud.vpcs, *cloud.subnets, *cloud.enis, *cloud.ccns])
        cloud.create_flow_log(
            resource,
            topic_id=choose(["one", "two"]),
            now_s=dice.randrange(10**9),
            name=choose([None, f"log{dice.randrange(99)}"]),
            traffic=choose(["ALL", "REJECT"]),
            tags=choose([None, {"team": "blue"}]),
            region=choose([None, None, *regions]),
        )

    everything: list[Callable[[], object]] = [
        vpc,
        subnet,
        template,
        host,
        flow_log,
        remove_rule,
        lambda: rule(pick([*cloud.groups, *cloud.acls])),
        lambda: rule(pick([*cloud.groups, *cloud.acls])),
        lambda: cloud.create_group(
            pick(cloud.vpcs), name=named(), type=choose([None, "enterprise"]), inner_access=choose([None, "drop"])
        ),
        lambda: cloud.create_acl(pick(cloud.vpcs), name=named(), type=choose([None, "quintuple"])),
        lambda: cloud.associate_acl(pick(cloud.acls), pick(cloud.subnets)),
        lambda: cloud.create_cvm(pick(cloud.subnets), name=named(), groups=bound(), ipv6=choose([None, True])),
        lambda: cloud.create_cvm(pick(cloud.subnets), name=named(), private_ip=f"10.1.1.{dice.randrange(99)}"),
        lambda: cloud.create_eni(pick(cloud.subnets), name=named(), groups=bound()),
        lambda: cloud.attach_eni(pick(cloud.enis), pick(cloud.cvms)),
        lambda: cloud.assign_address(pick(cloud.enis)),
        lambda: cloud.assign_ipv6_addresses(pick(cloud.enis), 1),
        lambda: cloud.create_route_table(pick(cloud.vpcs), name=named()),
        lambda: cloud.associate_route_table(pick(cloud.route_tables), pick(cloud.subnets)),
        lambda: cloud.add_route(
            pick(cloud.route_tables),
            choose(["0.0.0.0/0", "10.2.0.0/16", "10.3.0.0/16", "192.168.0.0/16"]),
            pick([*cloud.nat_gateways, *cloud.internet_gateways, *cloud.peerings, *cloud.ccns]),
        ),
        lambda: cloud.create_nat_gateway(pick(cloud.vpcs), name=named()),
        lambda: cloud.create_internet_gateway(pick(cloud.vpcs), name=named()),
        lambda: cloud.allocate_eip(name=named(), region=choose(regions)),
        lambda: cloud.associate_eip(pick(cloud.eips), pick([*cloud.nat_gateways, *cloud.cvms, *cloud.enis])),
        lambda: cloud.release_eip(pick(cloud.eips)),
        lambda: cloud.add_snat_entry(pick(cloud.nat_gateways), pick(cloud.subnets)),
        lambda: cloud.add_port_forward(
            pick(cloud.nat_gateways), "tcp", pick(cloud.eips), 80 + dice.randrange(9), "10.1.1.9"
        ),
        lambda: cloud.create_peering(
            pick(cloud.vpcs), pick(cloud.vpcs), name=named(), bandwidth_mbps=choose([None, 10, 0.5])
        ),
        lambda: cloud.create_ccn(name=named()),
        lambda: cloud.attach_vpc(pick(cloud.ccns), pick(cloud.vpcs)),
        lambda: cloud.set_ccn_bandwidth(pick(cloud.ccns), regions[0], regions[-1], choose([5, None])),
        lambda: cloud.set_flow_log_enabled(pick(cloud.flow_logs), False),
        lambda: cloud.delete_cvm(pick(cloud.cvms)),
        lambda: cloud.delete_group(pick(cloud.groups)),
        lambda: cloud.delete_subnet(pick(cloud.subnets)),
    ]
    vpc()  # what all else needs
    for _ in range(requests):
        with suppress(RequestRefused, IndexError):
            choose(everything)()
    for log in list(cloud.flow_logs.values()):  # which no request makes again
        eni = cloud.enis.get(log.resource_id)
        if cloud.profile.idle_eni_refused and eni is not None and eni.cvm_id is None:
            cloud.delete_flow_log(log.id)
    return cloud


def contents(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """All objects by kind and id; numbers of rules, which only mean something within a lab, and the order of routes,
    of which the longest counts, left out."""
    told = {table: dict(getattr(cloud, table)) for table in TABLES}
    for table in ("groups", "acls"):
        for id, owner in told[table].items():
            told[table][id] = replace(owner, rules=tuple(replace(rule, number=0) for rule in owner.rules))
    for id, table in told["route_tables"].items():
        told["route_tables"][id] = replace(table, routes=tuple(sorted(table.routes, key=lambda route: route.cidr)))
    return told
