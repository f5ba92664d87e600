"""A program that kills deliverers at every step they take: ``steps.py FOLDER TARGET KILLS``.

Each deliverer is forked from here, opens the store, writes batches of odd sizes, and delivers under a profiler that
counts every call of Python and of C functions, and kills the process before the one whose turn it is. The turns are
spread over all calls of a delivery. In the end what was written is at the target, each row once.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import duckdb  # noqa: F401 - here, not in every child
import pyarrow.parquet

from emulator.logs import LogService
from emulator.logs.delivery import S3, Folder
from emulator.providers import profile
from tests.logs.delivery.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

SIZES = (7, 300, 40)
BATCHES = 1
START_S = 1_700_000_000.0


def opened(folder: Path) -> LogService:
    return LogService(profile=profile("tencent"), now=lambda: START_S, folder=folder)


def target_of(where: str) -> Folder | S3:
    wanted: dict[str, Any] = {"interval_s": 0, "format": "parquet", "prefix": "kind={kind}/"}
    if where.startswith("http"):
        return S3("killed", endpoint=where, access_key=ACCESS_KEY, secret_key=SECRET_KEY, timeout_s=20, **wanted)
    return Folder(where, **wanted)


def rows(batch: int) -> list[dict[str, object]]:
    return [{"batch": batch, "kind": "ab"[row % 2]} for row in range(SIZES[batch % len(SIZES)])]


def deliver(service: LogService, where: str, kill_at: int | None) -> int:
    """Deliver all there is; the number of calls that were made."""
    (delivery,) = service.topic("app").deliveries
    delivery.restart(to=target_of(where))
    delivery.topic.scan()  # compares the files with what was written, however many there are by now
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        service.deliver()
    finally:
        sys.setprofile(None)
    assert (delivery.state, delivery.lag.records) == ("running", 0), delivery.error
    return calls


def deliverer(folder: Path, where: str, first: int, kill_at: int | None) -> int | None:
    """The number of calls that a child made; None where it was killed."""
    hears, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            service = opened(folder)
            topic = service.topic("app")
            for batch in range(first, first + BATCHES):
                topic.write(rows(batch))
            os.write(told, str(deliver(service, where, kill_at)).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(told)
    with open(hears) as said:
        calls = said.read()
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return int(calls) if calls else None


def delivered(where: str) -> dict[int, int]:
    """How many rows of each batch are at the target."""
    tables = []
    if where.startswith("http"):
        import pyarrow as pa

        found = Seaweed(where).objects("killed").values()
        tables = [pyarrow.parquet.read_table(pa.BufferReader(data)) for data in found]
    else:
        # What begins with a dot is no object yet, as every reader of such folders has it.
        tables = [pyarrow.parquet.ParquetFile(path).read() for path in Path(where).rglob("[!.]*.parquet")]
    batches = [batch for table in tables for batch in table["batch"].to_pylist()]
    return {batch: batches.count(batch) for batch in set(batches)}


def main() -> None:
    folder, where, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    warnings.simplefilter("error")
    with opened(folder) as service:
        service.create_topic("app").deliver(target_of(where), name="killed")
    calls, killed, batches = deliverer(folder, where, 0, None), 0, BATCHES
    assert calls is not None
    for turn in range(kills):
        # One is killed on its way, and the next has to make good what it left, and more that was written since.
        killed += deliverer(folder, where, batches, calls * (turn + 1) // (kills + 1)) is None
        calls = min(calls, deliverer(folder, where, batches + BATCHES, None) or calls)
        batches += 2 * BATCHES
    with opened(folder) as service:
        assert service.damaged == []
    assert delivered(where) == {batch: len(rows(batch)) for batch in range(batches)}
    print(killed, "of", kills, "killed within", calls, "calls")
    assert killed > kills // 2  # with more files some calls come later, and a few deliverers end before theirs


if __name__ == "__main__":
    main()
    # What forked while C++ libraries had threads cannot always tear these down: one exit in twenty was an abort.
    sys.stdout.flush()
    os._exit(0)
