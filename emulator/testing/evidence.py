"""The records that expectations are held against, of a lab or of anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from emulator.logs.records import Record
from emulator.testing.refusal import refused

if TYPE_CHECKING:
    from emulator.lab import Lab

ENI, STATUS = ("interface-id", "eni-id", "eni_id"), ("log-status", "log_status")
"""What providers call these fields."""

_NUMBERS = ("srcport", "dstport", "protocol", "packets", "bytes", "start", "end")


class Evidence:
    """The records that expectations are held against, and the lab that can explain them, if any."""

    def __init__(self, records: Iterable[Mapping[str, Any]], lab: Lab | None) -> None:
        self.lab = lab
        self.all = [record if isinstance(record, Record) else as_record(record) for record in records]

    @classmethod
    def of_lab(cls, lab: Lab) -> Evidence:
        topics = [topic for topic in lab.logs.topics() if topic.index is not None]
        return cls((one for topic in topics for one in topic.search("*") if one.meta.get("lab") == lab._tag), lab)

    @cached_property
    def flows(self) -> list[Record]:
        """Those that are about packets."""
        return [record for record in self.all if field(record, STATUS) not in ("NODATA", "SKIPDATA")]

    def why(self, record: Record) -> str | None:
        if self.lab is None or not record.meta:
            return None
        return str(self.lab.explain(record))


def as_record(fields: Mapping[str, Any]) -> Record:
    """A record of whatever origin: ``-`` is no value, numbers may be text."""
    values = {name: None if value == "-" else value for name, value in fields.items()}
    for name in _NUMBERS:
        value = values.get(name)
        if isinstance(value, str):
            try:
                values[name] = int(value)
            except ValueError:
                raise refused(f"{name}={value!r} in {dict(fields)}: a number is wanted", fields) from None
    missing = [name for name in ("srcaddr", "dstaddr", "action", "packets", "start", "end") if name not in values]
    if missing:
        raise refused(f"{dict(fields)} is no flow record: it has no {', '.join(missing)}", fields)
    return Record(values)


def field(record: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((record[name] for name in names if name in record), None)


def key(record: Record) -> object:
    return record.id or tuple(record.items())


def by_place(records: Iterable[Record]) -> dict[tuple[Any, str], list[Record]]:
    """Records by the flow log that wrote them and the ENI: two flow logs over one ENI write a copy each."""
    places: dict[tuple[Any, str], list[Record]] = {}
    for record in records:
        places.setdefault((record.meta.get("flow_log_id"), str(field(record, ENI))), []).append(record)
    return places


def total(records: Iterable[Record], name: str) -> int:
    return sum(record[name] or 0 for record in records)


def sum_up(records: Iterable[Record], action: str) -> str:
    some = [record for record in records if record.get("action") == action]
    return f"{action} {total(some, 'packets')} packets, {total(some, 'bytes')} bytes"
