"""Records as the bytes of an object: JSON lines, CSV, Parquet, ORC or the provider's line, compressed if wanted.

The same records give the same bytes: whoever repeats a shipment writes what is there already.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emulator.logs.engine import ENGINE
from emulator.logs.records import TIME
from emulator.logs.scan import ROWS, literal

Format = Literal["json", "csv", "parquet", "orc", "line"]
Compression = Literal["none", "gzip", "snappy", "zstd"]

FORMATS: tuple[Format, ...] = ("json", "csv", "parquet", "orc", "line")
COMPRESSIONS: tuple[Compression, ...] = ("none", "gzip", "snappy", "zstd")

_SUFFIX = {"none": "", "gzip": ".gz", "snappy": ".snappy", "zstd": ".zst"}
_ENDING = {"json": ".json", "csv": ".csv", "parquet": ".parquet", "orc": ".orc", "line": ".log"}
_CODEC_OF_ORC = {"none": "uncompressed", "gzip": "zlib", "snappy": "snappy", "zstd": "zstd"}


def suffix(form: Format, compression: Compression) -> str:
    """How the names of such objects end."""
    return _ENDING[form] if form in ("parquet", "orc") else _ENDING[form] + _SUFFIX[compression]


def encoded(records: pa.Table, form: Format, compression: Compression) -> bytes:
    """``records``, which are some, with ``__time__``; a line has the fields alone."""
    sink = pa.BufferOutputStream()
    if form == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(records, sink, compression=compression, store_schema=False)
        return bytes(memoryview(sink.getvalue()))
    if form == "orc":
        import pyarrow.orc

        pyarrow.orc.write_table(records, sink, compression=_CODEC_OF_ORC[compression])
        return bytes(memoryview(sink.getvalue()))
    if form == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(records, sink, pyarrow.csv.WriteOptions(quoting_style="needed"))
        text = sink.getvalue()
    else:
        text = joined(json_lines(records) if form == "json" else _lines(records))
    if compression == "none":
        return bytes(memoryview(text))
    # Snappy without frames, as both providers write it; the others as files of their tools.
    return bytes(memoryview(pa.Codec(compression).compress(text)))


def json_lines(records: pa.Table) -> pa.ChunkedArray:
    """An object a record; what has no value is null."""
    names = [f"c{at}" for at in range(records.num_columns)]  # for keys may differ by case only, which SQL ignores
    row = ", ".join(f"{literal(key)}, {name}" for key, name in zip(records.column_names, names, strict=True))
    lines = f'SELECT CAST(json_object({row}) AS VARCHAR) AS line FROM "{ROWS}"'
    return ENGINE.table(records.rename_columns(names), lines, [])["line"]


def _lines(records: pa.Table) -> pa.ChunkedArray:
    """The values in the order of the fields, ``-`` for none; line breaks in them are written as ``\\n`` and ``\\r``."""
    columns = [records[name] for name in records.column_names if name != TIME]
    texts = [pc.fill_null(pc.cast(column, pa.string()), "-") for column in columns]
    for broken, written in (("\n", r"\n"), ("\r", r"\r")):
        texts = [pc.replace_substring(text, broken, written) for text in texts]
    return pc.binary_join_element_wise(*texts, " ")


def joined(lines: pa.ChunkedArray) -> pa.Buffer:
    """Lines as one text, a newline behind each."""
    nothing, newline = (pa.scalar(text, pa.large_string()) for text in ("", "\n"))
    whole = pc.binary_join_element_wise(pc.cast(lines, pa.large_string()), nothing, newline)
    array = pa.concat_arrays(whole.chunks)
    _, offsets, values = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return values.slice(int(bounds[0]), int(bounds[-1] - bounds[0]))
