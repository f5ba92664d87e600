"""DuckDB, locked down: the one thing that judges conditions and runs SQL.

One in-memory database serves the whole process. It holds nothing: a query brings its own Arrow table as a view that
only its own cursor sees, and takes it away again, so topics, labs and threads never meet. (A database for each lab
would cost 36 ms to open and 5 ms to close; a lab fixture lives 80 ms.)

DuckDB reads no file but the segments of a folder, in a database of that folder's own, which cannot open another path,
whatever slips through ``sql.py``; ``reader.py`` has compared each with its sha256 before.
"""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emulator.logs.scan import BESIDE, ROWS, Scan, apart, literal

if TYPE_CHECKING:
    import duckdb

REQUIRED: dict[str, bool | int] = {
    "threads": 2,
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "integer_division": True,
    "parquet_metadata_cache": True,  # segments never change
}
OPTIONAL = {"python_enable_replacements": False, "error_on_division_by_zero": True}
"""Not in every version from 1.1 on. Division as Presto has it: integers stay integers, by zero is an error."""


class EngineRefused(Exception):
    """DuckDB would not run it; the message is DuckDB's, without our SQL.

    ``reason``  ``query``, or ``query.memory`` where there was not enough
    """

    def __init__(self, message: str, reason: str = "query") -> None:
        super().__init__(message)
        self.reason = reason


class Engine:
    """A database that is opened when first asked, and one for each folder; thread-safe.

    ``exact``   no file can be opened but these: for one query, then ``close``
    ``memory``  most bytes that DuckDB takes on purpose
    """

    def __init__(self, *, exact: Sequence[Path] | None = None, memory: int | None = None) -> None:
        self._exact = exact
        self._memory = memory
        self._lock = threading.Lock()
        self._connections: dict[Path | None, duckdb.DuckDBPyConnection] = {}
        self._macros: dict[Path | None, set[str]] = {}

    def integers(self, table: pa.Table | Scan, sql: str, parameters: Sequence[str]) -> npt.NDArray[np.int64]:
        """The one int64 column, without nulls, that ``sql`` answers; it knows ``table`` as ``"vpclab rows"``.

        Through numpy, for a small answer comes 2 ms sooner so than through Arrow.
        """
        with self._cursor(table, {}, {}) as cursor:
            (values,) = cursor.execute(sql, list(parameters)).fetchnumpy().values()
            return np.asarray(values, np.int64)

    def table(
        self,
        table: pa.Table | Scan,
        sql: str,
        parameters: Sequence[str],
        macros: Mapping[str, str] | None = None,
        functions: Mapping[str, Callable[..., pa.Array]] | None = None,
    ) -> pa.Table:
        """The answer of ``sql``, which knows ``table`` as ``"vpclab rows"``.

        ``macros`` are definitions of what it calls, by name, each behind those that it calls; ``functions`` are those
        that Python computes, of two columns of text. Both stay.
        """
        with self._cursor(table, macros or {}, functions or {}) as cursor:
            answer = cursor.sql(sql, params=list(parameters))
            if any('MAP("NULL"' in str(kind) for kind in answer.types):
                # Arrow ends the whole process over a map whose keys have no type.
                raise EngineRefused("a map without a key has no type")
            return answer.to_arrow_table()

    def close(self) -> None:
        """Close the database; the next query opens another."""
        with self._lock:
            self._close()

    def before_fork(self) -> None:
        """Close it: a child has none of its threads, and would wait for them for ever when it lets go of it."""
        self._lock.acquire()
        self._close()

    def after_fork(self) -> None:
        self._lock.release()

    def forget(self, folder: Path) -> None:
        """Close the database of a folder."""
        with self._lock:
            connection = self._connections.pop(folder, None)
            if connection is not None:
                connection.close()

    @contextmanager
    def _cursor(
        self,
        table: pa.Table | Scan,
        macros: Mapping[str, str],
        functions: Mapping[str, Callable[..., pa.Array]],
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb
        from duckdb.func import FunctionNullHandling, PythonUDFType

        scan = table if isinstance(table, Scan) and table.files else None
        source = table.table if isinstance(table, Scan) else table
        folder = table.folder if isinstance(table, Scan) else None
        with self._lock:
            if folder not in self._connections:
                self._connections[folder] = _opened(folder, self._exact, self._memory)
                self._macros[folder] = set()
            cursor = self._connections[folder].cursor()
            for name in functions:
                if name not in self._macros[folder]:
                    cursor.create_function(
                        name,
                        functions[name],
                        ["VARCHAR", "VARCHAR"],
                        "VARCHAR",
                        type=PythonUDFType.ARROW,
                        null_handling=FunctionNullHandling.SPECIAL,
                    )
                    self._macros[folder].add(name)
            for name in macros:
                if name not in self._macros[folder]:
                    cursor.execute(macros[name])
                    self._macros[folder].add(name)
        try:
            if source is not None:
                name = ROWS if scan is None else BESIDE
                cursor.register(name, source.rename_columns(apart(source.column_names)))
            if scan is not None:
                cursor.execute(f'CREATE TEMP VIEW "{ROWS}" AS {scan.relation()}')
            yield cursor
        except duckdb.Error as refused:
            if isinstance(refused, duckdb.FatalException | duckdb.InternalException):
                # The database answers nothing more; the next query opens another.
                with self._lock:
                    self._connections.pop(folder, None)
            # What follows would show our SQL, or advise settings that are locked.
            message = re.split(r"\n\n|\nLINE |\. Use ", str(refused))[0]
            if isinstance(refused, duckdb.OutOfMemoryException) or "llocat" in message:
                raise EngineRefused("it needs more memory than there is for it", "query.memory") from None
            raise EngineRefused(message) from None
        finally:
            cursor.close()

    def _close(self) -> None:
        while self._connections:
            self._connections.popitem()[1].close()


def _opened(
    folder: Path | None, files: Sequence[Path] | None = None, memory: int | None = None
) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.execute("SET temp_directory = ''")
    if memory is not None:
        connection.execute(f"SET memory_limit = '{memory >> 20}MB'")
    if files:
        connection.execute(f"SET allowed_paths = [{', '.join(literal(str(file)) for file in files)}]")
    elif folder is not None and files is None:
        connection.execute(f"SET allowed_directories = [{literal(str(folder))}]")
    for name, value in REQUIRED.items():
        connection.execute(f"SET GLOBAL {name} = {value}")
    for name, value in OPTIONAL.items():
        try:
            connection.execute(f"SET GLOBAL {name} = {value}")
        except duckdb.CatalogException:
            continue
    connection.execute("SET lock_configuration = true")
    return connection


ENGINE = Engine()
"""The engine of this process."""

# Left open, DuckDB's binding reports leaks on standard error when the interpreter ends.
atexit.register(ENGINE.close)
os.register_at_fork(before=ENGINE.before_fork, after_in_parent=ENGINE.after_fork, after_in_child=ENGINE.after_fork)
