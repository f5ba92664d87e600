"""From a rule the packets at its edges: just inside and just outside its addresses, ports and protocol. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from emulator.cloud.account import Cloud
from emulator.cloud.model import PORTS_PROTOCOLS, Address, Rule
from emulator.cloud.verdict import Packet

TCP = 6
LAST_PORT, LAST_PROTOCOL = 65_535, 255
NO_PROTOCOLS = {4: frozenset[int](), 6: frozenset({0, 43, 44, 51, 59, 60, 135, 139, 140})}
"""In IPv6 these are extension headers, or the end."""
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


def edges(cloud: Cloud, rule: Rule, here: Address, other: Address) -> Iterator[Edge]:
    """In the family of ``here``. ``other``: an address of the other side, for rules that are about anybody, or about
    nobody of this family."""
    addresses = address_ranges(cloud, rule, here.version)
    last = 2**here.max_prefixlen - 1
    services = cloud.services_of(rule.service, rule.protocol) if rule.service else ((rule.protocol, rule.ports),)
    protocols = [protocol for protocol, _ in services if protocol is not None]
    held = addresses != [] and (rule.local is None or here in rule.local)  # whether any packet is inside
    far = type(here)(addresses[0][0]) if addresses else other
    side, src, dst = ("src", far, here) if rule.direction == "ingress" else ("dst", here, far)
    for protocol, ports in services:
        kind = TCP if protocol is None else protocol
        if kind in NO_PROTOCOLS[here.version]:
            continue
        sport = rule.source_ports[0][0] if rule.source_ports else SPORT
        middle = packet(src, dst, kind, sport, ports[0][0] if ports else DPORT)
        yield Edge(rule, "the middle", held, middle)
        for address, inside in around(addresses or (), last):
            there = type(here)(address)
            yield Edge(rule, f"{side} {there}", held and inside, replace(middle, **{side: there}))
        if kind in PORTS_PROTOCOLS:
            for port, inside in around(ports or (), LAST_PORT):
                yield Edge(rule, f"port {port}", held and inside, replace(middle, dst_port=port))
            for port, inside in around(rule.source_ports or (), LAST_PORT):
                yield Edge(rule, f"source port {port}", held and inside, replace(middle, src_port=port))
        for number, inside in around([(one, one) for one in protocols], LAST_PROTOCOL):
            if not inside and number not in NO_PROTOCOLS[here.version]:
                yield Edge(rule, f"protocol {number}", False, packet(src, dst, number, sport, middle.dst_port or DPORT))


def packet(src: Address, dst: Address, protocol: int, sport: int, dport: int) -> Packet:
    """One without ports where the protocol has none."""
    return Packet(src, dst, protocol, sport, dport) if protocol in PORTS_PROTOCOLS else Packet(src, dst, protocol)


def around(ranges: Sequence[tuple[int, int]], last: int) -> Iterator[tuple[int, bool]]:
    """The ends of ranges and what is beside them, each once, and whether some range holds it."""
    for value in sorted({end + by for ends in ranges for end in ends for by in (-1, 0, 1)}):
        if 0 <= value <= last:
            yield value, any(low <= value <= high for low, high in ranges)


def address_ranges(cloud: Cloud, rule: Rule, version: int) -> list[tuple[int, int]] | None:
    """What a rule's other side may be in one family, as numbers; None for anybody."""
    if rule.peer is None:
        return None
    if not isinstance(rule.peer, str):
        ranges = [(rule.peer[0], rule.peer[-1])]
    elif rule.peer in cloud.groups:
        ranges = [(member, member) for member in cloud.group_members(rule.peer)]
    else:
        ranges = list(cloud.addresses_of(rule.peer))
    return [(int(first), int(last)) for first, last in ranges if first.version == version]
