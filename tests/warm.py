"""Python processes that begin with vpclab imported: forks of a server, which this process starts once.

Of a short command nine tenths are imports. What a test says of starting, of imports, of signals or of a terminal's
modes needs a Python of its own.
"""

from __future__ import annotations

import atexit
import fcntl
import multiprocessing
import os
import subprocess
import sys
import tempfile
import termios
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any
from unittest import mock

from tests import children

HERE = str(children.REPOSITORY)
OURS = ("emulator", "scenarios", "tests")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.imported"])


def python(
    *args: str, env: Mapping[str, str], cwd: Path | None = None, input: str | None = None, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run([sys.executable, *args])`` gives, for ``-c``, ``-m emulator.cli`` and ``-m pytest``."""
    with (
        open(os.devnull, "rb") if input is None else tempfile.TemporaryFile() as told,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        if input is not None:
            told.write(input.encode())
            told.seek(0)
        code = start(args, env, cwd or Path.cwd(), *(file.fileno() for file in (told, out, err)))(timeout)
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess(args, code, out.read().decode(), err.read().decode())


def start(args: Sequence[str], env: Mapping[str, str], cwd: Path, *streams: int) -> Callable[[float], int]:
    """Start such a Python with these as its standard streams; what is returned waits and gives its exit code."""
    places = [children.WITHOUT, str(children.REPOSITORY), *sys.path]
    with mock.patch.dict(os.environ, children.environment()), mock.patch.object(sys, "path", places):
        forkserver.ensure_running()
    process = FORKS.Process(target=begin, args=(args, dict(env), cwd, Descriptors(*streams)), daemon=True)
    process.start()

    def wait(timeout: float) -> int:
        process.join(timeout)
        code = process.exitcode
        process.kill()
        process.join()
        process.close()
        if code is None:
            raise subprocess.TimeoutExpired(args, timeout)
        return code

    return wait


class Descriptors:
    """For a process that is started; there it is a list of its own."""

    def __init__(self, *descriptors: int) -> None:
        self.descriptors = descriptors

    def __reduce__(self) -> tuple[Any, ...]:
        return received, tuple(map(DupFd, self.descriptors))


def received(*duplicates: Any) -> list[int]:
    return [duplicate.detach() for duplicate in duplicates]


def begin(args: list[str], environment: dict[str, str], folder: Path, streams: list[int]) -> None:
    """In the fork: what Python does with its arguments."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if os.isatty(0):  # it becomes the controlling terminal, so that Ctrl-C is a signal
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdin, sys.stdout, sys.stderr = (open(at, "rww"[at], closefd=False) for at in range(3))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    installed = [one for one in sys.path if one not in ("", HERE) and not one.startswith(f"{HERE}/tests")]
    sys.path[:] = [str(folder), *environment["PYTHONPATH"].split(os.pathsep), *installed]
    if args[0] == "-W":
        warnings.simplefilter(args[1])
        args = args[2:]
    option, what, *rest = args
    sys.argv = ["-c" if option == "-c" else what, *rest]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        if option == "-c":
            exec(what, main.__dict__)
        elif what == "pytest":
            run_pytest()
        else:
            from emulator.cli import main as command

            command()
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out


def run_pytest() -> None:
    """As if nothing of vpclab's were imported yet: pytest rewrites assertions of plugins, and coverage sees them."""
    import pytest

    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.exit(pytest.main(sys.argv[1:]))
