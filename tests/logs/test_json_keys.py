"""Keys of type json: words of the whole, sub-keys by their names, and SQL over both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.errors import InvalidValue, QueryError
from emulator.logs import Field, Index, LogService, Topic

INDEX = {
    "app": "text",
    "request": "json",
    "request.method": "text",
    "request.status": "long",
    "request.time.ms": "double",
}

ROWS = [
    {"app": "web", "request": '{"method":"GET","status":200,"time":{"ms":1.5},"path":"/a"}'},
    {"app": "web", "request": '{"method":"POST","status":"404","time":{"ms":20}}'},
    {"app": "web", "request": "no json, method GET"},
    {"app": "web", "request": None},
    {"app": "db", "request": '{"method":["GET","PUT"],"status":1.5}'},
]


@pytest.fixture(params=["memory", "folder"])
def topic(service_of: Any, profile: Any, request: pytest.FixtureRequest, tmp_path: Any) -> Topic:
    folder = tmp_path if request.param == "folder" else None
    made = service_of(profile, folder=folder).create_topic("app", logset="demo", index=INDEX)
    made.write([{**row, "__time__": at} for at, row in enumerate(ROWS)])
    return made  # type: ignore[no-any-return]


FOUND = {
    "request.status:200": [0],
    "request.status:*": [0, 1],
    "NOT request.status:*": [2, 3, 4],
    "request.method:get": [0, 4],
    "request.method:PO*": [1],
    "request.time.ms:*": [0, 1],
    "request:GET": [0, 2, 4],
    "request:path": [0],
    "path": [0],
    "app:db AND request.method:put": [4],
}


@pytest.mark.parametrize("query", FOUND)
def test_sub_keys_are_searched_in_every_language(topic: Topic, query: str) -> None:
    for language in ("lucene", "cql", "sls"):
        assert [record.time for record in topic.search(query, language=language)] == FOUND[query]


RANGES = {"lucene": "request.time.ms:>=1.5", "cql": "request.time.ms >= 1.5", "sls": "request.time.ms >= 1.5"}


@pytest.mark.parametrize("language", RANGES)
def test_sub_keys_that_are_numbers_have_ranges(topic: Topic, language: str) -> None:
    assert [record.time for record in topic.search(RANGES[language], language=language)] == [0, 1]
    with pytest.raises(QueryError, match="request is indexed as text"):
        topic.search("request:>5", language="lucene")
    with pytest.raises(QueryError, match=r"request\.other is not in the index"):
        topic.search("request.other:5", language=language)


def test_sql_has_sub_keys_as_columns_and_the_whole_as_text(topic: Topic) -> None:
    assert topic.search(
        '* | select "request.method" as m, "request.status" + 1 as s, "request.time.ms" as t'
        ' where "request.status" is not null order by s'
    ) == [{"m": "GET", "s": 201, "t": 1.5}, {"m": "POST", "s": 405, "t": 20.0}]
    assert topic.search(
        "* | select json_extract_scalar(request, '$.path') as p where app = 'web' order by p limit 1"
    ) == [{"p": "/a"}]
    assert topic.search('request.method:GET | select sum("request.status") as n') == [{"n": 200}]


def test_a_sub_key_without_statistics_is_searched_and_not_computed_with(service: LogService) -> None:
    index = Index({"a": Field("json"), "a.b": Field("text", sql=False)})
    topic = service.create_topic("app", logset="demo", index=index)
    topic.write([{"a": '{"b":"x"}'}])
    assert len(topic.search("a.b:x")) == 1
    with pytest.raises(QueryError, match="its statistics are off"):
        topic.search('* | select "a.b"')


HOSTILE = ["b c", "$", 'x"y', "back\\slash", "it's", "[0]", "ü"]


def test_names_between_the_dots_are_plain_text(service: LogService) -> None:
    index = {"a": "json"} | {f"a.{name}": "text" for name in HOSTILE}
    topic = service.create_topic("app", logset="demo", index=index)
    topic.write([{"a": json.dumps({name: f"value{at}" for at, name in enumerate(HOSTILE)})}])
    for at, name in enumerate(HOSTILE):
        column = name.replace('"', '""')
        assert topic.search(f'* | select "a.{column}" as v') == [{"v": f"value{at}"}]
    with pytest.raises(InvalidValue, match="a sub-key has no"):
        topic.modify_index({"a": "json", "a.*": "text"})


def test_what_is_no_kind_is_refused(service: LogService) -> None:
    with pytest.raises(InvalidValue, match="text, long, double, json"):
        service.create_topic("app", logset="demo", index={"a": "object"})
