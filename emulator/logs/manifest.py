"""The manifest: a SQLite database in WAL mode that names what a folder holds; its transaction is the acknowledgement.

::

    logsets ─< topics ─< indexes      from which batch on which index holds
                      ├─< segments    the Parquet files, with their sha256, times and batches
                      ├─< journal     small batches that are in no segment yet, as Arrow
                      ├─< keys        of batches that were acknowledged
                      ├─< deliveries  how far each has come
                      │     ├─< shipped  the objects that it wrote
                      │     └─< dead_letters  records that its target will never take
                      └── usage       what the meter counted
    batches                           the number of the last batch
    shapes                            the keys of a batch, in order, with their types
    retired                           files that were replaced, until no reader can be at them any more

A folder of an older layout is carried over when it is opened for writing; readers of another layout are told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator.errors import LabError

LAYOUT = 5
"""Version of this layout, in the manifest's ``user_version``."""

DELIVERIES = """
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL REFERENCES topics, name TEXT NOT NULL,
    definition TEXT NOT NULL, batch INTEGER NOT NULL, row INTEGER NOT NULL, plan_batch INTEGER, plan_row INTEGER,
    plan_s REAL, paused INTEGER NOT NULL DEFAULT 0, records INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, name));
CREATE TABLE shipped (
    delivery INTEGER NOT NULL REFERENCES deliveries, name TEXT NOT NULL, at_s REAL NOT NULL, records INTEGER NOT NULL,
    size INTEGER NOT NULL, PRIMARY KEY (delivery, name)) WITHOUT ROWID;
CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY, delivery INTEGER NOT NULL REFERENCES deliveries, id TEXT NOT NULL, at_s REAL NOT NULL,
    message TEXT NOT NULL, record TEXT NOT NULL);
"""
"""What layout 3 has that layout 2 had not."""

JOURNAL = """
CREATE TABLE journal (
    batch INTEGER PRIMARY KEY, topic INTEGER NOT NULL REFERENCES topics, shape INTEGER NOT NULL REFERENCES shapes,
    at_s REAL NOT NULL, collected INTEGER NOT NULL, crc32 INTEGER NOT NULL, rows BLOB NOT NULL);
"""
"""What layout 5 has that layout 4 had not, which kept the bytes of small files beside what it knew of them."""

TABLES = f"""
CREATE TABLE logsets (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE topics (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, logset TEXT NOT NULL REFERENCES logsets (name),
    days INTEGER NOT NULL, report INTEGER NOT NULL DEFAULT 0, expired_s INTEGER, UNIQUE (logset, name));
CREATE TABLE indexes (
    topic INTEGER NOT NULL REFERENCES topics, first INTEGER NOT NULL, fields TEXT, PRIMARY KEY (topic, first)
) WITHOUT ROWID;
CREATE TABLE shapes (number INTEGER PRIMARY KEY, columns TEXT NOT NULL UNIQUE);
CREATE TABLE segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL REFERENCES topics, rows INTEGER NOT NULL,
    first_s INTEGER NOT NULL, last_s INTEGER NOT NULL, lowest INTEGER NOT NULL, highest INTEGER NOT NULL,
    shapes TEXT NOT NULL, characters TEXT NOT NULL, written INTEGER NOT NULL, size INTEGER NOT NULL,
    sha256 TEXT NOT NULL);
CREATE INDEX segments_of_topic ON segments (topic, last_s);
CREATE TABLE keys (topic INTEGER NOT NULL REFERENCES topics, key TEXT NOT NULL, PRIMARY KEY (topic, key)) WITHOUT ROWID;
CREATE TABLE batches (last INTEGER NOT NULL);
INSERT INTO batches VALUES (0);
CREATE TABLE retired (number INTEGER PRIMARY KEY, wall_s REAL NOT NULL);
CREATE TABLE usage (
    topic INTEGER PRIMARY KEY REFERENCES topics, collected INTEGER NOT NULL DEFAULT 0,
    written INTEGER NOT NULL DEFAULT 0, indexed INTEGER NOT NULL DEFAULT 0,
    read INTEGER NOT NULL DEFAULT 0, byte_days REAL NOT NULL DEFAULT 0, at_s REAL NOT NULL DEFAULT 0);
{DELIVERIES}{JOURNAL}"""


def open_for_writing(path: Path) -> tuple[sqlite3.Connection, int]:
    """The manifest and the layout that it has: ``LAYOUT``, or an older one that is to be carried over.

    :raises LabError: it is of a newer layout
    """
    manifest = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        manifest.execute("PRAGMA journal_mode = WAL")
        manifest.execute("PRAGMA synchronous = FULL")
        layout = _layout(manifest, path)
        if layout == 0:
            manifest.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
        return manifest, layout or LAYOUT
    except BaseException:
        manifest.close()
        raise


def open_for_reading(path: Path) -> sqlite3.Connection:
    """The manifest of a folder that another process may be writing.

    :raises LabError: it is of another layout
    """
    try:
        manifest = _connected(path, "mode=ro")
    except sqlite3.OperationalError:
        if not path.is_file() or path.with_name(path.name + "-wal").exists():
            raise
        # Where nothing may be written beside it SQLite cannot share it; as nobody writes it, it need not.
        manifest = _connected(path, "immutable=1")
    try:
        layout = _layout(manifest, path)
        if layout != LAYOUT:
            raise LabError(
                f"{path.parent} is of an older vpclab: its layout is {layout}; a lab that opens it carries it over"
            )
        return manifest
    except BaseException:
        manifest.close()
        raise


@contextmanager
def transaction(manifest: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of it, durable, or nothing."""
    manifest.execute("BEGIN IMMEDIATE")
    try:
        yield manifest
        manifest.execute("COMMIT")
    except BaseException:
        if manifest.in_transaction:
            manifest.execute("ROLLBACK")
        raise


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    manifest = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        manifest.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return manifest
    except BaseException:
        manifest.close()
        raise


def _layout(manifest: sqlite3.Connection, path: Path) -> int:
    (layout,) = manifest.execute("PRAGMA user_version").fetchone()
    if layout > LAYOUT:
        raise LabError(f"{path.parent} is of a newer vpclab: its layout is {layout}, this one knows {LAYOUT}")
    return int(layout)
