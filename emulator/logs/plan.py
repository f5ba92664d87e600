"""A query, understood: which columns DuckDB is to see, and what it is to say of them.

Made and run in two steps, because between them somebody has to bring the columns: a topic its own, or the worker
(``worker.py``) those that it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emulator.errors import InvalidValue
from emulator.logs.compile import compile_condition
from emulator.logs.condition import All, Condition
from emulator.logs.engine import ENGINE, ROWS, EngineRefused
from emulator.logs.index import Index
from emulator.logs.query import QueryText
from emulator.logs.records import TIME
from emulator.logs.refusal import refuse
from emulator.logs.view import Int64s, int64_array, int64_values

LANGUAGES = ("lucene", "cql", "sls")

AT = "at"
"""The column that numbers the rows for a search without SQL."""


@dataclass(frozen=True)
class Question:
    """A query with all that it takes to understand it.

    ``schema``  of the topic's rows
    ``low``, ``high``  the first second asked for, and the first that is not; None for no bound
    ``most``    how many rows of an answer are wanted, None for all
    ``now_s``   what the clock says
    """

    text: QueryText
    language: str
    index: Index
    schema: pa.Schema
    now_s: float
    low: int | None = None
    high: int | None = None
    most: int | None = None
    newest_first: bool = False


class RawPlan:
    """A search without SQL: which rows the condition holds for.

    ``columns``     of the topic that DuckDB is to see, in the order of their ``c0``, ``c1``, …
    ``everything``  no row has to be looked at
    """

    lookback_s = 0

    def __init__(self, question: Question, condition: Condition) -> None:
        self._question = question
        self._where = compile_condition(condition, question.index, question.schema, question.text)
        self.everything = isinstance(condition, All)
        self.columns = self._where.columns or [TIME]

    def run(self, seen: pa.Table) -> Int64s:
        """The numbers of the rows that are found, in the order that is wanted."""
        most, newest_first = self._question.most, self._question.newest_first
        if self.everything or seen.num_rows == 0:
            numbers = np.arange(seen.num_rows, dtype=np.int64)
            return (numbers[::-1] if newest_first else numbers)[:most]
        # DuckDB says which rows, Arrow gathers them: only the columns of the condition pass through DuckDB.
        seen = seen.append_column(AT, [int64_array(np.arange(seen.num_rows, dtype=np.int64))])
        statement = f'SELECT "{AT}" FROM "{ROWS}" WHERE {self._where.sql}'
        if most is not None:
            statement += f' ORDER BY "{AT}" {"DESC" if newest_first else "ASC"} LIMIT {most}'
        try:
            found = np.sort(ENGINE.integers(seen, statement, self._where.parameters))
        except EngineRefused as refused:
            raise self._question.text.refuse(0, f"the search could not be run: {refused}") from None
        return found[::-1] if newest_first else found

    def answer(self, seen: pa.Table) -> pa.Table:
        """The same as a table of one column."""
        return pa.table({AT: int64_array(np.ascontiguousarray(self.run(seen)))})


def seen_columns(rows: pa.Table, columns: list[str]) -> pa.Table:
    """The columns that DuckDB is to see, under the names that its SQL has for them."""
    return rows.select(columns).rename_columns([f"c{at}" for at in range(len(columns))])


def numbers_of(answer: pa.Table) -> Int64s:
    """The numbers of rows in an answer without SQL."""
    return int64_values(answer[AT])


def parsed(query: QueryText, language: str) -> tuple[Condition, int | None]:
    """The condition of a query, and where the bar before its SQL is."""
    match language:
        case "lucene":
            bar = query.bar('"')
        case "sls" | "cql":
            bar = query.bar("\"'")
        case _:
            message = f"{language!r} is no search language: {', '.join(LANGUAGES)}"
            raise refuse(InvalidValue, query.profile, "query", message, value=language)
    text = query.text[:bar]
    if text.strip() in ("", "*"):
        return All(), bar
    if language == "sls":
        from emulator.logs.sls import parse_sls

        return parse_sls(query, text), bar
    if language == "cql":
        from emulator.logs.cql import parse_cql

        return parse_cql(query, text), bar
    from emulator.logs.lucene import parse_lucene

    return parse_lucene(query, text), bar
