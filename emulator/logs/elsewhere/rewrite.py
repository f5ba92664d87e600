"""A tree that was checked becomes one that an engine elsewhere computes: ``presto/rewrite.py`` for these."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

from emulator.errors import QueryError
from emulator.logs.elsewhere.target import NotThere, Target, enclosed
from emulator.logs.presto.functions import Function
from emulator.logs.presto.kinds import kind_of
from emulator.logs.presto.paths import in_brackets
from emulator.logs.presto.rewrite import MONTHS, OF_PATHS, SECONDS, Refuse, Rewriter

_NAMED_PARTS = {
    "DAY_OF_WEEK": "day_of_week",
    "DOW": "dow",
    "DAY_OF_YEAR": "day_of_year",
    "DOY": "doy",
    "DAY_OF_MONTH": "day",
    "YOW": "year_of_week",
    "YEAR_OF_WEEK": "year_of_week",
}
"""Parts of a time that EXTRACT has and functions have too; the others are functions of their own name."""

_GROUPS = "vpclab groups"

_FORMATTED = frozenset({"date_format", "date_parse"})


class TargetRewriter(Rewriter):
    """``from_database``: where addresses are is said by a file that only this process has."""

    def __init__(
        self,
        target: Target,
        functions: Mapping[str, Function],
        provider: str,
        now_s: float,
        refuse: Refuse,
        lacking: Callable[[exp.Expr, str], QueryError],
        from_database: bool,
    ) -> None:
        super().__init__(functions, provider, now_s, refuse)
        self._target = target
        self._lacking = lacking
        self._from_database = from_database

    def bucket(self, moment: exp.Expr, count: int, unit: str) -> exp.Expr:
        if unit in MONTHS:
            return self._put(moment, "vpclab_bucket_of_months", [moment, exp.Literal.number(count * MONTHS[unit])])
        return self._put(moment, "vpclab_bucket", [moment, exp.Literal.number(count * SECONDS[unit])])

    def _divided(self, name: str, node: exp.Expr, one: exp.Expr, other: exp.Expr) -> exp.Expr:
        if "DOUBLE" in (kind_of(one), kind_of(other)):
            return self._put(node, "vpclab_rest", [one, other])
        return exp.Mod(this=enclosed(one), expression=enclosed(other))

    def _put(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> exp.Expr:
        try:
            return self._target.call(self._provider, name, arguments)
        except NotThere as lacking:
            raise self._lacking(node, f"{lacking} on {self._target.name}") from None

    def _computed(self, node: exp.Expr) -> exp.Expr:
        match node:
            case exp.Select():
                _group_by_place(node)
                return _order_by_name(node)
            case exp.Cast():
                return self._cast(node)
            case exp.Extract():
                part = node.name.upper()
                return self._put(node, _NAMED_PARTS.get(part, part.lower()), [node.expression])
            case exp.Div():
                whole = kind_of(node.this) == kind_of(node.expression) == "BIGINT"
                return self._put(node, "vpclab_whole" if whole else "vpclab_share", [node.this, node.expression])
            case exp.Sub() if {kind_of(node.this), kind_of(node.expression)} <= {"DATE", "TIMESTAMP"}:
                raise self._lacking(node, f"the difference of two times on {self._target.name}")
            case exp.Add() | exp.Sub() | exp.Mul():
                return _wide(node)
            case exp.Greatest() | exp.Least():
                return _null_if_one_is(node)
        return super()._computed(node)

    def _called(self, node: exp.Anonymous) -> exp.Expr:
        name, arguments = node.name.lower(), node.expressions
        if self._target.computed(node):
            return node
        if name in ("now", "mod") or (name == "histogram" and len(arguments) == 2):
            return super()._called(node)
        if name in _FORMATTED and name not in self._target.same:
            self._strftime(arguments[1])
        if name in OF_PATHS:
            self._path(arguments[1], in_brackets)
        if name not in self._target.same and any(isinstance(one, exp.Order) for one in arguments):
            raise self._lacking(node, f"ORDER BY within {name} on {self._target.name}")
        if name == "approx_distinct":
            arguments = arguments[:1]
        if self._from_database and name.startswith("ip_to_") and name != "ip_to_domain":
            raise self._lacking(node, f"places of a database on {self._target.name}")
        return self._put(node, name, arguments)

    def _cast(self, node: exp.Cast) -> exp.Expr:
        kind = node.to.this.name.lower()
        name = f"vpclab_{'try_' if isinstance(node, exp.TryCast) else ''}cast_{kind}"
        try:
            value = self._target.call(self._provider, name, [node.this])
        except NotThere:
            return node
        if kind == "varchar" and node.to.expressions:
            return self._put(node, "substr", [value, exp.Literal.number(1), node.to.expressions[0].this])
        return value


def _group_by_place(select: exp.Select) -> None:
    """What is grouped by the name of a computed column: Trino knows columns and places only."""
    group = select.args.get("group")
    places = {
        column.alias.lower(): place
        for place, column in enumerate(select.expressions, 1)
        if isinstance(column, exp.Alias)
        and all(one.name.lower() != column.alias.lower() for one in column.find_all(exp.Column))
    }
    for one in group.expressions if group is not None else []:
        if isinstance(one, exp.Column) and not one.table and one.name.lower() in places:
            one.replace(exp.Literal.number(places[one.name.lower()]))


def _order_by_name(select: exp.Select) -> exp.Select:
    """A select that orders groups by what it does not show: Sail finds that only as a column of a sub-query."""
    order, names = select.args.get("order"), {column.alias_or_name for column in select.expressions}
    ordered = order.expressions if order is not None and select.args.get("group") else []
    if not any(one.this.find(exp.Anonymous) for one in ordered) or "*" in names:
        return select
    inner = select.copy()
    for part in ("order", "limit", "offset"):
        inner.set(part, None)
    shown = [exp.column(column.alias_or_name, quoted=True) for column in select.expressions]
    for number, one in enumerate(ordered):
        if not (isinstance(one.this, exp.Literal) or (isinstance(one.this, exp.Column) and one.this.name in names)):
            name = f"{_GROUPS} {number}"
            inner.select(exp.alias_(one.this.copy(), name, quoted=True), copy=False)
            one.set("this", exp.column(name, quoted=True))
    outer = exp.select(*shown).from_(inner.subquery(_GROUPS))
    for part in ("order", "limit", "offset"):
        outer.set(part, select.args.get(part))
    return outer


def _wide(node: exp.Binary) -> exp.Expr:
    """Small numbers in a query are of 64 bits, so that what is computed of them does not leave 32."""
    for part in ("this", "expression"):
        one = node.args[part]
        if isinstance(one, exp.Literal) and one.is_int:
            node.set(part, exp.cast(one, "BIGINT"))
    return node


def _null_if_one_is(node: exp.Greatest | exp.Least) -> exp.Expr:
    missing = [exp.Is(this=one.copy(), expression=exp.null()) for one in (node.this, *node.expressions)]
    return exp.case().when(exp.not_(exp.or_(*missing)), node.copy())
