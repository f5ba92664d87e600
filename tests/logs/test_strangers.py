"""Queries of strangers: each is answered or refused within its limits, and the service goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emulator.errors import InvalidValue, LabClosed, QueryError
from emulator.logs import LogService, QueryLimits, Topic
from emulator.logs.engine import Engine, EngineRefused
from emulator.logs.scan import Scan, ScannedFile
from emulator.providers import profile as profile_named
from tests.logs.conftest import NOW, flows_of

LIMITS = QueryLimits(seconds=20, memory=512 << 20, rows=1_000)
SHORT = QueryLimits(seconds=1, memory=512 << 20, rows=1_000)
SMALL = QueryLimits(seconds=20, memory=256 << 20, rows=1_000, answer_bytes=1 << 20)

REFUSED = {
    "a file": "select * from read_csv('/etc/passwd')",
    "files by name": "select * from read_parquet('/**/*.parquet')",
    "a file as a table": "select * from '/etc/passwd'",
    "a file as a quoted table": 'select * from "/etc/passwd"',
    "the text of a file": "select read_text('/etc/passwd')",
    "a blob": "select * from read_blob('/etc/shadow')",
    "a list of files": "select * from glob('/*')",
    "a URL": "select * from read_csv('http://127.0.0.1/x')",
    "a URL as a table": "select * from 'https://example.com/x.parquet'",
    "an object store": "select * from read_parquet('s3://bucket/x')",
    "the rows behind the view": 'select * from "vpclab rows"',
    "another topic": "select * from other",
    "another database": "select * from other.main.log",
    "the catalog": "select * from information_schema.tables",
    "the catalog of PostgreSQL": "select * from pg_catalog.pg_class",
    "the catalog of SQLite": "select * from sqlite_master",
    "the settings": "select * from duckdb_settings()",
    "a setting": "select current_setting('threads')",
    "the databases": "select * from pragma_database_list()",
    "the environment": "select getenv('HOME')",
    "a variable": "select getvariable('x')",
    "the version": "select version()",
    "the user": "select current_user",
    "set": "set threads = 64",
    "set the lock": "set lock_configuration = false",
    "pragma": "pragma enable_external_access = true",
    "reset": "reset threads",
    "attach": "attach '/tmp/x.db' as x",
    "copy": "copy log to '/tmp/x'",
    "export": "export database '/tmp/x'",
    "install": "install httpfs",
    "load": "load httpfs",
    "load a library": "load '/tmp/x.so'",
    "a macro": "create macro f() as 1",
    "a table": "create table x as select 1",
    "a secret": "create secret s (type s3)",
    "insert": "insert into log select 1",
    "delete": "delete from log",
    "call": "call pragma_version()",
    "prepare": "prepare q as select 1",
    "two statements": "select 1; drop table log",
    "a statement in a comment's shadow": "select 1 /* ; */ ; attach 'x'",
    "SQL in SQL": "select * from query('select 1')",
    "SQL of a table's name": "select * from query_table('log')",
    "recursion": "with recursive a as (select 1 as x union all select x + 1 from a) select * from a",
    "a column of all columns": "select columns('.*')",
    "a macro of ours": "select vpclab_ip4('10.0.0.1')",
    "a parameter": "select $1",
    "a function of Python": "select python_map(1)",
    "a sequence": "select nextval('x')",
    "a lambda that reads": "select transform(array[1], x -> read_text('/etc/passwd'))",
    "within an aggregate": "select array_agg(bytes order by getenv('HOME'))",
    "within a window": "select sum(bytes) over (order by getenv('HOME'))",
    "within a common table": "with a as (select * from read_csv('/etc/passwd')) select * from a",
    "within UNION": "select 1 union all select * from read_csv('/etc/passwd')",
    "within EXISTS": "select 1 where exists (select 1 from glob('/*'))",
    "deep brackets": "select " + "(" * 20_000 + "1" + ")" * 20_000,
    "deep calls": "select " + "abs(" * 5_000 + "1" + ")" * 5_000,
    "deep arrays": "select " + "array[" * 5_000 + "1" + "]" * 5_000,
    "deep CASE": "select " + "case when 1=1 then " * 2_000 + "1" + " end" * 2_000,
    "deep selects": "select * from (" * 500 + "select 1" + ")" * 500,
    "deep NOT": "select " + "not " * 15_000 + "true",
    "a join that no provider has": "select * from log a semi join log b on a.bytes = b.bytes",
    "a join by places": "select * from log a positional join log b",
    "a turned table": "select * from (pivot log on action using sum(bytes))",
    "a table turned back": "select * from log unpivot (x for n in (bytes))",
    "the secrets": "select * from duckdb_secrets()",
    "the functions": "select * from duckdb_functions()",
    "a database's file": "select * from read_duckdb('/tmp/x.db')",
    "what a file might be": "select * from sniff_csv('/etc/passwd')",
    "rows out of nothing": "select * from repeat_row(1, num_rows => 100000000000)",
    "insert within a common table": "with a as (insert into log values (1)) select 1",
    "copy between comments": "/* */ CoPy /* */ log to '/tmp/x'",
    "a table for each row": "select * from log, lateral (select bytes)",
    "a collation": "select action collate nfc from log",
    "a structure": "select {'a': 1}",
    "a row as a value": "select l from log l",
    "a cast to an engine's type": "select cast('log' as regclass)",
    "all columns by a lambda": "select columns(x -> x like 'b%') from log",
    "a broken expression": "select regexp_like('a', '(')",
    "an expression that repeats repetitions": "select regexp_like('a', '((((a{1000}){1000}){1000}){1000}){1000}')",
}

COSTLY = {
    "cross joins": ("select count(*) from " + ", ".join(f"log l{at}" for at in range(20)), SHORT, "longer than 1 s"),
    "a long sequence": ("select count(*) from unnest(sequence(1, 3000000000)) as t(x)", SHORT, "longer|memory"),
    "a wide text": (f"select lpad('a', 2000000000, '{'b' * 1_000}')", SMALL, "memory"),
    "a wide array": (
        "select array_agg(x) from unnest(sequence(1, 500000000)) as t(x)",
        SMALL,
        "memory",
    ),
    "tables of tables": (
        "with a0 as (select 1 as x from log), "
        + ", ".join(f"a{at} as (select 1 as x from a{at - 1} l cross join a{at - 1} r)" for at in range(1, 6))
        + " select count(*) from a5 l, a5 r",
        SHORT,
        "longer|memory",
    ),
    "a text that replacing makes wide": (
        "select replace(lpad('a', 1000000, 'a'), 'a', lpad('b', 1000000, 'b'))",
        SHORT,
        "memory|longer",
    ),
    "a large answer": ("select lpad('a', 5000000, 'b') as x", SMALL, "larger than 1 MB"),
}


@pytest.fixture(scope="module")
def topic() -> Iterator[Topic]:
    with LogService(profile=profile_named("tencent"), now=lambda: float(NOW)) as service:
        yield flows_of(service)


def ask(topic: Topic, query: str, limits: QueryLimits = LIMITS) -> list[dict[str, object]]:
    return list(topic.search(query, limits=limits))


def goes_on(topic: Topic) -> None:
    assert ask(topic, "* | select count(*) as n") == [{"n": 5}]


@pytest.mark.parametrize("sql", REFUSED.values(), ids=REFUSED)
def test_what_is_not_allowed_is_refused(topic: Topic, sql: str) -> None:
    with pytest.raises(QueryError) as refused:
        ask(topic, f"* | {sql}")
    assert refused.value.code.startswith("FailedOperation.")
    assert re.match(r"line \d+:\d+: ", str(refused.value))
    goes_on(topic)


@pytest.mark.parametrize(("sql", "limits", "message"), COSTLY.values(), ids=COSTLY)
def test_what_costs_too_much_is_ended(topic: Topic, sql: str, limits: QueryLimits, message: str) -> None:
    begun = time.monotonic()
    with pytest.raises(QueryError, match=message) as refused:
        ask(topic, f"* | {sql}", limits)
    assert time.monotonic() - begun < limits.seconds + 20
    assert refused.value.code in (
        "FailedOperation.SearchTimeout",
        "LimitExceeded.SearchResources",
        "LimitExceeded.SearchResultTooLarge",
    )
    goes_on(topic)


CONDITIONS = {
    "ten megabytes": "a" * (10 << 20),
    "deep brackets": "(" * 30_000 + "a" + ")" * 30_000,
    "deep NOT": "NOT " * 15_000 + "a",
    "an expression that repeats repetitions": "srcaddr:/((a{1000}){1000}){1000}/",
    "NUL": "a\0b",
}


@pytest.mark.parametrize("language", ["lucene", "cql", "sls"])
@pytest.mark.parametrize("query", CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_are_bounded_too(topic: Topic, query: str, language: str) -> None:
    with pytest.raises(QueryError):
        topic.search(query, language=language, limits=LIMITS)
    goes_on(topic)


def test_expressions_take_linear_time(topic: Topic) -> None:
    """What takes a backtracking engine for ever."""
    assert ask(topic, f"* | select regexp_like('{'a' * 2_000}', '(a+)+$|(a|aa)+b') as x limit 1") == [{"x": True}]
    assert ask(topic, "srcaddr:/(1*)*(0*)*x/") == []


@pytest.mark.parametrize(
    "query",
    [
        "*",
        "action:REJECT",
        "* | select srcaddr, sum(bytes) as b group by srcaddr order by b desc",
        "*|select histogram(__TIMESTAMP__,interval 5 minute) t, array_agg(bytes order by bytes) group by t order by t",
        "* | select ip_prefix(srcaddr, 24) as p, count(*) as n group by p order by n",
    ],
)
def test_the_worker_answers_as_the_process_itself(topic: Topic, query: str) -> None:
    here, there = topic.search(query), topic.search(query, limits=LIMITS)
    assert there == here
    assert [(record.id, record.time, record.meta) for record in there] == [
        (record.id, record.time, record.meta) for record in here
    ]
    assert there.arrow().equals(here.arrow())
    assert there.complete


def test_a_comparison_gets_the_older_rows(topic: Topic) -> None:
    query = "* | select compare(n, 300) as c from (select count(*) as n from log)"
    assert topic.search(query, start=NOW + 301, end=NOW + 601, limits=LIMITS) == [{"c": [2.0, 3.0, 2 / 3]}]


def test_rows_are_bounded_and_the_answer_says_so(topic: Topic) -> None:
    few = QueryLimits(rows=2)
    for query in ("*", "version:2", "* | select bytes"):
        found = topic.search(query, limits=few)
        assert (len(found), found.complete) == (2, False)
        assert len(topic.search(query, limit=1, limits=few)) == 1
    assert topic.search("action:REJECT", limits=few).complete
    assert [record.id for record in topic.search("*", limit=2, offset=1, limits=few)] == ["1-1"]


@pytest.mark.parametrize("wrong", [5, QueryLimits(seconds=0), QueryLimits(rows=-1), QueryLimits(memory=1.5)])  # type: ignore[arg-type]
def test_limits_that_are_none_are_refused(topic: Topic, wrong: object) -> None:
    with pytest.raises(InvalidValue, match="limits are QueryLimits"):
        topic.search("*", limits=wrong)  # type: ignore[arg-type]


def test_files_are_read_by_the_worker_itself(tmp_path: Path) -> None:
    with LogService(profile=profile_named("tencent"), now=lambda: float(NOW), folder=tmp_path / "data") as service:
        topics = [service.create_topic(name, logset="demo", index={"n": "long"}) for name in ("mine", "other")]
        for at, topic in enumerate(topics):
            topic.write([{"n": at}])
        assert ask(topics[0], "* | select n") == [{"n": 0}]
        assert ask(topics[1], "*") == [{"n": 1}]
        other = next((tmp_path / "data").rglob("*.parquet"))
        with pytest.raises(QueryError):
            ask(topics[0], f"* | select * from '{other}'")


def test_an_exact_engine_opens_the_files_of_its_query_and_no_others(tmp_path: Path) -> None:
    """The second wall: what the allow-list let through would meet this."""
    for name in ("mine", "other"):
        pq.write_table(pa.table({"__time__": [1], "x": [name]}), tmp_path / f"{name}.parquet")
    mine = ScannedFile(tmp_path / "mine.parquet", 1, 1, 1, 0, 0, (1,), {})
    scan = Scan({"__time__": pa.int64(), "x": pa.string()}, {1: ("__time__", "x")}, None, None, files=(mine,))
    engine = Engine(exact=[mine.path])
    try:
        assert engine.table(scan, 'SELECT x FROM "vpclab rows"', [])["x"].to_pylist() == ["mine"]
        for hostile in (
            f"SELECT * FROM '{tmp_path}/other.parquet'",
            f"SELECT * FROM read_parquet('{tmp_path}/mine.parquet/../other.parquet')",
            f"SELECT * FROM glob('{tmp_path}/*')",
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_text('/proc/self/environ')",
            "SELECT * FROM read_csv('http://127.0.0.1/x')",
            f"COPY (SELECT 1) TO '{tmp_path}/mine.parquet'",
            f"ATTACH '{tmp_path}/x.db'",
            "SET enable_external_access = true",
            "SET lock_configuration = false",
            "SET allowed_paths = ['/etc/passwd']",
            "INSTALL httpfs",
            "LOAD httpfs",
            f"EXPORT DATABASE '{tmp_path}/x'",
        ):
            with pytest.raises(EngineRefused):
                engine.table(scan, hostile, [])
    finally:
        engine.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.parquet", "other.parquet"]


def test_a_worker_holds_nothing_of_its_caller(topic: Topic) -> None:
    goes_on(topic)
    (pid, *_) = topic.workers.pids()
    links = {number.name: os.readlink(number) for number in Path(f"/proc/{pid}/fd").iterdir()}
    assert [links.pop(stream) for stream in ("0", "1", "2")] == ["/dev/null"] * 3
    assert [link.split(":")[0] for link in links.values()] == ["socket"]
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert {name.split(b"=")[0] for name in environment if name} <= {b"ARROW_DEFAULT_MEMORY_POOL", b"LD_LIBRARY_PATH"}
    status = Path(f"/proc/{pid}/status").read_text()
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert re.search(rf"{capabilities}:\t0+\n", status) or (capabilities == "CapBnd" and os.geteuid() != 0)
    assert "NoNewPrivs:\t1" in status
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max file size +0 +0", limits)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[1][0] == "Z"
    except FileNotFoundError:
        return True


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within 20 s"
        time.sleep(0.01)


def test_a_worker_that_dies_is_replaced(topic: Topic) -> None:
    goes_on(topic)
    for pid in topic.workers.pids():
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    goes_on(topic)


def test_closing_the_service_ends_its_workers() -> None:
    with LogService(profile=profile_named("alibaba"), now=lambda: 0.0) as service:
        topic = service.create_topic("app", index={"n": "long"})
        topic.write([{"n": 1}])
        assert ask(topic, "n > 0") == [{"n": 1}]
        workers = topic.workers
        pids = workers.pids()
        assert len(pids) == 1
    assert all(map(gone, pids))
    with pytest.raises(LabClosed):
        ask(topic, "*")


PARENT = """
import sys, threading
from emulator.logs import LogService, QueryLimits
from emulator.providers import profile
service = LogService(profile=profile("tencent"), now=lambda: 0.0)
topic = service.create_topic("a", index={"n": "long"})
topic.write([{"n": at} for at in range(1000)])
topic.search("*", limits=QueryLimits())
print(topic.workers.pids()[0], flush=True)
endless = "* | select count(*) from " + ", ".join(f"log l{at}" for at in range(20))
topic.search(endless, limits=QueryLimits(seconds=300))
"""


def test_a_worker_ends_with_its_caller_in_the_middle_of_a_query() -> None:
    caller = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    try:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())

        def busy() -> bool:
            """It computes: its ticks grow."""
            return int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[1].split()[11]) > ticks + 20

        ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[1].split()[11])
        until(busy, "the query to run")
        caller.kill()
        caller.wait()
        until(lambda: gone(pid), "the worker to end")
    finally:
        caller.kill()
        caller.communicate()
