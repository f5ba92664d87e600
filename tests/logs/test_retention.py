"""How long a topic keeps its rows, in lab time; in memory and in a folder alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue
from emulator.logs import LogService, Topic
from emulator.logs.folder import FolderStore

NOW = 1_700_000_000
DAY = 86_400


class Clock:
    now = float(NOW)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "folder"])
def opened(
    request: pytest.FixtureRequest, profile: Profile, clock: Clock, tmp_path: Path
) -> Iterator[Callable[[], LogService]]:
    made: list[LogService] = []

    def open_it() -> LogService:
        folder = tmp_path / "logs" if request.param == "folder" else None
        made.append(LogService(profile=profile, now=lambda: clock.now, folder=folder))
        return made[-1]

    yield open_it
    for service in made:
        service.close()


def ages(topic: Topic) -> list[int]:
    return [record["age"] for record in topic.search()]


def written(topic: Topic) -> Topic:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of those that are too old: below
        for age in range(6):
            topic.write([{"age": age, "__time__": NOW - age * DAY}])
    return topic


def test_rows_that_are_too_old_are_told_of(opened: Callable[[], LogService]) -> None:
    topic = opened().create_topic("kept", index={"age": "long"}, retention_days=3)
    topic.write([{"age": 3, "__time__": NOW - 3 * DAY}])  # warnings are errors in these tests
    with pytest.warns(UserWarning, match="kept keeps rows for 3 days: 1 of 2 are older, and no search will find them"):
        topic.write([{"age": 4, "__time__": NOW - 3 * DAY - 1}, {"age": 1, "__time__": NOW}])
    assert ages(topic) == [3, 1]


def test_rows_are_kept_for_their_days(opened: Callable[[], LogService], clock: Clock) -> None:
    topic = written(opened().create_topic("kept", index={"age": "long"}, retention_days=3))
    assert topic.retention_days == 3
    assert ages(topic) == [3, 2, 1, 0]
    clock.now += 1
    assert ages(topic) == [2, 1, 0]
    topic._service.expire()
    stored = topic.usage.stored
    clock.now += 2 * DAY
    topic._service.expire()
    assert ages(topic) == [0]
    assert topic.usage.stored * 3 == stored
    assert topic.search("* | select count(*) as n") == [{"n": 1}]


def test_what_expired_does_not_come_back(opened: Callable[[], LogService]) -> None:
    topic = written(opened().create_topic("kept", index={"age": "long"}))
    assert topic.retention_days is None
    assert ages(topic) == [5, 4, 3, 2, 1, 0]
    topic.retention_days = 2
    assert ages(topic) == [2, 1, 0]
    topic.retention_days = None
    assert ages(topic) == [2, 1, 0]


def test_a_folder_knows_it_when_it_is_opened_again(
    opened: Callable[[], LogService], clock: Clock, tmp_path: Path
) -> None:
    topic = written(opened().create_topic("kept", index={"age": "long"}, retention_days=2))
    store = topic._service.store
    if isinstance(store, FolderStore):
        topic._service.expire()
        assert len(store.all_segments()) == 3
        store._clear_away(grace_s=-1)
        assert len(list((tmp_path / "logs" / "segments").iterdir())) == 3
        topic._service.close()
        clock.now += DAY
        again = opened().topic("kept")
        assert again.retention_days == 2
        assert ages(again) == [1, 0]


@pytest.mark.parametrize("days", [0, -1, 3601, 1.5, True, "7"])
def test_days_that_no_provider_has_are_refused(opened: Callable[[], LogService], profile: Profile, days: Any) -> None:
    service = opened()
    topic = service.create_topic("kept")
    for call in (
        lambda: service.create_topic("other", retention_days=days),
        lambda: setattr(topic, "retention_days", days),
    ):
        with pytest.raises(InvalidValue, match="1 to 3600 days") as refused:
            call()
        assert (refused.value.reason, refused.value.code) == ("topic.days", profile.code("topic.days"))
    assert service.topics() == [topic]


def test_the_report_of_alibaba_keeps_seven_days(opened: Callable[[], LogService], profile: Profile) -> None:
    topic = opened().create_topic("flows", retention_days=90)
    topic.enable_index({"srcaddr": "text"}, report=True)
    assert topic.retention_days == (7 if profile.provider == "alibaba" else 90)
