"""Captures at an ENI: what passes is in the file, once, in order, or its loss is told."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import pytest

from emulator.errors import GuestError, LabError, RequestRefused

if sys.platform == "linux":
    from emulator.fabric import pcap
    from emulator.fabric.pcap import CaptureLoss

pytestmark = pytest.mark.kernel


def read(path: Path) -> list[tuple[float, bytes]]:
    with path.open("rb") as stream:
        reader = dpkt.pcap.Reader(stream)
        assert reader.datalink() == dpkt.pcap.DLT_EN10MB
        return list(reader)


def echoes(path: Path) -> list[tuple[int, bytes, bytes]]:
    """(ICMP type, source, destination) of each ICMP packet."""
    found = []
    for _, frame in read(path):
        ethernet = dpkt.ethernet.Ethernet(frame)
        if isinstance(ethernet.data, dpkt.ip.IP) and isinstance(ethernet.data.data, dpkt.icmp.ICMP):
            found.append((ethernet.data.data.type, ethernet.data.src, ethernet.data.dst))
    return found


def blast(source: Any, target: Any, count: int, size: int = 18) -> None:
    """Datagrams as fast as they go, to a socket that reads none of them."""
    with source.socket(type=socket.SOCK_DGRAM) as here, target.socket(type=socket.SOCK_DGRAM) as there:
        there.bind((target.ip, 9000))
        here.connect((target.ip, 9000))
        for number in range(count):
            here.send(number.to_bytes(4, "big") + b"x" * (size - 4))


def numbers(path: Path) -> list[int]:
    """The numbers of the datagrams that :func:`blast` sent."""
    return [int.from_bytes(frame[42:46], "big") for _, frame in read(path) if frame[36:38] == b"\x23\x28"]


# what is in the file -----------------------------------------------------------------------------------------


def test_both_directions_are_complete_when_the_block_ends(shared: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    begun = time.time()
    with shared.a.eni.capture(path) as capture:
        assert shared.a.ping(shared.b, count=5).received == 5
        assert shared.b.ping(shared.a, count=3).received == 3
    ended = time.time()
    a, b = socket.inet_aton(shared.a.ip), socket.inet_aton(shared.b.ip)
    assert sorted(echoes(path)) == sorted([(8, a, b), (0, b, a)] * 5 + [(8, b, a), (0, a, b)] * 3)
    assert capture.packets == len(read(path))
    assert capture.lost == 0
    times = [moment for moment, _ in read(path)]
    assert times == sorted(times)
    assert begun - 0.01 <= times[0] <= times[-1] <= ended + 0.01
    assert capture.path == str(path)


def test_frames_are_whole_and_unpadded(shared: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    sizes = [4, 5, 100, 1471, 1472]
    with shared.a.eni.capture(path):
        for size in sizes:
            blast(shared.a, shared.b, 1, size)
    datagrams = [frame for _, frame in read(path) if frame[36:38] == b"\x23\x28"]
    assert [len(frame) for frame in datagrams] == [42 + size for size in sizes]
    assert all(frame[6:12] == bytes.fromhex(shared.a.eni.mac.replace(":", "")) for frame in datagrams)


def test_twenty_thousand_packets_are_counted_exactly_and_in_order(shared: Any, tmp_path: Path, wire: Any) -> None:
    one, other = tmp_path / "a.pcap", tmp_path / "b.pcap"
    with shared.a.eni.capture(one) as sent, shared.b.eni.capture(other) as received:
        blast(shared.a, shared.b, 20_000)
        wire.drain()
    for path, capture in ((one, sent), (other, received)):
        assert numbers(path) == list(range(20_000))
        assert capture.lost == 0
        assert capture.packets == len(read(path))
        assert path.stat().st_size == 24 + sum(16 + len(frame) for _, frame in read(path))


def test_arp_and_tagged_frames_are_as_they_were_sent(shared: Any, tmp_path: Path, wire: Any) -> None:
    """The kernel puts a VLAN tag aside before a capture sees the frame; and such frames begin elsewhere in the ring."""
    one, other = tmp_path / "a.pcap", tmp_path / "b.pcap"
    mac = bytes.fromhex(shared.a.eni.mac.replace(":", ""))
    odd = [
        b"\xff" * 6 + mac + b"\x81\x00\x20\x05" + b"\x88\xb5" + b"tagged" * 8,
        b"\xff" * 6 + mac + b"\x88\xb5" + b"plain" * 10,
        b"\xff" * 6 + mac + b"\x88\xa8\x00\x07\x81\x00\x00\x08" + b"\x88\xb5" + b"twice" * 9,
    ]
    with (
        shared.a.eni.capture(one),
        shared.lab.net.get("demo").keeper.socket(
            shared.lab.net.get("demo").ns, socket.AF_PACKET, socket.SOCK_RAW
        ) as router,
        shared.b.eni.capture(other),
        shared.a.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw,
    ):
        raw.bind(("eth0", 0))
        router.bind((shared.b.eni.id, 0))
        for frame in odd:
            raw.send(frame)
            router.send(frame)
        shared.a.run(["ping", "-c1", shared.b.ip])
        wire.drain()
    for path in (one, other):
        seen = [frame for _, frame in read(path)]
        assert [frame for frame in seen if b"\x88\xb5" in frame] == odd
        assert len(echoes(path)) == 2


def test_tcpdump_reads_it(shared: Any, need_program: Callable[[str, str], str], tmp_path: Path) -> None:
    tcpdump = need_program("tcpdump", "tcpdump")
    path = tmp_path / "a.pcap"
    with shared.a.eni.capture(path):
        shared.a.ping(shared.b, count=2)
    with path.open("rb") as stream:
        said = subprocess.run([tcpdump, "-nr", "-"], stdin=stream, capture_output=True, text=True, check=True)
    assert said.stdout.count("ICMP echo request") == 2
    assert said.stdout.count("ICMP echo reply") == 2
    assert "link-type EN10MB (Ethernet)" in said.stderr


def test_scapy_reads_it(shared: Any, tmp_path: Path) -> None:
    utils = pytest.importorskip("scapy.utils")
    path = tmp_path / "a.pcap"
    with shared.a.eni.capture(path) as capture:
        shared.a.ping(shared.b, count=2)
    with utils.PcapReader(str(path)) as reader:
        assert len(list(reader)) == capture.packets


def test_an_empty_capture_is_an_empty_pcap(shared: Any, tmp_path: Path) -> None:
    with shared.a.eni.capture(tmp_path / "a.pcap") as capture:
        pass
    assert read(tmp_path / "a.pcap") == []
    assert capture.packets == 0


def test_several_captures_at_one_eni_see_the_same(shared: Any, tmp_path: Path) -> None:
    one, other = tmp_path / "1.pcap", tmp_path / "2.pcap"
    with shared.a.eni.capture(one), shared.a.eni.capture(other):
        shared.a.ping(shared.b, count=3)
    assert len(echoes(one)) == 6
    assert echoes(one) == echoes(other)


def test_captures_of_other_enis_and_before_and_after_see_nothing(pair: Any, tmp_path: Path) -> None:
    c = pair.subnet.run_instance("C")
    second = pair.subnet.create_eni()
    second.attach(pair.b)
    pair.a.ping(pair.b)
    with c.eni.capture(tmp_path / "c.pcap"), second.capture(tmp_path / "s.pcap"):
        pair.a.ping(pair.b, count=3)
    pair.a.ping(c)
    assert read(tmp_path / "c.pcap") == []
    assert read(tmp_path / "s.pcap") == []


def test_what_is_dropped_is_seen_where_it_was_sent_and_not_where_it_was_not_let_in(pair: Any, tmp_path: Path) -> None:
    closed = pair.vpc.create_security_group("closed")
    pair.b.eni.set_security_groups([closed])
    with pair.a.eni.capture(tmp_path / "a.pcap"), pair.b.eni.capture(tmp_path / "b.pcap"):
        assert pair.a.ping(pair.b, count=3, wait_s=0.1).received == 0
    assert len(echoes(tmp_path / "a.pcap")) == 3
    assert echoes(tmp_path / "b.pcap") == []


def test_a_file_that_exists_is_replaced_and_a_relative_path_is_the_callers(
    shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pcap").write_bytes(b"x" * 100_000)
    monkeypatch.chdir(tmp_path)
    with shared.a.eni.capture("a.pcap"):
        shared.a.ping(shared.b)
    assert len(echoes(tmp_path / "a.pcap")) == 2


# loss ----------------------------------------------------------------------------------------------------------


def test_a_loss_is_told_and_what_is_kept_is_whole(shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcap, "_BLOCK", 1 << 12)
    monkeypatch.setattr(pcap, "_BLOCKS", 4)
    monkeypatch.setattr(pcap, "_FRAMES", 8)
    path = tmp_path / "a.pcap"
    take = pcap.Capture._take
    gate = threading.Event()

    def taking_its_time(self: Any) -> int:
        gate.wait(20)
        return take(self)

    monkeypatch.setattr(pcap.Capture, "_take", taking_its_time)
    capture = shared.a.eni.capture(path)

    def lose() -> None:
        with capture:
            blast(shared.a, shared.b, 1000)
            gate.set()

    with pytest.warns(CaptureLoss, match=r"capture at eni-.* \(.*\): \d+ packets are missing in .*a\.pcap"):
        lose()
    kept = numbers(path)
    assert kept == sorted(set(kept))
    assert capture.lost > 0
    assert capture.packets == len(read(path))
    assert capture.packets + capture.lost >= 1000


def test_the_ring_goes_round_and_round_without_a_slip(
    shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wire: Any
) -> None:
    monkeypatch.setattr(pcap, "_BLOCKS", 1)
    monkeypatch.setattr(pcap, "_FRAMES", pcap._BLOCK // pcap._FRAME)
    monkeypatch.setattr(pcap, "_MOST_AT_ONCE", 7)
    path = tmp_path / "b.pcap"
    with shared.b.eni.capture(path) as capture:
        for turn in range(1, 21):
            blast(shared.a, shared.b, 50)
            wire.drain()
            give_up = time.monotonic() + 60
            while capture.packets < 50 * turn and time.monotonic() < give_up:  # the ring has room for one turn
                os.sched_yield()
    assert capture.lost == 0
    assert numbers(path) == [*range(50)] * 20


# files that cannot be written --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nowhere/a.pcap", "/proc/a.pcap", "", "/", "/dev/full"])
def test_a_path_that_cannot_be_written_is_refused(shared: Any, running: Any, path: str) -> None:
    before, threads = running.descriptors(), threading.active_count()
    with pytest.raises(GuestError, match=r"capture at eni-.*: cannot write .*: [A-Z]"), shared.a.eni.capture(path):
        raise AssertionError("the block must not begin")
    assert running.descriptors() == before
    assert threading.active_count() == threads


def test_a_disk_that_becomes_full_is_told(shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk(io.RawIOBase):
        """Holds 1,000 bytes, and takes fewer than it is given before it says that it is full."""

        left = 1000

        def write(self, data: Any) -> int:
            if not self.left:
                raise OSError(28, "No space left on device")
            taken = min(self.left, len(data))
            self.left -= taken
            return taken

    def open_disk(*_: object, **__: object) -> Disk:
        return Disk()

    monkeypatch.setattr(pcap, "open", open_disk, raising=False)
    said = r"cannot write .*full\.pcap: No space left on device; it holds \d+ packets"
    with pytest.raises(GuestError, match=said), shared.a.eni.capture(tmp_path / "full.pcap"):
        assert shared.a.ping(shared.b, count=20).received == 20


def test_a_file_that_takes_a_little_at_a_time_gets_all(
    shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, say, or a disk over a network."""
    path = tmp_path / "slow.pcap"

    class Slow(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(data[:99])

    monkeypatch.setattr(pcap, "open", lambda path, *_, **__: Slow(path, "w"), raising=False)
    with shared.a.eni.capture(path):
        assert shared.a.ping(shared.b, count=20).received == 20
    assert len(echoes(path)) == 40


def test_an_error_in_the_block_is_not_hidden_by_one_of_the_capture(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pcap.Capture, "_take", fail)
    with pytest.raises(ZeroDivisionError), shared.a.eni.capture(os.devnull):
        raise ZeroDivisionError


def test_whatever_else_goes_wrong_in_the_thread_is_told(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise ValueError("strange")

    monkeypatch.setattr(pcap.Capture, "_take", fail)
    with pytest.raises(GuestError, match="strange"), shared.a.eni.capture(os.devnull):
        pass


# ENIs that come and go ----------------------------------------------------------------------------------------------


def test_a_detached_eni_is_refused(pair: Any, tmp_path: Path) -> None:
    eni = pair.subnet.create_eni("loose")
    with pytest.raises(GuestError, match=r"\(loose\) is detached: attach it to a CVM"):
        eni.capture(tmp_path / "a.pcap")
    assert not (tmp_path / "a.pcap").exists()
    eni.attach(pair.b)
    with eni.capture(tmp_path / "a.pcap"):
        pair.a.ping(eni)
    assert len(echoes(tmp_path / "a.pcap")) == 2


def test_a_capture_outlives_its_eni_without_busy_waiting(
    pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eni = pair.subnet.create_eni()
    eni.attach(pair.b)
    taken = 0
    take = pcap.Capture._take

    def counting(self: Any) -> int:
        nonlocal taken
        taken += 1
        return take(self)

    monkeypatch.setattr(pcap.Capture, "_take", counting)
    with eni.capture(tmp_path / "a.pcap"):
        pair.a.ping(eni)
        eni.detach()
        before = taken
        threading.Event().wait(0.2)
        assert taken - before < 10
    assert len(echoes(tmp_path / "a.pcap")) == 2


def test_a_capture_ends_well_after_its_cvm_and_its_lab(two: Callable[[], Any], tmp_path: Path) -> None:
    pair = two()
    with pair.a.eni.capture(tmp_path / "a.pcap"), pair.b.eni.capture(tmp_path / "b.pcap"):
        pair.a.ping(pair.b)
        pair.b.terminate()
        pair.lab.close()
    assert len(echoes(tmp_path / "a.pcap")) == 2
    assert len(echoes(tmp_path / "b.pcap")) == 2


def test_a_capture_that_begins_after_its_eni_has_gone_is_refused(pair: Any, tmp_path: Path, running: Any) -> None:
    eni = pair.subnet.create_eni()
    eni.attach(pair.b)
    late = eni.capture(tmp_path / "late.pcap")
    gone = pair.a.eni.capture(tmp_path / "gone.pcap")
    eni.detach()
    pair.a.terminate()
    before = running.descriptors()
    for capture in (late, gone):
        with pytest.raises((GuestError, LabError, RequestRefused)), capture:
            raise AssertionError("the block must not begin")
        assert not Path(capture.path).exists()
    assert running.descriptors() == before


def test_a_capture_leaves_nothing_open(shared: Any, running: Any) -> None:
    shared.a.ping(shared.b)  # its first process starts a sandbox, which stays
    before, threads = running.descriptors(), threading.active_count()
    for _ in range(5):
        with shared.a.eni.capture(os.devnull):
            shared.a.ping(shared.b)
    assert running.descriptors() == before
    assert threading.active_count() == threads
