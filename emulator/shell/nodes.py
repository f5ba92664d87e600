"""Machines at the prompt: what they do, and Mininet's own commands."""

from __future__ import annotations

import subprocess
import sys
from cmd import Cmd
from typing import TYPE_CHECKING, Any

from mininet.cli import CLI
from mininet.log import lg, output

from emulator.resources.base import Addressed
from emulator.shell.session import Command, WrongCommand, number, words

if TYPE_CHECKING:
    from emulator.resources.machine import Machine
    from emulator.shell.session import Session
    from emulator.traffic.outcome import Exchange

MININET = {
    "nodes": "all machines and VPCs",
    "net": "which interface is linked with which",
    "links": "whether they are up",
    "intfs": "interfaces",
    "ports": "interfaces by number",
    "dump": "all that Mininet knows of each node",
    "pingall": "every machine pings every other",
    "pingpair": "the first two ping each other",
    "iperf": "bandwidth between two (needs iperf)",
    "py": "evaluate Python; the lab's nodes are names",
}
"""Commands of Mininet's that mean something here, with what they do."""

PING_COUNT = 1
_MOST = 1_000_000


class _Mininet(CLI):  # type: ignore[misc]
    """Mininet's commands without its loop, which would read our input."""

    def __init__(self, net: Any) -> None:
        Cmd.__init__(self, stdout=sys.stdout)
        self.mn, self.locals, self.inputFile = net, {"net": net}, None

    def waitForNode(self, node: Any) -> None:
        while True:
            try:
                while node.waiting:
                    output(node.monitor())
                return
            except KeyboardInterrupt:  # wherever in there: it is for the command, not for the shell
                node.sendInt()


class Nodes:
    """The commands of machines, ``A ping B``, in one session."""

    usage = (
        ("A ping B [COUNT]", "ping a machine, an EIP or an address"),
        ("A tcp B PORT [BYTES]", "a TCP connection; B listens for it"),
        ("A udp B PORT [COUNT]", "datagrams; B listens for them"),
        ("A run COMMAND", "run a command in A's sandbox"),
        ("A COMMAND", "the same in A's Mininet shell, names of machines become their addresses"),
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        lg.handlers[0].setStream(sys.stdout)
        self._mininet = _Mininet(session.lab.net)
        self.commands = tuple(Command(name, name, about, self._of_mininet(name)) for name, about in MININET.items())

    def run(self, machine: Machine[Any], rest: str) -> None:
        """What stands behind the name of a machine."""
        verb, _, arguments = rest.partition(" ")
        own = {"ping": self._ping, "run": self._run, "tcp": self._talk, "udp": self._talk}.get(verb)
        if not verb:
            raise WrongCommand(f"say what {machine.name} is to do: " + "; ".join(usage for usage, _ in self.usage))
        if own is None or (verb == "ping" and "-" in arguments):
            self._mininet.onecmd(f"{machine.name} {rest}")
        else:
            own(machine, verb, arguments.strip())

    def _of_mininet(self, name: str) -> Any:
        return lambda _, rest: self._mininet.onecmd(f"{name} {rest}".strip())

    def _ping(self, machine: Machine[Any], verb: str, arguments: str) -> None:
        to, *count = words(arguments, "A ping B [COUNT]", 1, 2)
        wanted = number(count[0], "count", range(1, _MOST)) if count else PING_COUNT
        told = machine.ping(self._target(to), count=wanted)
        self._session.say(told.stdout.strip())

    def _talk(self, machine: Machine[Any], verb: str, arguments: str) -> None:
        to, port, *more = words(arguments, f"A {verb} B PORT [{'BYTES' if verb == 'tcp' else 'COUNT'}]", 2, 3)
        target = self._target(to)
        at = number(port, "port", range(1, 65_536))
        if verb == "tcp":
            told = machine.tcp(target, at, bytes=number(more[0], "bytes", range(_MOST)) if more else 0)
        else:
            told = machine.udp(target, at, packets=number(more[0], "count", range(1, _MOST)) if more else 1)
        self._session.say(_told(told))

    def _run(self, machine: Machine[Any], verb: str, arguments: str) -> None:
        if not arguments:
            raise WrongCommand("write A run COMMAND")
        sys.stdout.flush()
        with machine.popen(arguments, stdin=subprocess.DEVNULL) as process:
            try:
                code = process.wait()
            except BaseException:
                process.kill()
                raise
        if code:
            self._session.say(f"exit code {code}")

    def _target(self, name: str) -> Addressed[Any] | str:
        """A machine, whatever else has an address, or an address as it is."""
        machine = self._session.machine(name)
        if machine is not None:
            return machine
        if name[:1].isdecimal() or ":" in name:
            return name
        found = self._session.lab.find(name)
        if not isinstance(found, Addressed):
            raise WrongCommand(f"{name} has no address")
        return found


def _told(exchange: Exchange) -> str:
    """``answered: 9 packets out, 7 back``."""
    counts = [
        f"{tally.packets} packets ({tally.bytes} bytes) {way}"
        for tally, way in ((exchange.sent, "out"), (exchange.received, "back"))
        if tally is not None
    ]
    return f"{exchange.outcome}: {', '.join(counts)}" if counts else str(exchange.outcome)
