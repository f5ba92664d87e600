"""Fragments are recorded as they were on the wire, with the flow of their datagram, at both ends."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from starved import starve, without_spares

pytestmark = pytest.mark.kernel

UDP, ICMP, GRE = 17, 1, 47
MORE = 0x2000
"""The flag of every fragment but the last."""


@dataclass(frozen=True)
class Cut:
    """A datagram of ``size`` bytes behind the IP header, cut at ``at``; ``order`` of the pieces on the wire."""

    size: int
    at: Sequence[int]
    protocol: int = UDP
    order: Sequence[int] | None = None

    def payload(self, wire: Any, port: int) -> bytes:
        if self.protocol == UDP:
            return wire.udp(port, 9, b"x" * (self.size - 8))
        return wire.icmp(8, 0, port, b"x" * (self.size - 8)) if self.protocol == ICMP else b"\0" * self.size

    @property
    def on_the_wire(self) -> tuple[int, int]:
        count = len(self.order or range(len(self.at) + 1))
        return count, self.size + 20 * count


CUTS = {
    "as the kernel cuts": Cut(4008, [1480, 2960]),
    "the last piece first": Cut(4008, [1480, 2960], order=[2, 0, 1]),
    "the first piece last": Cut(4008, [1480, 2960], order=[1, 2, 0]),
    "small pieces": Cut(2008, range(200, 2000, 200)),
    "pieces that fit into one packet": Cut(108, [8, 16, 64]),
    "as long as can be": Cut(65_508, range(1480, 65_508, 1480)),
    "echo": Cut(3008, [1480, 2960], ICMP),
    "no ports": Cut(3000, [1480, 2960], GRE),
}


class Fragmenter:
    """Sends datagrams in pieces, each under a number of its own."""

    def __init__(self, wire: Any, sender: socket.socket, src: str) -> None:
        self._wire, self._sender, self._src, self._ids = wire, sender, src, itertools.count(1000)

    def pieces(self, dst: str, cut: Cut, port: int = 5000, ident: int | None = None, src: str = "") -> list[bytes]:
        payload, ident = cut.payload(self._wire, port), next(self._ids) if ident is None else ident
        made = []
        for low, high in itertools.pairwise([0, *cut.at, cut.size]):
            packet = bytearray(self._wire.packet(src or self._src, dst, cut.protocol, payload[low:high]))
            struct.pack_into(">HH", packet, 4, ident, (MORE if high < cut.size else 0) | low // 8)
            made.append(bytes(packet))
        return [made[place] for place in cut.order or range(len(made))]

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._sender.sendto(piece, (socket.inet_ntoa(piece[16:20]), 0))
        self._wire.drain()


@pytest.fixture
def fragmenter(wire: Any) -> Callable[[Any], Any]:
    @contextmanager
    def make(site: Any) -> Iterator[Fragmenter]:
        with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
            yield Fragmenter(wire, sender, site.a.ip)

    return make


def told(records: Sequence[Any], cvm: Any) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Direction, protocol, ports and action of an ENI's records → packets and bytes."""
    names = ("protocol", "srcport", "dstport", "action")
    return {
        (record.meta["direction"], *(record[name] for name in names)): (record["packets"], record["bytes"])
        for record in records
        if record.meta["eni_id"] == cvm.eni.id and record["log-status"] == "OK"
    }


def test_five_datagrams_of_4000_bytes_are_15_packets(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.bind((site.a.ip, 5000))
        for size in [4000] * 5 + [10] * 2:
            sender.sendto(b"x" * size, (site.b.ip, 9))
    wire.deafen(site.b)
    wire.drain()

    site.lab.audit().check()
    records = [record for record in site.records() if record["protocol"] == UDP]

    assert [(record["packets"], record["bytes"]) for record in records] == [(15 + 2, 20_340 + 76)] * 2


@pytest.mark.parametrize("kind", ["tencent", "alibaba", "tencent starved"])
def test_every_way_to_cut_a_datagram(build: Callable[..., Any], wire: Any, fragmenter: Any, kind: str) -> None:
    profile, *starved = kind.split()
    site = build(profile)
    site.log(site.vpc)
    if starved:
        starve(site.lab)
    wire.deafen(site.b)
    expected = {}
    with fragmenter(site) as sender:
        for port, cut in enumerate(CUTS.values(), 5000):
            sender.send(*sender.pieces(site.b.ip, cut, port))
            ports = {UDP: (port, 9), ICMP: (port, 8 << 8), GRE: (None, None)}[cut.protocol]
            if profile == "alibaba" and cut.protocol == ICMP:
                ports = (None, None)
            expected[cut.protocol, *ports, "ACCEPT"] = cut.on_the_wire
    audit = site.lab.audit().check()
    records = site.records()

    assert told(records, site.a) == {("out", *flow): counts for flow, counts in expected.items()}
    assert told(records, site.b) == {("in", *flow): counts for flow, counts in expected.items()}
    assert [eni.incomplete for eni in audit.enis] == [0, 0, 0]


@pytest.mark.parametrize("starved", [False, True], ids=["counters", "starved"])
@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_rejected_fragments(
    build: Callable[..., Any], wire: Any, fragmenter: Any, direction: str, starved: bool
) -> None:
    site = build()
    site.log(site.vpc)
    if starved:
        starve(site.lab)
    site.vpc.default_security_group.deny(direction, protocol="udp", port=9, priority=0)
    with fragmenter(site) as sender, wire.listening(site.b, UDP) as heard:
        sender.send(*sender.pieces(site.b.ip, CUTS["as the kernel cuts"]))
        assert heard() == []
    site.lab.audit().check()
    records = site.records()

    counts, at_source = CUTS["as the kernel cuts"].on_the_wire, "REJECT" if direction == "egress" else "ACCEPT"
    assert told(records, site.a) == {("out", UDP, 5000, 9, at_source): counts}
    arrived = {("in", UDP, 5000, 9, "REJECT"): counts}
    assert told(records, site.b) == ({} if direction == "egress" else arrived)


def test_what_does_not_become_whole_and_what_is_forged_is_in_the_books_alone(
    build: Callable[..., Any], wire: Any, fragmenter: Any
) -> None:
    site = build()
    site.log(site.vpc)
    wire.deafen(site.b)
    cut = CUTS["as the kernel cuts"]
    with fragmenter(site) as sender:
        sender.send(*sender.pieces(site.b.ip, cut)[:2])
        sender.send(*sender.pieces(site.b.ip, cut, src=site.c.ip))
        audit = site.lab.audit().check()
        (a,) = (eni for eni in audit.enis if eni.eni_id == site.a.eni.id)
        assert (a.taken, a.accepted_out, a.incomplete, a.spoofed) == (5, 0, 2, 3)
        sender.send(*sender.pieces(site.b.ip, cut, port=5001))
    records = site.records()

    assert told(records, site.a) == {("out", UDP, 5001, 9, "ACCEPT"): cut.on_the_wire}
    assert told(records, site.c) == {}


@pytest.mark.parametrize("starved", [False, True], ids=["counters", "starved"])
def test_a_datagram_across_the_end_of_a_window_is_recorded_where_it_became_whole(
    build: Callable[..., Any], wire: Any, fragmenter: Any, starved: bool
) -> None:
    site = build()
    site.log(site.vpc)
    if starved:
        starve(site.lab)
    wire.deafen(site.b)
    cut = CUTS["as the kernel cuts"]
    with fragmenter(site) as sender:
        first, *others = sender.pieces(site.b.ip, cut)
        sender.send(first)
        site.lab.clock.advance(minutes=5)
        assert told(site.records(), site.a) == {}
        sender.send(*others)
    site.lab.audit().check()
    records = site.records()

    assert told(records, site.a) == {("out", UDP, 5000, 9, "ACCEPT"): cut.on_the_wire}
    assert told(records, site.b) == {("in", UDP, 5000, 9, "ACCEPT"): cut.on_the_wire}


def test_enis_with_windows_of_several_lengths(build: Callable[..., Any], wire: Any, fragmenter: Any) -> None:
    """What one cut reads of another ENI's fragments waits for that one's own."""
    site = build("alibaba")
    site.a.eni.create_flow_log(topic=site.topic, interval_s=60)
    site.b.eni.create_flow_log(topic=site.topic, interval_s=600)
    wire.deafen(site.b)
    cut = CUTS["as the kernel cuts"]
    with fragmenter(site) as sender:
        for _ in range(3):
            sender.send(*sender.pieces(site.b.ip, cut))
            site.lab.clock.advance(minutes=1)
    site.lab.audit().check()
    records = site.records()

    counts = cut.on_the_wire
    assert [record["packets"] for record in records if record["direction"] == "out"] == [counts[0]] * 3
    assert told(records, site.b) == {("in", UDP, 5000, 9, "ACCEPT"): (3 * counts[0], 3 * counts[1])}


def test_one_number_for_datagrams_of_two_flows(build: Callable[..., Any], wire: Any, fragmenter: Any) -> None:
    """Which pieces were whose cannot be told; that they are as many can."""
    site = build()
    site.log(site.vpc)
    wire.deafen(site.b)
    cut = CUTS["as the kernel cuts"]
    with fragmenter(site) as sender:
        for port in (5000, 5001):
            sender.send(*sender.pieces(site.b.ip, cut, port, ident=77))
    site.lab.audit().check()
    records = site.records()

    for cvm in (site.a, site.b):
        assert list(told(records, cvm).values()) == [cut.on_the_wire] * 2


def test_a_flow_log_that_comes_between_two_datagrams(build: Callable[..., Any], wire: Any, fragmenter: Any) -> None:
    site = build()
    wire.deafen(site.b)
    cut = CUTS["as the kernel cuts"]
    with fragmenter(site) as sender:
        sender.send(*sender.pieces(site.b.ip, cut))
        (log,) = site.log(site.b.eni)
        sender.send(*sender.pieces(site.b.ip, cut))
        log.delete()
        sender.send(*sender.pieces(site.b.ip, cut))
        site.log(site.b.eni)
        sender.send(*sender.pieces(site.b.ip, cut))
    site.lab.audit().check()

    records = [record for record in site.records() if record["log-status"] == "OK"]
    assert [(record["packets"], record["bytes"]) for record in records] == [cut.on_the_wire] * 2


def test_more_datagrams_than_the_sets_hold_are_skipdata(build: Callable[..., Any], wire: Any, fragmenter: Any) -> None:
    """Of those beyond, the datagrams themselves are recorded; what was not is told as skipped, rather too much of it
    than too little."""
    site, count = build(), 33_500
    site.log(site.vpc)
    without_spares(site.lab)
    wire.deafen(site.b)
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
        first, second = map(bytearray, Fragmenter(wire, sender, site.a.ip).pieces(site.b.ip, Cut(20, [16])))
        sender.connect((site.b.ip, 0))
        for number in range(1, count + 1):
            for piece in (first, second):
                struct.pack_into(">H", piece, 4, number)
                sender.send(piece)
    wire.drain()
    audit = site.lab.audit().check()
    records = site.records()

    skipped = {
        record.meta["eni_id"]: record.meta["skipped"] for record in records if record["log-status"] == "SKIPDATA"
    }
    for cvm, direction in ((site.a, "out"), (site.b, "in")):
        packets, size = told(records, cvm)[direction, UDP, 5000, 9, "ACCEPT"]
        missing = 2 * count - packets
        assert 0 < missing <= skipped[cvm.eni.id]
        assert size == count * 40 + (packets - count) * 20
    (a,) = (eni for eni in audit.enis if eni.eni_id == site.a.eni.id)
    assert (a.taken, a.incomplete) == (2 * count, 2 * count - a.accepted_out)
