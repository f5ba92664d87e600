"""What a store keeps, whichever way: logsets, topics, and their rows as segments that never change.

One write is one batch. Its number is unique in its store and grows; each of its rows keeps that number and its place in
the batch in hidden columns, so a row's id and its order outlive every reorganisation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Protocol

import pyarrow as pa

from emulator.logs.checkpoints import Checkpoints
from emulator.logs.records import ROW, SEGMENT, SHAPE, TIME
from emulator.logs.scan import Scan
from emulator.logs.schemas import by_schema
from emulator.logs.view import common

KEPT = pa.schema([(TIME, pa.int64()), (SEGMENT, pa.int64()), (ROW, pa.int64()), (SHAPE, pa.int64())])
"""The columns that every stored row has."""

FOREVER = 0
"""As ``days``: rows are never expired."""


@dataclass(frozen=True)
class Usage:
    """Bytes since a topic was made, by what providers bill; ``stored`` is what lies there now.

    All are bytes of logs as they are uploaded, keys and values as text, uncompressed: what lies on disk is a fraction.

    ``collected``  of what flow logs wrote, which is a part of ``written``
    ``byte_days``  of ``stored``, each byte for the lab time that it lay there
    """

    collected: int = 0
    written: int = 0
    stored: int = 0
    indexed: int = 0
    read: int = 0
    byte_days: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class StoredTopic:
    """``number`` is never used again in its store.

    ``days``     how long rows are kept, ``FOREVER`` or 1 to 3,600
    ``indexes``  the index in JSON, by the number of the first batch that it holds for; None where it was switched off
    ``report``   whether the flow-log report is on
    """

    number: int
    name: str
    logset: str
    days: int
    indexes: Mapping[int, str | None] = field(default_factory=dict)
    report: bool = False


@dataclass(frozen=True)
class Segment:
    """Rows that are kept together.

    ``first_s``, ``last_s``  times of its oldest and newest row, unix seconds, both included
    ``lowest``, ``highest``  numbers of the first and the last batch in it
    ``shapes``               the shapes that occur in it
    ``written``              bytes as the meter counts them; ``size`` is that of the file
    ``characters``           for each text key all characters that its values are made of, each code point beyond
                             ASCII as U+0080; what is not told is not known
    """

    number: int
    topic: int
    rows: int
    first_s: int
    last_s: int
    lowest: int
    highest: int
    shapes: tuple[int, ...]
    characters: Mapping[str, str]
    written: int
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Damage:
    """A segment that is left out of every answer, and why."""

    segment: Segment
    path: str
    found: str


@dataclass(frozen=True)
class Batch:
    """What one write brings: ``rows`` (some) of stored types with ``__time__``; ``collected`` from a flow log."""

    rows: pa.Table
    key: str | None = None
    collected: bool = False


class ReadStore(Protocol):
    """What can be read of a store. Thread-safe."""

    damaged: list[Damage]

    @property
    def checkpoints(self) -> Checkpoints: ...

    def logsets(self) -> list[str]: ...

    def topics(self) -> list[StoredTopic]: ...

    def topic(self, number: int) -> StoredTopic | None: ...

    def types(self, topic: int) -> dict[str, pa.DataType]:
        """The keys that rows of the topic have, each in the one type that holds all its values."""

    def columns(self, topic: int, shapes: Sequence[int]) -> dict[str, pa.DataType]:
        """The keys of these shapes, in order, each in the one type that holds all its values."""

    def scan(self, topic: int, low: int | None, high: int | None, *, expired: bool = False) -> Scan:
        """The rows with ``low`` <= time < ``high``, as of now, but for what is damaged.

        With ``expired`` also rows whose time is over and that are still there: deliveries want them.
        """

    def usage(self, topic: int, now_s: float) -> Usage: ...

    def count_read(self, topic: int, size: int) -> None: ...

    def close(self) -> None: ...


class Store(ReadStore, Protocol):
    """Every change is durable when its call returns."""

    def add_logset(self, name: str) -> None: ...

    def remove_logset(self, name: str) -> None:
        """Remove it; its topics are gone already."""

    def add_topic(self, name: str, logset: str, days: int) -> StoredTopic: ...

    def set_topic(self, topic: int, *, days: int | None = None, report: bool | None = None) -> None: ...

    def set_index(self, topic: int, index: str | None) -> None:
        """The index for every batch from now on."""

    def reindex(self, topic: int) -> None:
        """The index of now for the batches that are there already, too."""

    def remove_topic(self, topic: int) -> None: ...

    def append(self, topic: int, batch: Batch, now_s: float) -> bool:
        """Keep the rows; False if this topic was given their key before."""

    def flush(self, topic: int) -> None:
        """Have every row where programs find it that read the store's files by themselves."""

    def expire(self, now_s: float) -> None:
        """Let go of rows that are older than their topic keeps them and that no delivery waits for."""


def shape_of(rows: pa.Table) -> str:
    """The keys of a batch with their types, in order, as JSON; ``__time__`` and the batch's own columns left out."""
    return _shape_of(rows.schema)


@by_schema
def _shape_of(schema: pa.Schema) -> str:
    return json.dumps([[column.name, str(column.type)] for column in schema if column.name not in KEPT.names])


def types_of(shapes: list[str]) -> dict[str, pa.DataType]:
    """The columns of several shapes, each in the one type that can hold all its values."""
    types: dict[str, pa.DataType] = {}
    for shape in shapes:
        for name, kind in json.loads(shape):
            types[name] = common(types.get(name, pa.null()), pa.type_for_alias(kind))
    return types


def expired_before(days: int, now_s: float) -> int | None:
    """Rows whose time is before this are expired; None where they are kept for ever."""
    return None if days == FOREVER else int(now_s) - days * 86_400
