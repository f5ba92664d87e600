"""The journal: small batches are acknowledged before they are in a segment, and are found all the same."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emulator import read_logs
from emulator.cloud.profile import Profile
from emulator.delivery import Folder
from emulator.errors import LabError
from emulator.logs import LogService, QueryLimits, Topic, segments
from emulator.logs.folder import JOURNALED, FolderStore
from tests.children import environment

DAY = 86_400
INDEX = {"n": "long", "a": "text", "b": "text", "d": "double"}

FIRST = [[{"n": number, "a": f"word {number % 4}", "__time__": 1000 + 7 * number % 90}] * 3 for number in range(30)]
SECOND = [
    [{"n": 40, "a": "word 1", "b": "10.0.0.1", "__time__": 1010}, {"n": 41, "__time__": 990}],
    [{"n": 42, "b": "later", "__time__": 1200}],
    [{"n": 43, "a": "word 2", "d": 0.5, "__time__": 1045}] * 2,
]


@pytest.fixture
def topic(opened: Callable[[], LogService]) -> Topic:
    return opened().create_topic("app", index=INDEX)


def journaled(folder: Path) -> int:
    """Batches in the journal."""
    with closing(sqlite3.connect(folder / "manifest.sqlite")) as manifest:
        return int(manifest.execute("SELECT count(*) FROM journal").fetchone()[0])


@pytest.fixture(params=["writer", "reader", "journal only"])
def both(
    request: pytest.FixtureRequest,
    opened: Callable[[], LogService],
    service_of: Callable[..., LogService],
    tencent: Profile,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """A topic of which a part is in the journal, and one with the same rows in memory."""
    topic, memory = (one.create_topic("app", index=INDEX) for one in (opened(), service_of(tencent)))
    if request.param == "journal only":
        request.getfixturevalue("stuck_journal")
    for number, rows in enumerate(FIRST):
        for one in (topic, memory):
            one.write(rows, key=str(number))
    topic._service.flush()
    topic._service.store.compacted()  # type: ignore[attr-defined]
    request.getfixturevalue("stuck_journal")
    for rows in SECOND:
        for one in (topic, memory):
            one.write(rows)
    assert journaled(folder) == len(SECOND) + (len(FIRST) if request.param == "journal only" else 0)
    if request.param != "reader":
        yield topic, memory
        return
    with read_logs(folder) as service:
        yield service.topic("app"), memory


def test_every_way_to_ask_finds_what_the_journal_holds(both: tuple[Topic, Topic]) -> None:
    topic, memory = both
    for query in ("*", "a:word", 'a:"word 1"', "n:>20", "b:*", "NOT a:word", "b:10.0.0.1", "d:0.5"):
        for page in ({}, {"limit": 5}, {"limit": 7, "offset": 3}, {"start": 1005, "end": 1050}):
            for newest in (False, True):
                found = topic.search(query, newest_first=newest, **page)
                wanted = memory.search(query, newest_first=newest, **page)
                assert [(one.id, one.time, dict(one)) for one in found] == [
                    (one.id, one.time, dict(one)) for one in wanted
                ], (query, page, newest)
                assert (found.complete, found.lines) == (wanted.complete, wanted.lines)
    grouped = "* | select a, count(*) as c, sum(n) as s group by a order by c, a"
    assert topic.search(grouped) == memory.search(grouped)
    assert topic.search(grouped, limits=QueryLimits()) == memory.search(grouped)
    assert topic.search("b:later", limits=QueryLimits()) == [{"n": 42, "b": "later"}]
    assert topic.histogram("a:word", interval_s=20) == memory.histogram("a:word", interval_s=20)
    one = memory.search("n:43")[0]
    assert topic.context(one, 4, 4).lines == memory.context(one, 4, 4).lines


def test_a_tail_tells_what_comes_into_the_journal_once(topic: Topic, stuck_journal: None) -> None:
    topic.write([{"n": 1}])
    tail = topic.tail("n:>1")
    for number in (2, 3):
        topic.write([{"n": number}])
        assert tail.read() == [{"n": number}]
    assert tail.read() == []


def test_keys_that_differ_by_case_only_are_told_apart_in_the_journal(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.write([{"n": 1, "N": 10}])
    topic._service.flush()
    monkeypatch.setattr(FolderStore, "flush", lambda *_: None)
    topic.write([{"n": 2, "N": 20}])
    assert [dict(record) for record in topic.search("n:2 OR n:1")] == [{"n": 1, "N": 10}, {"n": 2, "N": 20}]


def test_the_meter_counts_alike_in_the_journal_and_in_segments(
    tencent: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_700_000_000.0]
    services = [LogService(profile=tencent, now=lambda: now[0], folder=tmp_path / name) for name in ("flushed", "not")]
    flush = FolderStore.flush
    monkeypatch.setattr(
        FolderStore, "flush", lambda store, topic: None if store is services[1].store else flush(store, topic)
    )
    topics = [service.create_topic("app", index={"n": "long"}) for service in services]
    for number in range(4):
        for topic in topics:
            topic.write([{"n": number, "a": "é" * number}])
            topic._service.flush()
        now[0] += DAY / 2
        if number == 1:
            for topic in topics:
                topic.modify_index({"a": "text"})
    assert topics[0].usage == topics[1].usage
    assert 0 < topics[0].usage.indexed < topics[0].usage.written < topics[0].usage.byte_days
    monkeypatch.setattr(FolderStore, "flush", flush)
    services[1].flush()
    assert topics[0].usage == topics[1].usage
    for service in services:
        service.close()


KILLED = """
import os, sys
from pathlib import Path
from emulator.logs import LogService
from emulator.logs.folder import FolderStore
from emulator.providers import profile

topic = LogService(profile=profile("tencent"), now=lambda: 5.0, folder=Path(sys.argv[1])).create_topic(
    "app", index={"n": "long"}
)
topic.write([{"n": 0}], key="0")
topic._service.flush()
FolderStore.flush = lambda *_: None
topic.write([{"n": 1}], key="1")
topic.write([{"n": 2}], key="2")
os._exit(0)
"""


def test_what_a_killed_writer_leaves_in_the_journal_is_there(opened: Callable[[], LogService], folder: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=True, env=environment(), timeout=30)
    with read_logs(folder) as reader:
        before = [(record.id, dict(record)) for record in reader.topic("app").search()]
    assert before == [("1-0", {"n": 0}), ("2-0", {"n": 1}), ("3-0", {"n": 2})]
    assert journaled(folder) == 2
    topic = opened().topic("app")
    assert topic.write([{"n": 9}], key="2") == 0
    topic.write([{"n": 3}])
    assert [(record.id, dict(record)) for record in topic.search()] == [*before, ("4-0", {"n": 3})]
    topic._service.close()
    assert journaled(folder) == 0
    assert sum(pq.read_table(path).num_rows for path in (folder / "segments").iterdir()) == 4


def test_a_segment_is_on_disk_with_its_name_before_the_manifest_names_it(
    topic: Topic, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = topic._service.store
    assert isinstance(store, FolderStore)
    assert store._one("PRAGMA synchronous") == (2,)  # FULL: a commit waits for its fsync
    told: list[str] = []
    sync = os.fsync

    def synced(descriptor: int) -> None:
        told.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    store._manifest.set_trace_callback(lambda sql: told.append(" ".join(sql.split()[:3])))
    topic.write([{"n": 1}])
    assert not any(one.endswith(".parquet") for one in told[: told.index("INSERT INTO journal")])
    store.compacted()
    topic.write([{"a": f"{row}" * 90} for row in range(1000)])
    named = [place for place, one in enumerate(told) if one == "INSERT INTO segments"]
    assert len(named) == 2
    for begin, place in zip([0, *named], named, strict=False):
        (file,) = [at for at in range(begin, place) if told[at].endswith(".parquet")]
        assert told.index("segments", file) < told.index("BEGIN IMMEDIATE", file) < place
        assert told[place + 1 :].index("COMMIT") <= 1
    store._manifest.set_trace_callback(None)


def test_a_journal_that_cannot_be_flushed_is_searched_and_flushed_later(
    topic: Topic, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = topic._service.store
    assert isinstance(store, FolderStore)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("emulator.logs.folder.JOURNALED", 3)
    with monkeypatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # compaction says that it was left for later
        patched.setattr(segments, "write_durably", full)
        for number in range(5):
            assert topic.write([{"n": number}]) == 1
        store.compacted()
        assert topic.search("n:1") == [{"n": 1}]
        topic._service.expire()
        with pytest.raises(LabError, match="No space left on device"):
            topic._service.flush()
    assert journaled(folder) == 5
    topic.write([{"n": 5}])
    assert [record["n"] for record in topic.search()] == [0, 1, 2, 3, 4, 5]
    assert journaled(folder) == 0


def test_a_flush_that_is_rolled_back_is_made_again(topic: Topic, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderStore, "_compact", lambda *_: None)
    topic.write([{"n": 1}])

    def broken(*_: object) -> None:
        raise LabError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "_count", broken)
        with pytest.raises(LabError, match="disk I/O error"):
            topic._service.flush()
    assert (journaled(folder), list((folder / "segments").iterdir())) == (1, [])
    topic._service.flush()
    assert (journaled(folder), len(list((folder / "segments").iterdir()))) == (0, 1)


def test_a_batch_of_the_journal_that_was_changed_is_left_out_loudly(
    topic: Topic, opened: Callable[[], LogService], folder: Path, stuck_journal: None
) -> None:
    for number in range(3):
        topic.write([{"n": number}])
    with closing(sqlite3.connect(folder / "manifest.sqlite", isolation_level=None)) as manifest:
        ((rows,),) = manifest.execute("SELECT rows FROM journal WHERE batch = 2")
        at = rows.rindex((1).to_bytes(8, "little"))
        manifest.execute("UPDATE journal SET rows = ? WHERE batch = 2", (rows[:at] + b"\7" + rows[at + 1 :],))
    with pytest.warns(UserWarning, match="batch 2 in .* is not what was written"):
        assert [record["n"] for record in topic.search()] == [0, 2]
    assert [record["n"] for record in topic.search()] == [0, 2]  # told once


def test_a_stranger_finds_what_only_the_oldest_segment_has(topic: Topic) -> None:
    for number in range(3):
        rows = [{"a": f"v{number}", "__time__": 1000 * number + row} for row in range(200)]
        topic.write(rows)
        topic._service.flush()
    found = topic.search("a:v0", limit=5, newest_first=True, limits=QueryLimits())
    assert [record.time for record in found] == [199, 198, 197, 196, 195]


def test_whole_numbers_beyond_2_53_meet_floats(topic: Topic, folder: Path) -> None:
    large = (1 << 60) + 1
    topic.write([{"n": large}])
    topic._service.flush()
    topic.write([{"n": large}])
    topic.write([{"n": 0.5}])
    assert sorted(record["n"] for record in topic.search()) == [0.5, float(large), float(large)]
    assert journaled(folder) == 0


def test_the_journal_does_not_grow_without_bound(topic: Topic, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderStore, "_compact", lambda *_: None)
    sizes = []
    for number in range(JOURNALED + 5):
        topic.write([{"n": number}])
        sizes.append(journaled(folder))
    assert sizes == [*range(1, JOURNALED), 0, 1, 2, 3, 4, 5]
    (path,) = (folder / "segments").iterdir()
    assert pq.read_table(path)["n"].to_pylist() == list(range(JOURNALED))


def test_a_delivery_takes_what_is_in_the_journal_once(topic: Topic, tmp_path: Path, stuck_journal: None) -> None:
    delivery = topic.deliver(Folder(tmp_path / "out", format="parquet", prefix="", interval_s=0))
    for number in range(3):
        topic.write([{"n": number}])
        topic._service.deliver()
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert sorted(pa.concat_tables(tables)["n"].to_pylist()) == [0, 1, 2]
    assert (delivery.records, delivery.lag.records) == (3, 0)


def test_rows_of_several_days_become_segments_of_one_day(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole days expire, and a segment goes when its last row has expired."""
    store = topic._service.store
    assert isinstance(store, FolderStore)
    monkeypatch.setattr(FolderStore, "_compact", lambda *_: None)
    for hours in (1, 23, 25, 30, 2, 100):
        topic.write([{"n": hours, "__time__": hours * 3600}])
    store.flush(topic.number)
    assert [(one.first_s // 3600, one.last_s // 3600) for one in store.all_segments()] == [
        (1, 23),
        (25, 30),
        (100, 100),
    ]
