"""CLS Lucene, over five flow records; what each query finds is given by the numbers of the records."""

from __future__ import annotations

import pytest

from emulator.errors import QueryError
from emulator.logs import LogService, Topic

FOUND = {
    "": [0, 1, 2, 3, 4],
    "*": [0, 1, 2, 3, 4],
    "  *  ": [0, 1, 2, 3, 4],
    # bare words
    "10.16.0.40": [0, 1, 4],
    "10.16.0.4": [2],
    "10.16": [],
    '"10.16.0.40"': [0, 1, 4],
    "eni-aaaa1111": [0, 1, 4],
    "aaaa1111": [],
    "nodata": [3],
    "443": [],
    # fields
    "dstaddr:10.16.0.40": [0, 4],
    "dstaddr: 10.16.0.40": [0, 4],
    "interface-id:eni-bbbb2222": [2, 3],
    "log-status:OK": [0, 1, 2, 4],
    "log-status:ok": [0, 1, 2, 4],
    'log-status:"OK"': [0, 1, 2, 4],
    'srcaddr:"2001:db8::1"': [2],
    r"srcaddr:2001\:db8\:\:1": [2],
    "action:ACCEP": [],
    # numbers
    "dstport:443": [2],
    'dstport:"443"': [2],
    "bytes:>756": [2],
    "bytes:>=756": [0, 1, 2],
    "bytes:<756": [4],
    "bytes:<=756": [0, 1, 4],
    "bytes: > 756": [2],
    "bytes:>755.5": [0, 1, 2],
    "bytes:756.5": [],
    "bytes:[60 TO 756]": [0, 1, 4],
    "bytes:{60 TO 756}": [],
    "bytes:{60 TO 756]": [0, 1],
    "bytes:[60 TO 756}": [4],
    "bytes:[* TO 756}": [4],
    "bytes:[756 TO *]": [0, 1, 2],
    "bytes:[* TO *]": [0, 1, 2, 4],
    "bytes:-5": [],
    "bytes:[-5 TO 60]": [4],
    r"bytes:>\-5": [0, 1, 2, 4],
    "bytes:>99999999999999999999999999": [],
    "bytes:<99999999999999999999999999": [0, 1, 2, 4],
    "bytes:(60 OR 756)": [0, 1, 4],
    # presence
    "bytes:*": [0, 1, 2, 4],
    "srcaddr:*": [0, 1, 2, 4],
    "_exists_:srcaddr": [0, 1, 2, 4],
    "NOT _exists_:srcaddr": [3],
    # operators
    "action:REJECT AND dstaddr:10.16.0.40": [4],
    "action:REJECT OR dstport:443": [1, 2, 4],
    "action:REJECT dstport:443": [1, 2, 4],
    "NOT action:REJECT": [0, 2, 3],
    "NOT bytes:>100": [3, 4],
    "log-status:OK NOT action:REJECT": [0, 2],
    "NOT action:REJECT NOT action:ACCEPT": [3],
    "action:REJECT OR dstport:443 AND bytes:60": [1, 4],
    "(action:REJECT OR dstport:443) AND bytes:60": [4],
    "NOT (action:REJECT OR action:ACCEPT)": [3],
    "action:(REJECT OR ACCEPT)": [0, 1, 2, 4],
    "action:(NOT REJECT)": [0, 2, 3],
    "NODATA and nothing": [3],
    "not nothing": [],
    # wildcards
    "10.16.0.*": [0, 1, 2, 4],
    "dstaddr:10.16.0.4?": [0, 4],
    "dstaddr:10.16.0.4*": [0, 2, 4],
    "dstaddr:10*0": [0, 4],
    "action:rej*": [1, 4],
    r"dstaddr:10.16.0.4\*": [],
    # regular expressions, over whole words
    r"/10\.16\.0\.[0-9]{2}/": [0, 1, 4],
    r"dstaddr:/10\.16\.0\.4/": [2],
    r"dstaddr:/10\.16\.0\.(22|4)/": [1, 2],
    "action:/re.*/": [1, 4],
    "action:/ejec/": [],
    "NOT action:/.*/": [3],
}

REFUSED = {
    "bytes:foo": (1, 7, "is a number"),
    "bytes:4*": (1, 7, "no wildcards"),
    "nope:1": (1, 1, "not in the index"),
    "dstadr:1": (1, 1, "did you mean dstaddr"),
    "action:REJECT AND\n  nope:1": (2, 3, "not in the index"),
    "_exists_:nope": (1, 10, "not in the index"),
    "srcaddr:[10 TO 20]": (1, 1, "indexed as text"),
    "bytes:[a TO 5]": (1, 8, "is no number"),
    "bytes:>1e5": (1, 8, "is no number"),
    ">5": (1, 2, "needs a field"),
    "*.40": (1, 1, "begin with a wildcard"),
    "srcaddr:?0": (1, 9, "begin with a wildcard"),
    '""': (1, 1, "no word"),
    'action:","': (1, 8, "no word"),
    "bytes:/7.*/": (1, 7, "no regular expressions"),
    "action:REJECT AND srcaddr:/(/": (1, 27, "no regular expression of RE2"),
    r"srcaddr:/(.)\1/": (1, 9, "no regular expression of RE2"),
    "(a": (1, 3, "missing"),
    "a)": (1, 2, "not understood here"),
    "a AND": (1, 6, "missing"),
    "AND a": (1, 1, "not understood here"),
    "srcaddr:": (1, 9, "missing"),
    '"abc': (1, 1, "never closed"),
    "srcaddr:2001:db8": (1, 9, "needs quotes"),
    "srcaddr:2001:db8::1": (1, 18, "not understood here"),
    "PORT12:80": (1, 7, "as part of a word"),
    "a || b": (1, 3, "are the operators"),
    "a && b": (1, 3, "are the operators"),
    "!a": (1, 1, "are the operators"),
    'a"b': (1, 2, "as part of a word"),
    "(" * 3000 + "a" + ")" * 3000: (1, 1, "too deeply"),
}

UNSUPPORTED = {"a~": 1, '"a b"~2': 1, "a^2": 1, "a +b": 3, "a -b": 3}


def numbers(topic: Topic, query: str) -> list[int]:
    return [int(record.id.split("-")[1]) for record in topic.search(query)]


@pytest.mark.parametrize("query", FOUND)
def test_finds(flows: Topic, query: str) -> None:
    assert numbers(flows, query) == FOUND[query]


@pytest.mark.parametrize("query", REFUSED, ids=lambda query: query[:20])
def test_refuses_what_it_does_not_understand(flows: Topic, query: str) -> None:
    line, column, message = REFUSED[query]
    with pytest.raises(QueryError, match=message) as refused:
        flows.search(query)
    assert (refused.value.line, refused.value.column) == (line, column)
    assert refused.value.code == "FailedOperation.SyntaxError"


@pytest.mark.parametrize("query", UNSUPPORTED)
def test_says_what_is_not_supported_yet(flows: Topic, query: str) -> None:
    with pytest.raises(QueryError, match="not supported yet") as refused:
        flows.search(query)
    assert refused.value.column == UNSUPPORTED[query]
    assert refused.value.code == "FailedOperation.QueryError"


def test_words_are_cut_by_the_providers_tokens_where_the_index_says_so(service: LogService) -> None:
    topic = service.create_topic("app", index={"message": "text", "path": "text"})
    topic.write([{"message": "Connection refused: host=db-1", "path": "/api/v1/users"}])
    topic.write([{"message": "refused Connection"}])
    expected = {
        "connection": ["1-0", "2-0"],
        "message:refused": ["1-0", "2-0"],
        'message:"connection refused"': ["1-0"],
        'message:"refused connection"': ["2-0"],
        "message:connectio": [],
        "message:db-1": ["1-0"],
        "path:users": ["1-0"],
        r"path:\/api\/nothing": ["1-0"],
        'path:"api v1"': ["1-0"],
        'path:"v1 api"': [],
        "path:us*": ["1-0"],
        r"path:v1\/us*": ["1-0"],
    }
    assert {query: [record.id for record in topic.search(query, language="lucene")] for query in expected} == expected


def test_a_long_query_is_no_deep_one(flows: Topic) -> None:
    assert numbers(flows, " OR ".join(["dstport:443"] * 500)) == [2]
    assert numbers(flows, " ".join(f"dstport:{port}" for port in range(500))) == [0 + 1, 2, 4]
