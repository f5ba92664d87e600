"""Every query that the providers' documents publish for flow logs, over records that it finds something in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from emulator.logs import LogService, Topic, flow_index
from emulator.providers import profile

MIDNIGHT = 1_699_977_600
"""2023-11-15 00:00 in UTC+8."""

CCN_FIELDS = ("srcregionid", "dstregionid", "srcaddr", "dstaddr", "action", "log-status")
SLS_FIELDS = ("direction", "eni-id", "srcaddr", "dstaddr", "action", "log-status")
NUMBERS = ("protocol", "srcport", "dstport", "packets", "bytes", "start", "end")


def topic_of(
    provider: str, texts: tuple[str, ...], flows: list[tuple[Any, ...]], folder: Path | None = None
) -> tuple[LogService, Topic]:
    service = LogService(profile=profile(provider), now=lambda: float(MIDNIGHT + 3_600), folder=folder)
    names = (*texts, *NUMBERS, "__time__")
    schema = pa.schema([(name, pa.string() if name in texts else pa.int64()) for name in names])
    rows = [
        (*flow[: len(texts)], *flow[len(texts) :], MIDNIGHT + 60 * at, MIDNIGHT + 60 * at + 60, MIDNIGHT + 60 * at + 60)
        for at, flow in enumerate(flows)
    ]
    columns = dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True))
    topic = service.create_topic("flows", logset="demo")
    topic.enable_index(flow_index(schema), report=True)
    topic.append(pa.table(columns, schema), key="w")
    return service, topic


CCN_FLOWS: list[tuple[Any, ...]] = [
    ("ap-hongkong", "ap-guangzhou", "10.0.0.1", "10.1.0.1", "ACCEPT", "OK", 6, 40_000, 443, 10, 60_000),
    ("ap-hongkong", "ap-guangzhou", "10.0.0.2", "10.1.0.1", "ACCEPT", "OK", 6, 40_001, 443, 20, 120_000),
    ("ap-guangzhou", "ap-hongkong", "10.1.0.1", "10.0.0.1", "REJECT", "OK", 17, 53, 40_000, 1, 60),
    ("ap-hongkong", "ap-guangzhou", None, None, None, "NODATA", None, None, None, None, None),
]

SLS_FLOWS: list[tuple[Any, ...]] = [
    ("in", "eni-bp1a", "10.0.0.1", "10.0.0.2", "ACCEPT", "OK", 6, 40_000, 80, 10, 6_000),
    ("in", "eni-bp1a", "10.0.0.1", "10.0.0.1", "REJECT", "OK", 6, 40_001, 80, 1, 60),
    ("out", "eni-bp1a", "192.168.20.5", "10.0.0.1", "ACCEPT", "OK", 6, 80, 80, 5, 3_000),
    ("out", "eni-bp1b", "192.168.20.5", "203.0.113.9", "ACCEPT", "OK", 17, 53, 80, 5, 1_500),
]


@pytest.fixture(scope="module")
def ccn() -> Iterator[Topic]:
    service, topic = topic_of("tencent", CCN_FIELDS, CCN_FLOWS)
    with service:
        yield topic


@pytest.fixture(scope="module")
def sls() -> Iterator[Topic]:
    service, topic = topic_of("alibaba", SLS_FIELDS, SLS_FLOWS)
    with service:
        yield topic


BANDWIDTH = (
    "log-status:OK | select histogram(cast(__TIMESTAMP__ as timestamp), interval 1 MINUTE) as time,"
    " sum(bytes)/60.00*8 as bandwidth"
)

CCN: dict[str, list[Any]] = {
    "log-status:OK AND srcregionid:ap-hongkong": [0, 1],
    f"{BANDWIDTH}, action group by time, action limit 10000": [8_000.0, 16_000.0, 8.0],
    "log-status:OK | select round(sum(case when action='REJECT' then 1.00 else 0.00 end)/cast(count(*) as double)"
    '*100,2) as "Proportion of REJECT"': [33.33],
    f"{BANDWIDTH}, srcaddr where srcaddr in (select srcaddr group by srcaddr order by sum(cast(bytes as double)) desc"
    " limit 10) group by time, srcaddr limit 10000": [8_000.0, 16_000.0, 8.0],
    f"{BANDWIDTH}, srcaddr where srcaddr in (select srcaddr group by srcaddr order by sum(cast(bytes as double)) desc"
    " limit 1) group by time, srcaddr limit 10000": [16_000.0],
    f"{BANDWIDTH}, cast(protocol as varchar) as protocol group by time, protocol limit 10000": [8_000.0, 16_000.0, 8.0],
    f"{BANDWIDTH}, srcregionid, dstregionid group by time, srcregionid, dstregionid limit 10000": [
        8_000.0,
        16_000.0,
        8.0,
    ],
    "bytes:>400": [0, 1],
    "bytes:[60 TO 60000]": [0, 2],
    "bytes:{60 TO 60000}": [],
    "bytes:[60 TO 60000}": [2],
    "_exists_:srcaddr": [0, 1, 2],
    "srcaddr:*": [0, 1, 2],
    "* | select count(*) as total": [4],
    "* | select action, count(*) as cnt group by action order by cnt desc": ["ACCEPT", "REJECT", None],
    "* | select from_unixtime(__TIMESTAMP__/1000, 'Asia/Shanghai') as t order by t limit 1": ["2023-11-15 00:01:00"],
    "* | select cast(__TIMESTAMP__+8*60*60*1000 as timestamp) as t order by t limit 1": ["2023-11-15 00:01:00"],
    "* | select cast(__TIMESTAMP__ as timestamp)+ INTERVAL 8 HOUR as t order by t limit 1": ["2023-11-15 00:01:00"],
    "* | select date_trunc('second', cast(__TIMESTAMP__+8*60*60*1000 as timestamp)) as t order by t limit 1": [
        "2023-11-15 00:01:00"
    ],
    "* | select time_series(__TIMESTAMP__, '5m', '%Y-%m-%d %H:%i:%s', '0') as time, count(*) as n group by time"
    " order by time": ["2023-11-15 00:00:00"],
    "* | select histogram(__TIMESTAMP__, interval 1 hour) as t, count(*) as n group by t": ["2023-11-15 00:00:00"],
    "* | select ip_to_province(srcaddr) as p, ip_to_city(srcaddr) as c, count(*) as n group by p, c": [None],
    "* | select APPROX_PERCENTILE(bytes, 0.99) as p": [120_000],
    "* | select is_subnet_of('10.0.0.0/24', srcaddr) as i, count(*) as n group by i order by n desc": [
        True,
        False,
        None,
    ],
}

CQL: dict[str, list[int]] = {
    "log-status:OK AND srcregionid:ap-hongkong": [0, 1],
    "bytes>400": [0, 1],
    "bytes:>400": [0, 1],
    "bytes>=60": [0, 1, 2],
    "bytes:=60": [2],
    "action:(ACCEPT OR REJECT) AND protocol:6": [0, 1],
    'srcaddr:""': [],
    'bytes:""': [3],
    "srcaddr:10.0.0.*": [0, 1],
    "srcregionid:'ap-hongkong' not action:ACCEPT": [3],
    'srcregionid:"and"': [],
}

SLS: dict[str, list[Any]] = {
    """dstaddr:10.0.0.1 AND dstport:80 | SELECT srcaddr,
       SUM(CASE WHEN action='ACCEPT' THEN 1 ELSE 0 END) AS accept_count,
       SUM(CASE WHEN action='REJECT' THEN 1 ELSE 0 END) AS reject_count FROM log GROUP BY srcaddr
       ORDER BY accept_count+reject_count DESC, srcaddr""": ["10.0.0.1", "192.168.20.5"],
    """(srcaddr:10.0.0.1 AND dstaddr:10.0.0.*) OR (srcaddr:10.0.0.* AND dstaddr:10.0.0.1) | select
       date_format(from_unixtime(__time__ - __time__%60),'%H:%i:%S') as time,
       concat(srcaddr,'->',dstaddr) as src_to_dst, sum(bytes*8/60) as bandwidth
       group by time,srcaddr,dstaddr order by time asc limit 100""": [
        "00:01:00",
        "00:02:00",
    ],
    "direction: 'in' and srcaddr: 10.0.0.*": [0, 1],
    """action: ACCEPT and srcaddr: 192.168.* | WITH a AS (SELECT date_trunc('minute',__time__) AS minute,
       SUM(bytes*8/(case WHEN "end"-start=0 THEN 1 else "end"-start end)) AS bandwidth FROM log
       WHERE srcaddr LIKE '192.168.20.%' GROUP BY date_trunc('minute',__time__)),
       b AS (SELECT date_trunc('minute',__time__) AS minute, SUM(bytes*8/(case WHEN "end"-start=0 THEN 1 else
       "end"-start end)) AS bandwidth FROM log WHERE dstaddr LIKE '10.0.%' GROUP BY date_trunc('minute',__time__))
       SELECT COALESCE(a.bandwidth, 0) AS a_band, COALESCE(a.minute, b.minute) AS minute,
       a.bandwidth / NULLIF(b.bandwidth, 0) AS share FROM a FULL OUTER JOIN b ON a.minute = b.minute
       ORDER BY minute""": [400, 200],
    """* | select ip_to_city(srcaddr) as sourceAddr, ip_to_city(dstaddr) as dstAddr, COUNT(*) as pv
       group by sourceAddr,dstAddr order by pv limit 10""": [None, None, None],
    '"eni-id":eni-bp1a': [0, 1, 2],
    '"log-status":OK and dstport:80': [0, 1, 2, 3],
    "not bytes > 5000": [1, 2, 3],
    "bytes in [60 3000]": [1, 2, 3],
    "bytes in (60 3000)": [3],
    'not bytes:""': [0, 1, 2, 3],
    'srcaddr:#"10.0.0.1"': [0, 1],
    "* | SELECT date_trunc('minute',__time__) as t, sum(bytes) group by t order by t limit 1": ["2023-11-15 00:01:00"],
    "* | SELECT compare(bytes, 60) as c from (SELECT sum(bytes) as bytes from log)": [
        [4_500.0, 3_060.0, 4_500 / 3_060]
    ],
    "* | SELECT srcaddr, row_number() over (partition by direction order by bytes desc) as r from log order by r, bytes"
    " limit 2": ["192.168.20.5", "10.0.0.1"],
}


def first_values(topic: Topic, query: str, **options: Any) -> list[Any]:
    """What each computed row begins with (bandwidth, where it begins with a time); else the numbers of the records."""
    found = topic.search(query, **options)
    if " | " not in query.replace("\n", " "):
        return [int(record.id.split("-")[1]) for record in found]
    values = [record.get("bandwidth", next(iter(record.values()))) for record in found]
    if "src_to_dst" in query:
        values = [record["time"] for record in found]
    return [str(value) if hasattr(value, "isoformat") else value for value in values]


@pytest.mark.parametrize("query", CCN)
def test_the_samples_of_cls(ccn: Topic, query: str) -> None:
    assert sorted(first_values(ccn, query), key=repr) == sorted(CCN[query], key=repr)


@pytest.mark.parametrize("query", CQL)
def test_the_samples_of_cql(ccn: Topic, query: str) -> None:
    assert first_values(ccn, query, language="cql") == CQL[query]


@pytest.mark.parametrize("query", SLS)
def test_the_samples_of_sls(sls: Topic, query: str) -> None:
    options = {"start": MIDNIGHT + 180, "end": MIDNIGHT + 300} if "compare" in query else {}
    assert first_values(sls, query, **options) == SLS[query]
