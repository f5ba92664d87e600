"""What is to have passed on a way, and what is said where it did not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emulator.asserting import explain_set
from emulator.cloud.model import Rule
from emulator.explain import Explanation
from emulator.logs.records import Record
from emulator.resources import Cvm, Eni, NetworkAcl, SecurityGroup
from emulator.resources.ways import Way
from emulator.testing.counts import Count, check_possible, counted
from emulator.testing.ends import eni_id, holder, only
from emulator.testing.evidence import ENI, STATUS, Evidence, by_place, field, key, sum_up, total
from emulator.testing.refusal import refused

_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_WORDS = {_ICMP: "icmp", _TCP: "tcp", _UDP: "udp", _ICMPV6: "icmpv6"}


class ExpectationFailed(AssertionError):
    """An expectation that does not hold; ``report`` is what the message says, as plain data."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report = dict(report)
        lines = [f"expected {report['wanted']}", *report["lines"]]
        lines += [f"counted at {one['eni']}: {one['accepted']}, {one['rejected']}" for one in report["counted"]]
        lines += [f"captured at {one['eni']}: {one['file']}" for one in report["captures"]]
        super().__init__("\n".join([lines[0], *(f"  {line}" for line in lines[1:])]))

    def json(self) -> str:
        return json.dumps(self.report, ensure_ascii=False)


@dataclass(frozen=True)
class Seen:
    """The records that an expectation was about."""

    records: tuple[Record, ...]
    wanted: str
    source: Evidence


@dataclass(frozen=True)
class Expectation:
    """What is to have passed on a way; made by :func:`expect`, each word returns one that says more."""

    way: Way
    source: Evidence
    protocol_number: int | None = None
    port: int | None = None
    source_port: int | None = None
    eni: Eni | str | None = None
    span: tuple[int, int] | None = None

    # what it is about --------------------------------------------------------------------------------

    def icmp(self) -> Expectation:
        return self.protocol(_ICMP)

    def icmpv6(self) -> Expectation:
        return self.protocol(_ICMPV6)

    def tcp(self, port: int | None = None, *, source: int | None = None) -> Expectation:
        """TCP to this port, from port ``source``."""
        return self.protocol(_TCP, port, source=source)

    def udp(self, port: int | None = None, *, source: int | None = None) -> Expectation:
        """UDP to this port, from port ``source``."""
        return self.protocol(_UDP, port, source=source)

    def protocol(self, number: int, port: int | None = None, *, source: int | None = None) -> Expectation:
        """An IP protocol by its number; ports as the records show them."""
        for name, value, most in (("protocol", number, 255), ("port", port, 65_535), ("source", source, 65_535)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most):
                raise refused(f"{name}={value!r}: give a number from 0 to {most}", value)
        return replace(self, protocol_number=number, port=port, source_port=source)

    def on(self, eni: Eni | str) -> Expectation:
        """Only what this ENI recorded, given itself or by its id."""
        return replace(self, eni=eni)

    def within(self, window: tuple[float, float] | Mapping[str, Any]) -> Expectation:
        """Only records of capture windows that lie within (start, end), unix seconds, or within a record's window."""
        start, end = (window["start"], window["end"]) if isinstance(window, Mapping) else window
        if not start < end:
            raise refused(f"within({start}, {end}): no window lies there; give a start before the end", window)
        return replace(self, span=(int(start), int(end)))

    # what is to hold ---------------------------------------------------------------------------------

    def accept(self, *, packets: int | Count | None = None, bytes: int | Count | None = None, by: Any = None) -> Seen:
        """It came through: every ENI that recorded it accepted some, and so many. ``by``: the rule, security group or
        network ACL that let it at one of them."""
        return self._counted("ACCEPT", packets, bytes, by, everywhere=True)

    def reject(self, *, packets: int | Count | None = None, bytes: int | Count | None = None, by: Any = None) -> Seen:
        """It was stopped: some ENI rejected so many. ``by``: the rule, security group or network ACL that did;
        where none of its rules matched, each group of the ENI did."""
        return self._counted("REJECT", packets, bytes, by, everywhere=False)

    def never(self) -> Seen:
        """Nothing of it was recorded, although it would have been: each end's ENI, or that of ``on``, that records at
        all shows other packets or NODATA in the same time, and no SKIPDATA."""
        wanted = f"{self}: never"
        found = self._matching()
        if found:
            lines = [line for one in found[:5] for line in (f"found: {one.line}", *self._because(one))]
            raise self._failed(wanted, lines)
        beside = [record for record in self.source.all if self._in_place_and_time(record)]
        skipped = [record for record in beside if field(record, STATUS) == "SKIPDATA"]
        if skipped:
            raise self._failed(wanted, [f"that cannot be told where packets were skipped: {skipped[0].line}"])
        if not beside:
            raise self._failed(
                wanted, [f"that cannot be told: nothing at all was recorded at {self._places()}", *self._hints()]
            )
        traffic = {self._traffic_of(record) for record in beside}
        if "ALL" not in traffic:
            only = " and ".join(sorted(traffic))
            raise self._failed(wanted, [f"that cannot be told: the flow logs there record {only} only"])
        return Seen((), wanted, self.source)

    def __str__(self) -> str:
        parts = [str(self.way)]
        if self.protocol_number is not None:
            parts.append(_WORDS.get(self.protocol_number, f"protocol {self.protocol_number}"))
        parts += [f"port {self.port}"] * (self.port is not None)
        parts += [f"from port {self.source_port}"] * (self.source_port is not None)
        parts += [f"on {eni_id(self.eni)}"] * (self.eni is not None)
        parts += [f"within {self.span[0]} to {self.span[1]}"] if self.span else []
        return ", ".join(parts)

    # how it is found out -----------------------------------------------------------------------------

    def _counted(
        self, action: str, packets: int | Count | None, size: int | Count | None, by: Any, *, everywhere: bool
    ) -> Seen:
        counts = {name: counted(name, wanted) for name, wanted in (("packets", packets), ("bytes", size))}
        check_possible(counts)
        said = [f"{count} {name}" for name, count in counts.items() if count != Count()]
        said += [] if by is None else [f"by {_owner(by)}"]
        wanted = f"{self}: {', '.join([action, *said])}"
        found = self._matching()
        places = [[one for one in group if one.get("action") == action] for group in by_place(found).values()]
        right = [
            group for group in places if group and all(total(group, name) in count for name, count in counts.items())
        ]
        enough = len(right) == len(places) if everywhere else True
        if not right or not enough or not (by is None or any(self._is_by(group, by) for group in right)):
            raise self._failed(wanted, self._nearest(action, counts))
        return Seen(tuple(one for group in right for one in group), wanted, self.source)

    def _matching(self) -> list[Record]:
        comes, goes = holder(self.way.source), holder(self.way.destination)
        pairs = (("protocol", self.protocol_number), ("dstport", self.port), ("srcport", self.source_port))
        return [
            record
            for record in self.source.flows
            if self._in_time(record)
            and (self.eni is None or field(record, ENI) == eni_id(self.eni))
            and comes(record.get("srcaddr"))
            and goes(record.get("dstaddr"))
            and all(value is None or record.get(name) == value for name, value in pairs)
        ]

    def _in_time(self, record: Record) -> bool:
        return self.span is None or (self.span[0] <= record["start"] and record["end"] <= self.span[1])

    def _in_place_and_time(self, record: Record) -> bool:
        enis = self._enis()
        return self._in_time(record) and (not enis or field(record, ENI) in enis)

    def _enis(self) -> list[str]:
        """The ENIs that this would be recorded at, as far as they are known."""
        if self.eni is not None:
            return [eni_id(self.eni)]
        ends = (self.way.source, self.way.destination)
        return [
            eni.id
            for end in ends
            for eni in (end.enis if isinstance(end, Cvm) else [end] if isinstance(end, Eni) else [])
        ]

    def _places(self) -> str:
        return " or ".join(self._enis()) or "any ENI"

    def _is_by(self, group: Sequence[Record], by: Any) -> bool:
        lab = self.source.lab
        if lab is None:
            raise refused(f"by={by!r}: which rule decided is known for records of an open lab only", by)
        explained = [lab.explain(record) for record in group]
        return all(by.id in (one.owner_id, one.rule and one.rule.id, *_groups(one)) for one in explained)

    def _traffic_of(self, record: Record) -> str:
        """What the flow log records that wrote this; ALL where nobody knows."""
        lab = self.source.lab
        log = None if lab is None else lab.cloud.flow_logs.get(str(record.meta.get("flow_log_id")))
        return "ALL" if log is None else log.traffic

    # what is said where it does not hold -------------------------------------------------------------

    def _nearest(self, action: str, counts: Mapping[str, Count]) -> list[str]:
        wanted: dict[str, Any] = {"srcaddr": only(self.way.source), "dstaddr": only(self.way.destination)}
        wanted |= {
            "protocol": self.protocol_number,
            "dstport": self.port,
            "srcport": self.source_port,
            "action": action,
        }
        wanted |= {name: count.low for name, count in counts.items() if count.low == count.high}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        near = [record for record in self.source.flows if self._in_time(record)]
        failure = explain_set(near, [wanted], self.source.why, list, others=False, partial=True) if near else None
        if failure is not None:
            return failure.lines[1:]
        lines = [line for one in self._matching()[:2] for line in (f"found: {one.line}", *self._because(one))]
        return lines or ["no record was found", *self._hints()]

    def _because(self, record: Record) -> list[str]:
        why = self.source.why(record)
        return [] if why is None else [f"why: {why}"]

    def _hints(self) -> list[str]:
        """Why there may be no record at all."""
        lab = self.source.lab
        if lab is None or self.source.all:
            return []
        if not lab.describe_flow_logs()[1]:
            return ["the lab has no flow log"]
        return [
            f"no topic holds records at lab time {lab.clock.now:.0f}: those of a capture window can be found "
            f"{lab.profile.delay_s} s after its end (lab.clock.advance)"
        ]

    def _failed(self, wanted: str, lines: Sequence[str]) -> ExpectationFailed:
        alike = replace(self, eni=None)
        sums = [
            {"eni": eni, "accepted": sum_up(group, "ACCEPT"), "rejected": sum_up(group, "REJECT")}
            for (_, eni), group in by_place(alike._matching()).items()
        ]
        lab, enis = self.source.lab, self._enis()
        captures = [
            {"eni": eni, "file": file} for eni, file in (lab.captures if lab is not None else ()) if eni in enis
        ]
        return ExpectationFailed(
            {"wanted": wanted, "lines": [line.strip() for line in lines], "counted": sums, "captures": captures}
        )


def expect(way: Way, *, records: Iterable[Mapping[str, Any]] | None = None) -> Expectation:
    """The beginning of an expectation about a way, ``a >> b``.

    ``records``: those it is held against; all of the ends' lab where left out.
    """
    if not isinstance(way, Way):
        raise refused(f"expect({way!r}): give a way: a >> b, with a CVM or an ENI on one side, or Way(from, to)", way)
    for end in (way.source, way.destination):
        holder(end)
    labs = {id(end._lab): end._lab for end in (way.source, way.destination) if isinstance(end, Cvm | Eni)}
    if len(labs) > 1:
        raise refused(f"expect({way}): its ends are of two labs, so nothing passes between them", way)
    lab = next(iter(labs.values()), None)
    if records is not None:
        return Expectation(way, Evidence(records, lab))
    if lab is None:
        raise refused(f"expect({way}): of which lab? Give records=, or a CVM or an ENI of a lab as one end", way)
    return Expectation(way, Evidence.of_lab(lab))


def exactly(*seen: Seen) -> None:
    """Nothing else was recorded than what these expectations found (NODATA aside)."""
    if not seen:
        raise refused("exactly(): give what expect(…).accept(…) and the like returned", seen)
    told = {id(one.source.lab) if one.source.lab is not None else id(one.source): one.source for one in seen}
    keys = {key(record) for one in seen for record in one.records}
    others = [(source, record) for source in told.values() for record in source.flows if key(record) not in keys]
    if others:
        lines = []
        for source, record in others[:10]:
            why = source.why(record)
            lines += [f"unexpected: {record.line}", *([f"why: {why}"] if why else [])]
        lines += [f"... and {len(others) - 10} more"] if len(others) > 10 else []
        wanted = f"nothing but what {len(seen)} expectations found"
        raise ExpectationFailed({"wanted": wanted, "lines": lines, "counted": [], "captures": []})


def _owner(by: object) -> str:
    if isinstance(by, Rule):
        return f"rule {by.id}"
    if isinstance(by, SecurityGroup | NetworkAcl):
        return f"{by.id} ({by.name})"
    raise refused(f"by={by!r}: give a rule, a security group or a network ACL", by)


def _groups(one: Explanation) -> tuple[str, ...]:
    """Where no rule of its groups matched, all of an ENI's groups said no together."""
    return one.walk[-1].owner_ids if one.rule is not None and not one.owner_id and one.walk else ()
