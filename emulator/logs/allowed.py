"""What SQL may hold: every kind of node, with the parts it may have. What is not listed is refused.

The list is the first wall against queries of strangers (the second is the engine, which can open nothing), and it
keeps answers right: a node stands here once it is known to mean in DuckDB what it means in Presto. Which functions
there are is said by ``presto/``.
"""

from __future__ import annotations

import re

from sqlglot import exp

from emulator.logs.presto.casts import TYPES
from emulator.logs.presto.rewrite import MONTHS, PARTS, SECONDS

_CLAUSES: dict[type[exp.Expr], str] = {
    exp.Select: "expressions distinct from joins where group having order limit offset with",
    exp.Union: "this expression distinct by_name order limit offset with",
    exp.Intersect: "this expression distinct by_name order limit offset with",
    exp.Except: "this expression distinct by_name order limit offset with",
    exp.With: "expressions",
    exp.CTE: "this alias",
    exp.From: "this",
    exp.Join: "this on using side kind",
    exp.Subquery: "this alias",
    exp.Table: "this alias",
    exp.TableAlias: "this columns",
    exp.Unnest: "expressions alias",
    exp.Where: "this",
    exp.Group: "expressions rollup cube grouping_sets",
    exp.Rollup: "expressions",
    exp.Cube: "expressions",
    exp.GroupingSets: "expressions",
    exp.Tuple: "expressions",
    exp.Having: "this",
    exp.Order: "this expressions",
    exp.Ordered: "this desc nulls_first",
    exp.Limit: "expression",
    exp.Offset: "expression",
    exp.Distinct: "expressions",
    exp.Alias: "this alias",
    exp.Column: "this table",
    exp.Identifier: "this quoted",
    exp.Star: "",
    exp.Literal: "this is_string",
    exp.Boolean: "this",
    exp.Null: "",
    exp.Paren: "this",
    exp.Cast: "this to",
    exp.TryCast: "this to safe",
    exp.DataType: "this nested expressions",
    exp.DataTypeParam: "this",
    exp.Case: "this ifs default",
    exp.If: "this true false",
    exp.In: "this expressions query",
    exp.Exists: "this",
    exp.Between: "this low high",
    exp.Escape: "this expression",
    exp.Like: "this expression negate",
    exp.Neg: "this",
    exp.Not: "this",
    exp.Div: "this expression typed safe",
    exp.DPipe: "this expression safe",
    exp.Array: "expressions value_constructor",
    exp.Bracket: "this expressions offset safe",
    exp.Lambda: "this expressions",
    exp.Interval: "this unit",
    exp.Var: "this",
    exp.Extract: "this expression",
    exp.Window: "this partition_by order spec over",
    exp.WindowSpec: "kind start start_side end end_side",
    exp.Filter: "this expression",
    exp.IgnoreNulls: "this",
    exp.RespectNulls: "this",
    exp.Anonymous: "this expressions",
    exp.Coalesce: "this expressions",
    exp.Concat: "expressions safe coalesce",
    exp.Greatest: "this expressions ignore_nulls",
    exp.Least: "this expressions ignore_nulls",
    exp.Nullif: "this expression",
    exp.StrPosition: "this substr",
    exp.CurrentTimestamp: "",
    exp.CurrentDate: "",
    exp.Localtimestamp: "",
}

_BINARY: tuple[type[exp.Expr], ...] = (
    *(exp.Add, exp.Sub, exp.Mul, exp.Mod),
    *(exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.And, exp.Or),
    *(exp.NullSafeEQ, exp.NullSafeNEQ),
)

_PARTS: dict[type[exp.Expr], frozenset[str]] = {
    **{kind: frozenset(parts.split()) for kind, parts in _CLAUSES.items()},
    **{kind: frozenset({"this", "expression"}) for kind in _BINARY},
}

_UNITS = frozenset({*SECONDS, *MONTHS})


def is_allowed(node: exp.Expr) -> bool:
    """Whether a query may hold this node, apart from what lies below it, and from which functions there are."""
    parts = _PARTS.get(type(node))
    # sqlglot writes some parts with a trailing underscore, in some versions.
    if parts is None or not all(name.rstrip("_") in parts for name, value in node.args.items() if value):
        return False
    match node:
        case exp.Join():
            return node.kind in ("", "CROSS", "INNER", "OUTER")
        case exp.DataType():
            return getattr(node.this, "name", "") in TYPES
        case exp.Limit() | exp.Offset():
            return isinstance(node.expression, exp.Literal) and node.expression.is_int
        case exp.Interval():
            whole = isinstance(node.this, exp.Literal) and re.fullmatch("-?[0-9]{1,9}", node.this.name)
            return bool(whole) and node.unit is not None and node.unit.name.upper() in _UNITS
        case exp.Extract():
            return node.name.upper() in PARTS
    return True
