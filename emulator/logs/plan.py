"""A query, understood: which columns DuckDB is to see, and what it is to say of them.

Made and run in two steps, because between them somebody has to bring the columns: a topic its own, or the worker
(``worker.py``) those that it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue
from emulator.logs.compile import compile_ages
from emulator.logs.condition import All, Condition
from emulator.logs.engine import ENGINE, EngineRefused
from emulator.logs.index import Age
from emulator.logs.query import QueryText
from emulator.logs.refusal import refuse
from emulator.logs.scan import ORDER, ROWS, Scan, quoted
from emulator.logs.view import int64_array

LANGUAGES = ("lucene", "cql", "sls")

AT = "at"
"""The column that numbers the rows for a search without SQL."""


class RawPlan:
    """A search without SQL: which rows the condition holds for."""

    def __init__(self, query: QueryText, condition: Condition, ages: Sequence[Age], scan: Scan) -> None:
        self._query = query
        self._scan = scan
        self._where = compile_ages(condition, ages, scan, query)

    def run(self, most: int | None = None, newest_first: bool = False) -> pa.Table:
        """The first or last ``most`` rows that are found, in this order."""
        try:
            if self._scan.table is None:
                return self._from_files(most, newest_first)
            return self._from_table(self._scan.table, most, newest_first)
        except EngineRefused as refused:
            raise self._query.refuse(0, f"the search could not be run: {refused}") from None

    def _from_table(self, rows: pa.Table, most: int | None, newest_first: bool) -> pa.Table:
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
        found = np.sort(ENGINE.integers(seen, statement, self._where.parameters))
        return rows.take(int64_array(found[::-1] if newest_first else found))

    def _from_files(self, most: int | None, newest_first: bool) -> pa.Table:
        """From the near end of the time range on, for as long as there are too few."""
        found = [self._scan.schema.empty_table()]
        wanted = most
        steps = [self._scan] if most is None else self._scan.steps(most, newest_first)
        for step in steps:
            found.append(ENGINE.table(step, self._statement(wanted, newest_first), self._where.parameters))
            if wanted is not None:
                wanted -= found[-1].num_rows
                if wanted == 0:
                    break
        return pa.concat_tables(found)

    def _statement(self, most: int | None, newest_first: bool) -> str:
        names = list(self._scan.types)
        inner = [f"{quoted(name)} AS r{at}" for at, name in enumerate(names)]
        inner += [f"{quoted(name)} AS c{at}" for at, name in enumerate(self._where.columns)]
        direction = "DESC" if newest_first else "ASC"
        order = ", ".join(f"r{names.index(name)} {direction}" for name in ORDER)
        return (
            f"SELECT {', '.join(f'r{at} AS {quoted(name)}' for at, name in enumerate(names))}"
            f' FROM (SELECT {", ".join(inner)} FROM "{ROWS}") WHERE {self._where.sql} ORDER BY {order}'
            + ("" if most is None else f" LIMIT {most}")
        )


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
