"""What the compiler says of stored rows, for another engine than DuckDB.

``compile.py`` and ``plan.py`` use a few constructs only, and each has its equal here. Values travel within the text,
as literals that sqlglot quotes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlglot
from sqlglot import exp

from emulator.logs.elsewhere.statement import VIEW
from emulator.logs.elsewhere.target import Target
from emulator.logs.scan import ROWS

_NAME_IN_PATH = re.compile(r'\."((?:[^"\\]|\\.)*)"')
"""DuckDB's ``."name"`` is ``['name']`` at others."""


def translated(statement: str, parameters: Sequence[str], target: Target) -> str:
    """A statement of the compiler's for an engine elsewhere, which knows the stored rows as ``VIEW``."""
    tree = sqlglot.parse_one(statement, read="duckdb")
    for node in list(tree.walk(bfs=False))[::-1]:
        new = _translated(node, parameters, target.size)
        if new is not node:
            node.replace(new)
    return str(tree.sql(target.reads, identify=True))


def _translated(node: exp.Expr, parameters: Sequence[str], size: str) -> exp.Expr:
    match node:
        case exp.Parameter() | exp.Placeholder():
            return exp.Literal.string(parameters[int(node.name) - 1])
        case exp.Table() if node.name == ROWS:
            node.set("this", exp.to_identifier(VIEW))
        case exp.Not(this=exp.Is(expression=exp.Boolean())):
            # Written as NOT x, this would lose the rows of which nothing is known.
            return exp.Not(this=exp.Coalesce(this=node.this.this, expressions=[exp.false()]))
        case exp.EQ(expression=exp.Trunc()):
            # To truncate is to cast, at Spark, which fails for large numbers.
            return exp.EQ(
                this=exp.Mod(this=node.this, expression=exp.Literal.number(1)), expression=exp.Literal.number(0)
            )
        case exp.RegexpLike():
            node.set("expression", _ended(node.expression))
        case exp.RegexpFullMatch():
            whole = exp.Literal.string(f"^(?:{node.expression.name})$")
            return exp.RegexpLike(this=node.this, expression=_ended(whole))
        case exp.Contains():
            # Trino's contains is one of arrays.
            return exp.GT(
                this=exp.StrPosition(this=node.this, substr=node.expression), expression=exp.Literal.number(0)
            )
        case exp.Anonymous() if node.name.lower() == "json_valid":
            return exp.true()  # elsewhere what is no JSON has nothing under any path
        case exp.JSONExtractScalar():
            node.set("expression", exp.Literal.string(_NAME_IN_PATH.sub(r"['\1']", node.expression.name)))
        case exp.Length(this=exp.ArrayFilter()):
            return exp.Anonymous(this=size, expressions=[node.this])
    return node


def _ended(pattern: exp.Expr) -> exp.Expr:
    """A pattern whose ``$`` means the end; in Java's it also means the place before a last line feed."""
    return exp.Literal.string(re.sub(r"(?<!\\)\$(\)?)$", r"\\z\1", pattern.name))
