"""What rules say as clauses, and how overlaps among them are resolved. Pure: no kernel, no text of nftables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from typing import TypeVar

from emulator.cloud.model import Rule

Who = TypeVar("Who", Rule, int)

Interval = tuple[int, int]


@dataclass(frozen=True)
class Clause:
    """Packets of one family that a rule is about; a rule may have several clauses. Intervals are inclusive, None means
    any.

    ``addresses`` and ``members`` (of the group with that id) are about the packet's other side; at most one is given.
    ``local`` is about this side.
    """

    rule: Rule
    protocol: int | None = None
    ports: tuple[Interval, ...] | None = None
    addresses: Interval | None = None
    members: str | None = None
    source_ports: tuple[Interval, ...] | None = None
    local: Interval | None = None

    @property
    def plain(self) -> bool:
        """Whether the other side's address is all that is left to ask once protocol and port are known."""
        return self.members is None and self.source_ports is None and self.local is None

    @property
    def anyone(self) -> bool:
        """Whether nothing is left to ask then."""
        return self.plain and self.addresses is None


class Overgrown(Exception):
    """A decision would have too many entries."""


def first_matches(ranges: Sequence[tuple[int, int, Who]]) -> tuple[tuple[int, int, Who], ...]:
    """Intervals with who decides there, the earlier before the later: the same without overlaps, ascending."""
    coming = sorted(range(len(ranges)), key=lambda number: ranges[number][0], reverse=True)
    bounds = sorted({bound for low, high, _ in ranges for bound in (low, high + 1)})
    open_now: list[int] = []
    entries: list[tuple[int, int, Who]] = []
    for low, following in pairwise(bounds):
        while coming and ranges[coming[-1]][0] <= low:
            heappush(open_now, coming.pop())
        while open_now and ranges[open_now[0]][1] < low:
            heappop(open_now)
        if not open_now:
            continue
        who = ranges[open_now[0]][2]
        if entries and entries[-1][1:] == (low - 1, who):
            entries[-1] = (entries[-1][0], following - 1, who)
        else:
            entries.append((low, following - 1, who))
    return tuple(entries)
