"""The store in a folder: immutable Parquet segments, and a SQLite manifest whose transaction is the acknowledgement.

::

    folder/
      lock                      whose process holds the folder for writing
      manifest.sqlite           what there is (manifest.py)
      segments/00000017.parquet a large write each, or several writes, by number

A large batch is written as a segment and fsynced, with its folder; then one transaction names it, which makes it
visible and *is* the acknowledgement. A small batch is acknowledged by a transaction that puts it into the journal
(journal.py), out of which a segment is made a moment later, in the background or when somebody reads. A kill between
any two of these steps leaves nothing, or a file that no row of the manifest names; the next open removes it. Files that
are not named like ours are left alone. Other processes may read all of it at any time (``FolderReader``).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from emulator.errors import LabError
from emulator.logs import journal, manifest, older, segments
from emulator.logs.checkpoints import FolderCheckpoints
from emulator.logs.compaction import Compactor, Replacement
from emulator.logs.hold import hold, let_go_of, release
from emulator.logs.index import index_now
from emulator.logs.meter import measured
from emulator.logs.reader import FolderReader, insert_segment
from emulator.logs.records import TIME
from emulator.logs.scan import Scan
from emulator.logs.store import FOREVER, Batch, Segment, StoredTopic, Usage, expired_before, shape_of
from emulator.logs.view import int64_values, joined

GRACE_S = 60.0
"""Wall time for which a file that was replaced stays: no query of another process runs longer."""

JOURNALED = 256
"""So often, in batches of a topic in the journal, a write waits for a segment of them: 32 MB where that can be made."""

EXPIRY_STEP_S = 3600
"""Lab time after which expired rows are let go again; searches do not find them from the second they expire."""


class FolderStore(FolderReader):
    """A ``Store``; the only one that writes this folder, for as long as it is open.

    :raises LabError: the folder is in use (by whom is said), of a newer layout, or cannot be read or written
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.checkpoints = FolderCheckpoints(self._all, self._transaction)
        self._owner = os.getpid()
        self._flushing = threading.Lock()
        self._journaled: Counter[int] = Counter()
        self._compactor: Compactor | None = None
        with self._refusals("opened"):
            self.files.mkdir(parents=True, exist_ok=True)
            self._lock = hold(folder)
            try:
                self._manifest, layout = manifest.open_for_writing(folder / "manifest.sqlite")
                try:
                    if layout < manifest.LAYOUT:
                        older.carry_over(self._manifest, self.files, layout)
                    self._next = self._last_number() + 1
                    self._next_batch = self._last_batch() + 1
                    self._clean_up()
                except BaseException:
                    self._manifest.close()
                    raise
            except BaseException:
                let_go_of(self._lock)
                raise
        self._give_up = weakref.finalize(self, _release, self._manifest, self._lock, self._owner)
        for topic in self.topics():
            self._compact(topic.number)

    def add_logset(self, name: str) -> None:
        with self._transaction() as changed:
            changed.execute("INSERT OR IGNORE INTO logsets (name) VALUES (?)", (name,))

    def remove_logset(self, name: str) -> None:
        with self._transaction() as changed:
            changed.execute("DELETE FROM logsets WHERE name = ?", (name,))

    def add_topic(self, name: str, logset: str, days: int) -> StoredTopic:
        with self._transaction() as changed:
            changed.execute("INSERT OR IGNORE INTO logsets (name) VALUES (?)", (logset,))
            added = changed.execute("INSERT INTO topics (name, logset, days) VALUES (?, ?, ?)", (name, logset, days))
            changed.execute("INSERT INTO usage (topic) VALUES (?)", (added.lastrowid,))
        assert added.lastrowid is not None
        return StoredTopic(added.lastrowid, name, logset, days)

    def set_topic(self, topic: int, *, days: int | None = None, report: bool | None = None) -> None:
        with self._transaction() as changed:
            for column, value in (("days", days), ("report", report)):
                if value is not None:
                    changed.execute(f"UPDATE topics SET {column} = ? WHERE number = ?", (int(value), topic))

    def set_index(self, topic: int, index: str | None) -> None:
        with self._transaction() as changed:
            changed.execute("INSERT OR REPLACE INTO indexes VALUES (?, ?, ?)", (topic, self._next_batch, index))

    def reindex(self, topic: int) -> None:
        self.flush(topic)  # what the journal holds is metered under the index of its time
        with self._transaction() as changed:
            last = "(SELECT max(first) FROM indexes WHERE topic = ?)"
            changed.execute(f"DELETE FROM indexes WHERE topic = ? AND first < {last}", (topic, topic))
            changed.execute("UPDATE indexes SET first = 0 WHERE topic = ?", (topic,))

    def remove_topic(self, topic: int) -> None:
        with self._transaction() as changed:
            numbers = changed.execute("SELECT number FROM segments WHERE topic = ?", (topic,)).fetchall()
            theirs = "delivery IN (SELECT number FROM deliveries WHERE topic = ?)"
            for table in ("shipped", "dead_letters"):
                changed.execute(f"DELETE FROM {table} WHERE {theirs}", (topic,))
            for table in ("deliveries", "keys", "segments", "journal", "indexes", "usage"):
                changed.execute(f"DELETE FROM {table} WHERE topic = ?", (topic,))
            changed.execute("DELETE FROM topics WHERE number = ?", (topic,))
        self._unlink(number for (number,) in numbers)

    def append(self, topic: int, batch: Batch, now_s: float) -> bool:
        shape = self._shape(shape_of(batch.rows))
        with self._mutex:
            if batch.key is not None and self._known(topic, batch.key):
                return False
            place, self._next_batch = self._next_batch, self._next_batch + 1
        try:
            if batch.rows.nbytes <= journal.BATCH_BYTES:
                self._append_to_journal(topic, batch, place, shape, now_s)
            else:
                self._append_segment(topic, batch, place, shape, now_s)
        except LabError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError) and self._known(topic, batch.key or ""):
                return False  # the same key, written by another thread meanwhile
            raise
        if self._journaled[topic] % JOURNALED == 0:
            self._try_to_flush(topic)
        self._compact(topic)
        return True

    def _append_to_journal(self, topic: int, batch: Batch, place: int, shape: int, now_s: float) -> None:
        data = journal.packed(batch.rows)
        with self._transaction() as changed:
            if batch.key is not None:
                changed.execute("INSERT INTO keys VALUES (?, ?)", (topic, batch.key))
            entry = (place, topic, shape, now_s, batch.collected, journal.checksum(data), data)
            changed.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", entry)
            self._journaled[topic] += 1

    def _append_segment(self, topic: int, batch: Batch, place: int, shape: int, now_s: float) -> None:
        known = self.topic(topic)
        index = None if known is None else index_now(known.indexes)
        usage = measured(batch.rows, index, collected=batch.collected)
        rows = segments.numbered(batch.rows, place, shape)
        with self._named(*self._segment(topic, rows, (place, place), (shape,), usage.written)) as changed:
            if batch.key is not None:
                changed.execute("INSERT INTO keys VALUES (?, ?)", (topic, batch.key))
            self._count(topic, usage, now_s)
            changed.execute("UPDATE batches SET last = max(last, ?)", (place,))

    def flush(self, topic: int) -> None:
        """Make segments of what the journal holds of a topic, one for each day, for whole days expire."""
        if not self._journaled[topic] or os.getpid() != self._owner:
            return
        with self._flushing:
            with self._refusals("read"), self._snapshot():
                found = self._journal(topic)
                self._journaled[topic] = len(found)
            days: dict[int, list[journal.Entry]] = {}
            for entry in found:
                days.setdefault(entry.day(), []).append(entry)
            for entries in days.values():
                self._flush(topic, entries)

    def _flush(self, topic: int, entries: Sequence[journal.Entry]) -> None:
        known, counted = self.topic(topic), self._one("SELECT at_s FROM usage WHERE topic = ?", topic)
        if known is None or counted is None:
            return
        batches = [entry.batch for entry in entries]
        now_s = max(*counted, *(entry.at_s for entry in entries))
        usage = journal.usage_of(entries, known.indexes, now_s)
        rows = joined([entry.numbered() for entry in entries])
        shapes = tuple(sorted({entry.shape for entry in entries}))
        made = self._segment(topic, rows, (batches[0], batches[-1]), shapes, usage.written)
        try:
            with self._named(*made) as changed:
                gone = changed.execute(f"DELETE FROM journal WHERE batch IN ({', '.join(map(str, batches))})")
                if gone.rowcount < len(batches):
                    raise _Gone
                self._count(topic, usage, now_s)
                changed.execute("UPDATE batches SET last = max(last, ?)", (batches[-1],))
        except _Gone:
            return
        with self._mutex:
            self._journaled[topic] -= len(batches)

    def _try_to_flush(self, topic: int) -> None:
        """What cannot be made a segment now stays in the journal, where it is found; the next try may be luckier."""
        with suppress(LabError, pa.ArrowException):
            self.flush(topic)

    def scan(self, topic: int, low: int | None, high: int | None, *, expired: bool = False) -> Scan:
        self._try_to_flush(topic)
        return super().scan(topic, low, high, expired=expired)

    def expire(self, now_s: float) -> None:
        for topic in list(self._journaled):
            self._try_to_flush(topic)
        expired = [(topic.number, self._expired_now(topic, now_s)) for topic in self.topics() if topic.days != FOREVER]
        if all(before is None for _, before in expired):
            return
        gone: list[int] = []
        with self._transaction() as changed:
            for number, before in expired:
                if before is None:
                    continue
                self._count(number, Usage(), now_s)
                over, values = "topic = ? AND last_s < ? AND highest < ?", (number, before, self._held(number))
                found = changed.execute(f"SELECT number FROM segments WHERE {over}", values)
                gone += [segment for (segment,) in found]
                changed.execute(f"DELETE FROM segments WHERE {over}", values)
                changed.execute("UPDATE topics SET expired_s = ? WHERE number = ?", (before, number))
            self._retire(gone)
        self._clear_away()

    def _expired_now(self, topic: StoredTopic, now_s: float) -> int | None:
        """Rows with a time before this are to go now, None where that can wait."""
        before, known = expired_before(topic.days, now_s), self.expired(topic.number)
        if before is None or (known is not None and before < known + EXPIRY_STEP_S):
            return None
        found = self._one("SELECT min(first_s) FROM segments WHERE topic = ?", topic.number)
        oldest = None if found is None else found[0]
        return before if oldest is not None and oldest < before else None

    def _held(self, topic: int) -> int:
        """The first batch of which some delivery has yet to deliver a row, or the next one to come."""
        held = self.checkpoints.held(topic)
        return self._next_batch if held is None else held.batch

    def droppable(self, topic: int, found: Sequence[Segment]) -> int | None:
        """Rows of these segments with a time before this may go; None where a delivery wants them yet."""
        return self.expired(topic) if max(one.highest for one in found) < self._held(topic) else None

    def replace(self, replaced: Sequence[Segment], by: Replacement) -> bool:
        """Put one segment in the place of several; False if one of those is gone meanwhile."""
        numbers = [segment.number for segment in replaced]
        try:
            with self._named(by.segment, by.data) as changed:
                marks = ", ".join("?" * len(numbers))
                found = changed.execute(f"DELETE FROM segments WHERE number IN ({marks})", numbers)
                if found.rowcount < len(numbers):
                    raise _Gone
                self._retire(numbers)
        except _Gone:
            return False
        self._clear_away()
        return True

    def new_number(self) -> int:
        """A number for a segment."""
        with self._mutex:
            number, self._next = self._next, self._next + 1
            return number

    def compacted(self) -> None:
        """Wait until the journal is empty and there is nothing left to compact."""
        if self._compactor is not None:
            self._compactor.wait()

    def close(self) -> None:
        """Give up the folder; a second close does nothing."""
        if self._compactor is not None:
            self._compactor.close()
            self._compactor = None
        if self._give_up.alive:
            for topic in list(self._journaled):
                self._try_to_flush(topic)
        with self._mutex:
            if self._give_up.alive:
                with suppress(LabError):
                    if self._read:
                        with self._transaction():
                            self._count_reads()
                super().close()
                self._give_up()

    def _compact(self, topic: int) -> None:
        if self._compactor is None:
            self._compactor = Compactor(self)
        self._compactor.look_at(topic)

    def _shape(self, columns: str) -> int:
        """The number of a shape, which is noted where it is new."""
        with self._mutex:
            known = self._shape_numbers.get(columns)
            if known is None:
                with self._transaction() as changed:
                    changed.execute("INSERT OR IGNORE INTO shapes (columns) VALUES (?)", (columns,))
                self._load_shapes()
                known = self._shape_numbers[columns]
            return known

    def _known(self, topic: int, key: str) -> bool:
        return self._one("SELECT 1 FROM keys WHERE topic = ? AND key = ?", topic, key) is not None

    def _count(self, topic: int, more: Usage, now_s: float) -> None:
        """Within a transaction, before the segments change: what lay there until now, and what is new."""
        self._count_reads()
        lay = self._counted(topic, now_s) + more
        self._manifest.execute(
            "UPDATE usage SET byte_days = ?, at_s = max(at_s, ?), collected = ?, written = ?, indexed = ?"
            " WHERE topic = ?",
            (lay.byte_days, now_s, lay.collected, lay.written, lay.indexed, topic),
        )

    def _count_reads(self) -> None:
        for topic, size in self._read.items():
            self._manifest.execute("UPDATE usage SET read = read + ? WHERE topic = ?", (size, topic))
        self._read.clear()

    def _segment(
        self, topic: int, rows: pa.Table, batches: tuple[int, int], shapes: tuple[int, ...], written: int
    ) -> tuple[Segment, memoryview]:
        """A new segment of numbered rows, and its bytes."""
        data, times = segments.parquet(rows), int64_values(rows[TIME])
        bounds = (int(times.min()), int(times.max()), *batches)
        whole = (segments.characters(rows), written, len(data), segments.sha256(data))
        return Segment(self.new_number(), topic, rows.num_rows, *bounds, shapes, *whole), data

    @contextmanager
    def _named(self, segment: Segment, data: memoryview) -> Iterator[sqlite3.Connection]:
        """Have a segment on disk, and name it in the same transaction as what is done within; or neither."""
        path = self.path(segment.number)
        with self._refusals("written"):
            try:
                segments.write_durably(path, data)
                with self._transaction() as changed:
                    yield changed
                    insert_segment(changed, segment)
            except BaseException:
                # An interrupt may come when the transaction is through: then the segment is there to stay.
                with suppress(OSError, sqlite3.Error, LabError):
                    if self.segment(segment.number) is None:
                        path.unlink(missing_ok=True)
                raise
        self._verified.add(segment.number)

    def _retire(self, numbers: Sequence[int]) -> None:
        """Within a transaction: these files are no longer named, and go when no reader can be at them."""
        rows = [(number, time.time()) for number in numbers]
        self._manifest.executemany("INSERT INTO retired VALUES (?, ?)", rows)

    def _clear_away(self, grace_s: float = GRACE_S) -> None:
        """Remove files that were retired long enough ago."""
        with self._mutex, self._refusals("written"):
            over = time.time() - grace_s
            found = self._manifest.execute("SELECT number FROM retired WHERE wall_s <= ?", (over,)).fetchall()
            if found:
                self._unlink(number for (number,) in found)
                self._manifest.execute("DELETE FROM retired WHERE wall_s <= ?", (over,))

    def _unlink(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            with suppress(OSError):
                self.path(number).unlink()

    def _last_number(self) -> int:
        found = self._one("SELECT seq FROM sqlite_sequence WHERE name = 'segments'")
        return 0 if found is None else int(found[0])

    def _last_batch(self) -> int:
        found = self._one("SELECT max(last, (SELECT coalesce(max(batch), 0) FROM journal)) FROM batches")
        return 0 if found is None else int(found[0])

    def _clean_up(self) -> None:
        """Remove files that were never acknowledged or long replaced, report those that are gone."""
        self._load_shapes()
        self._clear_away()
        self._journaled.update(dict(self._all("SELECT topic, count(*) FROM journal GROUP BY topic")))
        retired = {number for (number,) in self._manifest.execute("SELECT number FROM retired")}
        known = {segment.number: segment for segment in self.all_segments()}
        found = {path: ours for path in self.files.iterdir() if (ours := segments.NAME.fullmatch(path.name))}
        for path, ours in found.items():
            if int(ours[1]) not in known.keys() | retired:
                path.unlink()
        for number in known.keys() - {int(ours[1]) for ours in found.values()}:
            self.report(known[number], "is gone")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mutex, self._refusals("written"), manifest.transaction(self._manifest) as changed:
            yield changed


class _Gone(Exception):
    """A segment was removed while it was being replaced."""


def _release(opened: sqlite3.Connection, lock: int, owner: int) -> None:
    if os.getpid() == owner:
        opened.close()
        release(lock)
