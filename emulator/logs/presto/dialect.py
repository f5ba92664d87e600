"""How sqlglot reads the providers' SQL: as Presto's, in which every function stays a call by name.

sqlglot would make nodes of its own of some functions and write those as it believes DuckDB to mean them. Here each
function has one line in a table of ours instead, and what is in no table is refused by its name.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.dialects.presto import Presto
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.parsers.presto import PrestoParser

_NODES = ("COALESCE", "CONCAT", "GREATEST", "LEAST", "NULLIF", "IF")
"""Functions of any number of arguments, or that evaluate some of them only; sqlglot writes them rightly."""

_FORMS = ("CAST", "TRY_CAST", "EXTRACT", "POSITION")
"""What looks like a function and has words inside its brackets."""


class ProviderSql(Presto):
    """Presto, as CLS and SLS have it."""

    class Parser(PrestoParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {name: PrestoParser.FUNCTIONS[name] for name in _NODES}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {name: PrestoParser.FUNCTION_PARSERS[name] for name in _FORMS}


class DuckDbSql(DuckDB):
    """DuckDB, for calls by name."""

    class Generator(DuckDBGenerator):
        def ignorenulls_sql(self, expression: exp.IgnoreNulls) -> str:
            """``lag(x) IGNORE NULLS``: DuckDB has the two words within the brackets."""
            call = expression.this
            if not isinstance(call, exp.Anonymous):
                return str(super().ignorenulls_sql(expression))
            return f"{call.name}({self.expressions(call, flat=True)} IGNORE NULLS)"
