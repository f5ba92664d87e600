"""The shipping loop: triggers in lab time, order, retries, states, what is held for a delivery."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from emulator.errors import AlreadyExists, InvalidValue, LabError, NotFound
from emulator.logs import LogService, Topic
from emulator.logs.delivery import Folder, Splunk, Target
from tests.logs.delivery.conftest import (
    START,
    Bench,
    TargetDown,
    TargetRefuses,
    Told,
    numbered,
)


def test_records_are_shipped_when_the_oldest_has_waited(bench: Bench, topic: Topic, told: type[Told]) -> None:
    target = told(interval_s=300)
    delivery = topic.deliver(target)
    topic.write(numbered(1))
    bench.advance(200)
    topic.write(numbered(2))
    bench.advance(99)
    assert (target.got, delivery.lag.records, delivery.lag.seconds) == ([], 2, 299)
    bench.advance(1)
    assert [(one.at_s, one.records["n"].to_pylist()) for one in target.got] == [(START + 300, [1, 2])]
    assert (delivery.state, delivery.records, delivery.lag.records, delivery.checkpoint) == ("running", 2, 0, (3, 0))
    topic.write(numbered(3))
    bench.advance(10_000)
    assert [(one.at_s, one.records["n"].to_pylist()) for one in target.got[1:]] == [(START + 600, [3])]


def test_records_are_shipped_when_they_are_many(bench: Bench, topic: Topic, told: type[Told]) -> None:
    target = told(interval_s=300, size=500)
    topic.deliver(target)
    topic.write(numbered(*range(10)))  # 200 bytes
    bench.advance(1)
    assert target.got == []
    topic.write(numbered(*range(10, 60)))
    bench.advance(1)
    assert len(target.got) > 1
    assert all(one.stored.nbytes < 5_000 for one in target.got)
    bench.advance(300)
    assert target.numbers == list(range(60))


def test_what_waits_for_nothing_is_sent_at_the_next_step(bench: Bench, topic: Topic, told: type[Told]) -> None:
    target = told()
    topic.deliver(target)
    topic.write(numbered(1, 2))
    bench.advance(0)
    (shipment,) = target.got
    assert shipment.records.column_names == ["__time__", "n", "text"]
    assert shipment.ids.to_pylist() == [record.id for record in topic.search()]
    assert (shipment.topic, shipment.topic_id, shipment.delivery) == ("app", topic.id, "told-1")


@pytest.mark.parametrize(("start", "numbers"), [("now", [3]), ("earliest", [1, 2, 3])])
def test_it_starts_where_it_is_told(
    start: str, numbers: list[int], bench: Bench, topic: Topic, told: type[Told]
) -> None:
    topic.write(numbered(1, 2))
    target = told()
    topic.deliver(target, start=start)  # type: ignore[arg-type]
    topic.write(numbered(3))
    bench.advance(1)
    assert target.numbers == numbers


def test_a_target_that_is_down_is_tried_again_in_lab_time(bench: Bench, topic: Topic, told: type[Told]) -> None:
    target = told(errors=[TargetDown("no answer")] * 3)
    delivery = topic.deliver(target)
    topic.write(numbered(1))
    bench.advance(1)
    assert (delivery.state, delivery.error, delivery.retry_at) == ("retrying", "no answer", START + 3)
    assert delivery.code == "10003"
    topic.write(numbered(2))
    bench.advance(1_000)
    assert (delivery.state, delivery.error, target.numbers) == ("running", None, [1, 2])
    assert [one.records["n"].to_pylist() for one in target.got] == [[1], [2]], "the same shipment comes again"
    assert target.got[0].at_s == START


def test_a_target_that_hangs_does_not_hold_the_clock(
    bench: Bench, topic: Topic, told: type[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = told(errors=[TargetDown("it hangs")] * 5)
    monkeypatch.setattr(time, "monotonic", lambda: 1.5 * (5 - len(target.errors)))
    delivery = topic.deliver(target)
    topic.write(numbered(1))
    for seconds in (10, 1_000, 10_000):
        bench.service.deliver(bench.now_s + seconds, goes_on=True)
    bench.advance(100_000)
    assert len(target.errors) == 3, "two tries of 1.5 s, though there was lab time for all"
    assert delivery.retry_at is not None
    assert delivery.retry_at > bench.now_s
    for _ in range(5):
        bench.advance(100_000)
    assert target.numbers == [1]


def test_a_target_that_refuses_waits_for_a_person(bench: Bench, topic: Topic, told: type[Told]) -> None:
    target = told(errors=[TargetRefuses("wrong keys", "delivery.denied")])
    delivery = topic.deliver(target)
    topic.write(numbered(1))
    bench.advance(10_000)
    assert (delivery.state, delivery.error, delivery.code) == ("failed", "wrong keys", "10002")
    topic.write(numbered(2))
    delivery.restart()
    assert (delivery.state, delivery.error) == ("running", None)
    bench.advance(0)
    assert target.numbers == [1, 2]


def test_an_error_of_a_library_stops_one_delivery_and_nothing_else(
    bench: Bench, topic: Topic, told: type[Told]
) -> None:
    broken, good = told(errors=[ZeroDivisionError("by 0")]), told()
    delivery = topic.deliver(broken)
    topic.deliver(good)
    topic.write(numbered(1))
    bench.advance(1)
    assert (delivery.state, delivery.error) == ("failed", "ZeroDivisionError: by 0")
    assert good.numbers == [1]


def test_stopped_restarted_deleted(bench: Bench, topic: Topic, told: type[Told]) -> None:
    target = told()
    delivery = topic.deliver(target, name="audit")
    assert topic.deliveries == [delivery]
    delivery.stop()
    topic.write(numbered(1))
    bench.advance(1_000)
    assert (delivery.state, target.got, bench.service.deliveries.next_moment()) == ("paused", [], None)
    delivery.restart()
    bench.advance(0)
    assert target.numbers == [1]
    delivery.delete()
    topic.write(numbered(2))
    bench.advance(1_000)
    assert (topic.deliveries, target.numbers) == ([], [1])
    asked: list[Callable[[], object]] = [
        delivery.delete,
        delivery.stop,
        delivery.restart,
        lambda: delivery.lag,
        lambda: delivery.objects,
        lambda: delivery.dead_letters,
    ]
    for ask in asked:
        with pytest.raises(NotFound, match="audit was deleted"):
            ask()


def test_a_delivery_that_cannot_be_deleted_goes_on(
    bench: Bench, topic: Topic, told: type[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = told()
    delivery = topic.deliver(target)

    def broken(number: int) -> None:
        raise LabError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(bench.service.store.checkpoints, "remove", broken)
        with pytest.raises(LabError, match="the disk is full"):
            delivery.delete()
    topic.write(numbered(1))
    bench.advance(1)
    assert (topic.deliveries, delivery.state, target.numbers) == ([delivery], "running", [1])


def test_another_target_takes_over_where_it_stood(bench: Bench, topic: Topic, told: type[Told]) -> None:
    first, second = told(), told()
    delivery = topic.deliver(first)
    topic.write(numbered(1))
    bench.advance(1)
    delivery.restart(to=second)
    topic.write(numbered(2))
    bench.advance(1)
    assert (first.numbers, second.numbers) == ([1], [2])


def test_of_a_shared_topic_chosen_flow_logs(bench: Bench, topic: Topic, told: type[Told]) -> None:
    one, both = told(), told()
    delivery = topic.deliver(one, flow_logs=["fl-1"])
    topic.deliver(both)
    for number, log in enumerate(["fl-1", "fl-2", "fl-1"]):
        topic.append(pa.table({"n": [number], "_vpclab_flow_log_id": [log]}), key=str(number))
    topic.append(pa.table({"n": [7]}), key="of none")
    bench.advance(1)
    assert (one.numbers, both.numbers) == ([0, 2], [0, 1, 2, 7])
    assert "_vpclab_flow_log_id" not in one.got[0].records.column_names
    assert (delivery.records, delivery.lag.records) == (2, 0)


def test_what_is_not_delivered_outlives_its_retention(bench: Bench, topic: Topic, told: type[Told]) -> None:
    target = told(interval_s=86_400)
    topic.retention_days = 1
    delivery = topic.deliver(target)
    other = topic.deliver(told())
    topic.write(numbered(1, 2))
    delivery.stop()
    for _ in range(3):
        bench.advance(86_400)
    assert len(topic.search()) == 0
    assert (delivery.lag.records, other.lag.records) == (2, 0)
    delivery.restart()
    bench.advance(86_400)
    assert target.numbers == [1, 2]
    bench.advance(86_400)
    assert topic.usage.stored == 0


def test_a_deleted_topic_takes_its_deliveries_along(bench: Bench, topic: Topic, told: type[Told]) -> None:
    target = told()
    delivery = topic.deliver(target)
    topic.write(numbered(1))
    bench.service.delete_topic(topic)
    bench.advance(1_000)
    assert (target.got, bench.service.store.checkpoints.all()) == ([], [])
    with pytest.raises(NotFound, match="told-1 was deleted"):
        delivery.restart()


REFUSED = {
    "no target": (lambda topic: topic.deliver("s3://bucket"), InvalidValue, "no target; there are .*Folder"),
    "interval": (lambda topic: topic.deliver(Folder("x", interval_s=-1)), InvalidValue, "interval_s=-1: lab seconds"),
    "size": (lambda topic: topic.deliver(Folder("x", size=0)), InvalidValue, "size=0: a number of bytes"),
    "no path": (lambda topic: topic.deliver(Folder("")), InvalidValue, "path='': the path of a folder"),
    "format": (lambda topic: topic.deliver(Folder("x", format="xml")), InvalidValue, "'xml': one of json, csv"),
    "codec": (lambda topic: topic.deliver(Folder("x", compression="lzop")), InvalidValue, "'lzop': one of none"),
    "outside": (lambda topic: topic.deliver(Folder("x", prefix="../%Y")), InvalidValue, "no part that is"),
    "absolute": (lambda topic: topic.deliver(Folder("x", prefix="/%Y")), InvalidValue, "no / in front"),
    "nothing between": (lambda topic: topic.deliver(Folder("x", prefix="a//b")), InvalidValue, "no part that is"),
    "line break": (lambda topic: topic.deliver(Folder("x", prefix="a\n")), InvalidValue, "printable"),
    "no name at all": (lambda topic: topic.deliver(Folder("x"), name="a\ud800"), InvalidValue, "are printable"),
    "one flow log": (lambda topic: topic.deliver(Folder("x"), flow_logs="fl-1"), InvalidValue, "a list of flow logs"),
    "no flow logs": (lambda topic: topic.deliver(Folder("x"), flow_logs=[]), InvalidValue, "None for all"),
    "a number": (lambda topic: topic.deliver(Folder("x"), flow_logs=7), InvalidValue, "a list of flow logs"),
    "lifetime": (lambda topic: topic.deliver(Folder("x", expire_days=0)), InvalidValue, "lab days, more than 0"),
    "start": (lambda topic: topic.deliver(Folder("x"), start="then"), InvalidValue, "'now' or 'earliest'"),
    "name": (lambda topic: topic.deliver(Folder("x"), name=""), InvalidValue, "1 to 255 characters"),
    "flow log": (lambda topic: topic.deliver(Folder("x"), flow_logs=[7]), InvalidValue, "7 is no flow log"),
    "twice": (lambda topic: [topic.deliver(Folder("x"), name="a") for _ in "ab"], AlreadyExists, "delivery a already"),
}


@pytest.mark.parametrize(("ask", "kind", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(
    ask: Callable[[Topic], object], kind: type[Exception], said: str, bench_on: Callable[[None], Bench]
) -> None:
    topic = bench_on(None).service.create_topic("app")
    with pytest.raises(kind, match=said):
        ask(topic)


def test_a_delivery_goes_on_when_the_folder_is_opened_again(
    bench_on: Callable[..., Bench], told: type[Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(now_s: float = START) -> tuple[Bench, Topic]:
        bench = bench_on(tmp_path / "data", now_s=now_s)
        service: LogService = bench.service
        return bench, service.topic("app") if service.topics() else service.create_topic("app")

    bench, topic = opened()
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    topic.deliver(Folder("out", format="parquet", prefix=""), name="audit")
    monkeypatch.undo()
    stopped = topic.deliver(Folder(tmp_path / "none"), name="stopped")
    stopped.stop()
    topic.write(numbered(1))
    bench.advance(300)
    topic.write(numbered(2))
    bench.service.close()
    assert len(list(out.iterdir())) == 1

    bench, topic = opened(START + 300)
    audit, stopped = topic.deliveries
    assert (audit.name, audit.state, audit.records, stopped.state) == ("audit", "running", 1, "paused")
    assert isinstance(audit.target, Target)
    bench.advance(0)
    assert (len(list(out.iterdir())), audit.records) == (2, 2)
    assert not (tmp_path / "none").exists()


def test_who_looks_on_sees_how_far_deliveries_are(bench_on: Callable[..., Bench], tmp_path: Path) -> None:
    bench = bench_on(tmp_path / "data")
    topic = bench.service.create_topic("app")
    audit = topic.deliver(Folder(tmp_path / "out"), name="audit")
    with LogService(profile=topic.profile, now=lambda: START, folder=tmp_path / "data", read_only=True) as reader:
        (seen,) = reader.topic("app").deliveries
        topic.deliver(Splunk("http://127.0.0.1:1", token="a secret"), name="hec").stop()
        topic.write(numbered(1, 2))
        assert (seen.records, seen.lag.records) == (0, 2)
        bench.advance(300)
        assert (seen.records, seen.size, seen.checkpoint) == (2, audit.size, audit.checkpoint)
        assert (seen.lag.records, seen.objects) == (0, audit.objects)
        assert [(one.name, one.state) for one in reader.topic("app").deliveries] == [
            ("audit", "running"),
            ("hec", "paused"),
        ]
        audit.delete()
        assert [one.name for one in reader.topic("app").deliveries] == ["hec"]
        with pytest.raises(NotFound, match="audit was deleted"):
            seen.lag  # noqa: B018
