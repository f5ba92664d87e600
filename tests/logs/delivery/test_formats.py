"""What objects hold: any records, read back by readers of others."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.logs.delivery.formats import Compression, Format, encoded

KEYS = st.text(min_size=1, max_size=6).filter(lambda key: key.isprintable() and not key.startswith("_"))
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(1 << 63), (1 << 63) - 1),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False),
    pa.string(): st.text(max_size=6),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 4))
    columns = {"__time__": pa.array([1_704_067_200] * rows, pa.int64())}
    for key in draw(st.lists(KEYS, min_size=1, max_size=4, unique=True)):
        kind = draw(st.sampled_from(list(VALUES)))
        values = draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows))
        columns[key] = pa.array(values, kind)
    return pa.table(columns)


def unpacked(records: pa.Table, form: Format, compression: Compression) -> bytes:
    data = encoded(records, form, compression)
    assert data == encoded(records, form, compression), "whoever repeats it writes the same"
    if compression == "gzip":
        return gzip.decompress(data)
    return data if compression == "none" else bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())


@settings(max_examples=40)
@given(records=tables(), codec=st.sampled_from(["none", "gzip", "zstd"]))
def test_any_records_are_read_back(records: pa.Table, codec: Compression) -> None:
    assert pa.parquet.read_table(io.BytesIO(encoded(records, "parquet", codec))).equals(records)
    assert pa.orc.read_table(io.BytesIO(encoded(records, "orc", codec))).equals(records)
    lines = unpacked(records, "json", codec).decode().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == records.to_pylist()
    names, *rows = csv.reader(io.StringIO(unpacked(records, "csv", codec).decode(), newline=""))
    assert names == records.column_names
    for row, record in zip(rows, records.to_pylist(), strict=True):
        for text, value in zip(row, record.values(), strict=True):
            wanted = "" if value is None else value
            assert type(wanted)(text) == wanted
    assert unpacked(records, "line", codec).count(b"\n") == records.num_rows
