"""The store in a folder: what survives, who may open it, and what happens to what is broken."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emulator.cloud.profile import Profile
from emulator.errors import LabError, QueryError, StoreFailed
from emulator.logs import LogService, Topic, journal
from tests.children import environment

Open = Callable[[], LogService]


def run(program: str, folder: Path) -> str:
    """What a Python program says that is given the folder; at most 20 s."""
    command = [sys.executable, "-W", "ignore", "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def topic(opened: Open) -> Topic:
    return opened().create_topic("accept", logset="demo", index={"n": "long", "a": "text"})


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "segments").iterdir())


def named(folder: Path) -> list[str]:
    """The files that the manifest knows, those included that were replaced a moment ago."""
    with contextlib.closing(sqlite3.connect(folder / "manifest.sqlite")) as manifest:
        numbers = manifest.execute("SELECT number FROM segments UNION SELECT number FROM retired ORDER BY number")
        return [f"{number:08}.parquet" for (number,) in numbers]


@pytest.mark.filterwarnings("ignore:accept has flow records and other logs")
def test_everything_survives_reopening(opened: Open, topic: Topic) -> None:
    rules = pa.array([7, None], pa.int32())
    table = pa.table({"__time__": [5, 4], "n": [1, None], "a": ["x", "y"], "_vpclab_rule": rules})
    topic.append(table, key="w1")
    topic.write([{"n": 2, "__time__": 6}], key="w2")
    bare = topic._service.create_topic("bare")
    before = topic.search()
    topic._service.close()

    service = opened()
    again = service.topic("accept")
    assert (again.id, again.logset, again.index, again.report) == (topic.id, "demo", topic.index, False)
    assert [one.name for one in service.topics()] == ["accept", "bare"]
    assert service.get(bare.id).index is None
    after = again.search()
    assert after == before
    assert [(one.id, one.time, one.meta) for one in after] == [(one.id, one.time, one.meta) for one in before]
    assert again.write([{"n": 3}], key="w2") == 0
    assert again.append(table, key="w1") is False
    assert again.write([{"n": 3}], key="w3") == 1
    assert again.search("n:3")[0].id == "3-0"
    assert service.create_topic("new").id not in (topic.id, bare.id)


def test_the_report_survives_reopening(opened: Open) -> None:
    service = opened()
    service.create_topic("flows").enable_index({"srcaddr": "text"}, report=True)
    index = service.topic("flows").index
    service.close()
    again = opened().topic("flows")
    assert (again.index, again.report) == (index, True)


READER = """
import sqlite3, sys
import pyarrow.parquet as pq

manifest = sqlite3.connect(f"file:{sys.argv[1]}/manifest.sqlite?mode=ro", uri=True)
for number, rows in manifest.execute("SELECT number, rows FROM segments"):
    table = pq.read_table(f"{sys.argv[1]}/segments/{number:08}.parquet")
    assert table.num_rows == rows
    print(*sorted({str(kind) for kind in table.schema.types}))
"""


def test_any_reader_understands_the_files_while_the_store_is_open(topic: Topic, folder: Path) -> None:
    topic.write([{"n": 1, "a": "x", "d": 0.5}], key="w1")
    topic._service.flush()
    topic.write(pa.table({"n": pa.array([1], pa.int8()), "a": pa.array(["x"]).dictionary_encode()}))
    topic._service.flush()
    seen = run(READER, folder).splitlines()
    assert seen == ["double int64 string", "int64 string"]


SECOND = """
import sys
from pathlib import Path
from emulator.errors import LabError
from emulator.logs import LogService
from emulator.providers import profile

try:
    LogService(profile=profile("tencent"), now=float, folder=Path(sys.argv[1]))
except LabError as error:
    print(error)
"""


def test_a_folder_is_written_by_one(opened: Open, topic: Topic, folder: Path) -> None:
    with pytest.raises(LabError, match="in use by this process"):
        opened()
    said = run(SECOND, folder)
    assert f"in use by process {os.getpid()}" in said
    topic._service.close()
    assert opened().topic("accept").search() == []


FORK = """
import os, sys
from pathlib import Path
from emulator.logs import LogService
from emulator.providers import profile

service = LogService(profile=profile("tencent"), now=float, folder=Path(sys.argv[1]))
held = LogService(profile=profile("tencent"), now=float).create_topic("held", index={"a": "text"})
held.write([{"a": "x"}])
print(len(held.search("a:x")), flush=True)
read, write = os.pipe()
if os.fork() == 0:
    print(len(held.search("a:x")), flush=True)
    os.close(write)
    os.read(read, 1)
    sys.exit()
service.close()
LogService(profile=profile("tencent"), now=float, folder=Path(sys.argv[1])).close()
os.close(write)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


SLOW_FORK = """
import os, sys
from pathlib import Path
read, write = os.pipe()
os.register_at_fork(after_in_child=lambda: os.read(read, 1))  # before what the log service does there
from emulator.logs import LogService
from emulator.providers import profile

def opened():
    return LogService(profile=profile("tencent"), now=float, folder=Path(sys.argv[1]))

service = opened()
if os.fork() == 0:
    os._exit(0)
service.close()
opened().close()
os.write(write, b"x")
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_child_that_is_only_just_forked_does_not_hold_the_folder_either(folder: Path) -> None:
    assert run(SLOW_FORK, folder).split() == ["0"]


def test_a_forked_child_can_search_and_does_not_hold_the_folder(folder: Path) -> None:
    assert run(FORK, folder).split() == ["1", "1", "0"]


def test_files_that_are_not_ours_stay_and_what_was_never_acknowledged_goes(
    opened: Open, topic: Topic, folder: Path
) -> None:
    topic.write([{"n": 1}])
    topic._service.close()
    strays = ["notes.parquet", "00000001.parquet.bak", "1.parquet", "x.part"]
    for name in [*strays, "00000002.parquet", "00000009.parquet"]:
        (folder / "segments" / name).write_bytes(b"?")
    (folder / "README").write_text("mine")
    assert opened().topic("accept").search() == [{"n": 1}]
    assert segments(folder) == sorted(["00000001.parquet", *strays])
    assert (folder / "README").read_text() == "mine"


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flipped,
    "cut": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "gone": lambda data: None,
}


def spoil(path: Path, damage: Callable[[bytes], bytes | None]) -> None:
    data = damage(path.read_bytes())
    path.unlink()
    if data is not None:
        path.write_bytes(data)


@pytest.mark.usefixtures("no_journal")
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_segment_is_reported_and_left_out(opened: Open, topic: Topic, folder: Path, how: str) -> None:
    for number in range(3):
        topic.write([{"n": number, "a": "x"}] * 2)
    topic._service.close()
    path = folder / "segments" / "00000002.parquet"
    spoil(path, DAMAGES[how])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        service = opened()
        found = service.topic("accept").search("a:x")
    (warning,) = [str(one.message) for one in warned]
    assert re.search(r"00000002\.parquet .*; its 2 records are left out$", warning)
    assert [record["n"] for record in found] == [0, 0, 2, 2]
    (damage,) = service.damaged
    assert (damage.segment.number, damage.path) == (2, str(path))
    assert service.topic("accept").search("* | select sum(n) as n") == [{"n": 4}]
    service.topic("accept").write([{"n": 9}])
    assert len(service.topic("accept").search()) == 5


def test_what_was_not_acknowledged_when_the_power_went_is_not_there(opened: Open, topic: Topic, folder: Path) -> None:
    topic.write([{"n": 0}], key="k0")
    topic._service.close()
    stray = folder / "segments" / "00000002.parquet"
    stray.write_bytes(b"half of a fi")
    service = opened()
    assert service.topic("accept").write([{"n": 1}], key="k1") == 1
    assert [record["n"] for record in service.topic("accept").search()] == [0, 1]
    assert pq.read_table(stray).num_rows == 1


def test_deleting_a_topic_removes_its_files(opened: Open, topic: Topic, folder: Path) -> None:
    other = topic._service.create_topic("other", index={"n": "long"})
    topic.write([{"n": 1}])
    other.write([{"n": 2}])
    topic._service.flush()
    assert segments(folder) == ["00000001.parquet", "00000002.parquet"]
    topic._service.delete_topic(topic)
    assert segments(folder) == ["00000002.parquet"]
    topic._service.close()
    assert opened().topic("other").search() == [{"n": 2}]


@pytest.mark.usefixtures("no_journal")
def test_a_write_that_fails_leaves_nothing(topic: Topic, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    topic.write([{"n": 1}])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreFailed, match="No space left on device; write the batch again") as failed:
            topic.write([{"n": 2}], key="k")
    assert (failed.value.code, failed.value.object) == ("InternalError", topic.id)
    assert segments(folder) == ["00000001.parquet"]
    assert topic.write([{"n": 2}], key="k") == 1
    assert [record["n"] for record in topic.search()] == [1, 2]


@pytest.mark.parametrize("bytes_journaled", [journal.BATCH_BYTES, 0], ids=["journal", "segment"])
def test_an_interrupt_behind_the_acknowledgement_takes_nothing_back(
    topic: Topic, opened: Open, monkeypatch: pytest.MonkeyPatch, bytes_journaled: int
) -> None:
    topic.write([{"n": 0}])
    store = topic._service.store
    manifest = store._manifest  # type: ignore[attr-defined]

    class Interrupted:
        """Behind the transaction in which this thread writes."""

        writes = False
        thread = threading.get_ident()

        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            done: sqlite3.Cursor = manifest.execute(sql, *parameters)
            self.writes |= sql.startswith("INSERT INTO keys")
            if sql == "COMMIT" and self.writes and threading.get_ident() == self.thread:
                raise KeyboardInterrupt
            return done

        def __getattr__(self, name: str) -> object:
            return getattr(manifest, name)

    monkeypatch.setattr(journal, "BATCH_BYTES", bytes_journaled)
    with monkeypatch.context() as patched:
        patched.setattr(store, "_manifest", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            topic.write([{"n": 1}], key="k")
    assert topic.search("n:1") == [{"n": 1}]
    assert topic.write([{"n": 2}], key="k2") == 1
    topic._service.close()
    assert [record["n"] for record in opened().topic("accept").search()] == [0, 1, 2]


def test_a_folder_of_a_newer_layout_is_refused(opened: Open, topic: Topic, folder: Path) -> None:
    topic._service.close()
    with sqlite3.connect(folder / "manifest.sqlite") as manifest:
        manifest.execute("PRAGMA user_version = 99")
    manifest.close()
    for _ in range(2):
        with pytest.raises(LabError, match="newer vpclab"):
            opened()


def test_a_folder_that_cannot_be_one_is_refused(
    service_of: Callable[..., LogService], tencent: Profile, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be opened"):
        service_of(tencent, folder=tmp_path / "file")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.sqlite").write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(LabError, match="cannot be opened"):
        service_of(tencent, folder=broken)


WRITER = """
import sys
from pathlib import Path
from emulator.logs import LogService
from emulator.providers import profile

service = LogService(profile=profile("tencent"), now=lambda: 1_700_000_000.0, folder=Path(sys.argv[1]))
topic = service.topic("accept")
for batch in range(int(sys.argv[2]), 10_000):
    topic.write([{"n": batch, "a": "x" * (batch % 50)}] * 7, key=str(batch))
    print(batch, flush=True)
"""


def test_a_kill_loses_nothing_acknowledged_and_doubles_nothing(opened: Open, topic: Topic, folder: Path) -> None:
    topic._service.close()
    acknowledged, attempted = -1, 0
    for turn in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(attempted)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert writer.stdout is not None
        for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged >= attempted + 5 * (turn + 1):
                break
        time.sleep(0.003 * turn)
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout:
            if line.endswith("\n"):
                acknowledged = int(line)
        writer.stdout.close()
        writer.wait()

        service = opened()
        again = service.topic("accept")
        rows = [record["n"] for record in again.search()]
        assert rows == sorted(rows)
        kept = {batch: rows.count(batch) for batch in set(rows)}
        assert set(range(acknowledged + 1)) <= kept.keys() <= set(range(acknowledged + 2))
        assert set(kept.values()) == {7}
        # A client that saw no acknowledgement writes again.
        attempted = acknowledged + 2
        for batch in range(attempted):
            again.write([{"n": batch}] * 7, key=str(batch))
        assert len(again.search()) == 7 * attempted
        service.close()
        assert segments(folder) == named(folder)


def test_the_files_hold_what_is_hidden_too(topic: Topic, folder: Path) -> None:
    topic.append(pa.table({"__time__": [5], "n": [1], "_vpclab_rule": [7]}), key="w1")
    topic._service.flush()
    place = {"_vpclab_segment": 1, "_vpclab_row": 0, "_vpclab_shape": 1}
    assert pq.read_table(folder / "segments" / "00000001.parquet").to_pylist() == [
        {"__time__": 5, "n": 1, "_vpclab_rule": 7, **place}
    ]


def test_keys_that_differ_by_case_only_are_not_mistaken_for_each_other(opened: Open) -> None:
    service = opened()
    topic = service.create_topic("app", index={"n": "long", "N": "long"})
    for number in range(9):
        topic.write([{"n": number, "N": 100 + number}])
    topic.write([{"N": 7, "é": "a"}])
    service.store.compacted()  # type: ignore[attr-defined]
    service.close()
    again = opened().topic("app")

    assert [(record["n"], record["N"]) for record in again.search("n:3 OR N:105")] == [(3, 103), (5, 105)]
    assert [dict(record) for record in again.search("N:7")] == [{"N": 7, "é": "a"}]
    assert again.search("n:101 OR N:2") == []
    assert [bar.count for bar in again.histogram("N:>103", interval_s=86_400)] == [5]
    with pytest.raises(QueryError, match="by case only"):
        again.search("* | select n")
