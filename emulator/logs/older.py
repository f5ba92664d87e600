"""Folders of older layouts, carried over.

Layout 4 had no journal: it held the bytes of small segments beside what it knew of them, for their files were not
fsynced. Layout 3 had neither, layout 2 no deliveries. Layout 1 named a segment by its batch and kept no columns that
tell where a row came from: its files are written anew under new numbers, with the ids that their rows had. One
transaction makes the new layout; a kill before it leaves the old one.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from emulator.logs import manifest, segments
from emulator.logs.reader import insert_segment
from emulator.logs.records import TIME
from emulator.logs.store import FOREVER, Segment, shape_of
from emulator.logs.view import int64_values


def carry_over(opened: sqlite3.Connection, files: Path, layout: int) -> None:
    """Bring a folder of ``layout`` to the one of today; the files that were replaced are no longer named."""
    if layout == 1:
        _carry_segments_over(opened, files)
        return
    if layout == 4:
        _restore(opened, files)
    with manifest.transaction(opened) as changed:
        for statement in manifest.DELIVERIES.split(";") if layout == 2 else []:
            changed.execute(statement)
        if layout == 4:
            changed.execute("ALTER TABLE segments DROP COLUMN data")
        changed.execute(manifest.JOURNAL)
        changed.execute(f"PRAGMA user_version = {manifest.LAYOUT}")


def _restore(opened: sqlite3.Connection, files: Path) -> None:
    """Have the files on disk that were acknowledged and might not be there yet when the power went."""
    for number, digest in opened.execute("SELECT number, sha256 FROM segments WHERE data IS NOT NULL").fetchall():
        path = segments.path_of(files, number)
        if path.is_file() and segments.sha256(path.read_bytes()) == digest:
            segments.sync(path)
            continue
        path.unlink(missing_ok=True)
        ((data,),) = opened.execute("SELECT data FROM segments WHERE number = ?", (number,))
        segments.write_durably(path, data)


def _carry_segments_over(opened: sqlite3.Connection, files: Path) -> None:
    old = opened.execute("SELECT number, topic, rows, first_s, last_s, sha256 FROM segments ORDER BY number").fetchall()
    topics = opened.execute("SELECT number, name, logset, fields, report FROM topics ORDER BY number").fetchall()
    keys = opened.execute("SELECT topic, key FROM keys").fetchall()
    (last,) = opened.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'segments'").fetchone()
    numbers = dict(opened.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    shapes: dict[str, int] = {}
    carried = []
    for at, (number, topic, rows, first_s, last_s, digest) in enumerate(old, start=1):
        path = segments.path_of(files, number)
        data = path.read_bytes() if path.is_file() else b""
        if segments.sha256(data) != digest:
            # It is reported when it is read, as it was.
            carried.append(Segment(number, topic, rows, first_s, last_s, number, number, (), {}, 0, len(data), digest))
            continue
        table = segments.read(data)
        shape = shapes.setdefault(shape_of(table), len(shapes) + 1)
        made = segments.parquet(segments.numbered(table, number, shape))
        times = int64_values(table[TIME])
        written = segments.path_of(files, last + at)
        written.unlink(missing_ok=True)  # of an earlier try that was killed
        segments.write_durably(written, made)
        bounds = (int(times.min()), int(times.max()), number, number)
        kinds = segments.characters(table)
        whole = (table.nbytes, len(made), segments.sha256(made))
        carried.append(Segment(last + at, topic, rows, *bounds, (shape,), kinds, *whole))
    with manifest.transaction(opened) as changed:
        for table_name in ("keys", "segments", "topics"):
            changed.execute(f"DROP TABLE {table_name}")
        for statement in manifest.TABLES.split(";"):
            changed.execute(statement)
        changed.executemany("INSERT INTO shapes (columns, number) VALUES (?, ?)", shapes.items())
        for number, name, logset, fields, report in topics:
            changed.execute("INSERT OR IGNORE INTO logsets (name) VALUES (?)", (logset,))
            changed.execute("INSERT INTO topics VALUES (?, ?, ?, ?, ?, NULL)", (number, name, logset, FOREVER, report))
            changed.execute("INSERT INTO usage (topic) VALUES (?)", (number,))
            if fields is not None:
                changed.execute("INSERT INTO indexes VALUES (?, 0, ?)", (number, _rule(fields)))
        for segment in carried:
            insert_segment(changed, segment)
        changed.execute("UPDATE batches SET last = ?", (last,))
        changed.executemany("INSERT INTO keys VALUES (?, ?)", keys)
        last_topic = max(numbers.get("topics", 0), 0)
        changed.execute("DELETE FROM sqlite_sequence WHERE name IN ('topics', 'segments')")
        changed.execute("INSERT INTO sqlite_sequence VALUES ('topics', ?)", (last_topic,))
        changed.execute("INSERT INTO sqlite_sequence VALUES ('segments', ?)", (last + len(old),))
        changed.execute(f"PRAGMA user_version = {manifest.LAYOUT}")


def _rule(fields: str) -> str:
    """The index as it is written today: the fields stand below a name of their own."""
    return json.dumps({"fields": json.loads(fields)})
