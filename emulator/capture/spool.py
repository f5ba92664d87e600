"""Records between their window's end and the moment they may be searched; in a data folder they survive a kill.

An entry is one Arrow file ``<due>-<number>.arrow`` that is written beside its name, flushed to disk and renamed. Its
name is also the key under which the topic takes it, so that an entry which was published but not yet removed is not
published twice.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa


@dataclass(order=True)
class Entry:
    """``table`` (record schema) is for ``topic_id`` in ``form``, to be published at ``due_s``."""

    due_s: int
    number: int
    topic_id: str = field(compare=False)
    form: str = field(compare=False)
    key: str = field(compare=False)
    table: pa.Table = field(compare=False)


class Spool:
    """Entries in the order in which they fall due; ``folder`` None keeps them in memory only."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._entries: list[Entry] = []
        self._held: list[Entry] = []
        self._numbers = itertools.count(1)
        if folder is not None:
            folder.mkdir(exist_ok=True)
            self._reload(folder)

    def _reload(self, folder: Path) -> None:
        last = 0
        parts: list[tuple[Entry, str]] = []
        for path in folder.glob("*-*.arrow"):
            with contextlib.suppress(OSError, ValueError, pa.ArrowInvalid, KeyError, TypeError):
                due, number = (int(part) for part in path.stem.split("-"))
                last = max(last, number)
                with pa.OSFile(str(path)) as stream, pa.ipc.open_file(stream) as reader:
                    table = reader.read_all()
                meta = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
                table = table.replace_schema_metadata(None)
                entry = Entry(due, number, meta["topic"], meta["form"], meta["key"], table)
                self._entries.append(entry)
                parts.append((entry, meta.get("part_of", "")))
        there = {entry.key for entry in self._entries}
        for entry, whole in parts:
            if whole in there:
                self._entries.remove(entry)
                self._path(entry).unlink(missing_ok=True)
        for path in folder.glob("*-*.writing"):  # begun by a process that was killed
            path.unlink(missing_ok=True)
        heapq.heapify(self._entries)
        self._numbers = itertools.count(last + 1)

    def put(self, due_s: int, topic_id: str, form: str, table: pa.Table, key: str, part_of: str = "") -> Entry:
        """Keep records until they fall due; on return they are on disk where there is a folder.

        ``part_of``: they count only once the entry of this key is gone.
        """
        entry = Entry(due_s, next(self._numbers), topic_id, form, key, table)
        if self._folder is not None:
            path = self._path(entry)
            meta = {"topic": topic_id, "form": form, "key": key, "part_of": part_of}
            beside = path.with_suffix(".writing")
            with pa.OSFile(str(beside), "wb") as stream:
                marked = table.replace_schema_metadata(meta)
                with pa.ipc.new_file(stream, marked.schema) as writer:
                    writer.write_table(marked)
            _flush(beside)
            beside.rename(path)
            _flush(self._folder)
        heapq.heappush(self._entries, entry)
        return entry

    def split(self, entry: Entry, rows: int, rest_due_s: int) -> tuple[Entry, Entry]:
        """Two entries in place of one, its first ``rows`` and, later, the rest. A kill leaves it whole, or both."""
        halves: list[Entry] = []
        try:
            for due_s, table, name in (
                (entry.due_s, entry.table.slice(0, rows), "first"),
                (rest_due_s, entry.table.slice(rows), "rest"),
            ):
                key = f"{entry.key}-{name}"
                halves.append(self.put(due_s, entry.topic_id, entry.form, table, key, part_of=entry.key))
        except BaseException:
            for half in halves:
                self.done(half)
            raise
        self.done(entry)
        first, rest = halves
        return first, rest

    def next_due(self) -> int | None:
        return self._entries[0].due_s if self._entries else None

    def due(self, now_s: float) -> list[Entry]:
        """Entries whose time has come, in order; each stays until it is :meth:`done`."""
        return sorted(entry for entry in self._entries if entry.due_s <= now_s)

    def hold(self, entry: Entry) -> None:
        """It is not due until it is :meth:`done`; the next lab on the folder finds it again."""
        self._forget(entry)
        self._held.append(entry)

    def done(self, entry: Entry) -> None:
        """It was published, or can never be."""
        if any(held is entry for held in self._held):
            self._held = [held for held in self._held if held is not entry]
        else:
            self._forget(entry)
        if self._folder is not None:
            self._path(entry).unlink(missing_ok=True)

    def _forget(self, entry: Entry) -> None:
        if self._entries[0] is entry:  # in order, as a rule
            heapq.heappop(self._entries)
        else:
            self._entries.remove(entry)
            heapq.heapify(self._entries)

    def _path(self, entry: Entry) -> Path:
        assert self._folder is not None
        return self._folder / f"{entry.due_s}-{entry.number}.arrow"


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
