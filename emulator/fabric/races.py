"""A decision for lists in which rules about ports alone and rules about addresses alone take turns. Pure.

As one tree (decisions.py) such a list would multiply: for each port, all addresses. Here both are asked apart, and the
one that stands first in the list wins. Clauses have ranks in their order, and the packet's mark, of which nothing is
wanted while its rules are looked for, holds the lowest rank that matched so far::

    protocol ──► rank of the first clause without ports that matches: a map of addresses, then tests
             ──► interval of ports ──► Lane ─┬─ tests that may lower the rank
                                             ├─ addresses with these ports: decide where the rank is not lower
                                             └─ these ports with any address: the same
                 else the clause whose rank stands in the mark; none: the next part

Everything grows with the number of clauses, whatever their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from emulator.cloud.model import PORTS_PROTOCOLS, Rule
from emulator.fabric.clauses import Clause, Overgrown, first_matches

NONE = 0xFFFF
"""The mark while no clause has matched."""

_LAST = NONE - 1
"""The last clause's rank: a rule put before the others leaves theirs as they are, and so most chains."""

Ranks = tuple[tuple[int, int, int], ...]
"""Ascending intervals that do not meet, each with the rank of who decides there."""


@dataclass(frozen=True, eq=False)
class Lane:
    """Of clauses with ports those that an interval of ports is about."""

    tests: tuple[tuple[int, Clause], ...] = ()
    table: Ranks = ()
    anyone: int | None = None


@dataclass(frozen=True, eq=False)
class Heat:
    """One protocol. ``start`` is the rank of the first clause that is about all its packets, else NONE; ``table`` and
    ``tests`` are of those without ports before it."""

    start: int
    table: Ranks
    tests: tuple[tuple[int, Clause], ...]
    ports: tuple[tuple[int, int, Lane], ...]


@dataclass(frozen=True, eq=False)
class Race:
    """``rules`` by rank; ``other`` is for protocols that are not named."""

    protocols: Mapping[int, Heat]
    other: Heat
    rules: Mapping[int, Rule]


def race(clauses: Sequence[Clause], room: int) -> Race:
    """The same decision as testing ``clauses`` in their order; Overgrown where it would have more than ``room``
    entries."""
    if len(clauses) > _LAST:
        raise Overgrown
    ranked = dict(enumerate(clauses, _LAST + 1 - len(clauses)))
    named = {clause.protocol for clause in clauses if clause.protocol is not None}
    if any(clause.protocol is None and clause.ports is not None for clause in clauses):
        named |= PORTS_PROTOCOLS
    heats = {}
    for protocol in sorted(named):
        heats[protocol] = _heat(ranked, protocol)
        room -= _size(heats[protocol])
        if room < 0:
            raise Overgrown
    return Race(heats, _heat(ranked, None), {rank: clause.rule for rank, clause in ranked.items()})


def _heat(ranked: Mapping[int, Clause], protocol: int | None) -> Heat:
    ours = {rank: clause for rank, clause in ranked.items() if clause.protocol in (None, protocol)}
    always = {rank: clause for rank, clause in ours.items() if clause.ports is None}
    start = next((rank for rank, clause in always.items() if clause.anyone), NONE)
    before = {rank: clause for rank, clause in always.items() if rank < start}
    lanes = (
        _lanes({rank: clause for rank, clause in ours.items() if rank < start}) if protocol in PORTS_PROTOCOLS else ()
    )
    return Heat(start, _table(before), _tests(before), lanes)


def _lanes(clauses: Mapping[int, Clause]) -> tuple[tuple[int, int, Lane], ...]:
    changes: dict[int, set[int]] = {}
    for rank, clause in clauses.items():
        for low, high in clause.ports or ():
            changes.setdefault(low, set()).symmetric_difference_update({rank})
            changes.setdefault(high + 1, set()).symmetric_difference_update({rank})
    lanes, known, now = list[tuple[int, int, Lane]](), dict[tuple[int, ...], Lane](), set[int]()
    for low, following in pairwise([*sorted(changes), 65_536]):
        now ^= changes[low]
        if not now or low == following:
            continue
        key = tuple(sorted(now))
        if key not in known:
            known[key] = _lane({rank: clauses[rank] for rank in key})
        if lanes and lanes[-1][1:] == (low - 1, known[key]):
            lanes[-1] = (lanes[-1][0], following - 1, known[key])
        else:
            lanes.append((low, following - 1, known[key]))
    return tuple(lanes)


def _lane(clauses: Mapping[int, Clause]) -> Lane:
    anyone = next((rank for rank, clause in clauses.items() if clause.anyone), None)
    before = {rank: clause for rank, clause in clauses.items() if anyone is None or rank < anyone}
    return Lane(_tests(before), _table(before), anyone)


def _tests(clauses: Mapping[int, Clause]) -> tuple[tuple[int, Clause], ...]:
    return tuple((rank, clause) for rank, clause in clauses.items() if not clause.plain)


def _table(clauses: Mapping[int, Clause]) -> Ranks:
    plain = [(*clause.addresses, rank) for rank, clause in clauses.items() if clause.plain and clause.addresses]
    return first_matches(plain)


def _size(heat: Heat) -> int:
    lanes = {id(lane): lane for _, _, lane in heat.ports}.values()
    parts = [heat.table, heat.tests, heat.ports, *(one for lane in lanes for one in (lane.table, lane.tests))]
    return sum(map(len, parts))
