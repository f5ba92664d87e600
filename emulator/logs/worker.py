"""The process that answers strangers' queries: one after the other, with nothing in its hands but a socket.

It is started without descriptors and without environment, gives up every capability, can write no file, and is ended
by the kernel when a query takes too long or its caller ends. Whatever gets past the allow-list meets an engine that
may open the files of this one query and nothing else. What it answers is data, never code: its caller reads JSON and
Arrow, so a worker that was taken over has gained nothing.

::

    caller ── pickle: Question, Scan, QueryLimits (+ descriptor of a table) ──►  worker
           ◄── JSON header, Arrow stream ──────────────────────────────────
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import pickle
import resource
import signal
import socket
import sys
from dataclasses import replace
from importlib.abc import MetaPathFinder
from typing import Any

import pyarrow as pa

from emulator.errors import QueryError
from emulator.logs.engine import Engine
from emulator.logs.exchange import LENGTHS, READY, receive
from emulator.logs.limits import QueryLimits
from emulator.logs.plan import Question, understood
from emulator.logs.scan import ROWS, Scan

GRACE_S = 2
"""How much longer than its caller a worker waits before it ends itself."""

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
_CAPABILITIES = 64


def main(channel_fd: int) -> None:
    """Answer queries until the caller is gone."""
    channel = socket.socket(fileno=channel_fd)
    sys.meta_path.insert(0, _WithoutPandas())
    _warm_up()
    _give_up()
    channel.sendall(READY)
    while (request := receive(channel)) is not None:
        channel.sendall(_answer(channel, *request))


class _WithoutPandas(MetaPathFinder):
    """pyarrow imports pandas, where it is installed, with its first array: a fifth of the time to start."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)


def _answer(channel: socket.socket, payload: bytes, descriptors: list[int]) -> bytes:
    """The bytes of an answer; nothing of the query is left when it is made."""
    question, scan, limits = pickle.loads(payload)
    scan = _with_table(scan, descriptors)
    _limit(channel, limits)
    header, table = _answered(question, scan, limits)
    _lift(channel)
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(table)) + text + table


def _warm_up() -> None:
    """Load what the first query needs and start the threads, before memory is limited."""
    from emulator.logs import analysis, cql, lucene, sls  # noqa: F401

    table = pa.table({"a": [1, 2]})
    engine = Engine(exact=())
    engine.table(table.take(pa.array([1, 0])), f'SELECT sum(a) FROM "{ROWS}"', [])
    engine.close()


def _answered(question: Question, scan: Scan, limits: QueryLimits) -> tuple[dict[str, Any], bytes]:
    """A header, and a table as Arrow's stream where there is an answer."""
    engine = Engine(exact=[file.path for file in scan.files], memory=limits.memory * 3 // 4)
    try:
        plan = understood(question)
        if plan.lookback_s > question.lookback_s:
            return {"lookback_s": plan.lookback_s}, b""
        rows = plan.answer(scan, engine)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        table = sink.getvalue()
        if table.size > limits.answer_bytes:
            return {"failed": "size"}, b""
        return {"computed": plan.computed}, table.to_pybytes()
    except QueryError as refused:
        return {"refused": [str(refused), refused.code, refused.line, refused.column]}, b""
    except (MemoryError, pa.ArrowMemoryError):
        return {"failed": "memory"}, b""
    except Exception as broken:
        return {"failed": type(broken).__name__}, b""
    finally:
        engine.close()


def _with_table(scan: Scan, descriptors: list[int]) -> Scan:
    """A scan with the rows that are in none of its files, which came as a descriptor of shared memory."""
    if not descriptors:
        return scan
    mapped = mmap.mmap(descriptors[0], 0, prot=mmap.PROT_READ)
    os.close(descriptors[0])
    return replace(scan, table=pa.ipc.open_stream(pa.py_buffer(mapped)).read_all())


def _limit(channel: socket.socket, limits: QueryLimits) -> None:
    """Have the kernel end this process when the query takes too long, or its caller ends (SIGALRM, SIGIO)."""
    with open("/proc/self/statm", encoding="ascii") as told:
        size = int(told.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + limits.memory, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_REAL, limits.seconds + GRACE_S)
    fcntl.fcntl(channel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(channel, fcntl.F_SETFL, fcntl.fcntl(channel, fcntl.F_GETFL) | os.O_ASYNC)


def _lift(channel: socket.socket) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    fcntl.fcntl(channel, fcntl.F_SETFL, fcntl.fcntl(channel, fcntl.F_GETFL) & ~os.O_ASYNC)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _give_up() -> None:
    """Every capability, the way back to them, files that can be written, core dumps."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    none = (ctypes.c_uint32 * 6)()
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
