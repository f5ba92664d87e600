"""A folder that one process writes and others read; folders of older layouts, that are full, or read-only."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emulator import LabError, NotFound, read_logs
from emulator.cloud.profile import Profile
from emulator.logs import LogService, Topic, manifest, older
from emulator.logs.folder import FolderStore
from tests.children import environment

NOW = 1_700_000_000


@pytest.fixture
def writer(service_of: Callable[..., LogService], tencent: Profile, folder: Path) -> Topic:
    return service_of(tencent, folder=folder).create_topic("app", index={"n": "long"})


@pytest.fixture
def reader(writer: Topic, folder: Path) -> Iterator[LogService]:
    with read_logs(folder) as service:
        yield service


def numbers(topic: Topic, query: str = "*") -> list[int]:
    return [record["n"] for record in topic.search(query)]


def test_a_reader_sees_what_the_writer_does(writer: Topic, reader: LogService) -> None:
    topic = reader.topic("app")
    assert numbers(topic) == []
    writer.write([{"n": 1}])
    assert numbers(topic) == [1]
    writer.disable_index()
    with pytest.raises(NotFound, match="no index"):
        topic.search()
    writer.enable_index({"n": "long", "a": "text"})
    writer.write([{"n": 2, "a": "x"}])
    assert numbers(topic, "a:x") == [2]
    other = writer._service.create_topic("other", logset="more")
    assert [one.name for one in reader.topics()] == ["app", "other"]
    assert reader.logsets() == ["default", "more"]
    writer._service.delete_topic(other)
    writer._service.delete_topic(writer)
    with pytest.raises(NotFound, match="was deleted"):
        topic.search()
    assert reader.topics() == []


def test_a_reader_changes_nothing(writer: Topic, reader: LogService) -> None:
    topic = reader.topic("app")
    calls: list[Callable[[], object]] = [
        lambda: topic.write([{"n": 1}]),
        lambda: reader.create_topic("new"),
        lambda: reader.create_logset("new"),
        lambda: reader.delete_topic(topic),
        lambda: setattr(topic, "retention_days", 1),
        topic.reindex,
        reader.expire,
        reader.flush,
    ]
    for call in calls:
        with pytest.raises(LabError, match="what changes it is for Lab"):
            call()
    assert numbers(writer) == numbers(topic) == []


def test_a_reader_meets_whole_batches_while_segments_are_replaced(writer: Topic, reader: LogService) -> None:
    topic, failed = reader.topic("app"), []
    done = threading.Event()

    def poll() -> None:
        try:
            before = 0
            while not done.is_set():
                found = numbers(topic)
                assert len(found) % 3 == 0
                assert found == [batch for batch in range(len(found) // 3) for _ in range(3)]
                assert len(found) >= before
                before = len(found)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    for batch in range(80):
        writer.write([{"n": batch}] * 3)
    done.set()
    thread.join()
    assert failed == []
    assert len(numbers(topic)) == 240
    assert reader.damaged == []


def test_there_must_be_something_to_read(tmp_path: Path) -> None:
    for nothing in (tmp_path, tmp_path / "none", 5):
        with pytest.raises(LabError, match=r"there are no logs in .*: give a lab's data folder"):
            read_logs(nothing)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


FIRST_LAYOUT = """
CREATE TABLE topics (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, logset TEXT NOT NULL, fields TEXT,
    report INTEGER NOT NULL DEFAULT 0, UNIQUE (logset, name));
CREATE TABLE segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL REFERENCES topics, rows INTEGER NOT NULL,
    first_s INTEGER NOT NULL, last_s INTEGER NOT NULL, sha256 TEXT NOT NULL);
CREATE INDEX segments_of_topic ON segments (topic, number);
CREATE TABLE keys (topic INTEGER NOT NULL REFERENCES topics, key TEXT NOT NULL, PRIMARY KEY (topic, key)) WITHOUT ROWID;
PRAGMA journal_mode = WAL;
PRAGMA user_version = 1;
"""


@pytest.fixture
def first_layout(folder: Path) -> Path:
    """Two topics, one of them with three segments, the second damaged; a fourth was deleted once."""
    import hashlib

    (folder / "segments").mkdir(parents=True)
    with sqlite3.connect(folder / "manifest.sqlite") as opened:
        opened.executescript(FIRST_LAYOUT)
        field = {"kind": "long", "delimiters": "", "case_sensitive": False, "sql": True}
        opened.execute("INSERT INTO topics VALUES (2, 'app', 'demo', ?, 1)", (json.dumps({"n": field}),))
        opened.execute("INSERT INTO topics VALUES (5, 'bare', 'demo', NULL, 0)")
        opened.execute("INSERT INTO keys VALUES (2, 'k')")
        for number in (1, 3, 7):
            path = folder / "segments" / f"{number:08}.parquet"
            pq.write_table(pa.table({"__time__": [NOW + 1, NOW], "n": [number, None], "a": ["x", "Y"]}), path)
            digest = hashlib.sha256(path.read_bytes() + (b"?" if number == 3 else b"")).hexdigest()
            opened.execute("INSERT INTO segments VALUES (?, 2, 2, ?, ?, ?)", (number, NOW, NOW + 1, digest))
        opened.execute("UPDATE sqlite_sequence SET seq = 9 WHERE name = 'segments'")
    opened.close()
    return folder


def look_at(service: LogService) -> None:
    topic = service.topic("app")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = topic.search()
    assert [(one.id, one.time, dict(one)) for one in found] == [
        ("1-1", NOW, {"n": None, "a": "Y"}),
        ("7-1", NOW, {"n": None, "a": "Y"}),
        ("1-0", NOW + 1, {"n": 1, "a": "x"}),
        ("7-0", NOW + 1, {"n": 7, "a": "x"}),
    ]
    assert len(warned) == len(service.damaged) == 1
    assert topic.report
    assert [(one.name, one.logset, one.index is None) for one in service.topics()] == [
        ("app", "demo", False),
        ("bare", "demo", True),
    ]
    assert topic.write([{"n": 5}], key="k") == 0
    topic.write([{"n": 5, "__time__": NOW + 9}])
    assert topic.search("n:5", language="lucene")[0].id == "10-0"
    assert service.create_topic("new").number == 6


def test_a_folder_of_the_first_layout_is_carried_over(
    first_layout: Path, service_of: Callable[..., LogService], tencent: Profile
) -> None:
    with pytest.raises(LabError, match="older vpclab: its layout is 1; a lab that opens it carries it over"):
        read_logs(first_layout)
    look_at(service_of(tencent, folder=first_layout))
    assert len(list((first_layout / "segments").iterdir())) == 4


def test_a_kill_while_it_is_carried_over_leaves_the_old_layout(
    first_layout: Path,
    service_of: Callable[..., LogService],
    tencent: Profile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for place, name in ((older, "insert_segment"), (older.segments, "write_durably")):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, killed)
            with pytest.raises(KeyboardInterrupt):
                service_of(tencent, folder=first_layout)
        with sqlite3.connect(first_layout / "manifest.sqlite") as opened:
            assert opened.execute("PRAGMA user_version").fetchone() == (1,)
        opened.close()
    look_at(service_of(tencent, folder=first_layout))


UNDONE = {
    4: ["DROP TABLE journal", "ALTER TABLE segments ADD COLUMN data BLOB"],
    3: ["DROP TABLE journal"],
    2: [f"DROP TABLE {name}" for name in ("journal", "dead_letters", "shipped", "deliveries")],
}
"""By layout, what makes a folder of it from one of today."""


@pytest.mark.parametrize("layout", UNDONE)
def test_a_folder_of_a_later_layout_is_carried_over(
    writer: Topic, folder: Path, service_of: Callable[..., LogService], tencent: Profile, layout: int
) -> None:
    writer.write([{"n": 1}], key="k")
    writer._service.close()
    with sqlite3.connect(folder / "manifest.sqlite") as opened:
        for statement in [*UNDONE[layout], f"PRAGMA user_version = {layout}"]:
            opened.execute(statement)
    opened.close()
    with pytest.raises(LabError, match=f"its layout is {layout}; a lab that opens it carries it over"):
        read_logs(folder)
    service = service_of(tencent, folder=folder)
    topic = service.topic("app")
    assert topic.write([{"n": 2}], key="k") == 0
    assert topic.write([{"n": 2}]) == 1
    assert numbers(topic) == [1, 2]
    assert topic.deliveries == []
    with read_logs(folder) as reader:
        assert numbers(reader.topic("app")) == [1, 2]


@pytest.mark.parametrize("damage", [None, b"", b"half of a fi"], ids=["gone", "empty", "cut"])
def test_the_fourth_layout_has_the_bytes_of_files_that_were_not_on_disk_yet(
    writer: Topic, folder: Path, service_of: Callable[..., LogService], tencent: Profile, damage: bytes | None
) -> None:
    writer.write([{"n": 1}])
    writer._service.close()
    path = folder / "segments" / "00000001.parquet"
    with sqlite3.connect(folder / "manifest.sqlite") as opened:
        for statement in [*UNDONE[4], "PRAGMA user_version = 4"]:
            opened.execute(statement)
        opened.execute("UPDATE segments SET data = ?", (path.read_bytes(),))
    opened.close()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    service = service_of(tencent, folder=folder)
    assert (numbers(service.topic("app")), service.damaged) == ([1], [])


def test_the_layout_is_that_of_the_manifest(writer: Topic) -> None:
    store = writer._service.store
    assert isinstance(store, FolderStore)
    assert store._one("PRAGMA user_version") == (manifest.LAYOUT,)


FULL = """
import subprocess, sys, warnings
from pathlib import Path
from emulator import LabError, read_logs
from emulator.logs import LogService
from emulator.providers import profile

place = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "vpclab", str(place)], check=True)
ballast = place / "ballast"
ballast.write_bytes(bytes(1 << 20))
service = LogService(profile=profile("tencent"), now=lambda: 1.7e9, folder=place / "logs")
topic = service.create_topic("app", index={"n": "long"})
written, key = 0, ""
warnings.simplefilter("ignore")  # compaction finds no room either, and says so
try:
    for number in range(10_000):
        key = str(number)
        written += topic.write([{"n": number, "a": f"{number} {row}" * 9} for row in range(500)], key=key)
except LabError as error:
    print(error)
service.store.compacted()
there = [record["c"] for record in topic.search("* | select count(*) as c")]
print(there == [written] and written > 0, not service.damaged)
with read_logs(place / "logs") as reader:
    print(len(reader.topic("app").search("n:0")))
ballast.unlink()
print(topic.write([{"n": -1}], key=key), topic.write([{"n": -1}], key=key), len(topic.search("n:-1")))
service.close()
service = LogService(profile=profile("tencent"), now=lambda: 1.7e9, folder=place / "logs")
print(len(service.topic("app").search()) == written + 1)
service.close()

subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
try:
    LogService(profile=profile("tencent"), now=lambda: 1.7e9, folder=place / "logs")
except LabError as error:
    print(error)
with read_logs(place / "logs") as reader:
    print(len(reader.topic("app").search()) == written + 1)
"""


@pytest.mark.kernel
def test_a_full_disk_and_a_read_only_folder_lose_nothing(tmp_path: Path) -> None:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, "--mount", sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    full, *rest, read_only, still_there = done.stdout.splitlines()
    assert "cannot be written" in full
    assert rest == ["True True", "500", "1 0 1", "True"]
    assert "cannot be opened" in read_only
    assert still_there == "True"
