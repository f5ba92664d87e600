"""A program that kills writers of a folder at random instants, and looks what is left: ``kills.py FOLDER KILLS SEED``.

Each writer is forked from here, opens the store, writes batches of odd sizes, delivers them to a folder and compacts in
the background; it says so when one is acknowledged. What it said must be there, once, and nothing else but what it was
just writing; and so it must be in the folder, in the end.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import warnings
from collections import Counter
from pathlib import Path

import duckdb  # noqa: F401 - here, not in every writer
import pyarrow.parquet

from emulator.delivery import Folder
from emulator.logs import LogService
from emulator.providers import profile

SIZES = (1, 7, 300, 40)
LONGEST_S = 0.25


def opened(folder: Path) -> LogService:
    return LogService(profile=profile("tencent"), now=lambda: 1_700_000_000.0, folder=folder)


def rows(batch: int) -> list[dict[str, object]]:
    return [{"batch": batch, "text": f"{batch} {row}" * 3} for row in range(SIZES[batch % len(SIZES)])]


def write(folder: Path, first: int, told: int) -> None:
    service = opened(folder)
    topic = service.topic("app")
    for batch in range(first, first + 10_000):
        topic.write(rows(batch), key=str(batch))
        os.write(told, b"%d\n" % batch)
        if batch % 4 == 3:
            service.deliver()


def killed(folder: Path, first: int, after_s: float) -> int:
    """A writer that is killed so long after its first word; the last batch that it had acknowledged."""
    hears, told = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(hears)
        try:
            write(folder, first, told)
        finally:
            os._exit(1)
    os.close(told)
    with open(hears, "rb") as lines:
        said = lines.readline()
        signal.sigtimedwait([], after_s)  # so long, and no condition to wait for
        os.kill(writer, signal.SIGKILL)
        said += lines.read()
    os.waitpid(writer, 0)
    return int(said.split()[-1])


def delivered(folder: Path) -> Counter[int]:
    """How many rows of each batch are in the files."""
    tables = [pyarrow.parquet.read_table(path) for path in folder.glob("[!.]*.parquet")]
    return Counter(batch for table in tables for batch in table["batch"].to_pylist())


def main() -> None:
    folder, kills, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3])
    warnings.simplefilter("error")
    with opened(folder) as service:
        topic = service.create_topic("app", index={"batch": "long", "text": "text"})
        topic.deliver(Folder(folder.parent / "delivered", format="parquet", prefix="", interval_s=0))
    last, compacted = -1, 0
    for _ in range(kills):
        acknowledged = killed(folder, last + 1, chance.random() * LONGEST_S)
        with opened(folder) as service:
            found = service.topic("app").search("* | select batch, count(*) as n group by batch order by batch")
            there = {record["batch"]: record["n"] for record in found}
            assert service.damaged == []
            segments = service.store.all_segments()  # type: ignore[attr-defined]
            compacted = max(compacted, *(one.highest - one.lowest for one in segments))
        last = max(there)
        assert acknowledged <= last <= acknowledged + 1, (acknowledged, last)
        assert there == {batch: len(rows(batch)) for batch in range(last + 1)}
    with opened(folder) as service:
        service.deliver()
    assert delivered(folder.parent / "delivered") == there
    named = {f"{one.number:08}.parquet" for one in segments}
    print(f"{kills} kills, {last + 1} batches, {len(named)} segments, the largest of {compacted + 1} batches")
    assert compacted > 7


if __name__ == "__main__":
    main()
