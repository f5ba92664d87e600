"""CQL, over the same five flow records as Lucene's tests."""

from __future__ import annotations

import pytest

from emulator.errors import QueryError
from emulator.logs import LogService, Topic

FOUND = {
    "": [0, 1, 2, 3, 4],
    "*": [0, 1, 2, 3, 4],
    "10.16.0.40": [0, 1, 4],
    "10.16.0.22 10.16.0.40": [0, 1, 4],
    "10.16.0.22 2001*": [],
    "reject and 10.16.0.40": [1, 4],
    "reject OR nodata": [1, 3, 4],
    "action:REJECT or dstport:443 and bytes:60": [1, 4],
    "(action:REJECT or dstport:443) and bytes:60": [4],
    "not action:REJECT": [0, 2, 3],
    "log-status:OK not action:REJECT": [0, 2],
    "log-status:ok": [0, 1, 2, 4],
    'log-status:"OK"': [0, 1, 2, 4],
    "log-status:'OK'": [0, 1, 2, 4],
    "srcaddr:'2001:db8::1'": [2],
    r"srcaddr:2001\:db8\:\:1": [2],
    "srcaddr: 10.16.0.*": [0, 1, 4],
    "srcaddr:'10.16.0.*'": [0, 1, 4],
    r"srcaddr:'10.16.0.\*'": [],
    r"srcaddr:10.16.0.\*": [],
    "srcaddr:10.16.0.2?": [],
    "action:(ACCEPT or REJECT)": [0, 1, 2, 4],
    "action:(not REJECT)": [0, 2, 3],
    "bytes:(60 or 756)": [0, 1, 4],
    "dstport:443": [2],
    "bytes>756": [2],
    "bytes >= 756": [0, 1, 2],
    "bytes:>756": [2],
    "bytes:<= 756": [0, 1, 4],
    "bytes=60": [4],
    "bytes:=60": [4],
    "bytes>-5": [0, 1, 2, 4],
    "bytes:*": [0, 1, 2, 4],
    "not bytes:*": [3],
    'bytes:""': [3],
    "srcaddr:''": [],
    "'and'": [],
}

REFUSED = {
    "bytes > foo": (1, 9, "is no number"),
    "bytes:foo": (1, 7, "is a number"),
    "srcaddr > 5": (1, 1, "indexed as text"),
    "nope:1": (1, 1, "not in the index"),
    "reject\n and nope:1": (2, 6, "not in the index"),
    "*.40": (1, 1, "begin with a wildcard"),
    "action:'* x'": (1, 8, "begin with a wildcard"),
    "and": (1, 1, "quote it"),
    "action:and": (1, 8, "quote it"),
    "(a": (1, 3, "missing"),
    "a)": (1, 2, "not understood here"),
    "a and": (1, 6, "missing"),
    "action:(a": (1, 10, "missing"),
    "action:(bytes:5)": (1, 9, "needs quotes"),
    "a:": (1, 3, "missing"),
    "bytes:[1 TO 2]": (1, 7, "is a number"),
    "srcaddr:2001:db8": (1, 13, "not understood here"),
    "'log-status':OK": (1, 13, "not understood here"),
    '"abc': (1, 1, "never closed"),
    "a\\": (1, 2, "nothing behind it"),
    '""': (1, 1, "no word"),
    "not " * 3000 + "a": (1, 1, "too deeply"),
}


def numbers(topic: Topic, query: str) -> list[int]:
    return [int(record.id.split("-")[1]) for record in topic.search(query, language="cql")]


@pytest.mark.parametrize("query", FOUND)
def test_finds(flows: Topic, query: str) -> None:
    assert numbers(flows, query) == FOUND[query]


@pytest.mark.parametrize("query", REFUSED, ids=lambda query: query[:20])
def test_refuses_what_it_does_not_understand(flows: Topic, query: str) -> None:
    line, column, message = REFUSED[query]
    with pytest.raises(QueryError, match=message) as refused:
        flows.search(query, language="cql")
    assert (refused.value.line, refused.value.column) == (line, column)
    assert refused.value.code == "FailedOperation.SyntaxError"


def test_words_are_cut_by_the_tokenizer(service: LogService) -> None:
    topic = service.create_topic("app", index={"message": "text", "path": "text"})
    topic.write([{"message": "connection refused: host=db-1", "path": "/api/v1/users"}])
    topic.write([{"message": "refused connection", "path": ""}, {"message": "refused by host", "path": " /"}])
    expected = {
        "/api/v1/users": [0],
        "path:/users/api": [0],
        "path:/users/nothing": [],
        "'/api/v*'": [0],
        "'/users/api'": [],
        "message:'connection ref*'": [0],
        "message:'refused ref*'": [],
        "path:*": [0, 0, 1],
        "path:''": [0, 1],
        "not path:''": [0],
        r"message:host\=db-1": [0],
        'message:"refused" not message:"by"': [0, 0],
    }
    assert {query: numbers(topic, query) for query in expected} == expected


def test_sql_follows_behind_a_bar(flows: Topic) -> None:
    assert flows.search("action:REJECT | select count(*) as n", language="cql") == [{"n": 2}]
    assert flows.search("'a|b' | select count(*) as n", language="cql") == [{"n": 0}]
