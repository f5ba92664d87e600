"""DuckDB, locked down: the one thing that judges conditions and runs SQL.

One in-memory database serves the whole process. It holds nothing: a query brings its own Arrow table as a view that
only its own cursor sees, and takes it away again, so topics, labs and threads never meet. (A database for each lab
would cost 36 ms to open and 5 ms to close; a lab fixture lives 80 ms.)

DuckDB reads no file at all. Segments are read and checked by ``folder.py``, so the bytes that were hashed are the
bytes that are searched, and no query can open another path, whatever slips through ``sql.py``.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    import duckdb

ROWS = "vpclab rows"
"""The name under which a query sees its Arrow table."""

REQUIRED: dict[str, str | bool | int | float | list[str]] = {
    "threads": 2,
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "integer_division": True,
}
OPTIONAL = {"python_enable_replacements": False, "error_on_division_by_zero": True}
"""Not in every version from 1.1 on. Division as Presto has it: integers stay integers, by zero is an error."""


class EngineRefused(Exception):
    """DuckDB would not run it; the message is DuckDB's, without our SQL."""


class Engine:
    """The database of this process; thread-safe."""

    def __init__(self) -> None:
        import duckdb

        self._error = duckdb.Error
        self._connection = duckdb.connect(":memory:", config=REQUIRED)
        for name, value in OPTIONAL.items():
            try:
                self._connection.execute(f"SET {name} = {value}")
            except duckdb.CatalogException:
                continue
        self._connection.execute("SET lock_configuration = true")

    def integers(self, table: pa.Table, sql: str, parameters: Sequence[str]) -> npt.NDArray[np.int64]:
        """The one int64 column, without nulls, that ``sql`` answers; it knows ``table`` as ``"vpclab rows"``.

        Through numpy, for a small answer comes 2 ms sooner so than through Arrow.
        """
        with self._cursor(table) as cursor:
            (values,) = cursor.execute(sql, list(parameters)).fetchnumpy().values()
            return np.asarray(values, np.int64)

    def table(self, table: pa.Table, sql: str, parameters: Sequence[str]) -> pa.Table:
        """The answer of ``sql``, which knows ``table`` as ``"vpclab rows"``."""
        with self._cursor(table) as cursor:
            return cursor.sql(sql, params=list(parameters)).to_arrow_table()

    @contextmanager
    def _cursor(self, table: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._connection.cursor()
        try:
            cursor.register(ROWS, table)
            yield cursor
        except self._error as refused:
            raise EngineRefused(str(refused).split("\n\n")[0].split("\nLINE ")[0]) from None
        finally:
            cursor.close()

    def close(self) -> None:
        self._connection.close()


_lock = threading.Lock()
_engine: tuple[int, Engine] | None = None


def engine() -> Engine:
    """The engine of this process, opened when first asked for; a forked child gets its own."""
    global _engine
    with _lock:
        if _engine is None or _engine[0] != os.getpid():
            _engine = (os.getpid(), Engine())
        return _engine[1]


@atexit.register
def _close() -> None:
    # Left open, DuckDB's binding reports leaks on standard error when the interpreter ends.
    if _engine is not None and _engine[0] == os.getpid():
        _engine[1].close()
