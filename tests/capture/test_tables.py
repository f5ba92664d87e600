"""Decoding netlink dumps of flow tables, from bytes written here by hand after linux/netfilter/nf_tables.h."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import pytest

from emulator.errors import KernelRefused
from emulator.fabric import connections, elements, tables
from emulator.fabric.families import IPV6
from emulator.fabric.shapes6 import SHAPES6, shapes6

PORTS, ICMP, REST = tables.SHAPES
PORTS6, ICMP6, REST6 = SHAPES6
(FLAGS6,) = set(shapes6(tcp_flags=True)) - set(SHAPES6)
NEWSETELEM, NEWOBJ, DONE, INTERRUPTED, MULTI = 10 << 8 | 12, 10 << 8 | 18, 3, 0x10, 0x2

PORTS_KEY = struct.pack("=I", 0x10005) + b"\x06\0\0\0" + bytes([10, 16, 0, 22, 10, 16, 0, 40, 0x04, 0xD2, 1, 187])
ICMP_KEY = struct.pack("=I", 5) + bytes([10, 16, 0, 22, 10, 16, 0, 40, 0x12, 0x34, 0, 0, 8, 0, 0, 0])
REST_KEY = struct.pack("=I", 0x20007) + b"\x2f\0\0\0" + bytes([10, 16, 0, 22, 255, 255, 255, 255])


ENDS6 = bytes.fromhex("20010db8 00010000 00000000 00000016 20010db8 00020000 00000000 00000028")
HALVES = (0x2001_0DB8_0001_0000, 0x16, 0x2001_0DB8_0002_0000, 0x28)
PORTS6_KEY = struct.pack("=I", 0x10005) + b"\x11\0\0\0" + ENDS6 + bytes([0x04, 0xD2, 1, 187])
ICMP6_KEY = struct.pack("=I", 5) + ENDS6 + bytes([0x12, 0x34, 0, 0, 128, 0, 0, 0])
REST6_KEY = struct.pack("=I", 0x20007) + b"\x2f\0\0\0" + ENDS6
FLAGS6_KEY = struct.pack("=I", 5) + ENDS6 + bytes([0x04, 0xD2, 1, 187, 0x12, 0, 0, 0])


def attribute(kind: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | 0x8000, *parts)


def counter(packets: int, size: int) -> bytes:
    return nested(2, attribute(1, struct.pack(">Q", size)), attribute(2, struct.pack(">Q", packets)))


def element(key: bytes, packets: int, size: int) -> bytes:
    """NFTA_LIST_ELEM of key, flags as newer kernels add them, and expression "counter"."""
    expression = nested(7, attribute(1, b"counter\0"), counter(packets, size))
    return nested(1, nested(1, attribute(1, key)), expression)


def message(kind: int, body: bytes, flags: int = MULTI) -> bytes:
    return struct.pack("=LHHLL", 16 + len(body), kind, flags, 1, 0) + body + b"\0" * (-len(body) % 4)


def dump(messages: Iterable[Sequence[bytes]], flags: int = MULTI) -> memoryview:
    """An answer of several messages with several elements each, and its end."""
    head = struct.pack("=BBH", 1, 0, 0) + attribute(1, b"vpc\0") + attribute(2, b"f10g0p\0")
    parts = [message(NEWSETELEM, head + nested(3, *elements), flags) for elements in messages]
    return memoryview(b"".join([*parts, message(DONE, struct.pack("=i", 0))]))


@pytest.mark.parametrize(
    ("shape", "key", "expected"),
    [
        pytest.param(PORTS, PORTS_KEY, (0x10005, 6, 0x0A100016, 0x0A100028, 1234, 443), id="ports"),
        pytest.param(ICMP, ICMP_KEY, (5, 1, 0x0A100016, 0x0A100028, 0x1234, 0x0800), id="icmp"),
        pytest.param(REST, REST_KEY, (0x20007, 47, 0x0A100016, 0xFFFFFFFF, 0, 0), id="rest"),
        pytest.param(PORTS6, PORTS6_KEY, (0x10005, 17, *HALVES, 1234, 443), id="ports of IPv6"),
        pytest.param(ICMP6, ICMP6_KEY, (5, 58, *HALVES, 0x1234, 0x8000), id="ICMPv6"),
        pytest.param(REST6, REST6_KEY, (0x20007, 47, *HALVES, 0, 0), id="rest of IPv6"),
    ],
)
def test_each_shape(shape: tables.Shape, key: bytes, expected: tuple[int, ...]) -> None:
    flows = tables.decode(shape, dump([[element(key, 9, 756)]]))

    assert flows.tolist() == [(*expected, 9, 756, 0)]


def test_elements_of_several_messages_stay_in_order() -> None:
    keys = [PORTS_KEY[:-2] + struct.pack(">H", number) for number in range(7)]
    flows = tables.decode(
        PORTS, dump([[element(key, n + 1, 2**40 + n) for n, key in enumerate(keys)][i::3] for i in range(3)])
    )

    assert flows["dport"].tolist() == [0, 3, 6, 1, 4, 2, 5]
    assert flows["bytes"].tolist() == [2**40 + n for n in (0, 3, 6, 1, 4, 2, 5)]
    assert flows["packets"].tolist() == [1, 4, 7, 2, 5, 3, 6]


@pytest.mark.parametrize("answer", [pytest.param(dump([]), id="no message"), pytest.param(dump([[]]), id="no element")])
def test_an_empty_set(answer: memoryview) -> None:
    assert tables.decode(PORTS, answer).tolist() == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(dump([[element(PORTS_KEY, 1, 1)]], INTERRUPTED), "interrupted", id="changed meanwhile"),
        pytest.param(dump([[element(PORTS_KEY, 1, 1), element(REST_KEY, 1, 1)]]), "length", id="lengths differ"),
        pytest.param(dump([[element(REST_KEY, 1, 1)]]), "20 were expected", id="another key"),
    ],
)
def test_a_dump_that_cannot_be_trusted_is_refused(answer: memoryview, said: str) -> None:
    with pytest.raises(KernelRefused, match=said):
        tables.decode(PORTS, answer)


def test_a_named_counter() -> None:
    body = (
        struct.pack("=BBH", 1, 0, 0) + attribute(1, b"vpc\0") + attribute(2, b"spoofed\0") + attribute(3, b"\0\0\0\1")
    )
    body += nested(4, attribute(1, struct.pack(">Q", 756)), attribute(2, struct.pack(">Q", 9)))

    assert elements.decode_counter(memoryview(message(NEWOBJ, body))) == (9, 756)
    assert elements.decode_counter(memoryview(message(DONE, b"\0" * 4))) == (0, 0)


def test_connections_that_found_no_room_are_summed_over_processors() -> None:
    def processor(drop: int, chain_too_long: int) -> bytes:
        values = {4: 3, 9: 40, 10: drop, 11: 500, 15: chain_too_long}
        body = b"".join(attribute(kind, struct.pack(">L", value)) for kind, value in values.items())
        return message(1 << 8, struct.pack("=BBH", 0, 0, 0) + body)

    answer = memoryview(processor(7, 1) + processor(5, 0) + message(DONE, b"\0" * 4))

    assert connections.decode_drops(answer) == 13


def test_flags_of_ipv6_have_no_packets_of_their_own() -> None:
    (flow,) = tables.decode(FLAGS6, dump([[element(FLAGS6_KEY, 9, 756)]]))

    assert flow.tolist() == (5, 6, *HALVES, 1234, 443, 0, 0, 0x12)


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("tcp_flags", [False, True])
def test_the_text_of_an_enis_tables_is_taken_back_whole(tcp_flags: bool, ipv6: bool) -> None:
    def named(text: str) -> set[tuple[str, str]]:
        return {(words[1], words[4]) for words in map(str.split, text.splitlines()) if words[1] != "rule"}

    present = (*tables.shapes(tcp_flags=tcp_flags), *(shapes6(tcp_flags=tcp_flags) if ipv6 else ()))
    declared, removed = named(tables.declare(12, present)), named(tables.remove(12, present))

    assert declared == removed
    assert len(declared) == 2 * (len(present) + 2 + ipv6) + len(tables.skip_counters_in(12))
    assert (("chain", tables.chain_name(12, 1, IPV6)) in declared) == ipv6
