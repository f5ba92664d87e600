"""The caller's side of the workers that answer strangers' queries: started when first needed, ended with the service.

A worker that does not answer in time is killed, and the next query gets a new one: to its caller that is a refusal
with the provider's code, to everybody else nothing.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pyarrow as pa

from emulator.errors import LabClosed, LabError, QueryError
from emulator.logs.exchange import LENGTHS, READY, read, send
from emulator.logs.limits import QueryLimits
from emulator.logs.plan import Question
from emulator.logs.scan import Scan

MOST_WORKERS = 2
"""Queries that run at once; the others wait, within their time."""

START_S = 30.0
"""For a worker to be there: it imports DuckDB, pyarrow and sqlglot."""

_END_S = 5.0

_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from emulator.logs.worker import main
main(int(sys.argv[1]))
"""

_KEPT = ("LD_LIBRARY_PATH",)
_ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Arrow's other pools reserve a gigabyte of addresses at once, and crash where they are not given them."""

_HEADER_BYTES = 1 << 20


class Workers:
    """Thread-safe; at most ``MOST_WORKERS`` processes."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._free = threading.Semaphore(MOST_WORKERS)
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, question: Question, scan: Scan, limits: QueryLimits) -> tuple[pa.Table | None, int]:
        """The answer of a worker; or no table, and how much older rows it needs.

        :raises QueryError: refused, or ended because a limit was reached
        """
        text = question.text
        if not self._free.acquire(timeout=limits.seconds):
            raise text.ended("query.timeout", f"no worker was free within {limits.seconds:g} s")
        try:
            worker = self._taken()
            try:
                answer = worker.ask(question, scan, limits)
                table, lookback_s = _understood(answer, question, limits)
            except QueryError:
                self._give_back(worker)
                raise
            except BaseException:
                self._let_go(worker)
                raise
            self._give_back(worker)
        except TimeoutError:
            message = f"the query took longer than {limits.seconds:g} s and was ended"
            raise text.ended("query.timeout", message) from None
        except (EOFError, OSError, pa.ArrowException):
            message = f"the query needed more than {limits.memory >> 20} MB of memory, or broke its worker"
            raise text.ended("query.memory", message) from None
        finally:
            self._free.release()
        return table, lookback_s

    def close(self) -> None:
        """End every worker."""
        with self._lock:
            self._closed = True
            workers = list(self._all)
            self._all.clear()
            self._idle.clear()
        for worker in workers:
            worker.end()

    def pids(self) -> list[int]:
        """The process ids of the workers."""
        with self._lock:
            return [worker.process.pid for worker in self._all]

    def _taken(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise LabClosed("the log service is closed")
            while self._idle:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    return worker
                self._all.discard(worker)
                worker.end()
        worker = _Worker()
        with self._lock:
            self._all.add(worker)
            closed = self._closed
        if closed:
            self._let_go(worker)
            raise LabClosed("the log service is closed")
        return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def _let_go(self, worker: _Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.end()


class _Worker:
    """One process, and the socket to it."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, str(theirs.fileno()), json.dumps(_import_path())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
                env={**_ENVIRONMENT, **{name: os.environ[name] for name in _KEPT if name in os.environ}},
                start_new_session=True,
            )
        self.channel.settimeout(START_S)
        try:
            self._read(len(READY))
        except (EOFError, OSError):
            self.end()
            raise LabError("the process that answers strangers' queries did not start") from None

    def ask(self, question: Question, scan: Scan, limits: QueryLimits) -> tuple[dict[str, Any], bytes]:
        """A header and the bytes of a table.

        :raises TimeoutError: there is none in time
        :raises EOFError: the worker ended
        """
        deadline = time.monotonic() + limits.seconds
        table = None if scan.table is None else _shared(scan.table)
        try:
            payload = pickle.dumps((question, replace(scan, table=None), limits))
            self._patient(deadline)
            send(self.channel, payload, [] if table is None else [table])
        finally:
            if table is not None:
                os.close(table)
        self._patient(deadline)
        header_size, table_size = LENGTHS.unpack(self._read(LENGTHS.size))
        if header_size > _HEADER_BYTES or table_size > limits.answer_bytes:
            raise EOFError
        self._patient(deadline)
        header = json.loads(self._read(header_size))
        return header, self._read(table_size)

    def end(self) -> None:
        """Kill the process, and wait until it is gone."""
        self.channel.close()
        self.process.kill()
        self.process.wait(_END_S)

    def _patient(self, deadline: float) -> None:
        self.channel.settimeout(max(0.001, deadline - time.monotonic()))

    def _read(self, size: int) -> bytes:
        found = read(self.channel, size)
        if found is None:
            raise EOFError
        return found


def _understood(
    answer: tuple[dict[str, Any], bytes], question: Question, limits: QueryLimits
) -> tuple[pa.Table | None, int]:
    """What a worker answered; it is not believed more than its form says."""
    header, data = answer
    match header:
        case {"lookback_s": int(seconds)}:
            return None, seconds
        case {"computed": True | False}:
            table = pa.ipc.open_stream(data).read_all()
            table.validate(full=True)
            return table, 0
        case {"refused": [str(message), str(code), int(line), int(column)]}:
            text = question.text
            raise QueryError(message, code=code, line=line, column=column, object=text.topic_id, value=text.text)
        case {"failed": "memory"}:
            message = f"the query needed more than {limits.memory >> 20} MB of memory"
            raise question.text.ended("query.memory", message)
        case {"failed": "size"}:
            message = f"the answer is larger than {limits.answer_bytes >> 20} MB; ask for fewer rows or columns"
            raise question.text.ended("query.size", message)
    raise question.text.ended("query.memory", "the query broke its worker")


def _import_path() -> list[str]:
    """Where the worker, which is in another directory, finds what this process imports."""
    return [os.path.abspath(entry) for entry in sys.path]


def _shared(table: pa.Table) -> int:
    """A descriptor of shared memory that holds a table, and can no longer be written."""
    descriptor = os.memfd_create("vpclab rows")
    with open(descriptor, "wb", closefd=False) as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    return descriptor
