"""What a store keeps, whichever way: topics, and their rows as segments that never change.

A segment is what one write brought. Its number is unique in its store and grows; a row's id is made from it, so numbers
and the order of rows within a segment outlive every reorganisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True)
class StoredTopic:
    """``number`` is never used again in its store; ``index`` is JSON, None while there is none."""

    number: int
    name: str
    logset: str
    index: str | None = None
    report: bool = False


@dataclass(frozen=True)
class Segment:
    """Times are those of its oldest and newest row, unix seconds, both included."""

    number: int
    topic: int
    rows: int
    first_s: int
    last_s: int


@dataclass(frozen=True)
class Damage:
    """A segment that is left out of every answer, and why."""

    segment: Segment
    path: str
    found: str


class Store(Protocol):
    """Thread-safe. Every change is durable when its call returns."""

    damaged: list[Damage]

    def topics(self) -> list[StoredTopic]: ...

    def add_topic(self, name: str, logset: str) -> StoredTopic: ...

    def set_index(self, topic: int, index: str | None, report: bool) -> None: ...

    def remove_topic(self, topic: int) -> None: ...

    def append(self, topic: int, rows: pa.Table, key: str | None) -> bool:
        """Keep ``rows`` (some, with ``__time__``) as one segment; False if this topic was given ``key`` before."""

    def segments(self, topic: int, after: int) -> list[Segment]:
        """The segments of a topic with a number greater than ``after``, by number."""

    def read(self, segment: Segment) -> pa.Table | None:
        """The rows of a segment; None if it is damaged, which is then in ``damaged``."""

    def close(self) -> None: ...
