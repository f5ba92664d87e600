"""A Spark cluster gives the rows that DuckDB gives, of the same segments; what docs/scaling.md excepts, it does not."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this one: --import-mode=importlib adds nothing

import test_languages as languages
import test_log_sql as sql
import test_meanings as meanings
import test_samples as samples

from emulator.errors import InvalidValue, LabError, QueryError
from emulator.logs import LogService, QueryLimits, SparkCluster, Topic
from emulator.logs.folder import FolderStore
from emulator.logs.presto.functions import functions_of

pytestmark = pytest.mark.spark

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"
EXCEPTED = {
    line.split(" | ")[0].removeprefix("| ") for line in DOCUMENT.read_text().split("\n") if " | refused | " in line
}

CLS, SLS = functions_of("tencent"), functions_of("alibaba")
OF_SLS = re.compile(rf"\b({'|'.join(name for name in SLS if SLS[name] != CLS.get(name))}|cast)\(")
"""What means something else at SLS than at CLS."""


def is_new(row: languages.Row) -> bool:
    """Whether an example is not the same as that of CLS, for Spark too."""
    if row.condition or row.language == "CLS" or OF_SLS.search(row.example):
        return True
    return row._replace(language="CLS") not in languages.ROWS


ANSWERED = [row for row in languages.ROWS if row.status in ("works", "differs") and is_new(row)]


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A cluster for all tests of this process."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("sail.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            yield f"sc://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


@pytest.fixture(scope="module")
def topics(
    address: str,
    tmp_path_factory: pytest.TempPathFactory,
    flows_in: Callable[[Path, str], tuple[LogService, Topic]],
) -> Iterator[dict[str, Topic]]:
    """The records of docs/languages.md by the language of SQL, and those of the published queries, in folders."""
    folder = tmp_path_factory.mktemp("spark")
    found: dict[str, Topic] = {}
    services: list[LogService] = []
    for language, provider in (("CLS", "tencent"), ("SLS", "alibaba")):
        service, found[language] = flows_in(folder / language, provider)
        services.append(service)
    for name, provider, fields, flows in (
        ("ccn", "tencent", samples.CCN_FIELDS, samples.CCN_FLOWS),
        ("sls", "alibaba", samples.SLS_FIELDS, samples.SLS_FLOWS),
    ):
        service, found[name] = samples.topic_of(provider, fields, flows, folder / name)
        services.append(service)
    for service in services:
        service.cluster = address
    yield found
    for service in services:
        service.close()


def rows_of(topic: Topic, query: str, engine: str, **options: Any) -> list[str]:
    """Each row as JSON with its id; those of SQL sorted, for ties leave their order open."""
    found = topic.search(query, engine=engine, **options)
    texts = [json.dumps([record.id, row]) for record, row in zip(found, json.loads(found.json()), strict=True)]
    return sorted(texts) if "|" in query else texts


def asked_of(row: languages.Row) -> tuple[str, str, dict[str, Any]]:
    """The topic, the query and the options of an example of the document."""
    query = row.example if row.condition or " | " in row.example else f"* | select {row.example} limit 1"
    options: dict[str, Any] = {"language": row.language.lower() if row.condition else None}
    if "compare(" in query:
        options.update(languages.SECOND_WINDOW)
    return "SLS" if row.language == "SLS" else "CLS", query, options


@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: f"{row.language}: {row.construct}")
def test_the_examples_of_the_languages(topics: dict[str, Topic], row: languages.Row) -> None:
    name, query, options = asked_of(row)
    if row.construct in EXCEPTED:
        with pytest.raises(QueryError):
            topics[name].search(query, engine="spark", **options)
        return
    assert rows_of(topics[name], query, "spark", **options) == rows_of(topics[name], query, "duckdb", **options)


def test_every_exception_is_one() -> None:
    assert {row.construct for row in ANSWERED} >= EXCEPTED


PUBLISHED = [
    *(("ccn", query, None) for query in samples.CCN),
    *(("ccn", query, "cql") for query in samples.CQL),
    *(("sls", query, None) for query in samples.SLS),
    *(("CLS", query, None) for query in sql.ANSWERS),
]


@pytest.mark.parametrize(("name", "query", "language"), PUBLISHED)
def test_the_published_queries(topics: dict[str, Topic], name: str, query: str, language: str | None) -> None:
    options: dict[str, Any] = {"language": language}
    if "compare" in query:
        options.update(start=samples.MIDNIGHT + 180, end=samples.MIDNIGHT + 300)
    topic = topics[name]
    assert rows_of(topic, query, "spark", **options) == rows_of(topic, query, "duckdb", **options)


OTHERWISE = (
    *("regexp_extract('abc', '(b)(x)?", "regexp_extract_all('ab2'", "regexp_replace('a.b'", "regexp_replace('ab'"),
    *("regexp_replace('abc', 'b'", "regexp_replace('abc', '(b)', '\\", "cardinality(map_keys(split_to_map('',"),
    *("json_extract(", "json_format(", "json_array_", "array_except(array[1, null", "date_diff('month'"),
    *("min_by(nullif(bytes", "interval '14'", "timestamp '2020", "date '2020-01-02' - date"),
)
"""What docs/scaling.md names, beside the table."""


@pytest.mark.parametrize("group", meanings.MEANINGS)
def test_values_at_the_edges(topics: dict[str, Topic], group: str) -> None:
    asked = [one for one in meanings.MEANINGS[group] if not one.startswith(OTHERWISE)]
    query = f"* | select {', '.join(f'{one} as c{at}' for at, one in enumerate(asked))}" + meanings.rows_of(group)
    assert rows_of(topics["CLS"], query, "spark") == rows_of(topics["CLS"], query, "duckdb")


@pytest.mark.parametrize("flushed", [True, False], ids=["segments", "journal"])
def test_several_segments_with_keys_of_their_own(
    topics: dict[str, Topic], monkeypatch: pytest.MonkeyPatch, flushed: bool
) -> None:
    topic = topics["CLS"]._service.create_topic(
        "app" if flushed else "journal", index={"a": "text", "n": "long", "d": "double"}
    )
    hostile = ["it's", 'a "b"', "back\\slash", "per%cent_", "`tick`", "two words", "ta\nken"]
    topic.write([{"a": text, "n": number, "__time__": 1_000 + number} for number, text in enumerate(hostile)])
    topic._service.flush()
    if not flushed:
        monkeypatch.setattr(FolderStore, "flush", lambda *_: None)
    topic.write([{"a": "seventh", "d": 0.5, "__time__": 2_000}])
    for query in (
        "*",
        "d:>0",
        "n:>=3 AND NOT a:two",
        'a:"it\'s" OR a:seventh',
        "a:ta*",
        "* | select a, n, d, count(*) as c group by a, n, d",
        "* | select n where a = 'back\\slash' or a = 'it''s' or a like 'per\\%cent\\_' escape '\\'",
        "* | select a where n / 2 = 1",
        "* | select a group by a order by sum(n) desc, a limit 3",
    ):
        assert rows_of(topic, query, "spark") == rows_of(topic, query, "duckdb")
    for options in ({"start": 1_002, "end": 1_005}, {"limit": 2, "offset": 1, "newest_first": True}, {"start": 9_000}):
        assert rows_of(topic, "*", "spark", **options) == rows_of(topic, "*", "duckdb", **options)  # type: ignore[arg-type]
    for options in ({}, {"start": 1_000, "end": 3_000}):
        assert topic.histogram("a:*", interval_s=100, engine="spark", **options) == topic.histogram(
            "a:*", interval_s=100, **options
        )


@pytest.mark.parametrize(
    "expression", ["1/0", "cast('x' as bigint)", "cast('1.5' as bigint)", "split_part('a', ',', 0)"]
)
def test_what_cannot_be_computed_is_refused(topics: dict[str, Topic], expression: str) -> None:
    for engine in ("duckdb", "spark"):
        with pytest.raises(QueryError, match="line 1"):
            topics["CLS"].search(f"* | select {expression} as x", engine=engine)


def test_segments_are_read_where_the_cluster_finds_them(topics: dict[str, Topic], address: str, tmp_path: Path) -> None:
    topic = topics["CLS"]
    service = topic._service
    elsewhere = tmp_path / "bucket"
    elsewhere.symlink_to(next(iter(topic.scan().files)).path.parent)
    try:
        service.cluster = SparkCluster(address, segments=elsewhere.as_uri())
        assert len(topic.search("*", engine="spark")) == 5
        service.cluster = SparkCluster(address, segments=(tmp_path / "empty").as_uri())
        with pytest.raises(QueryError, match="could not be run"):
            topic.search("*", engine="spark")
    finally:
        service.cluster = address


def test_refusals(topics: dict[str, Topic], flows: Topic) -> None:
    topic = topics["CLS"]
    service = topic._service
    with pytest.raises(InvalidValue, match="a cluster has bounds of its own"):
        topic.search("*", engine="spark", limits=QueryLimits())
    with pytest.raises(InvalidValue, match="keeps its rows in memory"):
        flows.search("*", engine="spark")
    before = service.cluster
    try:
        service.cluster = None
        with pytest.raises(LabError, match="no Spark cluster is named"):
            topic.search("*", engine="spark")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            service.cluster = f"sc://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(LabError, match="no Spark cluster answers at sc://127"):
                topic.search("*", engine="spark")
    finally:
        service.cluster = before


def test_the_places_of_a_database_are_not_taken_for_those_of_the_table(
    topics: dict[str, Topic], tmp_path: Path
) -> None:
    from mmdb_writer import MMDBWriter
    from netaddr import IPSet

    writer = MMDBWriter()
    writer.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"names": {"en": "Elsewhere"}}})
    writer.to_db_file(str(tmp_path / "places.mmdb"))
    service = topics["CLS"]._service
    try:
        service.geography = tmp_path / "places.mmdb"
        with pytest.raises(QueryError, match="places of a database on Spark"):
            topics["CLS"].search("* | select ip_to_country('203.0.113.5') as c", engine="spark")
    finally:
        service.geography = None


def test_sub_keys_of_json(topics: dict[str, Topic]) -> None:
    index = {"request": "json", "request.method": "text", "request.status": "long", "request.a b.c": "text"}
    topic = topics["CLS"]._service.create_topic("json", index=index)
    texts = ['{"method":"GET","status":200}', '{"status":"404","a b":{"c":"x"}}', "no json", '{"method":["PUT"]}', None]
    topic.write([{"request": text, "__time__": at} for at, text in enumerate(texts)])
    for query in (
        "request.status:>=200",
        "request.method:get OR request.method:put",
        "NOT request.status:*",
        '* | select "request.method" as m, "request.status" as s, "request.a b.c" as c',
    ):
        assert rows_of(topic, query, "spark") == rows_of(topic, query, "duckdb")
