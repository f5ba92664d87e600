"""A query with SQL: condition and SQL in one statement, so that DuckDB filters and computes in one go."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pyarrow as pa

from emulator.logs.compile import age_sql, built_in_sql, compile_ages, source_sql, value_sql
from emulator.logs.condition import Condition
from emulator.logs.elsewhere.engines import target_of
from emulator.logs.engine import ENGINE, Engine, EngineRefused
from emulator.logs.index import BUILT_IN, DECIDED_BY, RULE_KEY
from emulator.logs.plan import Question
from emulator.logs.presto.kinds import Kind
from emulator.logs.presto.rewrite import SECONDS_OF_LOG
from emulator.logs.records import TIME
from emulator.logs.scan import Scan, quoted
from emulator.logs.sql import Sql

_KINDS: dict[str, Kind] = {"text": "VARCHAR", "json": "VARCHAR", "long": "BIGINT", "double": "DOUBLE"}

_NULLS = {kind: f"CAST(NULL AS {name})" for kind, name in _KINDS.items()}


class SqlPlan:
    """What SQL computes of the rows for which the condition holds.

    ``lookback_s``  how much older than asked for rows have to be brought, for a comparison
    """

    computed = True

    def __init__(self, question: Question, condition: Condition, bar: int) -> None:
        self._question = question
        self._geography = question.geography
        path = str(question.geography or "").encode()
        self._place_of = f"place_of_{hashlib.sha256(path).hexdigest()[:12]}" if path else ""
        self._low, self._high, self._text = question.low, question.high, question.text
        self._ages, self._schema = question.ages, question.schema
        self._where = compile_ages(condition, question.ages, question.schema, question.text, question.characters)
        alibaba = question.text.profile.provider == "alibaba"
        time_name, time_unit = ("__time__", 1) if alibaba else ("__TIMESTAMP__", 1000)
        fields = {name: field.kind for name, field in question.ages[-1].index.fields.items() if field.sql}
        rule_key = RULE_KEY[question.text.profile.provider]
        # What those of Tencent hold is not told.
        built_in = {
            name: text
            for name, text in BUILT_IN[question.text.profile.provider].items()
            if text and name not in question.ages[-1].index.fields
        }
        kinds = {**fields, **dict.fromkeys((*built_in, rule_key), "text")}
        without = question.ages[-1].index.fields.keys() - fields.keys()
        self._sql = sql = Sql(
            *(question.text, bar, [*kinds, time_name], question.most, question.now_s, self._place_of, without),
            target=None if question.dialect == "duckdb" else target_of(question.dialect),
            kinds={time_name.lower(): "BIGINT", **{name.lower(): _KINDS[kind] for name, kind in kinds.items()}},
        )
        if sql.shifts and (question.low is None or question.high is None):
            raise sql.refuse("compare", "compare needs a search with a start and an end: it looks at as much earlier")
        columns = {
            name: self._value(name, kind) for name, kind in fields.items() if sql.star or name.lower() in sql.words
        }
        types = {column.name: column.type for column in question.schema}
        if rule_key.lower() in sql.words:
            columns[rule_key] = self._where.column(DECIDED_BY) if DECIDED_BY in types else _NULLS["text"]
        for name, text in built_in.items():
            if name in sql.words:
                columns[name] = built_in_sql(text, types, self._where) or _NULLS["text"]
        for name in columns:
            if sum(name.lower() == other.lower() for other in columns) > 1:
                raise sql.refuse(name, f"{name} differs from another key by case only: SQL cannot tell them apart")
        self._values = [f"{value} AS {quoted(name)}" for name, value in columns.items()]
        self._time = self._where.column(TIME)
        self._named_time = f'* {time_unit} AS "{time_name}"'
        self.lookback_s = max(sql.shifts, default=0)

    def answer(self, scan: Scan, engine: Engine = ENGINE) -> pa.Table:
        """The computed rows."""
        try:
            found = engine.table(scan, *self.statement(), self._sql.macros, self._python())
            for name in found.column_names:
                if found.column_names.count(name) > 1:
                    raise self._sql.refuse(name, f"two columns are called {name}: name one of them otherwise, by AS")
            return pa.table({name: _plain(found[at]) for at, name in enumerate(found.column_names)})
        except EngineRefused as refused:
            if refused.reason != "query":
                raise self._text.ended(refused.reason, f"the SQL could not be run: {refused}") from None
            raise self._sql.failed(str(refused)) from None
        except pa.ArrowInvalid as overflow:
            raise self._sql.failed(f"a number of the result does not fit a bigint ({overflow})") from None

    def statement(self) -> tuple[str, list[str]]:
        """What the engine is asked, and the parameters."""
        parameters: list[str] = []

        def log(shift: int) -> str:
            nonlocal parameters
            text, parameters = self._question.written(self._log(shift), self._where)
            return text

        return self._sql.over(log), parameters

    def _python(self) -> dict[str, Callable[..., pa.Array]]:
        """What DuckDB asks Python for: the places of a database."""
        if self._geography is None or not any(self._place_of in macro for macro in self._sql.macros.values()):
            return {}
        from emulator.logs.places import places

        return {self._place_of: places(self._geography).column}

    def _value(self, name: str, kind: str) -> str:
        """The value of a key; NULL in rows that were written when it was not yet indexed for SQL."""
        types = {column.name: column.type for column in self._schema}
        source = source_sql(name, self._ages[-1].index.fields, types, self._where)
        if source is None:
            return _NULLS[kind]
        value = value_sql(*source, kind)
        having = [age for age in self._ages if name in age.index.fields and age.index.fields[name].sql]
        return value if len(having) == len(self._ages) else f"CASE WHEN {age_sql(having, self._where)} THEN {value} END"

    def _log(self, shift: int) -> str:
        """SQL that selects the rows that were found, or those ``shift`` seconds older, made younger by that."""
        moment = f"({self._time} + {shift})" if shift else self._time
        held = [self._where.sql]
        if self.lookback_s:
            # Older rows were brought; the newest that are older by a shift lie before the end by as much.
            held += [f"{moment} >= {self._low}", f"{moment} < {self._high}"]
        selected = ", ".join([*self._values, f"{moment} {self._named_time}"])
        if self._sql.counts_seconds:
            selected += f", {moment} AS {quoted(SECONDS_OF_LOG)}"
        return f"SELECT {selected} FROM {self._where.source} WHERE {' AND '.join(held)}"


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A computed column in the types of records: sums come as decimals of 38 digits, which are bigints in Presto."""
    if pa.types.is_interval(column.type):
        return pa.chunked_array([[_interval_text(one) for one in column.to_pylist()]], pa.string())
    return column.cast(_plain_type(column.type))


def _interval_text(value: pa.MonthDayNano | None) -> str | None:
    """As Presto writes it: years and months, or days and a time of day."""
    if value is None:
        return None
    months, days, nanoseconds = value
    if months:
        return f"{'-' if months < 0 else ''}{abs(months) // 12}-{abs(months) % 12}"
    milliseconds = days * 86_400_000 + int(nanoseconds / 1e6)
    seconds, rest = divmod(abs(milliseconds), 1_000)
    sign = "-" if milliseconds < 0 else ""
    return f"{sign}{seconds // 86_400} {seconds // 3_600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal(kind):
        return pa.int64() if kind.scale == 0 else pa.float64()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return pa.float64() if pa.types.is_floating(kind) else kind
