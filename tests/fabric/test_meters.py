"""Meters from answers of the kernel, written here by hand after linux/if_link.h and linux/netfilter/nf_tables.h."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from emulator.fabric import meters
from emulator.fabric.meters import NONE, ZERO, Count, Meter

NEWSTATS, NEWSETELEM, DONE = 92, 10 << 8 | 12, 3
ETHERNET = 14


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def answer(kind: int, bodies: list[bytes]) -> memoryview:
    messages = [struct.pack("=LHHLL", 16 + len(body), kind, 2, 1, 0) + body for body in bodies]
    return memoryview(b"".join([*messages, struct.pack("=LHHLLi", 20, DONE, 2, 1, 0, 0)]))


def link(index: int, *values: int) -> bytes:
    """struct if_stats_msg, and struct rtnl_link_stats64 as IFLA_STATS_LINK_64."""
    return struct.pack("=BBHLL", 0, 0, 0, index, 1) + attribute(1, struct.pack(f"={len(values)}Q", *values))


def counted(counts: Mapping[bytes, tuple[int, int]]) -> memoryview:
    """The dump of a dynamic set with counters."""
    elements = b""
    for key, (packets, size) in counts.items():
        values = attribute(1, struct.pack(">Q", size)) + attribute(2, struct.pack(">Q", packets))
        expression = attribute(7, attribute(1, b"counter\0") + attribute(2, values))
        elements += attribute(1, attribute(1, attribute(1, key)) + expression)
    return answer(NEWSETELEM, [struct.pack("=BBH", 1, 0, 0) + attribute(2, b"set\0") + attribute(3, elements)])


@pytest.mark.parametrize(
    ("values", "unheard"),
    [
        pytest.param((10, 20, 1140, 3280, 0, 0, 3, 4, *[0] * 16), 3, id="before Linux 5.19"),
        pytest.param((10, 20, 1140, 3280, 0, 0, 3, 4, *[0] * 16, 5), 8, id="with frames to other machines"),
    ],
)
def test_a_link_without_its_ethernet_headers(values: tuple[int, ...], unheard: int) -> None:
    found = meters.links(answer(NEWSTATS, [link(10, *values), link(11, *[0] * 24)]))

    taken, handed = Count(10, 1140 - 10 * ETHERNET), Count(20, 3280 - 20 * ETHERNET)
    assert found == {10: Meter(taken, handed, unheard=unheard, undelivered=4), 11: ZERO}


def test_what_the_sets_count_by_interface() -> None:
    """In the order of the steps; the key may go on behind the interface's index."""
    asked = [step[2] for step in meters.set_steps(7, ipv6=True)]
    names = [request[request.index(b"\2\0", 30) + 2 :].split(b"\0")[0].decode() for request in asked]
    answers = [counted({}) for _ in names]
    answers[names.index("spoofed_by")] = counted({struct.pack("=L", 10): (2, 100), struct.pack("=L", 11): (1, 40)})
    answers[names.index("fragments")] = counted({struct.pack("=L", 10): (3, 4000)})
    answers[names.index("arp_in")] = counted({struct.pack("=L", 10): (1, 28)})
    answers[names.index("arp_out")] = counted({struct.pack("=L", 10): (2, 84)})

    found = meters.sets(answers, ipv6=True)

    assert found == {
        10: {
            "spoofed": Count(2, 100),
            "fragments": Count(3, 4000),
            "arp_in": Count(1, 28),
            "arp_out": Count(2, 84 - 2 * ETHERNET),
        },
        11: {"spoofed": Count(1, 40)},
    }
    meter = meters.joined(Meter(Count(9, 900), NONE, unheard=1), found[10])
    assert (meter.taken, meter.unheard, meter.spoofed, meter.nowhere) == (Count(9, 900), 1, Count(2, 100), NONE)


def test_every_set_has_a_field_of_its_own() -> None:
    numbers = range(1, 1 + len(meters.set_steps(0, ipv6=True)))
    found = meters.sets([counted({struct.pack("=L", 10): (number, 14 * number)}) for number in numbers], ipv6=True)

    meter = meters.joined(ZERO, found[10])
    told = [value.packets for value in vars(meter).values() if isinstance(value, Count) and value != NONE]
    assert sorted(told) == list(numbers)


def test_since_a_moment() -> None:
    before = Meter(Count(1, 100), Count(2, 200), 1, 0, spoofed=Count(1, 60))
    after = Meter(Count(5, 700), Count(2, 200), 3, 1, spoofed=Count(1, 60), expired=Count(2, 80))

    assert after - before == Meter(Count(4, 600), NONE, 2, 1, expired=Count(2, 80))
    assert before - before == ZERO


def test_packets_that_the_kernel_threw_away_before_any_rule() -> None:
    """The lines of a namespace's /proc/net/snmp and netstat that count; TCP's may say the like."""
    text = b"""Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards
Ip: 1 64 100 5 7 90 0 2
Icmp: InMsgs InErrors
Icmp: 1 9
TcpExt: SyncookiesSent InHdrErrors
TcpExt: 0 99
IpExt: InNoRoutes InTruncatedPkts InMcastPkts
IpExt: 4 11 3
"""
    assert meters.header_errors(text) == 5 + 2 + 11
