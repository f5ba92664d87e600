"""From a rule the packets at its edges: just inside and just outside its addresses, ports and protocol. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from emulator.cloud.account import Cloud
from emulator.cloud.model import PORTS_PROTOCOLS, Rule
from emulator.cloud.verdict import Packet

TCP = 6
LAST_ADDRESS, LAST_PORT, LAST_PROTOCOL = 2**32 - 1, 65_535, 255
SPORT, DPORT = 40_000, 9
"""Of packets to rules that name none."""


@dataclass(frozen=True)
class Edge:
    """A packet at an edge of a rule; ``what`` differs from a packet in the middle of it, and lies ``inside`` or not.

    The packet goes to ``here``, the ENI that the rule is judged at, or leaves it, as the rule's direction says.
    """

    rule: Rule
    what: str
    inside: bool
    packet: Packet


def edges(cloud: Cloud, rule: Rule, here: IPv4Address, other: IPv4Address) -> Iterator[Edge]:
    """``other``: an address of the other side, for rules that are about anybody or, now, about nobody."""
    addresses = address_ranges(cloud, rule)
    services = cloud.services_of(rule.service) if rule.service else ((rule.protocol, rule.ports),)
    protocols = [protocol for protocol, _ in services if protocol is not None]
    held = addresses != [] and (rule.local is None or here in rule.local)  # whether any packet is inside
    far = IPv4Address(addresses[0][0]) if addresses else other
    side, src, dst = ("src", far, here) if rule.direction == "ingress" else ("dst", here, far)
    for protocol, ports in services:
        kind = TCP if protocol is None else protocol
        sport = rule.source_ports[0][0] if rule.source_ports else SPORT
        middle = packet(src, dst, kind, sport, ports[0][0] if ports else DPORT)
        yield Edge(rule, "the middle", held, middle)
        for address, inside in around(addresses or (), LAST_ADDRESS):
            there = IPv4Address(address)
            yield Edge(rule, f"{side} {there}", held and inside, replace(middle, **{side: there}))
        if kind in PORTS_PROTOCOLS:
            for port, inside in around(ports or (), LAST_PORT):
                yield Edge(rule, f"port {port}", held and inside, replace(middle, dst_port=port))
            for port, inside in around(rule.source_ports or (), LAST_PORT):
                yield Edge(rule, f"source port {port}", held and inside, replace(middle, src_port=port))
        for number, inside in around([(one, one) for one in protocols], LAST_PROTOCOL):
            if not inside:
                yield Edge(rule, f"protocol {number}", False, packet(src, dst, number, sport, middle.dst_port or DPORT))


def packet(src: IPv4Address, dst: IPv4Address, protocol: int, sport: int, dport: int) -> Packet:
    """One without ports where the protocol has none."""
    return Packet(src, dst, protocol, sport, dport) if protocol in PORTS_PROTOCOLS else Packet(src, dst, protocol)


def around(ranges: Sequence[tuple[int, int]], last: int) -> Iterator[tuple[int, bool]]:
    """The ends of ranges and what is beside them, each once, and whether some range holds it."""
    for value in sorted({end + by for ends in ranges for end in ends for by in (-1, 0, 1)}):
        if 0 <= value <= last:
            yield value, any(low <= value <= high for low, high in ranges)


def address_ranges(cloud: Cloud, rule: Rule) -> list[tuple[int, int]] | None:
    """What a rule's other side may be, as numbers; None for anybody."""
    if rule.peer is None:
        return None
    if not isinstance(rule.peer, str):
        return [(int(rule.peer[0]), int(rule.peer[-1]))]
    if rule.peer in cloud.groups:
        return [(int(member), int(member)) for member in cloud.group_members(rule.peer)]
    return [(int(first), int(last)) for first, last in cloud.addresses_of(rule.peer)]
