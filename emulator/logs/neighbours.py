"""What stands before and behind a record in its topic."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from emulator.errors import NotFound
from emulator.logs.condition import Side
from emulator.logs.plan import RawPlan
from emulator.logs.records import ROW, SEGMENT, TIME, Record, Records, found_records
from emulator.logs.refusal import refuse
from emulator.logs.scan import Scan
from emulator.logs.search import Asked, question_of

if TYPE_CHECKING:
    from emulator.logs.topic import Topic


def neighbours(topic: Topic, wanted: Asked, record: object, before: int, after: int) -> Records:
    """The record with ``before`` others that come before it and ``after`` that come behind, oldest first."""
    place = re.fullmatch(r"(\d{1,18})-(\d{1,18})", record.id) if isinstance(record, Record) else None
    if place is None or not isinstance(record, Record) or record.time is None:
        message = f"the context of a record that a search of {topic.name} found, not of {record!r}"
        raise refuse(NotFound, topic.profile, "record.missing", message, object=topic.id, value=record)
    at = (record.time, int(place[1]), int(place[2]))

    def side(condition: Side, low: int | None, high: int | None, most: int) -> tuple[Scan, pa.Table]:
        scan = topic.scan(low, high)
        question = question_of(topic, replace(wanted, newest_first=condition.before), scan, most)
        return scan, RawPlan(question, condition).answer(scan)

    scan, older = side(Side(at, before=True), None, record.time + 1, before + 1)
    if older.num_rows == 0 or tuple(older[name][0].as_py() for name in (TIME, SEGMENT, ROW)) != at:
        message = f"{topic.name} has no record {record.id} at {record.time} (any more)"
        raise refuse(NotFound, topic.profile, "record.missing", message, object=topic.id, value=record.id)
    _, newer = side(Side(at, before=False), record.time, None, max(after, 1))
    older = older.take(pa.array(range(older.num_rows - 1, -1, -1), pa.int64()))
    shapes = {**topic.scan(record.time, None).shapes, **scan.shapes}
    return found_records(pa.concat_tables([older, newer.slice(0, after)], promote_options="default"), shapes)
