"""The rows of one topic as one Arrow table in order of time, kept up as batches come.

Batches are added as they are, without a copy. Neighbours are joined by size classes, each row log n times, so that
hundreds of windows with a few rows each cost a search no more than one window with as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emulator.logs.records import ROW, SEGMENT, SHAPE, TIME

JOIN_ROWS = 1 << 16
"""Parts are not joined into larger ones than this."""

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Part:
    """Rows in order of time, then of insertion; ``times`` is the table's own column as numpy has it."""

    table: pa.Table
    times: Int64s


class View:
    """Not thread-safe: the store holds its lock around it."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._whole: _Part | None = None

    def add(self, rows: pa.Table) -> None:
        """Add the rows of a batch, which has some; batches come in the order of their numbers."""
        self._parts.append(_part(rows))
        self._whole = None

    def rows(self, start: int | None = None, end: int | None = None) -> pa.Table:
        """Rows with ``start`` <= time < ``end``, by time and then by insertion."""
        table, times = self._all().table, self._all().times
        low = 0 if start is None else int(np.searchsorted(times, start, "left"))
        high = table.num_rows if end is None else int(np.searchsorted(times, end, "left"))
        return table.slice(low, high - low)

    def forget(self, before: int, batch: int) -> float:
        """Let go of rows with a time before this and of a batch before that; the share of rows that stays."""
        whole = self._all()
        over = int(np.searchsorted(whole.times, before, "left"))
        kept = np.arange(over, len(whole.times))
        if over:
            held = np.flatnonzero(int64_values(whole.table[SEGMENT].slice(0, over)) >= batch)
            kept = np.concatenate([held, kept])
        if len(kept) == len(whole.times):
            return 1.0
        self._parts = [_Part(whole.table.take(int64_array(kept)), whole.times[kept])]
        self._whole = None
        return float(len(kept) / len(whole.times))

    def _all(self) -> _Part:
        if self._whole is None:
            self._join()
            self._whole = _joined(self._parts)
        return self._whole

    def _join(self) -> None:
        """Join neighbours until each part is larger than what came after it, or too large to copy."""
        parts: list[_Part] = []
        for part in self._parts:
            parts.append(part)
            while len(parts) > 1:
                older, newer = len(parts[-2].times), len(parts[-1].times)
                if older > 2 * newer or older + newer > JOIN_ROWS:
                    break
                joined = _joined(parts[-2:])
                parts[-2:] = [_Part(joined.table.combine_chunks(), joined.times)]
        self._parts = parts


def int64_array(values: Int64s) -> pa.Int64Array:
    """``values`` as Arrow, not copied.

    ``pa.array`` would import pandas, where it is installed, to see whether it was given a Series: 0.3 s once.
    """
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def int64_values(column: pa.ChunkedArray) -> Int64s:
    """An int64 column without nulls as numpy has it (``to_numpy`` would import pandas as well)."""
    chunks = [np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset :][: len(chunk)] for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, np.int64), *chunks])


def common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The one type that holds the values of both."""
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    return pa.string() if pa.string() in (one, other) else pa.float64()


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Rows of several tables in order: by time, then by batch and row, which is the order of insertion.

    Each column gets the one type that can hold all its values; of whole numbers beyond 2^53 that means their first
    digits, where others of the column are no whole ones.
    """
    if not tables or any(not table.schema.equals(tables[0].schema) for table in tables):
        types: dict[str, pa.DataType] = dict.fromkeys((TIME, SEGMENT, ROW, SHAPE), pa.int64())
        for table in tables:
            for column in table.schema:
                types[column.name] = common(types.get(column.name, pa.null()), column.type)
        whole = pa.schema(list(types.items()))
        schemas = [pa.schema([whole.field(name) for name in table.column_names]) for table in tables]
        tables = [table.cast(schema, safe=False) for table, schema in zip(tables, schemas, strict=True)]
        tables = [whole.empty_table(), *tables]
    return _part(pa.concat_tables(tables, promote_options="default")).table


def _part(table: pa.Table) -> _Part:
    times = int64_values(table[TIME])
    if bool(np.all(times[1:] >= times[:-1])):
        return _Part(table, times)
    order = np.lexsort((int64_values(table[ROW]), int64_values(table[SEGMENT]), times))
    return _Part(table.take(int64_array(order)), times[order])


def _joined(parts: Sequence[_Part]) -> _Part:
    table = joined([part.table for part in parts])
    return _Part(table, int64_values(table[TIME]))
