"""The form of netlink messages, written and walked; pyroute2 reads the same."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import nlmsg

from emulator.errors import KernelRefused
from emulator.fabric import wire

PIECES = st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=9)), max_size=6)


@given(PIECES, st.booleans())
def test_attributes_are_found_as_they_were_written(pieces: list[tuple[int, bytes]], nested: bool) -> None:
    write = wire.nested if nested else wire.attribute
    data = b"".join(write(kind, body) for kind, body in pieces)

    found = [(kind, data[at:end]) for kind, at, end in wire.attributes(data, 0, len(data))]

    assert found == pieces


@given(PIECES)
def test_messages_are_found_as_they_were_written(pieces: list[tuple[int, bytes]]) -> None:
    padded = [(kind, body.ljust(-(-len(body) // 4) * 4, b"\0")) for kind, body in pieces]
    data = b"".join(wire.message(kind, wire.ACK, 7, body) for kind, body in padded)

    found = [(kind, flags, data[at:end]) for kind, flags, at, end in wire.messages(data)]

    assert found == [(kind, wire.ACK, body) for kind, body in padded]


def test_pyroute2_reads_the_header() -> None:
    read = nlmsg(wire.message(24, wire.REQUEST | wire.DUMP, 9, b""))
    read.decode()

    assert {name: read["header"][name] for name in ("length", "type", "flags", "sequence_number")} == {
        "length": 16,
        "type": 24,
        "flags": 0x301,
        "sequence_number": 9,
    }


@pytest.mark.parametrize(
    ("data", "at"),
    [
        pytest.param(b"\x10", 0, id="less than a header"),
        pytest.param(b"\0" * 16, 0, id="a length of nothing"),
        pytest.param(wire.message(1, 0, 1, b"") + wire.message(1, 0, 1, b"12345678")[:-1], 16, id="a body cut off"),
    ],
)
def test_what_is_cut_off_is_refused(data: bytes, at: int) -> None:
    with pytest.raises(KernelRefused, match=f"cut off after {at} bytes"):
        list(wire.messages(data))


def test_an_attribute_without_a_length_ends_the_walk() -> None:
    data = wire.number(1, 5) + struct.pack("=HH", 0, 2) + wire.number(3, 5)

    assert [kind for kind, _, _ in wire.attributes(data, 0, len(data))] == [1]
