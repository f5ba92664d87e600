"""What the kernel counts beside the flow tables: each ENI's link, and the packets that no flow table sees. Pure.

The link counts by itself, before and behind every rule (IFLA_STATS64 of the ENI's end in the VPC's namespace: received
is from the CVM, transmitted is to it; a frame's bytes include 14 of Ethernet). ARP has a table of its own, so no other
packet pays for it. Dynamic sets count by interface what is dropped aside, where it is dropped::

    arp_in, arp_out   ARP frames from and to the CVM
    spoofed_by        packets with a source address that is not the ENI's
    nowhere_by        packets to an address that nobody has
    left_by           packets that left the VPC
    expired_by        packets with a TTL of 0, which routing drops
    fragments         IP fragments, before they are put together
    malformed_by      packets that end before their ports
    uncounted_by      fragments, and datagrams made of them, that found no room in their sets
    options_by        packets with IP options, some of which routing drops
    discovery_by      neighbour discovery and listener reports of IPv6, which is what ARP is to IPv4

All of them count from the birth of the link and are only read when somebody asks.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emulator.fabric import elements, netlink

_ETHERNET = 14
_SETS = (
    "arp_in",
    "arp_out",
    "spoofed_by",
    "nowhere_by",
    "left_by",
    "expired_by",
    "fragments",
    "malformed_by",
    "options_by",
    "uncounted_by",
)
_SETS6 = ("discovery_by",)
_ARP, _INET = 3, 1
_DAMAGE = (b"InHdrErrors", b"InDiscards", b"InTruncatedPkts")


@dataclass(frozen=True)
class Count:
    """Packets and their bytes (IP total lengths)."""

    packets: int = 0
    bytes: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.packets + other.packets, self.bytes + other.bytes)

    def __sub__(self, other: Count) -> Count:
        return Count(self.packets - other.packets, self.bytes - other.bytes)

    def __str__(self) -> str:
        return f"{self.packets} packets, {self.bytes} bytes"


NONE = Count()


@dataclass(frozen=True)
class Meter:
    """One ENI's meters since its link was made. ``taken`` from the CVM, ``handed`` to it; bytes without Ethernet.

    ``unheard`` frames had no protocol or another machine's address; ``undelivered`` were dropped by the link to the
    CVM.
    """

    taken: Count = NONE
    handed: Count = NONE
    unheard: int = 0
    undelivered: int = 0
    arp_in: Count = NONE
    arp_out: Count = NONE
    spoofed: Count = NONE
    nowhere: Count = NONE
    left: Count = NONE
    expired: Count = NONE
    fragments: Count = NONE
    malformed: Count = NONE
    options: Count = NONE
    uncounted: Count = NONE
    discovery: Count = NONE

    def __sub__(self, other: Meter) -> Meter:
        return Meter(*(mine - its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))


ZERO = Meter()


def link_step(ns: int, index: int = 0) -> netlink.Step:
    """Ask for a link's counters, or for those of all links."""
    return ns, netlink.ROUTE, netlink.get_statistics(index)


def set_steps(ns: int, *, ipv6: bool) -> list[netlink.Step]:
    """Ask for what the sets count; ``ipv6`` tells whether the VPC has any."""
    names = _names(ipv6)
    requests = map(elements.dump_request, names, [_ARP if name.startswith("arp") else _INET for name in names])
    return [(ns, netlink.NETFILTER, request) for request in requests]


def _names(ipv6: bool) -> tuple[str, ...]:
    return (*_SETS, *_SETS6) if ipv6 else _SETS


def links(answer: memoryview) -> dict[int, Meter]:
    """Interface index → what its link counted."""
    found = {}
    for index, values in netlink.statistics(answer).items():
        rx_packets, tx_packets, rx_bytes, tx_bytes, _, _, rx_dropped, tx_dropped = values[:8]
        found[index] = Meter(
            Count(rx_packets, rx_bytes - _ETHERNET * rx_packets),
            Count(tx_packets, tx_bytes - _ETHERNET * tx_packets),
            rx_dropped + (values[24] if len(values) > 24 else 0),  # rx_otherhost_dropped, since Linux 5.19
            tx_dropped,
        )
    return found


def sets(answers: Sequence[memoryview], *, ipv6: bool) -> dict[int, dict[str, Count]]:
    """Interface index → what the sets counted for it, named as the fields of Meter; answers to :func:`set_steps`."""
    found: dict[int, dict[str, Count]] = {}
    for name, answer in zip(_names(ipv6), answers, strict=True):
        for key, packets, size in elements.decode_counts(answer):
            (index,) = struct.unpack_from("=L", key)
            if name == "arp_out":
                size -= _ETHERNET * packets  # an ARP frame has its Ethernet header where the kernel makes it
            found.setdefault(index, {})[name.removesuffix("_by")] = Count(packets, size)
    return found


def header_errors(statistics: bytes) -> int:
    """Packets whose IP header the kernel took for damaged, before any rule saw them, or whose TTL had run out behind
    the rules; from a namespace's /proc/net/snmp and netstat, where a line of names goes before each line of values, and
    snmp6, where a name and its value are a line."""
    every = [line.split() for line in statistics.splitlines()]
    lines = [words for words in every if words[0] in (b"Ip:", b"IpExt:")]
    found = {
        name: value
        for names, values in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(names, values, strict=False)
    }
    found |= {words[0]: words[1] for words in every if words[0].startswith(b"Ip6")}
    return sum(int(found.get(start + name, 0)) for start in (b"", b"Ip6") for name in _DAMAGE)


def joined(link: Meter, counts: Mapping[str, Count]) -> Meter:
    """A link's counters and those of the sets as one meter."""
    return Meter(link.taken, link.handed, link.unheard, link.undelivered, **counts)
