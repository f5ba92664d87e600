"""Records as they come."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING

from emulator.errors import InvalidValue, LabClosed, NotFound
from emulator.logs.condition import Since, conjunction
from emulator.logs.plan import RawPlan, parsed
from emulator.logs.records import Record, Records, found_records
from emulator.logs.refusal import refuse
from emulator.logs.search import Asked, question_of

if TYPE_CHECKING:
    from emulator.logs.topic import Topic

POLL_S = 0.1
"""How often it is looked for what another process wrote; what this one writes wakes a reader at once."""


class Tail:
    """What ``topic.tail(query)`` gives: each record that is written from then on and found by the query, once.

    Thread-safe: readers of one tail share what comes; who wants everything has a tail of its own.
    ``for record in tail`` waits for the next one, until the log service is closed or the topic deleted.
    """

    def __init__(self, topic: Topic, wanted: Asked) -> None:
        self._topic = topic
        self._wanted = wanted
        self._condition, bar = parsed(wanted.text, wanted.language)
        if bar is not None:
            raise wanted.text.refuse(bar, "a tail is of records: there is no SQL behind it")
        scan = topic.scan()
        RawPlan(question_of(topic, wanted, scan, None), self._condition)
        self._until = scan.highest
        self._lock = threading.Lock()

    def read(self, timeout_s: float = 0.0) -> Records:
        """What came since the last time, in order of time; waits for so long where there is nothing yet."""
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, Real) or math.isnan(timeout_s):
            topic, message = self._topic, f"timeout_s is a number of seconds, not {timeout_s!r}"
            raise refuse(InvalidValue, topic.profile, "time.range", message, object=topic.id, value=timeout_s)
        deadline = time.monotonic() + timeout_s
        while True:
            with self._lock:
                found = self._found()
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            with self._topic.written:
                self._topic.written.wait(min(left, POLL_S))

    def __iter__(self) -> Iterator[Record]:
        while True:
            try:
                yield from self.read(timeout_s=POLL_S)
            except (LabClosed, NotFound):
                return

    def _found(self) -> Records:
        scan = self._topic.scan()
        if scan.highest <= self._until:
            return found_records(scan.schema.empty_table(), scan.shapes)
        fresh = replace(scan, files=tuple(file for file in scan.files if file.highest > self._until))
        question = question_of(self._topic, self._wanted, fresh, None)
        condition = conjunction([Since(self._until), self._condition])
        rows = RawPlan(question, condition).answer(fresh)
        self._until = scan.highest
        return found_records(rows, scan.shapes)
