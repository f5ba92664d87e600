"""The store of a lab without a folder: Arrow tables in lists, gone with the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import pyarrow as pa

from emulator.logs.checkpoints import MemoryCheckpoints
from emulator.logs.index import index_now
from emulator.logs.meter import measured
from emulator.logs.scan import Scan
from emulator.logs.segments import numbered
from emulator.logs.store import KEPT, Batch, Damage, StoredTopic, Usage, expired_before, shape_of, types_of
from emulator.logs.view import View


@dataclass
class _Kept:
    """One topic; ``lowest`` is the number of its first batch, ``at_s`` is when the meter last counted."""

    topic: StoredTopic
    view: View = field(default_factory=View)
    shapes: dict[int, str] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    lowest: int = 0
    expired_s: int | None = None
    usage: Usage = field(default_factory=Usage)
    at_s: float = 0.0


class MemoryStore:
    """A ``Store``; rows are kept by reference, Arrow tables do not change."""

    def __init__(self) -> None:
        self.damaged: list[Damage] = []
        self.checkpoints = MemoryCheckpoints()
        self._lock = threading.RLock()
        self._logsets: dict[str, None] = {}
        self._kept: dict[int, _Kept] = {}
        self._shapes: dict[str, int] = {}
        self._topics = count(1)
        self._next = 1

    def logsets(self) -> list[str]:
        with self._lock:
            return list(self._logsets)

    def add_logset(self, name: str) -> None:
        with self._lock:
            self._logsets[name] = None

    def remove_logset(self, name: str) -> None:
        with self._lock:
            del self._logsets[name]

    def topics(self) -> list[StoredTopic]:
        with self._lock:
            return [kept.topic for kept in self._kept.values()]

    def topic(self, number: int) -> StoredTopic | None:
        with self._lock:
            return self._kept[number].topic if number in self._kept else None

    def add_topic(self, name: str, logset: str, days: int) -> StoredTopic:
        with self._lock:
            self._logsets[logset] = None
            topic = StoredTopic(next(self._topics), name, logset, days)
            self._kept[topic.number] = _Kept(topic)
            return topic

    def set_topic(self, topic: int, *, days: int | None = None, report: bool | None = None) -> None:
        with self._lock:
            kept = self._kept[topic]
            kept.topic = replace(
                kept.topic,
                days=kept.topic.days if days is None else days,
                report=kept.topic.report if report is None else report,
            )

    def set_index(self, topic: int, index: str | None) -> None:
        with self._lock:
            kept = self._kept[topic]
            kept.topic = replace(kept.topic, indexes={**kept.topic.indexes, self._next: index})

    def reindex(self, topic: int) -> None:
        with self._lock:
            kept = self._kept[topic]
            last = max(kept.topic.indexes)
            kept.topic = replace(kept.topic, indexes={0: kept.topic.indexes[last]})

    def remove_topic(self, topic: int) -> None:
        with self._lock:
            for delivery in self.checkpoints.all():
                if delivery.topic == topic:
                    self.checkpoints.remove(delivery.number)
            del self._kept[topic]

    def append(self, topic: int, batch: Batch, now_s: float) -> bool:
        shape = shape_of(batch.rows)
        with self._lock:
            kept = self._kept[topic]
            if batch.key is not None:
                if batch.key in kept.keys:
                    return False
                kept.keys.add(batch.key)
            number = self._shapes.setdefault(shape, len(self._shapes) + 1)
            kept.shapes[number] = shape
            kept.usage = self._usage(kept, now_s)
            kept.at_s = max(kept.at_s, now_s)
            usage = measured(batch.rows, index_now(kept.topic.indexes), collected=batch.collected)
            kept.usage = kept.usage + replace(usage, stored=usage.written)
            kept.lowest = kept.lowest or self._next
            kept.view.add(numbered(batch.rows, self._next, number))
            self._next += 1
            return True

    def types(self, topic: int) -> dict[str, pa.DataType]:
        with self._lock:
            return types_of(list(self._kept[topic].shapes.values()))

    def columns(self, topic: int, shapes: Sequence[int]) -> dict[str, pa.DataType]:
        with self._lock:
            return types_of([self._kept[topic].shapes[shape] for shape in shapes])

    def scan(self, topic: int, low: int | None, high: int | None, *, expired: bool = False) -> Scan:
        with self._lock:
            kept = self._kept[topic]
            if kept.expired_s is not None and not expired:
                low = max(low, kept.expired_s) if low is not None else kept.expired_s
            table = kept.view.rows(low, high)
            types = {**{column.name: column.type for column in KEPT}, **types_of(list(kept.shapes.values()))}
            shapes = {number: tuple(types_of([shape])) for number, shape in kept.shapes.items()}
            return Scan(types, shapes, low, high, kept.lowest, self._next - 1, table)

    def flush(self, topic: int) -> None:
        """There are no files."""

    def expire(self, now_s: float) -> None:
        with self._lock:
            for kept in self._kept.values():
                before = expired_before(kept.topic.days, now_s)
                if before is not None and before > (kept.expired_s or 0):
                    kept.usage, kept.at_s = self._usage(kept, now_s), now_s
                    held = self.checkpoints.held(kept.topic.number)
                    share = kept.view.forget(before, self._next if held is None else held.batch)
                    kept.usage = replace(kept.usage, stored=round(kept.usage.stored * share))
                    kept.expired_s = before

    def usage(self, topic: int, now_s: float) -> Usage:
        with self._lock:
            return self._usage(self._kept[topic], now_s)

    def count_read(self, topic: int, size: int) -> None:
        with self._lock:
            kept = self._kept[topic]
            kept.usage = replace(kept.usage, read=kept.usage.read + size)

    def close(self) -> None:
        with self._lock:
            self._kept.clear()

    def _usage(self, kept: _Kept, now_s: float) -> Usage:
        lay_s = max(0.0, now_s - kept.at_s) if kept.at_s else 0.0
        return replace(kept.usage, byte_days=kept.usage.byte_days + kept.usage.stored * lay_s / 86_400)
