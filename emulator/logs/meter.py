"""What a batch counts as on the bill: bytes of keys and of values as text, uncompressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emulator.logs.index import Index
from emulator.logs.records import HIDDEN, TIME
from emulator.logs.schemas import by_schema
from emulator.logs.store import Usage
from emulator.logs.view import Int64s

TIME_BYTES = 4
"""Of a log's time: a 32-bit number where logs are uploaded (alibaba.md §5.3)."""

BLOCK = 1 << 16
"""So many numbers are counted at once, whatever their keys: what few of them cost is the calls."""

_POWERS = np.array([10**digits for digits in range(1, 19)], np.uint64)


def measured(rows: pa.Table, index: Index | None, *, collected: bool) -> Usage:
    """The usage that a batch adds; what is hidden is not billed."""
    billed = _billed(rows.schema)
    if index is None or index.full_text is not None:
        written = _size(rows, billed) + TIME_BYTES * rows.num_rows
        indexed = 0 if index is None else written
    else:
        indexed = _size(rows, [column for column in billed if column.name in index.fields])
        others = _size(rows, [column for column in billed if column.name not in index.fields])
        written = indexed + others + TIME_BYTES * rows.num_rows
    return Usage(collected=written if collected else 0, written=written, indexed=indexed)


@dataclass(frozen=True)
class _Billed:
    """The place of a column in its table, the bytes of its key, and the type of its values."""

    place: int
    name: str
    key: int
    type: pa.DataType


@by_schema
def _billed(schema: pa.Schema) -> list[_Billed]:
    return [
        _Billed(place, column.name, len(column.name.encode()), column.type)
        for place, column in enumerate(schema)
        if column.name != TIME and not column.name.startswith(HIDDEN)
    ]


def _size(rows: pa.Table, columns: Sequence[_Billed]) -> int:
    """Bytes of the keys of these columns and of their values as text."""
    total, longs = 0, [np.empty(0, np.int64)]
    for batch in rows.to_batches():
        for column in columns:
            values = batch.column(column.place)
            total += column.key * (len(values) - values.null_count)
            if column.type == pa.int64():
                longs.append(_numbers(values))
            elif column.type == pa.string():
                total += _text_size(values)
            else:
                total += pc.sum(pc.binary_length(values.cast(pa.string()))).as_py() or 0
    if sum(map(len, longs)) <= BLOCK:
        longs = [np.concatenate(longs)]
    return total + sum(_digits(long[at : at + BLOCK]) for long in longs for at in range(0, len(long), BLOCK))


def _numbers(values: pa.Int64Array) -> Int64s:
    """The values that are not null."""
    there, held = values.buffers()
    first, end = values.offset, values.offset + len(values)
    numbers = np.frombuffer(held, np.int64, end)[first:]
    if values.null_count == 0:
        return numbers
    bits = np.unpackbits(np.frombuffer(there, np.uint8), count=end, bitorder="little")
    return numbers[bits[first:].view(np.bool_)]


def _digits(values: Int64s) -> int:
    """Bytes of numbers (some) as text."""
    sizes = np.abs(values).view(np.uint64)  # unsigned, for the least of all has no positive one else
    powers = _POWERS[: np.searchsorted(_POWERS, sizes.max(), "right")]
    further = np.count_nonzero(np.less_equal.outer(powers, sizes))
    return int(len(values) + further + np.count_nonzero(values < 0))


def _text_size(values: pa.StringArray) -> int:
    offsets = np.frombuffer(values.buffers()[1], np.int32)
    return int(offsets[values.offset + len(values)] - offsets[values.offset])
