"""Evidence of failed tests: packets that say which record counted them, and nothing of tests that pass."""

from __future__ import annotations

import io
import json
import socket
import struct
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dpkt
import pytest
from projects import run

from emulator import KernelRefused, Lab
from emulator.fabric.fabric import interface_name
from emulator.pytest_plugin import START_S, need_kernel
from emulator.suites import taps
from emulator.suites.evidence import Recorder, folder_name
from emulator.watching import WATCHERS

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("project")

Said = tuple[str, bytes, list[str]]


def read(path: Path) -> list[Said]:
    """(interface, frame, comments) of a pcapng, by dpkt."""
    interfaces: list[str] = []
    found: list[Said] = []
    data = io.BytesIO(path.read_bytes())
    while head := data.read(8):
        kind, length = struct.unpack("<II", head)
        block = head + data.read(length - 8)
        if kind == 1:
            options = dpkt.pcapng.InterfaceDescriptionBlockLE(block).opts
            interfaces.append(next((bytes(one.data).decode() for one in options if one.code == 2), ""))
        elif kind == 6:
            packet = dpkt.pcapng.EnhancedPacketBlockLE(block)
            comments = [bytes(one.data).decode() for one in packet.opts if one.code == 1]
            found.append((interfaces[packet.iface_id], bytes(packet.pkt_data), comments))
    return found


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    need_kernel()
    recorder = Recorder()
    WATCHERS.append(recorder)
    yield recorder
    WATCHERS.remove(recorder)


@pytest.mark.kernel
def test_each_packet_says_what_became_of_it(recorder: Recorder, tmp_path: Path, wire: Any) -> None:
    """As many frames name a record as it counted packets, fragments too; what was refused at the other end says so at
    its sender; a forged one is in no record; what no window has told yet is judged by the rules as they are."""
    with Lab(start=START_S) as lab:
        vpc = lab.create_vpc("10.16.0.0/16", name="demo")
        subnet, web = vpc.create_subnet("10.16.0.0/24"), vpc.create_security_group("web")
        web.allow("ingress", protocol="icmp")
        a = subnet.run_instance("A")
        b = subnet.run_instance("B", security_groups=[web])
        c = vpc.create_subnet("10.16.1.0/24").run_instance("C", security_groups=[web])
        topic = lab.logs.create_topic("all")
        for cvm in (a, b):
            cvm.eni.create_flow_log(cvm.name, topic=topic)
        subnet.create_flow_log("a copy of both", topic=lab.logs.create_topic("copy"))
        for count in (2, 3):
            assert a.ping(b, count=count).received == count
            with a.socket(type=socket.SOCK_DGRAM) as sender:
                sender.bind((a.ip, 5_000))
                sender.sendto(bytes(4_000), (b.ip, 53))
            lab.clock.advance(minutes=10)
        a.send(wire.packet("10.9.9.9", b.ip, 17, wire.udp(1, 9)))
        a.send(wire.packet(a.ip, b.ip, 17, wire.udp(1, 9)))
        assert a.ping(c).received == 1
        records = [record for record in topic.search("*") if record["log-status"] == "OK"]
        recorder.write(tmp_path / "it", "it failed", "call")

    seen = read(tmp_path / "it" / "demo.pcapng")
    prefix = "record in topic all: "
    named = Counter(line.removeprefix(prefix) for _, _, said in seen for line in said if line.startswith(prefix))
    assert len(records) == 12
    assert named == {record.line: record["packets"] for record in records}
    here = {cvm: f"{interface_name(cvm.eni.id)} ({cvm.name})" for cvm in (a, b, c)}
    ip = [(interface, frame[14:], said) for interface, frame, said in seen if frame[12:14] == b"\x08\0"]
    assert all(said for _, _, said in ip)
    assert {interface for interface, _, _ in ip} == set(here.values())
    (refused,) = {
        line for _, packet, said in ip if packet[9] == 17 and len(packet) > 100 for line in said if "reached" in line
    }
    assert refused.startswith(f"REJECT of what reached {b.eni.id}: no rule of its security groups matched")
    forged, late = ((interface, said) for interface, packet, said in ip if packet[-6:-4] == b"\0\x09")
    assert forged == (here[a], [f"dropped at {a.eni.id}: 10.9.9.9 is not an address of it, so this is in no record"])
    assert late[1][0].endswith("allow egress all to anywhere (by the rules as they are now)")
    assert late[1][1] == late[1][3] == "in no record that can be found yet"
    assert f"{b.eni.id} in" in late[1][2]
    assert "REJECT" in late[1][2]
    *_, (_, _, last) = (one for one in ip if one[0] == here[c])
    assert last == [
        f"{c.eni.id} out, security group {web.id}: ACCEPT, the packet belongs to an established connection",
        f"in no record: no flow log covers {c.eni.id}",
    ]


@pytest.mark.kernel
def test_a_change_stands_where_nobody_can_listen(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next change tries again."""
    with Lab(start=START_S) as lab:

        def refuse(*_: object) -> None:
            raise KernelRefused("injected", request="socket")

        with monkeypatch.context() as broken:
            broken.setattr(lab.fabric.keeper, "socket", refuse)
            subnet = lab.create_vpc("10.16.0.0/16", name="demo").create_subnet("10.16.0.0/24")
        assert not recorder._traces[lab].taps
        subnet.run_instance("A")
        assert len(recorder._traces[lab].taps) == 1


@pytest.mark.kernel
def test_what_finds_no_room_is_told(recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "MOST", 10)
    with Lab(start=START_S) as lab:
        a, b = lab.create_vpc("10.16.0.0/16", name="demo").create_subnet("10.16.0.0/24").run_instances(["A", "B"])
        a.ping(b, count=9)
        recorder.write(tmp_path / "it", "it failed", "call")
    seen = read(tmp_path / "it" / "demo.pcapng")
    assert len(seen) == 10
    assert seen[-1][2][-1] == "the last frame that found room: 30 more passed"  # 36 of ICMP, 4 of ARP


@pytest.mark.kernel
def test_a_folder_for_each_test_that_fails(pytester: pytest.Pytester) -> None:
    """With the lab of a fixture or one of its own, when it is set up or taken down, in a worker of pytest-xdist;
    nothing of those that pass."""
    need_kernel()
    pytester.makepyfile(test_it=TESTS)
    for stale in ("passes", "unlucky"):
        (pytester.mkdir("kept") if stale == "passes" else Path("kept")).joinpath(f"test_it.py-test_{stale}").mkdir()
        Path(f"kept/test_it.py-test_{stale}/failure.txt").write_text("of another run")

    result = run(pytester, "--vpclab-evidence", "kept", "--vpclab-summary", "run.md", "--junitxml=run.xml", "-n", "1")

    result.assert_outcomes(failed=3, passed=2, errors=2)
    kept = Path("kept")
    names = ["closes", "is_refused", "is_taken_down", "unlucky"]
    assert sorted(path.name for path in kept.iterdir()) == [f"test_it.py-test_{name}" for name in names]
    for path in kept.iterdir():
        there = {"explained.txt", "failure.txt", "records.jsonl", "lab.toml", "demo.pcapng"}
        assert {one.name for one in path.iterdir()} == there
        assert tomllib.loads((path / "lab.toml").read_text())["vpc"]["demo"]["cidr"] == "10.16.0.0/16"
        rows = [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]
        assert [row["record"]["packets"] for row in rows if row["record"]["packets"]] == [4, 4]
        assert (path / "explained.txt").read_text().count("ACCEPT of what") == 2
        assert len(read(path / "demo.pcapng")) == 20
    assert "at its teardown" in (kept / "test_it.py-test_unlucky" / "failure.txt").read_text()

    cases = list(ElementTree.parse("run.xml").iter("testcase"))
    places = {(case.get("name"), one.get("value")) for case in cases for one in case.iter("property")}
    assert places == {(f"test_{name}", str(kept.absolute() / f"test_it.py-test_{name}")) for name in names}
    assert "topic all: 2 records" in "".join(text for case in cases for text in case.itertext())

    summary = Path("run.md").read_text()
    assert "| 2 | 3 | 2 | 0 |" in summary
    assert summary.count("<details>") == summary.count("Packets, records and rules: `") == 5


TESTS = """
import pytest
from emulator import Lab

def fill(lab):
    a, b = lab.create_vpc("10.16.0.0/16", name="demo").create_subnet("10.16.0.0/24").run_instances(["A", "B"])
    topic = lab.logs.create_topic("all")
    a.eni.create_flow_log("all", topic=topic)
    a.ping(b, count=4)
    lab.clock.advance(minutes=10)
    return topic

@pytest.fixture
def broken(lab):
    fill(lab)
    raise ValueError("broken")

@pytest.fixture
def falling(lab):
    yield lab
    raise ValueError("fallen")

def test_passes(lab):
    fill(lab)

def test_unlucky(falling):
    (row,) = fill(falling).search("packets:4 AND NOT dstaddr:10.16.0.9")

def test_closes():
    with Lab() as lab:
        rows = fill(lab).search("*")
    assert rows[0]["packets"] == 3

def test_is_refused():
    with Lab() as lab:
        fill(lab)
        lab.create_vpc("8.8.8.0/24")

def test_is_taken_down(broken):
    pass

@pytest.mark.parametrize("slow", [1])
def test_passes_too(slow):
    with Lab() as lab:
        fill(lab)
"""


def test_names_of_folders() -> None:
    """No path of its own, whatever a test's parameters say."""
    assert folder_name("tests/test_a.py::TestB::test_c[../x y-/1]") == "tests-test_a.py-TestB-test_c[..-x-y--1]"
    long = [folder_name("t" * 300 + end) for end in "ab"]
    assert len(set(long)) == 2
    assert max(map(len, long)) < 150


def test_without_scapy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it="def test_it(): pass")
    pytester.makeconftest("import sys; sys.modules['scapy'] = None")
    result = run(pytester, "-p", "conftest", "--vpclab-evidence", "kept")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pip install 'vpclab?scapy?'*"])
