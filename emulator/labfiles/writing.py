"""A ``Cloud`` as a document that builds an equal one. Pure.

An object's table is called by its name, or by its id where several of its kind have the name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from emulator.cloud.account import Cloud
from emulator.cloud.model import PROTOCOL_WORDS, Eni, FlowLog, NetworkAcl, Rule, SecurityGroup, describe_ports
from emulator.cloud.templates import GROUPS_OF
from emulator.labfiles.beyond import TARGETS

Json = dict[str, Any]

_TABLES = {
    "template": "templates",
    "vpc": "vpcs",
    "subnet": "subnets",
    "security_group": "groups",
    "network_acl": "acls",
    "cvm": "cvms",
    "eni": "enis",
    "route_table": "route_tables",
    "internet_gateway": "internet_gateways",
    "nat_gateway": "nat_gateways",
    "eip": "eips",
    "peering": "peerings",
    "ccn": "ccns",
    "internet_host": "internet_hosts",
    "flow_log": "flow_logs",
}


class Writer:
    """Describes a cloud. ``topics`` are the names of topics' tables by their ids.

    Left out are flow logs that nobody could create now: their topic is gone, or the provider wants an ENI attached.
    """

    def __init__(self, cloud: Cloud, topics: Mapping[str, str]) -> None:
        self._cloud, self._topics = cloud, topics
        self._names: dict[str, dict[str, str]] = {}
        """By kind, the name of each table by the id of its object."""
        self._kinds: dict[str, str] = {}
        for kind, attribute in _TABLES.items():
            table: Mapping[str, Any] = getattr(cloud, attribute)
            if kind == "eni":
                further = [one for one in table.values() if not one.primary]
                table = {one.id: one for one in sorted(further, key=lambda one: one.device or 0)}  # as plugged in
            if kind == "flow_log":
                table = {id: one for id, one in table.items() if one.topic_id in topics and not self._idle(one)}
            counts = Counter([*table, *(one.name for one in table.values() if one.name != one.id)])
            self._names[kind] = {id: one.name if counts[one.name] == 1 else id for id, one in table.items()}
            self._kinds.update(dict.fromkeys(table, kind))

    def document(self) -> dict[str, dict[str, Json]]:
        """Every kind that there is, in the order in which a person would tell it."""
        kinds: dict[str, Callable[[Any], Json]] = {
            "vpc": self._vpc,
            "template": self._template,
            "security_group": self._group,
            "network_acl": self._acl,
            "route_table": self._route_table,
            "subnet": self._subnet,
            "cvm": self._cvm,
            "eni": self._eni,
            "internet_gateway": lambda one: {"vpc": self._name(one.vpc_id)},
            "nat_gateway": self._nat_gateway,
            "eip": self._eip,
            "peering": self._peering,
            "ccn": self._ccn,
            "internet_host": lambda one: {"region": one.region, "ip": str(one.address)},
            "flow_log": self._flow_log,
        }
        told: dict[str, dict[str, Json]] = {}
        for kind, describe in kinds.items():
            table = getattr(self._cloud, _TABLES[kind])
            for id, key in self._names[kind].items():
                one = table[id]
                named = {} if one.name == key else {"name": one.name}
                told.setdefault(kind, {})[key] = {"id": id, **named, **_without_nothing(describe(one))}
        return told

    def _idle(self, log: FlowLog) -> bool:
        """Whether the provider would refuse it for its ENI, which is attached to nothing by now."""
        eni = self._cloud.enis.get(log.resource_id)
        return self._cloud.profile.idle_eni_refused and eni is not None and eni.cvm_id is None

    def _name(self, id: str) -> str:
        return self._names[self._kinds[id]][id]

    def _among(self, kinds: Iterable[str], id: str) -> str:
        """The name of an object where several kinds could be meant: with its kind where that is not clear."""
        name, kind = self._name(id), self._kinds[id]
        clear = sum(name in self._names[one].values() for one in kinds) == 1 and "." not in name
        return name if clear else f"{kind}.{name}"

    # kinds -------------------------------------------------------------------------------------------

    def _vpc(self, one: Any) -> Json:
        return {"cidr": str(one.cidr), "region": one.region, "ipv6_cidr": one.ipv6_cidr and str(one.ipv6_cidr)}

    def _template(self, one: Any) -> Json:
        entries = [self._name(entry) for entry in one.entries] if one.kind in GROUPS_OF else list(one.entries)
        return {"kind": one.kind, "max_entries": one.max_entries, "entries": entries}

    def _group(self, one: SecurityGroup) -> Json:
        inner = self._cloud.profile.members_inside and one.type == "normal"
        return {
            "vpc": self._name(one.vpc_id),
            "default": one.default or None,
            "type": one.type if len(self._cloud.profile.group_types) > 1 and not one.default else None,
            "inner_access": one.inner_access if inner else None,
            "rules": self._rules(one),
        }

    def _acl(self, one: NetworkAcl) -> Json:
        kind = one.type if len(self._cloud.profile.acl_types) > 1 else None
        return {"vpc": self._name(one.vpc_id), "type": kind, "rules": self._rules(one)}

    def _rules(self, owner: SecurityGroup | NetworkAcl) -> list[Json]:
        pooled = isinstance(owner, SecurityGroup) and self._cloud.profile.pooled_groups
        # Of a pool the order is that of the numbers: those of equal priority are judged in it.
        rules = sorted(owner.rules, key=lambda rule: rule.number) if pooled else owner.rules
        return [self._rule(rule, pooled) for rule in rules]

    def _rule(self, rule: Rule, pooled: bool) -> Json:
        if rule.default:
            return {rule.action: rule.direction, "default": True, "id": rule.id}
        peer, service = rule.peer, rule.service
        if isinstance(peer, str):
            peer = self._among(("security_group", "template"), peer)
        ports = None if rule.ports is None else describe_ports(rule.ports)
        told = {
            rule.action: rule.direction,
            "protocol": None if rule.protocol is None else PROTOCOL_WORDS.get(rule.protocol, rule.protocol),
            "port": ports if service is None else self._name(service),
            "cidr": None if peer is None else str(peer),
            "priority": rule.priority if pooled else None,
            "source_port": None if rule.source_ports is None else describe_ports(rule.source_ports),
            "local_cidr": None if rule.local is None else str(rule.local),
            "id": rule.id,
        }
        return _without_nothing(told)

    def _route_table(self, one: Any) -> Json:
        routes = sorted((route for route in one.routes if not route.learned), key=lambda route: route.cidr)
        told = [{"cidr": str(route.cidr), "to": self._among(TARGETS, route.target_id)} for route in routes]
        return {"vpc": self._name(one.vpc_id), "default": one.default or None, "routes": told}

    def _subnet(self, one: Any) -> Json:
        return {
            "vpc": self._name(one.vpc_id),
            "cidr": str(one.cidr),
            "ipv6_cidr": one.ipv6_cidr and str(one.ipv6_cidr),
            "broadcast": one.broadcast or None,
            "network_acl": one.acl_id and self._name(one.acl_id),
            "route_table": one.route_table_id and self._name(one.route_table_id),
        }

    def _cvm(self, one: Any) -> Json:
        eni = next(eni for eni in self._cloud.enis.values() if eni.cvm_id == one.id and eni.primary)
        return {"instance_type": one.instance_type, "eni_id": eni.id, **self._of_eni(eni)}

    def _eni(self, one: Eni) -> Json:
        return {"cvm": one.cvm_id and self._name(one.cvm_id), **self._of_eni(one)}

    def _of_eni(self, eni: Eni) -> Json:
        return {
            "subnet": self._name(eni.subnet_id),
            "private_ip": str(eni.address),
            "secondary_ips": [str(one) for one in eni.secondary] or None,
            "ipv6_addresses": [str(one) for one in eni.ipv6_addresses] or None,
            "security_groups": [self._name(group) for group in eni.groups],
            "mac": eni.mac,
        }

    def _nat_gateway(self, one: Any) -> Json:
        names = {eip.address: self._name(eip.id) for eip in self._cloud.eips.values()}
        snat = [
            {"source": str(entry.source), "eips": [names[address] for address in entry.addresses], "id": entry.id}
            for entry in one.entries
        ]
        forwards = [
            {
                "protocol": PROTOCOL_WORDS[to.protocol],
                "eip": names[to.public],
                "port": to.public_port,
                "private_ip": str(to.private),
                "private_port": to.private_port,
                "id": to.id,
            }
            for to in one.forwards
        ]
        return {"vpc": self._name(one.vpc_id), "snat": snat or None, "port_forwards": forwards or None}

    def _eip(self, one: Any) -> Json:
        target = one.target_id
        if target in self._cloud.enis and self._cloud.enis[target].primary:
            target = self._cloud.enis[target].cvm_id
        return {
            "region": one.region,
            "address": str(one.address),
            "target": target and self._among(("cvm", "eni", "nat_gateway"), target),
            "private_ip": one.private and str(one.private),
        }

    def _peering(self, one: Any) -> Json:
        ends = {"vpc": self._name(one.vpc_id), "peer": self._name(one.peer_vpc_id)}
        return {**ends, "bandwidth_mbps": one.bandwidth_mbps}

    def _ccn(self, one: Any) -> Json:
        vpcs = [{"vpc": self._name(vpc_id), "id": attachment} for vpc_id, attachment in one.vpcs.items()]
        caps = [{"between": [first, second], "mbps": mbps} for first, second, mbps in one.caps]
        return {"vpcs": vpcs or None, "caps": caps or None}

    def _flow_log(self, one: FlowLog) -> Json:
        resource = one.resource_id
        if resource in self._cloud.enis and self._cloud.enis[resource].primary:
            resource = str(self._cloud.enis[resource].cvm_id)
        return {
            "on": self._among(("cvm", "eni", "subnet", "vpc", "ccn"), resource),
            "topic": self._topics[one.topic_id],
            "traffic": one.traffic,
            "interval_s": one.interval_s,
            "description": one.description or None,
            "tags": one.tags or None,
            "enabled": None if one.enabled else False,
            "region": one.region if one.resource_type == "ccn" else None,
            "created": one.created_s,
        }


def _without_nothing(told: Mapping[str, Any]) -> Json:
    return {key: value for key, value in told.items() if value is not None}
