"""Python functions in a CVM: a fresh interpreter in its sandbox, function and result by cloudpickle.

What comes back is unpickled here, so it must be the function's own: the interpreter imports from no folder that guests
write into, and other guests cannot trace it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeVar

from emulator.errors import GuestError
from emulator.fabric.guests import Pod

_R = TypeVar("_R")

_CHILD = """
import os, sys
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
sys.path[:] = {path!r}
import cloudpickle, traceback
def pack(*answer):
    data = cloudpickle.dumps(answer)
    if answer[0] == "raised":
        cloudpickle.loads(data)
    return data
try:
    function, args = cloudpickle.loads(sys.stdin.buffer.read())
    answer = ("returned", function(*args), "")
except Exception as error:
    answer = ("raised", error, traceback.format_exc())
except BaseException as error:
    answer = ("ended", repr(error), traceback.format_exc())
try:
    data = pack(*answer)
except Exception as error:
    if answer[0] == "returned":
        data = pack("raised", TypeError(f"its result cannot be sent back: {{error}}"), "")
    else:
        data = pack("ended", repr(answer[1]), answer[2])
out.write(data)
out.flush()
"""
_registering = threading.Lock()


def call_in(pod: Pod, name: str, function: Callable[..., _R], args: Sequence[Any], timeout_s: float | None) -> _R:
    """Run ``function(*args)`` in the pod and return its result; what it raises is raised here.

    Functions from outside the installed packages travel by value, so the guest need not see their files.
    """
    import cloudpickle

    with _by_value({module for value in (function, *args) for module in _modules(value)}):
        try:
            request = cloudpickle.dumps((function, tuple(args)))
        except Exception as error:
            raise GuestError(f"{name}: {function!r} and its arguments cannot be sent to the CVM: {error}") from error
    path = [entry for entry in (os.path.abspath(entry or ".") for entry in sys.path) if pod.shows(entry)]
    process = pod.popen(
        [os.path.realpath(sys.executable), "-I", "-c", _CHILD.format(path=path)],
        guarded=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            out, err = process.finish(request, timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise GuestError(f"{name}: {_title(function)} did not return within {timeout_s:g} s") from None
        except BaseException:
            process.kill()
            raise
    if not out:
        pod.check()
        raise GuestError(
            f"{name}: {_title(function)} ended with status {process.returncode} before it returned: "
            f"{err.decode(errors='replace').strip()[-500:]}"
        )
    try:
        how, answer, trace = cloudpickle.loads(out)
    except Exception as error:
        raise GuestError(f"{name}: what {_title(function)} returned cannot be rebuilt here: {error}") from error
    if how == "returned":
        return answer  # type: ignore[no-any-return]
    if how == "ended":
        raise GuestError(f"{name}: {_title(function)} ended with {answer}\n{trace}".rstrip())
    if trace:
        answer.add_note(f"raised in {name}:\n{trace}")
    raise answer


@contextlib.contextmanager
def _by_value(modules: set[ModuleType]) -> Iterator[None]:
    """Let cloudpickle send what these modules define by value; one thread at a time, for that is global."""
    import cloudpickle

    with _registering:
        fresh = [module for module in modules if module.__name__ not in cloudpickle.list_registry_pickle_by_value()]
        for module in fresh:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in fresh:
                cloudpickle.unregister_pickle_by_value(module)


def _modules(value: object) -> Iterator[ModuleType]:
    """The modules, but for installed ones, that define a function or an object's class."""
    if isinstance(value, functools.partial):
        for part in (value.func, *value.args, *value.keywords.values()):
            yield from _modules(part)
        return
    owner = getattr(value, "__self__", None)
    for one in (value, type(value), owner, type(owner)):
        module = sys.modules.get(getattr(one, "__module__", None) or "")
        if module is not None and not _installed(module):
            yield module


def _title(function: object) -> str:
    return getattr(function, "__qualname__", repr(function))


def _installed(module: ModuleType) -> bool:
    """Whether a module is part of Python, of vpclab or of an installed package, and so importable in the guest."""
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ != "__main__"
    homes = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    homes.add(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return any(os.path.realpath(file).startswith(os.path.realpath(home) + os.sep) for home in homes)
