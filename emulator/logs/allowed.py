"""What SQL may hold: every kind of node, with the parts it may have. What is not listed is refused.

The list is the first wall against queries of strangers (the second is the engine, which can open nothing), and it
keeps answers right: a function stands here once it is known to mean in DuckDB what it means in Presto.
"""

from __future__ import annotations

from sqlglot import exp

_CLAUSES: dict[type[exp.Expr], str] = {
    exp.Select: "expressions distinct from joins where group having order limit offset with",
    exp.With: "expressions",
    exp.CTE: "this alias",
    exp.From: "this",
    exp.Join: "this on using side kind",
    exp.Subquery: "this alias",
    exp.Table: "this alias",
    exp.TableAlias: "this columns",
    exp.Where: "this",
    exp.Group: "expressions",
    exp.Having: "this",
    exp.Order: "expressions",
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
    exp.DataType: "this nested",
    exp.Case: "this ifs default",
    exp.If: "this true false",
    exp.In: "this expressions query",
    exp.Between: "this low high",
    exp.Escape: "this expression",
    exp.Neg: "this",
    exp.Not: "this",
    exp.Div: "this expression typed safe",
    exp.DPipe: "this expression safe",
}

_BINARY: tuple[type[exp.Expr], ...] = (
    *(exp.Add, exp.Sub, exp.Mul, exp.Mod),
    *(exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.Like, exp.And, exp.Or),
)

_FUNCTIONS: dict[type[exp.Expr], str] = {
    exp.Count: "this big_int",
    exp.CountIf: "this",
    exp.Sum: "this",
    exp.Avg: "this",
    exp.Min: "this",
    exp.Max: "this",
    exp.ArgMin: "this expression",
    exp.ArgMax: "this expression",
    exp.AnyValue: "this",
    exp.ApproxDistinct: "this",
    exp.Abs: "this",
    exp.Round: "this decimals",
    exp.Floor: "this",
    exp.Ceil: "this",
    exp.Greatest: "this expressions ignore_nulls",
    exp.Least: "this expressions ignore_nulls",
    exp.Coalesce: "this expressions",
    exp.Nullif: "this expression",
    exp.Lower: "this",
    exp.Upper: "this",
    exp.Length: "this",
    exp.Concat: "expressions safe coalesce",
    exp.Replace: "this expression replacement",
    exp.StrPosition: "this substr",
    exp.StartsWith: "this expression",
}

_PARTS: dict[type[exp.Expr], frozenset[str]] = {
    **{kind: frozenset(parts.split()) for kind, parts in {**_CLAUSES, **_FUNCTIONS}.items()},
    **{kind: frozenset({"this", "expression"}) for kind in _BINARY},
}

_TYPES = frozenset({"DOUBLE", "VARCHAR"})
"""What can be cast to. DuckDB rounds to whole numbers otherwise than Presto, and takes '1.5' for one."""


def is_allowed(node: exp.Expr) -> bool:
    """Whether a query may hold this node, apart from what lies below it."""
    parts = _PARTS.get(type(node))
    if parts is None:
        return False
    if isinstance(node, exp.DataType) and getattr(node.this, "name", "") not in _TYPES:
        return False
    if isinstance(node, exp.Limit | exp.Offset):
        return isinstance(node.expression, exp.Literal) and node.expression.is_int
    # sqlglot writes some parts with a trailing underscore, in some versions.
    return all(name.rstrip("_") in parts for name, value in node.args.items() if value)
