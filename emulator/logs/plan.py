"""A query, understood: which columns DuckDB is to see, and what it is to say of them.

Made and run in two steps, because between them somebody has to bring the columns: a topic its own, or the worker
(``worker.py``) those that it is sent.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue
from emulator.logs.compile import compile_condition
from emulator.logs.condition import All, Condition
from emulator.logs.engine import ENGINE, ROWS, EngineRefused
from emulator.logs.index import Index
from emulator.logs.query import QueryText
from emulator.logs.refusal import refuse
from emulator.logs.view import Int64s, int64_array

LANGUAGES = ("lucene", "cql", "sls")

AT = "at"
"""The column that numbers the rows for a search without SQL."""


class RawPlan:
    """A search without SQL: which rows the condition holds for."""

    def __init__(self, query: QueryText, condition: Condition, index: Index, schema: pa.Schema) -> None:
        self._query = query
        self._where = compile_condition(condition, index, schema, query)
        self.everything = isinstance(condition, All)
        self.columns = self._where.columns

    def run(self, rows: pa.Table, most: int | None = None, newest_first: bool = False) -> Int64s:
        """The numbers of the first or last ``most`` of ``rows`` that are found, in this order."""
        if self.everything or rows.num_rows == 0:
            numbers = np.arange(rows.num_rows, dtype=np.int64)
            return (numbers[::-1] if newest_first else numbers)[:most]
        # DuckDB says which rows, Arrow gathers them: only the columns of the condition pass through DuckDB.
        seen = rows.select(self.columns).rename_columns([f"c{at}" for at in range(len(self.columns))])
        seen = seen.append_column(AT, [int64_array(np.arange(rows.num_rows, dtype=np.int64))])
        statement = f'SELECT "{AT}" FROM "{ROWS}" WHERE {self._where.sql}'
        if most is not None:
            statement += f' ORDER BY "{AT}" {"DESC" if newest_first else "ASC"} LIMIT {most}'
        try:
            found = np.sort(ENGINE.integers(seen, statement, self._where.parameters))
        except EngineRefused as refused:
            raise self._query.refuse(0, f"the search could not be run: {refused}") from None
        return found[::-1] if newest_first else found


def parsed(query: QueryText, language: str, profile: Profile) -> tuple[Condition, int | None]:
    """The condition of a query, and where the bar before its SQL is."""
    match language:
        case "lucene":
            bar = query.bar('"')
        case "sls":
            bar = query.bar("\"'")
        case "cql":
            raise query.unsupported(0, "the language CQL")
        case _:
            message = f"{language!r} is no search language: {', '.join(LANGUAGES)}"
            raise refuse(InvalidValue, profile, "query", message, value=language)
    text = query.text[:bar]
    if text.strip() in ("", "*"):
        return All(), bar
    if language == "sls":
        from emulator.logs.sls import parse_sls

        return parse_sls(query, text), bar
    from emulator.logs.lucene import parse_lucene

    return parse_lucene(query, text), bar
