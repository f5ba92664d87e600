"""Kernel flow tables: how they are declared, read and decoded. Pure: text and bytes in, text and arrays out.

An ENI under a flow log has two generations of tables; one is filled by the packets, the other is at rest. Each
generation has a set for each shape of key, since elements of one set have equal keys. ``mark`` (see marks.py) makes
direction, verdict and deciding rule part of the key, so an entry is one flow as one rule judged it::

    shape   for                              key
    ports   TCP, UDP, DCCP, SCTP, UDP-Lite   mark . protocol . saddr . daddr . both ports
    icmp    ICMP                             mark . saddr . daddr . id . type and code
    rest    every other protocol             mark . protocol . saddr . daddr
    tcp     TCP with a flag but ACK, besides mark . saddr . daddr . both ports . flags

The last is there where records show TCP flags. Were they part of the first key, every connection would be four entries;
so they only count what is rare, and are OR-ed to the flow's entry later.

Fields of the packet are written as raw payload (``@nh`` with offset and length in bits), for the kernel reads these in
line: ``ip saddr`` asks for the family first and ``meta l4proto`` is a call, which together made logging a third dearer.

Sets are declared without a size: the kernel then bounds them at 65,535 entries and allocates as they grow. A packet
that finds no room goes on to the next rule, which counts it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

import numpy as np

from emulator.cloud.model import PORTS_PROTOCOLS
from emulator.errors import KernelRefused
from emulator.fabric import marks
from emulator.fabric.netlink import ACK, DUMP, DUMP_INTERRUPTED, REQUEST
from emulator.fabric.ruleset import TABLE

FLOW = np.dtype(
    [
        ("mark", "u4"),
        ("protocol", "u1"),
        ("saddr", "u4"),
        ("daddr", "u4"),
        ("sport", "u2"),
        ("dport", "u2"),
        ("packets", "i8"),
        ("bytes", "i8"),
        ("flags", "i2"),
    ]
)
"""One decoded entry: addresses as host-order integers; for ICMP sport is the identifier, dport ``type << 8 | code``;
for protocols without ports both are 0. Bytes are IP total lengths. ``flags`` are TCP's, OR-ed, or UNKNOWN_FLAGS; an
entry of the shape tcp has no packets of its own."""

UNKNOWN_FLAGS = -1
"""OR-ed with anything it stays what it is."""

_SHOWN_FLAGS, _SYN, _ACK = 0x2F, 0x02, 0x10
"""FIN, SYN, RST, PSH and URG; ACK is shown with SYN alone (source: alibaba.md §1.1)."""

CAPACITY = 65_535
"""Entries that a dynamic set without a declared size can hold (nft, kernel default)."""

_PORTS = ", ".join(str(number) for number in sorted(PORTS_PROTOCOLS))
_PORTS_AND_ICMP = ", ".join(str(number) for number in sorted(PORTS_PROTOCOLS | {1}))


@dataclass(frozen=True)
class Shape:
    """A form of key: what packets, how nft writes it, where its fields lie in the kernel's key (each padded to 4
    bytes)."""

    letter: str
    match: str
    expression: str
    key: np.dtype[np.void]
    protocol: int | None = None


_PROTOCOL, _SADDR, _DADDR = "@nh,72,8", "@nh,96,32", "@nh,128,32"

SHAPES: tuple[Shape, ...] = (
    Shape(
        "p",
        f"{_PROTOCOL} {{ {_PORTS} }}",
        f"meta mark . {_PROTOCOL} . {_SADDR} . {_DADDR} . @th,0,32",
        np.dtype(
            {
                "names": ["mark", "protocol", "saddr", "daddr", "sport", "dport"],
                "formats": ["=u4", "u1", ">u4", ">u4", ">u2", ">u2"],
                "offsets": [0, 4, 8, 12, 16, 18],
                "itemsize": 20,
            }
        ),
    ),
    Shape(
        "i",
        f"{_PROTOCOL} 1",
        f"meta mark . {_SADDR} . {_DADDR} . @th,32,16 . @th,0,16",
        np.dtype(
            {
                "names": ["mark", "saddr", "daddr", "sport", "dport"],
                "formats": ["=u4", ">u4", ">u4", ">u2", ">u2"],
                "offsets": [0, 4, 8, 12, 16],
                "itemsize": 20,
            }
        ),
        protocol=1,
    ),
    Shape(
        "r",
        f"{_PROTOCOL} != {{ {_PORTS_AND_ICMP} }}",
        f"meta mark . {_PROTOCOL} . {_SADDR} . {_DADDR}",
        np.dtype(
            {
                "names": ["mark", "protocol", "saddr", "daddr"],
                "formats": ["=u4", "u1", ">u4", ">u4"],
                "offsets": [0, 4, 8, 12],
                "itemsize": 16,
            }
        ),
    ),
)

TCP_FLAGS = Shape(
    "t",
    f"{_PROTOCOL} 6 @th,104,8 & {_SHOWN_FLAGS:#x} != 0",
    f"meta mark . {_SADDR} . {_DADDR} . @th,0,32 . @th,104,8",
    np.dtype(
        {
            "names": ["mark", "saddr", "daddr", "sport", "dport", "flags"],
            "formats": ["=u4", ">u4", ">u4", ">u2", ">u2", "u1"],
            "offsets": [0, 4, 8, 12, 14, 16],
            "itemsize": 20,
        }
    ),
    protocol=6,
)


def shapes(*, tcp_flags: bool) -> tuple[Shape, ...]:
    """The shapes of an ENI's sets."""
    return (TCP_FLAGS, *SHAPES) if tcp_flags else SHAPES


def set_name(index: int, generation: int, shape: Shape) -> str:
    return f"f{index}g{generation}{shape.letter}"


def skip_counter(index: int, generation: int) -> str:
    return f"s{index}g{generation}"


def skip_counters_in(index: int) -> tuple[str, str]:
    """Of what was skipped, that which was on its way to the ENI: accepted and rejected, in both generations. They are
    named, for where a set finds no room the kernel may have none for an element in another set either."""
    return f"s{index}a", f"s{index}r"


def chain_name(index: int, generation: int) -> str:
    return f"a{index}g{generation}"


def declare(index: int, *, tcp_flags: bool = False) -> str:
    """The sets, counters and chains of one ENI, both generations."""
    lines = [f"add counter {TABLE} {name}" for name in skip_counters_in(index)]
    for generation in (0, 1):
        lines.append(f"add counter {TABLE} {skip_counter(index, generation)}")
        lines.append(f"add chain {TABLE} {chain_name(index, generation)}")
        lines += _sets_and_rules(index, generation, shapes(tcp_flags=tcp_flags))
    return "\n".join(lines) + "\n"


def renew(index: int, generation: int, *, tcp_flags: bool = False) -> str:
    """Empty sets in place of those of a generation at rest. The kernel frees the old ones in the background: a flush of
    65,535 elements takes 45 ms, this 2 ms."""
    lines, present = [f"flush chain {TABLE} {chain_name(index, generation)}"], shapes(tcp_flags=tcp_flags)
    lines += [f"delete set {TABLE} {set_name(index, generation, shape)}" for shape in present]
    return "\n".join([*lines, *_sets_and_rules(index, generation, present)]) + "\n"


def _sets_and_rules(index: int, generation: int, present: Iterable[Shape]) -> Iterator[str]:
    chain = chain_name(index, generation)
    for shape in present:
        name, end = set_name(index, generation, shape), "" if shape is TCP_FLAGS else " return"
        yield f"add set {TABLE} {name} {{ typeof {shape.expression}; flags dynamic; }}"
        yield f"add rule {TABLE} {chain} {shape.match} update @{name} {{ {shape.expression} counter }}{end}"
    for mark, counter in zip((marks.IN, marks.IN | marks.REJECT), skip_counters_in(index), strict=True):
        test = f"meta mark & {marks.IN | marks.REJECT:#x} == {mark:#x}"
        yield f"add rule {TABLE} {chain} {test} counter name {counter}"
    yield f"add rule {TABLE} {chain} counter name {skip_counter(index, generation)}"


def remove(index: int, *, tcp_flags: bool = False) -> str:
    """Take back what :func:`declare` made; nothing may jump there any more."""
    chains = [f"delete chain {TABLE} {chain_name(index, generation)}" for generation in (0, 1)]
    rest = []
    for generation in (0, 1):
        present = shapes(tcp_flags=tcp_flags)
        rest += [f"delete set {TABLE} {set_name(index, generation, shape)}" for shape in present]
        rest.append(f"delete counter {TABLE} {skip_counter(index, generation)}")
    rest += [f"delete counter {TABLE} {name}" for name in skip_counters_in(index)]
    return "\n".join([*chains, *rest]) + "\n"


# reading ---------------------------------------------------------------------------------------------

_NFTABLES, _GETSETELEM, _NEWSETELEM, _GETOBJ, _NEWOBJ, _INET = 10 << 8, 13, 12, 19, 18, 1
_TABLE_NAME = TABLE.split()[1].encode() + b"\0"
_NESTED = 0x3FFF


def _request(kind: int, flags: int, attributes: bytes, family: int = _INET) -> bytes:
    body = struct.pack("=BBH", family, 0, 0) + attributes
    return struct.pack("=LHHLL", 16 + len(body), _NFTABLES | kind, REQUEST | flags, 1, 0) + body


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def dump_request(name: str, family: int = _INET) -> bytes:
    """Ask for all elements of a set of the table of a family (protocol NETFILTER)."""
    return _request(_GETSETELEM, DUMP, _attribute(1, _TABLE_NAME) + _attribute(2, name.encode() + b"\0"), family)


def counter_request(name: str) -> bytes:
    """Ask for a named counter (protocol NETFILTER)."""
    attributes = _attribute(1, _TABLE_NAME) + _attribute(2, name.encode() + b"\0") + _attribute(3, struct.pack(">L", 1))
    return _request(_GETOBJ, ACK, attributes)


def _messages(answer: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """(type, flags, first byte, end) of each netlink message."""
    at = 0
    while at + 16 <= len(answer):
        length, kind, flags = struct.unpack_from("=LHH", answer, at)
        yield kind, flags, at + 16, at + length
        at += (length + 3) & ~3


def _attributes(answer: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, first byte, end) of each attribute."""
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", answer, at)
        yield kind & _NESTED, at + 4, at + length
        at += (length + 3) & ~3


def decode(shape: Shape, answer: memoryview) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """The elements of one dump as an array of FLOW.

    Elements of one set have one layout: it is found in the first and then laid over all of them, without a loop.
    Raises KernelRefused where the dump was interrupted by a change or an element has another length.
    """
    parts = []
    for kind, flags, at, end in _messages(answer):
        if flags & DUMP_INTERRUPTED:
            raise KernelRefused("the dump of a flow table was interrupted by a change", request="read a flow table")
        if kind == _NFTABLES | _NEWSETELEM:
            parts += [answer[a:b] for attr, a, b in _attributes(answer, at + 4, end) if attr == 3 and b > a]
    if not parts:
        return np.empty(0, FLOW)
    size, layout = _layout(shape, parts[0])
    raw = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
    if len(raw) % size:
        raise KernelRefused("elements of one flow table differ in length", request="read a flow table")
    elements = np.frombuffer(raw, layout)
    if (elements["length"] != size).any():
        raise KernelRefused("elements of one flow table differ in length", request="read a flow table")
    flows = np.zeros(len(elements), FLOW)
    for name in shape.key.names or ():
        flows[name] = elements["key"][name]
    if shape.protocol is not None:
        flows["protocol"] = shape.protocol
    if shape is TCP_FLAGS:
        opened = (flows["flags"] & (_SYN | _ACK)) == _SYN | _ACK
        flows["flags"] = flows["flags"] & _SHOWN_FLAGS | np.where(opened, _ACK, 0)
    else:
        flows["packets"], flows["bytes"] = elements["packets"], elements["bytes"]
    return flows


def _layout(shape: Shape, part: memoryview) -> tuple[int, np.dtype[np.void]]:
    """Where key and counters lie in the first element: (its padded length, a dtype over it)."""
    size = (struct.unpack_from("=H", part, 0)[0] + 3) & ~3
    found: dict[str, int] = {}
    for kind, at, end in _attributes(part, 4, size):
        if kind == 1:  # NFTA_SET_ELEM_KEY > NFTA_DATA_VALUE
            found["key"] = at + 4
            if end - at - 4 != shape.key.itemsize:
                raise KernelRefused(f"a key of {end - at - 4} bytes where {shape.key.itemsize} were expected")
        elif kind == 7:  # NFTA_SET_ELEM_EXPR > NFTA_EXPR_DATA > NFTA_COUNTER_BYTES, _PACKETS
            for inner, a, b in _attributes(part, at, end):
                if inner == 2:
                    found.update({"bytes" if c == 1 else "packets": d for c, d, _ in _attributes(part, a, b) if c < 3})
    names = ["length", "key", "packets", "bytes"]
    layout = np.dtype(
        {
            "names": names,
            "formats": ["=u2", shape.key, ">i8", ">i8"],
            "offsets": [0, *(found[name] for name in names[1:])],
            "itemsize": size,
        }
    )
    return size, layout


def decode_counts(answer: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """(key, packets, bytes) of the elements of a small set of any key."""
    for kind, _, at, end in _messages(answer):
        if kind == _NFTABLES | _NEWSETELEM:
            for attr, a, b in _attributes(answer, at + 4, end):
                for _, element, behind in _attributes(answer, a, b) if attr == 3 else ():
                    yield _count(answer, element, behind)


def _count(answer: memoryview, at: int, end: int) -> tuple[bytes, int, int]:
    key, values = b"", {1: 0, 2: 0}
    for kind, a, b in _attributes(answer, at, end):
        if kind == 1:  # NFTA_SET_ELEM_KEY > NFTA_DATA_VALUE
            key = bytes(answer[a + 4 : b])
        elif kind == 7:  # NFTA_SET_ELEM_EXPR > NFTA_EXPR_DATA > NFTA_COUNTER_BYTES, _PACKETS
            for inner, c, d in _attributes(answer, a, b):
                if inner == 2:
                    values |= {one: struct.unpack_from(">Q", answer, e)[0] for one, e, _ in _attributes(answer, c, d)}
    return key, values[2], values[1]


def decode_counter(answer: memoryview) -> tuple[int, int]:
    """(packets, bytes) of a named counter."""
    for kind, _, at, end in _messages(answer):
        if kind == _NFTABLES | _NEWOBJ:
            for attr, a, b in _attributes(answer, at + 4, end):
                if attr == 4:
                    values = {
                        c: struct.unpack_from(">Q", answer, d)[0] for c, d, _ in _attributes(answer, a, b) if c < 3
                    }
                    return int(values[2]), int(values[1])
    return 0, 0


def conntrack_statistics_request() -> bytes:
    """Ask for a namespace's connection tracking statistics (protocol NETFILTER)."""
    body = struct.pack("=BBH", 0, 0, 0)
    return struct.pack("=LHHLL", 16 + len(body), (1 << 8) | 4, REQUEST | DUMP, 1, 0) + body


def forget_connections(address: IPv4Address) -> list[bytes]:
    """Delete the connections from and to an address: two requests (protocol NETFILTER, CTA_FILTER by one address)."""
    requests = []
    for kind, flag in ((1, 1), (2, 2)):  # CTA_IP_V4_SRC, _DST and the filter's bits for them
        tuple_ = _attribute(1 | 0x8000, _attribute(1 | 0x8000, _attribute(kind, address.packed)))
        flags = _attribute(1, struct.pack("=L", flag)) + _attribute(2, struct.pack("=L", 0))
        body = struct.pack("=BBH", 2, 1, 0) + tuple_ + _attribute(25 | 0x8000, flags)
        requests.append(struct.pack("=LHHLL", 16 + len(body), (1 << 8) | 2, REQUEST | ACK, 1, 0) + body)
    return requests


def decode_conntrack_drops(answer: memoryview) -> int:
    """Packets dropped because the connection table, or a chain of it, was full, over all processors."""
    drops = 0
    for kind, _, at, end in _messages(answer):
        if kind >> 8 == 1:
            found = {attr: struct.unpack_from(">L", answer, a)[0] for attr, a, _ in _attributes(answer, at + 4, end)}
            drops += found.get(10, 0) + found.get(15, 0)  # CTA_STATS_DROP, CTA_STATS_CHAIN_TOOLONG
    return drops
