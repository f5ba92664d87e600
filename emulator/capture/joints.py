"""Flow logs on CCNs: what passes between regions, counted where VPCs are joined.

::

    VPC ──► counted, by its link ──► cap ──► counted, by the other's ──► VPC
                │ ACCEPT, or REJECT where the cap drops                    │
                └── Tencent: the log of each of the two regions            │
                └── Alibaba: "in" at the VPC's attachment                  └── "out" at the other's

A mark tells from which region to which (fabric/transits.py). Times and windows are the collector's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emulator.capture import forms, schema, windows
from emulator.capture.filing import Filing
from emulator.cloud.account import Cloud
from emulator.cloud.model import FlowLog
from emulator.fabric import marks, transits
from emulator.fabric.accounts import Flows
from emulator.fabric.beyond import Beyond

_PORTS_SHOWN = (6, 17)
"""Ports are told of TCP and UDP only (tencent.md §1.2)."""


@dataclass
class OpenWindow:
    """One window of one flow log: entries by the VPC at whose link they were counted."""

    log: FlowLog
    start: int
    end: int
    parts: list[tuple[str, Flows]] = field(default_factory=list)
    skipped: int = 0


class Joints:
    def __init__(self, cloud: Cloud, beyond: Beyond, filing: Filing, tag: str) -> None:
        self._cloud, self._beyond, self._filing, self._tag = cloud, beyond, filing, tag
        self._open: dict[str, OpenWindow] = {}  # by flow log
        self._left: list[OpenWindow] = []  # of flow logs that record no more
        self._ports: dict[tuple[str, int], str] = {}  # (CCN, link) that are counted → VPC

    def follow(self, now_s: float) -> None:
        """Count for the CCN flow logs that there are, from this moment on."""
        wanted = {log.id: log for log in self._cloud.flow_logs.values() if log.resource_type == "ccn" and log.enabled}
        if not (wanted or self._open):
            return
        ccns = dict.fromkeys(log.resource_id for log in wanted.values())
        ports = {(ccn_id, index): vpc_id for ccn_id in ccns for vpc_id, index in self._beyond.ports(ccn_id).items()}
        kept = {
            log_id for log_id, log in wanted.items() if log_id in self._open and self._same(self._open[log_id].log, log)
        }
        if ports != self._ports or kept != wanted.keys() or kept != self._open.keys():
            self._take(ports.keys())
            self._left += [self._open.pop(log_id) for log_id in [*self._open] if log_id not in kept]
            for ccn_id in ccns:
                self._beyond.accounts[ccn_id].open(index for one, index in ports if one == ccn_id)
            self._ports = ports
        for log_id, log in wanted.items():
            if log_id in self._open:
                self._open[log_id].log = log
            else:
                self._open[log_id] = self._window(log, now_s)

    def ends(self) -> Iterator[int]:
        """When open windows end."""
        for window in (*self._left, *self._open.values()):
            yield window.end

    def read_now(self) -> None:
        """Read what was counted so far into the open windows."""
        self._take(self._ports.keys())

    def close_windows(self, until_s: float) -> None:
        """Close every window that ends by ``until_s``, in order, and file its records."""
        for end in sorted({end for end in self.ends() if end <= until_s}):
            self._take(self._ports.keys())
            for window in _whole(window for window in (*self._left, *self._open.values()) if window.end == end):
                self._file(window)
            self._left = [window for window in self._left if window.end != end]
            for log_id, window in self._open.items():
                if window.end == end:
                    self._open[log_id] = self._window(window.log, end)
        for log_id, window in self._open.items():
            ends = windows.ends_between(window.start, until_s, window.log.interval_s)
            if ends:
                self._file_idle(window.log, ends, until_s)
                self._open[log_id] = self._window(window.log, ends[-1])

    @staticmethod
    def _same(one: FlowLog, other: FlowLog) -> bool:
        return one.interval_s == other.interval_s

    @staticmethod
    def _window(log: FlowLog, now_s: float) -> OpenWindow:
        start = windows.window_start(now_s, log.interval_s)
        return OpenWindow(log, start, start + log.interval_s)

    def _take(self, staying: Iterable[tuple[str, int]]) -> None:
        """Read what was counted into all open windows; stop to count at the links that do not stay."""
        stay = set(staying)
        for ccn_id in dict.fromkeys(ccn_id for ccn_id, _ in self._ports):
            accounts = self._beyond.accounts.get(ccn_id)
            if accounts is None:
                continue
            here = [index for one, index in self._ports if one == ccn_id]
            harvests = accounts.cut(index for index in here if (ccn_id, index) in stay)
            harvests |= accounts.close(index for index in here if (ccn_id, index) not in stay)
            for window in self._open.values():
                if window.log.resource_id == ccn_id:
                    for index, harvest in harvests.items():
                        window.parts.append((self._ports[ccn_id, index], harvest.flows))
                        window.skipped += harvest.skipped

    # records -----------------------------------------------------------------------------------------

    def _file(self, window: OpenWindow) -> None:
        log, profile = window.log, self._cloud.profile
        constants = self._constants(log) | {"start": window.start, "end": window.end}
        tables = list(self._tables(window, constants))
        if log.traffic != "ALL":
            tables = [table.filter(pc.equal(table["action"], log.traffic)) for table in tables]
        if window.skipped:
            remark = {**constants, "log_status": "SKIPDATA", "skipped": window.skipped}
            tables.append(_placed(schema.remarks([remark]), None, None, None))
        elif not any(len(flows) for _, flows in window.parts) and profile.ccn_form not in forms.WITHOUT_STATUS:
            tables.append(_placed(schema.remarks([{**constants, "log_status": "NODATA"}]), None, None, None))
        if tables:
            self._filing.put(window.end, log.topic_id, profile.ccn_form, pa.concat_tables(tables))

    def _file_idle(self, log: FlowLog, ends: range, until_s: float) -> None:
        form = self._cloud.profile.ccn_form
        if form not in forms.WITHOUT_STATUS:
            table = _placed(schema.idle(ends, log.interval_s, self._constants(log)), None, None, None)
            self._filing.put_idle(until_s, log.topic_id, form, table)

    def _constants(self, log: FlowLog) -> dict[str, Any]:
        return {
            "lab": self._tag,
            "flow_log_id": log.id,
            "account_id": self._cloud.profile.account_id,
            "region": log.region,
            "eni_id": log.resource_id,
        }

    def _tables(self, window: OpenWindow, constants: Mapping[str, Any]) -> Iterator[pa.Table]:
        """One table for each pair of regions (and attachment)."""
        names = {number: name for name, number in transits.numbered(self._cloud.profile.regions).items()}
        by_attachment = self._cloud.profile.ccn_by_attachment
        places: dict[tuple[str | None, int], list[Flows]] = {}
        for vpc_id, flows in window.parts:
            chosen = _chosen(flows, by_attachment)
            for pair in np.unique(chosen["mark"] & marks.RULE):
                source, destination = (names[number] for number in transits.regions(int(pair)))
                if by_attachment:
                    mine = self._region_of(vpc_id, source, destination) == window.log.region
                else:
                    mine = source != destination and window.log.region in (source, destination)
                if mine:
                    at = vpc_id if by_attachment else None
                    places.setdefault((at, int(pair)), []).append(chosen[chosen["mark"] & marks.RULE == pair])
        for (at, pair), found in places.items():
            source, destination = (names[number] for number in transits.regions(pair))
            table = schema.records(schema.merge(found), dict(constants))
            yield _placed(table, source, destination, self._attachment(window.log.resource_id, at))

    def _region_of(self, vpc_id: str, *otherwise: str) -> str:
        vpc = self._cloud.vpcs.get(vpc_id)
        return vpc.region if vpc else otherwise[0]

    def _attachment(self, ccn_id: str, vpc_id: str | None) -> str | None:
        ccn = self._cloud.ccns.get(ccn_id)
        return ccn.vpcs.get(vpc_id) if ccn and vpc_id else None


def _whole(ending: Iterable[OpenWindow]) -> Iterable[OpenWindow]:
    """Windows of one flow log that was off for a while as one."""
    found: dict[tuple[str, int], OpenWindow] = {}
    for window in ending:
        first = found.setdefault((window.log.id, window.start), window)
        if first is not window:
            first.parts += window.parts
            first.skipped += window.skipped
    return found.values()


def _chosen(flows: Flows, by_attachment: bool) -> Flows:
    """A copy of the entries that records are made of: where they tell no attachment, each packet once; where they do,
    the cap's verdict is not told."""
    found: Flows = flows.copy() if by_attachment else flows[flows["mark"] & marks.IN == 0]
    if by_attachment:
        # "in" is into the CCN, where the link's own side says "out of the VPC".
        found["mark"] = (found["mark"] ^ np.uint32(marks.IN)) & ~np.uint32(marks.REJECT)
    portless = ~np.isin(found["protocol"], _PORTS_SHOWN)
    found["sport"][portless] = found["dport"][portless] = 0
    return found


def _placed(table: pa.Table, source: str | None, destination: str | None, attachment: str | None) -> pa.Table:
    """Records with the columns that only these have, and without a rule: none decided."""
    for name, value in (("src_region", source), ("dst_region", destination), ("attachment_id", attachment)):
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    at = table.schema.get_field_index("rule")
    return table.set_column(at, "rule", pa.nulls(table.num_rows, pa.int32()))
