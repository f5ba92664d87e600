"""The fabric: VPCs that never meet, CVMs and ENIs that come and go while others talk, the first packet and silence."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dpkt
import pytest

from emulator.errors import GuestError, KernelRefused, LabError, RequestRefused
from emulator.fabric import netlink

if TYPE_CHECKING:
    from emulator.resources import Cvm, Eni

pytestmark = pytest.mark.kernel


def frames(path: Path) -> list[bytes]:
    with path.open("rb") as stream:
        return [frame for _, frame in dpkt.pcap.Reader(stream)]


@contextlib.contextmanager
def captures(folder: Path, *enis: Eni) -> Iterator[list[Path]]:
    """Captures at several ENIs at once."""
    paths = [folder / f"{number}-{eni.id}.pcap" for number, eni in enumerate(enis)]
    with contextlib.ExitStack() as stack:
        for eni, path in zip(enis, paths, strict=True):
            stack.enter_context(eni.capture(path))
        yield paths


# VPCs that never meet -------------------------------------------------------------------------------------


def test_overlapping_vpcs_never_meet(open_lab: Callable[..., Any], tmp_path: Path) -> None:
    lab = open_lab()
    twins = []
    for name in ("left", "right"):
        subnet = lab.create_vpc("10.16.0.0/16", name=name).create_subnet("10.16.0.0/24")
        hosts = [subnet.run_instance(host, private_ip=ip) for host, ip in (("A", "10.16.0.22"), ("B", "10.16.0.40"))]
        twins.append(hosts)
    (a1, b1), (a2, b2) = twins
    with captures(tmp_path, a1.eni, b1.eni, a2.eni, b2.eni) as paths:
        assert a1.ping(b1, count=3).received == 3
        with a1.socket(type=socket.SOCK_DGRAM) as here, b2.socket(type=socket.SOCK_DGRAM) as there:
            there.bind((b2.ip, 7000))
            here.sendto(b"to the other B?", (b1.ip, 7000))
            assert a2.ping(b2, count=1).received == 1
            with pytest.raises(BlockingIOError):
                there.recv(100, socket.MSG_DONTWAIT)
    count = [sum(dpkt.ethernet.Ethernet(frame).type == 0x0800 for frame in frames(path)) for path in paths]
    assert count == [6 + 2, 6 + 2, 2, 2]  # three echoes, a datagram and its port unreachable; one echo
    assert b"to the other B?" not in b"".join(path.read_bytes() for path in paths[2:])
    assert len({a1.eni.id, a2.eni.id, b1.eni.id, b2.eni.id}) == 4


def test_a_vpc_does_not_reach_another_of_the_same_lab(open_lab: Callable[..., Any]) -> None:
    lab = open_lab()
    a = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24").run_instance("A")
    b = lab.create_vpc("10.17.0.0/16").create_subnet("10.17.0.0/24").run_instance("B")
    assert a.ping(b, wait_s=0.2).received == 0
    assert b.ping(a, wait_s=0.2).received == 0


# several CVMs at once -------------------------------------------------------------------------------------


def test_several_cvms_are_started_at_once(pair: Any) -> None:
    group = pair.vpc.create_security_group("open")
    group.allow("ingress")
    group.allow("egress")
    cvms = pair.subnet.run_instances([f"N{number}" for number in range(37)], security_groups=[group])
    assert [cvm.name for cvm in cvms] == [f"N{number}" for number in range(37)]
    assert all(pair.a.ping(cvm).received == 1 for cvm in cvms)
    assert cvms[0].ping(cvms[36]).received == 1
    unnamed = pair.subnet.run_instances(2)
    assert [cvm.name for cvm in unnamed] == [cvm.id for cvm in unnamed]
    assert pair.subnet.run_instances([]) == []


@pytest.mark.parametrize(
    ("part", "each"), [("new_veth", 1), ("add_address", 1), ("add_neighbour", 1), ("add_route", 2)]
)
def test_of_several_cvms_all_are_started_or_none(
    pair: Any, monkeypatch: pytest.MonkeyPatch, part: str, each: int
) -> None:
    """The kernel refuses a part of the last one's, when all that comes before stands."""
    real, calls = getattr(netlink, part), []

    def spoilt(*args: Any, **more: Any) -> bytes:
        calls.append(args)
        request = bytearray(real(*args, **more))
        if len(calls) == 40 * each:
            request[4:6] = b"\xff\x00"  # no such request
        return bytes(request)

    before = (set(pair.lab.net), dict(pair.lab.fabric.keeper.spaces()))
    monkeypatch.setattr(netlink, part, spoilt)
    with pytest.raises(KernelRefused, match=r"attach .*N39"):
        pair.subnet.run_instances([f"N{number}" for number in range(40)])
    assert (set(pair.lab.net), dict(pair.lab.fabric.keeper.spaces())) == before
    monkeypatch.undo()
    cvms = pair.subnet.run_instances([f"N{number}" for number in range(40)])
    assert pair.a.ping(cvms[39]).received == 1


# several ENIs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["own subnet", "another subnet"])
def test_a_second_eni_is_reached_from_both_subnets(pair: Any, place: str, tmp_path: Path) -> None:
    other = pair.vpc.create_subnet("10.16.1.0/24", name="other")
    c = other.run_instance("C")
    second = (pair.subnet if place == "own subnet" else other).create_eni("second")
    second.attach(pair.b)
    with captures(tmp_path, pair.b.eni, second) as (first_path, second_path):
        for source in (pair.a, c):
            assert source.ping(second, count=2).received == 2
        answered = source.run(["ping", "-n", "-c1", second.ip]).stdout
    assert "ttl=64" in answered
    assert f"from {second.ip}" in answered
    icmp = [
        [frame for frame in frames(path) if dpkt.ethernet.Ethernet(frame).type == 0x0800]
        for path in (first_path, second_path)
    ]
    assert len(icmp[0]) == 0  # neither the requests nor the replies took the other way
    assert len(icmp[1]) == 10
    assert pair.a.ping(pair.b, count=2).received == 2
    assert c.ping(pair.b, count=2).received == 2


def test_a_socket_bound_to_a_second_eni_leaves_through_it(pair: Any, tmp_path: Path) -> None:
    second = pair.vpc.create_subnet("10.16.1.0/24").create_eni()
    second.attach(pair.b)
    with pair.a.socket() as ear, pair.b.socket() as mouth, captures(tmp_path, second) as (path,):
        ear.settimeout(10)
        ear.bind((pair.a.ip, 8000))
        ear.listen()
        mouth.bind((second.ip, 0))
        mouth.connect((pair.a.ip, 8000))
        peer, (address, _) = ear.accept()
        peer.close()
    assert address == second.ip
    assert len(frames(path)) >= 3


def test_eni_counts_come_and_go_as_devices(pair: Any) -> None:
    enis = [pair.subnet.create_eni(f"e{number}") for number in range(3)]
    for eni in enis:
        eni.attach(pair.b)
    devices = pair.b.run("ls /proc/sys/net/ipv4/conf").stdout.split()
    assert {"eth0", "eth1", "eth2", "eth3"} <= set(devices)
    enis[1].detach()
    assert "eth2" not in pair.b.run("ls /proc/sys/net/ipv4/conf").stdout.split()
    assert all(pair.a.ping(eni).received for eni in (enis[0], enis[2]))
    enis[1].attach(pair.b)
    assert "eth2" in pair.b.run("ls /proc/sys/net/ipv4/conf").stdout.split()
    assert all(pair.a.ping(eni).received for eni in enis)


def test_an_eni_moves_from_one_cvm_to_another(pair: Any) -> None:
    eni = pair.subnet.create_eni("moving")
    c = pair.subnet.run_instance("C")
    for host in (pair.b, c, pair.b, c):
        eni.attach(host)
        answer = pair.a.run(["ping", "-n", "-c1", "-W1", eni.ip])
        assert answer.returncode == 0
        with host.socket(type=socket.SOCK_DGRAM) as here:
            here.bind((eni.ip, 5000))  # refused where the address is not
        eni.detach()
        assert pair.a.ping(eni, wait_s=0.1).received == 0


def test_what_is_refused_about_attaching_changes_nothing(pair: Any) -> None:
    other = pair.lab.create_vpc("10.20.0.0/16").create_subnet("10.20.0.0/24")
    foreign, spare = other.create_eni(), pair.subnet.create_eni()
    links = len(pair.lab.net.links)
    with pytest.raises(RequestRefused):
        foreign.attach(pair.b)
    with pytest.raises(RequestRefused):
        pair.b.eni.detach()
    with pytest.raises(RequestRefused):
        spare.detach()
    spare.attach(pair.b)
    with pytest.raises(RequestRefused):
        spare.attach(pair.a)
    spare.detach()
    assert len(pair.lab.net.links) == links
    assert pair.a.ping(pair.b).received == 1


# while others talk -----------------------------------------------------------------------------------


class Stream:
    """UDP datagrams from one CVM to another, one at a time, each to be answered, until told to stop."""

    def __init__(self, a: Cvm, b: Cvm) -> None:
        self._a, self._b = a, b
        self.sent = self.answered = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._a.socket(type=socket.SOCK_DGRAM) as here, self._b.socket(type=socket.SOCK_DGRAM) as there:
            there.bind((self._b.ip, 6000))
            here.settimeout(2)
            there.settimeout(2)
            while not self._stop.is_set():
                number = struct.pack("=Q", self.sent)
                self.sent += 1
                here.sendto(number, (self._b.ip, 6000))
                with contextlib.suppress(TimeoutError):
                    data, peer = there.recvfrom(100)
                    there.sendto(data, peer)
                    self.answered += here.recv(100) == number

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_changes_all_around_cost_a_stream_of_others_no_packet(pair: Any, running: Any) -> None:
    other = pair.vpc.create_subnet("10.16.1.0/24")
    talking = pair.a.popen(["ping", "-n", "-i", "0.002", pair.b.ip], stdout=subprocess.PIPE, text=True)
    with Stream(pair.a, pair.b) as stream:
        running.until(lambda: stream.answered > 20, "the stream flows")
        for round_ in range(4):
            c = pair.subnet.run_instance(f"C{round_}", private_ip="10.16.0.50")
            assert c.ping(pair.a).received == 1
            eni = other.create_eni(private_ip="10.16.1.50")
            eni.attach(c)
            assert pair.a.ping(eni).received == 1
            eni.detach()
            eni.attach(pair.b)
            eni.detach()
            eni.delete()
            group = pair.vpc.create_security_group(f"g{round_}")
            group.allow("ingress", protocol="icmp")
            c.eni.set_security_groups([group])
            vpc = pair.lab.create_vpc("10.16.0.0/16")
            vpc.delete()
            c.terminate()
        at = stream.answered
        running.until(lambda: stream.answered > at + 20, "the stream still flows")
    talking.send_signal(2)
    said = talking.communicate()[0]
    assert stream.answered == stream.sent
    assert stream.sent > 40
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", said).groups())
    assert sent - received <= 1  # the last may be under way
    assert sorted(int(number) for number in re.findall(r"icmp_seq=(\d+)", said)) == list(range(1, received + 1))


def test_a_freed_address_works_for_the_next_at_once(pair: Any) -> None:
    for number in range(5):
        c = pair.subnet.run_instance(f"C{number}", private_ip="10.16.0.77")
        assert pair.a.ping(c).received == 1
        assert c.ping(pair.a).received == 1
        assert pair.a.run(["ping", "-n", "-c1", c.ip]).stdout.count("ttl=64") == 1
        c.terminate()
        assert pair.a.ping("10.16.0.77", wait_s=0.1).received == 0


def test_a_new_cvm_at_an_old_address_does_not_inherit_old_connections(pair: Any) -> None:
    """Security groups are stateful, and the state was the other machine's."""
    old = pair.subnet.run_instance("old", private_ip="10.16.0.77")
    with pair.a.socket(type=socket.SOCK_DGRAM) as here, old.socket(type=socket.SOCK_DGRAM) as there:
        here.bind((pair.a.ip, 4000))
        here.settimeout(5)
        there.bind((old.ip, 4000))
        here.sendto(b"open", (old.ip, 4000))
        there.sendto(b"opened", (pair.a.ip, 4000))
        assert here.recv(100) == b"opened"
        old.terminate()
        closed = pair.vpc.create_security_group("closed")
        new = pair.subnet.run_instance("new", private_ip="10.16.0.77", security_groups=[closed])
        with new.socket(type=socket.SOCK_DGRAM) as ear:
            ear.bind((new.ip, 4000))
            here.sendto(b"still open?", (new.ip, 4000))
            closed.allow("ingress", protocol="icmp", cidr=f"{pair.a.ip}/32")
            assert pair.a.ping(new).received == 1  # the canary
            with pytest.raises(BlockingIOError):
                ear.recv(100, socket.MSG_DONTWAIT)


def test_many_come_at_once_from_many_threads(pair: Any) -> None:
    made: list[Cvm] = []
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(3):
                cvm = pair.subnet.run_instance(f"T{number}")
                assert cvm.ping(pair.a).received == 1
                made.append(cvm)
                if len(made) % 2:
                    cvm.terminate()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        raise error
    assert len({cvm.id for cvm in made}) == 18
    assert pair.a.ping(pair.b).received == 1


# the first packet ------------------------------------------------------------------------------------


def first_packets(number: int, pair_of: Callable[[], Any]) -> int:
    """How many of so many labs lose the very first datagram, or take longer than a wire does."""
    lost = 0
    for _ in range(number):
        pair = pair_of()
        with (
            contextlib.closing(pair.lab),
            pair.a.socket(type=socket.SOCK_DGRAM) as here,
            pair.b.socket(type=socket.SOCK_DGRAM) as there,
        ):
            there.bind((pair.b.ip, 5000))
            there.settimeout(0.5)  # an ARP request that is repeated takes a second
            here.sendto(b"first", (pair.b.ip, 5000))
            try:
                assert there.recv(100) == b"first"
            except TimeoutError:
                lost += 1
    return lost


def test_the_first_packet_of_a_lab_is_never_lost(two: Callable[[], Any]) -> None:
    assert first_packets(40, two) == 0


@pytest.mark.long
def test_the_first_packet_of_five_hundred_labs_is_never_lost(two: Callable[[], Any]) -> None:
    assert first_packets(500, two) == 0


def test_the_first_packet_to_a_late_eni_is_never_lost(pair: Any) -> None:
    with pair.a.socket(type=socket.SOCK_DGRAM) as here:
        for number in range(20):
            eni = pair.subnet.create_eni()
            eni.attach(pair.b)
            with pair.b.socket(type=socket.SOCK_DGRAM) as there:
                there.bind((eni.ip, 5000))
                there.settimeout(0.5)
                here.sendto(b"%d" % number, (eni.ip, 5000))
                assert there.recv(100) == b"%d" % number
            eni.detach()
            eni.delete()


# silence ---------------------------------------------------------------------------------------------


def test_an_idle_lab_is_silent(pair: Any, tmp_path: Path, running: Any) -> None:
    topic = pair.lab.logs.create_topic("all")
    pair.vpc.create_flow_log(topic=topic, traffic="ALL")
    with captures(tmp_path, pair.a.eni, pair.b.eni) as paths:
        c = pair.subnet.run_instance("C")
        eni = pair.subnet.create_eni()
        eni.attach(c)
        pair.vpc.create_security_group("g").allow("ingress", protocol="tcp", port=22)
        assert c.run(["hostname"]).stdout == "C\n"
        with c.socket(type=socket.SOCK_DGRAM) as idle:
            idle.bind((c.ip, 5000))
        pair.lab.clock.advance(minutes=15)
        eni.detach()
        c.terminate()
        tick = threading.Event()
        tick.wait(1.5)  # router solicitations and MLD reports come within the first second of an interface's life
    assert [frames(path) for path in paths] == [[], []]
    for host in (pair.a, pair.b):
        counters = host.run("cat /proc/net/dev").stdout
        received, *_, sent = re.search(r"eth0:\s*\d+\s+(\d+)(?:\s+\d+){6}\s+\d+\s+(\d+)", counters).groups()
        assert (received, sent) == ("0", "0")
    assert {record["log-status"] for record in topic.search()} == {"NODATA"}


def test_a_machine_that_was_not_there_before_is_silent_too(pair: Any, tmp_path: Path) -> None:
    c = pair.subnet.run_instance("C")
    counters = c.run("cat /proc/net/dev /proc/net/snmp").stdout
    assert re.search(r"eth0:\s+0\s+0\s", counters)
    router = pair.lab.net.get("demo").cmd("cat /proc/net/dev")
    for eni in (pair.a.eni, pair.b.eni, c.eni):
        assert re.search(rf"{eni.id}:\s+0\s+0\s(\s*\d+){{6}}\s+0\s+0\s", router), router


# keeping out -----------------------------------------------------------------------------------------


def test_a_cvm_reaches_nothing_but_its_vpc(pair: Any) -> None:
    with socket.socket() as host:
        host.bind(("127.0.0.1", 0))
        host.listen()
        port = host.getsockname()[1]
        outcomes = pair.a.run(
            [sys.executable, "-I", "-c", OUTSIDE, str(port), "127.0.0.1", "10.16.0.1", "192.0.2.1", "169.254.169.254"]
        ).stdout.split()
    assert len(outcomes) == 4
    assert "connected" not in outcomes


OUTSIDE = """
import socket, sys
for address in sys.argv[2:]:
    with socket.socket() as one:
        one.settimeout(0.2)
        try:
            one.connect((address, int(sys.argv[1])))
            print("connected")
        except OSError as error:
            print(type(error).__name__)
"""


def test_ttl_is_not_spent_within_a_vpc_but_runs_out_for_traceroute(pair: Any) -> None:
    other = pair.vpc.create_subnet("10.16.1.0/24").run_instance("C")
    assert "ttl=64" in pair.a.run(["ping", "-n", "-c1", other.ip]).stdout
    assert "ttl=64" in pair.a.run(["ping", "-n", "-c1", "-t1", other.ip]).stdout


def test_nothing_of_a_failed_attachment_stays(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request that an attachment makes fails once."""
    keeper = pair.lab.fabric.keeper
    before = pair.lab.net.get("demo").cmd("ip -br link; ip route; ip neigh")
    spaces = keeper.spaces()
    request = keeper.request
    refused = 0
    for fail_at in itertools.count():
        calls = itertools.count()

        def failing(verb: str, *args: Any, at: int = fail_at, numbers: Any = calls, **options: Any) -> Any:
            if verb not in ("drop", "endpod", "hello") and next(numbers) == at:
                raise LabError(f"{verb} was made to fail")
            return request(verb, *args, **options)

        with monkeypatch.context() as patched:
            patched.setattr(keeper, "request", failing)
            try:
                c = pair.subnet.run_instance("C", private_ip="10.16.0.99")
            except LabError:
                refused += 1
            else:
                break
        assert keeper.spaces() == spaces
        assert pair.lab.net.get("demo").cmd("ip -br link; ip route; ip neigh") == before
        assert list(pair.lab.net) == ["A", "B", "demo"]
    assert refused >= 3
    assert c.ping(pair.a).received == 1
    c.terminate()
    assert pair.a.ping(pair.b).received == 1


def test_a_capture_and_a_socket_of_a_cvm_that_ended_end_too(pair: Any, tmp_path: Path) -> None:
    c = pair.subnet.run_instance("C")
    with c.socket(type=socket.SOCK_DGRAM) as one:
        one.settimeout(1)
        c.terminate()
        with pytest.raises(OSError, match=r"unreachable|Network is down"):
            one.sendto(b"x", (pair.a.ip, 1))
    with pytest.raises(RequestRefused):
        c.socket()
    with pytest.raises((RequestRefused, GuestError)):
        c.eni.capture(os.devnull)
