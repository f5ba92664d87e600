"""Fragments as they were on the wire: how many packets and bytes more than its datagrams a flow was. Pure.

The kernel counts pieces and wholes apart (fragments.py); they are joined here by what makes them one datagram. All
pieces belong to the flow that the first one's ports name: no source says what the providers make of the later ones,
which have none. The kernel hands a datagram over in the pieces that it came in, so there are as many at the receiver.
Pieces whose datagram never becomes whole are in no record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.cloud.model import PORTS_PROTOCOLS
from emulator.fabric import fragments, fragments6, marks, spare, tables
from emulator.fabric.elements import Batch, index_key
from emulator.fabric.pieces6 import FIRSTS6, LASTS6, PIECES6, Matching6, plain, totals
from emulator.fabric.tables import FLOW

PATIENCE_S = 30
"""How long the kernel waits for the rest of a datagram (net.ipv4.ipfrag_time)."""

PIECES = np.dtype(
    {
        "names": ["protocol", "saddr", "daddr", "id"],
        "formats": ["u1", ">u4", ">u4", ">u2"],
        "offsets": [0, 4, 8, 12],
        "itemsize": 16,
    }
)
WHOLES = np.dtype(
    {
        "names": ["index", "mark", "protocol", "saddr", "daddr", "sport", "dport", "icmp_id", "id"],
        "formats": ["=u4", "=u4", "u1", ">u4", ">u4", ">u2", ">u2", ">u2", ">u2"],
        "offsets": [0, 4, 8, 12, 16, 20, 22, 24, 28],
        "itemsize": 32,
    }
)
"""Keys of the two sets; ``icmp_id`` is whatever stands behind the first four bytes."""

_HEADER = 20
_IDENTITY = ("protocol", "saddr", "daddr", "id")
_GROUP = np.dtype(
    [
        ("protocol", "u1"),
        ("saddr", "u4"),
        ("daddr", "u4"),
        ("id", "u2"),
        ("packets", "i8"),
        ("bytes", "i8"),
        ("datagrams", "i8"),
        ("short", "?"),
        ("since", "f8"),
    ]
)
"""Pieces of one identity, or, once they have found their ``datagrams``, what they are more than these; ``short`` where
some of them found no room."""

_COUNTS = [("packets", "i8"), ("bytes", "i8")]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Joined:
    """Entries of FLOW, one for each of the wholes: what was on the wire beyond them; ``index`` is their ENI's.

    Entries without a rule's number are of forged sources, and hold all their pieces. ``short`` are datagrams of which
    not every piece was counted.
    """

    index: Array
    flows: Array
    short: Array

    def of(self, chosen: Array) -> Joined:
        return Joined(self.index[chosen], self.flows[chosen], self.short[chosen])


class Matching:
    """Joins what the cuts of one VPC give; keeps pieces whose datagram may still come."""

    def __init__(self) -> None:
        self._waiting = np.empty(0, _GROUP)
        self._matched = np.empty(0, _GROUP)  # at the last cut: its datagrams may just then have been on their way

    def enter(self, pieces: Array, wholes: Array, now_s: float) -> Joined:
        """Decoded elements of one generation; ``now_s`` of a clock that never stands still."""
        arrived = np.concatenate([self._waiting[self._waiting["since"] > now_s - PATIENCE_S], _groups(pieces, now_s)])
        of_arrived, of_wholes, of_matched, count = _numbered(arrived, wholes, self._matched)
        outward = (wholes["mark"] & marks.IN) == 0
        datagrams = totals(of_wholes[outward], wholes["packets"][outward], count)
        fresh = (datagrams > 0) & (totals(of_arrived, arrived["packets"], count) > 0)
        groups = np.zeros(count, _GROUP)
        groups[of_matched] = self._matched
        groups["datagrams"][fresh] = datagrams[fresh]
        for name in _IDENTITY:
            groups[name][of_arrived] = arrived[name]
        more = {
            name: totals(of_arrived, arrived[name], count) - totals(of_wholes[outward], wholes[name][outward], count)
            for name in ("packets", "bytes")
        }
        # Where some of the pieces found no room, their bytes do not tell what was on the wire; their headers do.
        packets = np.maximum(more["packets"], 0)
        groups["packets"][fresh] = packets[fresh]
        groups["bytes"][fresh] = np.maximum(more["bytes"], _HEADER * packets)[fresh]
        groups["short"][fresh] = (more["bytes"] < _HEADER * more["packets"])[fresh]
        self._waiting, self._matched = arrived[~fresh[of_arrived]], groups[fresh]
        mine = groups[of_wholes]
        short = np.where(mine["short"] | (mine["datagrams"] == 0), wholes["packets"], 0)
        return Joined(wholes["index"].copy(), _beyond(wholes, mine, of_wholes, outward), short)


def _groups(pieces: Array, now_s: float) -> Array:
    groups = np.zeros(len(pieces), _GROUP)
    for name in (*_IDENTITY, "packets", "bytes"):
        groups[name] = pieces[name]
    groups["since"] = now_s
    return groups


def _numbered(*arrays: Array) -> tuple[Any, ...]:
    """A number for each identity: those of every array's entries, and how many there are."""
    low = np.concatenate([one["protocol"].astype("u8") << np.uint64(16) | one["id"] for one in arrays])
    high = np.concatenate([one["saddr"].astype("u8") << np.uint64(32) | one["daddr"] for one in arrays])
    order = np.lexsort((low, high))
    low, high = low[order], high[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    numbers = np.empty(len(order), np.intp)
    numbers[order] = np.cumsum(fresh) - 1
    ends = np.cumsum([len(one) for one in arrays])
    return (*np.split(numbers, ends[:-1]), int(fresh.sum()))


def _beyond(wholes: Array, groups: Array, numbers: Array, outward: Array) -> Array:
    """What was on the wire beyond each of the wholes, given the group that each belongs to."""
    flows = np.zeros(len(wholes), FLOW)
    for name in ("mark", "protocol", "saddr", "daddr"):
        flows[name] = wholes[name]
    ports, icmp = np.isin(wholes["protocol"], sorted(PORTS_PROTOCOLS)), wholes["protocol"] == 1
    flows["sport"] = np.select([ports, icmp], [wholes["sport"], wholes["icmp_id"]])
    flows["dport"] = np.select([ports, icmp], [wholes["dport"], wholes["sport"]])
    forged = (wholes["mark"] & marks.RULE) == 0
    for name in ("packets", "bytes"):
        shares = groups[name] * wholes["packets"] // np.maximum(groups["datagrams"], 1)
        for side in (outward, ~outward):
            _leave_nothing_over(shares, groups, name, wholes["packets"], numbers, np.flatnonzero(side))
        shares[forged] += wholes[name][forged]
        flows[name] = shares
    return flows


def _leave_nothing_over(
    shares: Array, groups: Array, name: str, datagrams: Array, numbers: Array, chosen: Array
) -> None:
    """Where one identity served several datagrams that are all here, what division left over goes to the first."""
    _, first, place = np.unique(numbers[chosen], return_index=True, return_inverse=True)
    here = totals(place, datagrams[chosen], len(first)) == groups["datagrams"][chosen][first]
    left = groups[name][chosen][first] - totals(place, shares[chosen], len(first))
    shares[chosen[first[here]]] += left[here]


class Fragments:
    """The fragments of one VPC: which generation is filled, and what was joined for ENIs that are not yet read.

    ``reassembled``: a namespace without connection tracking puts none together and has nothing of this.
    """

    def __init__(self, *, reassembled: bool = True, ipv6: bool = False) -> None:
        self._reassembled, self._ipv6 = reassembled, ipv6
        self._matching6 = Matching6()
        self._filled: int | None = None
        self._spares = False
        self._matching = Matching()
        self._joined: list[Joined] = []

    def turn(self, batch: Batch, *, last: bool = False) -> None:
        """Have another generation filled, the first one where none is; none where the ``last`` ENI goes. To be followed
        by :meth:`turned` once the kernel has done so."""
        if not self._reassembled:
            return
        if self._filled is not None:
            batch.delete_jumps(fragments.MAP, self._jumps(self._filled))
        if not last:
            batch.jump(fragments.MAP, self._jumps(self._next))

    def admit(self, batch: Batch, indexes: Iterable[int]) -> None:
        """Be ready to count what finds no room: then the kernel may have none for an element of another set either."""
        if self._reassembled:
            batch.add("uncounted_by", [index_key(index) for index in indexes])

    def turned(self, *, last: bool = False) -> int | None:
        """The generation that is now at rest, None where none was filled."""
        old, self._filled = self._filled, None if last or not self._reassembled else self._next
        return old

    def add_ipv6(self, batch: Batch) -> None:
        """Count those of IPv6, too."""
        if self._filled is not None:
            batch.jump(fragments.MAP, fragments6.jumps(self._filled))
        self._ipv6 = True

    def set_names(self, generation: int) -> tuple[str, ...]:
        """The sets of a generation, whose dumps :meth:`enter` takes."""
        names: list[str] = [*fragments.set_names(generation), *(spare.set_names(generation) if self._spares else ())]
        if self._ipv6:
            names += [*fragments6.set_names(generation), *(spare.set_names6(generation) if self._spares else ())]
        return tuple(names)

    def declare_spares(self) -> str:
        """The sets for what finds no counter; to be followed by :meth:`spares_declared` where the kernel has quotas."""
        if not self._reassembled:
            return ""
        return spare.declare() + (spare.declare6() if self._ipv6 else "")

    def spares_declared(self) -> None:
        self._spares = self._reassembled

    def declare_spares6(self) -> str:
        """Those of IPv6, where the others are there already."""
        return spare.declare6() if self._spares else ""

    def _jumps(self, generation: int) -> dict[int, str]:
        return fragments.jumps(generation) | (fragments6.jumps(generation) if self._ipv6 else {})

    @property
    def counting(self) -> bool:
        return self._filled is not None

    @property
    def _next(self) -> int:
        return 0 if self._filled is None else 1 - self._filled

    def enter(self, answers: Sequence[memoryview], now_s: float) -> bool:
        """Dumps of the sets of one generation; whether there was anything in them."""
        dumps = iter(answers)
        pieces, wholes = (_flat(tables.decode_elements(key, next(dumps))) for key in (PIECES, WHOLES))
        if self._spares:
            pieces, wholes = (
                np.concatenate([counted, spare.decode(key, next(dumps), counted.dtype)])
                for counted, key in ((pieces, spare.PIECES), (wholes, spare.WHOLES))
            )
        found = bool(len(pieces) or len(wholes))
        if found:
            self._joined.append(self._matching.enter(pieces, wholes, now_s))
        if self._ipv6:
            pieces = plain(tables.decode_elements(PIECES6, next(dumps)), PIECES6)
            firsts, lasts = (tables.decode_elements(key, next(dumps), tables.NOTHING) for key in (FIRSTS6, LASTS6))
            if self._spares:
                pieces = np.concatenate([pieces, spare.decode6(next(dumps), pieces.dtype)])
            self._matching6.enter(pieces, firsts, lasts, now_s)
            found |= any(map(len, (pieces, firsts, lasts)))
        return found

    def beyond(self, flows6: Array) -> Array:
        """What was on the wire of IPv6 beyond the datagrams among these flows."""
        return self._matching6.beyond(flows6)

    def take(self, index: int) -> tuple[Array, int]:
        """What was joined for an ENI, once, and how many datagrams on their way to it were short of pieces."""
        mine, others = [], []
        for joined in self._joined:
            mine.append(joined.of(joined.index == index))
            others.append(joined.of(joined.index != index))
        self._joined = [joined for joined in others if len(joined.index)]
        flows = np.concatenate([joined.flows for joined in mine]) if mine else np.empty(0, FLOW)
        return flows, sum(int(one.short[(one.flows["mark"] & marks.IN) != 0].sum()) for one in mine)

    def keep(self, indexes: Iterable[int]) -> None:
        """Forget what was joined for ENIs that are not counted."""
        counted = list(indexes)
        self._joined = [joined.of(np.isin(joined.index, counted)) for joined in self._joined]


def _flat(elements: Array) -> Array:
    """Key and counters side by side."""
    names = elements.dtype["key"].names or ()
    flat = np.zeros(
        len(elements), [*((name, elements.dtype["key"][name].newbyteorder("=")) for name in names), *_COUNTS]
    )
    for name in names:
        flat[name] = elements["key"][name]
    for name, _ in _COUNTS:
        flat[name] = elements[name]
    return flat
