"""One topic: rows go in, and come out by search."""

from __future__ import annotations

import math
import operator
import re
import threading
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from emulator.errors import AlreadyExists, InvalidValue, LabClosed, NotFound, QueryError
from emulator.logs.compile import compile_condition
from emulator.logs.condition import All, Condition
from emulator.logs.engine import ENGINE, ROWS, EngineRefused
from emulator.logs.index import DEFAULT_DELIMITERS, FLOW_DELIMITERS, KINDS, Index, index_of
from emulator.logs.query import QueryText
from emulator.logs.records import Records, found_records
from emulator.logs.refusal import refuse
from emulator.logs.rows import stored_rows
from emulator.logs.store import StoredTopic
from emulator.logs.view import View, int64_array

if TYPE_CHECKING:
    from emulator.logs.service import LogService

LANGUAGES = ("lucene", "cql", "sls")

QUERY_CHARACTERS = 1 << 16
"""Longest query; the providers' APIs allow far less (Tencent 12 KB)."""


class Topic:
    """A topic (Tencent), a Logstore (Alibaba); made by ``LogService.create_topic``. Thread-safe."""

    def __init__(self, service: LogService, stored: StoredTopic) -> None:
        self.id = service.topic_id(stored)
        self.name = stored.name
        self.logset = stored.logset
        self.index = None if stored.index is None else Index.from_json(stored.index)
        self.report = stored.report
        self.number = stored.number
        self.removed = False
        self._service = service
        self._profile = service.profile
        self._lock = threading.RLock()
        self._view = View()
        self._read_until = 0

    def __repr__(self) -> str:
        return f"<Topic {self.logset}/{self.name}>"

    def enable_index(self, keys: Index | Mapping[str, str], report: bool = False) -> None:
        """Make ``keys`` searchable, rows that are already there included.

        ``keys`` maps each to ``text``, ``long`` or ``double``. With ``report``, the provider's flow-log report, text is
        cut so that addresses and ids stay whole; without it by the provider's default tokens.
        """
        with self._lock:
            self._check_there()
            if self.index is not None:
                message = f"{self.name} has an index already: {', '.join(self.index.fields)}"
                raise refuse(AlreadyExists, self._profile, "index.duplicate", message, object=self.id)
            index = self._index_of(keys, report)
            self._service.store.set_index(self.number, index.to_json(), report)
            self.index, self.report = index, report

    def write(self, rows: object, key: str | None = None) -> int:
        """Write ``rows``, dicts or an Arrow table, and return how many once they are durable and searchable.

        ``__time__`` is unix seconds (default: now). The same ``key`` twice writes once: then 0 is returned.
        """
        if not (key is None or isinstance(key, str)):
            raise refuse(InvalidValue, self._profile, "write.key", f"a key is text, not {key!r}", value=key)
        table = stored_rows(rows, self._service.now(), self._profile)
        with self._lock:
            self._check_there()
            self._check_types(table.schema)
            return table.num_rows if self._append(table, key) else 0

    def append(self, table: pa.Table, *, key: str) -> bool:
        """Write a window's records, once for each ``key``; False if they were there already.

        The table has ``__time__`` and may have hidden columns, whose names begin with ``_vpclab_``.
        """
        table = stored_rows(table, self._service.now(), self._profile, hidden=True)
        with self._lock:
            self._check_there()
            return self._append(table, key)

    def search(
        self,
        query: str = "*",
        start: float | None = None,
        end: float | None = None,
        limit: int | None = None,
        language: str | None = None,
    ) -> Records:
        """The records that ``query`` finds, oldest first.

        ``start`` (included) and ``end`` (excluded) are unix seconds; what is left out means everything. ``language``
        is ``lucene``, ``cql`` or ``sls``, by default the profile's. Behind a ``|`` follows SQL.

        :raises QueryError: the query was not understood, or cannot be answered, with line and column
        """
        low, high = self._seconds("start", start), self._seconds("end", end)
        if low is not None and high is not None and start >= end:  # type: ignore[operator]
            message = f"start {start} is not before end {end} (which is excluded)"
            raise refuse(InvalidValue, self._profile, "time.range", message, object=self.id, value=(start, end))
        most = self._limit(limit)
        text = self._text(query)
        with self._lock:
            self._check_there()
            index = self._index()
        condition, bar = self._condition(text, language or self._profile.language)
        with self._lock:
            self._check_there()
            table = self._refresh().rows(low, high)
            columns = self._view.columns
        if bar is not None:
            from emulator.logs.analysis import search_sql

            return search_sql(table, index, condition, text, bar, most)
        return found_records(_matching(table, index, condition, text, most), columns)

    def remove(self) -> None:
        """Delete the topic with all its rows; what still holds it is told so when it asks."""
        with self._lock:
            self._check_there()
            self._service.store.remove_topic(self.number)
            self.removed = True
            self._view = View()

    def _condition(self, text: QueryText, language: str) -> tuple[Condition, int | None]:
        """The condition of a query, and where the bar before its SQL is."""
        match language:
            case "lucene":
                bar = text.bar('"')
            case "sls":
                bar = text.bar("\"'")
            case "cql":
                raise text.unsupported(0, "the language CQL")
            case _:
                message = f"{language!r} is no search language: {', '.join(LANGUAGES)}"
                raise refuse(InvalidValue, self._profile, "query", message, value=language)
        condition = text.text[:bar]
        if condition.strip() in ("", "*"):
            return All(), bar
        if language == "sls":
            from emulator.logs.sls import parse_sls

            return parse_sls(text, condition), bar
        from emulator.logs.lucene import parse_lucene

        return parse_lucene(text, condition), bar

    def _refresh(self) -> View:
        """The view with every segment that was acknowledged by now."""
        for segment in self._service.store.segments(self.number, self._read_until):
            rows = self._service.store.read(segment)
            if rows is not None:
                self._view.add(segment.number, rows)
            self._read_until = segment.number
        return self._view

    def _append(self, table: pa.Table, key: str | None) -> bool:
        return table.num_rows > 0 and self._service.store.append(self.number, table, key)

    def _check_there(self) -> None:
        if self._service.closed:
            raise LabClosed(f"{self.name}: the log service is closed")
        if self.removed:
            raise refuse(NotFound, self._profile, "topic.missing", f"{self.name} was deleted", object=self.id)

    def _check_types(self, schema: pa.Schema) -> None:
        """A key keeps its type over writes: text stays text, numbers stay numbers."""
        known = self._refresh().rows().schema
        for column in schema:
            at = known.get_field_index(column.name)
            if at >= 0 and (known.field(at).type == pa.string()) != (column.type == pa.string()):
                message = f"{column.name} is {column.type}, but {self.name} has it as {known.field(at).type}"
                raise refuse(InvalidValue, self._profile, "write.value", message, object=self.id, value=column.name)

    def _index(self) -> Index:
        if self.index is None:
            message = f"{self.name} has no index, so nothing in it can be searched: enable_index(...)"
            raise refuse(NotFound, self._profile, "index.missing", message, object=self.id)
        return self.index

    def _index_of(self, keys: Index | Mapping[str, str], report: bool) -> Index:
        kinds = {key: field.kind for key, field in keys.fields.items()} if isinstance(keys, Index) else keys
        good = isinstance(kinds, Mapping) and all(
            isinstance(key, str) and key and not key.startswith("_") and kind in KINDS for key, kind in kinds.items()
        )
        if not good or not kinds:
            message = f"an index maps keys to {', '.join(KINDS)}; keys do not start with _; this is {kinds!r}"
            raise refuse(InvalidValue, self._profile, "write.key", message, object=self.id, value=keys)
        if isinstance(keys, Index):
            return keys
        return index_of(keys, FLOW_DELIMITERS if report else DEFAULT_DELIMITERS[self._profile.provider])

    def _text(self, query: object) -> QueryText:
        if not isinstance(query, str):
            code = self._profile.code("query")
            raise QueryError(f"a query is text, not {type(query).__name__}", code=code, value=query)
        text = QueryText(query, self._profile)
        if len(query) > QUERY_CHARACTERS:
            raise text.refuse(QUERY_CHARACTERS, f"a query is at most {QUERY_CHARACTERS} characters long")
        wrong = re.search("[\0\ud800-\udfff]", query)
        if wrong:
            raise text.refuse(wrong.start(), "a character that no log holds")
        return text

    def _seconds(self, name: str, value: float | None) -> int | None:
        """A bound of a time range in whole seconds: rows have whole ones, and are before t if before ceil(t)."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            message = f"{name} is a time in unix seconds, not {value!r}"
            raise refuse(InvalidValue, self._profile, "time.range", message, object=self.id, value=value)
        return max(-(1 << 62), min(1 << 62, math.ceil(value)))

    def _limit(self, value: int | None) -> int | None:
        if value is None:
            return None
        try:
            most = 0 if isinstance(value, bool) else operator.index(value)
        except TypeError:
            most = 0
        if most < 1:
            message = f"limit is how many records to give at most, 1 or more, not {value!r}"
            raise refuse(InvalidValue, self._profile, "limit.range", message, object=self.id, value=value)
        return min(most, 1 << 62)


def _matching(table: pa.Table, index: Index, condition: Condition, text: QueryText, most: int | None) -> pa.Table:
    """The first ``most`` rows of ``table`` for which the condition holds, in their order."""
    where = compile_condition(condition, index, table.schema, text)
    if isinstance(condition, All) or table.num_rows == 0:
        return table.slice(0, most)
    # DuckDB says which rows, Arrow gathers them: only the columns of the condition pass through DuckDB.
    names = [f"c{at}" for at in range(len(where.columns))]
    seen = table.select(where.columns).rename_columns(names)
    seen = seen.append_column("at", [int64_array(np.arange(table.num_rows, dtype=np.int64))])
    try:
        found = ENGINE.integers(seen, f'SELECT "at" FROM "{ROWS}" WHERE {where.sql}', where.parameters)
    except EngineRefused as refused:
        raise text.refuse(0, f"the search could not be run: {refused}") from None
    return table.take(int64_array(np.sort(found)[:most]))
