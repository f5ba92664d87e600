"""Evidence of a failed test: a folder with its packets, records and rules, and why each record says what it says.

===================  ==================================================================================================
``failure.txt``      what pytest said
``VPC.pcapng``       the packets of a VPC at its ENIs, with what became of each, the rule and its record as comments
``records.jsonl``    every record of every topic
``explained.txt``    of each record the walk through the rules at both ENIs
``lab.toml``         the lab as it was, rules and all: ``Lab.from_file`` opens it
===================  ==================================================================================================

A lab's records are read while it is open, so those of a lab that a test itself closes are kept until its verdict is
known; of a test that passes nothing is written.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from emulator.errors import LabError, VpclabError
from emulator.watching import Watcher

if TYPE_CHECKING:
    from emulator.lab import Lab
    from emulator.logs.records import Record
    from emulator.suites.taps import Tap

_MOST_RECORDS = 2_000
"""Of each topic."""
_MOST_EXPLAINED = 200
_LONGEST_NAME = 120


@dataclass
class Trace:
    """What is known of one lab. ``enis`` are by the names of their interfaces, by VPC."""

    taps: dict[str, Tap] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    """VPCs whose taps are open."""
    enis: dict[str, dict[str, str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    records: list[tuple[str, Record]] = field(default_factory=list)
    file: str = ""
    """The lab as a lab file."""


class Recorder(Watcher):
    """Keeps traces of all labs; ``pending`` while a test runs whose verdict is not known."""

    def __init__(self) -> None:
        self.pending = False
        self._traces: WeakKeyDictionary[Lab, Trace] = WeakKeyDictionary()

    # what labs tell --------------------------------------------------------------------------------

    def changed(self, lab: Lab) -> None:
        from emulator.fabric.fabric import interface_name
        from emulator.suites.taps import Tap

        trace = self._traces.setdefault(lab, Trace())
        for vpc_id, fabric in lab.fabric.vpcs.items():
            if vpc_id not in trace.taps:
                try:
                    trace.taps[vpc_id] = Tap(lab.fabric.keeper, fabric.ns)
                except LabError:
                    continue  # the change that is told of stands, and must not fail for that; the next tries again
                trace.open.add(vpc_id)
                trace.names[vpc_id] = lab.cloud.vpcs[vpc_id].name or vpc_id
            trace.enis.setdefault(vpc_id, {}).update({interface_name(eni_id): eni_id for eni_id in fabric.attached})
            trace.taps[vpc_id].drain()

    def closing(self, lab: Lab, error: BaseException | None) -> None:
        trace = self._traces.get(lab)
        if trace is not None and (self.pending or error is not None):
            self._read(lab, trace)

    def leaving(self, lab: Lab, vpc_id: str) -> None:
        from emulator.suites.taps import Tap

        trace = self._traces.get(lab)
        if trace is not None and vpc_id in trace.open:
            trace.open.discard(vpc_id)
            trace.taps[vpc_id].drain()
            Tap.close([trace.taps[vpc_id]])

    # what is made of it ------------------------------------------------------------------------------

    def write(self, folder: Path, failure: str, when: str) -> None:
        """What is known of all labs now; what the folder held of another run is gone. ``when``: a test that failed
        already and fails once more when it is taken down has its evidence."""
        if when == "teardown" and folder.exists():
            with (folder / "failure.txt").open("a", encoding="utf-8") as file:
                file.write(f"\nand at its teardown:\n\n{failure}\n")
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "failure.txt").write_text(f"{failure}\n", encoding="utf-8")
        traces = list(self._traces.items())
        for number, (lab, trace) in enumerate(traces, 1):
            place = folder if len(traces) == 1 else folder / f"lab-{number}"
            place.mkdir(exist_ok=True)
            if not lab.closed:
                self._read(lab, trace)
            _write(place, lab, trace)

    def clear(self, folder: Path) -> None:
        """Evidence of an earlier run against a test that passes now is none."""
        if (folder / "failure.txt").exists():
            shutil.rmtree(folder)

    def forget_closed(self) -> None:
        for lab in list(self._traces):
            if lab.closed:
                del self._traces[lab]

    def __len__(self) -> int:
        return len(self._traces)

    def _read(self, lab: Lab, trace: Trace) -> None:
        import tomli_w

        from emulator.labfiles.opening import describe

        with contextlib.suppress(VpclabError):  # of a lab whose kernel or folder is gone there is the rest
            topics = [topic for topic in lab.logs.topics() if topic.index is not None]
            trace.records = [
                (topic.name, record) for topic in topics for record in topic.search("*", limit=_MOST_RECORDS)
            ]
        with contextlib.suppress(VpclabError):
            trace.file = tomli_w.dumps(describe(lab))
        for vpc_id in trace.open:
            with contextlib.suppress(OSError):
                trace.taps[vpc_id].drain()


def folder_name(test: str) -> str:
    """A test's folder; of tests whose names differ in their last characters only, a number tells the rest apart."""
    from zlib import crc32

    name = re.sub(r"[^\w.\[\]=-]+", "-", test).strip("-")
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{crc32(test.encode()):08x}"


def _write(folder: Path, lab: Lab, trace: Trace) -> None:
    with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
        for topic, record in trace.records:
            row = {"topic": topic, "line": record.line, "record": record, "eni": record.meta.get("eni_id")}
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
    (folder / "explained.txt").write_text("".join(_explained(lab, trace.records)), encoding="utf-8")
    if trace.file:
        (folder / "lab.toml").write_text(trace.file, encoding="utf-8")
    names = list(trace.names.values())
    for vpc_id, tap in trace.taps.items():
        name = trace.names[vpc_id] if names.count(trace.names[vpc_id]) == 1 else vpc_id
        _write_packets(folder / f"{folder_name(name)}.pcapng", lab, trace, vpc_id, tap)


def _explained(lab: Lab, records: Sequence[tuple[str, Record]]) -> Iterator[str]:
    for topic, record in records[:_MOST_EXPLAINED]:
        yield f"{topic}: {record.line}\n"
        with contextlib.suppress(VpclabError):
            yield f"  {lab.explain(record).in_full}\n"
    if len(records) > _MOST_EXPLAINED:
        yield f"... and {len(records) - _MOST_EXPLAINED} more records\n"


def _write_packets(path: Path, lab: Lab, trace: Trace, vpc_id: str, tap: Tap) -> None:
    from scapy.utils import PcapNgWriter

    from emulator.suites.comments import Comments

    if not tap.frames:
        return
    enis = trace.enis.get(vpc_id, {})
    comments = Comments(lab, vpc_id, enis, trace.records)
    with PcapNgWriter(str(path)) as writer:
        for number, (frame, (ether, said)) in enumerate(zip(tap.frames, comments.of(tap.frames), strict=True), 1):
            if number == len(tap.frames) and tap.lost:
                said.append(f"the last frame that found room: {tap.lost} more passed")
            ether.time, ether.direction = frame.time, 2 if frame.sent else 1  # as the ENI sees it
            ether.sniffed_on = _titled(lab, enis.get(frame.interface), frame.interface)
            ether.comments = [line.encode() for line in said]
            writer.write(ether)


def _titled(lab: Lab, eni_id: str | None, interface: str) -> str:
    """An interface as people know it: the ENI with the name of its CVM."""
    eni = lab.cloud.enis.get(eni_id or "")
    cvm = lab.cloud.cvms.get(eni.cvm_id or "") if eni is not None else None
    return f"{interface} ({cvm.name})" if cvm is not None and cvm.name else interface
