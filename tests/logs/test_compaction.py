"""Compaction: few large segments of many small ones, the same answers, and nothing lost however it ends."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.cloud.profile import Profile
from emulator.errors import LabError
from emulator.logs import LogService, Topic
from emulator.logs.compaction import FAN, LARGEST, SMALLEST, due
from emulator.logs.folder import FolderStore
from emulator.logs.store import Segment

NUMBERS = itertools.count(1)


def segment(rows: int, number: int = 0) -> Segment:
    number = number or next(NUMBERS)
    return Segment(number, 1, rows, 0, 0, number, number, (1,), {}, 0)


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([1] * 7, []),
        ([1] * 8, [1] * 8),
        ([1] * 20, [1] * 8),
        ([SMALLEST + 1] * 4 + [1] * 7, []),
        ([SMALLEST + 1] * 9 + [1] * 7, [SMALLEST + 1] * 8),
        ([SMALLEST + 1] * 9 + [1] * 8, [1] * 8),
        ([LARGEST] * 30, []),
        ([LARGEST - 1] * 8, [LARGEST - 1] * 2),
    ],
    ids=["few", "enough", "oldest", "classes", "higher class", "lower class first", "large enough", "not too large"],
)
def test_what_is_compacted(sizes: list[int], chosen: list[int]) -> None:
    found = [segment(rows, number) for number, rows in enumerate(sizes, start=1)]
    assert [one.rows for one in due(found)] == chosen
    assert due(found[::-1]) == due(found)


@given(st.lists(st.integers(1, LARGEST * 2), max_size=200))
@settings(deadline=None, derandomize=True)
def test_compaction_ends_with_few_of_each_class(sizes: list[int]) -> None:
    found = [segment(rows) for rows in sizes]
    while chosen := due(found):
        assert 1 < len(chosen) <= FAN
        found = [one for one in found if one not in chosen] + [segment(sum(one.rows for one in chosen))]
    assert sum(one.rows for one in found) == sum(sizes)
    small = [one for one in found if one.rows < LARGEST]
    assert len(small) <= (FAN - 1) * 5


@pytest.fixture
def topic(opened: Callable[[], LogService]) -> Topic:
    return opened().create_topic("app", index={"n": "long", "a": "text"})


def store_of(topic: Topic) -> FolderStore:
    store = topic._service.store
    assert isinstance(store, FolderStore)
    return store


def write_many(topic: Topic, batches: int) -> None:
    """Batches whose times come and go, some with a key that others have not."""
    for number in range(batches):
        row: dict[str, Any] = {"n": number, "__time__": 1000 - number % 5}
        topic.write([row, {**row, "a": f"word {number}"}] if number % 3 else [row], key=str(number))


def told(topic: Topic) -> list[tuple[str, int | None, dict[str, Any]]]:
    return [(record.id, record.time, dict(record)) for record in topic.search()]


def test_the_characters_of_a_column() -> None:
    from emulator.logs.segments import characters

    chunks = pa.chunked_array([["10.0.0.1", None, ""], ["é10", "Ab" * 100 + "z"], []], pa.string())
    assert characters(pa.table({"a": chunks, "n": pa.chunked_array([[1] * 5]), "_vpclab_x": chunks})) == {
        "a": ".01Abz\x80"
    }
    assert characters(pa.table({"a": chunks.slice(0, 2)})) == {"a": ".01"}


@pytest.mark.usefixtures("no_journal")
def test_answers_ids_and_order_stay(
    topic: Topic, opened: Callable[[], LogService], service_of: Callable[..., LogService], tencent: Profile
) -> None:
    memory = service_of(tencent).create_topic("app", index={"n": "long", "a": "text"})
    for one in (topic, memory):
        write_many(one, 3 * FAN)
    store_of(topic).compacted()
    assert len(store_of(topic).all_segments()) == 3
    assert told(topic) == told(memory)
    for query in ("a:word", "n:>5 AND NOT a:word", 'a:"word 7"'):
        assert topic.search(query) == memory.search(query) != []
        for newest in (False, True):
            page = {"limit": 3, "offset": 2, "newest_first": newest}
            assert topic.search(query, **page).lines == memory.search(query, **page).lines
    topic._service.close()
    again = opened().topic("app")
    assert told(again) == told(memory)
    assert again.write([{"n": 0}], key="7") == 0
    again.write([{"n": 99, "__time__": 2000}])
    assert again.search("n:99")[0].id == f"{3 * FAN + 1}-0"


@pytest.mark.usefixtures("no_journal")
def test_files_that_were_replaced_stay_for_readers_and_go_later(
    topic: Topic, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_many(topic, FAN)
    store_of(topic).compacted()
    files = sorted(path.name for path in (folder / "segments").iterdir())
    assert len(files) == FAN + 1
    store_of(topic)._clear_away(grace_s=-1)
    assert [path.name for path in (folder / "segments").iterdir()] == files[-1:]
    assert len(topic.search()) == FAN + FAN * 2 // 3


@pytest.mark.usefixtures("no_journal")
def test_a_damaged_segment_is_left_where_it_is(topic: Topic, folder: Path, opened: Callable[[], LogService]) -> None:
    for number in range(FAN - 1):
        topic.write([{"n": number}])
    topic._service.close()
    path = folder / "segments" / "00000003.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    again = opened().topic("app")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is reported: test_log_folder.py
        for number in range(FAN - 1, FAN + 2):
            again.write([{"n": number}])
        store_of(again).compacted()
        assert [record["n"] for record in again.search()] == [0, 1, *range(3, FAN + 2)]
    assert [damage.segment.number for damage in again._service.damaged] == [3]
    assert path.exists()


@pytest.mark.usefixtures("no_journal")
def test_what_cannot_be_compacted_now_is_kept_and_compacted_later(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emulator.logs import compaction

    def full(*_: object) -> None:
        raise LabError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(compaction, "merged", full)
        write_many(topic, FAN - 1)
        with pytest.warns(UserWarning, match="left for later: No space left"):  # noqa: PT031
            topic.write([{"n": FAN, "__time__": 1000}])
            store_of(topic).compacted()
        topic.write([{"n": FAN, "__time__": 1000}])  # warnings are errors in these tests
        with pytest.raises(LabError, match="left for later: No space left"):
            store_of(topic).compacted()
    before = told(topic)
    topic.write([{"n": 50, "__time__": 5000}])
    store_of(topic).compacted()
    assert len(store_of(topic).all_segments()) == 3
    assert told(topic)[:-1] == before


@pytest.mark.usefixtures("no_journal")
def test_a_topic_may_be_deleted_while_it_is_compacted(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    from emulator.logs import compaction

    merge = compaction.merged

    def slow(*given: Any) -> Any:
        topic._service.delete_topic(topic)
        return merge(*given)

    monkeypatch.setattr(compaction, "merged", slow)
    for number in range(FAN):
        topic.write([{"n": number}])
    store = store_of(topic)
    store.compacted()
    assert (store.topics(), store.all_segments(), list(store.files.iterdir())) == ([], [], [])


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), min_size=1, max_size=12),
    st.integers(1, 30),
    st.booleans(),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_a_limited_search_looks_at_parts_that_cover_everything_once(
    spans: list[tuple[int, int]], most: int, newest_first: bool
) -> None:
    from emulator.logs.scan import Scan, ScannedFile

    files = tuple(
        ScannedFile(Path(str(at)), 10, first, first + long, at, at, (1,), {}) for at, (first, long) in enumerate(spans)
    )
    scan = Scan({"__time__": pa.int64()}, {1: ("__time__",)}, None, None, files=files)
    steps = list(scan.steps(most, newest_first))
    bounds = [(step.low, step.high) for step in steps]
    ordered = bounds[::-1] if newest_first else bounds
    assert ordered[0][0] == min(file.first_s for file in files)
    assert ordered[-1][1] == max(file.last_s for file in files) + 1
    assert all(one[1] == other[0] for one, other in itertools.pairwise(ordered))
    for step in steps:
        assert step.low is not None
        assert step.high is not None
        assert step.low < step.high
        assert {file.path for file in step.files} == {
            file.path for file in files if file.first_s < step.high and file.last_s >= step.low
        }
