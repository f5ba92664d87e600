"""Python functions in a CVM: a fresh interpreter in its sandbox, function and result by cloudpickle."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from emulator.errors import GuestError
from emulator.fabric.guests import Pod

_R = TypeVar("_R")

_CHILD = """
import sys
out = sys.stdout.buffer
sys.stdout = sys.stderr
sys.path[:] = {path!r}
import cloudpickle
try:
    function, args = cloudpickle.loads(sys.stdin.buffer.read())
    answer = (True, function(*args))
except BaseException as error:
    answer = (False, error)
try:
    data = cloudpickle.dumps(answer)
except Exception as error:
    data = cloudpickle.dumps((False, TypeError(f"its result cannot be sent back: {{error}}")))
out.write(data)
"""


def call_in(pod: Pod, name: str, function: Callable[..., _R], args: Sequence[Any], timeout_s: float | None) -> _R:
    """Run ``function(*args)`` in the pod and return its result; what it raises is raised here.

    Functions from outside the installed packages travel by value, so the guest need not see their files.
    """
    import cloudpickle

    module = sys.modules.get(getattr(function, "__module__", None) or "")
    by_value = module is not None and not _installed(module)
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        request = cloudpickle.dumps((function, tuple(args)))
    except Exception as error:
        raise GuestError(f"{name}: {function!r} and its arguments cannot be sent to the CVM: {error}") from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)
    path = [os.path.abspath(entry or ".") for entry in sys.path]
    process = pod.popen(
        [sys.executable, "-I", "-c", _CHILD.format(path=path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            out, err = process.communicate(request, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise GuestError(f"{name}: {_title(function)} did not return within {timeout_s:g} s") from None
        except BaseException:
            process.kill()
            raise
    if not out:
        raise GuestError(
            f"{name}: {_title(function)} ended with status {process.returncode} before it returned: "
            f"{err.decode(errors='replace').strip()[-500:]}"
        )
    good, answer = cloudpickle.loads(out)
    if good:
        return answer  # type: ignore[no-any-return]
    raise answer


def _title(function: object) -> str:
    return getattr(function, "__qualname__", repr(function))


def _installed(module: Any) -> bool:
    """Whether a module is part of Python or of an installed package, and so importable in the guest."""
    file: str | None = getattr(module, "__file__", None)
    if file is None:
        return str(module.__name__) != "__main__"
    homes = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    real = os.path.realpath(file)
    return any(home is not None and real.startswith(os.path.realpath(home) + os.sep) for home in homes)
