"""What a topic is asked, checked, and how it is answered."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING

import pyarrow as pa

from emulator.errors import InvalidValue, QueryError
from emulator.logs.engine import ENGINE
from emulator.logs.index import holding
from emulator.logs.limits import QueryLimits
from emulator.logs.plan import Question, bar_of, understood
from emulator.logs.query import QueryText
from emulator.logs.records import Records, computed_records, found_records
from emulator.logs.refusal import refuse

if TYPE_CHECKING:
    from emulator.logs.scan import Scan
    from emulator.logs.topic import Topic

QUERY_CHARACTERS = 1 << 16
"""Longest query; the providers' APIs allow far less (Tencent 12 KB)."""

ENGINES = ("duckdb", "spark")

_MOST = 1 << 62


@dataclass(frozen=True)
class Asked:
    """One search. Times in whole unix seconds, ``low`` included, ``high`` not; None means no bound."""

    text: QueryText
    language: str
    low: int | None = None
    high: int | None = None
    limit: int | None = None
    offset: int = 0
    newest_first: bool = False
    engine: str = "duckdb"


def asked(
    topic: Topic,
    query: object,
    start: float | None,
    end: float | None,
    limit: int | None = None,
    language: str | None = None,
    offset: int = 0,
    newest_first: bool = False,
    engine: str = "duckdb",
) -> Asked:
    """A search of ``topic`` as its user asks for it; refused where a value makes no sense."""
    low, high = seconds(topic, "start", start), seconds(topic, "end", end)
    if low is not None and high is not None and start >= end:  # type: ignore[operator]
        message = f"start {start} is not before end {end} (which is excluded)"
        raise refuse(InvalidValue, topic.profile, "time.range", message, object=topic.id, value=(start, end))
    most = None if limit is None else count(topic, "limit", limit, 1)
    first = count(topic, "offset", offset, 0)
    if engine not in ENGINES:
        message = f"engine is one of {', '.join(ENGINES)}, not {engine!r}"
        raise refuse(InvalidValue, topic.profile, "query", message, object=topic.id, value=engine)
    return Asked(_text(topic, query), language or topic.profile.language, low, high, most, first, newest_first, engine)


def checked_limits(topic: Topic, limits: object) -> QueryLimits | None:
    """What a stranger's query may cost; refused where it is something else, or nothing."""
    if limits is None:
        return None
    if isinstance(limits, QueryLimits):
        values = (limits.seconds, limits.memory, limits.rows, limits.answer_bytes)
        good = all(isinstance(value, Real) and not isinstance(value, bool) and value > 0 for value in values)
        if good and math.isfinite(limits.seconds) and all(isinstance(value, int) for value in values[1:]):
            return limits
    message = f"limits are QueryLimits(seconds=, memory=, rows=, answer_bytes=), each above 0, not {limits!r}"
    raise refuse(InvalidValue, topic.profile, "limit.range", message, object=topic.id, value=limits)


def search(topic: Topic, wanted: Asked, limits: QueryLimits | None = None) -> Records:
    """The answer to ``wanted``; with ``limits`` from a worker, as for a query of a stranger."""
    computed = bar_of(wanted.text, wanted.language) is not None
    if computed and (wanted.offset or wanted.newest_first):
        message = "SQL orders and pages by itself: order by, limit"
        raise refuse(InvalidValue, topic.profile, "limit.range", message, object=topic.id)
    scan = topic.scan(wanted.low, wanted.high)
    last = None if wanted.limit is None else wanted.offset + wanted.limit
    if limits is not None:
        last = min(last or limits.rows, limits.rows)
    # One more than wanted, to see whether the limit cuts.
    most = None if last is None else last + 1
    question = question_of(topic, wanted, scan, most)
    rows, lookback_s = answered(topic, question, scan, limits)
    if rows is None:
        older = topic.scan((wanted.low or 0) - lookback_s, wanted.high)
        question = replace(question_of(topic, wanted, older, most), lookback_s=lookback_s)
        rows, _ = answered(topic, question, older, limits)
    if rows is None:
        raise wanted.text.ended("query.memory", "the worker asks for older rows again and again")
    complete = last is None or rows.num_rows <= last
    rows = rows.slice(wanted.offset, None if last is None else max(0, last - wanted.offset))
    return computed_records(rows, complete) if computed else found_records(rows, scan.shapes, complete)


def answered(topic: Topic, question: Question, scan: Scan, limits: QueryLimits | None) -> tuple[pa.Table | None, int]:
    """The rows of an answer; None, and how much older rows it needs, where a comparison looks back."""
    if question.dialect == "spark":
        _check_elsewhere(topic, scan, limits)
    if limits is not None:
        return topic.workers.ask(question, scan, limits)
    plan = understood(question)
    if plan.lookback_s > question.lookback_s:
        return None, plan.lookback_s
    return plan.answer(scan, ENGINE if question.dialect == "duckdb" else topic.spark_engine()), 0


def _check_elsewhere(topic: Topic, scan: Scan, limits: QueryLimits | None) -> None:
    """Refuse what a cluster cannot be asked."""
    message = ""
    if limits is not None:
        message = "limits bound a process of this machine; a cluster has bounds of its own"
    elif topic.in_memory and scan.table is not None and scan.table.num_rows:
        message = "a cluster reads the segments of a data folder, and this lab keeps its rows in memory: Lab(data=...)"
    if message:
        raise refuse(InvalidValue, topic.profile, "query", message, object=topic.id)


def question_of(topic: Topic, wanted: Asked, scan: Scan, most: int | None) -> Question:
    return Question(
        text=wanted.text,
        language=wanted.language,
        ages=holding(topic.searchable(), scan.lowest, scan.highest),
        schema=scan.schema,
        now_s=topic.now(),
        characters=scan.characters,
        low=wanted.low,
        high=wanted.high,
        most=most,
        newest_first=wanted.newest_first,
        geography=topic.geography,
        dialect=wanted.engine,
    )


def _text(topic: Topic, query: object) -> QueryText:
    if not isinstance(query, str):
        code = topic.profile.code("query")
        raise QueryError(f"a query is text, not {type(query).__name__}", code=code, object=topic.id, value=query)
    text = QueryText(query, topic.profile, topic.id)
    if len(query) > QUERY_CHARACTERS:
        raise text.refuse(QUERY_CHARACTERS, f"a query is at most {QUERY_CHARACTERS} characters long")
    wrong = re.search("[\0\ud800-\udfff]", query)
    if wrong:
        raise text.refuse(wrong.start(), "a character that no log holds")
    return text


def seconds(topic: Topic, name: str, value: float | None) -> int | None:
    """A bound of a time range in whole seconds: rows have whole ones, and are before t if before ceil(t)."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        message = f"{name} is a time in unix seconds, not {value!r}"
        raise refuse(InvalidValue, topic.profile, "time.range", message, object=topic.id, value=value)
    return max(-_MOST, min(_MOST, math.ceil(value)))


def count(topic: Topic, name: str, value: int, least: int) -> int:
    try:
        count = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = -1
    if count < least:
        message = f"{name} is a number of records, {least} or more, not {value!r}"
        raise refuse(InvalidValue, topic.profile, "limit.range", message, object=topic.id, value=value)
    return min(count, _MOST)
