"""What CVMs and hosts of the internet have in common: programs run there and packets are sent from there."""

from __future__ import annotations

import re
import socket
import subprocess
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from emulator.cloud import beyond, model
from emulator.errors import GuestError, InvalidValue
from emulator.fabric.calls import call_in
from emulator.fabric.guests import let_ping
from emulator.fabric.processes import GuestProcess
from emulator.resources.base import Addressed
from emulator.resources.talk import Talk

if TYPE_CHECKING:
    from emulator.fabric.nodes import CvmHost

_M = TypeVar("_M", bound="model.Cvm | beyond.InternetHost")
_R = TypeVar("_R")


@dataclass(frozen=True)
class PingResult:
    """What ``ping`` reported: packets sent and answered, and its whole output."""

    transmitted: int
    received: int
    stdout: str


class Machine(Addressed[_M], Talk):
    """A network namespace with a sandbox around what runs in it."""

    @property
    def machine(self) -> Machine[Any]:
        return self

    def popen(self, args: Sequence[str] | str, *, net_admin: bool = False, **options: Any) -> GuestProcess:
        """Start a command in the CVM: a list is executed, a string goes to ``sh -c``; ``options`` as for
        ``subprocess.Popen``.

        ``net_admin`` gives it NET_ADMIN in its own namespace; it can then turn offloads back on and spoil the count.
        """
        return self._node().pod.popen(args, net_admin=net_admin, **options)

    def run(
        self,
        args: Sequence[str] | str,
        *,
        check: bool = False,
        timeout: float | None = None,
        input: str | None = None,
        net_admin: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the CVM and wait for it; output as text.

        ``check`` raises ``CalledProcessError``, ``timeout`` (seconds) ends the command and raises ``TimeoutExpired``; a
        command that the CVM does not have raises CommandNotFound.
        """
        process = self.popen(
            args,
            net_admin=net_admin,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                stdout, stderr = process.result(input, timeout)
            except BaseException as error:
                process.kill()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise subprocess.TimeoutExpired(args, error.timeout, error.output, error.stderr) from None
                raise
        if process.returncode:
            self._lab.fabric.keeper.check()
        result = subprocess.CompletedProcess(args, process.returncode, stdout, stderr)
        if check:
            result.check_returncode()
        return result

    def ping(
        self, other: Addressed[Any] | str, *, count: int = 1, ipv6: bool = False, wait_s: float = 1.0
    ) -> PingResult:
        """Ping another machine, ENI, EIP or address; 2 ms between requests, ``wait_s`` for the last answers.

        ``ipv6``: at its first IPv6 address.
        """
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InvalidValue(
                f"ping from {self.name}: count={count!r}; a whole number from 1 is wanted",
                code="InvalidParameterValue",
                reason="ping.count",
                object=self.id,
                value=count,
            )
        if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not wait_s >= 0:  # NaN is not
            raise InvalidValue(
                f"ping from {self.name}: wait_s={wait_s!r}; a number of seconds from 0 is wanted",
                code="InvalidParameterValue",
                reason="ping.wait",
                object=self.id,
                value=wait_s,
            )
        if not isinstance(other, str):
            self._here(other, Addressed)
        address = other if isinstance(other, str) else self._ipv6_of(other) if ipv6 else other.ip
        result = self.run(["ping", "-n", "-c", str(count), "-i", "0.002", "-W", f"{wait_s:g}", address])
        found = re.search(r"(\d+) packets transmitted, (\d+) received", result.stdout)
        if found is None:
            raise GuestError(f"ping from {self.name} to {address} failed: {(result.stderr or result.stdout).strip()}")
        return PingResult(int(found[1]), int(found[2]), result.stdout)

    def _ipv6_of(self, other: Addressed[Any]) -> str:
        if not other.ipv6_addresses:
            raise self._lab.profile.refusal(
                InvalidValue,
                "address.unassigned",
                f"ping from {self.name}: {other.name} ({other.id}) has no IPv6 address; an ENI gets one by "
                "assign_ipv6_addresses()",
                object=other.id,
                value=other.id,
            )
        return other.ipv6_addresses[0]

    def call(self, function: Callable[..., _R], *args: Any, timeout: float | None = 60.0) -> _R:
        """Run ``function(*args)`` in a Python in the CVM, sandboxed as any command, and return what it returns.

        Function, arguments and result travel by cloudpickle. What it raises is raised here; ``timeout`` in seconds.
        """
        return call_in(self._node().pod, self.name, function, args, timeout)

    def socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        """A socket of the CVM's network for this program; also SOCK_RAW and AF_PACKET."""
        node = self._node()
        if proto in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
            let_ping(node.keeper, node.ns)
        return node.keeper.socket(node.ns, family, type, proto)

    @abstractmethod
    def _node(self) -> CvmHost:
        """Its machine; a closed lab and one that is gone say so."""
