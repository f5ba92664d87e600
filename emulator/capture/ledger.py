"""The open window of one ENI: what its tables gave so far, and the records that this makes when the window ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from emulator.capture import forms, schema
from emulator.capture.paths import PathsOf, unknown
from emulator.fabric.accounts import Harvest


@dataclass
class Part:
    """One harvest and the ids of the flow logs that it counts for."""

    harvest: Harvest
    flow_logs: frozenset[str]


@dataclass
class Ledger:
    """One window of one ENI. ``constants`` are the columns that are equal in all its records, ``flow_logs`` those that
    cover it now."""

    eni_id: str
    start: int
    end: int
    constants: dict[str, Any]
    flow_logs: frozenset[str]
    parts: list[Part] = field(default_factory=list)


def by_window(ledgers: Iterable[Ledger]) -> list[list[Ledger]]:
    """Ledgers of the same ENI and window together: there are several where it was unplugged, or not logged for a
    while."""
    windows: dict[tuple[str, int, int], list[Ledger]] = {}
    for ledger in ledgers:
        windows.setdefault((ledger.eni_id, ledger.start, ledger.end), []).append(ledger)
    return list(windows.values())


def covering(ledgers: Iterable[Ledger]) -> list[str]:
    """The flow logs that any part of these ledgers counts for."""
    return sorted({flow_log_id for ledger in ledgers for part in ledger.parts for flow_log_id in part.flow_logs})


def window_records(
    ledgers: Sequence[Ledger], flow_log_id: str, traffic: str, form: str, paths: PathsOf = unknown
) -> list[pa.Table]:
    """What one flow log has to say about one ENI's window, as tables of schema RECORD for a record form.

    Flows that ``traffic`` selects, those at one CVM apart from those at another; SKIPDATA where packets found no room
    in a table; NODATA where no packet passed at all. ``paths`` says by which way packets left.
    """
    places: dict[str, list[Harvest]] = {}
    constants: dict[str, dict[str, Any]] = {}
    for ledger in ledgers:
        parts = [part.harvest for part in ledger.parts if flow_log_id in part.flow_logs]
        if parts:
            cvm_id = ledger.constants["cvm_id"]
            places.setdefault(cvm_id, []).extend(parts)
            bounds = {"flow_log_id": flow_log_id, "start": ledger.start, "end": ledger.end}
            constants[cvm_id] = last = {**ledger.constants, **bounds}
    skipped = sum(part.skipped for parts in places.values() for part in parts)
    tables, seen = [], False
    for cvm_id, parts in places.items():
        for found in ([part.flows for part in parts], [part.flows6 for part in parts]):
            if form in forms.WITHOUT_ICMP_NUMBERS:
                found = [schema.without_icmp_numbers(flows) for flows in found]
            flows = schema.merge(found)
            if len(flows):
                seen = True
                told = paths(flows) if form in forms.WITH_PATHS else None
                table = schema.records(flows, constants[cvm_id], told)
                tables.append(table if traffic == "ALL" else table.filter(pc.equal(table["action"], traffic)))
    if skipped:
        tables.append(schema.remarks([{**last, "log_status": "SKIPDATA", "skipped": skipped}]))
    elif places and not seen:
        tables.append(schema.remarks([{**last, "log_status": "NODATA"}]))
    return tables
