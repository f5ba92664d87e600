"""Packets of new flows for which the kernel had no counter, kept by other means until they are read. Pure.

A counter lies in per-CPU memory, and a packet that begins a flow can have one only where that memory has a page in
stock. Where others used the stock up (namespaces, links and rules are made of it, too), every new flow of the moment
finds none, until the kernel has fetched more in the background. Such a packet goes on from its ENI's tables to a set of
the whole VPC whose elements are quotas, which are ordinary memory::

    shape    interface . mark . IP header . what else the shape's key has  →  bytes

The mark tells the generation, too (marks.SPILT). A quota counts bytes alone; the header has the packet's length, and so
tells how many there were. It stands there whole, for nftables cannot join more than five fields. Elements are few and
rare: a set is only read for an ENI whose tables skipped a packet, and only what belongs to tables at rest. What a full
table skipped is here, too, and stays skipped: a table has so many entries and no more.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.fabric import marks, tables
from emulator.fabric.families import IPV4, IPV6, Family
from emulator.fabric.ruleset import TABLE
from emulator.fabric.tables import Shape

NEVER = 1 << 62
"""A quota that is never used up: the kernel tells no more than the quota itself."""

CONSUMED: Mapping[int, str] = {4: "bytes"}
"""NFTA_QUOTA_CONSUMED."""

_HEADER_BYTES = {IPV4: 20, IPV6: 40}
_BEFORE_PAYLOAD = {IPV4: 0, IPV6: 40}
"""What a header's length leaves out."""

_FIELDS: Mapping[Family, Sequence[tuple[str, str, int]]] = {
    IPV4: (("length", ">u2", 2), ("protocol", "u1", 9), ("saddr", ">u4", 12), ("daddr", ">u4", 16)),
    IPV6: (
        *(("length", ">u2", 4), ("saddr_net", ">u8", 8), ("saddr", ">u8", 16)),
        *(("daddr_net", ">u8", 24), ("daddr", ">u8", 32)),
    ),
}
"""Of the header, with their offsets."""

_BEHIND: Mapping[str, Sequence[tuple[str, str, int]]] = {
    "meta l4proto": (("protocol", "u1", 0),),
    "@th,0,32": (("sport", ">u2", 0), ("dport", ">u2", 2)),
    "@th,32,16": (("sport", ">u2", 0),),
    "@th,0,16": (("dport", ">u2", 0),),
}
"""What a shape's key has besides mark and header, each padded to 4 bytes."""


def set_name(shape: Shape) -> str:
    return f"spilt_{shape.letter}"


def chains(families: Sequence[Family]) -> str:
    """Where the tables lead; what is there already stays."""
    return "".join(f"add chain {TABLE} {tables.spill_chain(family)}\n" for family in families)


def declare(present: Sequence[Shape]) -> str:
    """The sets for these shapes, with the chains and the rules that fill them, whatever was there."""
    families = list(dict.fromkeys(shape.family for shape in present))
    lines = [f"flush chain {TABLE} {tables.spill_chain(family)}" for family in families]
    lines += [line for shape in _counted(present) for line in _set_and_rules(shape)]
    keep = f"meta mark set meta mark & {~marks.SPILT & 0xFFFF_FFFF:#x}"
    lines += [f"add rule {TABLE} {tables.spill_chain(family)} {keep}" for family in families]
    return chains(families) + "\n".join(lines) + "\n"


def _set_and_rules(shape: Shape) -> Iterator[str]:
    name, chain = set_name(shape), tables.spill_chain(shape.family)
    rest = " . ".join(["meta mark", f"@nh,0,{8 * _HEADER_BYTES[shape.family]}", *_behind(shape)])
    yield f"add set {TABLE} {name} {{ typeof iif . {rest}; flags dynamic; }}"
    for mark, interface in ((marks.IN, "oif"), (0, "iif")):
        test = f"meta mark & {marks.IN:#x} == {mark:#x} {shape.match}"
        yield f"add rule {TABLE} {chain} {test} update @{name} {{ {interface} . {rest} quota over {NEVER} bytes }}"


def _counted(present: Sequence[Shape]) -> list[Shape]:
    return [shape for shape in present if not shape.aside]


def _behind(shape: Shape) -> list[str]:
    return [field for field in shape.expression.split(" . ") if field in _BEHIND]


def sets(present: Sequence[Shape]) -> list[tuple[str, Shape]]:
    """Names and shapes of the sets."""
    return [(set_name(shape), shape) for shape in _counted(present)]


@functools.cache
def _key(shape: Shape) -> np.dtype[np.void]:
    size = 8 + _HEADER_BYTES[shape.family]
    fields = [("index", "=u4", 0), ("mark", "=u4", 4)]
    fields += [(name, form, 8 + at) for name, form, at in _FIELDS[shape.family]]
    for field in _behind(shape):
        fields += [(name, form, size + at) for name, form, at in _BEHIND[field]]
        size += 4
    return tables.key_dtype(size, *fields)


@dataclass(frozen=True)
class Spilt:
    """The elements of a set: their ``keys`` as bytes, interface and generation by which they are known, and the flows
    that they are."""

    keys: np.ndarray[Any, Any]
    index: np.ndarray[Any, Any]
    generation: np.ndarray[Any, Any]
    flows: np.ndarray[tuple[int], np.dtype[np.void]]


def decode(shape: Shape, answer: memoryview) -> Spilt:
    """The elements of one dump."""
    key = _key(shape)
    found = tables.decode_elements(np.dtype(f"V{key.itemsize}"), answer, CONSUMED)
    keys = np.ascontiguousarray(found["key"])  # as bytes: the fields leave out most of the header
    fields = keys.view(key)
    flows = tables.flows_of(shape, fields)
    flows["mark"] &= ~np.uint32(marks.SPILT)
    flows["bytes"] = found["bytes"]
    flows["packets"] = found["bytes"] // (fields["length"] + np.int64(_BEFORE_PAYLOAD[shape.family]))
    return Spilt(keys, fields["index"], (fields["mark"] & marks.SPILT != 0).astype(np.int64), flows)
