"""How benchmarks measure: side by side, more than once, middle values, and everything kept.

Machines differ, and one machine differs from minute to minute. So what is compared takes turns within one run
(:func:`in_turns`), a figure is the median of its rounds, and what a benchmark asserts is a ratio of two of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from emulator.errors import KernelRefused
from emulator.fabric import netlink
from emulator.fabric.client import keeper

PROGRAMS = {
    "mnexec": "mininet",
    "brctl": "bridge-utils",
    "ifconfig": "net-tools",
    "nft": "nftables",
    "softflowd": "softflowd",
    "unshare": "util-linux",
}
"""What the benchmarks compare with, and the Debian package that has it."""


class Figures:
    """What was measured, kept in ``benchmarks.json`` as it comes; a benchmark that is run alone renews its own part."""

    def __init__(self, folder: Path) -> None:
        self.path = folder.resolve() / "benchmarks.json"
        self.noted: dict[str, dict[str, Any]] = {}

    def opened(self) -> Figures:
        """Itself, once it is known that the file can be written: not after the last benchmark."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.open("a").close()
        return self

    def note(self, name: str, **values: Any) -> None:
        """Keep the figures of one benchmark: numbers in the units that their names end in, or texts."""
        self.noted[name] = _rounded({**values, "at": datetime.now(UTC).isoformat(timespec="seconds")})
        try:
            kept = json.loads(self.path.read_text() or "{}")
        except ValueError:
            kept = {}
        kept.update(self.noted, machine=machine())
        beside = self.path.with_suffix(".writing")
        beside.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
        beside.replace(self.path)

    def lines(self) -> Iterator[str]:
        for name, values in self.noted.items():
            yield f"{name}: " + ", ".join(f"{key} {_text(value)}" for key, value in values.items() if key != "at")


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    return {
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "user": "root" if os.geteuid() == 0 else "ordinary",
    }


def in_turns(rounds: int, **ways: Callable[[], float]) -> dict[str, list[float]]:
    """What each way measured in each round; the order is turned round every other time."""
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        turn = list(ways.items())
        for name, way in turn if number % 2 == 0 else reversed(turn):
            measured[name].append(way())
    return measured


def ratio(one: list[float], other: list[float]) -> float:
    """The median over the rounds of ``one / other``: both had the same minute of the machine."""
    return median(a / b for a, b in zip(one, other, strict=True))


now = time.perf_counter
"""Seconds, to be subtracted."""


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def until_taken_down() -> None:
    """Wait until the kernel has taken down the namespaces dropped so far: it does so in the background, in order, and
    what is measured next would share the machine with it."""
    client = keeper()
    near, far = client.make_namespaces(2, "at rest")
    request = netlink.new_veth("near", 2, "02:00:00:00:00:01", "far", 2, "02:00:00:00:00:02", far)
    netlink.send(client, [(near, netlink.ROUTE, request)], "make a pair")
    client.drop([far])  # the last in line; its end of the pair goes with it, and so does the other
    look = [(near, netlink.ROUTE, netlink.get_link(2))]
    with contextlib.suppress(KernelRefused):
        while netlink.send(client, look, "look at the pair"):
            time.sleep(0.02)
    client.drop([near])


def want(*programs: str) -> None:
    """Skip where a program to compare with is missing."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing:
        packages = " ".join(PROGRAMS[program] for program in missing)
        pytest.skip(f"{', '.join(missing)} to compare with: apt-get install {packages}, or ./run bench")


class Apart:
    """A Python program in namespaces of its own, and its answers: it reads a line, works, and prints JSON on a line.

    What it makes can neither meet this machine's network nor stay behind.
    """

    def __init__(self, script: str, *args: str) -> None:
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        unshare = ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        path = Path(__file__).parent / script
        env = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"}
        self._process = subprocess.Popen(
            [*unshare, sys.executable, "-W", "ignore", str(path), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )

    def ask(self, line: str = "") -> Any:
        """One round: what the program measured."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args} ended with status {self._process.wait()} instead of an answer")
        return json.loads(answer)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def apart(script: str, *args: str) -> Iterator[Apart]:
    program = Apart(script, *args)
    try:
        yield program
    finally:
        program.close()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    return value


def _text(value: Any) -> str:
    return "{" + ", ".join(f"{k} {v}" for k, v in value.items()) + "}" if isinstance(value, Mapping) else str(value)
