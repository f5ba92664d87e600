"""The search language of SLS, over the same five flow records as Lucene's tests."""

from __future__ import annotations

import pytest

from emulator.errors import QueryError
from emulator.logs import Topic

FOUND = {
    "": [0, 1, 2, 3, 4],
    "*": [0, 1, 2, 3, 4],
    "10.16.0.40": [0, 1, 4],
    "10.16.0.22 10.16.0.40": [0, 1, 4],
    "10.16.0.22 2001*": [],
    "reject 10.16.0.40": [1, 4],
    "reject AND 10.16.0.40": [1, 4],
    "reject or 443": [1, 4],
    '"interface-id":eni-aaaa1111 and "log-status":OK': [0, 1, 4],
    "interface-id:eni-aaaa1111": [0, 1, 4],
    "'log-status':'NODATA'": [3],
    "action:'REJECT'": [1, 4],
    "srcaddr: 10.16.0.*": [0, 1, 4],
    "dstaddr:10.16.0.4?": [0, 4],
    'srcaddr:"2001:db8::1"': [2],
    'srcaddr:#"2001:db8::1"': [2],
    "dstport:443": [2],
    "bytes > 756": [2],
    "bytes>=756": [0, 1, 2],
    "bytes<60.5": [4],
    "bytes = 60": [4],
    "bytes > -5": [0, 1, 2, 4],
    "bytes in [60 756]": [0, 1, 4],
    "bytes in (60 756]": [0, 1],
    "bytes in [60 756)": [4],
    "bytes in (60 756)": [],
    "bytes:*": [0, 1, 2, 4],
    "not bytes:*": [3],
    'bytes:""': [3],
    'srcaddr:""': [],
    "not action:REJECT": [0, 2, 3],
    "NOT action:REJECT": [0, 2, 3],
    "log-status:OK not action:REJECT": [0, 2],
    "action:REJECT or dstport:443 and bytes:60": [1, 4],
    "(action:REJECT or dstport:443) and bytes:60": [4],
    "not (action:REJECT or action:ACCEPT)": [3],
    "android order nothing": [],
}

REFUSED = {
    "bytes > foo": (1, 9, "is no number"),
    "bytes:foo": (1, 7, "is a number"),
    "srcaddr > 5": (1, 1, "indexed as text"),
    "nope:1": (1, 1, "not in the index"),
    "reject\n and nope:1": (2, 6, "not in the index"),
    "action:in": (1, 8, "quote it"),
    "sum": (1, 1, "quote it"),
    "and": (1, 1, "quote it"),
    "Limit:5": (1, 1, "quote it"),
    "*.40": (1, 1, "begin with a wildcard"),
    '"10.16.*"': (1, 1, "outside of quotes"),
    "(" * 300: (1, 301, "missing"),
    "(a": (1, 3, "missing"),
    "a)": (1, 2, "not understood here"),
    "a and": (1, 6, "missing"),
    "a:": (1, 3, "missing"),
    "bytes:>5": (1, 7, "not understood here"),
    "action:(ACCEPT or REJECT)": (1, 8, "not understood here"),
    "srcaddr:2001:db8": (1, 13, "not understood here"),
    "bytes in [1 2": (1, 14, "missing"),
    '"abc': (1, 1, "never closed"),
    "a #b": (1, 3, "stands before a phrase"),
    '""': (1, 1, "no word"),
    "not " * 3000 + "a": (1, 1, "too deeply"),
}


def numbers(topic: Topic, query: str) -> list[int]:
    return [int(record.id.split("-")[1]) for record in topic.search(query)]


@pytest.mark.parametrize("query", FOUND)
def test_finds(sls_flows: Topic, query: str) -> None:
    assert numbers(sls_flows, query) == FOUND[query]


@pytest.mark.parametrize("query", REFUSED, ids=lambda query: query[:20])
def test_refuses_what_it_does_not_understand(sls_flows: Topic, query: str) -> None:
    line, column, message = REFUSED[query]
    with pytest.raises(QueryError, match=message) as refused:
        sls_flows.search(query)
    assert (refused.value.line, refused.value.column) == (line, column)
    assert refused.value.code == "InvalidQueryString"


def test_words_in_quotes_are_all_wanted_and_a_phrase_wants_them_in_order(sls_flows: Topic) -> None:
    topic = sls_flows._service.create_topic("app", index={"message": "text"})
    topic.write([{"message": "connection refused by host"}, {"message": "refused a connection"}, {"message": ""}])
    expected = {
        'message:"connection refused"': [0, 1],
        'message:#"connection refused"': [0],
        '#"refused a connection"': [1],
        'message:""': [2],
        'not message:""': [0, 1],
        "message:*": [0, 1, 2],
        r"message:'it\'s'": [],
    }
    assert {query: numbers(topic, query) for query in expected} == expected


def test_each_topic_may_be_asked_in_the_other_language(flows: Topic, sls_flows: Topic) -> None:
    assert flows.search("bytes in [60 756)", language="sls") == sls_flows.search("bytes:[60 TO 756}", language="lucene")
    assert flows.search("bytes >= 60 and not bytes:756", language="cql") == sls_flows.search(
        "bytes in [60 150000] not bytes:756"
    )
