"""Why an assertion on records failed: what was wanted, the nearest records and how they differ, the rule behind them.

Works on any records, wanted as dicts; what a record cannot know itself (the rule, records that a query did not find)
is asked by functions that the caller gives. The pytest plugin and the scenarios' ``expect`` print it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from emulator.logs.records import Record, Records

Fields = Mapping[str, Any]
Why = Callable[[Record], str | None]
"""Which rule made a record say what it says; None where nobody knows."""
Elsewhere = Callable[[], Iterable[tuple[str, Record]]]
"""Records that could have been found, each with the name of its topic."""

_FLOW = {"srcaddr", "dstaddr", "srcport", "dstport", "protocol", "direction", "action", "interface-id", "eni-id"}
"""Fields that say which flow a record is of weigh more than what was counted."""
_MISSING = object()
_MOST = 10
"""Of what is listed, at most so many; the rest is counted."""
_LONGEST = 600


@dataclass(frozen=True)
class Failure:
    """``summary`` is one line, ``lines`` is everything, ``brief`` the few lines of it that matter most."""

    summary: str
    lines: list[str]
    brief: list[str]

    def __str__(self) -> str:
        return "\n".join([self.summary, *self.lines])


def explain_comparison(operator: str, left: object, right: object, why: Why, elsewhere: Elsewhere) -> Failure | None:
    """Why ``left operator right`` is false; None where it is no comparison of records."""
    if operator == "in" and isinstance(left, Mapping) and is_records(right):
        return explain_set(right, [left], why, elsewhere, others=False)
    if operator == "not in" and isinstance(left, Mapping) and is_records(right):
        return _unwanted([record for record in right if record == left], why)
    if operator != "==":
        return None
    if (isinstance(right, Record) or is_records(right)) and not (isinstance(left, Record) or is_records(left)):
        left, right = right, left
    if isinstance(left, Record) and isinstance(right, Mapping):
        return explain_set([left], [right], why, elsewhere)
    if is_records(left) and isinstance(right, list | tuple) and all(isinstance(one, Mapping) for one in right):
        return explain_set(left, right, why, elsewhere)
    return None


def is_records(value: object) -> TypeGuard[Sequence[Record]]:
    """Whether ``value`` is what a search returned, or a list made of such records."""
    if not isinstance(value, list | tuple):
        return False
    return isinstance(value, Records) or (len(value) > 0 and all(isinstance(one, Record) for one in value))


def explain_set(
    found: Sequence[Record],
    wanted: Sequence[Fields],
    why: Why,
    elsewhere: Elsewhere,
    *,
    others: bool = True,
    partial: bool = False,
) -> Failure | None:
    """Why ``found`` is not exactly ``wanted`` (any order); None when it is.

    ``partial``: a wanted field that is not named may have any value. ``others``: records that nobody wanted are told
    as well.
    """
    missing, extra = unmatched(found, wanted, partial=partial)
    if not missing and not extra:
        return _reordered(found, wanted) if not partial and list(found) != list(wanted) else None
    lines: list[str] = []
    brief: list[str] = []
    told: set[int] = set()
    for one in missing[:_MOST]:
        block, near = _explain_missing(one, extra or found, why, elsewhere, partial)
        told.update(id(record) for record in near)
        lines += [f"missing: {_short(dict(one))}", *(f"  {line}" for line in block)]
        brief = brief or block[:4]
    lines += _more(len(missing), "missing")
    if others:
        left = [record for record in extra if id(record) not in told]
        for record in left[:_MOST]:
            block = [f"unexpected: {record.line}", *_because(record, why)]
            lines += [block[0], *(f"  {line}" for line in block[1:])]
            brief = brief or block
        lines += _more(len(left), "unexpected")
    counts = [f"{len(missing)} missing"] * bool(missing) + [f"{len(extra)} not wanted"] * (others and bool(extra))
    summary = f"{_count(len(found))} found, {len(wanted)} wanted: {', '.join(counts)}"
    return Failure(summary, lines, brief)


def describe_records(name: str, records: Sequence[Record], why: Why) -> list[str]:
    """Records as lines, each with the rule behind it."""
    lines = [f"{name}: {_count(len(records))}"]
    for record in records[:_MOST]:
        lines += [f"  {record.line}", *(f"    {line}" for line in _because(record, why))]
    return lines + _more(len(records), "not shown")


def unmatched(
    found: Sequence[Record], wanted: Sequence[Fields], *, partial: bool = False
) -> tuple[list[Fields], list[Record]]:
    """What is wanted and was not found, and what was found and is not wanted, when as many as possible are paired."""
    if not partial:
        return _unequal(found, wanted)
    pairs: dict[int, int] = {}  # index of a record: index of what is wanted

    def pair(want: int, tried: set[int]) -> bool:
        for at, record in enumerate(found):
            if at not in tried and _matches(record, wanted[want]):
                tried.add(at)
                if at not in pairs or pair(pairs[at], tried):
                    pairs[at] = want
                    return True
        return False

    missing = [fields for want, fields in enumerate(wanted) if not pair(want, set())]
    return missing, [record for at, record in enumerate(found) if at not in pairs]


def _matches(record: Record, wanted: Fields) -> bool:
    return all(record.get(name, _MISSING) == value for name, value in wanted.items())


def _unequal(found: Sequence[Record], wanted: Sequence[Fields]) -> tuple[list[Fields], list[Record]]:
    """As ``unmatched`` for whole records, in one pass: a window can hold 65,535."""
    spare: dict[frozenset[tuple[str, Any]], list[Record]] = {}
    for record in reversed(found):
        spare.setdefault(frozenset(record.items()), []).append(record)
    missing = []
    for fields in wanted:
        equal = spare.get(frozenset(fields.items()))
        if equal:
            equal.pop()
        else:
            missing.append(fields)
    extra = {id(record) for records in spare.values() for record in records}
    return missing, [record for record in found if id(record) in extra]


def _explain_missing(
    wanted: Fields, found: Sequence[Record], why: Why, elsewhere: Elsewhere, partial: bool
) -> tuple[list[str], list[Record]]:
    """The nearest records to what is missing: lines, most telling first, and those of them that were found."""
    near = _nearest(wanted, found)
    if near:
        lines = []
        for record in near:
            lines += [f"nearest: {record.line}", *_differing(record, wanted, partial), *_because(record, why)]
        return lines, near
    lines = ["no record was found"]
    places = list(elsewhere())
    for record in _nearest(wanted, [record for _, record in places]):
        topic = next(name for name, other in places if other is record)
        lines += [
            f"nearest in topic {topic}: {record.line}",
            *_differing(record, wanted, partial),
            *_because(record, why),
        ]
    return lines, []


def _nearest(wanted: Fields, records: Sequence[Record]) -> list[Record]:
    """The one or two records that differ least."""

    def distance(record: Record) -> int:
        return sum(3 if name in _FLOW else 1 for name, value in wanted.items() if record.get(name, _MISSING) != value)

    ranked = sorted(records, key=distance)
    return [record for record in ranked[:2] if distance(record) == distance(ranked[0])]


def _differing(record: Record, wanted: Fields, partial: bool) -> list[str]:
    """One line that names every field which differs."""
    parts = []
    for name, value in wanted.items():
        if name not in record:
            parts.append(f"{name}: no such field{_similar(name, record)}")
        elif record[name] != value:
            parts.append(f"{name}: {record[name]!r}, wanted {value!r}")
    beyond = [name for name in record if name not in wanted]
    if beyond and not partial:
        all_else = "" if parts else "the rest is equal, but a record equals a dict of all its fields only; "
        parts.append(f"{all_else}not in what is wanted: {', '.join(beyond)}")
    return ["; ".join(parts)] if parts else []


def _because(record: Record, why: Why) -> list[str]:
    reason = why(record)
    return [] if reason is None else [f"why: {reason}"]


def _unwanted(records: Sequence[Record], why: Why) -> Failure | None:
    if not records:
        return None
    lines = [line for record in records[:_MOST] for line in (f"found: {record.line}", *_because(record, why))]
    return Failure(f"{_count(len(records))} found that should not be there", lines, lines[:2])


def _reordered(found: Sequence[Record], wanted: Sequence[Fields]) -> Failure:
    """The same records in another order."""
    at = next(at for at, (record, fields) in enumerate(zip(found, wanted, strict=True)) if record != fields)
    lines = [f"first difference at {at}: {found[at].line}", f"wanted there: {_short(dict(wanted[at]))}"]
    return Failure("the same records in another order", lines, lines)


def _similar(name: str, record: Record) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, list(record), n=1, cutoff=0.6)
    return f" (it has {near[0]})" if near else ""


def _count(number: int) -> str:
    return f"{number} record{'' if number == 1 else 's'}"


def _more(total: int, what: str) -> list[str]:
    return [f"... and {total - _MOST} more {what}"] if total > _MOST else []


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
