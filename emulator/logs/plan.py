"""A query, understood: which columns DuckDB is to see, and what it is to say of them.

Made and run in two steps, because a comparison tells in the first how far back the second has to look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from emulator.errors import InvalidValue
from emulator.logs.compile import Where, compile_ages
from emulator.logs.condition import All, Condition
from emulator.logs.engine import ENGINE, Engine, EngineRefused
from emulator.logs.index import Age
from emulator.logs.query import QueryText
from emulator.logs.records import TIME
from emulator.logs.refusal import refuse
from emulator.logs.scan import ORDER, ROWS, Scan, quoted
from emulator.logs.view import int64_array

if TYPE_CHECKING:
    from emulator.logs.analysis import SqlPlan

LANGUAGES = ("lucene", "cql", "sls")

AT = "at"
"""The column that numbers the rows for a search without SQL."""


@dataclass(frozen=True)
class Question:
    """A query with all that it takes to understand it.

    ``schema``         of the topic's rows
    ``characters``     of what its text keys are made, where that is known (``Scan.characters``)
    ``low``, ``high``  the first second asked for, and the first that is not; None for no bound
    ``most``           how many rows of an answer are wanted, None for all
    ``now_s``          what the clock says
    ``lookback_s``     how much older rows are there, for a comparison
    ``geography``      an MMDB that says where addresses are
    ``interval_s``     if not 0, rows are counted by such intervals of time
    ``dialect``        of the SQL that the engine reads: ``duckdb``, ``spark``, ``trino``
    """

    text: QueryText
    language: str
    ages: Sequence[Age]
    schema: pa.Schema
    now_s: float
    characters: Mapping[str, str] = field(default_factory=dict)
    low: int | None = None
    high: int | None = None
    most: int | None = None
    newest_first: bool = False
    lookback_s: int = 0
    interval_s: int = 0
    geography: Path | None = None
    dialect: str = "duckdb"

    def written(self, statement: str, where: Where) -> tuple[str, list[str]]:
        """A statement of the compiler's for the engine that is to answer, and its parameters."""
        if self.dialect == "duckdb":
            return statement, where.parameters
        from emulator.logs.elsewhere.conditions import translated
        from emulator.logs.elsewhere.engines import target_of

        return translated(statement, where.parameters, target_of(self.dialect)), []


class RawPlan:
    """A search without SQL: which rows the condition holds for."""

    lookback_s = 0
    computed = False

    def __init__(self, question: Question, condition: Condition) -> None:
        self._question = question
        self._where = compile_ages(condition, question.ages, question.schema, question.text, question.characters)

    def answer(self, scan: Scan, engine: Engine = ENGINE) -> pa.Table:
        """The rows that are found, in the order that is wanted."""
        most, newest_first = self._question.most, self._question.newest_first
        try:
            if scan.table is None or scan.files:
                return self._from_files(scan, engine)
            return self._from_table(scan.table, engine, most, newest_first)
        except EngineRefused as refused:
            raise self._question.text.ended(refused.reason, f"the search could not be run: {refused}") from None

    def _from_table(self, rows: pa.Table, engine: Engine, most: int | None, newest_first: bool) -> pa.Table:
        if self._where.sql == "TRUE" or rows.num_rows == 0:
            found = np.arange(rows.num_rows, dtype=np.int64)
            return rows.take(int64_array((found[::-1] if newest_first else found)[:most]))
        # DuckDB says which rows, Arrow gathers them: only the columns of the condition pass through DuckDB.
        columns = self._where.columns
        seen = rows.select(columns).rename_columns([f"c{at}" for at in range(len(columns))])
        seen = seen.append_column(AT, [int64_array(np.arange(rows.num_rows, dtype=np.int64))])
        statement = f'SELECT "{AT}" FROM "{ROWS}" WHERE {self._where.sql}'
        if most is not None:
            statement += f' ORDER BY "{AT}" {"DESC" if newest_first else "ASC"} LIMIT {most}'
        found = np.sort(engine.integers(seen, statement, self._where.parameters))
        return rows.take(int64_array(found[::-1] if newest_first else found))

    def _from_files(self, scan: Scan, engine: Engine) -> pa.Table:
        """From the near end of the time range on, for as long as there are too few."""
        found = [scan.schema.empty_table()]
        wanted = self._question.most
        steps = [scan] if wanted is None else scan.steps(wanted, self._question.newest_first)
        for step in steps:
            found.append(engine.table(step, *self.statement(wanted)))
            if wanted is not None:
                wanted -= found[-1].num_rows
                if wanted == 0:
                    break
        return pa.concat_tables(found)

    def statement(self, most: int | None = None) -> tuple[str, list[str]]:
        """What the engine is asked for ``most`` rows, and the parameters."""
        names = self._question.schema.names
        inner = [f"{quoted(name)} AS r{at}" for at, name in enumerate(names)]
        inner += [f"{quoted(name)} AS c{at}" for at, name in enumerate(self._where.columns)]
        direction = "DESC" if self._question.newest_first else "ASC"
        order = ", ".join(f"r{names.index(name)} {direction}" for name in ORDER)
        statement = (
            f"SELECT {', '.join(f'r{at} AS {quoted(name)}' for at, name in enumerate(names))}"
            f' FROM (SELECT {", ".join(inner)} FROM "{ROWS}") WHERE {self._where.sql} ORDER BY {order}'
            + ("" if most is None else f" LIMIT {most}")
        )
        return self._question.written(statement, self._where)


class HistogramPlan:
    """Counts rows by the interval that they lie in; ``columns`` of an answer are ``start`` and ``count``."""

    lookback_s = 0
    computed = True

    def __init__(self, question: Question, condition: Condition) -> None:
        self._question = question
        self._where = compile_ages(condition, question.ages, question.schema, question.text, question.characters)
        self._time = self._where.column(TIME)

    def answer(self, scan: Scan, engine: Engine = ENGINE) -> pa.Table:
        step = self._question.interval_s
        statement = (
            f'SELECT {self._time} - {self._time} % {step} AS "start", count(*) AS "count"'
            f" FROM {self._where.source} WHERE {self._where.sql} GROUP BY 1 ORDER BY 1"
        )
        try:
            return engine.table(scan, *self._question.written(statement, self._where))
        except EngineRefused as refused:
            raise self._question.text.ended(refused.reason, f"the search could not be run: {refused}") from None


def bar_of(query: QueryText, language: str) -> int | None:
    """Where the bar before the SQL of a query is."""
    if language not in LANGUAGES:
        message = f"{language!r} is no search language: {', '.join(LANGUAGES)}"
        raise refuse(InvalidValue, query.profile, "query", message, object=query.topic_id, value=language)
    lucene = language == "lucene"
    return query.bar('"' if lucene else "\"'", expressions=lucene)


def parsed(query: QueryText, language: str) -> tuple[Condition, int | None]:
    """The condition of a query, and where the bar before its SQL is."""
    bar = bar_of(query, language)
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


def understood(question: Question) -> RawPlan | SqlPlan | HistogramPlan:
    """The plan that answers a question; QueryError for what is not understood."""
    condition, bar = parsed(question.text, question.language)
    if question.interval_s:
        return HistogramPlan(question, condition)
    if bar is None:
        return RawPlan(question, condition)
    from emulator.logs.analysis import SqlPlan  # with sqlglot, whose import takes longer than most queries

    return SqlPlan(question, condition, bar)
