"""Ctrl-C at many instants of a command: exit 130, no traceback, a terminal as it was, and nothing left behind.

A driver forks a child for each instant, which interrupts itself at its n-th call of a Python function: by number and
not by time, so the instants are the same however busy the machine is. The driver adopts what a child leaves, so a
child has ended when all that it started has.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from emulator.pytest_plugin import need_kernel
from tests.children import environment

pytestmark = pytest.mark.kernel

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
"""What terminals are told about their cursor."""

WARM = """
from emulator import Lab, screen
import scenarios
with Lab() as lab:
    lab.logs.create_topic("warm", logset="up", index={"word": "text"}).search("* | select count(*) as n")
from emulator.fabric.client import keeper
keeper().close()
screen.BUSY_AFTER_S = 0.0
"""
"""Imports what a lab needs, so that children begin where the scenario does, and lets the spinner always turn."""

DRIVER = """
import ctypes, os, signal, sys
from emulator.entry import main

instants, before, sys.argv = int(sys.argv[1]), sys.argv[2], ["vpclab", *sys.argv[3:]]
exec(before)
SUBREAPER = 36  # prctl.h
ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
counted, counting = os.pipe()

def child(number):
    count = 0
    def at_call(frame, event, argument):
        nonlocal count
        count += event == "call"
        if count == number and event == "call":
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGINT)
    try:
        sys.setprofile(at_call)
        main()
    finally:
        sys.setprofile(None)
        if not number:
            os.write(counting, count.to_bytes(8, "big"))

def end_of_child(number):
    pid = os.fork()
    if pid == 0:
        child(number)
        sys.exit(0)
    signal.alarm(60)
    while True:
        try:
            one, status = os.wait()
        except ChildProcessError:
            signal.alarm(0)
            return code
        if one == pid:
            code = os.waitstatus_to_exitcode(status)

print(f"<ended {end_of_child(0)}>", flush=True)
calls = int.from_bytes(os.read(counted, 8), "big")
for instant in range(instants):
    number = calls * (2 * instant + 1) // (2 * instants)
    print(f"<ended {end_of_child(number)}>", flush=True)
"""


FROM_A_FILE = """
os.register_at_fork(after_in_child=lambda: os.dup2(os.open("commands", os.O_RDONLY), 0))
"""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what commands ask for: a capture, a lab file, a script for the shell, a data folder."""
    from emulator import Lab

    folder = tmp_path_factory.mktemp("place")
    with Lab(data=folder / "data", start=1_763_000_010) as lab:
        vpc = lab.create_vpc("10.16.0.0/16")
        subnet = vpc.create_subnet("10.16.0.0/24")
        a, b = subnet.run_instances(["A", "B"])
        vpc.create_flow_log(topic=lab.logs.create_topic("flows"))
        with b.eni.capture(folder / "a.pcap"):
            a.ping(b, count=3)
        lab.clock.advance(minutes=15)
        lab.save(folder / "lab.toml")
    (folder / "commands").write_text("A ping B\nadvance 10m\nsearch *\ntopology\n")
    return folder


@pytest.mark.parametrize(
    ("instants", "before", "argv", "says"),
    [
        pytest.param(8, WARM, ["scenario", "run", "ping"], "held", id="scenario"),
        pytest.param(5, "", ["--help"], "Usage", id="imports"),
        *(
            pytest.param(30, before, argv, says, id=argv[0], marks=pytest.mark.long)
            for before, argv, says in (
                ("", ["import", "a.pcap", "--eni", "10.16.0.2"], "10.16.0.3"),
                ("", ["dashboard", "tencent-eni", "--data", "data"], "10.16.0.3"),
                (WARM + FROM_A_FILE, ["shell", "lab.toml"], "10.16.0.3"),
                (WARM, ["demo"], "10.16.0.40"),
            )
        ),
    ],
)
def test_ctrl_c_at_any_instant(
    instants: int, before: str, argv: list[str], says: str, tmp_path: Path, place: Path
) -> None:
    need_kernel()
    handle, theirs = pty.openpty()
    modes = termios.tcgetattr(theirs)
    variables = environment(TERM="xterm-256color", TMPDIR=str(tmp_path))
    command = [sys.executable, "-c", DRIVER, str(instants), before, *argv]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables, cwd=place) as driver:
        text = read_all(handle, theirs)
    assert driver.returncode == 0, text[-2000:]
    assert termios.tcgetattr(handle) == modes
    os.close(handle)

    (whole, *interrupted), codes = pieces(text)
    assert codes == [0] + [130] * instants, text
    assert len(interrupted) == instants
    assert says in whole
    for number, told in enumerate(interrupted):
        assert "Traceback" not in told, f"instant {number}: {told}"
        assert "Exception ignored" not in told, f"instant {number}: {told}"
        assert told.rfind(HIDE) <= told.rfind(SHOW), f"instant {number} leaves no cursor: {told[-500:]!r}"
    assert not list(tmp_path.iterdir())


def read_all(handle: int, theirs: int) -> str:
    """What is written to a terminal until nobody holds it any more."""
    os.close(theirs)
    told = b""
    while True:
        try:
            data = os.read(handle, 65_536)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            return told.decode(errors="replace").replace("\r", "")
        told += data


def pieces(text: str) -> tuple[list[str], list[int]]:
    """What each child said, and its exit code."""
    parts = re.split(r"<ended (-?\d+)>\n", text)
    return parts[0:-1:2], [int(code) for code in parts[1::2]]
