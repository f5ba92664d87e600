"""What the fabric's tests share: a lab with two CVMs, keepers of a test's own, other Python programs, and what runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import emulator
from emulator.pytest_plugin import need_kernel

if TYPE_CHECKING:
    from emulator.fabric.client import KeeperClient
    from emulator.lab import Lab
    from emulator.resources import Cvm, Subnet, Vpc

BOUND_S = 30.0
"""What a test waits for at most; only a failure waits that long."""


@dataclass
class Pair:
    """A VPC 10.16.0.0/16 with a subnet 10.16.0.0/24 and the CVMs A .22 and B .40."""

    lab: Lab
    vpc: Vpc
    subnet: Subnet
    a: Cvm
    b: Cvm


def pair_in(lab: Lab) -> Pair:
    vpc = lab.create_vpc("10.16.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.16.0.0/24", name="web")
    a, b = subnet.run_instance("A", private_ip="10.16.0.22"), subnet.run_instance("B", private_ip="10.16.0.40")
    return Pair(lab, vpc, subnet, a, b)


@pytest.fixture
def pair(open_lab: Callable[..., Lab]) -> Pair:
    """A and B in a lab of the test's own."""
    return pair_in(open_lab())


@pytest.fixture(scope="module")
def shared(open_module_lab: Callable[..., Lab]) -> Pair:
    """A and B in a lab that the tests of a module share and leave as it was."""
    return pair_in(open_module_lab())


@pytest.fixture
def two(open_lab: Callable[..., Lab]) -> Callable[[], Pair]:
    """Opens a lab with A and B, each time another."""
    return lambda: pair_in(open_lab())


@pytest.fixture
def needs_kernel() -> None:
    """Skips where this machine cannot give a lab what it needs, as the lab fixtures do."""
    need_kernel()


@pytest.fixture
def own_keeper(needs_kernel: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The labs that this test opens have a keeper of their own, so that it may come to harm."""
    from emulator.fabric import client

    monkeypatch.setattr(client, "_current", None)
    yield
    if client._current is not None:
        client._current.close()


@pytest.fixture
def keeper(needs_kernel: None) -> Iterator[KeeperClient]:
    """A keeper that holds nothing yet."""
    from emulator.fabric.client import KeeperClient

    client = KeeperClient.start()
    yield client
    client.close()


@dataclass
class Program:
    """Another Python program that has told something; it ends when its standard input is closed."""

    process: subprocess.Popen[str]
    said: Any

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Running:
    """Processes, and waiting for what they do."""

    BOUND_S = BOUND_S

    @staticmethod
    def until(condition: Callable[[], object], what: str, within_s: float = BOUND_S) -> float:
        """Wait until something holds, and say how long that took."""
        begun, tick = time.monotonic(), threading.Event()
        while not condition():
            assert time.monotonic() - begun < within_s, f"not within {within_s:g} s: {what}"
            tick.wait(0.005)
        return time.monotonic() - begun

    @staticmethod
    def alive(pid: int) -> bool:
        """Whether a process exists and is no zombie."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        return False

    @classmethod
    def children(cls, pid: int, comm: str | None = None) -> list[int]:
        """Living children of a process, of any of its threads."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdecimal() and cls.alive(int(entry)):
                with contextlib.suppress(OSError):
                    name, _, rest = Path(f"/proc/{entry}/stat").read_text().partition("(")[2].rpartition(")")
                    if int(rest.split()[1]) == pid and comm in (None, name):
                        found.append(int(entry))
        return found

    @classmethod
    def family(cls, pid: int) -> set[int]:
        """All living descendants of a process."""
        found: set[int] = set()
        for child in cls.children(pid):
            found |= {child} | cls.family(child)
        return found

    @staticmethod
    def descriptors(pid: int | str = "self") -> dict[int, str]:
        found = {}
        for entry in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found[int(entry)] = os.readlink(f"/proc/{pid}/fd/{entry}")
        return {number: target for number, target in found.items() if target != f"/proc/{os.getpid()}/fd"}

    @staticmethod
    def holders(namespaces: Sequence[str], among: Iterable[int]) -> set[int]:
        """Which of these processes live in, or hold a descriptor of, a namespace given as ``net:[number]``.

        Not of all processes: the kernel gives the number of a namespace that is gone to the next, whosesoever that is.
        """
        found = set()
        for entry in map(str, among):
            links = [f"/proc/{entry}/ns/net"]
            with contextlib.suppress(OSError):
                links += [f"/proc/{entry}/fd/{number}" for number in os.listdir(f"/proc/{entry}/fd")]
            for link in links:
                with contextlib.suppress(OSError):
                    if os.readlink(link) in namespaces:
                        found.add(int(entry))
        return found

    @staticmethod
    def environment(**more: str) -> dict[str, str]:
        """For programs that import the vpclab under test, installed or not."""
        return {**os.environ, "PYTHONPATH": str(Path(emulator.__file__).parents[1]), **more}


@pytest.fixture(scope="session")
def running() -> Running:
    return Running()


TELL = """\
import json, os, sys
def tell(value):
    print(json.dumps(value), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def program(needs_kernel: None, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts a Python program that calls ``tell(value)`` once and then goes on until standard input is closed."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: object, options: Sequence[str] = ()) -> Program:
        file = tmp_path / f"program{len(started)}.py"
        file.write_text(TELL + textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, *options, str(file), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=Running.environment(),
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, f"the program ended with status {process.wait()}"
        return Program(process, json.loads(said))

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        with process:
            pass


@pytest.fixture
def python(needs_kernel: None, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a Python program to its end."""

    def run(
        source: str, *arguments: object, options: Sequence[str] = (), check: bool = True, **more: str
    ) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "script.py"
        file.write_text(textwrap.dedent(source))
        result = subprocess.run(
            [sys.executable, *options, str(file), *map(str, arguments)],
            capture_output=True,
            text=True,
            env=Running.environment(**more),
            timeout=BOUND_S * 2,
        )
        assert not check or result.returncode == 0, result.stderr
        return result

    return run
