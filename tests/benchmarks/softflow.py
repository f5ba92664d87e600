"""softflowd, the usual exporter of flows on Linux, on one interface of a VPC."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import traffic

if TYPE_CHECKING:
    from emulator.lab import Lab

_PATIENCE_S = 10.0


class Missing(Exception):
    """There is no softflowd to compare with; the message says why."""


class Exporter:
    """A running softflowd."""

    def __init__(self, enter: list[str], process: subprocess.Popen[str], control: Path) -> None:
        self._enter, self._process, self._control = enter, process, control

    def losses(self, sent: int) -> dict[str, int]:
        """Of ``sent`` packets: ``lost``, which found no room in its ring, and ``unread``, which lie in the ring still
        when it has nothing more to do (it reads whole blocks)."""
        before, seen = -1, self._ask("Packets processed")
        while before != seen < sent:
            time.sleep(0.5)  # there is nothing to wait for: it is asked until two answers are equal
            before, seen = seen, self._ask("Packets processed")
        lost = self._ask("Packets dropped by libpcap")
        return {"lost": lost, "unread": sent - seen - lost}

    def await_start(self) -> None:
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until and self._process.poll() is None:
            if self._control.exists():
                return
            time.sleep(0.01)
        self._process.kill()
        raise Missing(f"softflowd did not start: {self._process.communicate()[0].strip()[-300:]}")

    def _ask(self, what: str) -> int:
        command = [*self._enter, "softflowctl", "-c", str(self._control), "statistics"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(rf"{what}: (\d+)", said)
        return int(found[1]) if found else 0


@contextmanager
def watching(lab: Lab, path: traffic.Path, folder: Path) -> Iterator[Exporter]:
    """softflowd on the sender's interface in the VPC, with room for all flows."""
    if shutil.which("softflowd") is None:
        raise Missing("there is no softflowd to compare with: apt-get install softflowd, or ./run bench")
    fabric, keeper = lab.fabric.vpcs[path.vpc.id], lab.fabric.keeper
    interface = fabric.attached[path.sending.eni.id].link.intf1.name
    user = ["--user", "--preserve-credentials"] if keeper.made_user else []
    enter = ["nsenter", f"--target={keeper.pid}", *user, f"--net=/proc/{keeper.pid}/fd/{fabric.ns}"]
    control = folder / "softflowd.ctl"
    options = ["-d", "-i", interface, "-p", str(folder / "softflowd.pid"), "-c", str(control), "-m", "100000"]
    process = subprocess.Popen(
        [*enter, "softflowd", *options, "-n", "127.0.0.1:9995"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        exporter = Exporter(enter, process, control)
        exporter.await_start()
        yield exporter
    finally:
        process.kill()
        process.communicate()
