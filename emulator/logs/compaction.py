"""Many small segments become few large ones, and the journal a segment, in a thread of its own.

Segments of a topic belong to size classes, each eight times as large as the one below. Where a class has eight, its
oldest become one segment of the next class. Each row is rewritten as often as there are classes, and a topic has at
most seven segments of each class below the largest, which is left alone.

A new segment is written and acknowledged like any other, and takes the place of those that it replaces in the same
transaction: a kill leaves either these or that. What is replaced is verified before; what is damaged stays where it is.
"""

from __future__ import annotations

import threading
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from emulator.errors import LabError
from emulator.logs import segments
from emulator.logs.records import TIME
from emulator.logs.store import Segment
from emulator.logs.view import int64_values, joined

if TYPE_CHECKING:
    from emulator.logs.folder import FolderStore

FAN = 8
"""So many segments of a class become one."""

SMALLEST = 1 << 10
LARGEST = 1 << 20
"""Rows of the largest of the lowest class, and rows from which a segment is large enough: 12 MB of flow records."""


@dataclass(frozen=True)
class Replacement:
    """A segment and its bytes, to be put in the place of others."""

    segment: Segment
    data: memoryview


def due(found: Sequence[Segment]) -> list[Segment]:
    """The segments of a topic that are to become one, none where nothing is to be done."""
    classes: dict[int, list[Segment]] = defaultdict(list)
    for segment in sorted(found, key=lambda one: one.lowest):
        if segment.rows < LARGEST:
            classes[_class(segment.rows)].append(segment)
    for _, members in sorted(classes.items()):
        if len(members) >= FAN:
            chosen = members[:FAN]
            while sum(one.rows for one in chosen) > 2 * LARGEST:
                chosen.pop()
            return chosen
    return []


def _class(rows: int) -> int:
    number, largest = 0, SMALLEST
    while rows > largest:
        number, largest = number + 1, largest * FAN
    return number


def merged(number: int, found: Sequence[Segment], tables: Sequence[pa.Table], before: int | None) -> Replacement:
    """One segment of several, without rows of a time before ``before`` where there are others."""
    rows = joined(tables)
    count = rows.num_rows
    if before is not None:
        fresh = rows.filter(pc.greater_equal(rows[TIME], before))
        rows = fresh if fresh.num_rows else rows
    data = segments.parquet(rows, final=True)
    times = int64_values(rows[TIME])
    texts = sorted({name for one in found for name in one.characters})
    segment = Segment(
        number,
        found[0].topic,
        rows.num_rows,
        int(times.min()),
        int(times.max()),
        min(one.lowest for one in found),
        max(one.highest for one in found),
        tuple(sorted({shape for one in found for shape in one.shapes})),
        segments.characters(rows.select([name for name in texts if name in rows.column_names])),
        sum(one.written for one in found) * rows.num_rows // count,
        len(data),
        segments.sha256(data),
    )
    return Replacement(segment, data)


class Compactor:
    """The thread; it looks at a topic when it is told to, and ends with :meth:`close`."""

    def __init__(self, store: FolderStore) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._topics: dict[int, None] = {}
        self._busy = self._closed = False
        self._untold: Exception | None = None
        self._thread: threading.Thread | None = None

    def look_at(self, topic: int) -> None:
        """Flush this topic's journal, and compact it if there is need, in the background."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vpclab-compaction", daemon=True)
                self._thread.start()
            self._topics[topic] = None
            self._changed.notify_all()

    def wait(self) -> None:
        """Return when all is done that was asked for.

        :raises LabError: something was left for later, and no warning could tell
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not (self._topics or self._busy))
            untold, self._untold = self._untold, None
        if untold is not None:
            raise LabError(f"compaction was left for later: {untold}") from untold

    def close(self) -> None:
        """End after the segment that is being written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._topics)
                if self._closed:
                    return
                topic = next(iter(self._topics))
                del self._topics[topic]
                self._busy = True
            try:
                while not self._closed and self._compact(topic):
                    pass
            except Exception as error:
                # Nothing is lost: the small segments stay, and the next write has them looked at again.
                try:
                    warnings.warn(f"compaction was left for later: {error}", stacklevel=1)
                except Warning:
                    self._untold = error  # warnings are errors here: whoever waits is told

    def _compact(self, topic: int) -> bool:
        self._store.flush(topic)
        damaged = {damage.segment.number for damage in self._store.damaged}
        chosen = due([one for one in self._store.segments_of(topic) if one.number not in damaged])
        if not chosen:
            return False
        read = [self._store.read(one) for one in chosen]
        if any(data is None for data in read):
            return True  # they are known as damaged now, or gone
        tables = [segments.read(data) for data in read if data is not None]
        number = self._store.new_number()
        self._store.replace(chosen, merged(number, chosen, tables, self._store.droppable(topic, chosen)))
        return True
