"""Capture windows at work: closed in order, cut where a flow log or an ENI comes and goes, idle ones told once."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

W0 = 1_762_999_800
"""The start of the window that is open when a site is built."""
TENCENT_W, ALIBABA_W = 300, 600


def statuses(records: Iterable[Any]) -> Counter[tuple[str, int, str]]:
    """How many records there are by ENI, window's start and log-status."""
    return Counter((record.meta["eni_id"], record["start"], record["log-status"]) for record in records)


def ping(wire: Any, site: Any, port: int, *, src: Any = None, dst: Any = None) -> None:
    """One packet that only its destination port tells from others; its answer (port unreachable) is not wanted."""
    src, dst = src or site.a, dst or site.b
    wire.send(src, dst.ip, 17, wire.udp(9, port))


def ports(records: Iterable[Any], *, flow_log: Any = None) -> Counter[int]:
    """Packets by destination port of UDP records (of one flow log)."""
    found: Counter[int] = Counter()
    for record in records:
        if record["protocol"] == 17 and flow_log in (
            None,
            *([flow_log] if flow_log and record.meta["flow_log_id"] == flow_log.id else []),
        ):
            found[record["dstport"]] += record["packets"]
    return found


@pytest.mark.parametrize(("profile", "window_s"), [("tencent", TENCENT_W), ("alibaba", ALIBABA_W)])
def test_one_advance_over_many_windows_closes_each(
    build: Callable[..., Any], wire: Any, profile: str, window_s: int
) -> None:
    site = build(profile)
    site.log(site.vpc)
    ping(wire, site, 53)
    site.lab.clock.advance(seconds=10 * window_s + 300 - (site.lab.clock.now - W0))
    records = site.topic.search()

    ends = [record["end"] for record in records]
    assert ends == sorted(ends)
    assert [record["start"] + window_s == record["end"] == record.time for record in records] == [True] * len(records)
    idle = {(cvm.eni.id, W0 + n * window_s, "NODATA"): 1 for cvm in (site.a, site.b, site.c) for n in range(1, 10)}
    rest = {(site.c.eni.id, W0, "NODATA"): 1}
    seen = statuses(records)
    assert all(seen.pop((cvm.eni.id, W0, "OK")) >= 1 for cvm in (site.a, site.b))
    assert seen == {**idle, **rest}


def test_an_idle_lab_yields_one_nodata_for_each_eni_and_window_and_nothing_else(build: Callable[..., Any]) -> None:
    site = build()
    site.log(site.vpc)
    for step in (10, 80, 0, 300, 1200, 299, 1, 60):
        site.lab.clock.advance(seconds=step)

    records = site.topic.search()

    enis = {cvm.eni.id for cvm in (site.a, site.b, site.c)}
    now = site.lab.clock.now
    starts = [start for start in range(W0, int(now), TENCENT_W) if start + TENCENT_W + 300 <= now]
    assert statuses(records) == dict.fromkeys(itertools.product(enis, starts, ["NODATA"]), 1)
    empty = dict.fromkeys(("srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "action"))
    assert all({name: record[name] for name in empty} == empty for record in records)
    assert {record["interface-id"] for record in records} == enis


def test_records_come_in_the_order_of_their_enis(build: Callable[..., Any]) -> None:
    """The same in every run: not in the order of a set of names."""
    site = build()
    cvms = [site.a, site.b, site.c, *(site.web.run_instance() for _ in range(7))]
    site.log(site.vpc)
    cvms += [site.db.run_instance() for _ in range(5)]
    site.lab.clock.advance(minutes=15)

    enis = [record["interface-id"] for record in site.topic.search()]
    assert enis == [cvm.eni.id for cvm in cvms] * (len(enis) // len(cvms))


def test_a_year_in_one_advance(build: Callable[..., Any]) -> None:
    site = build()
    site.log(site.a.eni)

    site.lab.clock.advance(days=365)

    (found,) = site.topic.search('* | select count(*) as n, min("start") as first, max("end") as last')
    windows = (365 * 86_400 + 210 - 300) // TENCENT_W
    assert found == {"n": windows, "first": W0, "last": W0 + windows * TENCENT_W}


def test_two_flow_logs_over_one_eni_write_their_own_copies(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    other = site.lab.logs.create_topic("other", logset="test")
    (of_eni,) = site.log(site.a.eni)
    (of_subnet,) = site.log(site.web, topic=other)
    (of_vpc,) = site.log(site.vpc)
    ping(wire, site, 53)

    here, there = site.records(site.a.eni), site.records(site.a.eni, topic=other)

    for log, records in ((of_eni, here), (of_vpc, here), (of_subnet, there)):
        assert ports(records, flow_log=log) == {53: 1}
    assert {record.meta["flow_log_id"] for record in there} == {of_subnet.id}


@pytest.mark.parametrize("traffic", ["ALL", "ACCEPT", "REJECT"])
def test_the_filter_selects_records_and_comes_behind_nodata(build: Callable[..., Any], wire: Any, traffic: str) -> None:
    site = build()
    site.vpc.default_security_group.deny("egress", protocol="udp", port=53, priority=0)
    site.log(site.a.eni, site.b.eni, site.c.eni, traffic=traffic)
    ping(wire, site, 53)
    ping(wire, site, 123, dst=site.c)
    records = site.records()

    of_a = {
        record["dstport"]: record["action"]
        for record in records
        if record.meta["eni_id"] == site.a.eni.id and record.meta["direction"] == "out"
    }
    every = {53: "REJECT", 123: "ACCEPT"}
    assert of_a == {port: action for port, action in every.items() if traffic in ("ALL", action)}
    assert (site.b.eni.id, W0, "NODATA") in statuses(records)
    at_c = statuses(records)[site.c.eni.id, W0, "NODATA"]
    assert at_c == 0, "C saw a packet, though the filter may show none"


@pytest.mark.parametrize("between", [0, 7.5], ids=["at one instant", "with time between"])
def test_a_flow_log_starts_and_ends_exactly_where_it_does(build: Callable[..., Any], wire: Any, between: float) -> None:
    """Each step is told from the others by its port; a second flow log sees all of them."""
    site = build()
    (whole,) = site.log(site.vpc)
    log: Any = None
    steps: list[Callable[[], Any]] = [
        lambda: site.log(site.a.eni, name="cut")[0],
        lambda: log.disable(),
        lambda: log.enable(),
        lambda: log.modify(name="still cut"),
        lambda: log.delete(),
    ]
    ping(wire, site, 1000)
    for number, step in enumerate(steps, start=1001):
        log = step() or log
        site.lab.clock.advance(seconds=between)
        ping(wire, site, number)
        ping(wire, site, number)
    records = site.records(site.a.eni)

    assert ports(records, flow_log=whole) == {1000: 1, **dict.fromkeys(range(1001, 1006), 2)}
    assert ports(records, flow_log=log) == {1001: 2, 1003: 2, 1004: 2}
    keys = Counter((record.meta["flow_log_id"], wire.flow(record)) for record in records)
    assert set(keys.values()) == {1}, "pieces of a window are one record"


def test_a_flow_log_that_was_off_for_a_while_tells_nodata_only_when_nothing_passed(
    build: Callable[..., Any], wire: Any
) -> None:
    site = build()
    (log,) = site.log(site.vpc)
    ping(wire, site, 1)
    for _ in range(3):
        log.disable()
        log.enable()
    site.lab.clock.advance(seconds=5)
    records = site.records()

    assert ports([record for record in records if record.meta["eni_id"] == site.a.eni.id]) == {1: 1}
    assert {key: n for key, n in statuses(records).items() if key[2] == "NODATA"} == {(site.c.eni.id, W0, "NODATA"): 1}


def test_time_that_passes_within_a_window_takes_nothing_from_it(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    (log,) = site.log(site.a.eni)
    ping(wire, site, 1)
    site.log(site.vpc)
    for _ in range(5):
        site.lab.clock.advance(seconds=1)
    ping(wire, site, 2)

    assert ports(site.records(site.a.eni), flow_log=log) == {1: 1, 2: 1}


def test_enis_that_come_later_are_covered(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    of_web, of_vpc = site.log(site.web, site.vpc)
    d = site.web.run_instance("D")
    e = site.db.run_instance("E")
    extra = site.web.create_eni("extra")
    extra.attach(d)
    ping(wire, site, 5, src=d, dst=e)
    records = site.records()

    assert ports([record for record in records if record.meta["eni_id"] == d.eni.id], flow_log=of_web) == {5: 1}
    assert ports([record for record in records if record.meta["eni_id"] == e.eni.id], flow_log=of_vpc) == {5: 1}
    assert not [
        record for record in records if record.meta["eni_id"] == e.eni.id and record.meta["flow_log_id"] == of_web.id
    ]
    idle = [record.meta["flow_log_id"] for record in records if record.meta["eni_id"] == extra.id]
    assert sorted(idle) == sorted([of_web.id, of_vpc.id])


def test_a_late_eni_has_no_windows_before_it_came(build: Callable[..., Any]) -> None:
    site = build()
    site.log(site.vpc)
    site.lab.clock.advance(minutes=30)
    d = site.web.run_instance("D")
    born = site.lab.clock.now
    site.lab.clock.advance(minutes=30)

    starts = [record["start"] for record in site.topic.search() if record.meta["eni_id"] == d.eni.id]
    assert starts[0] <= born < starts[0] + TENCENT_W
    assert starts == list(range(starts[0], starts[0] + TENCENT_W * len(starts), TENCENT_W))


def test_what_an_eni_saw_is_published_though_it_is_unplugged_and_plugged_in_elsewhere(
    build: Callable[..., Any], wire: Any
) -> None:
    """One window: at A, detached, at C; the flows of one CVM stay apart from those of the other."""
    site = build("alibaba")
    extra = site.web.create_eni("extra", private_ip="10.16.0.50")
    (log,) = site.log(extra)
    for number, cvm in enumerate((site.a, site.c, site.a)):
        extra.attach(cvm)
        wire.send(cvm, site.b.ip, 17, wire.udp(9, 77), bind=extra.ip)
        wire.send(cvm, site.b.ip, 17, wire.udp(9, 100 + number), bind=extra.ip)
        extra.detach()
    wire.send(site.b, extra.ip, 17, wire.udp(9, 99))
    records = [record for record in site.records(extra) if record["protocol"] == 17]

    found = {(record["vm-id"], record["dstport"]): record["packets"] for record in records}
    assert found == {
        (site.a.id, 77): 2,
        (site.c.id, 77): 1,
        (site.a.id, 100): 1,
        (site.c.id, 101): 1,
        (site.a.id, 102): 1,
    }
    assert {record.meta["flow_log_id"] for record in records} == {log.id}


def test_an_eni_that_is_plugged_in_again_is_idle_once(build: Callable[..., Any]) -> None:
    site = build("alibaba")
    extra = site.web.create_eni("extra")
    site.log(extra)
    for _ in range(3):
        extra.attach(site.a)
        extra.detach()
    records = site.records()

    assert statuses(records) == {(extra.id, W0, "NODATA"): 1}


def test_what_a_terminated_cvm_saw_is_published(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    eni, cvm_id = site.a.eni, site.a.id
    ping(wire, site, 53)
    site.a.terminate()
    site.lab.clock.advance(minutes=20)
    records = [record for record in site.topic.search() if record.meta["eni_id"] == eni.id]

    assert ports(records) == {53: 1}
    assert {(record["start"], record["log-status"], record.meta["cvm_id"]) for record in records} == {
        (W0, "OK", cvm_id)
    }
    assert "allow egress all" in str(site.lab.explain(records[0]))


@pytest.mark.parametrize("interval_s", [60, 300, 600])
def test_alibabas_interval_is_the_window(build: Callable[..., Any], wire: Any, interval_s: int) -> None:
    site = build("alibaba")
    site.log(site.a.eni, interval_s=interval_s)
    ping(wire, site, 53)
    start = int(site.lab.clock.now) // interval_s * interval_s

    site.lab.clock.advance(seconds=start + interval_s + 300 - site.lab.clock.now - 1)
    assert site.topic.search() == []
    site.lab.clock.advance(seconds=1)
    assert {(record["start"], record["end"]) for record in site.topic.search()} == {(start, start + interval_s)}


def test_of_overlapping_intervals_the_smallest_holds_for_all(build: Callable[..., Any], wire: Any) -> None:
    site = build("alibaba")
    (slow,) = site.log(site.vpc, interval_s=600)
    (fast,) = site.log(site.a.eni, interval_s=60)
    ping(wire, site, 53)
    site.lab.clock.advance(minutes=6)
    at_a = [record for record in site.topic.search() if record.meta["eni_id"] == site.a.eni.id]

    for log in (slow, fast):
        (record,) = (record for record in at_a if record.meta["flow_log_id"] == log.id and record["dstport"] == 53)
        assert record["end"] - record["start"] == 60
    fast.delete()
    deleted = site.lab.clock.now
    ping(wire, site, 54)
    site.lab.clock.advance(minutes=20)
    records = site.topic.search()
    (record,) = (record for record in records if record.meta["eni_id"] == site.a.eni.id and record["dstport"] == 54)
    assert record["end"] - record["start"] == 600
    assert all(record["start"] < deleted for record in records if record.meta["flow_log_id"] == fast.id)
    assert ports(records, flow_log=slow)[53] == 2, "at A and at B"


def test_another_interval_in_mid_window_doubles_and_loses_nothing(build: Callable[..., Any], wire: Any) -> None:
    site = build("alibaba")
    (log,) = site.log(site.a.eni, interval_s=600)
    for number, interval_s in enumerate((60, 300, 600, 60, 600)):
        ping(wire, site, number + 1)
        log.modify(interval_s=interval_s)
        site.lab.clock.advance(seconds=17)
    ping(wire, site, 6)
    site.lab.clock.advance(minutes=30)

    records = [record for record in site.topic.search() if record.meta["direction"] == "out"]
    assert ports(records) == dict.fromkeys(range(1, 7), 1)


@pytest.mark.parametrize("log_all", [True, False], ids=["logged", "not logged"])
def test_a_deleted_topic_stops_neither_clock_nor_others(build: Callable[..., Any], wire: Any, log_all: bool) -> None:
    site = build()
    doomed = site.lab.logs.create_topic("doomed", logset="test")
    (log,) = site.log(site.a.eni, topic=doomed)
    if log_all:
        site.log(site.vpc)
    ping(wire, site, 53)
    site.lab.clock.advance(minutes=3)
    site.lab.logs.delete_topic(doomed)
    site.lab.clock.advance(minutes=30)

    assert log.enabled
    if log_all:
        assert ports(site.topic.search()) == {53: 2}


def test_a_running_clock_publishes_by_itself(build: Callable[..., Any], wire: Any) -> None:
    site = build(speed=3_000)
    site.log(site.a.eni)
    ping(wire, site, 53)
    bound = time.monotonic() + wire.BOUND_S
    while not ports(site.topic.search()):
        assert time.monotonic() < bound, f"nothing published at lab time {site.lab.clock.now}"
        threading.Event().wait(0.01)

    (record,) = (record for record in site.topic.search() if record["dstport"] == 53)
    assert site.lab.clock.now >= record["end"] + 300


def test_traffic_that_flows_during_fifty_advances_is_counted_once(build: Callable[..., Any], wire: Any) -> None:
    """Every packet carries its number as ports, so that a lost or doubled one shows; ten packets a flow."""
    site = build()
    site.log(site.a.eni, site.b.eni)
    site.vpc.default_security_group.deny("egress", protocol="icmp", priority=0)
    stop, sent = threading.Event(), [0]

    def send() -> None:
        with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
            while not stop.is_set():
                flow = sent[0] // 10
                packet = wire.packet(
                    site.a.ip,
                    site.b.ip,
                    136,
                    (flow >> 8).to_bytes(2, "big") + (flow & 0xFF).to_bytes(2, "big") + b"\0" * 4,
                )
                sender.sendto(packet, (site.b.ip, 0))
                sent[0] += 1

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(50):
            site.lab.clock.advance(seconds=61)
    finally:
        stop.set()
        sender.join()
    wire.drain()
    site.lab.clock.advance(minutes=15)
    records = [record for record in site.topic.search() if record["protocol"] == 136]

    assert {record["log-status"] for record in site.topic.search()} <= {"OK", "NODATA"}
    for eni in (site.a.eni, site.b.eni):
        packets: Counter[tuple[int, int]] = Counter()
        for record in records:
            if record.meta["eni_id"] == eni.id:
                packets[record["srcport"], record["dstport"]] += record["packets"]
        assert sum(packets.values()) == sent[0]
        assert packets == {(flow >> 8, flow & 0xFF): min(10, sent[0] - 10 * flow) for flow in range(-(-sent[0] // 10))}
    assert len({record["start"] for record in records}) >= 5


@contextmanager
def flood(site: Any, packet: bytes, address: str) -> Iterator[None]:
    """A sends this packet again and again."""
    stop = threading.Event()

    def send() -> None:
        with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
            while not stop.is_set():
                sender.sendto(packet, (address, 0))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def arrived(records: Iterable[Any]) -> int:
    return sum(record["packets"] for record in records if (record["protocol"], record.meta["direction"]) == (136, "in"))


@pytest.mark.parametrize("attempt", range(3))
def test_an_eni_is_counted_from_its_first_packet_on(build: Callable[..., Any], wire: Any, attempt: int) -> None:
    """A sends to an address that nobody has yet; the CVM that gets it is told by its own interface what arrived."""
    site, address = build(), "10.16.0.90"
    site.log(site.vpc)
    packet = wire.packet(site.a.ip, address, 136, b"\0\1\0\1" + b"\0" * 100)
    with flood(site, packet, address):
        d = site.web.run_instance("D", private_ip=address)
    wire.drain()
    line = next(line for line in d.run(["cat", "/proc/net/dev"]).stdout.splitlines() if "eth0" in line)
    size, frames = (int(word) for word in line.split()[1:3])

    arp, frame = 42, 14 + len(packet)
    assert arrived(site.records(d.eni)) == (size - arp * frames) // (frame - arp)


@pytest.mark.parametrize("attempt", range(3))
def test_an_eni_is_counted_to_its_last_packet(
    build: Callable[..., Any], wire: Any, tmp_path: Path, attempt: int
) -> None:
    """It is unplugged while A sends to it; a capture at its end has seen what arrived."""
    site, address = build(), "10.16.0.90"
    site.log(site.vpc)
    extra = site.web.create_eni(private_ip=address)
    extra.attach(site.b)
    with extra.capture(tmp_path / "extra.pcap") as capture:
        with flood(site, wire.packet(site.a.ip, address, 136, b"\0\1\0\1\0\0\0\0"), address):
            bound = time.monotonic() + wire.BOUND_S
            while capture.packets < 100:
                assert time.monotonic() < bound, "no packet arrived"
            extra.detach()
        wire.drain()

    packets, _ = wire.captured(tmp_path / "extra.pcap", extra)
    assert arrived(site.records(extra)) == packets["in", 136, site.a.ip, 1, address, 1] >= 100
