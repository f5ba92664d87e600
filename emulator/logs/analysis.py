"""Runs a query with SQL: condition and SQL in one statement, so that DuckDB filters and computes in one go."""

from __future__ import annotations

import pyarrow as pa

from emulator.logs.compile import Where, compile_condition, value_sql
from emulator.logs.condition import Condition
from emulator.logs.engine import ENGINE, ROWS, EngineRefused
from emulator.logs.index import Index
from emulator.logs.query import QueryText
from emulator.logs.records import TIME, Records, computed_records
from emulator.logs.sql import Sql

_NULLS = {"text": "CAST(NULL AS VARCHAR)", "long": "CAST(NULL AS BIGINT)", "double": "CAST(NULL AS DOUBLE)"}


def search_sql(
    rows: pa.Table, index: Index, condition: Condition, query: QueryText, bar: int, limit: int | None
) -> Records:
    """What the SQL behind ``bar`` computes of the rows for which the condition holds."""
    time_name, time_unit = ("__time__", 1) if query.profile.provider == "alibaba" else ("__TIMESTAMP__", 1000)
    fields = {name: field.kind for name, field in index.fields.items() if field.sql}
    where = compile_condition(condition, index, rows.schema, query)
    sql = Sql(query, bar, [*fields, time_name], None if limit is None else limit + 1)
    columns = {
        name: value_sql(where.column(name), rows.schema.field(name).type, kind)
        if name in rows.schema.names
        else _NULLS[kind]
        for name, kind in fields.items()
        if sql.star or name.lower() in sql.words
    }
    for name in columns:
        if sum(name.lower() == other.lower() for other in columns) > 1:
            raise sql.refuse(name, f"{name} differs from another key by case only: SQL cannot tell them apart")
    columns[time_name] = f"{where.column(TIME)} * {time_unit}"
    selected = ", ".join(f"{value} AS {_quoted(name)}" for name, value in columns.items())
    statement = sql.over(f'SELECT {selected} FROM "{ROWS}" WHERE {where.sql}')
    try:
        found = ENGINE.table(_seen(rows, where), statement, where.parameters)
        found = pa.table({name: _plain(found[at]) for at, name in enumerate(found.column_names)})
        return computed_records(found.slice(0, limit), limit is None or found.num_rows <= limit)
    except EngineRefused as refused:
        raise sql.failed(str(refused)) from None
    except pa.ArrowInvalid as overflow:
        raise sql.failed(f"a number of the result does not fit a bigint ({overflow})") from None


def _seen(rows: pa.Table, where: Where) -> pa.Table:
    """The columns that DuckDB is to see, under the names that the SQL has for them."""
    return rows.select(where.columns).rename_columns([f"c{at}" for at in range(len(where.columns))])


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A computed column in the types of records: sums come as decimals of 38 digits, which are bigints in Presto."""
    if pa.types.is_decimal(column.type):
        return column.cast(pa.int64() if column.type.scale == 0 else pa.float64())
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    return column.cast(pa.float64()) if pa.types.is_floating(column.type) else column


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
