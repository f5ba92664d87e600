"""Python in a CVM: functions that are called there, and sockets that belong to it."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import GuestError, KeeperLost, KernelRefused, LabError

pytestmark = pytest.mark.kernel

AT_ONCE_S = 5.0


@dataclass(frozen=True)
class Point:
    """A class that no guest can import."""

    x: int
    y: int

    def moved(self, by: int) -> Point:
        return Point(self.x + by, self.y + by)


class Strange(Exception):
    """An exception that no guest can import."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what, number)
        self.number = number


class Unbuildable(Exception):
    """It pickles, but cannot be built again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


OFFSET = 40


def add_offset(number: int) -> int:
    return number + OFFSET


def where() -> tuple[str, int, list[str]]:
    return socket.gethostname(), os.getpid(), sorted(name for _, name in socket.if_nameindex())


# what can be called ---------------------------------------------------------------------------------------


def test_a_lambda_a_closure_and_a_function_of_a_test_module(shared: Any) -> None:
    factor = 6
    assert shared.a.call(lambda: 42) == 42
    assert shared.a.call(lambda number: number * factor, 7) == 42
    assert shared.a.call(add_offset, 2) == 42
    assert shared.a.call(functools.partial(add_offset, 2)) == 42
    assert shared.a.call(Point(1, 2).moved, 3) == Point(4, 5)
    assert shared.a.call(max, [3, 1, 2]) == 3
    assert shared.a.call(os.path.join, "/tmp", "x") == "/tmp/x"


def test_it_runs_in_the_cvm(shared: Any) -> None:
    name, pid, links = shared.b.call(where)
    assert name == "B"
    assert pid != os.getpid()
    assert links == ["eth0", "lo"]
    shared.b.call(lambda: Path("/tmp/called").write_text("by a call"))
    assert shared.b.run("cat /tmp/called").stdout == "by a call"
    assert not Path("/tmp/called").exists()


def test_results_keep_their_types(shared: Any) -> None:
    import numpy

    assert isinstance(shared.a.call(lambda: Point(1, 2)), Point)
    assert shared.a.call(lambda point: point == Point(1, 2), Point(1, 2))
    assert shared.a.call(lambda: numpy.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert len(shared.a.call(lambda: b"x" * 5_000_000)) == 5_000_000
    assert shared.a.call(len, b"x" * 5_000_000) == 5_000_000
    assert shared.a.call(lambda: None) is None


def test_what_it_prints_and_starts_does_not_mix_with_its_result(shared: Any) -> None:
    def noisy() -> int:
        print("printed")
        os.write(1, b"written")
        subprocess.run(["echo", "echoed"], check=True)
        sys.stdout.flush()
        return 42

    assert shared.a.call(noisy) == 42


def test_what_it_leaves_in_the_background_does_not_keep_it(shared: Any) -> None:
    begun = time.monotonic()
    assert shared.a.call(lambda: subprocess.Popen(["sleep", "1000"]).pid) > 1
    assert time.monotonic() - begun < AT_ONCE_S
    shared.a.run(["pkill", "-f", "sleep 1000"])


def test_calls_from_many_threads(shared: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: shared.a.call(add_offset, number), range(16))) == list(range(40, 56))


# what goes wrong --------------------------------------------------------------------------------------------


def test_what_it_raises_is_raised_here_with_the_way_it_took(shared: Any) -> None:
    def fail() -> None:
        raise Strange("oops", 7)

    with pytest.raises(Strange, match="oops") as raised:
        shared.a.call(fail)
    assert raised.value.number == 7
    (note,) = raised.value.__notes__
    assert note.startswith("raised in A:\nTraceback")
    assert "in fail" in note
    with pytest.raises(ZeroDivisionError):
        shared.a.call(lambda: 1 / 0)
    with pytest.raises(FileNotFoundError) as missing:
        shared.a.call(lambda: Path("/tmp/not there").read_text())
    assert missing.value.errno == 2


def test_an_exception_that_cannot_be_sent_back_is_told_in_words(shared: Any) -> None:
    def fail() -> None:
        raise Unbuildable("one", "two")

    def fail_with_lock() -> None:
        error = RuntimeError("locked")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    with pytest.raises(GuestError, match=r"(?s)A: .*fail ended with Unbuildable.*onetwo"):
        shared.a.call(fail)
    with pytest.raises(GuestError, match=r"(?s)fail_with_lock ended with RuntimeError.*locked"):
        shared.a.call(fail_with_lock)


def test_a_result_that_cannot_be_sent_back_is_a_type_error(shared: Any) -> None:
    with pytest.raises(TypeError, match=r"its result cannot be sent back: .*lock"):
        shared.a.call(threading.Lock)


def test_a_function_that_cannot_be_sent_is_refused_before(shared: Any) -> None:
    with pytest.raises(GuestError, match="cannot be sent to the CVM"):
        shared.a.call(len, threading.Lock())


@pytest.mark.parametrize(
    ("function", "said"),
    [
        pytest.param(lambda: sys.exit(3), "ended with SystemExit", id="sys.exit"),
        pytest.param(lambda: os._exit(3), "ended with status 3 before it returned", id="os._exit"),
        pytest.param(lambda: os.kill(os.getpid(), 9), "ended with status -9 before it returned", id="SIGKILL"),
        pytest.param(lambda: (_ for _ in ()).throw(KeyboardInterrupt), "ended with KeyboardInterrupt", id="interrupt"),
    ],
)
def test_a_function_that_ends_its_process_ends_that_only(shared: Any, function: Callable[[], Any], said: str) -> None:
    with pytest.raises(GuestError, match=said):
        shared.a.call(function)
    assert shared.a.call(lambda: 1) == 1


def test_a_function_that_does_not_return_is_ended(shared: Any, running: Any) -> None:
    begun = time.monotonic()
    with pytest.raises(GuestError, match=r"A: .*<lambda> did not return within 1\.5 s"):
        shared.a.call(lambda: subprocess.run(["sleep", "1000"], check=False), timeout=1.5)
    assert time.monotonic() - begun < 1.5 + AT_ONCE_S
    running.until(lambda: shared.a.run("pgrep -f 'sleep 100[0]'").stdout == "", "nothing of it is left")


# scapy --------------------------------------------------------------------------------------------------------


def test_scapy_works_in_a_guest(shared: Any) -> None:
    pytest.importorskip("scapy")

    def echo(address: str) -> tuple[str, int, bytes]:
        from scapy.layers.inet import ICMP, IP
        from scapy.packet import Raw
        from scapy.sendrecv import sr1

        reply = sr1(IP(dst=address) / ICMP(id=77, seq=5) / Raw(b"from scapy"), timeout=5, verbose=0)
        return reply.src, reply[ICMP].type, bytes(reply[Raw])

    assert shared.a.call(echo, shared.b.ip) == (shared.b.ip, 0, b"from scapy")


# who else is in the CVM ------------------------------------------------------------------------------------------


def test_a_guest_cannot_put_a_module_in_the_way_of_a_call(
    two: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a call returns is unpickled here: if a guest could say what it returns, it could do anything here."""
    monkeypatch.chdir("/tmp")
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend("/tmp/vpclab-guests-own")
    monkeypatch.syspath_prepend("/run")
    pair = two()
    evil = 'import os; os.write(2, b\\"evil\\"); open(\\"/tmp/evil\\", \\"w\\").close()'
    for folder in ("/tmp", "/tmp/vpclab-guests-own", "/run"):
        for module in ("cloudpickle", "traceback", "sitecustomize", "random", "pickle"):
            pair.a.run(f'mkdir -p {folder}; echo "{evil}" > {folder}/{module}.py', check=True)
    assert pair.a.call(lambda: 5) == 5
    assert pair.a.run(["ls", "/tmp/evil"]).returncode != 0


def test_a_guest_cannot_trace_a_call(pair: Any) -> None:
    attach = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
pid = int(sys.argv[1])
print(libc.ptrace(PTRACE_ATTACH, pid, 0, 0), ctypes.get_errno())
try:
    os.readlink(f"/proc/{pid}/fd/1")
    print("open")
except PermissionError:
    print("closed")
"""

    def attempt(pid: str) -> list[str]:
        return list(pair.a.run([sys.executable, "-I", "-c", attach, pid], check=True).stdout.split())

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(pair.a.call, lambda: (Path("/tmp/pid").write_text(str(os.getpid())), wait_for("/tmp/go"))[0])
        while not (pid := pair.a.run("cat /tmp/pid").stdout):
            pass
        assert attempt(pid) == ["-1", "1", "closed"]
        sibling = pair.a.run("sleep 1000 >/dev/null 2>&1 & echo $!").stdout.strip()
        assert attempt(sibling)[2] == "open"  # the canary: others can be looked into
        pair.a.run("touch /tmp/go")
        assert call.result(20) > 0


def wait_for(path: str) -> None:
    tick = threading.Event()
    while not os.path.exists(path):
        tick.wait(0.01)


# sockets ----------------------------------------------------------------------------------------------------------


def test_udp_and_tcp_between_cvms(shared: Any) -> None:
    with shared.a.socket(type=socket.SOCK_DGRAM) as here, shared.b.socket(type=socket.SOCK_DGRAM) as there:
        there.bind((shared.b.ip, 7000))
        there.settimeout(5)
        here.sendto(b"hello", (shared.b.ip, 7000))
        data, (address, _) = there.recvfrom(100)
        assert (data, address) == (b"hello", shared.a.ip)
    with shared.b.socket() as server, shared.a.socket() as client:
        server.settimeout(5)
        client.settimeout(5)
        server.bind(("0.0.0.0", 80))  # NET_BIND_SERVICE is not asked of the caller
        server.listen()
        client.connect((shared.b.ip, 80))
        peer, (address, _) = server.accept()
        with peer:
            sender = threading.Thread(target=lambda: (client.sendall(b"x" * 1_000_000), client.shutdown(1)))
            sender.start()
            received = b"".join(iter(lambda: peer.recv(1 << 16), b""))
            sender.join()
        assert len(received) == 1_000_000
        assert address == shared.a.ip


def test_raw_and_packet_sockets(shared: Any) -> None:
    with (
        shared.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw,
        shared.b.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as wire,
    ):
        raw.settimeout(5)
        wire.settimeout(5)
        wire.bind(("eth0", 0x0800))
        request = struct.pack("!BBHHH", 8, 0, 0xFFFF - 0x0800 - 7, 7, 0)
        raw.sendto(request, (shared.b.ip, 0))
        frame = wire.recv(2000)
        assert frame[12:14] == b"\x08\x00"
        assert frame[30:34] == socket.inet_aton(shared.b.ip)
        reply = raw.recv(2000)
        assert reply[20] == 0
        assert reply[12:16] == socket.inet_aton(shared.b.ip)
    with shared.a.socket(socket.AF_UNIX, socket.SOCK_STREAM) as local:
        assert local.family == socket.AF_UNIX


def test_a_ping_socket_needs_no_capability(pair: Any) -> None:
    with pair.a.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as ping:
        ping.settimeout(5)
        ping.sendto(struct.pack("!BBHHH", 8, 0, 0, 0, 1), (pair.b.ip, 0))
        assert ping.recv(2000)[0] == 0
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)"
    assert pair.b.run(["setpriv", "--bounding-set", "-all", "--", sys.executable, "-c", code]).returncode == 0


def test_sockets_are_ordinary_sockets_of_this_process(pair: Any, running: Any) -> None:
    pair.a.socket().close()  # the services of a VPC open with its first socket, and stay
    before = running.descriptors()
    with pair.a.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as one:
        assert not os.get_inheritable(one.fileno())
        with pytest.raises(BlockingIOError):
            one.connect((pair.b.ip, 9))
    with pair.a.socket() as one:
        one.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            one.connect((pair.b.ip, 9))
    assert running.descriptors() == before


@pytest.mark.parametrize(
    ("family", "kind", "proto"),
    [
        pytest.param(255, socket.SOCK_STREAM, 0, id="no such family"),
        pytest.param(socket.AF_INET, 99, 0, id="no such type"),
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, 250, id="no such protocol"),
    ],
)
def test_a_socket_that_there_is_not_is_refused_with_its_errno(shared: Any, family: int, kind: int, proto: int) -> None:
    with pytest.raises(KernelRefused) as refused:
        shared.a.socket(family, kind, proto)
    assert refused.value.errno
    assert shared.a.ping(shared.b).received == 1


def test_a_socket_of_one_cvm_hears_nothing_of_another(two: Callable[[], Any]) -> None:
    pair = two()
    with contextlib.ExitStack() as stack:
        ears = []
        for cvm in (pair.a, pair.b):
            ear = stack.enter_context(cvm.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
            ears.append(ear)
        c = pair.subnet.run_instance("C")
        assert c.ping(pair.b).received == 1
        assert ears[1].recv(2000)
        with pytest.raises(BlockingIOError):
            ears[0].recv(2000, socket.MSG_DONTWAIT)


def test_calls_and_sockets_of_a_lost_keeper_say_so(own_keeper: None, two: Callable[[], Any]) -> None:
    pair = two()
    pair.a.call(len, "x")
    os.kill(pair.lab.fabric.keeper.pid, 9)
    with pytest.raises(KeeperLost):
        pair.a.socket()
    with pytest.raises(LabError):
        pair.a.call(len, "x")
