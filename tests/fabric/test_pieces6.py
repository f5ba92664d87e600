"""Fragments of IPv6 joined with their flows: what was on the wire beyond the datagrams."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import Any

import numpy as np
import pytest

from emulator.fabric import marks
from emulator.fabric.pieces6 import FIRSTS6, LASTS6, PATIENCE_S, PIECES6, Matching6
from emulator.fabric.shapes6 import FLOW6

A, B = IPv6Address("2001:db8::"), IPv6Address("2001:db8:1::28")
OUT, IN = marks.FRAGMENTED | 5, marks.FRAGMENTED | marks.IN | 6
UDP, ICMPV6, GRE = 17, 58, 47
COUNTS = [("packets", "i8"), ("bytes", "i8")]


def identity(number: int) -> bytes:
    return struct.pack("=L", 10) + A.packed + B.packed + struct.pack(">L", number)


def enter(matching: Matching6, *datagrams: tuple[int, int, int, Any], now_s: float = 0.0, missing: str = "") -> None:
    """(identification, packets, bytes, first words of the upper header) of each; its first or last piece is missing."""
    pieces = [((identity(number),), packets, size) for number, packets, size, _ in datagrams]
    firsts = [((identity(number), *words),) for number, _, _, words in datagrams if missing != "first"]
    ends = [(number, size - 48 * packets, size) for number, packets, size, _ in datagrams if missing != "last"]
    lasts = [((identity(number), 16, 44, end - 8),) for number, end, _ in ends]
    matching.enter(
        np.array(pieces, [("key", PIECES6), *COUNTS]),
        np.array(firsts, [("key", FIRSTS6)]),
        np.array(lasts, [("key", LASTS6)]),
        now_s,
    )


def flow(mark: int, protocol: int, sport: int, dport: int, packets: int, size: int) -> tuple[int, ...]:
    ends = [half for end in (A, B) for half in divmod(int(end), 1 << 64)]
    return mark, protocol, *ends, sport, dport, packets, size, 0


def beyond(matching: Matching6, *flows: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(int(one["packets"]), int(one["bytes"])) for one in matching.beyond(np.array(list(flows), FLOW6))]


@pytest.mark.parametrize(
    ("first", "counted"),
    [
        pytest.param((UDP, 5000, 9, 0), (UDP, 5000, 9), id="ports"),
        pytest.param((UDP, 5000, 0, 0), (UDP, 5000, 0), id="port 0"),
        pytest.param((ICMPV6, 128 << 8, 0xDEAD, 7), (ICMPV6, 7, 128 << 8), id="identifier and type"),
        pytest.param((GRE, 1, 2, 3), (GRE, 0, 0), id="no ports"),
    ],
)
def test_a_datagram_is_as_many_more_packets_as_it_has_further_pieces_at_both_ends(first: Any, counted: Any) -> None:
    matching = Matching6()
    enter(matching, (1, 3, 4152, first))

    assert beyond(matching, flow(OUT, *counted, 1, 4048), flow(IN, *counted, 1, 4048)) == [(2, 104)] * 2
    assert beyond(matching, flow(OUT & marks.RULE, *counted, 1, 4048)) == [], "it was never in pieces"


def test_several_datagrams_of_a_flow_and_what_was_on_its_way_at_the_cut() -> None:
    matching, udp = Matching6(), (UDP, 5000, 9)
    enter(matching, (1, 3, 4152, (*udp, 0)), (2, 2, 2096, (*udp, 0)))
    assert beyond(matching, flow(OUT, *udp, 2, 6088), flow(IN, *udp, 1, 3044)) == [(3, 160), (1, 80)]
    enter(matching, (3, 2, 2096, (UDP, 1, 1, 0)))

    assert beyond(matching, flow(IN, *udp, 1, 3044)) == [(1, 80)]
    enter(matching, (4, 2, 2096, (UDP, 1, 1, 0)))
    assert beyond(matching, flow(IN, *udp, 1, 3044)) == [(0, 0)], "nothing is known of it any more"


@pytest.mark.parametrize("missing", ["first", "last"])
def test_pieces_that_are_not_complete_wait_but_not_for_ever(missing: str) -> None:
    words, udp = (UDP, 5000, 9, 0), (UDP, 5000, 9)
    for later, expected in ((PATIENCE_S - 1, (2, 104)), (PATIENCE_S + 1, (0, 0))):
        matching = Matching6()
        enter(matching, (1, 2, 2656, words), (2, 2, 2096, (*udp, 0)), missing=missing)
        assert beyond(matching, flow(OUT, *udp, 1, 4048)) == [(0, 0)]
        matching.enter(*rest(1, 4152, words, missing), later)
        assert beyond(matching, flow(OUT, *udp, 1, 4048)) == [expected]


def rest(number: int, size: int, words: Any, missing: str) -> Any:
    """The third piece of a datagram, with what was missing of it."""
    pieces = np.array([((identity(number),), 1, size - 2656)], [("key", PIECES6), *COUNTS])
    firsts = np.array([((identity(number), *words),)], [("key", FIRSTS6)])
    lasts = np.array([((identity(number), 16, 44, size - 3 * 48 - 8),)], [("key", LASTS6)])
    return pieces, firsts, lasts
