"""What a batch counts as on the bill: bytes of keys and of values as text, uncompressed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emulator.logs.index import Index
from emulator.logs.records import HIDDEN, TIME
from emulator.logs.store import Usage
from emulator.logs.view import int64_values

TIME_BYTES = 4
"""Of a log's time: a 32-bit number where logs are uploaded (alibaba.md §5.3)."""

_POWERS = np.array([10**digits for digits in range(1, 19)])


def measured(rows: pa.Table, index: Index | None, *, collected: bool) -> Usage:
    """The usage that a batch adds; what is hidden is not billed."""
    sizes = {
        column.name: _size(rows[column.name]) + len(column.name.encode()) * _present(rows[column.name])
        for column in rows.schema
        if column.name != TIME and not column.name.startswith(HIDDEN)
    }
    written = sum(sizes.values()) + TIME_BYTES * rows.num_rows
    if index is None:
        indexed = 0
    elif index.full_text is not None:
        indexed = written
    else:
        indexed = sum(size for name, size in sizes.items() if name in index.fields)
    return Usage(collected=written if collected else 0, written=written, indexed=indexed)


def _present(column: pa.ChunkedArray) -> int:
    return int(len(column) - column.null_count)


def _size(column: pa.ChunkedArray) -> int:
    """Bytes of the values of a stored column as text."""
    if column.type == pa.string():
        return sum(_text_size(chunk) for chunk in column.chunks)
    if column.type == pa.int64():
        values = int64_values(column.fill_null(0))
        sizes = np.abs(values)
        largest = sizes.max(initial=0)
        digits = len(sizes) + sum(np.count_nonzero(sizes >= power) for power in _POWERS if power <= largest)
        return int(digits + np.count_nonzero(values < 0) - column.null_count)
    return int(pc.sum(pc.binary_length(column.cast(pa.string()))).as_py() or 0)


def _text_size(chunk: pa.StringArray) -> int:
    offsets = np.frombuffer(chunk.buffers()[1] or b"\0\0\0\0", np.int32)
    return int(offsets[chunk.offset + len(chunk)] - offsets[chunk.offset]) if len(chunk) else 0
