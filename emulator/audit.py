"""What ``lab.audit()`` returns, and how long it waits before it says that the books differ."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import permutations
from typing import TYPE_CHECKING

from emulator.errors import AuditFailed

if TYPE_CHECKING:
    from emulator.capture.books import EniBooks, Window
    from emulator.capture.collector import Collector
    from emulator.cloud.account import Cloud

PATIENCE_S = 0.5
"""How long packets that are under way are waited for."""

_SHOWN = 10


@dataclass(frozen=True)
class EniAudit:
    """One ENI since its flow log began, in packets: ``taken`` from the CVM by its link, ``handed`` to it, ARP and
    IPv6's neighbour ``discovery`` apart."""

    eni_id: str
    name: str | None
    taken: int
    accepted_out: int
    rejected_out: int
    skipped_out: int
    excluded_out: int
    spoofed: int
    malformed: int
    incomplete: int
    left: int
    arp_out: int
    handed: int
    accepted_in: int
    rejected_in: int
    skipped_in: int
    excluded_in: int
    arp_in: int
    discovery: int
    ok: bool


@dataclass(frozen=True)
class Audit:
    """The books of a lab: ``failures`` is empty where they balance; ``unlogged`` ENIs have none; ``malformed`` packets
    were dropped before anything else, in no record."""

    enis: tuple[EniAudit, ...]
    windows: int
    flows: int
    unlogged: int
    malformed: int
    failures: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def spoofed(self) -> int:
        """Packets with a source address that is not the sender's: dropped before anything else, in no record."""
        return sum(eni.spoofed for eni in self.enis)

    @property
    def text(self) -> str:
        """One line where the books balance; else a line for each ENI and 5-tuple that differs."""
        if not self.ok:
            return "\n".join(["the books do not balance:", *self.failures])
        packets = sum(eni.taken for eni in self.enis), sum(eni.handed for eni in self.enis)
        parts = [f"{len(self.enis)} ENIs, {self.windows} windows, {packets[0]} packets out, {packets[1]} in"]
        left = sum(eni.left for eni in self.enis)
        if left:
            parts.append(f"{left} left their VPC")
        if self.spoofed:
            parts.append(f"{self.spoofed} spoofed and dropped")
        excluded = sum(eni.excluded_out + eni.excluded_in for eni in self.enis)
        if excluded:
            parts.append(f"{excluded} excluded from records")
        if self.malformed:
            parts.append(f"{self.malformed} malformed")
        if self.unlogged:
            parts.append(f"{self.unlogged} ENIs without a flow log not counted")
        return f"the books balance: {', '.join(parts)}"

    def __str__(self) -> str:
        return self.text

    def check(self) -> Audit:
        """Raise AuditFailed where the books do not balance."""
        if not self.ok:
            raise AuditFailed(self.text, audit=self)
        return self


def audit(collector: Collector, cloud: Cloud, attached: int) -> Audit:
    """Read what is counted until the books balance, or until nothing can be under way any more."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        collector.read_now()
        found = _look(collector, cloud, attached)
        if found.ok or time.monotonic() > deadline:
            return found


def _look(collector: Collector, cloud: Cloud, attached: int) -> Audit:
    from emulator.capture.leaving import between_vpcs  # a lab that is refused for its arguments needs no numpy

    enis, failures, windows, flows, counted, malformed = [], list[str](), set(), 0, 0, 0
    for books in collector.books.values():
        windows |= books.windows
        flows += books.flows
        malformed += books.damaged
        counted += len(books.enis)
        between = books.between()
        for one in books.all:
            found = one.failures(books.dropped, books.malformed)
            name = getattr(cloud.enis.get(one.eni_id), "name", None)
            enis.append(_eni(one, name, ok=not found))
            label = f"{one.eni_id} ({name})" if name else one.eni_id
            failures += [f"{label}, {_window(since)}: {line}" for since, line in found]
        failures += [f"{_window(since)}: {line}" for since, line in between[:_SHOWN]]
        if len(between) > _SHOWN:
            failures.append(f"and {len(between) - _SHOWN} more 5-tuples")
    abroad = list(between_vpcs(collector.books, _joined(cloud), collector.dropped_between))
    failures += [f"between VPCs: {line}" for line in abroad[:_SHOWN]]
    return Audit(tuple(enis), len(windows), flows, attached - counted, malformed, tuple(failures))


def _joined(cloud: Cloud) -> list[tuple[str, str]]:
    """Pairs of VPCs, each way, that a peering or CCN joins now."""
    groups: list[tuple[str, ...]] = [(one.vpc_id, one.peer_vpc_id) for one in cloud.peerings.values()]
    groups += [tuple(ccn.vpcs) for ccn in cloud.ccns.values()]
    return sorted({(one, other) for group in groups for one, other in permutations(group, 2)})


def _eni(books: EniBooks, name: str | None, *, ok: bool) -> EniAudit:
    meter = books.meter
    return EniAudit(
        books.eni_id,
        name,
        (meter.taken - meter.arp_in - meter.discovery).packets,
        books.accepted_out.packets,
        books.rejected_out.packets,
        (books.skipped - books.skipped_in).packets,
        books.excluded_out.packets,
        books.spoofed.packets,
        meter.malformed.packets,
        books.incomplete.packets,
        meter.left.packets,
        meter.arp_in.packets,
        (meter.handed - meter.arp_out).packets,
        books.accepted_in.packets,
        books.rejected_in.packets,
        books.skipped_in.packets,
        books.excluded_in.packets,
        meter.arp_out.packets,
        meter.discovery.packets,
        ok,
    )


def _window(window: Window | None) -> str:
    if window is None:
        return "window unknown"
    start, end = (datetime.fromtimestamp(second, UTC) for second in window)
    return f"window {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}"
