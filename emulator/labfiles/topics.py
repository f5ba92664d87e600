"""The topics of a document: written, made in a lab's log service, and their rows carried to another."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from emulator.capture.forms import index_keys
from emulator.cloud.model import FlowLog
from emulator.cloud.profile import Profile
from emulator.labfiles.document import Document
from emulator.logs.engine import ENGINE
from emulator.logs.index import DEFAULT_DELIMITERS, FLOW_DELIMITERS, Field, FullText, Index, index_of
from emulator.logs.names import DEFAULT_LOGSET
from emulator.logs.records import HIDDEN, SHAPE, TIME
from emulator.logs.scan import ORDER, ROWS, quoted
from emulator.logs.service import LogService
from emulator.logs.topic import Topic

if TYPE_CHECKING:
    from emulator.lab import Lab

FOREVER_DAYS = 0
"""As ``retention_days``."""


def describe(topics: Iterable[Topic], flow_logs: Iterable[FlowLog], profile: Profile) -> dict[str, dict[str, Any]]:
    """Each topic's table by its name; where several logsets have the name, logset and name."""
    topics = list(topics)
    counts = Counter(topic.name for topic in topics)
    writers: dict[str, FlowLog] = {}
    for log in flow_logs:
        writers.setdefault(log.topic_id, log)
    told = {}
    for topic in topics:
        key = topic.name if counts[topic.name] == 1 else f"{topic.logset}/{topic.name}"
        one = {} if key == topic.name else {"name": topic.name}
        told[key] = {**one, "logset": topic.logset, **_searchable(topic, writers.get(topic.id), profile)}
    return told


def _searchable(topic: Topic, writer: FlowLog | None, profile: Profile) -> dict[str, Any]:
    index, told = topic.index, dict[str, Any]()
    if topic.report or topic.retention_days is not None:
        told["retention_days"] = topic.retention_days or FOREVER_DAYS
    if index is None:
        return told if writer is None else {**told, "report": False}
    if topic.report:
        told["report"] = True
        if index == index_of(index_keys(_form(writer, profile)), FLOW_DELIMITERS):
            return told
    delimiters = FLOW_DELIMITERS if topic.report else DEFAULT_DELIMITERS[profile.provider]
    plain = index_of({name: field.kind for name, field in index.fields.items()}, delimiters)
    told["index"] = {
        name: field.kind if field == plain.fields[name] else asdict(field) for name, field in index.fields.items()
    }
    if index.full_text is not None:
        told["full_text"] = True if index.full_text == FullText(delimiters) else asdict(index.full_text)
    return told


def _form(writer: FlowLog | None, profile: Profile) -> str:
    return profile.ccn_form if writer is not None and writer.resource_type == "ccn" else profile.record_form


def make(lab: Lab, document: Document) -> dict[str, Topic]:
    """The topics of a document by their names there; one that the data folder has already stays as it is."""
    made: dict[str, Topic] = {}
    there = {(topic.logset, topic.name): topic for topic in lab.logs.topics()}
    for key, one in document.objects("topic"):
        name, logset = one.get("name", key), one.get("logset", DEFAULT_LOGSET)
        made[key] = there.get((logset, name)) or lab.logs.create_topic(name, logset)
    return made


def make_searchable(lab: Lab, document: Document, topics: Mapping[str, Topic]) -> None:
    """Indexes and retention of topics, once their flow logs are there."""
    writers = {log.topic_id: log for log in reversed(lab.cloud.flow_logs.values())}
    for key, one in document.objects("topic"):
        topic = topics[key]
        writer = writers.get(topic.id)
        if topic.index is None and ("index" in one or "full_text" in one):
            index, full_text = _index(one, lab.profile, report=one.get("report", False))
            topic.enable_index(index, report=one.get("report", False), full_text=full_text)
        elif topic.index is None and one.get("report", writer is not None):
            lab._enable_report(topic, of_ccn=writer is not None and writer.resource_type == "ccn")
        if "retention_days" in one:
            topic.retention_days = one["retention_days"] or None


def _index(one: Mapping[str, Any], profile: Profile, *, report: bool) -> tuple[Index, bool | FullText]:
    delimiters = FLOW_DELIMITERS if report else DEFAULT_DELIMITERS[profile.provider]
    fields = {}
    for name, field in one.get("index", {}).items():
        plain = index_of({name: field if isinstance(field, str) else field["kind"]}, delimiters).fields[name]
        fields[name] = plain if isinstance(field, str) else Field(**{**asdict(plain), **field})
    full_text = one.get("full_text", False)
    return Index(fields), full_text if isinstance(full_text, bool) else FullText(**full_text)


def copy_records(source: LogService, folder: Path) -> None:
    """All rows that can be searched, into a new folder of logs with the same topics."""
    with LogService(profile=source.profile, now=source.now, folder=folder) as target, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mixed sources, which were warned about where they were mixed
        for topic in source.topics():
            copy = target.create_topic(topic.name, topic.logset)
            if topic.index is not None:
                copy.enable_index(topic.index, report=topic.report)
            copy.retention_days = topic.retention_days
            scan = topic.scan()
            if scan.table is None and not scan.files:
                continue
            order = ", ".join(map(quoted, ORDER))
            rows = ENGINE.table(scan, f"SELECT * FROM {quoted(ROWS)} ORDER BY {order}", [])
            for shape in rows[SHAPE].unique().to_pylist():
                columns = scan.shapes[shape]
                part: pa.Table = rows.filter(pc.equal(rows[SHAPE], shape)).select([TIME, *columns])
                if any(name.startswith(HIDDEN) for name in columns):
                    copy.append(part, key=f"saved-{shape}")
                else:
                    copy.write(part, key=f"saved-{shape}")
