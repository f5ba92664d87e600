"""The store in a folder: immutable Parquet segments, and a SQLite manifest whose transaction is the acknowledgement.

::

    folder/
      lock                      whose process holds the folder for writing
      manifest.sqlite           topics, segments with their sha256, idempotency keys
      segments/00000017.parquet one write each, by number

A segment is written beside its name, fsynced, renamed, its folder fsynced; then one transaction makes it visible and
*is* the acknowledgement. A kill between any two of these steps leaves nothing, or a file that no row of the manifest
names; the next open removes it. Files that are not named like ours are left alone. Other processes may read all of
it at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import sqlite3
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from emulator.errors import LabError
from emulator.logs.records import TIME
from emulator.logs.store import Damage, Segment, StoredTopic
from emulator.logs.view import int64_values

LAYOUT = 1
"""Version of this layout, in the manifest's ``user_version``."""

_OURS = re.compile(r"(\d{8,})\.parquet(\.part)?")

_SEGMENT = "number, topic, rows, first_s, last_s"
"""The columns of ``Segment``."""

_TABLES = """
CREATE TABLE topics (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, logset TEXT NOT NULL, fields TEXT,
    report INTEGER NOT NULL DEFAULT 0, UNIQUE (logset, name));
CREATE TABLE segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL REFERENCES topics, rows INTEGER NOT NULL,
    first_s INTEGER NOT NULL, last_s INTEGER NOT NULL, sha256 TEXT NOT NULL);
CREATE INDEX segments_of_topic ON segments (topic, number);
CREATE TABLE keys (topic INTEGER NOT NULL REFERENCES topics, key TEXT NOT NULL, PRIMARY KEY (topic, key)) WITHOUT ROWID;
"""


class FolderStore:
    """A ``Store``; the only one that writes this folder, for as long as it is open.

    :raises LabError: the folder is in use (by whom is said), of a newer layout, or cannot be read or written
    """

    def __init__(self, folder: Path) -> None:
        self.damaged: list[Damage] = []
        self._folder = folder
        self._segments = folder / "segments"
        self._next = 1
        self._mutex = threading.RLock()
        with self._refusals("opened"):
            self._segments.mkdir(parents=True, exist_ok=True)
            self._lock = _hold(folder)
            try:
                self._manifest = self._open_manifest()
                try:
                    self._clean_up()
                except BaseException:
                    self._manifest.close()
                    raise
            except BaseException:
                _let_go_of(self._lock)
                raise
        self._give_up = weakref.finalize(self, _release, self._manifest, self._lock, os.getpid())

    def topics(self) -> list[StoredTopic]:
        with self._mutex, self._refusals("read"):
            rows = self._manifest.execute("SELECT number, name, logset, fields, report FROM topics ORDER BY number")
            return [
                StoredTopic(number, name, logset, index, bool(report)) for number, name, logset, index, report in rows
            ]

    def add_topic(self, name: str, logset: str) -> StoredTopic:
        with self._transaction() as manifest:
            added = manifest.execute("INSERT INTO topics (name, logset) VALUES (?, ?)", (name, logset))
        assert added.lastrowid is not None
        return StoredTopic(added.lastrowid, name, logset)

    def set_index(self, topic: int, index: str | None, report: bool) -> None:
        with self._transaction() as manifest:
            manifest.execute("UPDATE topics SET fields = ?, report = ? WHERE number = ?", (index, report, topic))

    def remove_topic(self, topic: int) -> None:
        with self._transaction() as manifest:
            numbers = manifest.execute("SELECT number FROM segments WHERE topic = ?", (topic,)).fetchall()
            for table, column in (("keys", "topic"), ("segments", "topic"), ("topics", "number")):
                manifest.execute(f"DELETE FROM {table} WHERE {column} = ?", (topic,))
        for (number,) in numbers:
            with suppress(OSError):
                self._path(number).unlink()

    def append(self, topic: int, rows: pa.Table, key: str | None) -> bool:
        data = _parquet(rows)
        times = int64_values(rows[TIME])
        facts = (topic, rows.num_rows, int(times.min()), int(times.max()), hashlib.sha256(data).hexdigest())
        with self._mutex:
            if key is not None and self._known(topic, key):
                return False
            number, self._next = self._next, self._next + 1
            path = self._path(number)
            with self._refusals("written"):
                try:
                    _write_durably(path, data)
                    with self._transaction() as manifest:
                        manifest.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)", (number, *facts))
                        if key is not None:
                            manifest.execute("INSERT INTO keys VALUES (?, ?)", (topic, key))
                except BaseException:
                    # An interrupt may come when the transaction is through: then the segment is there to stay.
                    with suppress(OSError, sqlite3.Error):
                        if self._sha256(number) is None:
                            path.unlink(missing_ok=True)
                    raise
            return True

    def segments(self, topic: int, after: int) -> list[Segment]:
        with self._mutex, self._refusals("read"):
            wanted = f"SELECT {_SEGMENT} FROM segments WHERE topic = ? AND number > ? ORDER BY number"
            return [Segment(*row) for row in self._manifest.execute(wanted, (topic, after))]

    def read(self, segment: Segment) -> pa.Table | None:
        """The rows, from the very bytes whose sha256 was compared with the manifest's.

        DuckDB and Parquet itself do not notice a flipped byte in a page; sums are then silently wrong.
        """
        import pyarrow.parquet

        path = self._path(segment.number)
        try:
            data = path.read_bytes()
        except OSError as error:
            self._report(segment, f"cannot be read: {error.strerror}")
            return None
        with self._mutex, self._refusals("read"):
            if hashlib.sha256(data).hexdigest() != self._sha256(segment.number):
                self._report(segment, "is not what was written: its sha256 is another")
                return None
        rows = pyarrow.parquet.read_table(pa.BufferReader(data), use_threads=False)
        return rows.replace_schema_metadata(None)

    def close(self) -> None:
        """Give up the folder; a second close does nothing."""
        with self._mutex:
            self._give_up()

    def _path(self, number: int) -> Path:
        return self._segments / f"{number:08}.parquet"

    def _known(self, topic: int, key: str) -> bool:
        with self._refusals("read"):
            found = self._manifest.execute("SELECT 1 FROM keys WHERE topic = ? AND key = ?", (topic, key)).fetchone()
            return found is not None

    def _sha256(self, number: int) -> str | None:
        """The sum of an acknowledged segment, None of any other."""
        found = self._manifest.execute("SELECT sha256 FROM segments WHERE number = ?", (number,)).fetchone()
        return None if found is None else str(found[0])

    def _report(self, segment: Segment, found: str) -> None:
        if all(known.segment != segment for known in self.damaged):
            path = self._path(segment.number)
            self.damaged.append(Damage(segment, str(path), found))
            warnings.warn(f"{path} {found}; its {segment.rows} records are left out", stacklevel=3)

    def _open_manifest(self) -> sqlite3.Connection:
        manifest = sqlite3.connect(self._folder / "manifest.sqlite", isolation_level=None, check_same_thread=False)
        try:
            manifest.execute("PRAGMA journal_mode = WAL")
            manifest.execute("PRAGMA synchronous = FULL")
            (layout,) = manifest.execute("PRAGMA user_version").fetchone()
            if layout > LAYOUT:
                raise LabError(f"{self._folder} is of a newer vpclab: its layout is {layout}, this one knows {LAYOUT}")
            if layout == 0:
                manifest.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
            return manifest
        except BaseException:
            manifest.close()
            raise

    def _clean_up(self) -> None:
        """Remove segments that were never acknowledged; report those that are gone."""
        known = {row[0]: Segment(*row) for row in self._manifest.execute(f"SELECT {_SEGMENT} FROM segments")}
        found = {path: ours for path in self._segments.iterdir() if (ours := _OURS.fullmatch(path.name))}
        for path, ours in found.items():
            if ours[2] or int(ours[1]) not in known:
                path.unlink()
        for number in known.keys() - {int(ours[1]) for ours in found.values()}:
            self._report(known[number], "is gone")
        last = self._manifest.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'segments'").fetchone()[0]
        self._next = (last or 0) + 1

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mutex, self._refusals("written"):
            self._manifest.execute("BEGIN IMMEDIATE")
            try:
                yield self._manifest
                self._manifest.execute("COMMIT")
            except BaseException:
                if self._manifest.in_transaction:
                    self._manifest.execute("ROLLBACK")
                raise

    @contextmanager
    def _refusals(self, what: str) -> Iterator[None]:
        """Errors of the file system and of SQLite, as ours."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise LabError(f"the log store in {self._folder} cannot be {what}: {error}") from error


def _hold(folder: Path) -> int:
    """A descriptor that holds the folder's lock; the lock ends with this process, however that ends."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        _held.add(descriptor)
        return descriptor
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        who = "this process" if holder == str(os.getpid()) else f"process {holder or '(unknown)'}"
        raise LabError(f"{folder} is in use by {who}; one lab at a time writes a folder") from None
    except BaseException:
        os.close(descriptor)
        raise


def _release(manifest: sqlite3.Connection, lock: int, owner: int) -> None:
    if os.getpid() == owner:
        manifest.close()
        fcntl.flock(lock, fcntl.LOCK_UN)  # also for a child that was forked a moment ago and has not closed its own yet
        _let_go_of(lock)


_held: set[int] = set()


def _let_go_of(lock: int) -> None:
    _held.discard(lock)
    os.close(lock)


def _forked() -> None:
    """A child shares the locks by their descriptors, and must not outlive its parent with them."""
    for lock in list(_held):
        _let_go_of(lock)


os.register_at_fork(after_in_child=_forked)


def _parquet(rows: pa.Table) -> memoryview:
    import pyarrow.parquet

    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(rows, sink, compression="zstd")
    return memoryview(sink.getvalue())


def _write_durably(path: Path, data: memoryview) -> None:
    """The whole file under its name, on disk, or none."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb", buffering=0) as file:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
