"""Double entry: what the flow tables counted against what the kernel counted by itself. Pure.

::

    CVM A ──► link of A ──► counted at A, out ──► path ──► counted at B, in ──► link of B ──► CVM B
              taken in  =  ACCEPT + REJECT                 ACCEPT + REJECT      ACCEPT + skipped
                           + skipped + excluded            + skipped            + excluded
                           + spoofed + malformed           │                    = handed out
                           │                               │
                           └ ACCEPT to B, by 5-tuple  =  ──┘ + dropped on the path

All books are cumulated from the moment an ENI's tables were opened, so a packet that was under way at a cut is missed
in one window and found in the next. What stays different is wrong since the first window that ended so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

import numpy as np

from emulator.capture import tuples
from emulator.capture.exclusion import excluded
from emulator.capture.leaving import Abroad, Leaving
from emulator.cloud.model import Address
from emulator.cloud.unrecorded import Unrecorded
from emulator.fabric import marks
from emulator.fabric.accounts import Flows, Harvest, counted
from emulator.fabric.meters import NONE, ZERO, Count, Meter

UNDER_WAY = 1000
"""Packets that may be under way while traffic goes on (net.core.netdev_max_backlog, Linux' default)."""

Window = tuple[int, int]
"""Start and end in lab time."""


@dataclass
class EniBooks:
    """What was counted of one ENI since ``opened``, its meters then and at the last cut.

    ``since`` is the first window at whose end the books differed and have differed ever since.
    """

    eni_id: str
    addresses: tuple[Address, ...]
    opened: tuple[Meter, Meter] = (ZERO, ZERO)
    last: tuple[Meter, Meter] = (ZERO, ZERO)
    accepted_out: Count = NONE
    rejected_out: Count = NONE
    accepted_in: Count = NONE
    rejected_in: Count = NONE
    excluded_out: Count = NONE
    excluded_in: Count = NONE
    forged: Count = NONE
    joined: Count = NONE  # fragments that became a datagram
    pieces_in: int = 0
    skipped: Count = NONE
    skipped_accept: Count = NONE
    skipped_reject: Count = NONE
    leaving: Leaving | None = None
    since: Window | None = None

    @property
    def meter(self) -> Meter:
        """What the meters counted since the tables were opened."""
        return self.last[1] - self.opened[1]

    @property
    def busy(self) -> bool:
        """Whether packets passed while the tables were cut, or opened."""
        return not _same_link(*self.last) or not _same_link(*self.opened)

    @property
    def skipped_in(self) -> Count:
        return self.skipped_accept + self.skipped_reject

    @property
    def counted_out(self) -> Count:
        recorded = self.accepted_out + self.rejected_out + self.excluded_out
        return recorded + self.skipped - self.skipped_in + self.spoofed + self.meter.malformed + self.incomplete

    @property
    def counted_in(self) -> Count:
        return self.accepted_in + self.excluded_in + self.skipped_accept

    @property
    def spoofed(self) -> Count:
        return self.meter.spoofed + self.forged

    @property
    def incomplete(self) -> Count:
        """Fragments that did not become a datagram."""
        return self.meter.fragments - self.joined - self.forged

    def enter(self, harvest: Harvest, unrecorded: Sequence[Unrecorded] = ()) -> None:
        """Add what a cut gave."""
        for flows in filter(len, (harvest.on_the_wire, harvest.on_the_wire6)):
            aside = excluded(flows, unrecorded)
            accept, reject = _verdicts(flows[aside])
            self.excluded_out += accept[0] + reject[0]
            self.excluded_in += accept[1]
            accept, reject = _verdicts(flows[~aside])
            self.accepted_out += accept[0]
            self.accepted_in += accept[1]
            self.rejected_out += reject[0]
            self.rejected_in += reject[1]
            joined = flows[(flows["mark"] & marks.FRAGMENTED) != 0]
            accept_joined, reject_joined = _verdicts(joined)
            self.joined += accept_joined[0] + reject_joined[0]
            self.pieces_in += accept_joined[1].packets
        if self.leaving is not None:
            self.leaving.enter(harvest.flows)
        self.forged += harvest.forged
        self.skipped += Count(harvest.skipped, harvest.skipped_bytes)
        self.skipped_accept += harvest.skipped_accept
        self.skipped_reject += harvest.skipped_reject
        self.last = harvest.before, harvest.after

    def judge(self, window: Window, dropped: int, malformed: int) -> None:
        """At a cut within or at the end of ``window``: what differs may still be under way."""
        found = self.differences(dropped, malformed)
        self.since = (self.since or window) if found else None

    def failures(self, dropped: int, malformed: int) -> list[tuple[Window | None, str]]:
        """What is wrong, with the first window in which it was."""
        return [(self.since, line) for line in self.differences(dropped, malformed)]

    def differences(self, dropped: int, malformed: int) -> list[str]:
        """What does not agree, one line each; the VPC lost ``dropped`` packets to a full connection table and
        ``malformed`` ones before any rule.

        Frames may be longer than their packets (Ethernet pads short ones), never shorter. Fragments of odd lengths may
        be handed over as fewer or more.
        """
        meter, found = self.meter, []
        slack = UNDER_WAY if self.busy else 0
        taken = meter.taken - meter.arp_in - meter.discovery
        gap = taken - self.counted_out
        most, least = meter.unheard + dropped + malformed, -meter.uncounted.packets
        wrong = not least - slack <= gap.packets <= most + slack
        if not slack and not least and gap.packets == 0:
            wrong |= gap.bytes < 0
        if wrong:
            found.append(
                f"out: its link took in {taken}; counted were {self.counted_out} (ACCEPT {self.accepted_out.packets}, "
                f"REJECT {self.rejected_out.packets}, skipped {(self.skipped - self.skipped_in).packets}, spoofed "
                f"{self.spoofed.packets}, malformed {meter.malformed.packets}, incomplete {self.incomplete.packets})"
            )
        handed = meter.handed - meter.arp_out
        gap = handed - self.counted_in
        odd = self.pieces_in + slack
        wrong = not -odd - meter.undelivered - dropped <= gap.packets <= odd
        if not meter.undelivered and not dropped:
            wrong |= abs(gap.bytes - 20 * gap.packets) > slack * 1500
        if wrong:
            found.append(
                f"in: its link handed over {handed}; counted were {self.counted_in} (ACCEPT {self.accepted_in.packets},"
                f" skipped {self.skipped_accept.packets})"
            )
        if self.leaving is not None:
            found += self.leaving.differences(meter, (self.skipped - self.skipped_in).packets, dropped, slack)
        return found


@dataclass
class VpcBooks:
    """The books of one VPC's ENIs, and those between them: what one sent to another against what that one got."""

    block: IPv4Network
    unrecorded: tuple[Unrecorded, ...] = ()
    services: tuple[IPv4Address, ...] = ()
    enis: dict[str, EniBooks] = field(default_factory=dict)
    gone: list[EniBooks] = field(default_factory=list)  # no longer counted
    dropped: int = 0
    malformed: int = 0  # since the first ENI was counted
    windows: set[Window] = field(default_factory=set)
    flows: int = 0
    _malformed: int | None = None  # before that
    _pieces: list[Flows] = field(default_factory=list)
    _addresses: set[Address] = field(default_factory=set)  # of ENIs counted since the last complete cut
    _partly: set[Address] = field(default_factory=set)  # and of those that were not counted for all of that time
    _moved: bool = False  # whether an ENI was plugged in or unplugged since then
    _nowhere: int = 0  # packets to nobody at the last complete cut
    _allowed: int = 0  # of packets to nobody, those that may have been meant for an ENI that came or went
    _differences: list[tuple[Window, np.void]] = field(default_factory=list)  # with their first window

    def __post_init__(self) -> None:
        self.abroad = Abroad(self.block)

    def open(
        self, enis: Iterable[tuple[str, tuple[Address, ...], Meter, Meter]], malformed: int, *, fresh: bool
    ) -> None:
        """These ENIs are counted from here on, with their meters before and after; ``fresh``: they were not plugged in
        before. ``malformed`` is what the VPC has lost so until now."""
        first = not self.enis
        if self._malformed is None:
            self._malformed = malformed
        if first:
            self._pieces, self._addresses, self._partly = [], set(), set()
        for eni_id, addresses, before, after in enis:
            both = before, after
            self.enis[eni_id] = EniBooks(eni_id, addresses, both, both, leaving=Leaving(self.block, self.services))
            self._addresses.update(addresses)
            if not first and not fresh:
                self._partly.update(addresses)
        self._moved |= fresh

    def readdress(self, eni_id: str, addresses: tuple[Address, ...]) -> None:
        """These are an ENI's addresses from here on; one that came was nobody's before."""
        books = self.enis[eni_id]
        if books.addresses != addresses:
            books.addresses, self._moved = addresses, True
            self._addresses.update(addresses)

    def forget(self, eni_id: str) -> None:
        """An ENI that was opened could not be plugged in."""
        self.enis.pop(eni_id, None)

    def cut(self, harvests: Mapping[str, tuple[Harvest, Window]], dropped: int, malformed: int) -> None:
        """Enter what one cut gave, by ENI with its window."""
        self.dropped, self.malformed = dropped, malformed - (self._malformed or 0)
        for eni_id, (harvest, window) in harvests.items():
            self.windows.add(window)
            self.flows += len(harvest.flows) + len(harvest.flows6)
            self._pieces += [harvest.flows, harvest.flows6]
            self.abroad.enter(harvest.flows)
            if eni_id in self.enis:
                self.enis[eni_id].enter(harvest, self.unrecorded)
        for eni_id, (_, window) in harvests.items():
            books = self.enis.get(eni_id)
            if books is not None:
                books.judge(window, dropped, self.malformed)
        if set(harvests) == set(self.enis) and self.enis:
            self._compare(max(window for _, window in harvests.values()))

    def close(self, eni_ids: Iterable[str], *, unplugged: bool) -> None:
        """These ENIs are no longer counted; their last harvest is entered."""
        for eni_id in eni_ids:
            books = self.enis.pop(eni_id, None)
            if books is not None:
                self.gone.append(books)
                if unplugged:
                    self._moved = True
                else:
                    self._partly.update(books.addresses)

    @property
    def all(self) -> list[EniBooks]:
        return [*self.gone, *self.enis.values()]

    @property
    def busy(self) -> bool:
        return any(books.busy for books in self.enis.values())

    @property
    def damaged(self) -> int:
        """Packets with a damaged header: what has run out of time on its way is known, and counted elsewhere."""
        expired = sum(books.meter.expired.packets for books in self.all)
        truncated = sum(books.meter.malformed.packets for books in self.all)
        return max(0, self.malformed - expired) + truncated

    def _compare(self, window: Window) -> None:
        """At a complete cut: what each ENI sent to another one against what that one got, by 5-tuple."""
        nowhere = sum(books.meter.nowhere.packets for books in self.all)
        if self._moved:
            self._allowed += nowhere - self._nowhere
        known, differences = self._addresses - self._partly, []
        for dtype in tuples.DTYPES:
            pieces = [tuples.between(flows, known) for flows in self._pieces if flows.dtype == dtype and len(flows)]
            ours, theirs = tuples.sent_and_got(pieces, dtype)
            carried = [flow for _, flow in self._differences if flow.dtype == dtype]
            if carried or tuples.checksum(ours) != tuples.checksum(theirs):
                before = {tuples.key(flow): since for since, flow in self._differences}
                found = tuples.difference(ours, theirs, np.array(carried, dtype))
                differences += [(before.get(tuples.key(flow), window), flow) for flow in found]
        self._differences = differences
        self._pieces, self._partly, self._moved, self._nowhere = [], set(), False, nowhere
        self._addresses = {address for books in self.enis.values() for address in books.addresses}

    def between(self) -> list[tuple[Window, str]]:
        """5-tuples that do not agree at their two ends, beyond what the path dropped."""
        lost = sum(int(flow["packets"]) for _, flow in self._differences if flow["packets"] > 0)
        found = sum(-int(flow["packets"]) for _, flow in self._differences if flow["packets"] < 0)
        expired = sum(books.meter.expired.packets for books in self.all)
        skipped_in = sum(books.skipped_in.packets for books in self.all)
        skipped = sum(books.skipped.packets for books in self.all)
        slack = UNDER_WAY if self.busy else 0
        options = sum(books.meter.options.packets for books in self.all)
        may_lose = self._allowed + expired + options + self.dropped + skipped_in + slack
        uneven = any(flow["packets"] == 0 for _, flow in self._differences)
        if lost <= may_lose and found <= skipped - skipped_in + slack and not uneven:
            return []
        owners = {address: books.eni_id for books in self.all for address in books.addresses}
        return [(since, tuples.told(flow, owners)) for since, flow in self._differences]


def _same_link(one: Meter, other: Meter) -> bool:
    return (one.taken, one.handed) == (other.taken, other.handed)


def _verdicts(flows: Flows) -> tuple[tuple[Count, Count], tuple[Count, Count]]:
    """((ACCEPT out, in), (REJECT out, in))."""
    if not len(flows):
        return (NONE, NONE), (NONE, NONE)
    kinds = ((flows["mark"] & marks.IN) // marks.IN) + 2 * ((flows["mark"] & marks.REJECT) // marks.REJECT)
    counts = []
    for kind in range(4):
        counts.append(counted(flows[kinds == kind]))
    return (counts[0], counts[1]), (counts[2], counts[3])
