"""Topics by logset: names, ids, finding, deleting, closing; in memory and in a folder alike."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.cloud.profile import Profile
from emulator.errors import AlreadyExists, InvalidValue, LabClosed, NotFound
from emulator.logs import Field, Index, LogService, flow_index


@pytest.fixture(params=["memory", "folder"])
def service(
    request: pytest.FixtureRequest, service_of: Callable[..., LogService], profile: Profile, tmp_path: Path
) -> LogService:
    return service_of(profile, folder=tmp_path / "data" if request.param == "folder" else None)


def test_topics_are_found_by_name_and_by_id(service: LogService) -> None:
    first = service.create_topic("accept", logset="demo")
    second = service.create_topic("reject")
    assert service.topics() == [first, second]
    assert service.topic("accept") is service.topic("accept", logset="demo") is service.get(first.id) is first
    assert service.topic("reject", logset="default") is second
    assert (first.name, first.logset, first.index, first.report) == ("accept", "demo", None, False)


def test_ids_are_those_of_the_provider_and_the_same_every_run(
    service_of: Callable[..., LogService], tencent: Profile, alibaba: Profile
) -> None:
    one, two = (service_of(tencent).create_topic("accept", logset="demo").id for _ in range(2))
    assert str(uuid.UUID(one)) == one == two
    assert service_of(alibaba).create_topic("accept", logset="demo").id == "demo/accept"


def test_a_name_may_be_used_once_in_a_logset(service: LogService, profile: Profile) -> None:
    service.create_topic("accept", logset="demo")
    service.create_topic("accept", logset="other")
    with pytest.raises(AlreadyExists, match="demo has a topic accept already") as refused:
        service.create_topic("accept", logset="demo")
    assert (refused.value.reason, refused.value.code) == ("topic.duplicate", profile.code("topic.duplicate"))
    with pytest.raises(InvalidValue, match="a topic in demo and other: say logset="):
        service.topic("accept")


@pytest.mark.parametrize(
    ("provider", "name", "logset", "reason"),
    [
        ("tencent", "", None, "topic.name"),
        ("tencent", "a|b", None, "topic.name"),
        ("tencent", "a" * 256, None, "topic.name"),
        ("tencent", "cls_service_log", None, "topic.name"),
        ("tencent", 5, None, "topic.name"),
        ("tencent", "a\nb", None, "topic.name"),
        ("tencent", "\udc80", None, "topic.name"),
        ("tencent", "ok", "\udc80", "logset.name"),
        ("tencent", "ok", "a|b", "logset.name"),
        ("tencent", "ok", "", "logset.name"),
        ("alibaba", "ab", None, "topic.name"),
        ("alibaba", "Accept", None, "topic.name"),
        ("alibaba", "_accept", None, "topic.name"),
        ("alibaba", "accept-", None, "topic.name"),
        ("alibaba", "a" * 64, None, "topic.name"),
        ("alibaba", "accept\n", None, "topic.name"),
        ("alibaba", "ok_1", "de_mo", "logset.name"),
        ("alibaba", "ok_1", "-demo", "logset.name"),
    ],
)
def test_names_follow_the_providers_rules(
    service_of: Callable[..., LogService],
    provider: str,
    name: Any,
    logset: Any,
    reason: str,
    request: pytest.FixtureRequest,
) -> None:
    profile: Profile = request.getfixturevalue(provider)
    service = service_of(profile)
    with pytest.raises(InvalidValue) as refused:
        service.create_topic(name, logset=logset)
    assert (refused.value.reason, refused.value.code) == (reason, profile.code(reason))
    assert service.topics() == []


def test_what_is_missing_is_named_with_the_nearest(service: LogService, profile: Profile) -> None:
    with pytest.raises(NotFound, match="none at all"):
        service.topic("accept")
    service.create_topic("accept", logset="demo")
    with pytest.raises(NotFound, match=r"no topic 'acept'; there is accept") as refused:
        service.topic("acept")
    assert (refused.value.reason, refused.value.code) == ("topic.missing", profile.code("topic.missing"))
    with pytest.raises(NotFound, match=r"no logset 'dem'; there is demo") as refused:
        service.topic("accept", logset="dem")
    assert (refused.value.reason, refused.value.code) == ("logset.missing", profile.code("logset.missing"))
    with pytest.raises(NotFound) as refused:
        service.get("nope")
    assert refused.value.reason == "topic.missing"


def test_a_deleted_topic_is_gone_with_its_rows(service: LogService, profile: Profile) -> None:
    topic = service.create_topic("accept", index={"a": "text"})
    topic.write([{"a": "x"}], key="k")
    service.delete_topic(topic)
    calls: list[Callable[[], object]] = [
        topic.search,
        lambda: topic.write([{"a": "x"}]),
        lambda: topic.enable_index({"a": "text"}),
        lambda: service.delete_topic(topic),
        lambda: service.topic("accept"),
    ]
    for call in calls:
        with pytest.raises(NotFound) as refused:
            call()
        assert (refused.value.reason, refused.value.code) == ("topic.missing", profile.code("topic.missing"))
    again = service.create_topic("accept", index={"a": "text"})
    assert again.search() == []
    assert again.write([{"a": "x"}], key="k") == 1


def test_a_closed_service_says_so(service: LogService) -> None:
    topic = service.create_topic("accept", index={"a": "text"})
    service.close()
    service.close()
    calls: list[Callable[[], object]] = [
        topic.search,
        lambda: topic.write([{"a": "x"}]),
        lambda: service.create_topic("x12"),
        service.topics,
        lambda: service.get(topic.id),
        lambda: service.delete_topic(topic),
    ]
    for call in calls:
        with pytest.raises(LabClosed):
            call()


def test_an_index_is_made_once(service: LogService, profile: Profile) -> None:
    topic = service.create_topic("accept", index={"bytes": "long", "note": "text", "share": "double"})
    assert topic.index is not None
    kinds = {name: field.kind for name, field in topic.index.fields.items()}
    assert kinds == {"bytes": "long", "note": "text", "share": "double"}
    with pytest.raises(AlreadyExists) as refused:
        topic.enable_index({"a": "text"})
    assert (refused.value.reason, refused.value.code) == ("index.duplicate", profile.code("index.duplicate"))


@pytest.mark.parametrize(
    "index",
    [
        *({}, {"a": "object"}, {"a": "int"}, {"_a": "text"}, {"": "text"}, {"a": None}, {5: "text"}, {"a": ["text"]}),
        *(["a"], "a", 5, Index({}), Index({"_a": Field("text")})),
    ],
)
def test_an_index_that_is_none_is_refused_and_leaves_no_topic(service: LogService, index: Any) -> None:
    with pytest.raises(InvalidValue, match="text, long, double"):
        service.create_topic("accept", index=index)
    assert service.topics() == []
    assert service.create_topic("accept").index is None


def test_the_flow_log_index_keeps_addresses_whole(service: LogService) -> None:
    import pyarrow as pa

    number = pa.int64()
    schema = pa.schema([("srcaddr", pa.string()), ("bytes", number), ("__time__", number), ("_vpclab_x", number)])
    by_schema = service.create_topic("one", index=flow_index(schema))
    by_keys = service.create_topic("two")
    by_keys.enable_index({"srcaddr": "text", "bytes": "long"}, report=True)
    assert by_keys.index == by_schema.index
    assert by_keys.report
    by_keys.write([{"srcaddr": "2001:db8::1"}])
    assert len(by_keys.search('"2001:db8::1"')) == 1
    assert by_keys.search("2001*", language="lucene") == [{"srcaddr": "2001:db8::1"}]
    assert by_keys.search("db8") == []


def test_an_index_survives_json() -> None:
    import pyarrow as pa

    index = flow_index(pa.schema([("srcaddr", pa.string()), ("bytes", pa.int64())]))
    assert Index.from_json(index.to_json()) == index


def test_threads_may_write_and_search_at_once(service: LogService) -> None:
    topic = service.create_topic("accept", index={"n": "long"})
    failed: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for turn in range(10):
                topic.write([{"n": worker}] * 2, key=f"{worker}-{turn}")
                assert len(topic.search(f"n:{worker}")) == 2 * (turn + 1)
                assert topic.search(f"n:{worker} | select count(*) as n") == [{"n": 2 * (turn + 1)}]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(topic.search()) == 80
    assert len({record.id for record in topic.search()}) == 80
