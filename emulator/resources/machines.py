"""CVMs and their ENIs: where packets come from and go to."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar

from emulator.cloud import model
from emulator.errors import GuestError, InvalidValue
from emulator.fabric.calls import call_in
from emulator.fabric.guests import let_ping
from emulator.fabric.pcap import Capture
from emulator.fabric.processes import GuestProcess
from emulator.resources.base import Loggable, Resource
from emulator.resources.rules import SecurityGroup
from emulator.resources.ways import End

if TYPE_CHECKING:
    from emulator.fabric.nodes import CvmHost

_R = TypeVar("_R")


class Eni(Loggable[model.Eni], End):
    """An elastic network interface: one address, its security groups, at a CVM or detached."""

    _table = "enis"

    @property
    def ip(self) -> str:
        """Its private address as text."""
        return str(self.model.address)

    @property
    def mac(self) -> str:
        return self.model.mac

    @property
    def cvm(self) -> Cvm | None:
        cvm_id = self.model.cvm_id
        return None if cvm_id is None else Cvm(self._lab, cvm_id)

    @property
    def security_groups(self) -> list[SecurityGroup]:
        return [SecurityGroup(self._lab, group_id) for group_id in self.model.groups]

    def set_security_groups(self, groups: Sequence[SecurityGroup]) -> None:
        """Bind the ENI to these groups, in this order."""
        bound = self._all_here(groups, SecurityGroup)
        self._lab._change(
            lambda cloud: cloud.set_groups(self.id, bound),
            lambda fabric, eni: fabric.groups_changed(eni),
            self.model.vpc_id,
        )

    def attach(self, cvm: Cvm) -> None:
        """Plug it into a running CVM, as the next free ethN."""
        self._lab._attach(self.id, self._here(cvm, Cvm))

    def detach(self) -> None:
        """Unplug it; a CVM's primary ENI cannot be."""
        self._lab._detach(self.id)

    def delete(self) -> None:
        """Delete a detached ENI, and the flow logs on it."""
        self._lab._change(
            lambda cloud: cloud.delete_eni(self.id), lambda fabric, _: fabric.members_changed(), self.model.vpc_id
        )

    def capture(self, path: str | PathLike[str]) -> Capture:
        """Everything that passes at the CVM's end, both ways, into a pcap file, for a ``with`` block; complete when it
        ends."""
        self._lab._check_open()
        eni = self.model
        if eni.cvm_id is None:
            raise GuestError(f"{self.id} ({self.name}) is detached: attach it to a CVM before capturing there")
        node = self._lab.fabric.cvm(eni.cvm_id)
        self._lab.captures.append((self.id, fspath(path)))
        return Capture(node.keeper, node.ns, (eni.device or 0) + 2, path, f"{self.id} ({self.name})")


@dataclass(frozen=True)
class PingResult:
    """What ``ping`` reported: packets sent and answered, and its whole output."""

    transmitted: int
    received: int
    stdout: str


class Cvm(Resource[model.Cvm], End):
    """A CVM: a network namespace with a sandbox around what runs in it."""

    _table = "cvms"

    @property
    def eni(self) -> Eni:
        """Its primary ENI."""
        return self.enis[0]

    @property
    def enis(self) -> list[Eni]:
        """Its ENIs by device number."""
        self.model  # noqa: B018 - a CVM that is gone says so
        found = [eni for eni in self._lab.cloud.enis.values() if eni.cvm_id == self.id]
        return [Eni(self._lab, eni.id) for eni in sorted(found, key=lambda eni: eni.device or 0)]

    @property
    def ip(self) -> str:
        """The address of its primary ENI."""
        return self.eni.ip

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

    def ping(self, other: Cvm | Eni | str, *, count: int = 1, wait_s: float = 1.0) -> PingResult:
        """Ping another CVM, ENI or address; 2 ms between requests, ``wait_s`` for the last answers."""
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
            self._here(other, Eni if isinstance(other, Eni) else Cvm)
        address = other if isinstance(other, str) else other.ip
        result = self.run(["ping", "-n", "-c", str(count), "-i", "0.002", "-W", f"{wait_s:g}", address])
        found = re.search(r"(\d+) packets transmitted, (\d+) received", result.stdout)
        if found is None:
            raise GuestError(f"ping from {self.name} to {address} failed: {(result.stderr or result.stdout).strip()}")
        return PingResult(int(found[1]), int(found[2]), result.stdout)

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

    def _node(self) -> CvmHost:
        """Its machine; a closed lab and a CVM that is gone say so."""
        self._lab._check_open()
        return self._lab.fabric.cvm(self.model.id)

    def terminate(self) -> None:
        """End the CVM: its processes and its primary ENI go, other ENIs are detached."""
        self._lab._terminate(self.id)
