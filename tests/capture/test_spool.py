"""Records that wait for their time, in memory and in a folder that outlives its process."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from emulator.capture import schema
from emulator.capture.spool import Spool

NODATA = schema.remarks([{"eni_id": "eni-1", "start": 0, "end": 300, "log_status": "NODATA"}])


@pytest.fixture(params=["memory", "folder"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Spool:
    return Spool(None if request.param == "memory" else tmp_path)


def keys(spool: Spool, now_s: float) -> list[str]:
    return [entry.key for entry in spool.due(now_s)]


def test_entries_come_in_the_order_in_which_they_fall_due(spool: Spool) -> None:
    for due, key in ((900, "c"), (600, "a"), (600, "b"), (1200, "d")):
        spool.put(due, "topic", "tencent", NODATA, key)

    assert spool.next_due() == 600
    assert keys(spool, 599.999) == []
    assert keys(spool, 600) == ["a", "b"]
    assert keys(spool, 900.5) == ["a", "b", "c"]
    assert keys(spool, 900.5) == ["a", "b", "c"], "an entry stays until it is done"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=["in order", "out of order"])
def test_what_is_done_is_gone(spool: Spool, order: tuple[int, ...]) -> None:
    for due, key in ((600, "a"), (900, "b"), (1200, "c")):
        spool.put(due, "topic", "tencent", NODATA, key)
    entries = spool.due(9999)

    left = ["a", "b", "c"]
    for at in order:
        spool.done(entries[at])
        left.remove("abc"[at])
        assert keys(spool, 9999) == left
    assert spool.next_due() is None


def test_a_folder_survives_its_process(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.put(900, "topic-2", "alibaba", NODATA, "late")
    first.put(600, "topic-1", "tencent", NODATA, "early")
    first.done(first.due(600)[0])
    first.put(600, "topic-3", "full", NODATA, "again")

    second = Spool(tmp_path)

    found = [(entry.due_s, entry.topic_id, entry.form, entry.key) for entry in second.due(9999)]
    assert found == [(600, "topic-3", "full", "again"), (900, "topic-2", "alibaba", "late")]
    assert all(entry.table.equals(NODATA, check_metadata=True) for entry in second.due(9999))


def test_what_is_put_after_reopening_does_not_replace_what_was_there(tmp_path: Path) -> None:
    Spool(tmp_path).put(600, "topic", "tencent", NODATA, "old")
    reopened = Spool(tmp_path)
    reopened.put(600, "topic", "tencent", NODATA, "new")

    assert keys(Spool(tmp_path), 600) == ["old", "new"]


def test_done_removes_the_file_and_memory_keeps_none(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(600, "topic", "tencent", NODATA, "a")
    assert len(list(tmp_path.iterdir())) == 1

    spool.done(spool.due(600)[0])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 1, 100, -1], ids=["empty", "a byte", "the head", "all but a byte"])
def test_a_torn_file_is_left_out_and_its_number_is_not_given_again(tmp_path: Path, keep: int) -> None:
    spool = Spool(tmp_path)
    spool.put(600, "topic", "tencent", NODATA, "whole")
    spool.put(600, "topic", "tencent", NODATA, "torn")
    torn = tmp_path / "600-2.arrow"
    torn.write_bytes(torn.read_bytes()[:keep])

    reopened = Spool(tmp_path)
    reopened.put(600, "topic", "tencent", NODATA, "next")

    assert keys(reopened, 600) == ["whole", "next"]
    assert (tmp_path / "600-3.arrow").exists()


def test_other_files_are_left_alone_and_what_was_begun_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "my-notes.arrow").write_text("mine")
    (tmp_path / "600-7.writing").write_bytes(b"begun")
    with pa.OSFile(str(tmp_path / "5-5.arrow"), "wb") as stream, pa.ipc.new_file(stream, NODATA.schema) as writer:
        writer.write_table(NODATA)  # an Arrow file, but none of a spool

    assert keys(Spool(tmp_path), 9999) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["5-5.arrow", "my-notes.arrow", "notes.txt"]


def test_a_great_many_entries_take_no_time(tmp_path: Path) -> None:
    spool = Spool()
    for number in range(20_000):
        spool.put(number, "topic", "tencent", NODATA, str(number))

    for entry in spool.due(20_000):
        spool.done(entry)

    assert spool.next_due() is None
