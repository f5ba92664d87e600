"""Mininet's nodes without Mininet's plumbing: namespaces held by the keeper, a shell only when ``cmd`` asks for one.

Stock Mininet forks a shell and some eighteen processes for each host (27 ms); here a host is a descriptor in the
keeper.
``cmd``, ``popen``, ``pexec``, ``sendCmd``, ``monitor`` and ``pingAll`` work as its users know them; commands run in the
node's sandbox.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from emulator.errors import GuestError
from emulator.fabric.client import KeeperClient
from emulator.fabric.guests import Pod
from emulator.fabric.processes import GuestProcess
from emulator.fabric.stock import Host, Node, error, getincrementaldecoder

_PROMPT = chr(127)
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


def hostname(name: str, otherwise: str = "") -> str:
    """A name as far as it can be a host's, else what is given for that."""
    return name if _HOSTNAME.fullmatch(name) else otherwise


class NamespaceNode(Node):  # type: ignore[misc]
    """A node whose namespace lives in the keeper.

    ``keeper``, ``ns`` and ``hosts`` (gives the path of the hosts file for sandboxes) come as Mininet params.
    """

    shell: GuestProcess | None

    def __init__(
        self,
        name: str,
        inNamespace: bool = True,
        *,
        keeper: KeeperClient,
        ns: int,
        hosts: Callable[[], str],
        hostname: str = "",
        **params: Any,
    ) -> None:
        self.keeper, self.ns = keeper, ns
        self.pod = Pod(keeper, ns, hostname or name, hosts)
        self._failure: GuestError | None = None
        super().__init__(name, inNamespace=inNamespace, **params)

    @classmethod
    def checkSetup(cls) -> None:
        """Stock Mininet looks for its tools here; this node needs none of them."""

    def startShell(self, mnopts: str | None = None) -> None:
        """Nothing yet: the shell starts with the first command."""

    def mountPrivateDirs(self) -> None:
        """A pod has private folders of its own."""

    unmountPrivateDirs = mountPrivateDirs

    def config(self, **_params: Any) -> dict[str, Any]:
        """Addresses and routes are set by the fabric."""
        return {}

    def _shell(self) -> None:
        self.keeper.check()
        if self.shell is not None and self.shell.poll() is None:
            return
        self._end_shell()
        self.master, self.slave = os.openpty()
        # The terminal is the shell's own, so that sendInt reaches what runs in it.
        argv = ["setsid", "-c", "env", f"PS1={_PROMPT}", "bash", "--norc", "--noediting", "-is", f"mininet:{self.name}"]
        self.stdin = self.stdout = os.fdopen(self.master, "r")
        try:
            self.shell = self.pod.popen(argv, stdin=self.slave, stdout=self.slave, stderr=self.slave)
        except BaseException:
            self.stdin.close()
            raise
        finally:
            os.close(self.slave)  # the shell's are the only ones left, so that its end is seen here
        self.pid = self.shell.pid
        self.pollOut = select.poll()
        self.pollOut.register(self.stdout, select.POLLIN)  # not for writing, as stock Mininet does: it always can
        self.outToNode[self.stdout.fileno()] = self.inToNode[self.stdin.fileno()] = self
        self.decoder = getincrementaldecoder()
        self.readbuf, self.waiting = "", False
        while not self.read(1024).endswith(_PROMPT):
            self.pollOut.poll()
        super().cmd("unset HISTFILE; stty -echo; set +m")

    def _end_shell(self) -> None:
        if self.shell is None:
            return
        fileno = self.stdout.fileno()
        self.outToNode.pop(fileno, None)
        self.inToNode.pop(fileno, None)
        self.shell.kill()
        self.shell.wait()
        self.stdin.close()
        self.shell, self.waiting = None, False

    @property
    def waiting(self) -> bool:
        """Whether a command runs in the shell. Mininet's CLI looks at nothing else while it waits."""
        ended = self._waiting and self.shell is not None and self.shell.poll() is not None
        if ended and not self.readbuf and not self.pollOut.poll(0)[0][1] & select.POLLIN:
            self._failure = self._shell_ended()
            error(f"*** {self._failure}\n")
        return self._waiting

    @waiting.setter
    def waiting(self, value: bool) -> None:
        self._waiting = value

    def _shell_ended(self) -> GuestError:
        self._end_shell()
        return GuestError(f"the shell of {self.name} ended before its command did; the next command starts another")

    def read(self, size: int = 1024) -> str:
        """What is in the buffer, else what comes; stock Mininet waits for more although it has something."""
        if self.readbuf:
            said, self.readbuf = self.readbuf[:size], self.readbuf[size:]
            return said
        try:
            said = str(super().read(size))
        except OSError:
            said = ""
        if not said:
            raise self._shell_ended()
        return said

    def readline(self) -> str | None:
        """The next line without its end, or None while it is not complete; stock Mininet reads what it has twice."""
        if "\n" not in self.readbuf:
            begun, self.readbuf = self.readbuf, ""
            self.readbuf = begun + self.read()
        line, end, rest = self.readbuf.partition("\n")
        if not end:
            return None
        self.readbuf = rest
        return line

    def waitReadable(self, timeoutms: int | None = None) -> object:
        """As Mininet's, which takes what is already in its buffer for nothing to read."""
        return True if self.readbuf else self.pollOut.poll(timeoutms)

    def monitor(self, timeoutms: int | None = None, findPid: bool = True) -> str:
        """Output that is there, or the first to come; a shell that ends is told as output."""
        try:
            return str(super().monitor(timeoutms, findPid))
        except GuestError as failure:
            self._failure = failure
            return f"*** {failure}\n"

    def waitOutput(self, verbose: bool = False, findPid: bool = True) -> str:
        """Wait for the command and return its output; GuestError where the shell has ended."""
        self._failure = None
        said = str(super().waitOutput(verbose, findPid))
        if self._failure is not None:
            raise self._failure
        return said

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        self._shell()
        kwargs.pop("printPid", None)  # it wants mnexec inside
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> str:
        """Run a command in the node's shell and return what it printed."""
        self._shell()
        return str(super().cmd(*args, **kwargs))

    def popen(self, *args: Any, **kwargs: Any) -> GuestProcess:
        """A Popen object in the node's namespace and sandbox."""
        shell = kwargs.pop("shell", False)
        kwargs.pop("mncmd", None)
        command: Sequence[str] | str
        if len(args) == 1 and isinstance(args[0], str):
            command = args[0] if shell else args[0].split()
        else:
            command = list(args[0]) if len(args) == 1 else [str(part) for part in args]
            command = " ".join(command) if shell else command
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
        return self.pod.popen(command, **options)

    def terminate(self) -> None:
        """End the shell and everything else in the node's sandbox; the next command starts them anew."""
        self.pod.close()
        self._end_shell()

    def retire(self, *, dropped: bool = False) -> None:
        """As ``terminate``, and nothing runs here any more: the namespace goes, or has gone (``dropped``)."""
        self.pod.close(for_good=True, ended=dropped)
        self._end_shell()

    def stop(self, deleteIntfs: bool = False) -> None:
        self.terminate()

    def deleteIntfs(self, checkName: bool = True) -> None:
        """Interfaces go with their namespace."""


class CvmHost(NamespaceNode, Host):  # type: ignore[misc]
    """A CVM as a Mininet host; ``id`` is the CVM's."""

    def __init__(self, name: str, *, id: str = "", **params: Any) -> None:
        self.id = id or name
        super().__init__(name, **params)


class VpcRouter(NamespaceNode):
    """The routed fabric of one VPC, in place of Mininet's switch; ``id`` is the VPC's."""

    def __init__(self, name: str, *, id: str = "", **params: Any) -> None:
        params.pop("listenPort", None)
        self.id = id or name
        super().__init__(name, **params)

    def start(self, controllers: Sequence[object]) -> None:
        """A namespace forwards by itself."""

    def connected(self) -> bool:
        return True
