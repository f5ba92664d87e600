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
so they only count what is rare, and are OR-ed to the flow's entry later. IPv6 has the same shapes with longer addresses
(shapes6.py) and chains of its own, where the VPC has any.

Fields of the packet are written as raw payload (``@nh`` with offset and length in bits), for the kernel reads these in
line: ``ip saddr`` asks for the family first and ``meta l4proto`` is a call, which together made logging a third dearer.

Sets are declared without a size: the kernel then bounds them at 65,535 entries and allocates as they grow. A packet
that finds no room goes on to the next rules, which count it and lead it to what spill.py keeps.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.cloud.model import PORTS_PROTOCOLS
from emulator.errors import KernelRefused
from emulator.fabric import elements, marks, wire
from emulator.fabric.families import IPV4, Family
from emulator.fabric.ruleset import PORTS, TABLE

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

COUNTER: Mapping[int, str] = {1: "bytes", 2: "packets"}
"""NFTA_COUNTER_BYTES and NFTA_COUNTER_PACKETS: what an element has beside its key."""
NOTHING: Mapping[int, str] = {}

FLAGGED = f"@th,104,8 & {_SHOWN_FLAGS:#x} != 0"
"""A TCP packet with a flag that is shown."""

_PORTS_AND_ICMP = ", ".join(str(number) for number in sorted(PORTS_PROTOCOLS | {1}))


@dataclass(frozen=True)
class Shape:
    """A form of key: what packets, how nft writes it, where its fields lie in the kernel's key (each padded to 4
    bytes). ``flow`` is what an entry is decoded into; one ``aside`` of another has no packets of its own."""

    letter: str
    match: str
    expression: str
    key: np.dtype[np.void]
    protocol: int | None = None
    flow: np.dtype[np.void] = FLOW
    family: Family = IPV4
    aside: bool = False


_PROTOCOL, _SADDR, _DADDR = "@nh,72,8", "@nh,96,32", "@nh,128,32"

SHAPES: tuple[Shape, ...] = (
    Shape(
        "p",
        f"{_PROTOCOL} {{ {PORTS} }}",
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
    f"{_PROTOCOL} 6 {FLAGGED}",
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
    aside=True,
)


def key_dtype(size: int, *fields: tuple[str, str, int]) -> np.dtype[np.void]:
    """A key of so many bytes, by (name, format, offset) of what is read of it."""
    names, formats, offsets = zip(*fields, strict=True)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def shapes(*, tcp_flags: bool) -> tuple[Shape, ...]:
    """The shapes of an ENI's sets for IPv4."""
    return (TCP_FLAGS, *SHAPES) if tcp_flags else SHAPES


def set_name(index: int, generation: int, shape: Shape) -> str:
    return f"f{index}g{generation}{shape.letter}"


def skip_counter(index: int, generation: int) -> str:
    return f"s{index}g{generation}"


def skip_counters_in(index: int) -> tuple[str, str]:
    """Of what was skipped, that which was on its way to the ENI: accepted and rejected, in both generations. They are
    named, for where a set finds no room the kernel may have none for an element in another set either."""
    return f"s{index}a", f"s{index}r"


def chain_name(index: int, generation: int, family: Family = IPV4) -> str:
    return f"a{index}g{generation}" + (f"v{family.suffix}" if family.suffix else "")


def spill_chain(family: Family) -> str:
    """Where packets go on for which a table had no room."""
    return f"spill{family.suffix}"


def declare(index: int, present: Sequence[Shape] = SHAPES) -> str:
    """The sets, counters and chains of one ENI, both generations; what is there already stays."""
    lines = [f"add counter {TABLE} {name}" for name in skip_counters_in(index)]
    for generation in (0, 1):
        lines.append(f"add counter {TABLE} {skip_counter(index, generation)}")
        lines += [f"add chain {TABLE} {chain_name(index, generation, family)}" for family in _families(present)]
        lines += _sets_and_rules(index, generation, present)
    return "\n".join(lines) + "\n"


def emptied(index: int, family: Family) -> str:
    """Chains of one ENI for a family, without rules whatever was there."""
    names = [chain_name(index, generation, family) for generation in (0, 1)]
    return "".join(f"add chain {TABLE} {name}\nflush chain {TABLE} {name}\n" for name in names)


def renew(index: int, generation: int, present: Sequence[Shape] = SHAPES) -> str:
    """Empty sets in place of those of a generation at rest. The kernel frees the old ones in the background: a flush of
    65,535 elements takes 45 ms, this 2 ms."""
    lines = [f"flush chain {TABLE} {chain_name(index, generation, family)}" for family in _families(present)]
    lines += [f"delete set {TABLE} {set_name(index, generation, shape)}" for shape in present]
    return "\n".join([*lines, *_sets_and_rules(index, generation, present)]) + "\n"


def _families(present: Sequence[Shape]) -> list[Family]:
    return list(dict.fromkeys(shape.family for shape in present))


def _sets_and_rules(index: int, generation: int, present: Sequence[Shape]) -> Iterator[str]:
    for shape in present:
        chain, name = chain_name(index, generation, shape.family), set_name(index, generation, shape)
        yield f"add set {TABLE} {name} {{ typeof {shape.expression}; flags dynamic; }}"
        counts, end = ("", "") if shape.aside else (" counter", " return")
        yield f"add rule {TABLE} {chain} {shape.match} update @{name} {{ {shape.expression}{counts} }}{end}"
    for family in _families(present):
        chain = chain_name(index, generation, family)
        for mark, counter in zip((marks.IN, marks.IN | marks.REJECT), skip_counters_in(index), strict=True):
            test = f"meta mark & {marks.IN | marks.REJECT:#x} == {mark:#x}"
            yield f"add rule {TABLE} {chain} {test} counter name {counter}"
        yield f"add rule {TABLE} {chain} counter name {skip_counter(index, generation)}"
        which = f"meta mark set meta mark | {marks.SPILT:#x} " if generation else ""
        yield f"add rule {TABLE} {chain} {which}goto {spill_chain(family)}"


def remove(index: int, present: Sequence[Shape] = SHAPES) -> str:
    """Take back what :func:`declare` made; nothing may jump there any more."""
    chains, rest = list[str](), list[str]()
    for generation in (0, 1):
        chains += [f"delete chain {TABLE} {chain_name(index, generation, family)}" for family in _families(present)]
        rest += [f"delete set {TABLE} {set_name(index, generation, shape)}" for shape in present]
        rest.append(f"delete counter {TABLE} {skip_counter(index, generation)}")
    rest += [f"delete counter {TABLE} {name}" for name in skip_counters_in(index)]
    return "\n".join([*chains, *rest]) + "\n"


# reading ---------------------------------------------------------------------------------------------


def decode_elements(
    key: np.dtype[np.void], answer: memoryview, numbers: Mapping[int, str] = COUNTER
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """The elements of one dump, with the field ``key`` and what ``numbers`` names of the values beside it.

    Elements of one set have one layout: it is found in the first and then laid over all of them, without a loop.
    Raises KernelRefused where the dump was interrupted by a change or an element has another length.
    """
    parts = []
    for flags, at, end in elements.lists(answer):
        if flags & wire.DUMP_INTERRUPTED:
            raise KernelRefused("the dump of a flow table was interrupted by a change", request="read a flow table")
        parts += [answer[at:end]] if end > at else []
    if not parts:
        return np.empty(0, [("key", key), *((name, ">i8") for name in numbers.values())])
    size, layout = _layout(key, parts[0], numbers)
    raw = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
    if len(raw) % size:
        raise KernelRefused("elements of one flow table differ in length", request="read a flow table")
    found = np.frombuffer(raw, layout)
    if (found["length"] != size).any():
        raise KernelRefused("elements of one flow table differ in length", request="read a flow table")
    return found


def decode(shape: Shape, answer: memoryview) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """The elements of one dump as an array of the shape's flows."""
    found = decode_elements(shape.key, answer, NOTHING if shape.aside else COUNTER)
    flows = flows_of(shape, found["key"])
    if shape.aside:
        flows["flags"] = shown_flags(flows["flags"])
    else:
        flows["packets"], flows["bytes"] = found["packets"], found["bytes"]
    return flows


def flows_of(shape: Shape, keys: np.ndarray[Any, Any]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """What keys with the fields of the shape's say of the flows, whose counts are 0."""
    flows = np.zeros(len(keys), shape.flow)
    for name in shape.key.names or ():
        flows[name] = keys[name]
    if shape.protocol is not None:
        flows["protocol"] = shape.protocol
    return flows


def shown_flags(flags: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Those of TCP's flags that records show."""
    opened = (flags & (_SYN | _ACK)) == _SYN | _ACK
    shown: np.ndarray[Any, Any] = flags & _SHOWN_FLAGS | np.where(opened, _ACK, 0)
    return shown


def _layout(key: np.dtype[np.void], part: memoryview, numbers: Mapping[int, str]) -> tuple[int, np.dtype[np.void]]:
    """Where key and numbers lie in the first element: (its padded length, a dtype over it)."""
    size = (struct.unpack_from("=H", part, 0)[0] + 3) & ~3
    found: dict[str, int] = {}
    for kind, at, end in wire.attributes(part, 4, size):
        if kind == 1:  # NFTA_SET_ELEM_KEY > NFTA_DATA_VALUE
            found["key"] = at + 4
            if end - at - 4 != key.itemsize:
                raise KernelRefused(f"a key of {end - at - 4} bytes where {key.itemsize} were expected")
        elif kind == 7:  # NFTA_SET_ELEM_EXPR > NFTA_EXPR_DATA
            for inner, a, b in wire.attributes(part, at, end):
                if inner == 2:
                    values = wire.attributes(part, a, b)
                    found.update({numbers[name]: first for name, first, _ in values if name in numbers})
    names = ["length", "key", *numbers.values()]
    layout = np.dtype(
        {
            "names": names,
            "formats": ["=u2", key, *(">i8" for _ in numbers)],
            "offsets": [0, *(found[name] for name in names[1:])],
            "itemsize": size,
        }
    )
    return size, layout
