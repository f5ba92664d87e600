"""The command line as its users run it: in a process of its own, with or without a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests import children, warm

COMMAND = [sys.executable, "-m", "emulator.cli"]
TIMEOUT_S = 60.0

# Runs the command with scenarios of a test's own; the first argument is Python that makes them.
INJECTED = """
import sys
from scenarios import SCENARIOS, Scenario
exec(sys.argv.pop(1))
SCENARIOS["injected"] = Scenario("injected", "a test's own", run)
from emulator.cli import main
main()
"""


def environment(**more: str) -> dict[str, str]:
    kept = children.environment()
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        kept.pop(name, None)
    return {**kept, **more}


def vpclab(
    *args: str, env: Mapping[str, str] | None = None, input: str | None = None, command: list[str] = COMMAND
) -> subprocess.CompletedProcess[str]:
    """Run it to its end. It begins with vpclab imported already."""
    return warm.python(*command[1:], *args, env=environment(**(env or {})), input=input, timeout=TIMEOUT_S)


def injected(code: str) -> list[str]:
    return [sys.executable, "-c", INJECTED, code]


class Terminal:
    """A command in a terminal of its own, of 80 columns and 24 lines; ``anew``: in a Python that imports all itself."""

    def __init__(self, argv: list[str], *, anew: bool = False, **env: str) -> None:
        self.output = b""
        self._handle, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        self.modes = termios.tcgetattr(theirs)[3]
        variables = environment(**{"TERM": "xterm-256color", **env})
        self._wait: Callable[[float], int]
        if anew:
            # setsid makes it the controlling terminal, so that Ctrl-C is a signal.
            self._wait = subprocess.Popen(
                ["setsid", "--ctty", *argv], stdin=theirs, stdout=theirs, stderr=theirs, env=variables
            ).wait
        else:
            self._wait = warm.start(argv[1:], variables, Path.cwd(), theirs, theirs, theirs)
        os.close(theirs)

    def read_until(self, wanted: bytes | None, after: int = 0) -> int:
        """Read until ``wanted`` was printed behind position ``after``, or the command ended; the position behind it."""
        deadline = time.monotonic() + TIMEOUT_S
        while wanted is None or wanted not in self.output[after:]:
            ready, _, _ = select.select([self._handle], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} was not printed within {TIMEOUT_S} s: {self.output[-500:]!r}"
            try:
                data = os.read(self._handle, 65536)
            except OSError:  # the other side is closed
                data = b""
            if not data:
                assert wanted is None, f"ended before it printed {wanted!r}: {self.output[-500:]!r}"
                return len(self.output)
            self.output += data
        return self.output.index(wanted, after) + len(wanted)

    def press(self, keys: bytes) -> None:
        os.write(self._handle, keys)

    def same_modes(self) -> bool:
        return bool(termios.tcgetattr(self._handle)[3] == self.modes)

    def end(self) -> int:
        """The exit code, once the command has ended by itself."""
        self.read_until(None)
        os.close(self._handle)
        return self._wait(TIMEOUT_S)
