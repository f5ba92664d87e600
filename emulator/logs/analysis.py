"""A query with SQL: condition and SQL in one statement, so that DuckDB filters and computes in one go."""

from __future__ import annotations

import pyarrow as pa

from emulator.logs.compile import compile_condition, value_sql
from emulator.logs.condition import Condition
from emulator.logs.engine import ENGINE, ROWS, EngineRefused
from emulator.logs.plan import Question, RawPlan, parsed
from emulator.logs.records import TIME
from emulator.logs.sql import Sql

_NULLS = {"text": "CAST(NULL AS VARCHAR)", "long": "CAST(NULL AS BIGINT)", "double": "CAST(NULL AS DOUBLE)"}


class SqlPlan:
    """What SQL computes of the rows for which the condition holds.

    ``columns``     of the topic that DuckDB is to see, in the order of their ``c0``, ``c1``, …
    ``lookback_s``  how much older than asked for rows have to be brought, for a comparison
    """

    def __init__(self, question: Question, condition: Condition, bar: int) -> None:
        self._low, self._high = question.low, question.high
        self._where = where = compile_condition(condition, question.index, question.schema, question.text)
        time_name, time_unit = (
            ("__time__", 1) if question.text.profile.provider == "alibaba" else ("__TIMESTAMP__", 1000)
        )
        fields = {name: field.kind for name, field in question.index.fields.items() if field.sql}
        self._sql = sql = Sql(question.text, bar, [*fields, time_name], question.most, question.now_s)
        if sql.shifts and question.low is None:
            raise sql.refuse("compare", "compare needs a search with a start: it looks back from there")
        stored = set(question.schema.names)
        columns = {
            name: value_sql(where.column(name), question.schema.field(name).type, kind)
            if name in stored
            else _NULLS[kind]
            for name, kind in fields.items()
            if sql.star or name.lower() in sql.words
        }
        for name in columns:
            if sum(name.lower() == other.lower() for other in columns) > 1:
                raise sql.refuse(name, f"{name} differs from another key by case only: SQL cannot tell them apart")
        self._values = [f"{value} AS {_quoted(name)}" for name, value in columns.items()]
        self._time = where.column(TIME)
        self._named_time = f'* {time_unit} AS "{time_name}"'
        self.columns = where.columns
        self.lookback_s = max(sql.shifts, default=0)

    def answer(self, seen: pa.Table) -> pa.Table:
        """The computed rows."""
        try:
            found = ENGINE.table(seen, self._sql.over(self._log), self._where.parameters, self._sql.macros)
            return pa.table({name: _plain(found[at]) for at, name in enumerate(found.column_names)})
        except EngineRefused as refused:
            raise self._sql.failed(str(refused)) from None
        except pa.ArrowInvalid as overflow:
            raise self._sql.failed(f"a number of the result does not fit a bigint ({overflow})") from None

    def _log(self, shift: int) -> str:
        """SQL that selects the rows that were found, or those ``shift`` seconds older, made younger by that."""
        moment = f"({self._time} + {shift})" if shift else self._time
        held = [self._where.sql]
        if self.lookback_s:
            # Older rows were brought; the newest that are older by a shift lie before the end by as much.
            held.append(f"{moment} >= {self._low}")
            held += [f"{moment} < {self._high}"] if self._high is not None else []
        selected = ", ".join([*self._values, f"{moment} {self._named_time}"])
        return f'SELECT {selected} FROM "{ROWS}" WHERE {" AND ".join(held)}'


def understood(question: Question) -> RawPlan | SqlPlan:
    """The plan that answers a question; QueryError for what is not understood."""
    condition, bar = parsed(question.text, question.language)
    return RawPlan(question, condition) if bar is None else SqlPlan(question, condition, bar)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A computed column in the types of records: sums come as decimals of 38 digits, which are bigints in Presto."""
    return column.cast(_plain_type(column.type))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal(kind):
        return pa.int64() if kind.scale == 0 else pa.float64()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return pa.float64() if pa.types.is_floating(kind) else kind


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
