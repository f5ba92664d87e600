"""Random rules, and packets at the edges of them. One source of chance drives both: a seed, or hypothesis, which makes
a failure smaller by drawing low numbers and first choices: they are the plainest here."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from emulator.cloud.account import Cloud
from emulator.cloud.model import Address, Eni, Rule
from emulator.cloud.verdict import Packet
from emulator.errors import AlreadyExists

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
PORTS = (1, 22, 53, 443, 8000, 65_535)
SOURCES = ("1024-20000", "30000", "20001-65535")
NOBODY = {4: IPv4Address("10.16.200.9"), 6: IPv6Address("2001:db8:0:1642::9")}


@dataclass
class Writer:
    """Writes rules into a cloud's groups and ACLs. ``peers``: ids of groups and lists of addresses that they may name,
    ``services``: of lists of ports, or of protocols with ports."""

    cloud: Cloud
    dice: random.Random
    enis: Sequence[Eni]
    peers: Sequence[str] = ()
    services: Sequence[str] = ()

    def rewrite(self, owner_id: str, most: int = 6) -> None:
        """New rules in place of those that a group or an ACL has."""
        cloud = self.cloud
        is_group = owner_id in cloud.groups
        for rule in (cloud.groups[owner_id] if is_group else cloud.acls[owner_id]).rules:
            cloud.remove_rule(owner_id, rule.id)
        for _ in range(self.dice.randint(1, most)):
            self._add(owner_id, is_group)
        if self.dice.random() > 0.5:
            self._add(owner_id, is_group, cidr="10.16.0.0/16")

    def _add(self, owner_id: str, is_group: bool, **said: Any) -> None:
        choose, chance = self.dice.choice, self.dice.random
        pooled = self.cloud.profile.pooled_groups
        protocol = choose([None, None, "tcp", "tcp", "udp", "udp", "udp", "icmp", "icmpv6", "gre", 50, 132, 136])
        version = {"icmp": 4, "icmpv6": 6}.get(protocol, choose(sorted(self._addresses)))
        rule: dict[str, Any] = {"protocol": protocol, "cidr": self._peer(owner_id, version)} | (
            said if version == 4 else {}
        )
        if protocol in ("tcp", "udp", 132, 136):
            named = pooled and is_group and self.services and chance() > 0.8
            rule["port"] = choose(self.services) if named else self._port()
            if chance() > 0.9 and (pooled if is_group else self.cloud.acls[owner_id].type == "quintuple"):
                rule["source_port"] = choose(SOURCES)
        elif protocol is None and is_group and not pooled and self.services and chance() > 0.7:
            rule["port"] = choose(self.services)
        if chance() > 0.9 and (pooled if is_group else self.cloud.acls[owner_id].type == "quintuple"):
            rule["local_cidr"] = self._network(version)
        if pooled and is_group:
            rule["priority"] = self.dice.randint(1, 4)
        with suppress(AlreadyExists):
            self.cloud.add_rule(owner_id, choose(["ingress", "egress"]), choose(["allow", "allow", "deny"]), **rule)

    def _port(self) -> str | int | None:
        low = self.dice.choice(PORTS)
        high = min(low + self.dice.choice([0, 1, 10]), 65_535)
        return self.dice.choice([None, low, f"{low}-{high}", f"{low},{(low + 99) % 65_535 + 1}"])

    @cached_property
    def _addresses(self) -> dict[int, list[Address]]:
        """Of ENIs, by IP's version, as far as there are any."""
        addresses = [address for eni in self.enis for address in eni.addresses]
        return {
            version: [address for address in addresses if address.version == version]
            for version in {address.version for address in addresses}
        }

    def _peer(self, owner_id: str, version: int) -> str | None:
        group = self.cloud.groups.get(owner_id)
        peers = [] if group is None else self.peers
        if group is not None and group.type == "enterprise":
            peers = [peer for peer in peers if peer not in self.cloud.groups]
        if peers and self.dice.random() > 0.75:
            return self.dice.choice(peers)
        anywhere = "0.0.0.0/0" if version == 4 else "::/0"
        return self.dice.choice([None, None, anywhere, self._network(version)])

    def _network(self, version: int) -> str:
        """One around an ENI, often ending beside it."""
        there = self._addresses.get(version)
        if there is None:
            return "2001:db8::/32"
        address, bits = self.dice.choice(there), self.dice.choice([0, 1, 2, 4, 8])
        return str(ip_network((int(address) >> bits << bits, address.max_prefixlen - bits)))


@dataclass
class Shooter:
    """Packets of every kind, each the first of its connection, at the edges of what rules say."""

    cloud: Cloud
    dice: random.Random
    enis: Sequence[Eni]
    _used: set[tuple[object, ...]] = field(default_factory=set)
    _sports: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(1024, 65_536)))

    def batch(self, eni: Eni, count: int) -> Iterator[Packet]:
        """From and to an ENI."""
        ports = {way: edges_of_ports(self._rules(eni, way)) for way in ("egress", "ingress")}
        while count:
            out = self.dice.random() < 0.6
            other = self.dice.choice([other for other in self.enis if other.id != eni.id])
            near, far = self.dice.choice([*zip(eni.addresses, other.addresses, strict=False)])
            if out and self.dice.random() > 0.95:
                far = NOBODY[far.version]
            src, dst = (near, far) if out else (far, near)
            icmp = ICMP if near.version == 4 else ICMPV6
            protocol = self.dice.choice([TCP, TCP, UDP, UDP, UDP, icmp, 132, 136, 47, 50, 89, 112])
            packet = Packet(
                src, dst, protocol, next(self._sports), self.dice.choice(ports["egress" if out else "ingress"])
            )
            if self._is_new(packet):
                count -= 1
                yield packet

    def _rules(self, eni: Eni, way: str) -> list[Rule]:
        acl_id = self.cloud.subnets[eni.subnet_id].acl_id
        of_acl = self.cloud.acl_rules(acl_id, way) if acl_id else ()
        return [*self.cloud.group_rules(eni.vpc_id, eni.groups, way), *of_acl]

    def _is_new(self, packet: Packet) -> bool:
        """The kernel knows a connection of a protocol without ports by its addresses alone, whichever is the source."""
        ends = (packet.src, packet.dst) if packet.src < packet.dst else (packet.dst, packet.src)
        bare = packet.protocol not in (TCP, UDP, ICMP, ICMPV6, 132, 136)
        key: tuple[object, ...] = (packet.protocol, *ends)
        if not bare:
            key = (packet.protocol, packet.src, packet.dst, packet.src_port, packet.dst_port)
        if key in self._used:
            return False
        self._used.add(key)
        return True


def edges_of_ports(rules: Sequence[Rule]) -> list[int]:
    """Ports just inside and just outside of what any rule says."""
    found = {9} | {port + by for rule in rules for ends in rule.ports or () for port in ends for by in (-1, 0, 1)}
    return sorted(port for port in found if port <= 65_535)
