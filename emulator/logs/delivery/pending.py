"""What a delivery has before it: rows of its topic from its position on, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emulator.logs.checkpoints import Position
from emulator.logs.engine import ENGINE
from emulator.logs.records import HIDDEN, ROW, SEGMENT, SHAPE
from emulator.logs.scan import ROWS, Scan, quoted
from emulator.logs.store import KEPT, ReadStore
from emulator.logs.view import int64_array, int64_values

ROWS_MOST = 1 << 20
"""Rows that are read at once, and so of one shipment."""

FLOW_LOG, LAB = HIDDEN + "flow_log_id", HIDDEN + "lab"
"""The columns that say which flow log wrote a row, and in which lab."""

_CARRIED = {FLOW_LOG, LAB}
"""What of the hidden columns is read: the others are half of a flow record's, and nobody delivers them."""


def rows(store: ReadStore, topic: int, since: Position, until: Position | None = None) -> pa.Table:
    """At most ``ROWS_MOST`` rows from ``since``, and before ``until``, in order; expired ones too.

    The columns are those that these rows were written with, whatever else the topic has and however they are stored by
    now.
    """
    scan = _from(store.scan(topic, None, None, expired=True), since)
    if not scan.files:
        assert scan.table is not None
        return _written(_between(scan.table, since, until), store, topic, scan)
    where = _after(since) + ("" if until is None else f" AND NOT ({_after(until)})")
    order = f'ORDER BY "{SEGMENT}", "{ROW}" LIMIT {ROWS_MOST}'
    columns = ", ".join(quoted(name) for name in _wanted(scan))
    found = ENGINE.table(scan, f'SELECT {columns} FROM "{ROWS}" WHERE {where} {order}', [])
    return _written(found, store, topic, scan)


def _between(table: pa.Table, since: Position, until: Position | None) -> pa.Table:
    """Rows of a table from one position on and before another, in order, at most ``ROWS_MOST``."""
    batches, numbers = int64_values(table[SEGMENT]), int64_values(table[ROW])
    order = np.lexsort((numbers, batches))
    batches, numbers = batches[order], numbers[order]

    def place(at: Position) -> int:
        first, last = np.searchsorted(batches, at.batch, "left"), np.searchsorted(batches, at.batch, "right")
        return int(first + np.searchsorted(numbers[first:last], at.row))

    return table.take(int64_array(order[place(since) : None if until is None else place(until)][:ROWS_MOST]))


def _wanted(scan: Scan) -> list[str]:
    return [name for name in scan.types if not name.startswith(HIDDEN) or name in _CARRIED or name in KEPT.names]


def _written(found: pa.Table, store: ReadStore, topic: int, scan: Scan) -> pa.Table:
    """Rows with the columns that they were written with."""
    wanted = _wanted(scan)
    shapes = sorted(set(pc.unique(found[SHAPE]).to_pylist()))
    written = [(name, kind) for name, kind in store.columns(topic, shapes).items() if name in wanted]
    types = pa.schema([*KEPT, *(pa.field(name, kind) for name, kind in written if name not in KEPT.names)])
    return found.select(types.names).cast(types).combine_chunks()


def count(store: ReadStore, topic: int, since: Position) -> int:
    """How many rows there are from ``since`` on."""
    scan = _from(store.scan(topic, None, None, expired=True), since)
    found = ENGINE.table(scan, f'SELECT count(*) AS n FROM "{ROWS}" WHERE {_after(since)}', [])
    return int(found["n"][0].as_py())


def end_of(stored: pa.Table) -> Position:
    """The position behind the last of some rows."""
    last = stored.slice(stored.num_rows - 1)
    return Position(int(int64_values(last[SEGMENT])[0]), int(int64_values(last[ROW])[0]) + 1)


def first_of(stored: pa.Table) -> Position:
    """The position of the first of some rows."""
    first = stored.slice(0, 1)
    return Position(int(int64_values(first[SEGMENT])[0]), int(int64_values(first[ROW])[0]))


def of_flow_logs(stored: pa.Table, flow_logs: Sequence[str]) -> pa.Table:
    """Those that the flow logs wrote; all, where none are named."""
    if not flow_logs:
        return stored
    if FLOW_LOG not in stored.column_names:
        return stored.slice(0, 0)
    return stored.filter(pc.is_in(stored[FLOW_LOG], pa.array(list(flow_logs))))


def _from(scan: Scan, since: Position) -> Scan:
    """Without the files that hold nothing from there on."""
    if not scan.files:
        return scan
    files = tuple(file for file in scan.files if file.highest >= since.batch)
    if not files and scan.table is None:
        return replace(scan, files=(), table=scan.schema.empty_table())
    return replace(scan, files=files)


def _after(since: Position) -> str:
    return f'("{SEGMENT}" > {since.batch} OR ("{SEGMENT}" = {since.batch} AND "{ROW}" >= {since.row}))'
