"""A folder as it can be read, also by processes that do not write it."""

from __future__ import annotations

import json
import sqlite3
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from emulator.errors import LabError
from emulator.logs import journal, manifest, segments
from emulator.logs.checkpoints import FolderCheckpoints
from emulator.logs.engine import ENGINE
from emulator.logs.scan import Scan, ScannedFile
from emulator.logs.store import KEPT, Damage, Segment, StoredTopic, Usage, types_of
from emulator.logs.view import View, joined

_FACTS = tuple(field.name for field in fields(Segment))
_SEGMENT = ", ".join(_FACTS)
"""The columns of ``Segment``."""


class FolderReader:
    """The reading half of a ``Store`` in a folder; opened on its own it reads what another process writes.

    A file is read whole and its sha256 compared with the manifest's before it is first searched: neither Parquet nor
    DuckDB notice a flipped byte in a page, and sums are then silently wrong.

    :raises LabError: there is no store, or one of another layout
    """

    def __init__(self, folder: Path) -> None:
        self.damaged: list[Damage] = []
        self.folder = folder.absolute()
        self.files = self.folder / "segments"
        self._manifest: sqlite3.Connection
        self._mutex = threading.RLock()
        self._verified: set[int] = set()
        self._spoilt: set[int] = set()
        self._shapes: dict[int, str] = {}
        self._shape_numbers: dict[str, int] = {}
        self._read: dict[int, int] = {}
        self.checkpoints = FolderCheckpoints(self._all)

    @classmethod
    def opened(cls, folder: Path) -> FolderReader:
        reader = cls(folder)
        with reader._refusals("opened"):
            reader._manifest = manifest.open_for_reading(reader.folder / "manifest.sqlite")
        return reader

    def logsets(self) -> list[str]:
        with self._mutex, self._refusals("read"):
            return [name for (name,) in self._manifest.execute("SELECT name FROM logsets ORDER BY number")]

    def topics(self) -> list[StoredTopic]:
        return self._topics("TRUE")

    def topic(self, number: int) -> StoredTopic | None:
        found = self._topics("number = ?", number)
        return found[0] if found else None

    def types(self, topic: int) -> dict[str, pa.DataType]:
        with self._refusals("read"), self._snapshot():
            found = self._all("SELECT DISTINCT shapes FROM segments WHERE topic = ?", topic)
            fresh = self._all("SELECT DISTINCT shape FROM journal WHERE topic = ?", topic)
            shapes = {number for (told,) in found for number in json.loads(told)}
            return types_of(self._shapes_of(shapes | {shape for (shape,) in fresh}))

    def columns(self, topic: int, shapes: Sequence[int]) -> dict[str, pa.DataType]:
        with self._mutex, self._refusals("read"):
            return types_of(self._shapes_of(set(shapes)))

    def scan(self, topic: int, low: int | None, high: int | None, *, expired: bool = False) -> Scan:
        with self._refusals("read"), self._snapshot():
            before = None if expired else self.expired(topic)
            if before is not None:
                low = max(low, before) if low is not None else before
            found = self._segments("topic = ?", topic)
            fresh = self._journal(topic)
            numbers = {number for one in found for number in one.shapes} | {entry.shape for entry in fresh}
            types = types_of(self._shapes_of(numbers))
            shapes = {number: tuple(name for name, _ in json.loads(self._shapes[number])) for number in sorted(numbers)}
        wanted = [one for one in found if (low is None or one.last_s >= low) and (high is None or one.first_s < high)]
        facts = ({column.name: column.type for column in KEPT} | types, shapes, low, high)
        batches = [entry.batch for entry in fresh]
        tables = [entry.numbered() for entry in fresh]
        if len({name.lower() for name in types}) < len(types):
            # In a file DuckDB takes keys that differ by case only for one.
            read = [(one, data) for one in wanted if (data := self.read(one)) is not None]
            batches += [batch for one, _ in read for batch in (one.lowest, one.highest)]
            tables = [*(segments.read(data) for _, data in read), *tables]
            wanted = []
        files = tuple(
            ScannedFile(
                *(self.path(one.number), one.rows, one.first_s, one.last_s),
                *(one.lowest, one.highest, one.shapes, one.characters),
            )
            for one in wanted
            if self.verified(one)
        )
        batches += [batch for file in files for batch in (file.lowest, file.highest)]
        table = None
        if tables or not files:
            view = View()
            whole = pa.schema(list(facts[0].items()))
            # One that has every column costs less in their order.
            tables = [one.select(whole.names) if len(whole) == one.num_columns else one for one in tables]
            view.add(joined([whole.empty_table(), *tables]))
            table = view.rows(low, high)
        return Scan(*facts, min(batches, default=0), max(batches, default=0), table, files)

    def usage(self, topic: int, now_s: float) -> Usage:
        with self._refusals("read"), self._snapshot():
            counted, fresh = self._counted(topic, now_s), self._journal(topic)
            stored = self.topic(topic)
        more = journal.usage_of(fresh, {} if stored is None else stored.indexes, now_s)
        return replace(counted + more, read=counted.read + self._read.get(topic, 0))

    def count_read(self, topic: int, size: int) -> None:
        """Kept with the next write, or when the store is closed; what another process reads is not kept."""
        with self._mutex:
            self._read[topic] = self._read.get(topic, 0) + size

    def close(self) -> None:
        """Let go of the manifest; a second close does nothing."""
        with self._mutex:
            ENGINE.forget(self.files)
            self._manifest.close()

    def path(self, number: int) -> Path:
        return segments.path_of(self.files, number)

    def segment(self, number: int) -> Segment | None:
        """An acknowledged segment."""
        with self._mutex, self._refusals("read"):
            found = self._segments("number = ?", number)
            return found[0] if found else None

    def segments_of(self, topic: int) -> list[Segment]:
        with self._mutex, self._refusals("read"):
            return self._segments("topic = ?", topic)

    def expired(self, topic: int) -> int | None:
        """Rows of the topic with a time before this are gone."""
        found = self._one("SELECT expired_s FROM topics WHERE number = ?", topic)
        return None if found is None else found[0]

    def all_segments(self) -> list[Segment]:
        with self._mutex, self._refusals("read"):
            return self._segments("TRUE")

    def verified(self, segment: Segment) -> bool:
        """Whether the file is what was written; looked at once."""
        return segment.number in self._verified or self.read(segment) is not None

    def read(self, segment: Segment) -> bytes | None:
        """The very bytes whose sha256 was compared with the manifest's; None, and a damage, where it is another."""
        try:
            data = self.path(segment.number).read_bytes()
        except OSError as error:
            if self.segment(segment.number) is not None:  # else it was deleted meanwhile
                self.report(segment, f"cannot be read: {error.strerror}")
            return None
        if segments.sha256(data) != segment.sha256:
            self.report(segment, "is not what was written: its sha256 is another")
            return None
        self._verified.add(segment.number)
        return data

    def report(self, segment: Segment, found: str) -> None:
        """Note a damage, loudly the first time."""
        if all(known.segment.number != segment.number for known in self.damaged):
            path = self.path(segment.number)
            self.damaged.append(Damage(segment, str(path), found))
            warnings.warn(f"{path} {found}; its {segment.rows} records are left out", stacklevel=3)

    def shape_columns(self, shape: int) -> list[tuple[str, str]]:
        return [(name, kind) for name, kind in json.loads(self._shapes[shape])]

    def _topics(self, where: str, *values: object) -> list[StoredTopic]:
        with self._mutex, self._refusals("read"):
            rows = self._manifest.execute(
                f"SELECT number, name, logset, days, report FROM topics WHERE {where} ORDER BY number", values
            ).fetchall()
            indexes: dict[int, dict[int, str | None]] = {}
            for topic, first, fields in self._manifest.execute("SELECT * FROM indexes ORDER BY topic, first"):
                indexes.setdefault(topic, {})[first] = fields
            return [
                StoredTopic(number, name, logset, days, indexes.get(number, {}), bool(report))
                for number, name, logset, days, report in rows
            ]

    def _segments(self, where: str, *values: object) -> list[Segment]:
        rows = self._manifest.execute(f"SELECT {_SEGMENT} FROM segments WHERE {where} ORDER BY lowest", values)
        found = []
        for row in rows.fetchall():
            facts = dict(zip(_FACTS, row, strict=True))
            facts.update(shapes=tuple(json.loads(facts["shapes"])), characters=json.loads(facts["characters"]))
            found.append(Segment(**facts))
        return found

    def _journal(self, topic: int) -> list[journal.Entry]:
        """What the journal holds of a topic, in order."""
        facts = "batch, shape, at_s, collected, crc32, rows"
        found = []
        for batch, shape, at_s, collected, crc, rows in self._all(
            f"SELECT {facts} FROM journal WHERE topic = ? ORDER BY batch", topic
        ):
            if journal.checksum(rows) == crc:
                found.append(journal.Entry(batch, shape, at_s, bool(collected), journal.unpacked(rows)))
            elif batch not in self._spoilt:
                self._spoilt.add(batch)
                told = f"batch {batch} in {self.folder / 'manifest.sqlite'} is not what was written"
                warnings.warn(f"{told}: its CRC-32 is another; its records are left out", stacklevel=3)
        return found

    def _shapes_of(self, numbers: set[int]) -> list[str]:
        if not self._shapes.keys() >= numbers:
            self._load_shapes()
        return [self._shapes[number] for number in sorted(numbers)]

    def _load_shapes(self) -> None:
        self._shapes = dict(self._manifest.execute("SELECT number, columns FROM shapes").fetchall())
        self._shape_numbers = {columns: number for number, columns in self._shapes.items()}

    def _counted(self, topic: int, now_s: float) -> Usage:
        """The usage without what the journal holds and what was read since the last write."""
        stored = int(self._all("SELECT coalesce(sum(written), 0) FROM segments WHERE topic = ?", topic)[0][0])
        counted = "SELECT collected, written, indexed, read, byte_days, at_s FROM usage WHERE topic = ?"
        collected, written, indexed, read, byte_days, at_s = self._one(counted, topic) or (0, 0, 0, 0, 0.0, 0.0)
        if at_s:
            byte_days += stored * max(0.0, now_s - at_s) / journal.DAY_S
        return Usage(collected, written, stored, indexed, read, byte_days)

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        found = self._all(sql, *values)
        return found[0] if found else None

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._mutex, self._refusals("read"):
            return self._manifest.execute(sql, values).fetchall()

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """What is read within belongs together: changes by others meanwhile are not seen."""
        with self._mutex:
            if self._manifest.in_transaction:
                yield
                return
            try:
                self._manifest.execute("BEGIN")
                yield
            finally:
                if self._manifest.in_transaction:
                    self._manifest.execute("COMMIT")

    @contextmanager
    def _refusals(self, what: str) -> Iterator[None]:
        """Errors of the file system and of SQLite, as ours."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise LabError(f"the log store in {self.folder} cannot be {what}: {error}") from error


def insert_segment(changed: sqlite3.Connection, one: Segment) -> None:
    """Name a segment in the manifest."""
    marks = ", ".join("?" * len(_FACTS))
    changed.execute(
        f"INSERT INTO segments ({_SEGMENT}) VALUES ({marks})",
        (
            *(one.number, one.topic, one.rows, one.first_s, one.last_s, one.lowest, one.highest),
            *(json.dumps(one.shapes), json.dumps(one.characters), one.written, one.size, one.sha256),
        ),
    )
