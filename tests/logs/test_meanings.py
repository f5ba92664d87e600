"""What expressions of the providers' SQL are worth at the edges: the answers are Presto's, worked out by hand."""

from __future__ import annotations

import math
from datetime import date, datetime

import pytest

from emulator.errors import QueryError
from emulator.logs import Topic

NAN = object()

MEANINGS: dict[str, dict[str, object]] = {
    "numbers": {
        "7 / 2": 3,
        "-7 / 2": -3,
        "-7 % 3": -1,
        "7 % -3": 1,
        "1 / null": None,
        "1e0 / 0": math.inf,
        "-1 / 0e0": -math.inf,
        "0e0 / 0": NAN,
        "5.5e0 % 0": NAN,
        "mod(5.5e0, 0)": NAN,
        "mod(-7, 3)": -1,
        "avg(bytes) / 0": math.inf,
        "sum(bytes) / 60.00 * 8": 20209.6,
        "sum(bytes) / count(*)": 30314,
        "count_if(bytes is null)": 1,
        "min_by(nullif(bytes, 60), bytes, 1)": [None],
        "map_keys(map_agg(dstport, srcaddr))": [2048, 0, 443, 22],
        "typeof(sum(bytes))": "bigint",
        "round(-2.5)": -3,
        "cast(-2.5 as bigint)": -3,
        "bitwise_right_shift(-8, 1)": 9223372036854775804,
        "bitwise_right_shift(-8, 0)": -8,
        "bit_count(-1, 64)": 64,
        "ln(0)": -math.inf,
        "sqrt(-1)": NAN,
        "width_bucket(10, 0, 10, 5)": 6,
    },
    "nulls": {
        "null in (1, 2)": None,
        "1 in (1, null)": True,
        "3 not in (1, null)": None,
        "null and false": False,
        "null or true": True,
        "5 between 1 and null": None,
        "greatest(1, null, 3)": None,
        "case 1 when null then 'a' else 'b' end": "b",
        "if(null, 1, 2)": 2,
        "'a' || null": None,
    },
    "casts of what aggregates compute": {
        "cast(avg(bytes) as bigint)": 37893,
        "cast(avg(packets) / 2 as bigint)": 15,  # 14.875
        "cast(sum(bytes) as varchar)": "151572",
        "cast(sum(case when bytes = 60 then 0.5 when bytes = 150000 then 2 end) as bigint)": 3,
        "cast(coalesce(null, avg(packets) * 2, 0) as bigint)": 60,  # 59.5
        "cast(sum(bytes) as double)": 151572.0,
        "cast(round(avg(bytes), 1) as bigint)": 37893,
        "cast(max(srcaddr) as varchar)": "2001:db8::1",
        "cast(coalesce(avg(bytes), 0) as bigint)": 37893,
        "cast(case when max(bytes) > 1 then 2.5 end as bigint)": 3,
        "cast((select avg(packets) from log) as bigint)": 30,  # 29.75
        "date_format(from_unixtime(max(start)), '%H:%i')": "22:18",
        "to_iso8601(date_trunc('hour', max(from_unixtime(start))))": "2023-11-14T22:00:00.000",
        "date_trunc('month', min(date '2020-01-05'))": date(2020, 1, 1),
        "from_unixtime(avg(3.5e0))": datetime(1970, 1, 1, 0, 0, 3, 500000),
        "histogram(cast(max(start) * 1000 as timestamp), interval 1 hour)": datetime(2023, 11, 15, 6),
    },
    "no rows": {
        "count_if(bytes > 1)": 0,
        "count_if(bytes > 1) * 1.0 / count(*)": NAN,
        "count(*)": 0,
        "sum(bytes)": None,
        "approx_distinct(bytes)": 0,
        "array_agg(bytes)": None,
        "bool_and(bytes > 1)": None,
    },
    "texts": {
        "cast(date '2020-01-02' as varchar)": "2020-01-02",
        "cast(timestamp '2020-01-02 03:04:05' as varchar)": "2020-01-02 03:04:05.000",
        "cast('T' as boolean)": True,
        "cast(count(*) over () as varchar)": "5",
        "trim('\t a \n')": "a",
        "ltrim('\n a ')": "a ",
        "rtrim(' a\t')": " a",
        "replace('abc', '', '-')": "-a-b-c-",
        "replace('aXa', 'a', '')": "X",
        "substr('hello', -3, 2)": "ll",
        "substr('hello', 6)": "",
        "split('a,b,', ',')": ["a", "b", ""],
        "split_part('a,,b', ',', 2)": "",
        "cardinality(map_keys(split_to_map('', ';', '=')))": 0,
        "length('日本')": 2,
        "reverse('é日')": "日é",
        "lpad('hello', 2, 'x')": "he",
        "'a_c' like 'a\\_c' escape '\\'": True,
        "'abc' like 'A%'": False,
        "'abc' not like 'A%'": True,
        "'a_c' not like 'a\\_c' escape '\\'": False,
        "typeof(to_utf8('a'))": "varbinary",
        "typeof(array[1])": "array(integer)",
    },
    "regular expressions": {
        "regexp_extract('abc', '(b)(x)?', 2)": None,
        "regexp_extract('', '^$')": "",
        "regexp_extract('abc', '(b)(c)', 2)": "c",
        "regexp_extract_all('ab2', '([a-z])([0-9])?', 2)": [None, "2"],
        "regexp_replace('a.b', '[.]', '\\$')": "a$b",
        "regexp_replace('abc', 'b', '\\\\')": "a\\c",
        "regexp_replace('abc', '(b)', '[$1]')": "a[b]c",
        "regexp_replace('abc', '(b)', '\\\\$1')": "a\\bc",
        "regexp_replace('ab', '(a)', '$10')": "a0b",
        "regexp_replace('abc', '', '-')": "-a-b-c-",
        "regexp_split('a,b,', ',')": ["a", "b", ""],
        "regexp_like('a\nb', 'a.b')": False,
        "regexp_like('ABC', '(?i)abc')": True,
    },
    "JSON": {
        """json_extract_scalar('{"a.b":{"c d":7}}', '$["a.b"]["c d"]')""": "7",
        """json_extract_scalar('{"a":[1,{"é":"ü"}]}', '$.a[1].é')""": "ü",
        """json_extract_scalar('{"a":null}', '$.a')""": None,
        """json_extract('{"a": {"b": [1, 2]}}', '$.a')""": '{"b":[1,2]}',
        "json_extract('bad', '$.a')": None,
        "json_extract_scalar('', '$.a')": None,
        "json_format(json_parse('[1, {\"a\": 2}]'))": '[1,{"a":2}]',
        "json_array_get('[1,2]', -1)": "2",
        "json_array_length('{}')": None,
    },
    "arrays": {
        "contains(array[1, null], 1)": True,
        "contains(array[1, null], 2)": None,
        "contains(array[1, 2], 3)": False,
        "array_position(array[1, null], null)": None,
        "array_position(array[1], 5)": 0,
        "array_intersect(array[1, null, 3], array[null, 1])": [1, None],
        "array_except(array[1, null, 2, 2], array[1])": [None, 2],
        "array_distinct(array[1, null, 1, null])": [1, None],
        "array_union(array[1], null)": None,
        "array_except(array[1], null)": None,
        "array_intersect(array[1], null)": None,
        "array_remove(array[1], null)": None,
        "array_max(array[1, null])": None,
        "sequence(5, 1)": [5, 4, 3, 2, 1],
        "sequence(1, 1)": [1],
        "slice(array[1, 2, 3], -2, 2)": [2, 3],
        "slice(array[1, 2, 3], 5, 1)": [],
        "element_at(array[1, 2], -1)": 2,
        "filter(array[1, null, 3], x -> x is not null)": [1, 3],
    },
    "addresses": {
        "ip_to_domain(null)": None,
        "ip_to_domain('172.31.255.255')": "intranet",
        "ip_to_domain('172.32.0.0')": "internet",
        "ip_to_domain('fd00::1')": "intranet",
        "ip_to_domain('2001:db8::1')": "internet",
        "ip_to_domain('1:2:3:4:5:6:7:8')": "internet",
        "ip_to_domain('::ffff:10.0.0.1')": "internet",
        "ip_to_domain('1:2:3:4:5:6:7:8:9')": "invalid",
        "ip_to_domain(':::')": "invalid",
        "ip_to_domain('1:2')": "invalid",
        "ip_to_domain('1::2::3')": "invalid",
        "ip_to_domain('1.2.3.+4')": "invalid",
        "ip_to_domain('1.2.3. 4')": "invalid",
        "ip_to_domain('1.2.3.4.')": "invalid",
        "ip_to_domain('256.0.0.1')": "invalid",
        "ip_to_domain('-')": "invalid",
        "ip_prefix('10.1.2.3', 0)": "0.0.0.0/0",
        "ip_prefix('10.1.2. 3', 24)": None,
        "ip_subnet_max('0.0.0.0/0')": "255.255.255.255",
        "is_subnet_of('10.0.0.0/8', '11.0.0.1')": False,
    },
    "times": {
        "date '2020-01-31' + interval '1' month": date(2020, 2, 29),
        "date '2020-01-01' - interval '1' day": date(2019, 12, 31),
        "date_add('month', -1, timestamp '2024-03-31 01:00:00')": datetime(2024, 2, 29, 1),
        "date_diff('day', timestamp '2020-01-02 00:00:00', timestamp '2020-01-01 00:00:01')": 0,
        "date_diff('month', date '2020-01-15', date '2020-02-14')": 0,
        "date_trunc('week', timestamp '2023-01-01 10:00:00')": datetime(2022, 12, 26),
        "timestamp '2020-01-02 00:00:00' - timestamp '2020-01-01 12:30:00.5'": "0 11:29:59.500",
        "date '2020-01-02' - date '2020-03-01'": "-59 00:00:00.000",
        "interval '14' month": "1-2",
        "from_unixtime(-1)": datetime(1969, 12, 31, 23, 59, 59),
        "week(date '2021-01-01')": 53,
        "date_format(timestamp '2020-01-02 15:04:05', '%l %p %j %k')": "3 PM 002 15",
    },
    "URLs": {
        "url_extract_host('http://[2001:db8::1]:80/x')": "[2001:db8::1]",
        "url_extract_port('http://[2001:db8::1]:80/x')": 80,
        "url_extract_host('https://user:p@example.com:8080/a?b=1#c')": "example.com",
        "url_extract_query('http://h/p')": "",
        "url_extract_fragment('http://h/p')": "",
        "url_extract_parameter('http://h/?a=1&a=2', 'a')": "1",
        "url_extract_parameter('http://h/?b=2', 'a')": None,
    },
}


def rows_of(group: str) -> str:
    """What follows the select list, so that there is one row."""
    if group == "no rows":
        return " where bytes < 0"
    return "" if "casts" in group or group == "numbers" else " limit 1"


@pytest.mark.parametrize("group", MEANINGS)
def test_values(flows: Topic, group: str) -> None:
    expected = MEANINGS[group]
    columns = ", ".join(f"{expression} as c{at}" for at, expression in enumerate(expected))
    (row,) = flows.search(f"* | select {columns}{rows_of(group)}")
    for expression, found in zip(expected, row.values(), strict=True):
        wanted = expected[expression]
        assert math.isnan(found) if wanted is NAN else (found == wanted and type(found) is type(wanted)), expression


REFUSED = {
    "7 % 0": "zero",
    "approx_percentile(bytes, -0.5)": "between 0 and 1",
    "mod(7, 0)": "zero",
    "cast('yes' as boolean)": "BOOL",
    "split_to_map('a=1=2', ';', '=')": "one =",
    "split_to_map('a', ';', '=')": "could not be run: each entry needs one =",
    "regexp_extract('abc', '(b)', 2)": "group",
    "slice(array[1], 0, 1)": "counts from 1",
    "slice(array[1], 1, -1)": "negative length",
    "date_add('hour', 1, date '2020-01-01')": "no unit",
    "action, date_trunc('day', action)": r"1:20: date_trunc does not take values",
    "cast(true as timestamp)": r"1:12: this cannot be cast to timestamp",
    "json_extract('{}', 'a.b')": r"begins with \$",
    "json_extract('[1]', '$[*]')": "one value",
    "histogram(__TIMESTAMP__, interval -5 minute)": "at least 1",
    "1 as a, 2 as a": "two columns are called a",
    "reverse(array_agg(bytes))": "name that in a sub-query",
    "cast(max(bytes) as varchar) from (select bytes / 2e0 as bytes from log)": "name that in a sub-query",
    "1 from log a semi join log b on a.bytes = b.bytes": "SEMI JOIN",
}


@pytest.mark.parametrize("expression", REFUSED)
def test_refusals(flows: Topic, expression: str) -> None:
    with pytest.raises(QueryError, match=REFUSED[expression]) as refused:
        flows.search(f"* | select {expression}")
    assert refused.value.column >= 5


def test_times_of_aggregates_at_sls(sls_flows: Topic) -> None:
    (row,) = sls_flows.search(
        "* | select date_trunc('hour', max(__time__)) as a, date_format(max(__time__), '%H:%i') as b,"
        " from_unixtime(min(__time__)) as c"
    )
    assert list(row.values()) == [datetime(2023, 11, 15, 6), "06:23", datetime(2023, 11, 15, 6, 18, 20)]
