"""The collector: which ENIs are counted, when their windows end, and what records that makes.

::

    flow logs ── cover ──► ENIs ── open, cut, close ──► kernel flow tables (fabric/accounts.py)
                                        │ a harvest for each cut
                            ledger of (ENI, window): parts, each with the flow logs that it counts for
                                        │ at the window's end
                            records, NODATA, SKIPDATA ──► spool ──► topic, after the publish delay

A flow log that comes, goes or is switched within a window cuts the tables at that moment, and only the parts on its
side count for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from emulator.capture import recovery, schema, windows
from emulator.capture.books import VpcBooks
from emulator.capture.exclusion import for_records
from emulator.capture.faults import Append, Faults
from emulator.capture.filing import Filing
from emulator.capture.joints import Joints
from emulator.capture.ledger import Ledger, Part, by_window, covering, window_records
from emulator.capture.paths import paths_of, unknown
from emulator.capture.spool import Spool
from emulator.cloud.account import Cloud
from emulator.cloud.model import Eni, FlowLog
from emulator.fabric.fabric import Fabric
from emulator.fabric.meters import ZERO
from emulator.fabric.vpc import VpcFabric


@dataclass
class Watch:
    """An ENI that is being counted now, at interface ``index`` of its VPC."""

    index: int
    fabric: VpcFabric
    window_s: int
    ledger: Ledger


class Collector:
    """Follows cloud and clock. All times are lab time in unix seconds."""

    def __init__(self, cloud: Cloud, fabric: Fabric, spool: Spool, tag: str, folder: Path | None = None) -> None:
        self._cloud, self._fabric, self._spool, self._tag, self._folder = cloud, fabric, spool, tag, folder
        self._watches: dict[str, Watch] = {}
        self._left: list[Ledger] = []  # windows of ENIs that are no longer counted, or counted with another length
        self._flow_logs: dict[str, FlowLog] = {}
        self._drops: dict[str, int] = {}  # by VPC, as last read
        self._lost: dict[str, int] = {}  # by ENI, not yet in a part
        self.faults = Faults(spool)
        self._filing = Filing(spool, tag, cloud.profile.delay_s, self.faults.ordered)
        self._joints = Joints(cloud, fabric.beyond, self._filing, tag)
        self.books: dict[str, VpcBooks] = {}
        """By VPC, of every one where an ENI was ever counted."""
        self._behind_s: float | None = None  # when following failed, until it has been made up for

    # what is counted -----------------------------------------------------------------------------------

    def follow(self, now_s: float, touched: Iterable[str] | None = None) -> None:
        """Bring the kernel in line with the cloud's flow logs and ENIs, from this moment on.

        ``touched`` are the ids of the ENIs that a change can have touched; None means all of them.
        """
        if self._behind_s is not None:
            touched = None
        self._behind_s = now_s
        self._follow(now_s, None if touched is None else set(touched))
        self._joints.follow(now_s)
        self._behind_s = None

    def _follow(self, now_s: float, looked_at: set[str] | None) -> None:
        wanted: dict[str, tuple[frozenset[str], int]] = {}
        if self._cloud.flow_logs:
            for eni_id in self._attached():  # in the order plugged in, which is that of their records
                if looked_at is not None and eni_id not in looked_at:
                    continue
                covering_it = self._cloud.flow_logs_covering(eni_id)
                if covering_it:
                    self._flow_logs.update({log.id: log for log in covering_it})
                    wanted[eni_id] = (frozenset(log.id for log in covering_it), self._cloud.window_of(eni_id))
        gone = [
            eni_id
            for eni_id, watch in self._watches.items()
            if (looked_at is None or eni_id in looked_at) and not self._holds(eni_id, watch, wanted)
        ]
        changed = [
            eni_id
            for eni_id, (logs, window_s) in wanted.items()
            if eni_id in self._watches
            and eni_id not in gone
            and (self._watches[eni_id].ledger.flow_logs, self._watches[eni_id].window_s) != (logs, window_s)
        ]
        self._close_strays()
        self._take(changed, close=False)
        self._take(gone, close=True)
        for eni_id in gone:
            watch = self._watches.pop(eni_id)
            place = watch.fabric.attached.get(eni_id)
            unplugged = place is None or place.index != watch.index
            self._books(watch.fabric).close([eni_id], unplugged=unplugged)
            self._left.append(watch.ledger)
        for eni_id in wanted.keys() & self._watches.keys():
            self._books(self._watches[eni_id].fabric).readdress(eni_id, self._cloud.enis[eni_id].addresses)
        for eni_id in changed:
            watch = self._watches[eni_id]
            logs, window_s = wanted[eni_id]
            if watch.window_s == window_s:
                watch.ledger.flow_logs = logs
            else:
                self._left.append(watch.ledger)
                watch.window_s, watch.ledger = window_s, self._ledger(eni_id, now_s, window_s, logs)
        fresh = [eni_id for eni_id in wanted if eni_id not in self._watches]
        for fabric, enis in self._by_fabric(fresh).items():
            places = {eni_id: fabric.attached[eni_id].index for eni_id in enis}
            self._note_drops(fabric)
            there = bool(fabric.plugged.intersection(places.values()))
            before = fabric.accounts.measure() if there else {}
            fabric.accounts.open(places.values())
            after = fabric.accounts.measure() if there else {}
            begun = [
                (eni_id, self._cloud.enis[eni_id].addresses, before.get(index, ZERO), after.get(index, ZERO))
                for eni_id, index in places.items()
            ]
            self._books(fabric).open(begun, fabric.accounts.malformed(), fresh=not there)
            for eni_id, index in places.items():
                logs, window_s = wanted[eni_id]
                ledger = self._ledger(eni_id, now_s, window_s, logs)
                self._watches[eni_id] = Watch(index, fabric, window_s, ledger)
        if gone or changed or fresh:
            self._note()

    def forget(self, eni_id: str) -> None:
        """An ENI that was followed could not be plugged in: no packet passed, there is nothing to tell."""
        watch = self._watches.pop(eni_id, None)
        if watch is not None:
            watch.fabric.accounts.close([watch.index])
            self._books(watch.fabric).forget(eni_id)
            self._note()

    def _attached(self) -> Iterable[str]:
        for fabric in self._fabric.vpcs.values():
            yield from fabric.attached

    def _holds(self, eni_id: str, watch: Watch, wanted: Mapping[str, object]) -> bool:
        """Whether the ENI is still to be counted, at the very place where it was plugged in."""
        place = watch.fabric.attached.get(eni_id)
        return eni_id in wanted and place is not None and place.index == watch.index

    def _by_fabric(self, eni_ids: Iterable[str]) -> dict[VpcFabric, list[str]]:
        groups: dict[VpcFabric, list[str]] = defaultdict(list)
        for eni_id in eni_ids:
            watch = self._watches.get(eni_id)
            groups[watch.fabric if watch else self._fabric.vpcs[self._cloud.enis[eni_id].vpc_id]].append(eni_id)
        return groups

    def _take(self, eni_ids: Iterable[str], *, close: bool) -> None:
        """Read what these ENIs' tables hold into their ledgers; one cut for each VPC."""
        for fabric, enis in self._by_fabric(eni_ids).items():
            indexes = [self._watches[eni_id].index for eni_id in enis]
            self._note_drops(fabric)
            malformed = fabric.accounts.malformed()  # before the tables: what was read must not be lost to a failure
            harvests = fabric.accounts.close(indexes) if close else fabric.accounts.cut(indexes)
            ledgers = {eni_id: self._watches[eni_id].ledger for eni_id in enis}
            entries = {
                eni_id: (harvests[self._watches[eni_id].index], (ledger.start, ledger.end))
                for eni_id, ledger in ledgers.items()
            }
            self._books(fabric).cut(entries, self._drops.get(fabric.vpc.id, 0), malformed)
            for eni_id in enis:
                watch = self._watches[eni_id]
                harvest = harvests[watch.index]
                harvest = for_records(harvest, self._cloud.profile.unrecorded, self._lost.pop(eni_id, 0))
                watch.ledger.parts.append(Part(harvest, watch.ledger.flow_logs))

    def _books(self, fabric: VpcFabric) -> VpcBooks:
        if fabric.vpc.id not in self.books:
            profile = self._cloud.profile
            self.books[fabric.vpc.id] = VpcBooks(fabric.vpc.cidr, profile.unrecorded, profile.services.addresses)
        return self.books[fabric.vpc.id]

    @property
    def dropped_between(self) -> int:
        """Packets that peerings and CCNs dropped."""
        return self._fabric.beyond.dropped()

    def read_now(self) -> None:
        """Read what the tables of all ENIs hold now into the open windows."""
        if self._behind_s is not None:
            self.follow(self._behind_s)
        self._joints.read_now()
        if self._watches:
            self._take(list(self._watches), close=False)
            self._note()

    def _close_strays(self) -> None:
        """Tables that were opened for a change which was then taken back count for nobody."""
        watched = {(watch.fabric, watch.index) for watch in self._watches.values()}
        for fabric in self._fabric.vpcs.values():
            fabric.accounts.close([index for index in fabric.accounts.generations if (fabric, index) not in watched])

    def _note_drops(self, fabric: VpcFabric) -> None:
        """Packets that a full connection table cost the VPC: the kernel does not say whose, so each ENI's window is
        told."""
        total = fabric.conntrack_drops()
        dropped = total - self._drops.get(fabric.vpc.id, 0)
        self._drops[fabric.vpc.id] = total
        if dropped:
            for eni_id, watch in self._watches.items():
                if watch.fabric is fabric:
                    self._lost[eni_id] = self._lost.get(eni_id, 0) + dropped

    def _ledger(self, eni_id: str, now_s: float, window_s: int, flow_logs: frozenset[str]) -> Ledger:
        start = windows.window_start(now_s, window_s)
        return Ledger(eni_id, start, start + window_s, self._constants(self._cloud.enis[eni_id]), flow_logs)

    def _constants(self, eni: Eni) -> dict[str, Any]:
        return {
            "lab": self._tag,
            "account_id": self._cloud.profile.account_id,
            "region": self._cloud.vpcs[eni.vpc_id].region,
            "vpc_id": eni.vpc_id,
            "subnet_id": eni.subnet_id,
            "cvm_id": eni.cvm_id,
            "eni_id": eni.id,
        }

    # the end of windows --------------------------------------------------------------------------------

    def next_event(self) -> int | None:
        """The next moment at which something happens by itself: a window's end or a publication."""
        moments = [*(ledger.end for ledger in self._open_ledgers()), *self._joints.ends()]
        due = self._spool.next_due()
        return min([*moments, due] if due is not None else moments, default=None)

    def _open_ledgers(self) -> Iterable[Ledger]:
        yield from self._left
        for watch in self._watches.values():
            yield watch.ledger

    def close_windows(self, until_s: float) -> None:
        """Close every window that ends by ``until_s``, in order, and spool its records.

        All packets so far belong to the windows that are open now. Of further windows that pass within the same step
        none saw a packet, so their NODATA rows are made at once, without touching the kernel.
        """
        if self._behind_s is not None:
            self.follow(self._behind_s)
        ends = sorted({ledger.end for ledger in self._open_ledgers() if ledger.end <= until_s})
        for end in ends:
            ending = [eni_id for eni_id, watch in self._watches.items() if watch.ledger.end == end]
            self._take(ending, close=False)
            ledgers = [ledger for ledger in self._left if ledger.end == end]
            ledgers += [self._watches[eni_id].ledger for eni_id in ending]
            self._write(end, ledgers)
            self._left = [ledger for ledger in self._left if ledger.end != end]
            for eni_id in ending:
                watch = self._watches[eni_id]
                watch.ledger = self._ledger(eni_id, end, watch.window_s, watch.ledger.flow_logs)
        self._pass_quietly(until_s)
        self._joints.close_windows(until_s)
        if ends:
            self._note()

    def _pass_quietly(self, until_s: float) -> None:
        """NODATA for the windows behind the first that an advance closed.

        What is due at once is one entry for each topic, for a year of five-minute windows is 105,120 rows an ENI; but
        each publish that a fault is ordered for is an entry of its own.
        """
        rows: dict[str, list[pa.Table]] = defaultdict(list)
        for eni_id, watch in self._watches.items():
            ends = windows.ends_between(watch.ledger.start, until_s, watch.window_s)
            if not ends:
                continue
            told = self.faults.statuses(eni_id, len(ends))
            for log_id in sorted(watch.ledger.flow_logs):
                constants = {**watch.ledger.constants, "flow_log_id": log_id}
                idle = schema.idle(ends, watch.window_s, constants, told)
                rows[self._flow_logs[log_id].topic_id].append(idle)
            watch.ledger = self._ledger(eni_id, ends[-1], watch.window_s, watch.ledger.flow_logs)
        for topic_id, found in rows.items():
            self._filing.put_idle(until_s, topic_id, self._cloud.profile.record_form, pa.concat_tables(found))

    def _write(self, end: int, ledgers: list[Ledger]) -> None:
        tables: dict[str, list[pa.Table]] = defaultdict(list)
        form = self._cloud.profile.record_form
        for window in map(self.faults.seen, by_window(ledgers)):
            eni = self._cloud.enis.get(window[0].eni_id)
            paths = unknown if eni is None else paths_of(self._cloud, eni)
            for log_id in covering(window):
                log = self._flow_logs[log_id]
                tables[log.topic_id] += window_records(window, log_id, log.traffic, form, paths)
        for topic_id, found in tables.items():
            if found:
                self._filing.put(end, topic_id, form, pa.concat_tables(found))

    def close(self) -> None:
        """Forget what is open: a lab that is closed in good order ends its windows unfinished."""
        if self._folder is not None:
            recovery.forget(self._folder)
            if self._fabric.keeper.alive:
                self._fabric.keeper.linger(self._tag, self._folder, 0)

    def _note(self) -> None:
        """Leave on disk what a next lab must know to bring in the windows that are open now."""
        if self._folder is not None:
            open_now: list[tuple[Ledger, int | None, int | None, bool]] = [
                (ledger, None, None, False) for ledger in self._left
            ]
            open_now += [
                (watch.ledger, watch.fabric.ns, watch.index, watch.fabric.accounts.ipv6)
                for watch in self._watches.values()
            ]
            flags = self._cloud.profile.tcp_flags
            recovery.save(self._folder, self._tag, open_now, self._flow_logs.values(), tcp_flags=flags)

    # publication -----------------------------------------------------------------------------------------

    def publish(self, now_s: float, append: Append) -> None:
        """Hand over what has fallen due."""
        self.faults.publish(now_s, append)
