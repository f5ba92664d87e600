"""The one tree that every search language becomes, and that ``compile`` turns into SQL.

::

    srcaddr:10.0.0.* AND NOT bytes:>400
    And
    ├── Words srcaddr  ("10.0.0.", ANY)
    └── Not
        └── Compare bytes > 400

A condition is true or false, never unknown: what speaks of a missing value is false, so that ``Not`` of it is true.
``at`` and ``field_at`` are offsets into what was typed, for errors that only the index can find.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Literal, TypeAlias


class Wild(Enum):
    ANY = "*"
    ONE = "?"


Pattern: TypeAlias = tuple[str | Wild, ...]
"""Runs of literal text and wildcards; a word without wildcards is one run."""

Operator: TypeAlias = Literal["=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class All:
    """Every row."""


@dataclass(frozen=True)
class And:
    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Not:
    part: Condition


@dataclass(frozen=True)
class Words:
    """A field, or any text field where None, holds these words.

    The field's own tokenizer cuts ``pattern`` into words; ``match`` says whether one of them will do, all are
    needed, or all in this order and side by side. On a number field the pattern is a number, and equality is meant.
    """

    field: str | None
    pattern: Pattern
    match: Literal["any", "all", "phrase"]
    at: int
    field_at: int


@dataclass(frozen=True)
class Matches:
    """A word of a text field, or of any where None, is matched from end to end by a regular expression of RE2."""

    field: str | None
    expression: str
    at: int
    field_at: int


@dataclass(frozen=True)
class Compare:
    """A number field has a value, and it stands in this relation to ``number``."""

    field: str
    operator: Operator
    number: Decimal
    field_at: int


@dataclass(frozen=True)
class Exists:
    field: str
    field_at: int


@dataclass(frozen=True)
class Empty:
    """A text field is there and holds nothing, or nothing but delimiters; a number field has no value."""

    field: str
    field_at: int
    delimiters_too: bool = False


@dataclass(frozen=True)
class Side:
    """Rows up to a place (time, batch, row), its own row included, or those behind it; no language says this."""

    place: tuple[int, int, int]
    before: bool


@dataclass(frozen=True)
class Since:
    """Rows of batches with a greater number; no language says this."""

    batch: int


Condition: TypeAlias = All | And | Or | Not | Words | Matches | Compare | Exists | Empty | Side | Since


def conjunction(parts: list[Condition]) -> Condition:
    """All of ``parts``, flat, so that a long query is no deep one."""
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, And) else (part,))]
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def disjunction(parts: list[Condition]) -> Condition:
    """One of ``parts``, flat."""
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, Or) else (part,))]
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def split(pattern: Pattern, delimiters: str) -> list[Pattern]:
    """The words of a pattern, as the tokenizer of a field with these delimiters cuts it."""
    words: list[list[str | Wild]] = [[]]
    for run in pattern:
        if isinstance(run, Wild):
            words[-1].append(run)
            continue
        start = 0
        for end, character in enumerate(run):
            if character in delimiters:
                if end > start:
                    words[-1].append(run[start:end])
                words.append([])
                start = end + 1
        if start < len(run):
            words[-1].append(run[start:])
    return [tuple(word) for word in words if word]


NUMBER_DIGITS = 40
"""Longest number that a query may hold; a 64-bit one has 19 digits."""


def number(text: str) -> Decimal | None:
    """A plain decimal number, or None: no exponent, no separators, at most ``NUMBER_DIGITS`` characters."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    whole, point, fraction = digits.partition(".")
    if len(text) > NUMBER_DIGITS or not text.isascii() or not whole.isdigit() or (point and not fraction.isdigit()):
        return None
    return Decimal(text)
