"""The Parquet files of a folder: written once, never changed, and what is known of their content."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from emulator.logs.records import HIDDEN, ROW, SEGMENT, SHAPE, TIME
from emulator.logs.schemas import by_schema
from emulator.logs.view import int64_array

NAME = re.compile(r"(\d{8,})\.parquet")

ROW_GROUP = 122_880
"""Rows of a row group: DuckDB's own number, so that it works on several at once and skips by time."""

_DISTINCT = 30_000
_FALSE_POSITIVES = 0.05
"""Of a Bloom filter: 23 KB for a column of a row group, that is 0.2 bytes a record; one search in twenty for a value
that never occurred reads a row group in vain."""

FEW_ROWS = 1 << 10
"""Up to these a fresh segment has no dictionaries: they take a quarter of its time, and lz4 saves as much."""

_ASCII = 128
_GLANCE = 1 << 8


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:08}.parquet"


def numbered(rows: pa.Table, batch: int, shape: int) -> pa.Table:
    """``rows`` with the columns that tell where they came from."""
    count = rows.num_rows
    for name, values in (
        (SEGMENT, np.full(count, batch, np.int64)),
        (ROW, np.arange(count, dtype=np.int64)),
        (SHAPE, np.full(count, shape, np.int64)),
    ):
        rows = rows.append_column(name, [int64_array(values)])
    return rows


def parquet(rows: pa.Table, *, final: bool = False) -> memoryview:
    """``rows`` as the bytes of a Parquet file.

    ``final``: packed as small as it goes, with Bloom filters; else as fast as it goes, for it will be compacted.
    """
    import pyarrow.parquet

    texts = [column.name for column in rows.schema if column.type == pa.string() and not column.name.startswith("_")]
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(
        rows,
        sink,
        compression="zstd" if final else "lz4",
        row_group_size=ROW_GROUP,
        store_schema=False,
        # A row's number within its batch is one more than the one before: by its difference it costs next to nothing.
        use_dictionary=(final or rows.num_rows > FEW_ROWS)
        and [column.name for column in rows.schema if _repeats(column, final)],
        write_statistics=True if final else [TIME],
        column_encoding={ROW: "DELTA_BINARY_PACKED"},
        bloom_filter_options={name: {"ndv": _DISTINCT, "fpp": _FALSE_POSITIVES} for name in texts} if final else None,
    )
    return memoryview(sink.getvalue())


def _repeats(column: pa.Field, final: bool) -> bool:
    """Whether a column is written as numbers of its values; of numbers themselves only where size counts."""
    return bool(column.type == pa.string() or column.name in (SEGMENT, SHAPE) or (final and column.name != ROW))


def read(data: bytes | memoryview) -> pa.Table:
    """The rows of a Parquet file."""
    import pyarrow.parquet

    return pyarrow.parquet.read_table(pa.BufferReader(data), use_threads=False).replace_schema_metadata(None)


def sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def write(path: Path, data: memoryview | bytes) -> None:
    """The whole file, or none, for everybody to read; on disk when the kernel comes to it.

    There is no renaming: a file that no row of the manifest names counts for nothing.
    """
    try:
        with open(path, "xb", buffering=0) as file:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_durably(path: Path, data: memoryview) -> None:
    """The whole file on disk, or none.

    The name was made before the file's own fsync, whose journal entry holds it on most file systems, so that the
    folder's costs next to nothing.
    """
    write(path, data)
    try:
        sync(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Have a file on disk, with its name."""
    for place in (path, path.parent):
        opened = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def characters(rows: pa.Table) -> dict[str, str]:
    """Of what characters the values of each text key are made; every code point beyond ASCII as U+0080.

    With it a search knows that a value holds no delimiter, so that its only word is the value.
    """
    batches = rows.to_batches()
    return {name: _characters([batch.column(place) for batch in batches]) for place, name in _texts(rows.schema)}


@by_schema
def _texts(schema: pa.Schema) -> list[tuple[int, str]]:
    return [
        (place, column.name)
        for place, column in enumerate(schema)
        if column.type == pa.string() and not column.name.startswith(HIDDEN)
    ]


def _characters(chunks: Sequence[pa.StringArray]) -> str:
    seen: set[int] = set()
    for chunk in chunks:
        _, offsets, values = chunk.buffers()
        if values is None:
            continue
        bounds = np.frombuffer(offsets, np.int32)
        begin, end = bounds[chunk.offset], bounds[chunk.offset + len(chunk)]
        left = values.slice(begin, end - begin).to_pybytes()
        while left:
            # A few bytes tell most of what there is; what they told is taken out at memory speed.
            seen.update(left[:_GLANCE])
            left = left.translate(None, bytes(seen))
    found = bytes(sorted(code for code in seen if code < _ASCII)).decode()
    return found + ("\x80" if max(seen, default=0) >= _ASCII else "")
