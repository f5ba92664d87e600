"""Histograms, the context of a record, and live tail."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue, NotFound, QueryError
from emulator.logs import LogService, QueryLimits, Topic
from emulator.logs.histogram import Bucket

W1, W2 = 1_700_000_300, 1_700_000_600


@pytest.fixture(params=["memory", "folder"])
def app(request: pytest.FixtureRequest, service_of, profile: Profile, tmp_path: Path) -> Topic:  # type: ignore[no-untyped-def]
    options = {"folder": tmp_path / "data"} if request.param == "folder" else {}
    service: LogService = service_of(profile, **options)
    return service.create_topic("app", index={"n": "long", "word": "text"})


def test_a_histogram_has_aligned_buckets_and_empty_ones(app: Topic) -> None:
    app.write([{"__time__": at, "n": at} for at in (60, 61, 119, 240, 301)])
    assert app.histogram() == [
        Bucket(60, 120, 3),
        Bucket(120, 180, 0),
        Bucket(180, 240, 0),
        Bucket(240, 300, 1),
        Bucket(300, 360, 1),
    ]
    assert app.histogram("n:*", start=61, end=240, interval_s=100, language="lucene") == [
        Bucket(0, 100, 1),
        Bucket(100, 200, 1),
        Bucket(200, 300, 0),
    ]
    assert app.histogram("n:240", start=200, end=250) == [Bucket(180, 240, 0), Bucket(240, 300, 1)]
    assert app.histogram("n:7") == []
    assert app.histogram("n:7", start=0, end=60) == [Bucket(0, 60, 0)]


def test_a_histogram_counts_what_the_condition_finds(flows: Topic) -> None:
    assert flows.histogram("action:REJECT | select 1", interval_s=300, start=W1, end=W2 + 1) == [
        Bucket(1_700_000_100, 1_700_000_400, 1),
        Bucket(1_700_000_400, 1_700_000_700, 1),
    ]
    here = flows.histogram("log-status:OK", interval_s=60)
    assert flows.histogram("log-status:OK", interval_s=60, limits=QueryLimits()) == here
    assert sum(bucket.count for bucket in here) == 4


def test_histograms_that_make_no_sense_are_refused(flows: Topic) -> None:
    for interval in (0, -1, 1.5, True, None, "60"):
        with pytest.raises(InvalidValue, match="interval_s"):
            flows.histogram(interval_s=interval)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="at most 100000"):
        flows.histogram(start=0, end=200_000, interval_s=1)
    with pytest.raises(QueryError, match="not in the index"):
        flows.histogram("nope:1")


def test_the_context_of_a_record_is_what_stands_beside_it(app: Topic) -> None:
    app.write([{"__time__": at, "n": at} for at in (5, 3, 3, 1)])
    app.write([{"__time__": at, "n": at * 10} for at in (3, 2, 9)])
    every = app.search()
    assert [record["n"] for record in every] == [1, 20, 3, 3, 30, 5, 90]
    for place, record in enumerate(every):
        for before, after in ((0, 0), (1, 2), (10, 0), (0, 10), (3, 3)):
            found = app.context(record, before, after)
            expected = every[max(0, place - before) : place + after + 1]
            assert [one.id for one in found] == [one.id for one in expected]
            assert found == expected


def test_the_context_of_what_is_no_record_of_the_topic_is_refused(app: Topic, flows: Topic) -> None:
    app.write([{"__time__": 5, "n": 1}])
    (computed,) = app.search("* | select n")
    stranger = flows.search()[0]
    for record in (computed, stranger, None, {"n": 1}, "1-0"):
        with pytest.raises(NotFound):
            app.context(record)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="before is a number of records"):
        app.context(app.search()[0], before=-1)


def test_a_tail_gives_what_comes_once(app: Topic) -> None:
    app.write([{"__time__": 5, "n": 1}])
    tail, wanted = app.tail(), app.tail("n:2")
    assert tail.read() == []
    app.write([{"__time__": 1, "n": 2}])
    app.write([{"__time__": 9, "n": 3}, {"__time__": 0, "n": 4}])
    assert [record["n"] for record in tail.read()] == [4, 2, 3]
    assert [record["n"] for record in wanted.read()] == [2]
    assert (tail.read(), wanted.read()) == ([], [])
    app.write([{"n": 2}])
    assert [tail.read(), wanted.read()] == [[{"n": 2}]] * 2


def test_a_tail_waits_and_ends_with_the_topic(app: Topic) -> None:
    seen: list[int] = []
    three = threading.Event()

    def follow() -> None:
        for record in tail:
            seen.append(record["n"])
            if len(seen) == 3:
                three.set()

    tail = app.tail()
    follower = threading.Thread(target=follow)
    follower.start()
    for n in range(3):
        app.write([{"n": n}])
    assert three.wait(20)
    app._service.delete_topic(app)
    follower.join(20)
    assert not follower.is_alive()
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("timeout_s", ["x", None, True, float("nan")])
def test_a_tail_waits_for_a_number_of_seconds(app: Topic, timeout_s: Any) -> None:
    with pytest.raises(InvalidValue, match="timeout_s is a number of seconds"):
        app.tail().read(timeout_s)
    assert app.tail().read(-1) == []


def test_readers_of_one_tail_share_what_comes(app: Topic) -> None:
    tail, shares = app.tail(), list[int]()
    last = threading.Event()

    def follow() -> None:
        while not last.is_set() or not seen_all():
            shares.extend(record["n"] for record in tail.read(timeout_s=0.01))

    def seen_all() -> bool:
        return len(shares) >= 100

    followers = [threading.Thread(target=follow) for _ in range(4)]
    for follower in followers:
        follower.start()
    for n in range(100):
        app.write([{"n": n}])
    last.set()
    for follower in followers:
        follower.join(20)
    assert sorted(shares) == list(range(100))


def test_a_tail_sees_what_another_process_writes(service_of, profile: Profile, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    writer = service_of(profile, folder=tmp_path)
    topic = writer.create_topic("app", index={"n": "long"})
    with LogService(profile=profile, now=lambda: 0.0, folder=tmp_path, read_only=True) as reader:
        tail = reader.topic("app").tail()
        topic.write([{"n": 7}])
        assert tail.read(timeout_s=20) == [{"n": 7}]


def test_a_tail_knows_no_sql_and_says_what_it_does_not_understand(app: Topic) -> None:
    with pytest.raises(QueryError, match="no SQL behind it"):
        app.tail("* | select 1")
    with pytest.raises(QueryError, match="not in the index"):
        app.tail("nope:1")
