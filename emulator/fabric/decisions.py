"""Ordered rules as a decision of a few lookups, however many rules there are. Pure: no kernel, no text of nftables.

The first rule that matches decides. Which one that is depends on a packet's protocol, its destination port and the
address of its other side, so it can be found out beforehand, for every interval in which the answer is the same::

    protocol ──► interval of ports ──► Steps ─┬─ Table   interval of addresses → rule
                 (neither named: other)       ├─ a clause with a live set, or one that matches anything
                                              └─ ... in order; none matched: the next Tree or Line

Overlaps are resolved here, so intervals never meet. Members of a group come and go, so they cannot be resolved; such a
clause stays a test of its own between two tables, and so does one with source ports or addresses of this side. Rules
that name only ports among rules that name only addresses would multiply: a list that grows by more than GROWTH becomes
a race (races.py) where the mark is free, or is halved until it does not. Less than SHORT clauses stay a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from emulator.cloud.model import PORTS_PROTOCOLS, Rule
from emulator.fabric.clauses import Clause, Overgrown, first_matches
from emulator.fabric.races import Race, race

SHORT = 8
"""Clauses that are tested one by one: that is as quick as three lookups."""

GROWTH = 8
"""Entries of a tree for each of its clauses, at most."""


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


Part = Tree | Line | Race


def decide(clauses: Sequence[Clause], *, races: bool = False) -> list[Part]:
    """The same decision as testing ``clauses`` in their order; where one part has no answer, the next is asked.

    ``races``: the mark may be used on the way, see races.py.
    """
    parts: list[Part] = []
    for part in _parts(tuple(clauses), races):
        if isinstance(part, Line) and parts and isinstance(parts[-1], Line):
            parts[-1] = Line((*parts[-1].clauses, *part.clauses))
        else:
            parts.append(part)
    return parts


def _parts(clauses: tuple[Clause, ...], races: bool) -> Iterator[Part]:
    if len(clauses) < SHORT:
        yield Line(clauses)
        return
    ways: list[Callable[[], Part]] = [lambda: _Planting(clauses).tree()]
    if races:
        ways.insert(0 if _multiplies(clauses) else 1, lambda: race(clauses, GROWTH * len(clauses)))
    for way in ways:
        with suppress(Overgrown):
            yield way()
            return
    half = len(clauses) // 2
    yield from _parts(clauses[:half], races)
    yield from _parts(clauses[half:], races)


def _multiplies(clauses: Sequence[Clause]) -> bool:
    """Whether so many ports come behind so many addresses that a tree would most likely be too large."""
    addresses = entries = 0
    for clause in clauses:
        if clause.ports is not None:
            entries += addresses
        elif not clause.anyone:
            addresses += 1
    return entries > GROWTH * len(clauses)


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
            raise Overgrown


def _set(numbers: Iterable[int]) -> int:
    found = 0
    for number in numbers:
        found |= 1 << number
    return found
