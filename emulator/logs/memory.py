"""The store of a lab without a folder: Arrow tables in lists, gone with the process."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count, takewhile

import pyarrow as pa

from emulator.logs.records import TIME
from emulator.logs.store import Damage, Segment, StoredTopic
from emulator.logs.view import int64_values


class MemoryStore:
    """A ``Store``; rows are kept by reference, Arrow tables do not change."""

    def __init__(self) -> None:
        self.damaged: list[Damage] = []
        self._lock = threading.Lock()
        self._topics: dict[int, StoredTopic] = {}
        self._segments: dict[int, dict[int, tuple[Segment, pa.Table]]] = {}
        self._keys: set[tuple[int, str]] = set()
        self._topic_numbers = count(1)
        self._segment_numbers = count(1)

    def topics(self) -> list[StoredTopic]:
        with self._lock:
            return list(self._topics.values())

    def add_topic(self, name: str, logset: str) -> StoredTopic:
        with self._lock:
            topic = StoredTopic(next(self._topic_numbers), name, logset)
            self._topics[topic.number] = topic
            self._segments[topic.number] = {}
            return topic

    def set_index(self, topic: int, index: str | None, report: bool) -> None:
        with self._lock:
            self._topics[topic] = replace(self._topics[topic], index=index, report=report)

    def remove_topic(self, topic: int) -> None:
        with self._lock:
            del self._topics[topic], self._segments[topic]
            self._keys = {known for known in self._keys if known[0] != topic}

    def append(self, topic: int, rows: pa.Table, key: str | None) -> bool:
        times = int64_values(rows[TIME])
        with self._lock:
            if key is not None:
                if (topic, key) in self._keys:
                    return False
                self._keys.add((topic, key))
            segment = Segment(next(self._segment_numbers), topic, rows.num_rows, int(times.min()), int(times.max()))
            self._segments[topic][segment.number] = (segment, rows)
            return True

    def segments(self, topic: int, after: int) -> list[Segment]:
        with self._lock:
            kept = self._segments.get(topic, {})
            new = takewhile(lambda number: number > after, reversed(kept))
            return [kept[number][0] for number in new][::-1]

    def read(self, segment: Segment) -> pa.Table | None:
        with self._lock:
            return self._segments[segment.topic][segment.number][1]

    def close(self) -> None:
        with self._lock:
            self._segments.clear()
