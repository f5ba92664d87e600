"""The log store with millions of flow records: writing, reading, and what lies on disk.

``VPCLAB_BENCH_RECORDS=10000000`` for the figures that the documents quote; a tenth of it by default.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import duckdb
import generator
import measure
import pyarrow as pa
import pyarrow.parquet
import pytest
from measure import Figures

from emulator.capture.forms import index_keys
from emulator.logs import LogService, Topic
from emulator.logs.folder import FolderStore
from emulator.logs.plan import understood
from emulator.logs.search import asked as asked_of
from emulator.logs.search import question_of
from emulator.providers import profile

RECORDS = int(os.environ.get("VPCLAB_BENCH_RECORDS", "1000000"))
SCALE = max(1.0, 10_000_000 / RECORDS)
"""What a query costs that has nothing to do with records is as much for few of them as for many."""
ROUNDS = 7
WRITES = 31

BYTES_A_RECORD = 20
ENGINE_ALONE = 1.15
OF_IT_THE_ENGINE = 1.05
NEWEST = 0.05
SMALL_WRITE = 4
IN_MEMORY = 1
LARGE_WRITE = 1.5
VISIBLE_S = 0.02


def opened(folder: Path | None) -> LogService:
    return LogService(profile=profile("tencent"), now=lambda: float(generator.START_S), folder=folder)


@dataclass(frozen=True)
class Filled:
    topic: Topic
    files: list[str]
    size: int


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A topic with a day of flow records, compacted."""
    folder = tmp_path_factory.mktemp("store")
    with opened(folder) as service:
        topic = service.create_topic("flows")
        topic.enable_index(index_keys("tencent"), report=True)
        for number, window in enumerate(generator.windows(RECORDS)):
            topic.append(window, key=str(number))
        store = service.store
        assert isinstance(store, FolderStore)
        store.compacted()
        segments = store.all_segments()
        assert sum(segment.rows for segment in segments) == RECORDS
        paths = [str(store.path(segment.number)) for segment in segments]
        yield Filled(topic, paths, sum(segment.size for segment in segments))


def test_bytes_on_disk_after_compaction(filled: Filled, figures: Figures) -> None:
    bytes_a_record = filled.size / RECORDS
    figures.note("bytes on disk", records=RECORDS, segments=len(filled.files), bytes_a_record=bytes_a_record)
    assert bytes_a_record <= BYTES_A_RECORD


HOUR = generator.START_S + 36_000

QUESTIONS = {
    "top talkers": (
        "* | select srcaddr, sum(bytes) as b group by srcaddr order by b desc limit 10",
        "SELECT srcaddr, sum(bytes) AS b FROM {rows} GROUP BY srcaddr ORDER BY b DESC LIMIT 10",
    ),
    "rejected by port": (
        "action:REJECT | select dstport, count(*) as n group by dstport order by n desc limit 10",
        "SELECT dstport, count(*) AS n FROM {rows} WHERE action = 'REJECT' GROUP BY dstport ORDER BY n DESC LIMIT 10",
    ),
    "one address in one hour": (
        "srcaddr:{address} | select count(*) as n, sum(bytes) as b",
        "SELECT count(*) AS n, sum(bytes) AS b FROM {rows}"
        " WHERE srcaddr = '{address}' AND __time__ >= {start} AND __time__ < {end}",
    ),
    "hourly histogram": (
        "* | select histogram(__TIMESTAMP__, interval 1 hour) as t, sum(bytes) as b group by t order by t",
        "SELECT make_timestamp((__time__ + 28800 - (__time__ + 28800) % 3600) * 1000000) AS t, sum(bytes) AS b"
        " FROM {rows} GROUP BY t ORDER BY t",
    ),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_in_the_language_costs_what_duckdb_costs(filled: Filled, figures: Figures, name: str) -> None:
    asked, by_hand = QUESTIONS[name]
    with duckdb.connect(":memory:", config={"threads": 2}) as connection:
        rows = f"read_parquet({filled.files})"
        (address,) = connection.execute(f"SELECT mode(srcaddr) FROM {rows}").fetchone() or ()
        bounds = {"start": HOUR, "end": HOUR + 3600} if "hour" in name and "address" in name else {}
        sql = by_hand.format(rows=rows, address=address, **bounds)
        query = asked.format(address=address)

        def ours() -> float:
            return measure.timed(lambda: filled.topic.search(query, **bounds))

        def duck() -> float:
            return measure.timed(lambda: connection.execute(sql).fetchall())

        scan = filled.topic.scan(bounds.get("start"), bounds.get("end"))
        wanted = asked_of(filled.topic, query, bounds.get("start"), bounds.get("end"))
        plan = understood(question_of(filled.topic, wanted, scan, None))

        def engine() -> float:
            return measure.timed(lambda: plan.answer(scan))

        theirs = sorted(list(row)[-1] for row in connection.execute(sql).fetchall())
        assert sorted(list(record.values())[-1] for record in filled.topic.search(query, **bounds)) == theirs
        runs = measure.in_turns(ROUNDS, ours=ours, duck=duck, engine=engine)
    ratio, share = measure.ratio(runs["ours"], runs["duck"]), measure.ratio(runs["engine"], runs["duck"])
    times = {f"{way}_s": median(run) for way, run in runs.items()}
    figures.note(name, records=RECORDS, ratio=ratio, ratio_of_the_engine=share, **times)
    assert ratio <= 1 + (ENGINE_ALONE - 1) * SCALE
    assert share <= 1 + (OF_IT_THE_ENGINE - 1) * SCALE


def test_the_newest_are_found_through_the_manifest(filled: Filled, figures: Figures) -> None:
    with duckdb.connect(":memory:", config={"threads": 2}) as connection:
        order = "__time__ DESC, _vpclab_segment DESC, _vpclab_row DESC"
        scan = f"SELECT * FROM read_parquet({filled.files}) ORDER BY {order} LIMIT 100"

        def ours() -> float:
            return measure.timed(lambda: filled.topic.search("*", limit=100, newest_first=True))

        def scanned() -> float:
            return measure.timed(lambda: connection.execute(scan).fetchall())

        ids = [f"{row[-3]}-{row[-2]}" for row in connection.execute(scan).fetchall()]
        assert [record.id for record in filled.topic.search("*", limit=100, newest_first=True)] == ids
        runs = measure.in_turns(ROUNDS, ours=ours, scan=scanned)
    ratio = measure.ratio(runs["ours"], runs["scan"])
    figures.note("newest 100", records=RECORDS, ours_s=median(runs["ours"]), scan_s=median(runs["scan"]), ratio=ratio)
    assert ratio <= NEWEST * SCALE


def test_what_an_acknowledgement_costs(tmp_path: Path, figures: Figures) -> None:
    few, many = (next(generator.windows(count, days=1 / 288)).combine_chunks() for count in (100, 10_000))
    visible = [name for name in many.column_names if not name.startswith("_vpclab_")]
    many = many.select(visible)

    def fsync() -> float:
        def work() -> None:
            with open(tmp_path / "beside", "ab") as file:
                file.write(bytes(10_000))
                file.flush()
                os.fsync(file.fileno())

        return measure.timed(work)

    with opened(tmp_path / "store") as service, opened(None) as in_memory:
        topic = service.create_topic("flows")
        memory = in_memory.create_topic("flows")
        plain = service.create_topic("plain")
        store = service.store
        assert isinstance(store, FolderStore)

        def acknowledged(write: Callable[[], object]) -> float:
            took = measure.timed(write)
            store.compacted()  # in the background; the next round is not to share the machine with it
            return took

        runs = measure.in_turns(
            WRITES,
            few=lambda: acknowledged(lambda: topic.append(few, key=str(measure.now()))),
            fsync=fsync,
            memory=lambda: measure.timed(lambda: memory.append(few, key=str(measure.now()))),
            few_alone=lambda: measure.timed(lambda: pa.parquet.write_table(few, tmp_path / "few.parquet")),
            many=lambda: acknowledged(lambda: plain.write(many)),
            alone=lambda: measure.timed(lambda: pa.parquet.write_table(many, tmp_path / "alone.parquet")),
        )
    small, large = measure.ratio(runs["few"], runs["fsync"]), measure.ratio(runs["many"], runs["alone"])
    of_memory = measure.ratio(runs["memory"], runs["few_alone"])
    times = {f"{name}_s": median(run) for name, run in runs.items()}
    ratios = {"ratio_of_100_to_fsync": small, "ratio_of_10000_to_parquet": large}
    figures.note("acknowledged", **ratios, ratio_of_100_in_memory_to_parquet=of_memory, **times)
    assert of_memory <= IN_MEMORY
    assert small <= SMALL_WRITE
    assert large <= LARGE_WRITE


READER = """
import sys, time
from pathlib import Path
from emulator.logs import LogService
from emulator.providers import profile

with LogService(profile=profile("tencent"), now=float, folder=Path(sys.argv[1]), read_only=True) as service:
    topic = service.topic("flows")
    topic.search("*")
    print("ready", flush=True)
    for number in range(1, int(sys.argv[2]) + 1):
        while not topic.search(f"n:{number}"):
            pass
        print(time.monotonic(), flush=True)
"""


def test_what_was_acknowledged_is_visible_in_another_process(tmp_path: Path, figures: Figures) -> None:
    took = []
    with opened(tmp_path / "store") as service:
        topic = service.create_topic("flows", index={"n": "long"})
        topic.write([{"n": 0}])
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(tmp_path / "store"), str(WRITES)], stdout=subprocess.PIPE, text=True
        )
        with reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            for number in range(1, WRITES + 1):
                topic.write([{"n": number}])
                begun = measure.now()
                took.append(float(reader.stdout.readline()) - begun)
        assert reader.returncode == 0
    figures.note("visible elsewhere", median_s=median(took), most_s=max(took))
    assert median(took) <= VISIBLE_S
