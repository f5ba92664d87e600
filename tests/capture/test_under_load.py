"""Traffic that flows while everything changes and while windows end: every packet in one record, none in two."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from emulator.capture.windows import window_end
from emulator.fabric.fabric import interface_name

pytestmark = pytest.mark.kernel

FLOWS = 40
UDP = 17


class Stream:
    """Datagrams of one CVM to another from many ports, one after the other, as fast as this process gets to it."""

    def __init__(self, sender: Any, receiver: Any) -> None:
        self.sent: Counter[int] = Counter()
        """Source port → datagrams that the kernel took."""
        self._to = (receiver.ip, 5000)
        self._mouths = [sender.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(FLOWS)]
        for mouth in self._mouths:
            mouth.bind((sender.ip, 0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        ports = [mouth.getsockname()[1] for mouth in self._mouths]
        while not self._stop.is_set():
            for mouth, port in zip(self._mouths, ports, strict=True):
                mouth.sendto(b"x" * (port % 100), self._to)
                self.sent[port] += 1

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for mouth in self._mouths:
            mouth.close()


@contextmanager
def received(cvm: Any) -> Iterator[Counter[int]]:
    """Source port → datagrams that arrived at port 5000 of a CVM, complete after the block."""
    counts: Counter[int] = Counter()
    with closing(cvm.socket(socket.AF_INET, socket.SOCK_DGRAM)) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        ear.bind((cvm.ip, 5000))
        ear.settimeout(0.05)
        done = threading.Event()

        def listen() -> None:
            while True:
                try:
                    _, (_, port) = ear.recvfrom(200)
                    counts[port] += 1
                except TimeoutError:
                    if done.is_set():
                        return

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield counts
        finally:
            done.set()
            thread.join()


def by_port(records: list[Any], eni: Any, *, action: str | None = None) -> Counter[int]:
    """Source port → packets in an ENI's records of the stream."""
    counts: Counter[int] = Counter()
    for record in records:
        if record["log-status"] == "OK" and record["protocol"] == UDP and record.meta["eni_id"] == eni.id:
            assert record["bytes"] == record["packets"] * (28 + record["srcport"] % 100)
            if action in (None, record["action"]):
                counts[record["srcport"]] += record["packets"]
    return counts


def skipped(records: list[Any], eni: Any) -> int:
    """Packets that an ENI's SKIPDATA tell of: of a new flow, for which the kernel has no counter just now because
    somebody else on the machine took them all, there is a sum and no record."""
    return sum(
        record.meta["skipped"]
        for record in records
        if record["log-status"] == "SKIPDATA" and record.meta["eni_id"] == eni.id
    )


def assert_all_recorded(site: Any, records: list[Any], stream: Stream) -> None:
    """Every datagram is in A's records or in its SKIPDATA but for those that the link itself lost: a processor's queue
    holds 1,000 packets of whosesoever, and what comes when it is full never reaches the ENI."""
    name = interface_name(site.a.eni.id)
    line = next(line for line in site.lab.net.get("demo").cmd("cat /proc/net/dev").splitlines() if name in line)
    lost = int(line.partition(":")[2].split()[3])
    found, came = by_port(records, site.a.eni), sum(stream.sent.values()) - lost
    assert came - skipped(records, site.a.eni) <= sum(found.values()) <= came, str(site.lab.audit())
    assert found <= stream.sent


def assert_equal(one: Counter[int], other: Counter[int], untold: int) -> None:
    """Two ENIs counted the same, but for what their SKIPDATA tell of."""
    apart = (one - other) + (other - one)
    assert sum(apart.values()) <= untold


def changes(site: Any) -> list[Callable[[], Any]]:
    """Changes of every kind around A's stream to B, each of which leaves things so that all can be made again."""
    own, more = site.vpc.create_security_group("own"), site.vpc.create_security_group("more")
    own.allow("ingress")
    own.allow("egress")
    more.allow("ingress", protocol="tcp", cidr=own)
    acl = site.vpc.create_network_acl("acl")
    for direction in ("ingress", "egress"):
        acl.allow(direction)
    site.a.eni.set_security_groups([own])
    site.b.eni.set_security_groups([own])
    spare, other = site.web.create_eni("spare"), site.lab.logs.create_topic("other")
    held: dict[str, Any] = {}

    def toggle(name: str, on: Callable[[], Any], off: Callable[[Any], Any]) -> Callable[[], None]:
        def change() -> None:
            if name in held:
                off(held.pop(name))
            else:
                held[name] = on() or True

        return change

    return [
        toggle("rule", lambda: own.deny("ingress", protocol="udp", port=5000, priority=0), own.remove),
        toggle("other rule", lambda: own.allow("ingress", protocol="tcp", port=80, priority=0), own.remove),
        toggle("way out", lambda: own.deny("egress", protocol="udp", priority=0), own.remove),
        toggle("acl", lambda: acl.associate(site.db), lambda _: acl.disassociate(site.db)),
        toggle("acl rule", lambda: acl.deny("ingress", protocol="udp", priority=1), acl.remove),
        toggle(
            "groups",
            lambda: site.b.eni.set_security_groups([more, own]),
            lambda _: site.b.eni.set_security_groups([own]),
        ),
        toggle("eni", lambda: spare.attach(site.c), lambda _: spare.detach()),
        toggle("cvm", lambda: site.web.run_instance("passing"), lambda cvm: cvm.terminate()),
        toggle("several", lambda: site.db.run_instances(2), lambda cvms: [cvm.terminate() for cvm in cvms]),
        toggle("log", lambda: site.vpc.create_flow_log("all", topic=other), lambda log: log.delete()),
        toggle("group", lambda: site.vpc.create_security_group("new"), lambda group: group.delete()),
    ]


@pytest.mark.parametrize(
    ("receiver", "count"), [pytest.param("b", 60, id="one subnet"), pytest.param("c", 200, id="two subnets")]
)
def test_two_hundred_changes_touch_no_counter(build: Callable[..., Any], wire: Any, receiver: str, count: int) -> None:
    site = build(quotas={"flow_logs": 20})
    site.log(site.a.eni, getattr(site, receiver).eni)
    to = getattr(site, receiver)
    ways = changes(site)
    if receiver == "c":
        to.eni.set_security_groups(site.a.eni.security_groups)
    pick = random.Random(receiver)
    with received(to) as arrived:
        with Stream(site.a, to) as stream:
            for _ in range(count):
                pick.choice(ways)()
        wire.drain()
    records = site.records()

    assert_all_recorded(site, records, stream)
    accepted = by_port(records, site.a.eni, action="ACCEPT")
    assert_equal(by_port(records, to.eni), accepted, skipped(records, to.eni) + skipped(records, site.a.eni))
    let_in = by_port(records, to.eni, action="ACCEPT")
    assert let_in >= arrived or skipped(records, to.eni), "its socket may have had no room for some"
    assert sum(stream.sent.values()) > sum(accepted.values()) > sum(let_in.values()) > 0, "each list said no at times"


@pytest.mark.parametrize(("profile", "count"), [("tencent", 200), ("alibaba", 60)])
def test_two_hundred_windows_end_under_load(build: Callable[..., Any], wire: Any, profile: str, count: int) -> None:
    """At any moment of the stream, and now one, now two at once."""
    site, dice = build(profile), random.Random(profile)
    site.log(site.a.eni, site.b.eni, **({"interval_s": 60} if profile == "alibaba" else {}))
    window_s = 60 if profile == "alibaba" else site.lab.profile.window_s
    begun = site.lab.clock.now
    with Stream(site.a, site.b) as stream:
        while site.lab.clock.now < begun + count * window_s:
            site.lab.clock.advance(seconds=dice.randrange(1, 2 * window_s))
    wire.drain()
    records = site.records()

    assert_all_recorded(site, records, stream)
    untold = skipped(records, site.a.eni) + skipped(records, site.b.eni)
    assert_equal(by_port(records, site.b.eni), by_port(records, site.a.eni), untold)
    windows = {record["start"] for record in records if record["log-status"] == "OK"}
    assert len(windows) > count / 2
    keys = [
        (record.meta["eni_id"], record.meta["direction"], record["srcport"], record["start"])
        for record in records
        if record["log-status"] == "OK" and record["protocol"] == UDP
    ]
    assert len(keys) == len(set(keys)), "no flow is in a window twice"
    assert window_end(site.lab.clock.now, 60) > max(windows)
