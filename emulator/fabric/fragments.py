"""Fragments as they were on the wire: how the kernel counts them, and what that makes of datagrams. Pure.

Connection tracking puts fragments together (priority -400) before any rule can judge, so flow tables count datagrams.
What was on the wire is counted beside them, by the datagram's identification (RFC 791: source, destination, protocol
and number), in two generations for each VPC that are cut with the flow tables::

    pieces   each fragment, before they are put together
    wholes   each datagram made of fragments, with its ports and the mark under which its ENI's flow table has it, on
             its way out and on its way in

Only fragments pay for this: the first mark that a packet gets tells them apart until they are counted. Joined, the two
say how many packets and bytes more than its datagrams a flow was (:func:`join`). All pieces are of the flow that the
first one's ports name (no source says what the providers' records have for the later ones, which carry no ports).

A datagram that does not become whole is in no record: its pieces stay without a match.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from emulator.fabric import marks
from emulator.fabric.elements import Batch

MTU = 1500
"""Of every link. A datagram made of smaller fragments that fits is handed over in one piece."""

MAP = "fragments"
"""Where fragments and wholes are counted; empty where nobody is."""

_EARLY = marks.FRAGMENTED | marks.PASSED
_OUT, _IN = marks.FRAGMENTED, marks.FRAGMENTED | marks.IN
_PIECE = "@nh,72,8 . @nh,96,64 . @nh,32,16"
_WHOLE = "meta mark . @nh,72,8 . @nh,96,64 . @th,0,64 . @nh,32,16"

PIECE_KEY = np.dtype(
    {
        "names": ["protocol", "saddr", "daddr", "id"],
        "formats": ["u1", ">u4", ">u4", ">u2"],
        "offsets": [0, 4, 8, 12],
        "itemsize": 16,
    }
)
WHOLE_KEY = np.dtype(
    {
        "names": ["index", "mark", "protocol", "saddr", "daddr", "first", "second", "more", "id"],
        "formats": ["=u4", "=u4", "u1", ">u4", ">u4", ">u2", ">u2", ">u2", ">u2"],
        "offsets": [0, 4, 8, 12, 16, 20, 22, 24, 28],
        "itemsize": 32,
    }
)
"""``first``, ``second`` and ``more`` are the first six bytes behind the IP header."""

Array = np.ndarray[Any, np.dtype[Any]]


def set_names(generation: int) -> tuple[str, str]:
    return f"pieces{generation}", f"wholes{generation}"


def standing() -> str:
    """Sets, map and chains, part of a VPC's table."""
    lines = [f" map {MAP} {{\n  type mark : verdict\n }}"]
    for generation in (0, 1):
        pieces, wholes = set_names(generation)
        lines.append(f" set {pieces} {{\n  typeof {_PIECE}\n  flags dynamic\n }}")
        lines.append(f" set {wholes} {{\n  typeof iif . {_WHOLE}\n  flags dynamic\n }}")
        for chain, name, key, end in (
            (pieces, pieces, _PIECE, "iif"),
            (f"{wholes}_out", wholes, f"iif . {_WHOLE}", "iif"),
            (f"{wholes}_in", wholes, f"oif . {_WHOLE}", "oif"),
        ):
            lines.append(f" chain {chain} {{\n  update @{name} {{ {key} counter }} return")
            lines.append(f"  update @uncounted_by {{ {end} counter }}\n }}")
    return "\n".join(lines)


def jumps(generation: int) -> dict[int, str]:
    """The elements of MAP while a generation is filled."""
    pieces, wholes = set_names(generation)
    return {_EARLY: pieces, _OUT: f"{wholes}_out", _IN: f"{wholes}_in"}


@dataclass(frozen=True)
class Extra:
    """What the wire had beyond the datagrams, one entry for each of ``wholes``: packets and bytes, with the ENI's
    index."""

    index: Array
    flows: Flows

    def of(self, index: int) -> Flows:
        found: Flows = self.flows[self.index == index]
        return found


class Matching:
    """Joins what the cuts of one VPC give; remembers pieces whose datagram may still come."""

    def __init__(self) -> None:
        self._waiting = np.empty(0, _GROUP)  # no datagram yet
        self._before = np.empty(0, _GROUP)  # those of the last cut: a datagram may have been on its way at that moment

    def enter(self, pieces: Array, wholes: Array, now_s: float) -> Extra:
        """``pieces`` and ``wholes`` of one generation, as PIECE and WHOLE; ``now_s`` of any clock that runs on."""
        fresh = np.zeros(len(pieces), _GROUP)
        for name in (*_IDENTITY, "packets", "bytes"):
            fresh[name] = pieces[name]
        fresh["since"] = now_s
        still = self._waiting[self._waiting["since"] > now_s - REASSEMBLY_S]
        arrived = np.concatenate([still, fresh])
        outward = (wholes["mark"] & marks.IN) == 0
        codes, count = _codes(arrived, wholes, self._before)
        of_pieces, of_wholes, of_before = codes
        groups = np.zeros(count, _GROUP)
        groups[of_before] = self._before
        datagrams = _totals(of_wholes[outward], wholes["packets"][outward], count)
        now = datagrams > 0
        groups["datagrams"][now] = datagrams[now]
        for name in ("packets", "bytes"):
            groups[name][now] = _totals(of_pieces, arrived[name], count)[now]
        packets, sizes = np.zeros(len(wholes), "i8"), np.zeros(len(wholes), "i8")
        for side in (outward, ~outward):
            chosen = np.flatnonzero(side)
            mine, theirs = wholes[chosen], groups[of_wholes[chosen]]
            packets[chosen] = _share(mine, theirs, of_wholes[chosen])
            sizes[chosen] = packets[chosen] * HEADER
        joined = ~outward & (wholes["bytes"] <= MTU * wholes["packets"])
        packets[joined] = sizes[joined] = 0
        matched = now[of_pieces]
        self._waiting = arrived[~matched]
        self._before = groups[now]
        self._before[list(_IDENTITY)] = 0
        return Extra(wholes["index"], _as_flows(wholes, packets, sizes))
