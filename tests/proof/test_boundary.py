"""Packets at the edges of rules: what is derived is what the reference takes for an edge, and the kernel agrees."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

import pytest
from boundary import Edge, edges
from ground import Ground

from emulator.cloud.account import Cloud
from emulator.cloud.model import Address, Rule
from emulator.cloud.verdict import Judge, Packet
from emulator.providers import profile

PROFILES = ("tencent", "alibaba")
HERE = IPv4Address("10.16.16.22")
OTHER = IPv4Address("10.16.3.9")
MEMBERS = ("10.16.5.5", "10.16.5.6", "10.16.5.9")
BLOCK6, HERE6, OTHER6 = "2001:db8:0:1600::/56", ip_address("2001:db8:0:1610::16"), ip_address("2001:db8:0:1600::3:9")
MEMBERS6 = ("2001:db8:0:1600::5:5", "2001:db8:0:1600::5:6", "2001:db8:0:1600::5:9")

# derivation ------------------------------------------------------------------------------------------


def rule(**said: Any) -> Rule:
    return Rule(1, "r", said.pop("direction", "ingress"), "allow", **said)


CLOUD = Cloud(profile("tencent"))
LIST = CLOUD.create_template("address_template", ["10.16.4.9", "10.16.4.20-10.16.4.30"]).id
SERVICES = CLOUD.create_template("service_template", ["TCP:80-90", "UDP:53", "ICMP"]).id


def lines(found: Iterator[Edge]) -> set[tuple[str, bool]]:
    return {(edge.what, edge.inside) for edge in found}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(rule(), {("the middle", True)}, id="everything"),
        pytest.param(
            rule(peer=IPv4Network("10.16.4.0/24")),
            {
                ("the middle", True),
                *((f"src 10.16.{end}", True) for end in ("4.0", "4.1", "4.254", "4.255")),
                *((f"src 10.16.{end}", False) for end in ("3.255", "5.0")),
            },
            id="a network",
        ),
        pytest.param(
            rule(peer=IPv4Network("0.0.0.0/0"), direction="egress"),
            {("the middle", True), *((f"dst {end}", True) for end in ("0.0.0.0", "0.0.0.1", "255.255.255.254"))}
            | {("dst 255.255.255.255", True)},
            id="anywhere",
        ),
        pytest.param(
            rule(protocol=17, ports=((1, 1), (53, 60))),
            {("the middle", True), ("protocol 16", False), ("protocol 18", False)}
            | {(f"port {port}", True) for port in (1, 53, 54, 59, 60)}
            | {(f"port {port}", False) for port in (0, 2, 52, 61)},
            id="ports",
        ),
        pytest.param(
            rule(protocol=0), {("the middle", True), ("protocol 1", False)}, id="the first protocol"
        ),
        pytest.param(
            rule(protocol=6, source_ports=((65_535, 65_535),), local=IPv4Network("10.16.16.22/32")),
            {("the middle", True), ("protocol 5", False), ("protocol 7", False)}
            | {("source port 65534", False), ("source port 65535", True)},
            id="source ports, and this side",
        ),
        pytest.param(rule(local=IPv4Network("10.16.16.23/32")), {("the middle", False)}, id="this side is another"),
        pytest.param(
            rule(peer=LIST, direction="egress"),
            {("the middle", True)}
            | {(f"dst 10.16.4.{end}", True) for end in (9, 20, 21, 29, 30)}
            | {(f"dst 10.16.4.{end}", False) for end in (8, 10, 19, 31)},
            id="a list",
        ),
        pytest.param(
            rule(service=SERVICES),
            {("the middle", True)}
            | {(f"protocol {number}", False) for number in (0, 2, 5, 7, 16, 18)}
            | {(f"port {port}", True) for port in (80, 81, 89, 90, 53)}
            | {(f"port {port}", False) for port in (79, 91, 52, 54)},
            id="services",
        ),
    ],
)  # fmt: skip
def test_the_edges_of_a_rule(asked: Rule, expected: set[tuple[str, bool]]) -> None:
    assert lines(edges(CLOUD, asked, HERE, OTHER)) == expected


def test_of_a_group_the_members_and_who_lives_beside_them() -> None:
    cloud = Cloud(profile("tencent"))
    vpc = cloud.create_vpc("10.16.0.0/16")
    group, subnet = cloud.create_group(vpc.id), cloud.create_subnet(vpc.id, "10.16.5.0/24")
    asked = rule(peer=group.id)
    assert lines(edges(cloud, asked, HERE, OTHER)) == {("the middle", False)}
    for member in MEMBERS:
        cloud.create_eni(subnet.id, private_ip=member, groups=[group.id])
    found = lines(edges(cloud, asked, HERE, OTHER))
    assert {what for what, inside in found if inside} == {"the middle", *(f"src {member}" for member in MEMBERS)}
    assert {what for what, inside in found if not inside} == {f"src 10.16.5.{end}" for end in (4, 7, 8, 10)}


# in the kernel ---------------------------------------------------------------------------------------

Lists = dict[str, Any]


def network(there: Lists) -> list[dict[str, Any]]:
    return [{"protocol": "udp", "port": 53, "cidr": "10.16.4.0/24"}]


def networks_in_networks(there: Lists) -> list[dict[str, Any]]:
    return [
        {"cidr": "10.16.4.64/26", "action": "deny"},
        {"protocol": "tcp", "cidr": "10.16.4.0/24"},
        {"protocol": "tcp", "port": "80-90,443", "cidr": "10.16.4.0/23", "action": "deny"},
        {"cidr": "10.16.0.0/20"},
    ]


def networks_of_both_families(there: Lists) -> list[dict[str, Any]]:
    return [
        {"protocol": "tcp", "port": "80-90", "cidr": "2001:db8:0:1600::4:40/122", "action": "deny"},
        {"protocol": "tcp", "cidr": "2001:db8:0:1600::4:0/112"},
        {"protocol": "icmpv6", "cidr": "2001:db8:0:1600::/64"},
        {"protocol": "tcp", "port": "85-95", "cidr": "10.16.4.0/24"},
        {"protocol": "udp", "cidr": "::/0", "action": "deny"},
        {"protocol": "udp"},
    ]


def ports(there: Lists) -> list[dict[str, Any]]:
    return [
        {"protocol": "tcp", "port": "80-90"},
        {"protocol": "tcp", "port": "85-95", "action": "deny"},
        {"protocol": "tcp", "port": "1,65535"},
        {"protocol": "udp", "port": "1-65535", "action": "deny"},
        {"protocol": "udp"},
        {"protocol": 132, "port": "96,98-99"},
    ]


def protocols(there: Lists) -> list[dict[str, Any]]:
    return [
        {"protocol": "icmp"},
        {"protocol": "gre", "action": "deny"},
        {"protocol": 0},
        {"protocol": 255, "cidr": "10.16.4.0/31"},
        {"protocol": 50, "action": "deny"},
        {"cidr": "10.16.4.0/24"},
    ]


def one_address(there: Lists) -> list[dict[str, Any]]:
    return [
        {"protocol": "udp", "port": "1-100", "cidr": "10.16.4.9/32", "action": "deny"},
        {"protocol": "udp", "cidr": "0.0.0.0/0"},
    ]


def twelve(there: Lists) -> list[dict[str, Any]]:
    """Enough to be compiled, with overlaps in both dimensions."""
    rules = [
        {"protocol": "tcp", "port": f"{100 + 10 * at}-{115 + 10 * at}", "cidr": f"10.16.{4 + at % 3}.0/{24 - at % 2}"}
        for at in range(0, 12, 2)
    ]
    rules = [{**one, "cidr": str(IPv4Network(one["cidr"], strict=False))} for one in rules]
    rules += [{"protocol": "tcp", "port": 105 + 20 * at, "cidr": "10.16.0.0/20", "action": "deny"} for at in range(4)]
    return [rules[at] for at in (6, 0, 1, 7, 2, 3, 8, 4, 5, 9)] + [{"protocol": "udp"}, {"cidr": "10.16.6.0/24"}]


def members(there: Lists) -> list[dict[str, Any]]:
    return [
        {"protocol": "udp", "port": "50-60", "cidr": there["friends"], "action": "deny"},
        {"cidr": there["friends"]},
    ]


def a_list(there: Lists) -> list[dict[str, Any]]:
    return [
        {"protocol": "tcp", "port": 22, "cidr": there["list"]},
        {"protocol": "tcp", "cidr": there["list"], "action": "deny"},
        {"cidr": "10.16.4.0/24"},
    ]


def services(there: Lists) -> list[dict[str, Any]]:
    return [{"port": there["services"], "cidr": there["list"]}, {"port": there["services"], "action": "deny"}, {}]


def port_lists(there: Lists) -> list[dict[str, Any]]:
    return [
        {"protocol": "tcp", "port": there["ports"], "cidr": there["list"]},
        {"protocol": "udp", "port": there["ports"], "action": "deny", "priority": 2},
        {"protocol": "udp", "priority": 3},
    ]


def priorities(there: Lists) -> list[dict[str, Any]]:
    return [
        {"protocol": "udp", "port": "10-20", "priority": 3},
        {"protocol": "udp", "port": "15-25", "priority": 3, "action": "deny"},
        {"protocol": "udp", "port": "18-22", "priority": 1},
        {"protocol": "udp", "cidr": "10.16.4.0/24", "priority": 100, "action": "deny"},
        {"cidr": "10.16.4.0/23", "priority": 50},
    ]


def both_sides(there: Lists) -> list[dict[str, Any]]:
    return [
        {"protocol": "tcp", "source_port": "1000-2000", "port": 80, "local_cidr": f"{HERE}/32"},
        {"protocol": "tcp", "port": 80, "local_cidr": "10.16.16.23/32", "action": "deny"},
        {"protocol": "tcp", "source_port": "2000-65535", "local_cidr": "10.16.16.0/24", "action": "deny"},
        {"protocol": "tcp", "cidr": "10.16.4.0/24"},
    ]


OF_ALL = [network, networks_in_networks, networks_of_both_families, ports, protocols, one_address, twelve]
TABLE = [
    *((profile, owner, rules) for profile in PROFILES for owner in ("group", "acl") for rules in OF_ALL),
    *((profile, "group", rules) for profile in PROFILES for rules in (members, a_list)),
    ("tencent", "group", services),
    ("tencent", "acl", both_sides),
    ("alibaba", "group", both_sides),
    ("alibaba", "group", priorities),
    ("alibaba", "group", port_lists),
]


class Yard:
    """A guard whose rules are tried, and others who live at the edges of these rules."""

    def __init__(self, here: Ground) -> None:
        self.here, self.lab = here, here.lab
        self.open = here.vpc.create_security_group("open")
        for way in ("ingress", "egress"):
            self.open.allow(way)
        here.vpc.assign_ipv6_cidr(BLOCK6)
        self.outside = here.vpc.create_subnet("10.16.0.0/20", ipv6_cidr=0)
        self.inside = here.vpc.create_subnet("10.16.16.0/24", ipv6_cidr=16)
        self.guard = self.inside.run_instance(private_ip=HERE, ipv6=HERE6)
        here.record(self.guard.eni)
        self.others: set[Address] = set()
        friends = here.vpc.create_security_group("friends")
        for member, member6 in zip(MEMBERS, MEMBERS6, strict=True):
            self.outside.run_instance(private_ip=member, ipv6=member6, security_groups=[friends, self.open])
            self.others |= {ip_address(member), ip_address(member6)}
        tencent = self.lab.profile.provider == "tencent"
        lists = self.lab.create_address_template if tencent else self.lab.create_prefix_list
        ranges = ["10.16.7.10-10.16.7.17", "2001:db8:0:1600::6:6"]
        entries = ["10.16.4.0/25", "10.16.6.6/32", *(ranges if tencent else [])]
        self.there: Lists = {"friends": friends, "list": lists(entries=entries)}
        if tencent:
            template = self.lab.create_service_template(entries=["TCP:80-90,443", "UDP:53", "ICMP"])
            self.there["services"] = self.lab.create_service_group(templates=[template])
        else:
            self.there["ports"] = self.lab.create_port_list(entries=["80-90", "443", "88-95"])

    def judge_by(self, owner: str, rules: list[dict[str, Any]]) -> None:
        """The guard gets these rules, both ways, in a group of its own or in its subnet's ACL."""
        group = written = self.here.vpc.create_security_group()
        if owner == "acl":
            quintuple = any("source_port" in rule for rule in rules)
            group, written = self.open, self.here.vpc.create_network_acl(type="quintuple" if quintuple else None)
            for rule in written.rules:
                written.remove(rule)
            written.associate(self.inside)
        elif self.inside.model.acl_id is not None:
            self.lab.find(self.inside.model.acl_id).disassociate(self.inside)
        self.guard.eni.set_security_groups([group])
        for way in ("ingress", "egress"):
            for said in rules:
                rest = {name: value for name, value in said.items() if name != "action"}
                (written.allow if said.get("action") != "deny" else written.deny)(way, **rest)

    def packets(self, rules: Sequence[Rule]) -> list[Packet]:
        """What the rules' edges are, as far as such packets can be; who sends them to the guard comes to live there."""
        found: dict[Packet, None] = {}
        vpc = self.here.vpc.model
        ends = ((HERE, OTHER, vpc.cidr), (HERE6, OTHER6, vpc.ipv6_cidr))
        for rule, (here, other, block) in itertools.product(rules, ends):
            for edge in edges(self.lab.cloud, rule, here, other):
                src, dst = edge.packet.src, edge.packet.dst
                comes = dst == here and (src in self.others or self._settles(src))
                if comes or (src == here and dst in block):
                    found[edge.packet] = None
        return list(found)

    def _settles(self, address: Address) -> bool:
        subnet = self.outside.model.cidr if address.version == 4 else self.outside.model.ipv6_cidr
        if not subnet[4] < address < subnet[-4]:  # these are the provider's
            return False
        place = {"private_ip": address} if address.version == 4 else {"ipv6": address}
        self.outside.run_instance(**place, security_groups=[self.open])
        self.others.add(address)
        return True


@pytest.fixture(scope="module")
def yards(open_module_lab: Callable[..., Any], wire: Any) -> Iterator[dict[str, Yard]]:
    grounds = {profile: Ground(open_module_lab(profile), wire.drain) for profile in PROFILES}
    yield {profile: Yard(here) for profile, here in grounds.items()}
    for here in grounds.values():
        here.close()


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("profile", "owner", "rules"), [pytest.param(*row, id=f"{row[0]}-{row[1]}-{row[2].__name__}") for row in TABLE]
)
def test_the_kernel_and_the_reference_agree_at_every_edge(
    yards: dict[str, Yard], profile: str, owner: str, rules: Callable[[Lists], list[dict[str, Any]]]
) -> None:
    yard = yards[profile]
    here, cloud = yard.here, yard.lab.cloud
    yard.judge_by(owner, rules(yard.there))
    eni, acl_id = yard.guard.eni.model, yard.inside.model.acl_id
    verdicts, before = set[str](), here.sent
    for way in ("ingress", "egress"):
        lists = cloud.group_rules(eni.vpc_id, eni.groups, way) if owner == "group" else cloud.acl_rules(acl_id, way)
        packets = yard.packets(lists)
        judge = Judge(cloud)
        ends = [judge.verdict(packet) for packet in packets]
        verdicts |= {end.action for both in ends for end in (both.at_source, both.at_destination) if end is not None}
        here.volley(packets)
    here.compare()

    assert verdicts == {"allow", "deny"}
    assert here.sent - before > 4 * len(rules(yard.there))
