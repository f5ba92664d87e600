"""Faults on order: what comes late, twice, in another order or in pieces, and what never comes; and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from emulator import InvalidValue, Lab, NotFound
from emulator.delivery import Elasticsearch, Splunk
from scenarios import receivers

pytestmark = pytest.mark.kernel

START_S = 1_704_067_200


class Stage:
    """A lab with one flow log on each of two ENIs, into two topics, and a clock that stands at a window's begin."""

    def __init__(self, profile: str, **options: Any) -> None:
        self.lab = Lab(profile, start=START_S, **options)
        subnet = self.lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24")
        self.a, self.b = subnet.run_instances(["A", "B"])
        self.topic, self.other = (self.lab.logs.create_topic(name, logset="demo") for name in ("first", "other"))
        self.log = self.a.eni.create_flow_log("from-a", topic=self.topic)
        self.b.eni.create_flow_log("from-b", topic=self.other)
        self.window_s = self.lab.profile.window_s

    def windows(self, count: int = 1) -> None:
        """Windows with one packet each way, closed and due."""
        for _ in range(count):
            self.a.ping(self.b, count=1)
            self.lab.clock.advance(seconds=self.window_s)

    def publish(self) -> None:
        self.lab.clock.advance(seconds=self.lab.profile.delay_s)

    def ends(self, topic: Any = None) -> list[int]:
        """Windows of the records, by the order in which they arrived."""
        found = (topic or self.topic).search(
            '"log-status":OK' if self.lab.profile.provider == "alibaba" else "log-status:OK"
        )
        by_arrival = sorted(found, key=lambda record: [int(part) for part in record.id.split("-")])
        return [(record["end"] - START_S) // self.window_s for record in by_arrival]


@pytest.fixture(params=["tencent", "alibaba"])
def stage(request: pytest.FixtureRequest) -> Any:
    made = Stage(request.param)
    with made.lab:
        yield made


def test_publishes_come_as_they_are_ordered(stage: Stage) -> None:
    faults, window_s, delay_s = stage.lab.faults, stage.window_s, stage.lab.profile.delay_s
    faults.late(minutes=2 * window_s / 60, topic=stage.topic)
    assert "late: 1" in repr(faults)
    stage.windows()
    stage.publish()
    assert (stage.ends(), stage.ends(stage.other)) == ([], [1, 1])
    stage.lab.clock.advance(seconds=2 * window_s - delay_s)
    assert stage.ends() == []
    stage.lab.clock.advance(seconds=delay_s)
    assert stage.ends() == [1, 1]
    assert repr(faults) == "<Faults none>"


def test_duplicates_have_ids_of_their_own(stage: Stage) -> None:
    stage.lab.faults.duplicated(topic=stage.topic)
    stage.windows(2)
    stage.publish()
    assert stage.ends() == [1, 1, 1, 1, 2, 2]
    assert len({record.id for record in stage.topic.search()}) == 6
    assert stage.ends(stage.other) == [1, 1, 2, 2]


def test_windows_without_packets_are_publishes_of_their_own(stage: Stage) -> None:
    stage.lab.faults.duplicated(2, topic=stage.topic)
    stage.lab.clock.advance(seconds=4 * stage.window_s)
    stage.publish()
    ends = [(record["end"] - START_S) // stage.window_s for record in stage.topic.search(limit=6)]
    assert ends == [1, 1, 2, 2, 3, 4]


def test_publishes_change_places(stage: Stage) -> None:
    stage.lab.faults.reordered(3, topic=stage.topic)
    stage.windows(4)
    stage.publish()
    assert stage.ends() == [3, 3, 2, 2, 1, 1, 4, 4]


def test_what_waits_to_change_places_comes_when_the_faults_are_cancelled(stage: Stage) -> None:
    stage.lab.faults.reordered(3)
    stage.windows(1)
    stage.publish()
    assert stage.ends() == []
    stage.lab.faults.cancel()
    assert stage.ends() == [1, 1]
    assert stage.ends(stage.other) == [1, 1]


def test_a_publish_is_cut_in_the_middle(stage: Stage) -> None:
    stage.lab.faults.cut(minutes=1, topic=stage.topic)
    stage.windows()
    stage.publish()
    assert stage.ends() == [1]
    stage.lab.clock.advance(seconds=59)
    assert stage.ends() == [1]
    stage.lab.clock.advance(seconds=1)
    assert stage.ends() == [1, 1]
    assert {record["dstaddr"] for record in stage.topic.search()} == {stage.a.ip, stage.b.ip}


def test_windows_say_nodata_and_skipdata_on_order(stage: Stage) -> None:
    faults, eni = stage.lab.faults, stage.a.eni
    faults.skipdata(eni)
    faults.nodata(eni, windows=2)
    faults.skipdata(eni, windows=2)
    stage.windows(2)
    stage.lab.clock.advance(seconds=4 * stage.window_s)
    stage.publish()
    statuses = [record["log-status"] for record in stage.topic.search()]
    assert statuses == ["SKIPDATA", "NODATA", "NODATA", "SKIPDATA", "SKIPDATA", "NODATA"]
    (first, *_) = stage.topic.search()
    assert (first["bytes"], first["srcaddr"], first.meta["skipped"]) == (None, None, 2)
    assert stage.ends(stage.other) == [1, 1, 2, 2]
    assert stage.lab.audit().ok


def test_without_authorization_nothing_arrives_until_it_is_back(stage: Stage) -> None:
    alibaba = stage.lab.profile.provider == "alibaba"
    stage.windows()
    stage.publish()
    stage.lab.faults.withdraw_authorization()
    assert not stage.lab.faults.authorized
    told = stage.log.delivery
    assert (told.state, told.message) == (("FAILED", "UnknownError") if alibaba else ("SUCCESS", ""))
    stage.lab.clock.advance(seconds=-stage.lab.clock.now % stage.window_s)
    stage.windows()
    stage.publish()
    assert set(stage.ends()) == {1}
    stage.lab.faults.restore_authorization()
    assert stage.log.delivery.state == "SUCCESS"
    stage.lab.clock.advance(seconds=-stage.lab.clock.now % stage.window_s)
    before = len(stage.ends())
    stage.windows()
    stage.publish()
    assert len(stage.ends()) == before + 2


def test_a_topic_is_deleted_under_a_flow_log(stage: Stage) -> None:
    alibaba = stage.lab.profile.provider == "alibaba"
    stage.windows()
    stage.lab.logs.delete_topic(stage.topic)
    told = stage.log.delivery
    assert (told.state, told.message) == (("FAILED", "UnavaliableTarget") if alibaba else ("DELETED", ""))
    stage.publish()
    assert stage.ends(stage.other) == [1, 1]
    with pytest.raises(NotFound):
        stage.topic.search()
    again = stage.lab.logs.create_topic("first", logset="demo")
    if not alibaba:  # an id is never given again: the flow log has to be made anew
        stage.log.delete()
        stage.log = stage.a.eni.create_flow_log("from-a", topic=again)
    else:
        again.enable_index({"log-status": "text", "end": "long"}, report=True)
    assert stage.log.delivery.state == "SUCCESS"
    stage.lab.clock.advance(seconds=-stage.lab.clock.now % stage.window_s)
    stage.windows()
    stage.publish()
    assert len(stage.ends(again)) == 2


def test_a_project_that_is_gone_is_named(tmp_path: Any) -> None:
    stage = Stage("alibaba")
    with stage.lab:
        stage.lab.logs.delete_logset("demo")
        assert stage.log.delivery.message == "ProjectNotExist"


def test_targets_of_deliveries_fail_on_order(stage: Stage) -> None:
    faults = stage.lab.faults
    with receivers.Elasticsearch() as elk, receivers.Splunk() as splunk:
        indexed = stage.topic.deliver(Elasticsearch(elk.url, index="vpcflow", timeout_s=20), "elk")
        collected = stage.topic.deliver(Splunk(splunk.url, token=splunk.token, timeout_s=20), "splunk")
        faults.target_answers(503, requests=None, delivery=collected)
        faults.target_closes(requests=1)
        assert repr(faults) == "<Faults answer 503: until mended, close: 1>"
        stage.windows()
        stage.publish()
        assert (indexed.state, collected.state) == ("retrying", "retrying")
        stage.lab.clock.advance(seconds=60)
        assert (indexed.state, indexed.records) == ("running", 2)
        assert (collected.state, collected.records, splunk.events) == ("retrying", 0, [])
        assert str(collected.error).startswith("HTTP 503")
        faults.mend_targets(collected)
        assert repr(faults) == "<Faults none>"
        stage.lab.clock.advance(seconds=60)
        assert (collected.state, collected.records) == ("running", 2)
        # What closed had taken it all the same: it came twice, and is there once.
        assert len([one for one in elk.requests if one.path == "/_bulk"]) == 2
        assert sorted(one["dstaddr"] for one in elk.indices["vpcflow"].values()) == [stage.a.ip, stage.b.ip]
        assert sorted(one["event"]["dstaddr"] for one in splunk.events) == [stage.a.ip, stage.b.ip]


@pytest.mark.parametrize("profile", ["tencent"])
def test_what_is_put_off_survives_its_lab(profile: str, tmp_path: Any) -> None:
    stage = Stage(profile, data=tmp_path)
    with stage.lab:
        stage.lab.faults.reordered(2, topic=stage.topic)
        stage.lab.faults.late(minutes=60, topic=stage.other)
        stage.windows()
        stage.publish()
        assert stage.ends() == stage.ends(stage.other) == []
    with Lab(profile, start=START_S + 7200, data=tmp_path) as lab:
        for name in ("first", "other"):
            assert len(lab.logs.topic(name).search("log-status:OK")) == 2


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1", 10**7])
def test_orders_that_make_no_sense_are_refused(value: Any) -> None:
    with Lab() as lab:
        eni = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24").create_eni()
        for call in (
            lambda: lab.faults.late(value),
            lambda: lab.faults.skipdata(eni, windows=value),
            lambda: lab.faults.cut(minutes="soon"),  # type: ignore[arg-type]
            lambda: lab.faults.late(minutes=float("nan")),
            lambda: lab.faults.target_answers(requests=value),
            lambda: lab.faults.target_hangs(requests=value),
            lambda: lab.faults.target_answers(200),
            lambda: lab.faults.target_answers(429, retry_after_s=-1),
            lambda: lab.faults.target_closes(delivery=lab),  # type: ignore[arg-type]
        ):
            with pytest.raises(InvalidValue):
                call()
        assert repr(lab.faults) == "<Faults none>"
        with pytest.raises(NotFound):
            lab.faults.nodata("eni-1")  # type: ignore[arg-type]
