"""Ordered rules as a decision of a few lookups, however many rules there are. Pure: no kernel, no text of nftables.

The first rule that matches decides. Which one that is depends on a packet's protocol, its destination port and the
address of its other side, so it can be found out beforehand, for every interval in which the answer is the same::

    protocol ──► interval of ports ──► Steps ─┬─ Table   interval of addresses → rule
                 (neither named: other)       ├─ a clause with a live set, or one that matches anything
                                              └─ ... in order; none matched: the next Tree or Line

Overlaps are resolved here, so intervals never meet. Members of a group come and go, so they cannot be resolved; such a
clause stays a test of its own between two tables, and so does one with source ports or addresses of this side. Rules
that name only ports among rules that name only addresses would multiply: a list that grows by more than GROWTH is
halved until it does not, and less than SHORT clauses stay a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from emulator.cloud.model import PORTS_PROTOCOLS, Rule

SHORT = 8
"""Clauses that are tested one by one: that is as quick as three lookups."""

GROWTH = 8
"""Entries of a tree for each of its clauses, at most."""

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


@dataclass(frozen=True)
class Table:
    """Who decides for which addresses: ascending intervals that do not meet."""

    entries: tuple[tuple[int, int, Rule], ...]


@dataclass(frozen=True, eq=False)
class Steps:
    """What is left to ask once protocol and port are known. The same object stands wherever the answer is the same."""

    steps: tuple[Table | Clause, ...]


@dataclass(frozen=True)
class Branch:
    """One protocol: intervals of destination ports, and what holds for all other ports."""

    ports: tuple[tuple[int, int, Steps], ...]
    other: Steps


@dataclass(frozen=True)
class Tree:
    protocols: Mapping[int, Branch]
    other: Steps


@dataclass(frozen=True)
class Line:
    """Clauses to be tested one after the other."""

    clauses: tuple[Clause, ...]


def decide(clauses: Sequence[Clause]) -> list[Tree | Line]:
    """The same decision as testing ``clauses`` in their order; where one part has no answer, the next is asked."""
    parts: list[Tree | Line] = []
    for part in _parts(tuple(clauses)):
        if isinstance(part, Line) and parts and isinstance(parts[-1], Line):
            parts[-1] = Line((*parts[-1].clauses, *part.clauses))
        else:
            parts.append(part)
    return parts


def _parts(clauses: tuple[Clause, ...]) -> Iterator[Tree | Line]:
    if len(clauses) < SHORT:
        yield Line(clauses)
        return
    try:
        yield _Planting(clauses).tree()
    except _Overgrown:
        half = len(clauses) // 2
        yield from _parts(clauses[:half])
        yield from _parts(clauses[half:])


class _Overgrown(Exception):
    """A tree would have too many entries."""


class _Planting:
    """Makes one tree. A set of clauses is an int with a bit for each, the first clause's lowest."""

    def __init__(self, clauses: Sequence[Clause]) -> None:
        self._clauses = clauses
        self._room = GROWTH * len(clauses)
        self._final = _set(number for number, clause in enumerate(clauses) if clause.anyone)
        self._known: dict[int, Steps] = {}

    def tree(self) -> Tree:
        named = {clause.protocol for clause in self._clauses if clause.protocol is not None}
        if any(clause.protocol is None and clause.ports is not None for clause in self._clauses):
            named |= PORTS_PROTOCOLS
        rest = [number for number, clause in enumerate(self._clauses) if clause.protocol is None and not clause.ports]
        return Tree({protocol: self._branch(protocol) for protocol in sorted(named)}, self._steps(_set(rest)))

    def _branch(self, protocol: int) -> Branch:
        always, changes = 0, dict[int, int]()
        for number, clause in enumerate(self._clauses):
            if clause.protocol not in (None, protocol):
                continue
            if clause.ports is None:
                always |= 1 << number
            elif protocol in PORTS_PROTOCOLS:
                for low, high in clause.ports:
                    changes[low] = changes.get(low, 0) ^ 1 << number
                    changes[high + 1] = changes.get(high + 1, 0) ^ 1 << number
        ports, other, now = list[tuple[int, int, Steps]](), self._steps(always), always
        for low, following in pairwise([*sorted(changes), 65_536]):
            now ^= changes[low]
            steps = self._steps(now)
            if steps is other or low == following:
                continue
            if ports and ports[-1][1:] == (low - 1, steps):
                ports[-1] = (ports[-1][0], following - 1, steps)
            else:
                self._spend(1)
                ports.append((low, following - 1, steps))
        return Branch(tuple(ports), other)

    def _steps(self, among: int) -> Steps:
        """Who decides among these clauses; none behind the first that matches anything is looked at."""
        last = among & self._final
        if last:
            among &= ((last & -last) << 1) - 1
        if among not in self._known:
            self._known[among] = Steps(tuple(self._resolved(among)))
        return self._known[among]

    def _resolved(self, among: int) -> Iterator[Table | Clause]:
        run: list[tuple[int, int, Rule]] = []
        while among:
            lowest = among & -among
            among ^= lowest
            clause = self._clauses[lowest.bit_length() - 1]
            self._spend(1)
            if clause.plain and not clause.anyone and clause.addresses is not None:
                run.append((*clause.addresses, clause.rule))
                continue
            if run:
                yield Table(first_matches(run))
                run = []
            yield clause
        if run:
            yield Table(first_matches(run))

    def _spend(self, entries: int) -> None:
        self._room -= entries
        if self._room < 0:
            raise _Overgrown


def first_matches(ranges: Sequence[tuple[int, int, Rule]]) -> tuple[tuple[int, int, Rule], ...]:
    """Intervals with their rules, the earlier before the later: the same without overlaps, ascending."""
    coming = sorted(range(len(ranges)), key=lambda number: ranges[number][0], reverse=True)
    bounds = sorted({bound for low, high, _ in ranges for bound in (low, high + 1)})
    open_now: list[int] = []
    entries: list[tuple[int, int, Rule]] = []
    for low, following in pairwise(bounds):
        while coming and ranges[coming[-1]][0] <= low:
            heappush(open_now, coming.pop())
        while open_now and ranges[open_now[0]][1] < low:
            heappop(open_now)
        if not open_now:
            continue
        rule = ranges[open_now[0]][2]
        if entries and entries[-1][1:] == (low - 1, rule):
            entries[-1] = (entries[-1][0], following - 1, rule)
        else:
            entries.append((low, following - 1, rule))
    return tuple(entries)


def _set(numbers: Iterable[int]) -> int:
    found = 0
    for number in numbers:
        found |= 1 << number
    return found
