"""The caller of the keeper: what it may be, what it keeps, and what happens to it when things go wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import GuestError, KeeperLost, LabError
from tests import warm

if sys.platform == "linux":
    from emulator.fabric import client, netlink
    from emulator.fabric.client import KeeperClient

pytestmark = pytest.mark.kernel

AT_ONCE_S = 5.0
"""What counts as at once on a machine that does other things as well."""


# a keeper that is lost -------------------------------------------------------------------------------


def test_a_killed_keeper_is_told_at_once_and_a_new_lab_works(own_keeper: None, two: Callable[[], Any]) -> None:
    pair = two()
    node, talking = pair.lab.net.get("A"), pair.a.popen(["ping", "-i", "0.2", pair.b.ip], stdout=subprocess.PIPE)
    assert node.cmd("echo hello").strip() == "hello"
    talking.stdout.readline()
    os.kill(pair.lab.fabric.keeper.pid, signal.SIGKILL)
    begun = time.monotonic()
    with pytest.raises(KeeperLost, match="Close this lab and open a new one"):
        pair.subnet.run_instance("C")
    with pytest.raises(KeeperLost):
        pair.a.run(["true"], check=True)
    with pytest.raises(KeeperLost):
        node.cmd("echo again")
    assert talking.wait(AT_ONCE_S) != 0
    talking.stdout.close()
    assert time.monotonic() - begun < AT_ONCE_S
    assert [cvm.name for cvm in pair.lab.cloud.cvms.values()] == ["A", "B"]  # C was not half made
    pair.lab.close()
    after = two()
    assert after.lab.fabric.keeper is not pair.lab.fabric.keeper
    assert after.a.ping(after.b).received == 1


def test_a_command_in_a_shell_ends_with_a_killed_keeper(own_keeper: None, two: Callable[[], Any], running: Any) -> None:
    pair = two()
    node = pair.lab.net.get("A")
    node.cmd("true")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(node.cmd, "sleep 1000")
        keeper = pair.lab.fabric.keeper.pid
        running.until(
            lambda: any(Path(f"/proc/{pid}/comm").read_text() == "sleep\n" for pid in running.family(os.getpid())),
            "the command runs",
        )
        os.kill(keeper, signal.SIGKILL)
        with pytest.raises((GuestError, KeeperLost), match="ended"):
            waiting.result(AT_ONCE_S)


def test_a_stopped_keeper_is_not_waited_for_for_ever(
    own_keeper: None, two: Callable[[], Any], running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_ANSWER_TIMEOUT_S", 0.3)
    pair = two()
    pid = pair.lab.fabric.keeper.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(KeeperLost, match=r"gave no answer to '\w+' within 0\.3 s: it was stopped or stuck"):
        pair.a.socket()
    assert not running.alive(pid)  # or it would hold the lab's namespaces for ever
    with pytest.raises(KeeperLost):
        pair.a.socket()
    pair.lab.close()
    assert two().a.ping("10.16.0.40").received == 1


def test_a_stopped_keeper_does_not_keep_a_program_from_ending(python: Callable[..., Any]) -> None:
    result = python(
        """
        import os, signal
        from emulator.fabric import client
        client._END_TIMEOUT_S = 0.2
        keeper = client.keeper()
        os.kill(keeper.pid, signal.SIGSTOP)
        print(keeper.pid)
        """
    )
    assert not os.path.exists(f"/proc/{result.stdout.strip()}")


@pytest.mark.parametrize("when", ["before the request is sent", "while waiting for the answer"])
def test_an_interrupted_request_does_not_mix_up_the_answers(
    keeper: KeeperClient, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Ctrl-C in a notebook, say."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(keeper, "_send" if when.startswith("before") else "_receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            keeper.make_namespaces(1, "interrupted")
    (ns,) = keeper.make_namespaces(1, "next")
    tags = keeper.spaces()
    assert tags[ns] == "next"
    assert sorted(tags.values()) == (["next"] if when.startswith("before") else ["interrupted", "next"])


def test_a_socket_that_came_for_an_interrupted_request_is_closed(
    keeper: KeeperClient, monkeypatch: pytest.MonkeyPatch, running: Any
) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    before = running.descriptors()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(keeper, "_receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            keeper.socket(ns, socket.AF_INET, socket.SOCK_DGRAM)
    assert keeper.spaces() == {ns: "tag"}
    assert running.descriptors() == before


def test_what_an_interrupted_request_made_goes_with_the_lab(
    own_keeper: None, two: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = two()
    keeper = pair.lab.fabric.keeper
    other = two()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(keeper, "_receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pair.subnet.run_instance("C")
    assert pair.a.ping(pair.b).received == 1
    pair.lab.close()
    assert set(keeper.spaces().values()) == {other.lab.fabric.tag}


# a caller that is killed -----------------------------------------------------------------------------

BUSY = """
    from emulator import Lab
    lab = Lab()
    vpc = lab.create_vpc("10.16.0.0/16")
    subnet = vpc.create_subnet("10.16.0.0/24")
    a, b = subnet.run_instance("A"), subnet.run_instance("B")
    a.run("sleep 1000 >/dev/null 2>&1 &")
    b.run("setsid sleep 1000 >/dev/null 2>&1 &")
    talking = a.popen(["ping", "-q", b.ip], stdout=-3)
    lab.net.get("B").sendCmd("sleep 1000")
    capture = a.eni.capture(sys.argv[1]).__enter__()
    keeper = lab.fabric.keeper
    spaces = [os.readlink(f"/proc/{keeper.pid}/fd/{ns}") for ns in keeper.spaces()]
    tell({"keeper": keeper.pid, "spaces": spaces})
"""


def test_a_caller_that_is_killed_leaves_nothing_a_second_later(
    program: Callable[..., Any], running: Any, tmp_path: Path
) -> None:
    caller = program(BUSY, tmp_path / "a.pcap")
    keeper, spaces = caller.said["keeper"], caller.said["spaces"]
    left = {keeper} | running.family(keeper) | running.family(caller.process.pid)
    comms = sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in left)
    assert comms.count("sleep") == 5  # two of them are the pods' own
    assert comms.count("ping") == 1
    assert len(spaces) == 3
    assert running.holders(spaces, left) >= running.family(keeper)
    caller.kill()
    running.until(lambda: not any(map(running.alive, left)), f"of {comms} none is left", within_s=AT_ONCE_S)


def test_a_caller_that_ends_without_closing_its_lab_says_nothing_and_leaves_nothing(
    python: Callable[..., Any], running: Any, tmp_path: Path
) -> None:
    source = (
        BUSY.replace("tell(", "print(repr(").replace("spaces})", "spaces}))").replace("talking = a.popen", "a.popen")
    )
    source = "import os, sys\n" + "\n".join(line[4:] for line in source.splitlines() if "capture" not in line)
    source = source.replace('a.popen(["ping", "-q", b.ip], stdout=-3)', "pass")
    result = python(source, tmp_path / "a.pcap", options=["-X", "dev"])
    said = json.loads(result.stdout.replace("'", '"'))
    assert "Warning" not in result.stderr
    assert "Traceback" not in result.stderr
    running.until(lambda: not running.alive(said["keeper"]), "the keeper is gone")
    assert len(said["spaces"]) == 3


# what a caller keeps ---------------------------------------------------------------------------------


def test_the_caller_stays_as_it_was(python: Callable[..., Any]) -> None:
    result = python(
        """
        import json, os, resource, signal, threading
        def state():
            found = {"ns " + name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")}
            status = dict(line.split(":", 1) for line in open("/proc/self/status"))
            found |= {name: status[name].strip() for name in ("Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs",
                                                              "Seccomp", "Umask", "SigIgn", "SigBlk")}
            threads = [one.name for one in threading.enumerate()]
            found |= {"threads": [name for name in threads if not name.startswith("vpclab")]}  # of its own
            found |= {"cwd": os.getcwd(), "limits": [
                resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]}
            found |= {"mounts": open("/proc/self/mounts").read(), "environment": dict(os.environ)}
            found |= {"signals": [str(signal.getsignal(one)) for one in signal.valid_signals()]}
            found |= {"sid": os.getsid(0), "pgid": os.getpgrp(), "dumpable": os.stat("/proc/self/status").st_uid}
            return found
        from emulator import Lab
        from emulator.fabric import client, guests, pcap
        before, files = state(), sorted(os.listdir("/proc/self/fd"))
        with Lab() as lab:
            subnet = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24")
            a, b = subnet.run_instance("A"), subnet.run_instance("B")
            assert a.ping(b).received == 1
            assert a.call(lambda: 5) == 5
            with a.eni.capture(os.devnull):
                pass
            during = state()
        after, left = state(), sorted(os.listdir("/proc/self/fd"))
        print(json.dumps([before, during, after, len(files), len(left)]))
        """
    )
    before, during, after, files, left = json.loads(result.stdout)
    assert during == before
    assert after == before
    assert left <= files + 1  # the socket to the keeper


# callers of every kind -------------------------------------------------------------------------------

SAMPLE = """
def sample(name="A"):
    from emulator import Lab
    with Lab() as lab:
        subnet = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24")
        a, b = subnet.run_instance(name), subnet.run_instance("B")
        return a.ping(b, count=2).received
"""


def test_threads_share_a_keeper(needs_kernel: None) -> None:
    space: dict[str, Any] = {}
    exec(SAMPLE, space)
    with ThreadPoolExecutor(8) as pool:
        barrier = threading.Barrier(8)

        def work(number: int) -> tuple[int, int]:
            barrier.wait(20)
            return space["sample"](f"host{number}"), client.keeper().pid

        results = list(pool.map(work, range(8)))
    assert {received for received, _ in results} == {2}
    assert {pid for _, pid in results} == {client.keeper().pid}
    tags = {f"lab-{os.getpid()}"}
    assert not [tag for tag in client.keeper().spaces().values() if tag in tags]


def test_eight_threads_that_start_at_once_start_one_keeper(own_keeper: None) -> None:
    barrier = threading.Barrier(8)

    def start(_: int) -> KeeperClient:
        barrier.wait(20)
        return client.keeper()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(8)))) == 1


def test_requests_of_many_threads_get_their_own_answers(keeper: KeeperClient) -> None:
    spaces = keeper.make_namespaces(8, "tag")
    for ns in spaces:
        netlink.send(keeper, [(ns, 0, netlink.set_up(1))], "set up")

    def ask(number: int) -> bool:
        for round_ in range(30):
            with keeper.socket(spaces[number], socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.bind(("127.0.0.1", 1000 + number))  # twice in one namespace would be refused
                assert keeper.file(f"{number}/{round_}", b"x" * number * 20_000).endswith(f"/{number}/{round_}")
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_a_forked_child_has_a_keeper_of_its_own(python: Callable[..., Any]) -> None:
    """As multiprocessing's fork start method makes them."""
    result = python(
        SAMPLE
        + """
import os, sys, traceback
from emulator import Lab, LabError
from emulator.fabric import client
lab = Lab()
subnet = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24")
a, b = subnet.run_instance("A"), subnet.run_instance("B")
assert lab.net.get("A").cmd("echo parent").strip() == "parent"
mine = lab.fabric.keeper.pid
child = os.fork()
if child == 0:
    status = 1
    try:
        assert sample() == 2
        assert client.keeper().pid != mine
        for attempt in (lambda: a.run(["true"]), lambda: subnet.run_instance("C"), lambda: a.socket()):
            try:
                attempt()
            except LabError:
                pass
            else:
                raise AssertionError("the child used its parent's keeper")
        lab.close()
        client.keeper().close()
        status = 0
    except BaseException:
        traceback.print_exc()
    os._exit(status)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert a.ping(b).received == 1
assert lab.net.get("A").cmd("echo still").strip() == "still"
assert lab.fabric.keeper.pid == mine
lab.close()
print("fine")
"""
    )
    assert result.stdout == "fine\n"


def test_a_child_that_is_forked_amid_requests_is_not_stuck(python: Callable[..., Any]) -> None:
    result = python(
        SAMPLE
        + """
import os, threading
from emulator.errors import LabError
from emulator.fabric import client
assert sample() == 2  # what it imports its children need not
keeper = client.keeper()
def ask(asked, enough):
    while not enough.is_set():
        keeper.spaces()
        asked.set()
for _ in range(2):
    asked, enough = threading.Event(), threading.Event()
    threads = [threading.Thread(target=ask, args=(asked, enough)) for _ in range(2)]
    for thread in threads:
        thread.start()
    asked.wait()
    child = os.fork()
    if child == 0:
        try:
            keeper.spaces()
        except LabError:
            os._exit(7 if sample() == 2 else 1)
        os._exit(2)
    enough.set()
    for thread in threads:
        thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
keeper.spaces()
print("fine")
""",
        options=["-W", "ignore::DeprecationWarning"],  # Python 3.12 has a word about forking with threads
    )
    assert result.stdout == "fine\n"


def test_multiprocessing_forks_work(python: Callable[..., Any]) -> None:
    result = python(
        SAMPLE
        + """
import multiprocessing
if __name__ == "__main__":
    assert sample() == 2
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(sample, ["A", "C", "D"]))
""",
        options=["-W", "ignore::DeprecationWarning"],
    )
    assert result.stdout == "[2, 2, 2]\n"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["-m", "pdb", "-c", "continue"], id="pdb"),
        pytest.param(["-m", "debugpy", "--listen", "127.0.0.1:0"], id="debugpy"),
    ],
)
def test_a_caller_in_a_debugger_works(needs_kernel: None, running: Any, tmp_path: Path, options: list[str]) -> None:
    if "debugpy" in options:
        pytest.importorskip("debugpy")
    script = tmp_path / "script.py"
    script.write_text(SAMPLE + "print('received', sample())\n")
    argv = [sys.executable, *(one.format(tmp=tmp_path) for one in options), str(script)]
    done = subprocess.run(
        argv,
        input="q\n",
        capture_output=True,
        text=True,
        env=running.environment(HOME=str(tmp_path), PYDEVD_DISABLE_FILE_VALIDATION="1"),
        timeout=running.BOUND_S * 2,
        cwd=tmp_path,
    )
    assert "received 2" in done.stdout, done.stderr


def test_a_caller_under_a_trace_function_works(own_keeper: None) -> None:
    space: dict[str, Any] = {}
    exec(SAMPLE, space)
    seen = set()

    def trace(frame: Any, event: str, argument: object) -> Any:
        seen.add(frame.f_code.co_filename)
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        assert space["sample"]() == 2
    finally:
        sys.settrace(previous)
    assert client.__file__ in seen


def test_this_process_has_one_keeper(two: Callable[[], Any], running: Any) -> None:
    """An xdist worker has, too: that is where these tests run."""
    pair, other = two(), two()
    assert running.children(os.getpid(), "vpclab-keeper") == [pair.lab.fabric.keeper.pid]
    assert other.lab.fabric.keeper is pair.lab.fabric.keeper


@pytest.mark.parametrize("place", ["/tmp", "/", "gone"])
def test_a_caller_works_from_any_folder(needs_kernel: None, running: Any, tmp_path: Path, place: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    leave = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n" if place == "gone" else ""
    env = {name: value for name, value in running.environment().items() if name != "HOME"}
    folder = Path("/" if place == "gone" else place)
    done = warm.python("-c", leave + SAMPLE + "print('received', sample())\n", env=env, cwd=folder)
    assert done.stdout == "received 2\n", done.stderr


# out of descriptors ----------------------------------------------------------------------------------


SCARCE = """
import array, mmap, os, resource, socket, sys
import emulator.doctor, emulator.lab
from emulator.errors import KernelRefused, LabError
from emulator.fabric import client, netlink

def spare(count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    held = {int(number) for number in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + number)}
    free = [number for number in range(100) if number not in held]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], hard))
    return len(held)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
"""


def test_no_descriptor_left_for_a_keeper_is_a_clear_error(python: Callable[..., Any]) -> None:
    result = python(
        SCARCE
        + """
outcomes = []
for count in range(9):
    before = spare(count)
    try:
        client.keeper()
    except LabError as error:
        assert "Too many open files" in str(error), error
        outcomes.append(False)
    else:
        outcomes.append(True)
        client._current.close()
        client._current = None
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) == before + 1, (count, outcomes)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print(outcomes)
""",
        options=["-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning"],
    )
    assert result.stdout.startswith("[False, False, "), result.stderr
    assert result.stdout.endswith("True]\n")
    assert "Exception ignored" not in result.stderr


def test_no_descriptor_left_for_an_answer_is_a_clear_error(python: Callable[..., Any]) -> None:
    result = python(
        SCARCE
        + """
keeper = client.keeper()
(ns,) = keeper.make_namespaces(1, "tag")
attempts = {
    "a socket": lambda: keeper.socket(ns, socket.AF_INET, socket.SOCK_DGRAM),
    "a long request": lambda: keeper.file("x", b"x" * 200_000),
    "a long answer": lambda: keeper.netlink([(ns, 0, netlink.get_link(1))] * 200),
}
for name, attempt in attempts.items():
    spare(0)
    try:
        attempt()
    except KernelRefused as refused:
        assert "Too many open files: raise the limit" in str(refused), refused
        assert refused.errno == 24
        print(name)
    assert keeper.spaces() == {ns: "tag"}
"""
    )
    assert result.stdout.splitlines() == ["a socket", "a long request", "a long answer"]


def test_a_lab_whose_keeper_runs_out_of_descriptors_builds_nothing_by_halves(
    own_keeper: None, two: Callable[[], Any], running: Any
) -> None:
    pair = two()
    keeper = pair.lab.fabric.keeper
    held, spaces = running.descriptors(keeper.pid), keeper.spaces()
    soft, hard = resource.prlimit(keeper.pid, resource.RLIMIT_NOFILE)
    refused = 0
    for spare in range(6):
        free = [number for number in range(soft) if number not in held]
        resource.prlimit(keeper.pid, resource.RLIMIT_NOFILE, (free[spare], hard))
        try:
            made = pair.subnet.run_instance("C", private_ip="10.16.0.50")
        except LabError:
            refused += 1
            assert sorted(pair.lab.net) == ["A", "B", "demo"]
            assert len(pair.lab.net.links) == 2
            assert keeper.spaces() == spaces
            assert {cvm.name for cvm in pair.lab.cloud.cvms.values()} == {"A", "B"}
        else:
            resource.prlimit(keeper.pid, resource.RLIMIT_NOFILE, (soft, hard))
            assert made.ping(pair.a).received == 1
            made.terminate()
    assert refused
    resource.prlimit(keeper.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert pair.subnet.run_instance("C", private_ip="10.16.0.50").ping(pair.a).received == 1


# opening and closing ---------------------------------------------------------------------------------


def test_nobody_lingers_in_an_empty_folder(needs_kernel: None, tmp_path: Path) -> None:
    assert KeeperClient.rejoin(tmp_path) is None
    (tmp_path / "keeper.sock").write_text("no socket")
    assert KeeperClient.rejoin(tmp_path) is None
    (tmp_path / "keeper.sock").unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(tmp_path / "keeper.sock"))
    assert KeeperClient.rejoin(tmp_path) is None


def test_closing_twice_is_no_error_and_using_it_afterwards_is_one(needs_kernel: None) -> None:
    keeper = KeeperClient.start()
    keeper.close()
    keeper.close()
    with pytest.raises(KeeperLost):
        keeper.spaces()


def test_a_hundred_labs_leave_the_process_as_it_was(own_keeper: None, two: Callable[[], Any], running: Any) -> None:
    from emulator import Lab

    first = two()
    first.a.ping(first.b)
    keeper = first.lab.fabric.keeper
    pods, before, held, threads = (
        len(running.family(keeper.pid)),
        running.descriptors(),
        running.descriptors(keeper.pid),
        threading.active_count(),
    )
    for number in range(20):
        with Lab() as lab:
            subnet = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24")
            a = subnet.run_instance("A")
            if number % 5 == 0:
                a.run(["true"], check=True)
                lab.net.get("A").cmd("true")
    assert running.descriptors() == before
    assert running.descriptors(keeper.pid) == held
    assert threading.active_count() == threads
    running.until(lambda: len(running.family(keeper.pid)) == pods, "their pods are gone")
