"""Fragments for which the kernel had no counter, and datagrams that were made of them: spill.py for fragments. Pure.

What finds no counter in the sets of fragments.py and fragments6.py goes on to sets whose elements are quotas, with the
IP header in their keys, so that lengths and what makes fragments one datagram are told. They are read with the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from emulator.fabric import fragments, fragments6, spill, tables
from emulator.fabric.ruleset import TABLE

_PIECE = "@nh,0,160"
_WHOLE = "meta mark . @nh,0,160 . @th,0,32 . @th,32,16"
_PIECE6 = "@nh,0,320 . frag id"

_HEADER = (("length", ">u2", 2), ("id", ">u2", 4), ("protocol", "u1", 9), ("saddr", ">u4", 12), ("daddr", ">u4", 16))

Array = np.ndarray[Any, np.dtype[Any]]


PIECES = tables.key_dtype(24, *((name, form, 4 + at) for name, form, at in _HEADER))
WHOLES = tables.key_dtype(
    36,
    *(("index", "=u4", 0), ("mark", "=u4", 4)),
    *((name, form, 8 + at) for name, form, at in _HEADER),
    *(("sport", ">u2", 28), ("dport", ">u2", 30), ("icmp_id", ">u2", 32)),
)
"""What the keys of the two sets of IPv4 hold of what fragments.py has in its own."""

_KEY6_BYTES, _HEADER6_BYTES = 48, 40
_LENGTH6, _SIDES_AND_ID = slice(8, 10), slice(12, 48)


def set_names(generation: int) -> tuple[str, str]:
    """The sets beside those of ``fragments``."""
    pieces, wholes = fragments.set_names(generation)
    return f"spare_{pieces}", f"spare_{wholes}"


def set_names6(generation: int) -> tuple[str]:
    """The set beside those of ``fragments6``."""
    return (f"spare_{fragments6.set_names(generation)[0]}",)


def declare() -> str:
    """The sets for IPv4, and the rules that fill them, whatever was there."""
    return "".join(line for generation in (0, 1) for line in _sets(generation))


def declare6() -> str:
    """The set for IPv6, and the rule that fills it."""
    return "".join(line for generation in (0, 1) for line in _sets6(generation))


def _sets(generation: int) -> Iterator[str]:
    pieces, wholes = set_names(generation)
    yield _set(pieces, _PIECE)
    yield _set(wholes, _WHOLE)
    of_pieces, of_wholes = fragments.set_names(generation)
    yield _filling(of_pieces, pieces, "iif", _PIECE)
    yield _filling(f"{of_wholes}_out", wholes, "iif", _WHOLE)
    yield _filling(f"{of_wholes}_in", wholes, "oif", _WHOLE)


def _sets6(generation: int) -> Iterator[str]:
    (name,) = set_names6(generation)
    yield _set(name, _PIECE6)
    yield _filling(fragments6.set_names(generation)[0], name, "iif", _PIECE6)


def _set(name: str, key: str) -> str:
    return f"add set {TABLE} {name} {{ typeof iif . {key}; flags dynamic; }}\n"


def _filling(chain: str, name: str, end: str, key: str) -> str:
    spare = f"{TABLE} {fragments.spare_chain(chain)}"
    return (
        f"flush chain {spare}\n"
        f"add rule {spare} update @{name} {{ {end} . {key} quota until {spill.NEVER} bytes }} return\n"
        f"add rule {spare} {fragments.uncounted(end)}\n"
    )


def decode(key: np.dtype[np.void], answer: memoryview, like: np.dtype[np.void]) -> Array:
    """The elements of one dump of IPv4 in the form of the others: keys, packets and bytes side by side."""
    found = tables.decode_elements(np.dtype(f"V{key.itemsize}"), answer, spill.CONSUMED)
    fields = np.ascontiguousarray(found["key"]).view(key)
    flat = np.zeros(len(found), like)
    for name in set(key.names or ()) - {"length"}:
        flat[name] = fields[name]
    flat["bytes"] = found["bytes"]
    flat["packets"] = found["bytes"] // np.maximum(fields["length"], 1)
    return flat


def decode6(answer: memoryview, like: np.dtype[np.void]) -> Array:
    """The same for pieces of IPv6, whose key is their identity (fragments6.py)."""
    found = tables.decode_elements(np.dtype(f"V{_KEY6_BYTES}"), answer, spill.CONSUMED)
    octets = np.ascontiguousarray(found["key"]).view("u1").reshape(-1, _KEY6_BYTES)
    identity = np.concatenate([octets[:, :4], octets[:, _SIDES_AND_ID]], axis=1)
    flat = np.zeros(len(found), like)
    flat["key"]["identity"] = np.ascontiguousarray(identity).view("S40").ravel()
    flat["bytes"] = found["bytes"]
    lengths = np.ascontiguousarray(octets[:, _LENGTH6]).view(">u2").ravel()
    flat["packets"] = found["bytes"] // (lengths + np.int64(_HEADER6_BYTES))
    return flat
