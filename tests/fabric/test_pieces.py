"""Pieces and wholes joined: what was on the wire beyond the datagrams."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emulator.fabric import marks
from emulator.fabric.pieces import PATIENCE_S, Matching

COUNTS = [("packets", "i8"), ("bytes", "i8")]
PIECE = np.dtype([("protocol", "u1"), ("saddr", "u4"), ("daddr", "u4"), ("id", "u2"), *COUNTS])
WHOLE = np.dtype(
    [
        *(("index", "u4"), ("mark", "u4"), ("protocol", "u1"), ("saddr", "u4"), ("daddr", "u4")),
        *(("sport", "u2"), ("dport", "u2"), ("icmp_id", "u2"), ("id", "u2")),
        *COUNTS,
    ]
)
A, B = 10, 11
OUT, IN, FORGED = marks.FRAGMENTED | 5, marks.FRAGMENTED | marks.IN | 6, marks.FRAGMENTED


def piece(ident: int, packets: int, size: int = 0) -> tuple[Any, ...]:
    return 17, 1, 2, ident, packets, size or 1500 * packets


def whole(ident: int, index: int = A, mark: int = OUT, port: int = 9, count: int = 1, size: int = 0) -> tuple[Any, ...]:
    return index, mark, 17, 1, 2, port, 9, 0, ident, count, size or 1480 * count


def enter(matching: Matching, pieces: list[Any], wholes: list[Any], now_s: float = 0.0) -> list[tuple[int, ...]]:
    joined = matching.enter(np.array(pieces, PIECE), np.array(wholes, WHOLE), now_s)
    return [
        (int(index), int(flow["sport"]), int(flow["packets"]), int(flow["bytes"]))
        for index, flow in zip(joined.index, joined.flows, strict=True)
    ]


def test_a_datagram_is_as_many_more_packets_as_it_has_further_pieces_at_both_ends() -> None:
    found = enter(Matching(), [piece(1, 3, 4068)], [whole(1, size=4028), whole(1, B, IN, size=4028)])

    assert found == [(A, 9, 2, 40), (B, 9, 2, 40)]


def test_pieces_wait_for_their_datagram_but_not_for_ever() -> None:
    early, late = Matching(), Matching()
    for matching, now_s in ((early, PATIENCE_S - 1), (late, PATIENCE_S + 1)):
        assert enter(matching, [piece(1, 2, 2000)], []) == []
        found = enter(matching, [piece(1, 1, 500)], [whole(1, size=2460)], now_s)
        assert found == [(A, 9, 2, 40)] if matching is early else found[0][2] == 0


def test_what_was_on_its_way_at_the_cut_finds_its_pieces_at_the_next_one() -> None:
    matching = Matching()
    enter(matching, [piece(1, 3, 4068)], [whole(1, size=4028)])

    assert enter(matching, [], [whole(1, B, IN, size=4028)]) == [(B, 9, 2, 40)]


def test_pieces_are_used_once() -> None:
    matching = Matching()
    enter(matching, [piece(1, 3, 4068)], [whole(1, size=4028)])

    assert enter(matching, [piece(1, 2, 2040)], [whole(1, size=2020)]) == [(A, 9, 1, 20)]


def test_a_forged_source_has_all_its_pieces_and_no_rule() -> None:
    assert enter(Matching(), [piece(1, 3, 4068)], [whole(1, mark=FORGED, size=4028)]) == [(A, 9, 3, 4068)]


def test_a_datagram_of_which_no_piece_was_counted_is_no_more_than_it_is() -> None:
    assert enter(Matching(), [], [whole(1)]) == [(A, 9, 0, 0)]


def test_datagrams_that_are_short_of_pieces_are_told() -> None:
    def short(*pieces: Any) -> list[int]:
        wholes = np.array([whole(1, size=4028), whole(1, B, IN, size=4028)], WHOLE)
        return [int(one) for one in Matching().enter(np.array(list(pieces), PIECE), wholes, 0.0).short]

    assert short(piece(1, 3, 4068)) == [0, 0]
    assert short(piece(1, 2, 3000)) == short(piece(1, 1, 1500)) == short() == [1, 1]


def test_where_only_some_pieces_found_room_their_headers_are_what_is_more() -> None:
    assert enter(Matching(), [piece(1, 2, 3000)], [whole(1, size=4028)]) == [(A, 9, 1, 20)]
    assert enter(Matching(), [piece(1, 1, 1500)], [whole(1, size=4028)]) == [(A, 9, 0, 0)]


def test_identifier_and_type_of_icmp_and_no_ports_of_the_rest() -> None:
    wholes = [list(whole(1)), list(whole(2))]
    wholes[0][2], wholes[0][5], wholes[0][7] = 1, 8 << 8, 77
    wholes[1][2] = 47
    joined = Matching().enter(np.empty(0, PIECE), np.array([tuple(one) for one in wholes], WHOLE), 0.0)

    assert joined.flows["sport"].tolist() == [77, 0]
    assert joined.flows["dport"].tolist() == [8 << 8, 0]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(2, 45)), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_nothing_is_lost_or_counted_twice(datagrams: list[tuple[int, int, int]], dice: Any) -> None:
    """Datagrams of a few flows and numbers, cut at random into two generations, those of a number in one."""
    matching, late = Matching(), {ident: dice.random() < 0.5 for ident in range(6)}
    more = Counter[int]()
    for generation in (False, True):
        pieces, wholes = Counter[int](), Counter[tuple[int, int]]()
        for ident, port, count in datagrams:
            if late[ident] is generation:
                pieces[ident] += count
                wholes[ident, port] += 1
        told = [piece(ident, count) for ident, count in pieces.items()]
        ends = [(A, OUT), (B, IN)]
        both = [whole(ident, *end, port, count) for end in ends for (ident, port), count in wholes.items()]
        for index, _, packets, _ in enter(matching, told, both):
            assert packets >= 0
            more[index] += packets

    expected = sum(count - 1 for _, _, count in datagrams)
    assert more == Counter({A: expected, B: expected}) or (expected == 0 and not any(more.values()))
