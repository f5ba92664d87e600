"""The journal: small batches as they were acknowledged, in the manifest until they are part of a segment.

An acknowledgement is to cost little more than its one fsync, so a batch is kept as Arrow's own bytes. What a segment
needs besides (Parquet, its sha256, what the meter counts) is made a moment later, for all that came meanwhile at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from emulator.logs.index import Index, told_at
from emulator.logs.meter import measured
from emulator.logs.records import TIME
from emulator.logs.segments import numbered
from emulator.logs.store import Usage
from emulator.logs.view import int64_values

BATCH_BYTES = 1 << 17
"""Up to so many bytes in Arrow a batch is journaled: to write them twice costs less than to wait for the disk twice."""

DAY_S = 86_400


@dataclass(frozen=True)
class Entry:
    """A batch of a topic; ``at_s`` is the lab time at which it was written."""

    batch: int
    shape: int
    at_s: float
    collected: bool
    rows: pa.Table

    def day(self) -> int:
        """In which day its last row is."""
        return int(int64_values(self.rows[TIME]).max()) // DAY_S

    def numbered(self) -> pa.Table:
        return numbered(self.rows, self.batch, self.shape)


def packed(rows: pa.Table) -> memoryview:
    """``rows`` as the bytes of an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return memoryview(sink.getvalue())


def checksum(data: memoryview | bytes) -> int:
    """By which bytes that changed since are known: CRC-32, for they lie there for moments, and sha256 takes longer."""
    return zlib.crc32(data)


def unpacked(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()


def usage_of(entries: Sequence[Entry], indexes: Mapping[int, str | None], now_s: float) -> Usage:
    """What the meter counts of these batches until ``now_s``, each under the index of its time."""
    collected = written = indexed = 0
    byte_days = 0.0
    known = {told: Index.from_json(told) for told in set(indexes.values()) if told is not None}
    for entry in entries:
        told = told_at(indexes, entry.batch)
        usage = measured(entry.rows, None if told is None else known[told], collected=entry.collected)
        collected += usage.collected
        written += usage.written
        indexed += usage.indexed
        byte_days += usage.written * max(0.0, now_s - entry.at_s) / DAY_S
    return Usage(collected, written, written, indexed, byte_days=byte_days)
