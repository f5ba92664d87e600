"""Deliveries to folders: what a file holds, how it is named, how long it stays, and disks that fail."""

from __future__ import annotations

import errno
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.errors import LabError
from emulator.logs import Topic
from emulator.logs.delivery import Folder
from emulator.logs.delivery.formats import FORMATS
from emulator.logs.folder import FolderStore
from tests.logs.delivery.conftest import Bench, Told, numbered

ROWS: list[dict[str, Any]] = [
    {"n": 1, "ratio": 0.5, "text": 'a "b", c\n'},
    {"n": -(2**62), "ratio": None, "text": None},
    {"n": None, "ratio": 1e300, "text": "ä\U0001f600"},
]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_formats(bench: Bench, topic: Topic, tmp_path: Path) -> None:
    for form in FORMATS:
        topic.deliver(Folder(tmp_path / form, format=form, prefix=""))
    topic.write(ROWS)
    bench.advance(300)
    assert [delivery.error for delivery in topic.deliveries] == [None] * len(FORMATS)
    one = {form: files(tmp_path / form)[0] for form in FORMATS}
    lines = one["json"].read_text().splitlines()
    assert [{**json.loads(line), "__time__": None} for line in lines] == [{**row, "__time__": None} for row in ROWS]
    for table in (pq.read_table(one["parquet"]), pyarrow.orc.read_table(one["orc"])):
        assert [{**row, "__time__": None} for row in table.to_pylist()] == [{**row, "__time__": None} for row in ROWS]
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT n, ratio, text FROM read_csv('{one['csv']}')").fetchall()
        assert found == [(row["n"], row["ratio"], row["text"]) for row in ROWS]
    assert one["line"].read_text().split("\n") == [
        r'1 0.5 a "b", c\n',
        f"{-(2**62)} - -",
        "- 1e+300 ä\U0001f600",
        "",
    ]


def test_keys_that_differ_by_case_only(bench: Bench, topic: Topic, tmp_path: Path) -> None:
    for form in ("json", "csv", "parquet"):
        topic.deliver(Folder(tmp_path / form, format=form, prefix=""))  # type: ignore[arg-type]
    topic.write([{"n": 1, "N": "2"}])
    topic.write([{"n": 3, "N": "4"}])
    bench.advance(300)
    assert [delivery.error for delivery in topic.deliveries] == [None] * 3
    one = {form: files(tmp_path / form)[0] for form in ("json", "csv", "parquet")}
    rows = [json.loads(line) for line in one["json"].read_text().splitlines()]
    assert [(row["n"], row["N"]) for row in rows] == [(1, "2"), (3, "4")]
    assert [line.split(",")[1:] for line in one["csv"].read_text().splitlines()] == [
        ['"n"', '"N"'],
        ["1", '"2"'],
        ["3", '"4"'],
    ]
    assert [(row["n"], row["N"]) for row in pq.read_table(one["parquet"]).to_pylist()] == [(1, "2"), (3, "4")]


def test_names_by_time_and_by_column(bench: Bench, topic: Topic, tmp_path: Path) -> None:
    topic.deliver(Folder(tmp_path / "day", compression="gzip", prefix="%Y/%m/%d/%H"))
    topic.deliver(Folder(tmp_path / "hive", format="parquet", prefix="dt=%Y-%m-%d/text={text}/"))
    topic.write(numbered(1, 2))
    topic.write([{"n": 3, "text": "../../out"}, {"n": 4, "text": None}])
    bench.advance(300)
    (name,) = files(tmp_path / "day")
    assert name.relative_to(tmp_path / "day").match("2023/11/14/22_????????????????_1-0.json.gz")
    assert len(gzip.decompress(name.read_bytes()).splitlines()) == 4
    with duckdb.connect() as connection:
        where = f"read_parquet('{tmp_path}/hive/**/*.parquet', hive_partitioning = true)"
        # A key of the records that is in the path as well is read from the path.
        assert connection.sql(f"SELECT n, text, dt::VARCHAR FROM {where} ORDER BY n").fetchall() == [
            (1, "row_1", "2023-11-14"),
            (2, "row_2", "2023-11-14"),
            (3, ".._.._out", "2023-11-14"),
            (4, "-", "2023-11-14"),
        ]
    assert files(tmp_path / "hive") == files(tmp_path / "hive" / "dt=2023-11-14")


def test_values_that_are_no_names(bench: Bench, topic: Topic, tmp_path: Path) -> None:
    delivery = topic.deliver(Folder(tmp_path, prefix="{50%d}/{text}/", format="parquet"))
    texts = ["a\0b", "a", ".", "é" * 200]
    topic.write([{"n": number, "50%d": "x\0", "text": text} for number, text in enumerate(texts)])
    bench.advance(300)
    assert (delivery.error, len(delivery.objects)) == (None, len(texts))
    found = {
        one.name.rpartition("/")[0]: pq.read_table(tmp_path / one.name, partitioning=None)["n"].to_pylist()
        for one in delivery.objects
    }
    assert found == {"x_/a_b": [0], "x_/a": [1], "x_/_": [2], "x_/" + "é" * 50: [3]}


def test_a_column_that_is_not_there(bench: Bench, topic: Topic, tmp_path: Path) -> None:
    delivery = topic.deliver(Folder(tmp_path / "out", prefix="{action}/"))
    topic.write(numbered(1))
    bench.advance(300)
    assert (delivery.state, delivery.error) == (
        "failed",
        "prefix '{action}/': the records have no action: __time__, n, text",
    )
    assert files(tmp_path) == [one for one in files(tmp_path) if "out" not in one.parts]


def test_files_expire_in_lab_time(bench: Bench, topic: Topic, tmp_path: Path) -> None:
    delivery = topic.deliver(Folder(tmp_path / "out", expire_days=30))
    topic.write(numbered(1))
    bench.advance(300)
    bench.advance(86_400)
    topic.write(numbered(2))
    bench.advance(300)
    assert [one.records for one in delivery.objects] == [1, 1]
    bench.advance(28 * 86_400)
    assert len(files(tmp_path / "out")) == 2
    bench.advance(86_400)
    (left,) = files(tmp_path / "out")
    assert (json.loads(left.read_text())["n"], [one.name for one in delivery.objects]) == (
        2,
        [str(left.relative_to(tmp_path / "out"))],
    )


def test_files_of_a_delivery_that_is_stopped_expire_and_a_disk_that_fails_stops_no_clock(
    bench: Bench, topic: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = topic.deliver(Folder(tmp_path / "out", expire_days=1))
    topic.write(numbered(1))
    bench.advance(300)
    delivery.stop()

    def broken(*_: object) -> None:
        raise LabError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(bench.service.store.checkpoints, "forget", broken)
        bench.advance(86_400)
    assert ([one.records for one in delivery.objects], delivery.code) == ([1], "10003")
    assert delivery.error == "objects whose time is over are still there: the disk is full"
    bench.advance(1)
    assert (files(tmp_path / "out"), delivery.objects) == ([], [])
    assert (delivery.state, delivery.error, delivery.code) == ("paused", None, None)


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (errno.ENAMETOOLONG, "failed", "10003"),
        (errno.ENOSPC, "retrying", "10003"),
        (errno.EIO, "retrying", "10003"),
        (errno.EROFS, "failed", "10002"),
    ],
)
def test_a_disk_that_fails(
    error: int, state: str, code: str, bench: Bench, topic: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = topic.deliver(Folder(tmp_path / "out", format="parquet"))
    topic.write(numbered(1))

    def fails(descriptor: int) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as broken:
        broken.setattr("emulator.logs.delivery.folder.os.fsync", fails)
        bench.service.deliver(bench.now_s + 300)
    assert (delivery.state, delivery.code, delivery.records) == (state, code, 0)
    assert delivery.error is not None
    assert delivery.error.startswith(f"{tmp_path / 'out'} cannot be written: {os.strerror(error)}")
    assert files(tmp_path / "out") == [], "nothing half-written stays"
    if state == "failed":
        delivery.restart()
    bench.advance(600)
    assert (delivery.state, delivery.records) == ("running", 1)
    assert [pq.read_table(path)["n"].to_pylist() for path in files(tmp_path / "out")] == [[1]]


def test_a_file_where_the_folder_should_be(bench: Bench, topic: Topic, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    delivery = topic.deliver(Folder(tmp_path / "out"))
    topic.write(numbered(1))
    bench.advance(300)
    assert (delivery.state, delivery.code) == ("failed", "10001")
    (tmp_path / "out").unlink()
    delivery.restart()
    bench.advance(0)
    assert (delivery.state, delivery.records) == ("running", 1)


def test_compaction_changes_neither_order_nor_place(bench_on: Callable[..., Bench], tmp_path: Path) -> None:
    """Small writes with times out of order, which are compacted before, between and after deliveries."""
    bench = bench_on(tmp_path / "data")
    topic = bench.service.create_topic("app")
    delivery = topic.deliver(Folder(tmp_path / "out", format="parquet", size=300, interval_s=0, prefix=""))
    store = bench.service.store
    assert isinstance(store, FolderStore)
    for n in range(40):
        topic.write([{"__time__": 1_700_000_000 - n % 7, "n": n}])
        if n % 13 == 5:
            store.compacted()
            bench.advance(1)
    store.compacted()
    assert len(store.all_segments()) < 10
    bench.advance(1)
    tables = [pq.read_table(tmp_path / "out" / one.name) for one in by_place(delivery.objects)]
    assert [n for table in tables for n in table["n"].to_pylist()] == list(range(40))


def by_place(objects: Any) -> list[Any]:
    """In the order of the first row of each, which names end with."""
    return sorted(objects, key=lambda one: [int(part) for part in one.name.split("_")[-1].split(".")[0].split("-")])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_comes_is_there_once_and_in_order(data: st.DataObject, bench_on: Callable[..., Bench]) -> None:
    """Any batches, sizes, intervals and steps of the clock."""
    bench = bench_on(None)
    topic = bench.service.create_topic("app")
    target = Told(interval_s=data.draw(st.sampled_from([0, 10, 300])), size=data.draw(st.integers(20, 400)))
    topic.deliver(target)
    n = 0
    for size, seconds in data.draw(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 400)), max_size=5)):
        topic.write(numbered(*range(n, n + size)))
        n += size
        bench.advance(seconds)
    bench.advance(300)
    assert target.numbers == list(range(n))
    moments = [one.at_s for one in target.got]
    assert moments == sorted(moments)
    assert all(bench.now_s >= moment for moment in moments)
