"""The flow tables of one VPC at work: opened for ENIs under a flow log, cut at window ends, closed.

A cut is one transaction that points every ENI named at its other generation, so all are cut at one instant. The
generation left behind is then at rest (a grace period passes before it is read: a packet on another processor may still
be in it), is dumped, decoded and flushed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from emulator.errors import KernelRefused
from emulator.fabric import elements, marks, meters, netlink, reserve, ruleset, spill, tables
from emulator.fabric.client import KeeperClient
from emulator.fabric.elements import Batch
from emulator.fabric.families import IPV4, IPV6, Family
from emulator.fabric.meters import NONE, Count, Meter
from emulator.fabric.pieces import Fragments
from emulator.fabric.shapes6 import FLOW6, shapes6
from emulator.fabric.tables import FLOW

Flows = np.ndarray[tuple[int], np.dtype[np.void]]

_MANY = 4096
"""Elements of one ENI that are rather left behind than flushed."""


@dataclass(frozen=True)
class Harvest:
    """What one ENI's tables held at a cut: ``flows`` as tables.FLOW, ``flows6`` as shapes6.FLOW6, ``skipped`` packets
    that found no room.

    ``pieces`` are entries for what was on the wire beyond the datagrams among ``flows``, ``forged`` those with a source
    that is not the ENI's; ``uncounted`` fragments found no room.
    ``skipped_accept`` and ``skipped_reject`` of them were on their way to the ENI.
    ``before`` and ``after`` are the ENI's meters on both sides of the cut (in ``before`` those of the link alone): what
    passed between them may belong to either side.
    """

    flows: Flows
    skipped: int
    skipped_bytes: int = 0
    skipped_accept: Count = NONE
    skipped_reject: Count = NONE
    before: Meter = meters.ZERO
    after: Meter = meters.ZERO
    pieces: Flows = field(default_factory=lambda: np.empty(0, tables.FLOW))
    forged: Count = NONE
    uncounted: int = 0
    flows6: Flows = field(default_factory=lambda: np.empty(0, FLOW6))
    pieces6: Flows = field(default_factory=lambda: np.empty(0, FLOW6))

    @property
    def on_the_wire(self) -> Flows:
        """Flows as packets on the wire: a datagram in fragments is as many packets."""
        return np.concatenate([self.flows, self.pieces]) if len(self.pieces) else self.flows

    @property
    def on_the_wire6(self) -> Flows:
        return np.concatenate([self.flows6, self.pieces6]) if len(self.pieces6) else self.flows6


class Accounts:
    """``open`` ENIs are named by their interface index in the VPC's namespace. Elsewhere
    (``in_vpc`` False) nothing is counted beside the tables: neither meters nor fragments."""

    def __init__(
        self,
        keeper: KeeperClient,
        ns: int,
        generations: dict[int, int] | None = None,
        *,
        tcp_flags: bool = False,
        ipv6: bool = False,
        in_vpc: bool = True,
    ) -> None:
        self._keeper, self._ns, self._tcp_flags, self._in_vpc = keeper, ns, tcp_flags, in_vpc
        self.shapes = (*tables.shapes(tcp_flags=tcp_flags), *(shapes6(tcp_flags=tcp_flags) if ipv6 else ()))
        self._families = (IPV4, IPV6) if ipv6 else (IPV4,)
        self._generation: dict[int, int] = dict(generations or {})
        self._skipped: dict[str, Count] = {}  # by counter, as last read
        self._parted: dict[int, tuple[Meter, Meter]] = {}  # links that are gone: before and after their route
        self._stopped: set[int] = set()  # no longer counted, but not yet read
        self._spills = False  # whether what finds no room in the tables is kept beside them
        self._fragments = Fragments(reassembled=in_vpc, ipv6=ipv6)
        self._uncounted: dict[int, int] = {}  # fragments that found no room, by ENI, as last read

    def add_ipv6(self) -> None:
        """Count IPv6, too, whose part of the ruleset is there, also for ENIs that are open. What failed may be tried
        again."""
        if self.ipv6:
            return
        more = shapes6(tcp_flags=self._tcp_flags)
        declared = (tables.emptied(index, IPV6) + tables.declare(index, more) for index in self._generation)
        beside = spill.declare(more) if self._spills else spill.chains((IPV6,))
        self._run([beside, self._fragments.declare_spares6(), *declared])
        counted = {index: one for index, one in self._generation.items() if index not in self._stopped}
        batch = _point(Batch(), counted, IPV6)
        self._fragments.add_ipv6(batch)
        if batch:
            self._send(batch, settle=False)
        self.shapes, self._families = (*self.shapes, *more), (IPV4, IPV6)

    @property
    def ipv6(self) -> bool:
        """Whether IPv6 is counted."""
        return IPV6 in self._families

    @property
    def generations(self) -> dict[int, int]:
        """Interface index → generation that is being filled; enough to go on after a restart."""
        return dict(self._generation)

    def open(self, indexes: Iterable[int]) -> None:
        """Start to count for these ENIs, all from the same instant."""
        fresh = [index for index in indexes if index not in self._generation]
        if not fresh:
            return
        reserve.keep(self._keeper)
        try:
            if self._spills:
                self._declare(fresh, spill.chains(self._families))
            else:
                self._declare(fresh, spill.declare(self.shapes) + self._fragments.declare_spares())
                self._fragments.spares_declared()
            self._spills = True
        except KernelRefused:
            if self._spills:
                raise
            self._declare(fresh, spill.chains(self._families))  # this kernel has no quotas
        batch, first = _point(Batch(), dict.fromkeys(fresh, 0), *self._families), not self._fragments.counting
        if first:
            self._fragments.turn(batch)
        self._fragments.admit(batch, fresh)
        self._send(batch, settle=False)
        if first:
            self._fragments.turned()
        self._generation.update(dict.fromkeys(fresh, 0))

    def cut(self, indexes: Iterable[int]) -> dict[int, Harvest]:
        """Point these ENIs at their other generation and read the one left behind."""
        cut = [index for index in indexes if index in self._generation]
        if not cut:
            return {}
        old = {index: self._generation[index] for index in cut}
        new = {index: 1 - generation for index, generation in old.items()}
        before, at_rest = self._cut(_point(_unpoint(Batch(), cut, *self._families), new, *self._families))
        self._generation.update(new)
        return self._read(old, before, at_rest)

    def close(self, indexes: Iterable[int]) -> dict[int, Harvest]:
        """Stop counting for these ENIs; what they held is returned."""
        gone = [index for index in indexes if index in self._generation]
        if not gone:
            return {}
        counted = [index for index in gone if index not in self._stopped]
        before: dict[int, Meter] = {}
        at_rest: list[int] = []
        if counted:
            batch = _unpoint(Batch(), counted, *self._families)
            before, at_rest = self._cut(batch, last=set(self._generation) == self._stopped.union(counted))
        self._stopped.update(counted)
        harvest = self._read({index: self._generation[index] for index in gone}, before, at_rest)
        with contextlib.suppress(KernelRefused):  # empty tables that stay cost little, what was read is worth more
            self._run(tables.remove(index, self.shapes) for index in gone)
        for index in gone:
            del self._generation[index]
            self._stopped.discard(index)
            for name in (*(tables.skip_counter(index, one) for one in (0, 1)), *tables.skip_counters_in(index)):
                self._skipped.pop(name, None)
            self._parted.pop(index, None)
        return harvest

    def measure(self) -> dict[int, Meter]:
        """The meters of all ENIs now, by interface index."""
        steps = [*meters.set_steps(self._ns, ipv6=self.ipv6), meters.link_step(self._ns)]
        return self._measured(netlink.send(self._keeper, steps, "read the meters"))

    def _measured(self, answers: Sequence[memoryview]) -> dict[int, Meter]:
        """Answers to the steps of :meth:`measure`: the links last, so that each packet in a set is in its link, too."""
        links, counts = meters.links(answers[-1]), meters.sets(answers[:-1], ipv6=self.ipv6)
        links |= {index: after for index, (_, after) in self._parted.items()}
        return {index: meters.joined(link, counts.get(index, {})) for index, link in links.items()}

    def malformed(self) -> int:
        """Packets with a damaged IP header since the VPC was built; the kernel does not say whose."""
        return meters.header_errors(self._keeper.statistics(self._ns))

    def link_meter(self, index: int) -> Meter:
        """One link's counters now; zero where there is no such link."""
        answers = self._keeper.netlink([meters.link_step(self._ns, index)])
        return meters.links(answers[0]).get(index, meters.ZERO)

    def part(self, index: int, before: Meter, after: Meter) -> None:
        """A link is about to be deleted: its last meters, before its route went and after."""
        if index in self._generation:
            self._parted[index] = (before, after)

    def read_all(self, index: int) -> list[Harvest]:
        """Both generations of one ENI, where nobody cuts any more; what was read is gone from the kernel."""
        return [self._read({index: generation}, None, pieces)[index] for generation, pieces in ((0, [0, 1]), (1, []))]

    def _cut(self, batch: Batch, *, last: bool = False) -> tuple[dict[int, Meter], list[int]]:
        """Run the transaction that cuts, ``last`` where nobody is counted behind it; the links' meters just before it,
        and the generation of fragments that is at rest now."""
        self._fragments.turn(batch, last=last)
        steps = [meters.link_step(self._ns), (self._ns, netlink.NETFILTER, batch.request())]
        answers = netlink.send(self._keeper, steps, "cut the flow tables", settle=True)
        at_rest = self._fragments.turned(last=last)
        before = meters.links(answers[0]) | {index: before for index, (before, _) in self._parted.items()}
        return before, [] if at_rest is None else [at_rest]

    def _declare(self, fresh: Sequence[int], beside: str) -> None:
        """The tables of these ENIs, all or none, with what is beside them for the VPC."""
        try:
            self._run([beside, *(tables.declare(index, self.shapes) for index in fresh)])
        except KernelRefused:
            for index in fresh:
                with contextlib.suppress(KernelRefused):
                    self._keeper.nft(self._ns, tables.remove(index, self.shapes))
            raise

    def _run(self, texts: Iterable[str]) -> None:
        for piece in ruleset.pieces(texts):
            self._keeper.nft(self._ns, piece)

    def _send(self, batch: Batch, *, settle: bool) -> None:
        step = (self._ns, netlink.NETFILTER, batch.request())
        netlink.send(self._keeper, [step], "cut the flow tables", settle=settle)

    def _read(
        self, generations: dict[int, int], before: dict[int, Meter] | None, of_fragments: Sequence[int]
    ) -> dict[int, Harvest]:
        """Dump and flush the named generations, which are at rest; the meters, too, where those before are given."""
        sets = [
            (index, shape, tables.set_name(index, generation, shape))
            for index, generation in generations.items()
            for shape in self.shapes
        ]
        steps = [(self._ns, netlink.NETFILTER, elements.dump_request(name)) for _, _, name in sets]
        steps += [
            (self._ns, netlink.NETFILTER, elements.counter_request(tables.skip_counter(index, generation)))
            for index, generation in generations.items()
        ]
        read = len(steps)
        if not self._in_vpc:
            before = None
        pieces = [name for generation in of_fragments for name in self._fragments.set_names(generation)]
        steps += [(self._ns, netlink.NETFILTER, elements.dump_request(name)) for name in pieces]
        measured = len(steps)
        if before is not None:
            steps += [*meters.set_steps(self._ns, ipv6=self.ipv6), meters.link_step(self._ns)]
        answers = netlink.send(self._keeper, steps, "read the flow tables")
        after = self._measured(answers[measured:]) if before is not None else {}
        width, in_pieces = len(self._fragments.set_names(0)), False
        for at in range(read, measured, width):
            in_pieces |= self._fragments.enter(answers[at : at + width], time.monotonic())
        parts: dict[int, list[Flows]] = {index: [] for index in generations}
        full: dict[int, list[str]] = {}
        brimful: set[tuple[int, tables.Shape]] = set()
        for (index, shape, name), answer in zip(sets, answers, strict=False):
            flows = tables.decode(shape, answer)
            if len(flows) >= tables.CAPACITY:
                brimful.add((index, shape))
            if not self._tcp_flags or (shape.aside and (index, shape) in brimful):
                flows["flags"] = tables.UNKNOWN_FLAGS
            if len(flows):
                parts[index].append(flows)
                full.setdefault(index, []).append(name)
        if before is not None and in_pieces:
            full[0] = pieces
        self._empty(full, {index: generations[index] for index in parts if sum(map(len, parts[index])) > _MANY})
        skipped = self._count_skipped(generations, answers[len(sets) : read])
        lossy = {index: generations[index] for index, count in skipped.items() if count.packets}
        on_their_way = self._skipped_in(lossy)
        for index, flows in self._take_spilt(lossy, brimful):
            if not self._tcp_flags:
                flows["flags"] = tables.UNKNOWN_FLAGS
            parts[index].append(flows)
            skipped[index] -= counted(flows)
            judged = flows["mark"] & (marks.IN | marks.REJECT)
            accepted, rejected = on_their_way[index]
            accepted -= counted(flows[judged == marks.IN])
            rejected -= counted(flows[judged == marks.IN | marks.REJECT])
            on_their_way[index] = accepted, rejected
        harvests = {}
        for index, found in parts.items():
            flows, flows6 = (_joined(found, dtype) for dtype in (FLOW, FLOW6))
            now = after.get(index, meters.ZERO)
            lost, lost_in = skipped[index], on_their_way.get(index, (NONE, NONE))
            earlier, (more, short) = (before or {}).get(index, now), self._fragments.take(index)
            own = (more["mark"] & marks.RULE) != 0
            uncounted = short + now.uncounted.packets - self._uncounted.get(index, 0)
            self._uncounted[index] = now.uncounted.packets
            harvests[index] = Harvest(
                flows,
                lost.packets,
                lost.bytes,
                *lost_in,
                earlier,
                now,
                more[own],
                counted(more[~own]),
                uncounted,
                flows6,
                self._fragments.beyond(flows6),
            )
        self._fragments.keep(self._generation)
        return harvests

    def _take_spilt(
        self, generations: Mapping[int, int], brimful: Container[tuple[int, tables.Shape]]
    ) -> Iterator[tuple[int, Flows]]:
        """What was kept of that which these ENIs' tables skipped, but for full tables; it is gone from the kernel."""
        if not generations:
            return
        sets = spill.sets(self.shapes)
        steps = [(self._ns, netlink.NETFILTER, elements.dump_request(name)) for name, _ in sets]
        try:
            answers = netlink.send(self._keeper, steps, "read what spilt")
            spilt = [spill.decode(shape, answer) for (_, shape), answer in zip(sets, answers, strict=True)]
        except KernelRefused:
            return  # there are no such sets, or one was changed meanwhile: what they have stays skipped
        batch = Batch()
        for (name, shape), found in zip(sets, spilt, strict=True):
            taken = np.zeros(len(found.keys), bool)
            for index, generation in generations.items():
                own = (found.index == index) & (found.generation == generation)
                taken |= own
                if own.any() and (index, shape) not in brimful:
                    yield index, found.flows[own]
            if taken.sum() > _MANY:
                batch.flush([name])
            elif taken.any():
                batch.delete(name, found.keys[taken].tolist())
        if batch:
            self._send(batch, settle=False)

    def _empty(self, full: dict[int, list[str]], large: dict[int, int]) -> None:
        """Flush the named sets of each ENI, or renew the generation where they are large."""
        if large:
            self._run(tables.renew(*one, self.shapes) for one in large.items())
        small = [name for index, names in full.items() if index not in large for name in names]
        if small:
            self._send(Batch().flush(small), settle=False)

    def _count_skipped(self, generations: dict[int, int], answers: Sequence[memoryview]) -> dict[int, Count]:
        names = (tables.skip_counter(index, generation) for index, generation in generations.items())
        return dict(zip(generations, self._since_last_time(names, answers), strict=True))

    def _skipped_in(self, indexes: Iterable[int]) -> dict[int, tuple[Count, Count]]:
        """Of what these ENIs' tables skipped: (accepted, rejected) on its way in."""
        asked = list(indexes)
        names = [name for index in asked for name in tables.skip_counters_in(index)]
        steps = [(self._ns, netlink.NETFILTER, elements.counter_request(name)) for name in names]
        answers = netlink.send(self._keeper, steps, "read what was skipped") if steps else []
        counts = list(self._since_last_time(names, answers))
        return dict(zip(asked, zip(counts[::2], counts[1::2], strict=True), strict=True))

    def _since_last_time(self, names: Iterable[str], answers: Iterable[memoryview]) -> Iterator[Count]:
        for name, answer in zip(names, answers, strict=True):
            total = Count(*elements.decode_counter(answer))
            yield total - self._skipped.get(name, NONE)
            self._skipped[name] = total


def counted(flows: Flows) -> Count:
    """Packets and bytes of all of them."""
    return Count(int(flows["packets"].sum()), int(flows["bytes"].sum()))


def _point(batch: Batch, generations: Mapping[int, int], *families: Family) -> Batch:
    """Let packets of these ENIs be counted in these generations."""
    for family in families:
        chains = {index: tables.chain_name(index, generation, family) for index, generation in generations.items()}
        for side in ("out", "in"):
            batch.jump(f"acct{family.suffix}_{side}", chains)
    return batch


def _unpoint(batch: Batch, indexes: Sequence[int], *families: Family) -> Batch:
    for family in families:
        for side in ("out", "in"):
            batch.delete_jumps(f"acct{family.suffix}_{side}", indexes)
    return batch


def _joined(found: Iterable[Flows], dtype: np.dtype[np.void]) -> Flows:
    """All flows of that dtype."""
    parts = [flows for flows in found if flows.dtype == dtype]
    return np.concatenate(parts) if parts else np.empty(0, dtype)
