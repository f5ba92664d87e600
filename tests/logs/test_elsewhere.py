"""Queries as SQL for other engines: generated, and read by sqlglot; what Spark answers is in ``test_spark.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this one: --import-mode=importlib adds nothing

import test_languages as languages
import test_samples as samples

from emulator.errors import InvalidValue, LabError, QueryError
from emulator.logs import LogService, SparkCluster, Topic
from emulator.logs.elsewhere.engines import target_of
from emulator.logs.presto.functions import functions_of

NOT_IN_TRINO = {
    "histogram(x): a map of counts",
    "histogram(milliseconds, interval)",  # one of its two is by months
    "time_series(time, window, format, padding)",
    "time_series of seconds",
    "intervals as answers",
    "ip_to_domain: intranet, internet, invalid",
    "ip_prefix, ip_subnet_min, ip_subnet_max, ip_subnet_range",
    "is_subnet_of, is_prefix_subnet_of",
}


def test_the_examples_of_the_languages_are_written_for_trino(flows: Topic, sls_flows: Topic) -> None:
    refused = set()
    for row in languages.ROWS:
        if row.status not in ("works", "differs"):
            continue
        topic = sls_flows if row.language == "SLS" else flows
        query = row.example if row.condition or " | " in row.example else f"* | select {row.example} limit 1"
        window = languages.SECOND_WINDOW if "compare(" in query else {}
        language = row.language.lower() if row.condition else None
        try:
            text = topic.sql(query, language=language, dialect="trino", table="hive.flows.demo", **window)
        except QueryError:
            refused.add(row.construct)
            continue
        tree = sqlglot.parse_one(text, read="trino")
        stored = {table.sql() for table in tree.find_all(exp.Table) if table.db}
        assert stored == {'"hive"."flows"."demo"'}
    assert refused == NOT_IN_TRINO


@pytest.fixture(scope="module")
def ccn() -> Iterator[Topic]:
    service, topic = samples.topic_of("tencent", samples.CCN_FIELDS, samples.CCN_FLOWS)
    with service:
        yield topic


@pytest.mark.parametrize("query", [*samples.CCN])
def test_the_published_queries_are_written_for_trino(ccn: Topic, query: str) -> None:
    if "time_series" in query:
        with pytest.raises(QueryError, match="time_series on Trino: not supported yet"):
            ccn.sql(query, dialect="trino")
        return
    sqlglot.parse_one(ccn.sql(query, dialect="trino"), read="trino")


def test_what_trino_is_told(flows: Topic) -> None:
    query = "dstport:443 | select histogram(__TIMESTAMP__, interval 1 hour) as t, count(*) as n group by t order by t"
    assert flows.sql(query, 5, 10, dialect="trino", table="flows") == (
        'WITH "log" AS (SELECT "c1" * 1000 AS "__TIMESTAMP__" FROM (SELECT "dstport" AS "c0", "__time__" AS "c1" FROM'
        ' (SELECT * FROM "flows" WHERE "__time__" >= 5 AND "__time__" < 10) AS "vpclab_rows") WHERE ("c0" = 443))'
        " SELECT DATE_ADD('second', (\"__TIMESTAMP__\" / 1000 + 28800) / 3600 * 3600,"
        ' CAST(\'1970-01-01 00:00:00\' AS TIMESTAMP(0))) AS "t", COUNT(*) AS "n" FROM "log" GROUP BY 1 ORDER BY "t"'
    )


@pytest.mark.parametrize("provider", ["tencent", "alibaba"])
@pytest.mark.parametrize("dialect", ["spark", "trino"])
def test_no_table_has_a_function_that_a_query_cannot_call(provider: str, dialect: str) -> None:
    target = target_of(dialect)
    there = {name for name in target.forms(provider) if not name.startswith("vpclab_")} | target.same
    assert there - functions_of(provider).keys() - {"try"} == set()


def test_refusals(flows: Topic, service: LogService) -> None:
    with pytest.raises(InvalidValue, match="dialect is one of spark, trino"):
        flows.sql("*", dialect="mysql")
    with pytest.raises(InvalidValue, match="table is a table's name"):
        flows.sql("*", table="a; drop table b")
    with pytest.raises(InvalidValue, match="engine is one of duckdb, spark, not 'trino'"):
        flows.search("*", engine="trino")
    for wrong in ("http://a:1", "sc://", 5, ""):
        with pytest.raises(LabError, match="a Spark cluster is SparkCluster"):
            service.cluster = wrong  # type: ignore[assignment]
    with pytest.raises(LabError, match="a Spark cluster is SparkCluster"):
        SparkCluster("sc://a:1", segments="")
    assert service.cluster is None
