"""The caller's side of the keeper: one for each process, started with the first lab, shared by all of them.

The caller keeps its privileges, namespaces and threads as they are; everything that needs more goes through here.
"""

from __future__ import annotations

import array
import atexit
import errno
import itertools
import json
import mmap
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator.errors import KeeperLost, KernelRefused, LabError, RequirementMissing
from emulator.fabric import keeper as protocol
from emulator.fabric import wire

_START_TIMEOUT_S = 20.0
_ANSWER_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 5.0
_NO_ROOM: dict[str, Any] = {"error": os.strerror(errno.EMFILE), "errno": errno.EMFILE}
"""In place of an answer whose descriptor found no room here."""


class KeeperClient:
    """Requests to one keeper, thread-safe, one at a time.

    Every method raises :class:`KernelRefused` when the kernel says no and :class:`KeeperLost` when the keeper has ended
    or does not answer. A namespace is an int: the keeper's descriptor number.
    """

    def __init__(self, channel: socket.socket, process: subprocess.Popen[bytes] | None) -> None:
        self._channel = channel
        self._process = process
        self._lock = threading.Lock()
        self._torn = False  # a request was interrupted, so that its answer may still come
        self._gone = False  # closed, or an answer did not come
        self._syncs = itertools.count(1)
        self._parent = 0  # in a forked child: the process that the keeper belongs to
        _clients.add(self)
        channel.settimeout(_START_TIMEOUT_S)
        hello = self._understood("hello", *self._receive("hello"))[0] if process else self.request("hello")[0]
        channel.settimeout(_ANSWER_TIMEOUT_S)
        self.pid = int(hello["pid"])
        self.made_user: bool = hello["user"]
        """True where the keeper runs in a user namespace of its own, that is for an ordinary user."""

    @property
    def alive(self) -> bool:
        """False when the keeper is known to have ended."""
        return not self._gone and (self._process is None or self._process.poll() is None)

    @classmethod
    def start(cls) -> KeeperClient:
        """Start a keeper as a child of this process; it inherits no descriptor but its end of the socket."""
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise LabError(f"cannot start the keeper of this process's labs: {error.strerror}") from error
        with theirs:
            try:
                process = subprocess.Popen(
                    # By way of sh, for debuggers rewrite the arguments of Python children and then sit in them.
                    [
                        *("/bin/sh", "-c", 'exec "$@"', "vpclab-keeper"),
                        *(sys.executable, "-I", "-S", str(Path(protocol.__file__)), str(theirs.fileno())),
                    ],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise LabError(
                    f"cannot start the keeper of this process's labs with {sys.executable!r}: {error.strerror}"
                ) from error
        try:
            return cls(ours, process)
        except BaseException as error:
            ours.close()
            process.kill()
            process.wait()
            if not isinstance(error, KernelRefused):
                raise
            from emulator import doctor

            probe = doctor.missing()
            raise RequirementMissing(
                f"this machine refuses a lab its namespaces ({error})",
                way_out=probe.way_out if probe else "run `vpclab doctor`",
            ) from None

    @classmethod
    def rejoin(cls, folder: Path) -> KeeperClient | None:
        """The keeper that lingers in a data folder after its caller was killed; None where there is none."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            channel.connect(f"/proc/self/fd/{handle}/keeper.sock")
            return cls(channel, None)
        except (OSError, KeeperLost):
            channel.close()
            return None
        finally:
            os.close(handle)

    def close(self) -> None:
        """Close the socket, which ends the keeper and everything it holds."""
        self._gone = True
        waited = self._lock.acquire(timeout=_END_TIMEOUT_S)  # for a thread that waits for an answer
        self._channel.close()
        if waited:
            self._lock.release()
        if self._process is not None:
            try:
                self._process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def check(self) -> None:
        """Raise KeeperLost where the keeper is known to have ended."""
        if not self.alive:
            raise self._lost()

    def forget(self) -> None:
        """In a forked child: leave the parent's keeper to the parent."""
        self._channel.close()
        self._gone, self._parent = True, os.getppid()
        self._lock = threading.Lock()
        if self._process is not None:
            self._process.returncode = 0  # not a child of this process, so there is nothing to wait for
            self._process = None

    # requests ----------------------------------------------------------------------------------

    def request(
        self, verb: str, payload: bytes | memoryview = b"", **arguments: object
    ) -> tuple[dict[str, Any], memoryview, int | None]:
        """One request: its result, the payload that came back, and a descriptor where one was handed over."""
        head = json.dumps({"verb": verb, **arguments}).encode() + b"\0"
        with self._lock:
            if self._torn:
                self._synchronise(verb)
            self._torn = True
            self._send(verb, head, payload)
            answer = self._receive(verb)
            self._torn = False
        return self._understood(verb, *answer)

    def _send(self, verb: str, head: bytes, payload: bytes | memoryview) -> None:
        blob: list[int] = []
        try:
            frame = b"\0"
            if len(head) + len(payload) <= protocol.INLINE:
                frame = head + payload
            else:
                blob = [os.memfd_create("request")]
                for part in (head, payload):
                    view = memoryview(part)
                    while view:
                        view = view[os.write(blob[0], view) :]
        except OSError as error:
            self._torn = False  # nothing was sent
            raise self._refused(error.errno or 0, verb) from error
        try:
            socket.send_fds(self._channel, [frame], blob)
        except OSError as error:
            raise self._lost(verb, error) from error
        finally:
            for one in blob:
                os.close(one)

    def _receive(self, verb: str) -> tuple[dict[str, Any], bytes, list[int]]:
        """The next answer: its head, its payload, and descriptors."""
        try:
            # Not socket.recv_fds, which forgets the flag that keeps what comes from being inherited.
            datagram, ancillary, flags, _ = self._channel.recvmsg(
                2 * protocol.INLINE, socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise self._lost(verb, error) from error
        if not datagram:
            raise self._lost(verb)
        head, _, payload = datagram.partition(b"\0")
        fds = list(array.array("i", ancillary[0][2])) if ancillary else []
        if not head:  # a socket goes ahead of its answer
            try:
                answer, payload, _ = self._receive(verb)
            except BaseException:
                for one in fds:
                    os.close(one)
                raise
            return (answer, payload, fds) if fds else (_NO_ROOM, b"", [])
        if flags & socket.MSG_CTRUNC:
            return _NO_ROOM, b"", []
        return json.loads(head), payload, fds

    def _understood(
        self, verb: str, answer: dict[str, Any], inline: bytes, fds: list[int]
    ) -> tuple[dict[str, Any], memoryview, int | None]:
        if "error" in answer:
            if answer.get("errno") in (errno.EMFILE, errno.ENFILE):
                raise self._refused(answer["errno"], verb)
            raise KernelRefused(answer["error"], errno=answer.get("errno") or None, request=verb)
        if "blob" not in answer:
            return answer["ok"], memoryview(inline), fds[0] if fds else None
        try:
            return answer["ok"], memoryview(mmap.mmap(fds[0], answer["blob"], mmap.MAP_PRIVATE)), None
        except OSError as error:
            raise self._refused(error.errno or 0, verb) from error
        finally:
            os.close(fds[0])

    def _synchronise(self, verb: str) -> None:
        """Skip what still comes for requests that were interrupted: ask for a verb that does not exist, and wait for
        the refusal that names it."""
        nonsense = f"sync-{next(self._syncs)}"
        self._send(verb, json.dumps({"verb": nonsense}).encode() + b"\0", b"")
        while True:
            answer, _, fds = self._receive(verb)
            for one in fds:
                os.close(one)
            if nonsense in str(answer.get("error")):
                return

    def _refused(self, number: int, verb: str) -> KernelRefused:
        text = os.strerror(number)
        if number in (errno.EMFILE, errno.ENFILE):
            text += ": raise the limit of open files (`ulimit -n`) before this program starts, or use fewer CVMs"
        return KernelRefused(text, errno=number or None, request=verb)

    def _lost(self, verb: str = "", error: OSError | None = None) -> KeeperLost:
        """The error to raise; the keeper, if it is only stuck, is ended, for an answer that comes late would be taken
        for the answer to the next request."""
        self._gone = True
        if self._parent:
            return KeeperLost(f"this lab belongs to process {self._parent}, which forked this one; open a new one here")
        what = f"the keeper (process {getattr(self, 'pid', '?')}) "
        if isinstance(error, TimeoutError):
            self._channel.close()
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            what += f"gave no answer to {verb!r} within {_ANSWER_TIMEOUT_S:g} s: it was stopped or stuck, and"
        else:
            what += f"ended before it answered {verb!r}:" if verb else "has ended:"
        return KeeperLost(
            f"{what} the namespaces of this process's labs are gone with it. Close this lab and open a new one"
        )

    # the verbs, typed ----------------------------------------------------------------------------

    def make_namespaces(self, count: int, tag: str, values: Mapping[str, object] | None = None) -> list[int]:
        """Namespaces of the lab ``tag``, each with these sysctls (as for :meth:`sysctl`)."""
        return list(self.request("netns", count=count, tag=tag, values=dict(values or {}))[0]["ns"])

    def drop(self, namespaces: Iterable[int]) -> None:
        self.request("drop", ns=list(namespaces))

    def netlink(self, steps: Sequence[tuple[int, int, bytes]], *, settle: bool = False) -> list[memoryview]:
        """Send messages: for each step (namespace, protocol, messages) the raw answers, refused ones included.

        ``settle`` then waits until no packet is under way in the rules as they were before.
        """
        ends = list(itertools.accumulate(len(data) for _, _, data in steps))
        result, payload, _ = self.request(
            "netlink",
            b"".join(data for _, _, data in steps),
            steps=[
                [ns, protocol, end - len(data), end, _answers(data)]
                for (ns, protocol, data), end in zip(steps, ends, strict=True)
            ],
            settle=settle,
        )
        answers, at = [], 0
        for length in result["lengths"]:
            answers.append(payload[at : at + length])
            at += length
        return answers

    def nft(self, ns: int, text: str) -> None:
        """Run a ruleset text as one transaction."""
        try:
            self.request("nft", text.encode(), ns=ns)
        except KernelRefused as refused:
            if "libnftables" in str(refused):
                raise RequirementMissing(
                    f"nftables' library is not on this machine ({refused})", way_out="apt-get install nftables"
                ) from None
            raise KernelRefused(f"nftables refused a ruleset: {refused}", request=text) from None

    def sysctl(self, ns: int, values: Mapping[str, object]) -> None:
        """Write ``net/...`` sysctls of a namespace; a name that ends in ``?`` may be missing on this kernel."""
        self.request("sysctl", ns=ns, values=dict(values))

    def statistics(self, ns: int) -> bytes:
        """What a namespace counts of each protocol: its /proc/net/snmp, netstat and snmp6."""
        return bytes(self.request("statistics", ns=ns)[1])

    def socket(self, ns: int, family: int, kind: int, proto: int = 0) -> socket.socket:
        """A socket that lives in the namespace and belongs to the caller."""
        _, _, handle = self.request("socket", ns=ns, family=int(family), type=int(kind), proto=int(proto))
        assert handle is not None
        return socket.socket(fileno=handle)

    def file(self, path: str, content: bytes) -> str:
        """Write a file in the keeper's private folder; its path as sandboxes started by the keeper see it."""
        return str(self.request("file", content, path=path)[0]["path"])

    def start_pod(self, ns: int, argv: Sequence[str]) -> int:
        """Start a sandbox in a namespace; the pid of its init, in this process's PID namespace."""
        return int(self.request("pod", ns=ns, argv=list(argv))[0]["pid"])

    def end_pod(self, pid: int) -> None:
        self.request("endpod", pid=pid)

    def linger(self, tag: str, folder: Path, seconds: float) -> None:
        """Keep a lab's namespaces this long after this process has died; 0: no longer."""
        self.request("linger", tag=tag, folder=str(folder), seconds=seconds)

    def spaces(self) -> dict[int, str]:
        """Namespaces held, with the tag of their lab."""
        return {int(ns): tag for ns, tag in json.loads(bytes(self.request("hello")[1])).items()}


def _answers(requests: bytes) -> int:
    """How many of these netlink messages the kernel acknowledges or answers with a dump."""
    return sum(bool(flags & wire.ACK) or flags & wire.DUMP == wire.DUMP for _, flags, _, _ in wire.messages(requests))


_current: KeeperClient | None = None
_starting = threading.Lock()
_clients: weakref.WeakSet[KeeperClient] = weakref.WeakSet()
"""All that this process has a socket to."""


def keeper() -> KeeperClient:
    """This process's keeper, started at the first call and again after it was lost."""
    global _current
    with _starting:
        if _current is not None and not _current.alive:
            _current.close()
            _current = None
        if _current is None:
            _current = KeeperClient.start()
        return _current


def _forget_after_fork() -> None:
    """A forked child must not speak on its parent's sockets, nor keep them open when the parent dies."""
    global _current, _starting
    _starting, _current = threading.Lock(), None
    for client in list(_clients):
        client.forget()


def _close_at_exit() -> None:
    """Leave nothing behind, and nothing for the interpreter to complain about."""
    if _current is not None:
        _current.close()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_close_at_exit)
