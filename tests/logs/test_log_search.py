"""What a search gives back: records, their order, time ranges and limits."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import sys
from typing import Any

import pyarrow as pa
import pytest

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue, NotFound, QueryError, RequestRefused, RequirementMissing
from emulator.logs import LogService, QueryLimits, Record, Topic

W1, W2 = 1_700_000_300, 1_700_000_600
"""When the two windows of the sample records end."""


def test_a_record_is_a_dict_of_the_providers_fields(flows: Topic) -> None:
    record = flows.search("dstaddr:10.16.0.40 AND action:ACCEPT")[0]
    assert record == {
        "version": 2,
        "interface-id": "eni-aaaa1111",
        "srcaddr": "10.16.0.22",
        "dstaddr": "10.16.0.40",
        "srcport": 512,
        "dstport": 2048,
        "packets": 9,
        "bytes": 756,
        "start": 1_700_000_000,
        "end": W1,
        "action": "ACCEPT",
        "log-status": "OK",
    }
    assert {type(record[field]) for field in ("srcport", "packets", "bytes", "end")} == {int}
    assert record.line == ("2 eni-aaaa1111 10.16.0.22 10.16.0.40 512 2048 9 756 1700000000 1700000300 ACCEPT OK")
    assert (record.id, record.time, record.meta) == ("1-0", W1, {"rule": 3})


def test_what_has_no_value_is_none_and_prints_as_a_dash(flows: Topic) -> None:
    found = flows.search("log-status:NODATA")
    assert found.lines == ["2 eni-bbbb2222 - - - - - - 1700000300 1700000600 - NODATA"]
    assert found[0]["srcaddr"] is None
    assert found[0]["bytes"] is None
    assert found[0].meta == {"rule": None}


def test_hidden_columns_can_neither_be_seen_nor_searched(flows: Topic) -> None:
    assert not any(name.startswith("_") for record in flows.search() for name in record)
    assert not any(name.startswith("_") for name in flows.search().arrow().column_names)
    for query in ("_vpclab_rule:3", "* | select _vpclab_rule", '* | select "_vpclab_segment"'):
        with pytest.raises(QueryError, match="not in the index"):
            flows.search(query)
    assert "_vpclab_rule" not in flows.search("* | select *")[0]


def test_a_record_keeps_what_is_hidden_through_pickle(flows: Topic) -> None:
    found = flows.search("action:REJECT")
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again == [dict(record) for record in found]
    assert [(one.id, one.time, one.meta, one.line) for one in again] == [
        (one.id, one.time, one.meta, one.line) for one in found
    ]
    assert again.arrow().equals(found.arrow())


def test_records_as_a_table_and_as_a_frame(flows: Topic) -> None:
    found = flows.search("interface-id:eni-bbbb2222")
    assert found.arrow().to_pylist() == found
    assert found.arrow().schema.field("bytes").type == pa.int64()
    frame = found.pandas()
    assert list(frame["bytes"].isna()) == [False, True]
    assert str(frame["bytes"].dtype) == "Int64"
    assert found.line == "\n".join(found.lines)


def test_records_as_json_and_as_csv(flows: Topic) -> None:
    found = flows.search("interface-id:eni-bbbb2222")
    assert json.loads(found.json()) == found
    read = list(csv.DictReader(io.StringIO(found.csv())))
    assert [{key: "" if value is None else str(value) for key, value in record.items()} for record in found] == read


HARD = {
    "infinite": ("cast('infinity' as double)", None, "inf"),
    "no number": ("nan()", None, "nan"),
    "in an array": ("array[infinity(), 1]", [None, 1.0], "[null, 1.0]"),
    "a map": ("map(array['ü'], array[1])", {"ü": 1}, '{"ü": 1}'),
    "a map of dates": ("map(array[date '2024-01-01'], array[1])", {"2024-01-01": 1}, '{"2024-01-01": 1}'),
    "truth": ("1 = 1", True, "true"),
    "bytes": ("from_base64('AP8=')", "AP8=", "AP8="),
    "a date": ("date '2024-01-01'", "2024-01-01", "2024-01-01"),
    "nothing": ("null", None, ""),
    "a formula": ("'=1+1'", "=1+1", "=1+1"),
    "quotes, commas and lines": ("'\"a\", b\r\n\u2028c'", '"a", b\r\n\u2028c', '"a", b\r\n\u2028c'),
    "a carriage return": ("'\r'", "\r", "\r"),
}


@pytest.mark.parametrize(("expression", "as_json", "as_csv"), HARD.values(), ids=HARD)
def test_what_sql_computes_is_json_and_csv_that_others_read(
    flows: Topic, expression: str, as_json: object, as_csv: str
) -> None:
    found = flows.search(f"* | select {expression} as v, 1 as n limit 1")
    read = json.loads(found.json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read == [{"v": as_json, "n": 1}]
    assert list(csv.reader(io.StringIO(found.csv(), newline=""))) == [["v", "n"], [as_csv, "1"]]


ASKED_WRONG: dict[str, dict[str, Any]] = {
    "a key that is not indexed": {"query": "nope:1"},
    "SQL that is none": {"query": "* | selct 1"},
    "SQL that fails": {"query": "* | select 1 / (count(*) - count(*))"},
    "a language": {"query": "*", "language": "kql"},
    "no text": {"query": 5},
    "a range": {"start": 5, "end": 5},
    "a limit": {"limit": 0},
}


@pytest.mark.parametrize("limits", [None, QueryLimits()], ids=["own", "stranger"])
def test_a_refusal_names_the_topic_and_the_value(flows: Topic, limits: QueryLimits | None) -> None:
    for what, wanted in ASKED_WRONG.items():
        with pytest.raises(RequestRefused) as refused:
            flows.search(**{"limits": limits, **wanted})
        assert refused.value.object == flows.id, what
        assert refused.value.value in (*wanted.values(), (5, 5)), what
        assert refused.value.code, what


def test_pages_by_limit_and_offset_from_either_end(flows: Topic) -> None:
    every = [record.id for record in flows.search()]
    for query in ("*", "version:2"):
        for newest_first in (False, True):
            order = every[::-1] if newest_first else every
            pages = [flows.search(query, limit=2, offset=offset, newest_first=newest_first) for offset in (0, 2, 4, 6)]
            assert [[record.id for record in page] for page in pages] == [order[:2], order[2:4], order[4:], []]
            assert [page.complete for page in pages] == [False, False, True, True]
    assert flows.search("version:2", offset=3).complete
    assert [flows.search("* | select bytes", limit=limit).complete for limit in (4, 5, None)] == [False, True, True]
    for wrong in ({"offset": -1}, {"offset": 1.5}):
        with pytest.raises(InvalidValue, match="offset is a number of records"):
            flows.search("*", **wrong)
    with pytest.raises(InvalidValue, match="orders and pages by itself"):
        flows.search("* | select bytes", offset=1)


def test_without_pandas_a_frame_says_what_to_do(flows: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    found = flows.search("*")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(RequirementMissing, match="pip install pandas"):
        found.pandas()


def test_records_come_by_time_and_then_as_they_were_written(service: LogService) -> None:
    topic = service.create_topic("app", index={"n": "long"})
    topic.write([{"__time__": 30, "n": 0}, {"__time__": 10, "n": 1}, {"__time__": 30, "n": 2}])
    topic.write([{"__time__": 20, "n": 3}, {"__time__": 10, "n": 4}])
    for query in ("*", "n:*", "n:<100"):
        found = topic.search(query, language="lucene")
        assert [(record.time, record["n"]) for record in found] == [(10, 1), (10, 4), (20, 3), (30, 0), (30, 2)]
    assert [record["n"] for record in topic.search("* | select n")] == [1, 4, 3, 0, 2]
    ids = [record.id for record in topic.search()]
    topic.write([{"__time__": 5, "n": 9}])
    assert [record.id for record in topic.search()][1:] == ids


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, 5),
        (W1, W1 + 1, 3),
        (W1, W2, 3),
        (W1 + 1, W2, 0),
        (W1 + 0.5, None, 2),
        (None, W2, 3),
        (None, W2 + 0.25, 5),
        (W2, None, 2),
        (W2 + 1, None, 0),
        (-1e300, 1e300, 5),
    ],
)
def test_start_is_included_and_end_is_not(flows: Topic, start: float | None, end: float | None, expected: int) -> None:
    assert len(flows.search("*", start=start, end=end)) == expected
    assert len(flows.search("version:2", start=start, end=end)) == expected
    assert flows.search("* | select count(*) as n", start=start, end=end) == [{"n": expected}]


@pytest.mark.parametrize(
    ("start", "end"),
    [(5, 5), (6, 5), (math.nan, None), (None, math.nan), (math.inf, None), ("now", None), (True, None), (0.4, 0.3)],
)
def test_a_time_range_that_is_none_is_refused(flows: Topic, start: Any, end: Any) -> None:
    with pytest.raises(InvalidValue) as refused:
        flows.search("*", start=start, end=end)
    assert (refused.value.reason, refused.value.code) == ("time.range", "InvalidParameter")


@pytest.mark.parametrize(("limit", "expected"), [(None, 5), (1, 1), (3, 3), (5, 5), (10**30, 5)])
def test_limit_gives_the_first_of_them(flows: Topic, limit: int | None, expected: int) -> None:
    everything = flows.search()
    assert flows.search(limit=limit) == everything[:expected]
    assert flows.search("version:2", limit=limit) == everything[:expected]
    assert len(flows.search("* | select bytes", limit=limit)) == expected
    assert len(flows.search("* | select bytes limit 2", limit=limit)) == min(2, expected)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3", True, math.nan])
def test_a_limit_that_is_none_is_refused(flows: Topic, limit: Any) -> None:
    with pytest.raises(InvalidValue) as refused:
        flows.search(limit=limit)
    assert (refused.value.reason, refused.value.code) == ("limit.range", "InvalidParameter")


@pytest.mark.parametrize("query", [None, 5, b"*", ["*"]])
def test_a_query_that_is_no_text_is_refused(flows: Topic, query: Any) -> None:
    with pytest.raises(QueryError, match="a query is text"):
        flows.search(query)


@pytest.mark.parametrize("query", ["a\0b", "\ud800", "* | select '\udfff'"])
def test_characters_that_no_log_holds_are_refused(flows: Topic, query: str) -> None:
    with pytest.raises(QueryError, match="no log holds"):
        flows.search(query)


@pytest.mark.parametrize("language", ["lucene", "sls"])
def test_queries_that_are_too_much_are_refused(flows: Topic, language: str) -> None:
    for query, message in {
        "x" * 10_000_000: "65536 characters",
        "NOT " * 600 + "x": "depth",
        "action:a" + "*a" * 30_000: "could not be run",
    }.items():
        with pytest.raises(QueryError, match=message):
            flows.search(query, language=language)


def test_an_unknown_language_is_refused(flows: Topic) -> None:
    with pytest.raises(InvalidValue, match="lucene, cql, sls"):
        flows.search("*", language="klingon")


def test_without_an_index_nothing_can_be_searched(service: LogService, profile: Profile) -> None:
    topic = service.create_topic("bare")
    topic.write([{"a": "b"}])
    for query in ("*", "b", "* | select 1"):
        with pytest.raises(NotFound) as refused:
            topic.search(query)
        assert (refused.value.reason, refused.value.code) == ("index.missing", profile.code("index.missing"))
    topic.enable_index({"a": "text"})
    topic.write([{"a": "c"}])
    assert topic.search() == [{"a": "c"}]
    topic.reindex()
    assert topic.search("b") == [{"a": "b"}]


def test_an_empty_topic_answers_and_still_refuses(service: LogService) -> None:
    topic = service.create_topic("empty", index={"a": "text", "n": "long"})
    assert topic.search() == []
    assert topic.search("a:x") == []
    assert topic.search("* | select count(*) as n, sum(n) as s") == [{"n": 0, "s": None}]
    with pytest.raises(QueryError, match="not in the index"):
        topic.search("b:x")
    assert topic.search().line == ""


def test_a_record_has_the_fields_of_its_own_source(flows: Topic) -> None:
    with pytest.warns(UserWarning, match="accept has flow records and other logs"):
        flows.write([{"note": "by hand", "__time__": W2 + 1}])
    assert flows.search()[-1] == {"note": "by hand"}
    assert "note" not in flows.search()[0]
    assert flows.search("NOT version:2") == [{"note": "by hand"}]


def test_a_record_can_be_made_by_hand() -> None:
    record = Record({"a": 1, "b": None})
    assert (record.id, record.time, record.meta, record.line) == ("", None, {}, "1 -")
    assert record == {"a": 1, "b": None}
    assert pickle.loads(pickle.dumps(record)) == record


def test_many_small_windows_are_searched_as_fast_as_one(service: LogService) -> None:
    topic = service.create_topic("windows", index={"a": "text"})
    for window in range(300):
        topic.append(pa.table({"__time__": [window * 60] * 3, "a": ["x", "y", str(window)]}), key=str(window))
        if window % 50 == 0:
            assert len(topic.search("a:x")) == window + 1
    assert [record.time for record in topic.search("a:x")] == [window * 60 for window in range(300)]
    assert topic.search("a:217")[0].id == "218-2"


def test_only_text_fields_are_searched_for_a_bare_word(service: LogService) -> None:
    topic = service.create_topic("app", index={"n": "long"})
    topic.write([{"n": 5}])
    assert topic.search("5") == []
