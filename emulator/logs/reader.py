"""A folder as it can be read, also by processes that do not write it."""

from __future__ import annotations

import json
import sqlite3
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from emulator.errors import LabError
from emulator.logs import manifest, segments
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
        with self._mutex, self._refusals("read"):
            found = self._manifest.execute("SELECT DISTINCT shapes FROM segments WHERE topic = ?", (topic,)).fetchall()
            return types_of(self._shapes_of([shapes for (shapes,) in found]))

    def columns(self, topic: int, shapes: Sequence[int]) -> dict[str, pa.DataType]:
        with self._mutex, self._refusals("read"):
            return types_of(self._shapes_of([json.dumps(list(shapes))]))

    def scan(self, topic: int, low: int | None, high: int | None, *, expired: bool = False) -> Scan:
        with self._mutex, self._refusals("read"):
            before = None if expired else self.expired(topic)
            if before is not None:
                low = max(low, before) if low is not None else before
            found = self._segments("topic = ?", topic)
            types = types_of(self._shapes_of([json.dumps(one.shapes) for one in found]))
            shapes = {
                number: tuple(name for name, _ in json.loads(self._shapes[number]))
                for number in sorted({number for one in found for number in one.shapes})
            }
        wanted = [one for one in found if (low is None or one.last_s >= low) and (high is None or one.first_s < high)]
        facts = ({column.name: column.type for column in KEPT} | types, shapes, low, high)
        if len({name.lower() for name in types}) < len(types):
            return self._loaded(wanted, *facts)
        files = tuple(
            ScannedFile(
                *(self.path(one.number), one.rows, one.first_s, one.last_s),
                *(one.lowest, one.highest, one.shapes, one.characters),
            )
            for one in wanted
            if self.verified(one)
        )
        if not files:
            return Scan(*facts, table=pa.schema(list(facts[0].items())).empty_table())
        return Scan(*facts, min(file.lowest for file in files), max(file.highest for file in files), files=files)

    def _loaded(
        self,
        wanted: Sequence[Segment],
        types: dict[str, pa.DataType],
        shapes: dict[int, tuple[str, ...]],
        low: int | None,
        high: int | None,
    ) -> Scan:
        """The scan in memory, for keys that differ by case only: in a file DuckDB takes them for one."""
        read = [(one, data) for one in wanted if (data := self.read(one)) is not None]
        whole = pa.schema(list(types.items())).empty_table()
        view = View()
        view.add(joined([whole, *(segments.read(data) for _, data in read)]))
        batches = [batch for one, _ in read for batch in (one.lowest, one.highest)] or [0]
        return Scan(types, shapes, low, high, min(batches), max(batches), view.rows(low, high))

    def usage(self, topic: int, now_s: float) -> Usage:
        with self._mutex, self._refusals("read"):
            stored = self._stored(topic)
            counted = "SELECT collected, written, indexed, read, byte_days, at_s FROM usage WHERE topic = ?"
            found = self._one(counted, topic)
            collected, written, indexed, read, byte_days, at_s = found or (0, 0, 0, 0, 0.0, 0.0)
            if at_s:
                byte_days += stored * max(0.0, now_s - at_s) / 86_400
            return Usage(collected, written, stored, indexed, read + self._read.get(topic, 0), byte_days)

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
            held = self._one("SELECT 1 FROM segments WHERE number = ? AND data IS NOT NULL", segment.number)
            until = "" if held is None else " until a lab opens the folder, which has them a second time"
            warnings.warn(f"{path} {found}; its {segment.rows} records are left out{until}", stacklevel=3)

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

    def _shapes_of(self, told: Sequence[str]) -> list[str]:
        numbers = sorted({number for one in told for number in json.loads(one)})
        if not self._shapes.keys() >= set(numbers):
            self._load_shapes()
        return [self._shapes[number] for number in numbers]

    def _load_shapes(self) -> None:
        self._shapes = dict(self._manifest.execute("SELECT number, columns FROM shapes").fetchall())
        self._shape_numbers = {columns: number for number, columns in self._shapes.items()}

    def _stored(self, topic: int) -> int:
        found = self._one("SELECT coalesce(sum(written), 0) FROM segments WHERE topic = ?", topic)
        return 0 if found is None else int(found[0])

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        found = self._all(sql, *values)
        return found[0] if found else None

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._mutex, self._refusals("read"):
            return self._manifest.execute(sql, values).fetchall()

    @contextmanager
    def _refusals(self, what: str) -> Iterator[None]:
        """Errors of the file system and of SQLite, as ours."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise LabError(f"the log store in {self.folder} cannot be {what}: {error}") from error


def insert_segment(changed: sqlite3.Connection, one: Segment, data: memoryview | None = None) -> None:
    """Name a segment in the manifest, which holds ``data`` of it too where the file is not known to be on disk."""
    marks = ", ".join("?" * 13)
    changed.execute(
        f"INSERT INTO segments ({_SEGMENT}, data) VALUES ({marks})",
        (
            *(one.number, one.topic, one.rows, one.first_s, one.last_s, one.lowest, one.highest),
            *(json.dumps(one.shapes), json.dumps(one.characters), one.written, one.size, one.sha256, data),
        ),
    )
