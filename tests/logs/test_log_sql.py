"""SQL behind the bar: what it computes, and what it is refused."""

from __future__ import annotations

import pytest

from emulator.errors import QueryError
from emulator.logs import Field, Index, Topic

ANSWERS: dict[str, list[dict[str, object]]] = {
    "* | select count(*) as n": [{"n": 5}],
    "*|SELECT count(*) AS n FROM log": [{"n": 5}],
    "  | select count(*) as n": [{"n": 5}],
    "* | select count(*), sum(bytes), 'x' as \"a b\"": [{"_col0": 5, "_col1": 151_572, "a b": "x"}],
    "dstaddr:10.16.0.40 | select srcaddr, sum(bytes) as b group by srcaddr": [{"srcaddr": "10.16.0.22", "b": 816}],
    "action:REJECT | select srcaddr, bytes": [
        {"srcaddr": "10.16.0.40", "bytes": 756},
        {"srcaddr": "10.16.0.22", "bytes": 60},
    ],
    '* | select max("end") - min(start) as s from log where "log-status" = \'OK\'': [{"s": 600}],
    '* | select "log-status", count(*) as n group by "log-status" order by n': [
        {"log-status": "NODATA", "n": 1},
        {"log-status": "OK", "n": 4},
    ],
    "* | select bytes order by bytes desc limit 2": [{"bytes": 150_000}, {"bytes": 756}],
    "* | select bytes order by bytes limit 1, 2": [{"bytes": 756}, {"bytes": 756}],
    "* | select distinct bytes order by bytes": [{"bytes": 60}, {"bytes": 756}, {"bytes": 150_000}, {"bytes": None}],
    # integers stay integers, as in Presto
    "* | select 7/2 as a, -7/2 as b, 7/2.0 as c, 7%3 as d, -7%3 as e limit 1": [
        {"a": 3, "b": -3, "c": 3.5, "d": 1, "e": -1}
    ],
    "* | select sum(bytes)/count(*) as a, avg(bytes) as b": [{"a": 30_314, "b": 37_893.0}],
    "* | select sum(bytes)/60.00*8 as bps": [{"bps": 20_209.6}],
    # nulls
    "* | select count(bytes) as a, count(distinct srcaddr) as b, count_if(bytes > 100) as c": [
        {"a": 4, "b": 3, "c": 3}
    ],
    "log-status:NODATA | select bytes + 1 as a, coalesce(bytes, 0) as b, srcaddr = 'x' as c": [
        {"a": None, "b": 0, "c": None}
    ],
    "* | select count(*) as n where action <> 'REJECT'": [{"n": 2}],
    "* | select concat(srcaddr, '->', dstaddr) as a, srcaddr || '!' as b limit 1": [
        {"a": "10.16.0.22->10.16.0.40", "b": "10.16.0.22!"}
    ],
    "log-status:NODATA | select concat(srcaddr, 'x') as a": [{"a": None}],
    # conditions in SQL
    "* | select round(sum(case when action='REJECT' then 1.00 else 0.00 end)/cast(count(*) as double)*100,2) as p": [
        {"p": 40.0}
    ],
    "* | select count(*) as n where srcaddr like '10.16.%' and bytes between 1 and 100 and dstport in (22, 23)": [
        {"n": 1}
    ],
    "* | select count(*) as n where srcaddr is null or not bytes > 60": [{"n": 2}],
    "* | select if(bytes > 100, 'big', 'small') as size, count(*) n where bytes is not null group by size order by n": [
        {"size": "small", "n": 1},
        {"size": "big", "n": 3},
    ],
    # sub-queries and the query's own tables
    "* | select count(*) as n where srcaddr in (select srcaddr group by srcaddr order by sum(bytes) desc limit 1)": [
        {"n": 1}
    ],
    "* | select max(b) as m from (select srcaddr, sum(bytes) as b group by srcaddr)": [{"m": 150_000}],
    "* | with a as (select srcaddr, bytes where bytes < 1000), b as (select count(*) as n from a) select n from b": [
        {"n": 3}
    ],
    "* | with A as (select 1 as x from log limit 1) select a.x from a": [{"x": 1}],
    "* | with pg_class as (select 1 as x limit 1) select x from pg_class": [{"x": 1}],
    "* | select l.bytes from log l join log r on l.dstaddr = r.srcaddr and l.bytes = r.bytes order by 1": [
        {"bytes": 756},
        {"bytes": 756},
    ],
    "* | select max_by(dstaddr, bytes) as a, min_by(dstaddr, bytes) as b, approx_distinct(dstport) as c": [
        {"a": "10.16.0.4", "b": "10.16.0.40", "c": 4}
    ],
    "* | select lower(action) as a, upper('x') as b, length(action) as c, replace(action, 'C', 'k') as d limit 1": [
        {"a": "accept", "b": "X", "c": 6, "d": "AkkEPT"}
    ],
    "* | select abs(-3) a, round(2.5) b, floor(2.5) c, ceil(2.5) d, greatest(1, 2) e, nullif(1, 1) f limit 1": [
        {"a": 3, "b": 3, "c": 2, "d": 3, "e": 2, "f": None}
    ],
    "* | select 'it''s | \"x\" -- no comment' as a limit 1 -- a comment | select": [{"a": 'it\'s | "x" -- no comment'}],
    '"a|b" | select count(*) as n': [{"n": 0}],
    r"a\|b | select count(*) as n": [{"n": 0}],
    "* | select max(__TIMESTAMP__) as t": [{"t": 1_700_000_600_000}],
}

REFUSED = {
    "* |": (1, 4, "has to follow"),
    "* | ;": (1, 5, "has to follow|without a ;"),
    "* | select 1; select 2": (1, 5, "one select"),
    "* | select a b c": (1, 16, "'c' is not understood here"),
    "* | select 'abc": (1, 5, "quotation mark is open"),
    "* | select (1": (1, 14, "not understood"),
    "* | select\n  bytes,\n  nope": (3, 3, "'nope' cannot be resolved"),
    "* | select byte": (1, 12, "did you mean bytes"),
    "* | select log-status": (1, 12, 'the column is "log-status", in quotes'),
    "* | select srcaddr, interface-id": (1, 21, 'the column is "interface-id"'),
    "* | select end": (1, 12, 'the column is "end"'),
    "* | select * from other": (1, 19, "there is no table 'other'"),
    "* | select * from other.log": (1, 19, "not supported yet"),
    "* | select * from information_schema.tables": (1, 19, "not supported yet"),
    "* | with log as (select 1) select * from log": (1, 10, "name yours otherwise"),
    "* | select srcaddr, sum(bytes)": (1, 12, "GROUP BY"),
    "* | select log": (1, 12, "cannot be resolved"),
    "* | select rowid": (1, 12, "cannot be resolved"),
    "* | select bytes from log, log l": (1, 12, "Ambiguous"),
    "* | select sum(srcaddr)": (1, 5, "could not be run"),
    "* | select 1/0": (1, 5, "Division by zero"),
    "* | select sum(9223372036854775807)": (1, 5, "does not fit a bigint"),
    "* | select cast('1.5' as bigint)": (1, 5, "Could not convert string ''1.5''"),
    "* | select abs()": (1, 12, "abs takes 1 arguments, not 0"),
    "* | select sum(bytes, 3)": (1, 12, "sum takes 1 arguments, not 2"),
    "* | select date_format(now(), '%Q')": (1, 31, "letters that MySQL has"),
    "* | select date_format(now(), action)": (1, 31, "a text in quotes"),
    "* | select date_trunc('eon', now())": (1, 24, "eon"),
    "* | select date_add('eon', 1, now())": (1, 5, "no unit of time: eon"),
    "* | select histogram(__TIMESTAMP__, 5)": (1, 37, "takes an interval"),
    "* | select to_unixtime(from_unixtime(0, 'Asia/Tokyo'))": (1, 12, "of a zone"),
    "* | select map(array[], array[])": (1, 5, "a map without a key has no type"),
    "* | select regexp_like('a', '(')": (1, 5, "missing \\)"),
    "* | select time_series(__TIMESTAMP__, '5m', '%H', '0') as t group by t": (1, 12, "needs group by and order by"),
    "* | select time_series(__TIMESTAMP__, '5m', '%H', '0') as t group by t order by t desc": (1, 12, "ascending"),
    "* | select time_series(__TIMESTAMP__, '5x', '%H', '0') as t group by t order by t": (1, 39, "the window"),
    "* | select time_series(__TIMESTAMP__, '5m', '%Q', '0') as t group by t order by t": (1, 45, "letters"),
    "* | select time_series(__TIMESTAMP__, '5m', '%H', '1') as t group by t order by t": (1, 51, "pads with"),
    "* | select time_series(__TIMESTAMP__, '5m', '%H', '0') as t, action group by 1, 2 order by 1": (1, 12, "alone"),
    "* | select 1 + time_series(__TIMESTAMP__, '5m', '%H', '0') as t group by t order by t": (1, 16, "one column"),
    "* | select compare(count(*), 300)": (1, 12, "needs a search with a start and an end"),
    "* | select compare(count(*), 1.5)": (1, 30, "a number of seconds"),
    "* | select 1 + compare(count(*), 300)": (1, 16, "by itself"),
    "* | with a as (select 1) select compare(count(*), 300) from a": (1, 33, "does not know"),
    "* | select bytes limit 1000001": (1, 24, "a LIMIT is at most 1000000"),
    "nope:1 | select 1": (1, 1, "not in the index"),
    "* | select " + "(" * 3000 + "1" + ")" * 3000: (1, 4, "too deeply"),
}

UNSUPPORTED = {
    "* | select ts_compare(bytes, 5)": 12,
    "* | select\n checksum(bytes)": 2,
    "* | select cast(bytes as json)": 17,
    "* | select now() at time zone 'UTC'": 12,
    "* | select localtime": 12,
    "* | select * except (bytes)": 12,
    "* | select bytes limit all": 12,
    "* | select extract(timezone_hour from now())": 12,
    "* | drop table log": 5,
    "* | with_pack_meta": 5,
    "* | where bytes > 5": 5,
    "* | table log": 5,
    "* | (select 1)": 5,
    "* | values 1": 5,
}

ATTACKS = [
    "select * from read_csv('/etc/passwd')",
    "select * from read_parquet('*')",
    "select * from '/etc/passwd'",
    'select * from "/etc/passwd"',
    "select * from glob('*')",
    "select * from duckdb_settings()",
    "select * from pragma_database_list()",
    "select * from sqlite_master",
    "select * from pg_catalog.pg_class",
    'select * from "vpclab rows"',
    "select current_setting('threads')",
    "select getenv('HOME')",
    "select read_text('/etc/passwd')",
    "select version()",
    "select current_user",
    "select query('select 1')",
    "select * from query('select 1')",
    "set threads = 5",
    "pragma threads = 5",
    "attach '/tmp/x.db' as x",
    "copy log to '/tmp/x'",
    "install httpfs",
    "load httpfs",
    "create table x as select 1",
    "create macro f() as 1",
    "insert into log select 1",
    "delete from log",
    "export database '/tmp/x'",
    "call pragma_version()",
    "explain select 1",
    "describe log",
    "show tables",
    "select 1 into x",
    "select * from log; drop table log",
    "select $1",
    "select ?",
    "select :a",
    "select @a",
    "with recursive a as (select 1 as x union all select x + 1 from a) select * from a",
    "select * from log tablesample 10",
    "select * from (values (1)) t(x)",
    "select * from range(1000000000)",
    "select * from lateral (select 1)",
    "select bytes from log for update",
    "select srcaddr.x",
    "select #1",
    "select columns(*)",
    "from log",
    "select x'00'",
    "select error('x')",
    "select vpclab_ip4('10.0.0.1')",
    "select vpclab_cls_bucket(1, 2)",
    "select list_filter(array[1], x -> x > 0)",
    'select * from "log 300"',
    'select * from "vpclab counted"',
    "select * from histogram(bytes)",
    "select count(*) over (order by bytes range between unbounded preceding and interval '1' day following)",
    "select getvariable('x')",
    "select current_database()",
    "select txid_current()",
    "select array_agg(bytes order by (select 1 from other))",
    "/*+ x */ select /*+ y */ nope",
]


@pytest.mark.parametrize("query", ANSWERS)
def test_answers(flows: Topic, query: str) -> None:
    assert flows.search(query) == ANSWERS[query]


def test_a_bar_within_an_expression_is_no_bar(flows: Topic) -> None:
    query = r"dstaddr:/10\.16\.0\.(22|4)/ | select count(*) as n where split_part(srcaddr, '/', 1) = srcaddr"
    assert flows.search(query) == [{"n": 2}]


def test_numbers_are_ints_and_computed_rows_have_no_id(flows: Topic) -> None:
    (row,) = flows.search("* | select sum(bytes) as a, count(*) as b, 7/2 as c, avg(bytes) as d, 1.5 as e")
    assert [type(value) for value in row.values()] == [int, int, int, float, float]
    assert (row.id, row.time, row.meta) == ("", None, {})
    assert row.line == "151572 5 3 37893.0 1.5"
    assert flows.search("* | select sum(bytes) as a").arrow().schema.names == ["a"]


@pytest.mark.parametrize("query", REFUSED, ids=lambda query: query[:40])
def test_refuses_what_it_does_not_understand(flows: Topic, query: str) -> None:
    line, column, message = REFUSED[query]
    with pytest.raises(QueryError, match=message) as refused:
        flows.search(query)
    assert (refused.value.line, refused.value.column) == (line, column)
    assert refused.value.code in ("FailedOperation.SyntaxError", "FailedOperation.QueryError")


@pytest.mark.parametrize("query", UNSUPPORTED)
def test_says_what_is_not_supported_yet(flows: Topic, query: str) -> None:
    with pytest.raises(QueryError, match="not supported yet") as refused:
        flows.search(query)
    assert refused.value.column == UNSUPPORTED[query]
    assert refused.value.code == "FailedOperation.QueryError"


@pytest.mark.parametrize("sql", ATTACKS)
def test_attacks_are_refused(flows: Topic, sql: str) -> None:
    with pytest.raises(QueryError):
        flows.search(f"* | {sql}")
    assert flows.search("* | select count(*) as n") == [{"n": 5}]


HOSTILE = [
    "'",
    '"',
    "' OR 1=1 --",
    '"; drop table log; --',
    "$1",
    "?",
    "\\",
    "\\'",
    "%",
    "_",
    "{}",
    "c0",
    "[a-z]+",
    "(",
    ".*",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_values_and_keys_that_look_like_sql_are_plain_text(flows: Topic, value: str) -> None:
    service = flows._service
    key = f'k{value}"'
    topic = service.create_topic("hostile", index={key: "text", "n": "long"})
    topic.write([{key: value, "n": 1}, {key: "other", "n": 2}])
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    escaped = "".join(f"\\{character}" for character in key)
    assert [record["n"] for record in topic.search(f"{escaped}:*")] == [1, 2]
    assert [record["n"] for record in topic.search(f"{escaped}:other")] == [2]
    if any(character not in topic.index.fields[key].delimiters for character in value):  # type: ignore[union-attr]
        assert [record["n"] for record in topic.search(f'{escaped}:"{quoted}"')] == [1]
    literal = value.replace("'", "''")
    column = key.replace('"', '""')
    assert topic.search(f"""* | select n where "{column}" = '{literal}'""") == [{"n": 1}]
    assert topic.search(f'* | select "{column}" where n = 1') == [{key: value}]


def test_alibabas_time_is_in_seconds(sls_flows: Topic) -> None:
    assert sls_flows.search("* | select max(__time__) as t, min(__time__) - min(__time__) % 60 as m from log") == [
        {"t": 1_700_000_600, "m": 1_700_000_280}
    ]
    with pytest.raises(QueryError, match="__TIMESTAMP__"):
        sls_flows.search("* | select __TIMESTAMP__")


def test_documented_queries_run(sls_flows: Topic) -> None:
    query = """dstaddr:10.16.0.22 AND dstport:0 | SELECT srcaddr,
       SUM(CASE WHEN action='ACCEPT' THEN 1 ELSE 0 END) AS accept_count,
       SUM(CASE WHEN action='REJECT' THEN 1 ELSE 0 END) AS reject_count FROM log GROUP BY srcaddr
       ORDER BY accept_count+reject_count DESC"""
    assert sls_flows.search(query) == [{"srcaddr": "10.16.0.40", "accept_count": 0, "reject_count": 1}]


def test_columns_of_the_index_that_no_row_has_are_null(flows: Topic) -> None:
    topic = flows._service.create_topic("app", index={"a": "text", "n": "long", "d": "double", "later": "long"})
    topic.write([{"a": "x", "n": 1, "other": 5}])
    assert topic.search("* | select *, later + 1 as l") == [
        {"a": "x", "n": 1, "d": None, "later": None, "__TIMESTAMP__": 1_700_000_000_000, "l": None}
    ]
    with pytest.raises(QueryError, match="'other' cannot be resolved"):
        topic.search("* | select other")


def test_a_key_without_statistics_is_searched_and_not_computed_with(flows: Topic) -> None:
    index = Index({"a": Field("text", sql=False), "n": Field("long")})
    topic = flows._service.create_topic("app", index=index)
    topic.write([{"a": "x", "n": 1}])
    assert topic.search("a:x | select n") == [{"n": 1}]
    assert "a" not in topic.search("* | select *")[0]
    with pytest.raises(QueryError, match="its statistics are off") as refused:
        topic.search("* | select n, a")
    assert refused.value.column == 15


def test_keys_that_differ_by_case_only_are_not_mistaken_for_each_other(flows: Topic) -> None:
    topic = flows._service.create_topic("app", index={"n": "long", "N": "long"})
    topic.write([{"n": 1, "N": 2}])
    assert len(topic.search("n:1 AND N:2")) == 1
    assert topic.search("n:2 OR N:1") == []
    assert [bucket.count for bucket in topic.histogram("N:2", interval_s=60)] == [1]
    assert topic.histogram("n:2 OR N:1", interval_s=60) == []
    assert topic.search("n:1 AND N:2 | select count(*) as c") == [{"c": 1}]
    assert topic.search("n:2 OR N:1 | select count(*) as c") == [{"c": 0}]
    with pytest.raises(QueryError, match="by case only"):
        topic.search("* | select n")


def test_text_that_is_indexed_as_a_number_counts_where_it_is_one(flows: Topic) -> None:
    topic = flows._service.create_topic("app", index={"n": "long", "d": "double"})
    values = ("5", "-", "1.5", "", "1e3", " 7", "99999999999999999999", "-3")
    topic.write([{"n": value, "d": value} for value in values])
    assert [record["n"] for record in topic.search("n:*")] == ["5", "-3"]
    assert [record["d"] for record in topic.search("d:*")] == ["5", "1.5", "99999999999999999999", "-3"]
    assert topic.search("* | select sum(n) as n, max(d) as d") == [{"n": 2, "d": 1e20}]
