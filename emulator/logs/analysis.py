"""Runs a query with SQL: condition and SQL in one statement, so that DuckDB filters and computes in one go."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from emulator.logs.compile import Where, age_sql, compile_ages, value_sql
from emulator.logs.condition import Condition
from emulator.logs.engine import ENGINE, EngineRefused
from emulator.logs.index import Age
from emulator.logs.query import QueryText
from emulator.logs.records import TIME, Records, computed_records
from emulator.logs.scan import Scan, quoted
from emulator.logs.sql import Sql

_NULLS = {"text": "CAST(NULL AS VARCHAR)", "long": "CAST(NULL AS BIGINT)", "double": "CAST(NULL AS DOUBLE)"}


def search_sql(
    scan: Scan, ages: Sequence[Age], condition: Condition, query: QueryText, bar: int, limit: int | None
) -> Records:
    """What the SQL behind ``bar`` computes of the rows for which the condition holds."""
    time_name, time_unit = ("__time__", 1) if query.profile.provider == "alibaba" else ("__TIMESTAMP__", 1000)
    fields = {name: field.kind for name, field in ages[-1].index.fields.items() if field.sql}
    where = compile_ages(condition, ages, scan, query)
    sql = Sql(query, bar, [*fields, time_name], None if limit is None else limit + 1)
    columns = {
        name: _value(name, kind, ages, where, scan) if name in scan.types else _NULLS[kind]
        for name, kind in fields.items()
        if sql.star or name.lower() in sql.words
    }
    for name in columns:
        if sum(name.lower() == other.lower() for other in columns) > 1:
            raise sql.refuse(name, f"{name} differs from another key by case only: SQL cannot tell them apart")
    columns[time_name] = f"{where.column(TIME)} * {time_unit}"
    selected = ", ".join(f"{value} AS {quoted(name)}" for name, value in columns.items())
    statement = sql.over(f"SELECT {selected} FROM {where.source} WHERE {where.sql}")
    try:
        found = ENGINE.table(scan, statement, where.parameters)
        found = pa.table({name: _plain(found[at]) for at, name in enumerate(found.column_names)})
        return computed_records(found.slice(0, limit), limit is None or found.num_rows <= limit)
    except EngineRefused as refused:
        raise sql.failed(str(refused)) from None
    except pa.ArrowInvalid as overflow:
        raise sql.failed(f"a number of the result does not fit a bigint ({overflow})") from None


def _value(name: str, kind: str, ages: Sequence[Age], where: Where, scan: Scan) -> str:
    """The value of a key; NULL in rows that were written when it was not yet indexed for SQL."""
    value = value_sql(where.column(name), scan.types[name], kind)
    having = [age for age in ages if name in age.index.fields and age.index.fields[name].sql]
    return value if len(having) == len(ages) else f"CASE WHEN {age_sql(having, where)} THEN {value} END"


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A computed column in the types of records: sums come as decimals of 38 digits, which are bigints in Presto."""
    if pa.types.is_decimal(column.type):
        return column.cast(pa.int64() if column.type.scale == 0 else pa.float64())
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    return column.cast(pa.float64()) if pa.types.is_floating(column.type) else column
