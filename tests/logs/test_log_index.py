"""An index holds for what is written under it; words and keys, the report, and what the meter counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from emulator.cloud.profile import Profile
from emulator.errors import AlreadyExists, InvalidValue, NotFound, QueryError, QuotaExceeded
from emulator.logs import Field, FullText, Index, LogService, Topic
from emulator.logs.folder import FolderStore


@pytest.fixture(params=["memory", "folder"])
def service(
    request: pytest.FixtureRequest, service_of: Callable[..., LogService], profile: Profile, tmp_path: Path
) -> LogService:
    if request.param == "memory":
        return service_of(profile)
    request.getfixturevalue("no_journal")  # each batch is a segment, as most are some time later
    return service_of(profile, folder=tmp_path / "data")


def compacted(topic: Topic) -> None:
    if isinstance(topic._service.store, FolderStore):
        topic._service.store.compacted()


@pytest.fixture
def changed(service: LogService) -> Topic:
    """Rows 0, 1 and 6 without an index, 2 and 3 with ``a``, 4 and 5 with ``a`` as one word and ``n``, 7 with both."""
    topic = service.create_topic("app")
    rows = [{"n": number, "a": f"Red blue {number}", "__time__": 100 + number} for number in range(8)]
    topic.write(rows[0:2])
    topic.enable_index({"a": "text"})
    topic.write(rows[2:3])
    topic.write(rows[3:4])
    topic.modify_index(Index({"a": Field("text", "", case_sensitive=True), "n": Field("long")}))
    topic.write(rows[4:5])
    topic.write(rows[5:6])
    topic.disable_index()
    topic.write(rows[6:7])
    topic.enable_index({"a": "text", "n": "long"})
    topic.write(rows[7:8])
    compacted(topic)
    return topic


def numbers(topic: Topic, query: str, **asked: object) -> list[int]:
    return [record["n"] for record in topic.search(query, language="lucene", **asked)]  # type: ignore[arg-type]


def test_each_row_is_judged_by_the_index_that_it_was_written_under(changed: Topic) -> None:
    assert numbers(changed, "*") == [2, 3, 4, 5, 7]
    assert numbers(changed, "a:red") == [2, 3, 7]
    assert numbers(changed, 'a:"Red blue 4"') == [4]
    assert numbers(changed, "a:red AND NOT a:3") == [2, 7]
    assert numbers(changed, "*", limit=2, newest_first=True) == [7, 5]
    assert numbers(changed, "*", start=104, end=106) == [4, 5]
    assert changed.search("* | select count(*) as c, count(n) as n, sum(n) as s") == [{"c": 5, "n": 3, "s": 16}]


def test_a_key_that_was_indexed_later_has_no_value_before(changed: Topic) -> None:
    assert numbers(changed, "n:>1") == [4, 5, 7]
    assert numbers(changed, "NOT n:*") == [2, 3]


def test_reindexing_lets_the_index_hold_for_everything(changed: Topic) -> None:
    changed.reindex()
    assert numbers(changed, "a:red") == list(range(8))
    assert numbers(changed, "n:<3") == [0, 1, 2]


def test_without_an_index_there_is_none_to_change(service: LogService, profile: Profile) -> None:
    topic = service.create_topic("app")
    for call in (lambda: topic.modify_index({"a": "text"}), topic.disable_index, topic.reindex):
        with pytest.raises(NotFound) as refused:
            call()
        assert (refused.value.reason, refused.value.code) == ("index.missing", profile.code("index.missing"))


def test_the_report_is_offered_where_it_is_off(service: LogService, profile: Profile) -> None:
    topic = service.create_topic("flows", index={"note": "text"})
    assert (topic.report, topic.dashboards) == (False, ())
    topic.enable_index({"srcaddr": "text"}, report=True)
    assert topic.index is not None
    assert topic.report
    assert list(topic.index.fields) == ["note", "srcaddr"]
    assert len(topic.dashboards) == (3 if profile.provider == "alibaba" else 1)
    assert all("flows" in name for name in topic.dashboards)
    with pytest.raises(AlreadyExists) as refused:
        topic.enable_index({"dstaddr": "text"}, report=True)
    assert refused.value.code == profile.code("index.duplicate")
    topic.disable_index()
    assert (topic.index, topic.report, topic.dashboards) == (None, False, ())


def test_full_text_looks_into_all_values(service: LogService) -> None:
    topic = service.create_topic("app")
    topic.enable_index({"n": "long"}, full_text=True)
    topic.write([{"a": "Red blue", "n": 5, "d": 0.5}, {"b": "red,green"}])
    assert [len(topic.search(query)) for query in ("red", "green", "blue", "5", "0.5", "yellow")] == [2, 1, 1, 1, 1, 0]
    topic.modify_index({}, full_text=FullText(" ", case_sensitive=True))
    topic.write([{"a": "Red blue"}])
    assert [len(topic.search(query)) for query in ("red", "Red", "blue")] == [2, 3, 2]


@pytest.mark.filterwarnings("ignore:flows has flow records and other logs")
def test_some_fields_are_searchable_in_every_index(service: LogService, profile: Profile) -> None:
    topic = service.create_topic("flows", index={"n": "long"})
    topic.append(pa.table({"__time__": [1], "n": [1], "_vpclab_flow_log_id": ["fl-1"]}), key="w")
    topic.write([{"n": 2, "__time__": 2}])
    if profile.provider == "alibaba":
        queries = {
            "__topic__:flow_log": [1],
            "__source__:log_service": [1],
            "__topic__:flow": [],
            "not __topic__:*": [2],
            "* | select n where __topic__ = 'flow_log' and __source__ like 'log%'": [1],
            "* | select n where __topic__ is null": [2],
        }
    else:
        queries = {"__SOURCE__:10.0.0.*": [], "NOT __SOURCE__:x": [1, 2], "_exists_:__FILENAME__": [1]}
    for query, found in queries.items():
        assert [record["n"] for record in topic.search(query)] == found, query
    assert [len(record) for record in topic.search()] == [1, 1]
    with pytest.raises(QueryError, match="not in the index"):
        topic.search("__other__:x")


NO_INDEX: dict[str, tuple[Any, Any, str]] = {
    "nothing": ({}, False, "there is no key, and no full text either"),
    "a list": (["a"], False, r"this is \['a'\]"),
    "an index of a list": (Index(["a"]), False, r"this is \['a'\]"),  # type: ignore[arg-type]
    "an unknown kind": ({"b": "text", "a": "int"}, False, "'a': 'int' is no such kind"),
    "a key of the service's": ({"_a": "text"}, False, "'_a': keys that start with _"),
    "no Unicode": ({"\udc80": "text"}, False, "a key is printable"),
    "a long key": ({"ä" * 65: "text"}, False, "128 bytes"),
    "an index of words": (Index({"a": "text"}), False, "'a': Field"),  # type: ignore[dict-item]
    "delimiters that are none": (Index({"a": Field("text", 5)}), False, "delimiters=5"),  # type: ignore[arg-type]
    "delimiters that are no Unicode": (Index({"a": Field("text", "\udc80")}), False, "delimiters="),
    "case that is none": (Index({"a": Field("text", " ", "no")}), False, "'no'"),  # type: ignore[arg-type]
    "a switch that is none": (Index({"a": Field("text", " ", sql="no")}), False, "'no'"),  # type: ignore[arg-type]
    "words of a text": ({"a": "text"}, ",", "full_text is True, False or FullText"),
    "words of a number": ({"a": "text"}, FullText(5), "full_text is True"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("keys", "full_text", "message"), NO_INDEX.values(), ids=NO_INDEX)
def test_what_is_no_index_is_refused_by_the_key_that_is_wrong(
    tencent: Profile, alibaba: Profile, keys: Any, full_text: Any, message: str
) -> None:
    for profile, code in ((tencent, "InvalidParameter"), (alibaba, "IndexInfoInvalid")):
        with LogService(profile=profile, now=lambda: 0.0) as service:
            topic = service.create_topic("app")
            with pytest.raises(InvalidValue, match=message) as refused:
                topic.enable_index(keys, full_text=full_text)
            assert (refused.value.code, refused.value.object, topic.index) == (code, topic.id, None)


def test_an_index_of_nothing_or_of_too_much_is_refused(service: LogService, profile: Profile) -> None:
    topic = service.create_topic("app")
    with pytest.raises(InvalidValue):
        topic.enable_index({})
    with pytest.raises(QuotaExceeded) as refused:
        topic.enable_index({f"k{number}": "text" for number in range(301)})
    assert refused.value.code == profile.code("index.quota")
    assert topic.index is None
    topic.enable_index({}, full_text=True)


@pytest.mark.filterwarnings("ignore:app has flow records and other logs")
def test_the_meter_counts_keys_and_values(service: LogService) -> None:
    topic = service.create_topic("app", index={"a": "text", "n": "long"})
    assert topic.usage.written == 0
    topic.write([{"a": "ü", "n": -105, "d": 0.5, "e": None}, {"a": None, "n": 9, "d": 10.0, "e": "x"}], key="k")
    topic.write([{"a": "ü"}], key="k")
    written = 2 * 4 + (1 + 2) + (1 + 4) + (1 + 3) + (1 + 1) + (1 + 2) + (1 + 1)
    topic.append(
        pa.table({"__time__": [1], "n": pa.array([None], pa.int64()), "a": pa.array([None], pa.string())}), key="w"
    )
    written += 4
    usage = topic.usage
    assert (usage.collected, usage.written, usage.stored, usage.indexed) == (4, written, written, 3 + 5 + 2)
    assert usage.read == 0
    topic.search("n:9")
    assert topic.usage.read > 0


def test_a_number_that_no_row_has_costs_nothing(service: LogService) -> None:
    """As the ports of records that are all of ICMP."""
    topic = service.create_topic("app", index={"n": "long"})
    topic.write([{"n": None, "a": "x"}, {"n": None, "a": "y"}])
    assert topic.usage.written == 2 * (4 + 1 + 1)
