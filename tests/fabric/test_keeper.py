"""The keeper by itself: its verbs, what it refuses, and what it leaves."""

from __future__ import annotations

import ast
import contextlib
import errno
import itertools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import KeeperLost, KernelRefused
from emulator.fabric import keeper as protocol

if sys.platform == "linux":
    from emulator.fabric import netlink
    from emulator.fabric.client import KeeperClient

SOURCE = Path(protocol.__file__)
UP = netlink.set_up(1) if sys.platform == "linux" else b""
VERBS = sorted(name.removeprefix("do_") for name in vars(protocol.Keeper) if name.startswith("do_"))


# the file --------------------------------------------------------------------------------------------


def test_it_is_small_enough_to_be_read_in_one_go() -> None:
    assert len(SOURCE.read_text().splitlines()) <= 300


def test_it_imports_the_standard_library_only() -> None:
    imported = set()
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or ".").partition(".")[0])
    assert imported <= sys.stdlib_module_names


def test_it_documents_every_verb_that_it_has_and_no_other() -> None:
    table = (protocol.__doc__ or "").split("=" * 30)[1:]
    documented = re.findall(r"^([a-z]+)\b", "".join(table), re.MULTILINE)
    assert sorted(documented) == VERBS
    assert len(VERBS) <= 14


def test_a_socket_that_is_handed_over_is_the_callers_alone_at_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a copy of it here, the caller's close would for a moment neither free its port nor reset its connection."""
    steps = []
    send, close = socket.send_fds, os.close
    with monkeypatch.context() as patched:
        patched.setattr(
            socket, "send_fds", lambda to, said, fds: steps.append(("said", len(fds))) or send(to, said, fds)
        )
        patched.setattr(os, "close", lambda fd: steps.append(("closed", fd)) or close(fd))
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        handed = socket.socket().detach()
        protocol.send(here, {"ok": {}}, handed=handed)
    assert steps == [("said", 1), ("closed", handed), ("said", 0)]
    with here, there, socket.socket(fileno=socket.recv_fds(there, 10, 1)[1][0]) as one:
        assert one.fileno() != -1
        assert there.recv(100) == b'{"ok": {}}\0'


# verbs -----------------------------------------------------------------------------------------------


def look(keeper: KeeperClient, ns: int, *command: str) -> str:
    """Run a program of the host's in a namespace of the keeper's."""
    user = ["-U", "--preserve-credentials"] if keeper.made_user else []
    argv = ["nsenter", "-t", str(keeper.pid), *user, f"--net=/proc/{keeper.pid}/fd/{ns}", *command]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.mark.kernel
def test_hello_names_the_keeper(keeper: KeeperClient) -> None:
    assert Path(f"/proc/{keeper.pid}/comm").read_text().strip() == "vpclab-keeper"
    moved = os.readlink(f"/proc/{keeper.pid}/ns/user") != os.readlink("/proc/self/ns/user")
    assert keeper.made_user == moved
    assert os.geteuid() == 0 or keeper.made_user
    assert keeper.spaces() == {}


@pytest.mark.kernel
def test_netns_makes_namespaces_with_sysctls_and_drop_closes_them(keeper: KeeperClient) -> None:
    made = keeper.make_namespaces(3, "one", {"net/ipv4/ip_default_ttl": 63})
    links = {os.readlink(f"/proc/{keeper.pid}/fd/{ns}") for ns in made}
    assert len(links) == 3
    assert os.readlink("/proc/self/ns/net") not in links
    assert keeper.spaces() == dict.fromkeys(made, "one")
    assert os.readlink(f"/proc/{keeper.pid}/ns/net") in links
    assert look(keeper, made[2], "cat", "/proc/sys/net/ipv4/ip_default_ttl") == "63\n"
    keeper.drop(made[:2])
    assert keeper.spaces() == {made[2]: "one"}
    assert os.readlink(f"/proc/{keeper.pid}/ns/net") not in links  # for it would hold what it stands in
    with pytest.raises(KernelRefused, match="not one of this keeper's"):
        keeper.sysctl(made[0], {})


@pytest.mark.kernel
def test_statistics_are_those_of_the_namespace(keeper: KeeperClient) -> None:
    one, other = keeper.make_namespaces(2, "tag")
    keeper.netlink([(one, 0, UP)])
    with keeper.socket(one, socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"to nobody", ("127.0.0.1", 9))
    sent = [line.split()[10] for line in keeper.statistics(one).splitlines() if line.startswith(b"Ip:")]
    none = [line.split()[10] for line in keeper.statistics(other).splitlines() if line.startswith(b"Ip:")]
    assert sent[0] == none[0] == b"OutRequests"
    assert int(sent[1]) > int(none[1]) == 0
    assert b"InTruncatedPkts" in keeper.statistics(one)


@pytest.mark.kernel
def test_netlink_carries_messages_and_stops_at_the_first_refusal(keeper: KeeperClient) -> None:
    one, other = keeper.make_namespaces(2, "tag")
    lo, missing = netlink.get_link(1), netlink.get_link(77)
    answers = keeper.netlink([(one, 0, UP), (other, 0, missing), (one, 0, lo)])
    assert len(answers) == 2
    with pytest.raises(KernelRefused, match="look at nothing: No such device") as refused:
        netlink.send(keeper, [(one, 0, lo), (other, 0, missing), (one, 0, lo)], "look at nothing")
    assert refused.value.errno == errno.ENODEV
    assert "UP" in look(keeper, one, "ip", "-br", "link", "show", "lo")


@pytest.mark.kernel
def test_netlink_answers_of_any_length_come_back_whole(keeper: KeeperClient) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    (answer,) = keeper.netlink([(ns, 0, netlink.get_link(1))])
    steps = [(ns, 0, netlink.get_link(1))] * 500  # their head alone is longer than a datagram may be
    answers = keeper.netlink(steps)
    assert [len(one) for one in answers] == [len(answer)] * 500
    assert sum(map(len, answers)) > protocol.INLINE


@pytest.mark.kernel
def test_nft_runs_a_ruleset_in_the_namespace(keeper: KeeperClient) -> None:
    one, other = keeper.make_namespaces(2, "tag")
    keeper.nft(one, "add table inet vpclab_test\n")
    assert "vpclab_test" in look(keeper, one, "nft", "list", "tables")
    assert look(keeper, other, "nft", "list", "tables") == ""
    keeper.nft(other, "add table ip second\n")
    keeper.nft(one, "delete table inet vpclab_test\n")
    assert look(keeper, one, "nft", "list", "tables") == ""
    assert "second" in look(keeper, other, "nft", "list", "tables")


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("add chian inet a b\n", "syntax error", id="no ruleset"),
        pytest.param("add element inet a b { 1 }\n", "No such file", id="no table"),
        pytest.param(f"add element inet a b {{ {'10.0.0.1, ' * 60_000} }} again\n", "syntax error", id="long"),
    ],
)
def test_a_ruleset_that_nftables_refuses_is_told_and_the_keeper_goes_on(
    keeper: KeeperClient, text: str, said: str
) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    with pytest.raises(KernelRefused, match=said) as refused:
        keeper.nft(ns, text)
    assert refused.value.request == text
    assert len(str(refused.value)) < 5000
    keeper.nft(ns, "add table ip fine\n")


@pytest.mark.kernel
def test_sysctl_writes_into_the_namespace_alone(keeper: KeeperClient) -> None:
    one, other = keeper.make_namespaces(2, "tag")
    keeper.sysctl(one, {"net/ipv4/ip_forward": 1, "net/ipv4/no_such_thing?": 1})
    assert look(keeper, one, "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert look(keeper, other, "cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("net/ipv4/no_such_thing", errno.ENOENT),
        ("kernel/hostname", errno.EPERM),
        ("net/../kernel/hostname", errno.EPERM),
        ("/proc/sys/net/ipv4/ip_forward", errno.EPERM),
    ],
)
def test_sysctl_refuses_what_is_not_of_a_namespace(keeper: KeeperClient, name: str, number: int) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    with pytest.raises(KernelRefused) as refused:
        keeper.sysctl(ns, {name: "1"})
    assert refused.value.errno == number


@pytest.mark.kernel
def test_socket_hands_over_a_socket_of_the_namespace(keeper: KeeperClient) -> None:
    one, other = keeper.make_namespaces(2, "tag")
    keeper.netlink([(one, 0, UP), (other, 0, UP)])
    with (
        keeper.socket(one, socket.AF_INET, socket.SOCK_DGRAM) as here,
        keeper.socket(one, socket.AF_INET, socket.SOCK_DGRAM) as there,
        keeper.socket(other, socket.AF_INET, socket.SOCK_DGRAM) as elsewhere,
        keeper.socket(one, socket.AF_PACKET, socket.SOCK_RAW) as raw,
    ):
        here.bind(("127.0.0.1", 5353))
        elsewhere.bind(("127.0.0.1", 5353))  # the same address, in another network
        here.settimeout(5)
        there.sendto(b"hello", ("127.0.0.1", 5353))
        assert here.recv(10) == b"hello"
        with pytest.raises(BlockingIOError):
            elsewhere.recv(10, socket.MSG_DONTWAIT)
        assert not os.get_inheritable(here.fileno())
        assert raw.family == socket.AF_PACKET
    with pytest.raises(KernelRefused) as refused:
        keeper.socket(one, 255, socket.SOCK_DGRAM)
    assert refused.value.errno == errno.EAFNOSUPPORT


@pytest.mark.kernel
def test_file_writes_in_the_private_folder_only(keeper: KeeperClient, tmp_path: Path) -> None:
    path = keeper.file("a/b/hosts", b"x" * 200_000)
    assert path == f"{protocol.FOLDER}/a/b/hosts"
    assert not Path(path).exists()  # the host's /sys is another
    target = tmp_path / "out"
    path = keeper.file(f"../../../..{target}", b"x")
    assert path.startswith(protocol.FOLDER + "/")
    assert not target.exists()


def pod_argv(*command: str) -> list[str]:
    return ["bwrap", "--unshare-pid", "--die-with-parent", "--info-fd", "@info", "--ro-bind", "/", "/", *command]


WAITING = ("sh", "-c", "echo ready >&@ready; exec sleep 1000 @ready>&-")


@pytest.mark.kernel
def test_a_pod_lives_until_it_is_ended(keeper: KeeperClient, running: Any) -> None:
    one, other = keeper.make_namespaces(2, "tag")
    first, second = keeper.start_pod(one, pod_argv(*WAITING)), keeper.start_pod(other, pod_argv(*WAITING))
    assert os.readlink(f"/proc/{first}/ns/net") == os.readlink(f"/proc/{keeper.pid}/fd/{one}")
    keeper.end_pod(first)
    running.until(lambda: not running.alive(first), "the pod ends")
    assert running.alive(second)
    keeper.drop([other])
    running.until(lambda: not running.family(keeper.pid), "the pod ends with its namespace")
    keeper.end_pod(first)  # once more is no error


@pytest.mark.kernel
def test_a_pod_inherits_no_descriptor_of_the_keeper(keeper: KeeperClient, running: Any) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    keeper.nft(ns, "add table ip t\n")  # libnftables opens sockets that survive an exec
    init = keeper.start_pod(ns, pod_argv(*WAITING))
    guests = running.family(init) | {init}
    assert guests
    for pid in guests:
        targets = list(running.descriptors(pid).values())
        assert not [one for one in targets if one.startswith(("socket:", "net:", "anon_inode:[pidfd]"))]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param(["/nowhere/bwrap"], "No such file", id="no program"),
        pytest.param(["false"], "ended at once", id="ends at once"),
        pytest.param(pod_argv("/nowhere/sh"), "No such file|execvp", id="no command inside"),
        pytest.param(["bwrap", "--nonsense"], "nonsense", id="bad option"),
    ],
)
def test_a_pod_that_does_not_start_says_why_and_leaves_nothing(
    keeper: KeeperClient, running: Any, argv: list[str], said: str
) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    before = running.descriptors(keeper.pid)
    with pytest.raises(KernelRefused, match=said):
        keeper.start_pod(ns, argv)
    running.until(lambda: not running.family(keeper.pid), "nothing of the pod is left")
    assert running.descriptors(keeper.pid) == before


# what is no request ----------------------------------------------------------------------------------


@pytest.fixture
def wire_to(keeper: KeeperClient) -> Callable[..., dict[str, Any]]:
    """Sends a datagram to the keeper and returns the head of its answer."""
    channel = keeper._channel

    def send(datagram: bytes, *fds: int) -> dict[str, Any]:
        socket.send_fds(channel, [datagram], list(fds))
        answer, handed, _, _ = socket.recv_fds(channel, 2 * protocol.INLINE, 1)
        for one in handed:
            os.close(one)
        head: dict[str, Any] = json.loads(answer.partition(b"\0")[0])
        return head

    return send


GARBAGE = {
    "no JSON": b"\xff\xfe\0\0",
    "a NUL": b"\0",
    "a number": b"5",
    "a list": b"[]\0payload",
    "null": b"null",
    "no verb": b"{}",
    "verb is a number": b'{"verb": 5}',
    "verb is unknown": b'{"verb": "nope"}',
    "verb is a method": b'{"verb": "linger", "self": 1}',
    "verb is private": b'{"verb": "__class__"}',
    "arguments missing": b'{"verb": "netns"}',
    "arguments too many": b'{"verb": "hello", "more": 1}',
    "count is text": b'{"verb": "netns", "count": "many", "tag": "x", "values": {}}',
    "sysctls are a list": b'{"verb": "netns", "count": 1, "tag": "x", "values": [1]}',
    "foreign namespace": b'{"verb": "nft", "ns": 0}\0add table ip x',
    "namespace is a list": b'{"verb": "nft", "ns": [0]}\0add table ip x',
    "namespace is minus one": b'{"verb": "socket", "ns": -1, "family": 2, "type": 2, "proto": 0}',
    "drop of no list": b'{"verb": "drop", "ns": 3}',
    "steps too short": b'{"verb": "netlink", "steps": [[1]], "settle": false}',
    "pod without argv": b'{"verb": "pod", "ns": 0, "argv": []}',
    "linger nowhere": b'{"verb": "linger", "tag": "x", "folder": "/nowhere/at/all", "seconds": 5}',
    "deep": b"[" * 90_000,
    "huge": b"x" * 180_000,
}


@pytest.mark.kernel
@pytest.mark.parametrize("datagram", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_refused_and_the_keeper_goes_on(
    keeper: KeeperClient, running: Any, wire_to: Callable[..., dict[str, Any]], datagram: bytes
) -> None:
    before = running.descriptors(keeper.pid)
    answer = wire_to(datagram)
    assert answer["error"]
    assert len(json.dumps(answer)) < 30_000
    assert running.descriptors(keeper.pid) == before
    assert keeper.spaces() == {}
    (ns,) = keeper.make_namespaces(1, "after")
    assert keeper.spaces() == {ns: "after"}


@pytest.mark.kernel
def test_dropping_descriptors_that_are_no_namespaces_closes_none(keeper: KeeperClient, running: Any) -> None:
    before = running.descriptors(keeper.pid)
    keeper.drop(range(20))
    assert running.descriptors(keeper.pid) == before


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "empty file"])
def test_garbage_in_descriptors_is_refused_and_closed(
    keeper: KeeperClient, running: Any, wire_to: Callable[..., dict[str, Any]], kind: str, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as opened:
        if kind == "folder":
            number = os.open(tmp_path, os.O_RDONLY)
        elif kind == "pipe":
            number, other = os.pipe()
            opened.callback(os.close, other)
        elif kind == "socket":
            number = socket.socket(socket.AF_UNIX).detach()
        else:
            number = os.memfd_create("empty")
        opened.callback(os.close, number)
        before = len(running.descriptors(keeper.pid))
        for _ in range(3):
            assert wire_to(b"\0", number)["error"]
        assert len(running.descriptors(keeper.pid)) <= before + (3 if kind == "folder" else 0)
    assert keeper.spaces() == {}


@pytest.mark.kernel
def test_a_netlink_message_that_is_cut_off_is_refused(keeper: KeeperClient) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    with pytest.raises(KernelRefused):
        keeper.netlink([(ns, 0, b"\x01\x02\x03")])
    assert len(keeper.netlink([(ns, 0, UP)])) == 1


# what it is given and what it keeps ------------------------------------------------------------------


@pytest.mark.kernel
def test_it_inherits_no_descriptor_of_its_caller(running: Any, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as stream:
        os.set_inheritable(stream.fileno(), True)
        keeper = KeeperClient.start()
        try:
            held = running.descriptors(keeper.pid)
            assert {number: held.pop(number) for number in (0, 1, 2)} == dict.fromkeys((0, 1, 2), "/dev/null")
            assert sorted(re.sub(r"\d+", "", target) for target in held.values()) == ["net:[]", "socket:[]"]
        finally:
            keeper.close()


@pytest.mark.kernel
def test_it_is_out_of_reach_of_ctrl_c(keeper: KeeperClient) -> None:
    assert os.getsid(keeper.pid) == keeper.pid
    assert Path(f"/proc/{keeper.pid}/cwd").readlink() == Path("/")


@pytest.mark.kernel
def test_it_holds_nothing_of_what_was_dropped(keeper: KeeperClient, running: Any) -> None:
    before = None
    for _ in range(5):
        spaces = keeper.make_namespaces(4, "tag")
        keeper.nft(spaces[0], "add table ip t\n")
        keeper.start_pod(spaces[1], pod_argv(*WAITING))
        keeper.socket(spaces[2], socket.AF_INET, socket.SOCK_STREAM).close()
        keeper.drop(spaces)
        running.until(lambda: not running.family(keeper.pid), "the pods end")
        assert before in (None, len(running.descriptors(keeper.pid)))
        before = len(running.descriptors(keeper.pid))


# out of descriptors ----------------------------------------------------------------------------------


def leave(pid: int, spare: int, held: Iterable[int]) -> None:
    """Let a process that holds these descriptors open ``spare`` more."""
    free = (number for number in itertools.count() if number not in held)
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (next(itertools.islice(free, spare, None)), hard))


@pytest.mark.kernel
@pytest.mark.parametrize("spare", [0, 1, 2, 3])
def test_out_of_descriptors_is_refused_by_every_verb_and_nothing_half_built_stays(
    keeper: KeeperClient, running: Any, spare: int
) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    keeper.nft(ns, "add table ip t\n")
    before = running.descriptors(keeper.pid)
    leave(keeper.pid, spare, before)
    long = f"add rule ip t c ip saddr {{ {'10.0.0.1, ' * 10_000} 10.0.0.2 }}\n"
    attempts: dict[str, Callable[[], object]] = {
        "netns": lambda: keeper.make_namespaces(5, "more"),
        "socket": lambda: keeper.socket(ns, socket.AF_INET, socket.SOCK_DGRAM).close(),
        "pod": lambda: keeper.start_pod(ns, pod_argv(*WAITING)),
        "a long request": lambda: keeper.nft(ns, long),
        "a long answer": lambda: keeper.netlink([(ns, 0, netlink.get_link(1))] * 500),
    }
    for name, attempt in attempts.items():
        with contextlib.suppress(KernelRefused):
            attempt()
        if name == "a long request":  # silence would mean that a ruleset was lost
            with pytest.raises(KernelRefused):
                attempt()
        assert keeper.spaces() == {ns: "tag"}, name
        if spare == 0 and name in ("netns", "socket", "pod"):
            with pytest.raises(KernelRefused, match="Too many open files: raise the limit") as refused:
                attempt()
            assert refused.value.errno == errno.EMFILE, name
    leave(keeper.pid, 500, before)
    keeper.drop([one for one in keeper.spaces() if one != ns])
    for pod in running.children(keeper.pid):
        os.kill(pod, signal.SIGKILL)
    running.until(lambda: not running.family(keeper.pid), "no pod is left")
    assert len(running.descriptors(keeper.pid)) <= len(before) + 1  # a pod that came to be is held until it is ended
    assert len(keeper.make_namespaces(5, "more")) == 5


# its end ---------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_closing_ends_it_and_all_that_it_holds(keeper: KeeperClient, running: Any) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    space = os.readlink(f"/proc/{keeper.pid}/fd/{ns}")
    init = keeper.start_pod(ns, pod_argv(*WAITING))
    assert running.holders([space], [keeper.pid, init]) == {keeper.pid, init}
    keeper.close()
    assert not running.alive(keeper.pid)
    running.until(lambda: not running.alive(init), "the pod ends with its keeper")
    assert running.holders([space], [keeper.pid, init]) == set()
    assert not keeper.alive


@pytest.mark.kernel
def test_pods_end_with_a_keeper_that_is_killed(keeper: KeeperClient, running: Any) -> None:
    (ns,) = keeper.make_namespaces(1, "tag")
    init = keeper.start_pod(ns, pod_argv(*WAITING))
    os.kill(keeper.pid, signal.SIGKILL)
    running.until(lambda: not running.alive(init), "the pod ends with its keeper")
    with pytest.raises(KeeperLost, match="ended before it answered 'hello'"):
        keeper.spaces()


# lingering -------------------------------------------------------------------------------------------

LINGERING = """
    from emulator.fabric.client import keeper
    from pathlib import Path
    tag, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    client = keeper()
    (ns,), (other,) = client.make_namespaces(1, tag), client.make_namespaces(1, "another lab")
    init = client.start_pod(ns, ["bwrap", "--unshare-pid", "--die-with-parent", "--info-fd", "@info", "--ro-bind", "/",
                                 "/", "sh", "-c", "echo ready >&@ready; exec sleep 1000 @ready>&-"])
    client.linger(tag, folder, seconds)
    tell({"pid": client.pid, "ns": ns, "init": init})
"""


@pytest.mark.kernel
def test_namespaces_linger_for_a_caller_that_was_killed_and_can_be_rejoined(
    program: Callable[..., Any], running: Any, tmp_path: Path
) -> None:
    folder = tmp_path / ("deep" * 30)  # longer than the path of a socket may be
    folder.mkdir()
    caller = program(LINGERING, "mine", folder, 60)
    said = caller.said
    assert (folder / "keeper.sock").stat().st_mode & 0o777 == 0o600
    caller.kill()
    running.until(lambda: not running.alive(said["init"]), "guests end with the caller")
    assert running.alive(said["pid"])
    rejoined = KeeperClient.rejoin(folder)
    assert rejoined is not None
    assert rejoined.pid == said["pid"]
    assert rejoined.spaces() == {said["ns"]: "mine"}  # and nothing of the lab that did not ask for it
    assert len(netlink.send(rejoined, [(said["ns"], 0, netlink.get_link(1))], "look")) == 1
    rejoined.close()  # without a word: it lingers on
    again = KeeperClient.rejoin(folder)
    assert again is not None
    assert again.spaces() == {said["ns"]: "mine"}
    again.linger("mine", folder, 0)
    again.close()
    running.until(lambda: not running.alive(said["pid"]), "nobody lingers any more")
    assert os.listdir(folder) == []
    assert KeeperClient.rejoin(folder) is None


@pytest.mark.kernel
def test_after_its_time_nothing_is_left_of_a_lingering_keeper(
    program: Callable[..., Any], running: Any, tmp_path: Path
) -> None:
    caller = program(LINGERING, "mine", tmp_path, 0.4)
    caller.kill()
    took = running.until(lambda: not running.alive(caller.said["pid"]), "the keeper ends by itself")
    assert took > 0.2
    assert not (tmp_path / "keeper.sock").exists()
    assert KeeperClient.rejoin(tmp_path) is None


@pytest.mark.kernel
def test_a_caller_that_asked_for_no_lingering_any_more_leaves_nothing(
    program: Callable[..., Any], running: Any, tmp_path: Path
) -> None:
    caller = program(
        """
        from emulator.fabric.client import keeper
        from pathlib import Path
        client = keeper()
        client.make_namespaces(1, "tag")
        client.linger("tag", Path(sys.argv[1]), 60)
        client.linger("tag", Path(sys.argv[1]), 0)
        tell(client.pid)
        """,
        tmp_path,
    )
    assert not (tmp_path / "keeper.sock").exists()
    caller.kill()
    running.until(lambda: not running.alive(caller.said), "the keeper ends at once", within_s=5)


# the machine lacks something -------------------------------------------------------------------------


@pytest.mark.kernel
def test_without_nftables_a_lab_says_what_to_install(
    own_keeper: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from emulator import Lab, RequirementMissing

    copy = tmp_path / "keeper.py"
    copy.write_text(SOURCE.read_text().replace("libnftables.so.1", "libnftables-none.so.9"))
    monkeypatch.setattr(protocol, "__file__", str(copy))
    with Lab() as lab:
        with pytest.raises(RequirementMissing, match="apt-get install nftables"):
            lab.create_vpc("10.0.0.0/16")
        assert lab.cloud.vpcs == {}
        assert list(lab.net) == []
        assert lab.fabric.keeper.spaces() == {}


@pytest.mark.kernel
def test_without_bubblewrap_a_command_says_what_to_install(
    pair: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from emulator import RequirementMissing
    from emulator.fabric import guests

    for name in ("nsenter", "setpriv", "env", "hostname", "sh"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        without.setattr(guests, "_PATH", str(tmp_path))
        with pytest.raises(RequirementMissing, match="bwrap is not on this machine; apt-get install bubblewrap"):
            pair.a.run(["/bin/hostname"])
    assert pair.a.run(["hostname"]).stdout == "A\n"
