"""A tree that was checked, in which every call means what Presto means by it, becomes one that DuckDB computes."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping

from sqlglot import exp

from emulator.errors import QueryError
from emulator.logs.presto import addresses, scalars
from emulator.logs.presto.casts import CASTS
from emulator.logs.presto.functions import MACRO, Function
from emulator.logs.presto.kinds import kind_of, same_kind
from emulator.logs.presto.paths import in_duckdb, steps_of
from emulator.logs.presto.times import BUCKETS, CHINA_US, strftime_format

Refuse = Callable[[exp.Expr, str], QueryError]

SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400, "WEEK": 604_800}
MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}

SECONDS_OF_LOG = "vpclab seconds"
"""The time of a row as it is stored: from CLS's milliseconds a bucket takes a third longer."""

_INTERNAL = {**addresses.INTERNAL, **scalars.INTERNAL}
"""Macros that no query calls by name."""

_FORMATTED = frozenset({"date_format", "date_parse"})

OF_PATHS = frozenset(
    {
        "json_extract",
        "json_extract_bool",
        "json_extract_double",
        "json_extract_long",
        "json_extract_scalar",
        "json_size",
    }
)
"""Functions whose second argument is a path into JSON."""

_OF_MOST = {"max_by": "arg_max", "min_by": "arg_min"}
"""Aggregates that find several values."""

_PARTS = {
    "DAY_OF_WEEK": "ISODOW",
    "DOW": "ISODOW",
    "DAY_OF_YEAR": "DOY",
    "DAY_OF_MONTH": "DAY",
    "YOW": "ISOYEAR",
    "YEAR_OF_WEEK": "ISOYEAR",
}
"""EXTRACT's names for parts of a time where DuckDB's differ."""

PARTS = frozenset({*SECONDS, *MONTHS, *_PARTS, "DOY"})


class Rewriter:
    """Rewrites in place; ``needed`` are the macros that the result calls.

    ``now_s``    is what the clock says, in unix seconds
    ``seconds``  whether ``log`` may get a column ``SECONDS_OF_LOG``; ``counts_seconds`` says that it is needed
    """

    def __init__(
        self, functions: Mapping[str, Function], provider: str, now_s: float, refuse: Refuse, seconds: bool = False
    ) -> None:
        self.needed: dict[str, str] = {}
        self.counts_seconds = False
        self._seconds = seconds
        self._functions = functions
        over_rows = [one for one in functions.values() if one.kind != "scalar"]
        self._of_rows = {*_OF_MOST.values(), *(name for one in over_rows for name in (one.name, one.target))}
        self._provider = provider
        self._now_us = int(now_s * 1_000_000)
        self._refuse = refuse

    def rewrite(self, tree: exp.Query) -> exp.Query:
        """``tree`` with everything rewritten that is in it, or what stands for it."""
        for node in list(tree.walk(bfs=False))[::-1]:
            new = self._rewritten(node)
            if node is tree and isinstance(new, exp.Query):
                return new
            if new is not node:
                node.replace(new)
        return tree

    def call(self, function: Function, *arguments: exp.Expr) -> exp.Expr:
        """A call of a function, which is ``needed`` if it is a macro."""
        if function.by_kind(len(arguments)) and any(map(self._is_of_rows, arguments)):
            function, arguments = self._chosen(function, arguments)
        self._need(function)
        return exp.Anonymous(this=function.target, expressions=list(arguments))

    def _is_of_rows(self, node: exp.Expr) -> bool:
        """Whether an aggregate or a window is in it: DuckDB chooses among macros before it knows what these are."""
        return any(
            isinstance(one, exp.Window) or one.name.lower() in self._of_rows
            for one in node.find_all(exp.Window, exp.Anonymous)
            if one.find_ancestor(exp.Subquery, exp.Select) is node.find_ancestor(exp.Subquery, exp.Select)
        )

    def _chosen(self, function: Function, arguments: tuple[exp.Expr, ...]) -> tuple[Function, tuple[exp.Expr, ...]]:
        found = function.of([kind_of(one) for one in arguments])
        if found is None or any(
            not kind_of(one) and any(form.kinds[at] for form in function.forms if len(form.kinds) == len(arguments))
            for at, one in enumerate(arguments)
        ):
            raise self._refuse(arguments[0], "this depends on the type of what it computes: name that in a sub-query")
        chosen, form = found
        typed = zip(arguments, form.kinds, strict=True)
        return chosen, tuple(exp.cast(one, kind) if kind else one for one, kind in typed)

    def bucket(self, moment: exp.Expr, count: int, unit: str) -> exp.Expr:
        """The beginning of the bucket that ``moment`` lies in, of ``count`` units of time."""
        if unit in MONTHS:
            months = exp.Literal.number(count * MONTHS[unit])
            return self.call(BUCKETS[self._provider]["bucket_of_months"], moment, months)
        length = exp.Literal.number(count * SECONDS[unit])
        if self._seconds and _is_time_of_log(moment):
            self.counts_seconds = True
            return self.call(BUCKETS["alibaba"]["bucket"], exp.column(SECONDS_OF_LOG, quoted=True), length)
        return self.call(BUCKETS[self._provider]["bucket"], moment, length)

    def _need(self, function: Function) -> None:
        """Note a macro, behind those that it calls itself."""
        for form in function.forms:
            for name in re.findall(rf"{MACRO}(\w+)", form.body):
                self._need(_INTERNAL[name])
        if function.forms:
            self.needed[function.target] = function.macro

    def _rewritten(self, node: exp.Expr) -> exp.Expr:
        return same_kind(node, self._computed(node))

    def _computed(self, node: exp.Expr) -> exp.Expr:
        match node:
            case exp.Anonymous():
                return self._called(node)
            case exp.Cast():
                return self._cast(node)
            case exp.Div():
                return self._divided("share", node, node.this, node.expression)
            case exp.Mod():
                return self._divided("rest", node, node.this, node.expression)
            case exp.Add() | exp.Sub() if kind_of(node.this) == "DATE" and _is_of_days(node.expression):
                return exp.cast(node, "DATE")
            case exp.Sub() if kind_of(node.this) == kind_of(node.expression) == "DATE":
                return exp.Sub(this=exp.cast(node.this, "TIMESTAMP"), expression=exp.cast(node.expression, "TIMESTAMP"))
            case exp.Extract():
                part = node.name.upper()
                node.set("this", exp.Var(this=_PARTS.get(part, part)))
                return node
            case exp.CurrentTimestamp():
                return self._now(0 if self._provider == "tencent" else CHINA_US)
            case exp.Localtimestamp():
                return self._now(CHINA_US)
            case exp.CurrentDate():
                return exp.cast(self._now(CHINA_US), "DATE")
        return node

    def _divided(self, name: str, node: exp.Expr, one: exp.Expr, other: exp.Expr) -> exp.Expr:
        """Doubles by 0 are infinite or no number; of whole numbers that is an error of the engine's."""
        return self.call(_INTERNAL[name], one, other) if "DOUBLE" in (kind_of(one), kind_of(other)) else node

    def _called(self, node: exp.Anonymous) -> exp.Expr:
        name, arguments = node.name.lower(), node.expressions
        if name == "now":
            return self._rewritten(exp.CurrentTimestamp())
        if name == "histogram" and len(arguments) == 2:
            interval = arguments[1]
            return self.bucket(arguments[0], int(interval.this.name), interval.unit.name.upper())
        if name == "count_if" and not isinstance(arguments[0], exp.Distinct):
            # DuckDB's is null, not 0, where there are no rows.
            return exp.Anonymous(this="count", expressions=[exp.case().when(arguments[0], exp.Literal.number(1))])
        if name in _OF_MOST and len(arguments) == 3:
            # Within arrays, for DuckDB leaves out nulls.
            found = exp.Anonymous(this=_OF_MOST[name], expressions=[exp.array(arguments[0]), *arguments[1:]])
            return exp.Anonymous(this="flatten", expressions=[found])
        if name == "mod":
            return self._divided("rest", node, *arguments)
        if name in _FORMATTED:
            self._strftime(arguments[1])
        if name in OF_PATHS:
            self._path(arguments[1], in_duckdb)
        if name == "approx_distinct":
            arguments = arguments[:1]
        function = self._functions.get(name)
        # What is not in the list was made here.
        return node if function is None else self.call(function, *arguments)

    def _cast(self, node: exp.Cast) -> exp.Expr:
        function = CASTS[self._provider].get(node.to.this.name)
        if function is None:
            return node
        value = self.call(function, node.this)
        if node.to.expressions:
            value = exp.Anonymous(this="left", expressions=[value, node.to.expressions[0].this])
        return exp.Anonymous(this="try", expressions=[value]) if isinstance(node, exp.TryCast) else value

    def _strftime(self, node: exp.Expr) -> None:
        text = strftime_format(node.name) if isinstance(node, exp.Literal) and node.is_string else None
        if text is None:
            raise self._refuse(node, "a format of dates is a text in quotes, with the letters that MySQL has")
        node.set("this", text)

    def _path(self, node: exp.Expr, spelled: Callable[[list[str | int]], str]) -> None:
        """A path as the engine has it; one that is computed is left as it is."""
        if not (isinstance(node, exp.Literal) and node.is_string):
            return
        steps = steps_of(node.name)
        if steps is None:
            raise self._refuse(node, """a path begins with $ and goes on by .name, [0] or ["name"], to one value""")
        node.set("this", spelled(steps))

    def _now(self, zone_us: int) -> exp.Expr:
        moment = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(
            microseconds=self._now_us + zone_us
        )
        return exp.cast(exp.Literal.string(moment.strftime("%Y-%m-%d %H:%M:%S.%f")), "TIMESTAMP")


def _is_of_days(node: exp.Expr) -> bool:
    """Whether it is an interval of whole days, or months: what keeps a date a date."""
    return isinstance(node, exp.Interval) and str(node.unit).upper() in ("DAY", "WEEK", *MONTHS)


def _is_time_of_log(node: exp.Expr) -> bool:
    """Whether it is CLS's time, in a select from ``log`` and nothing else."""
    if not isinstance(node, exp.Column) or node.table or node.name.upper() != "__TIMESTAMP__":
        return False
    select = node.parent_select
    source = None if select is None else select.args.get("from_") or select.args.get("from")
    if select is None or source is None or select.args.get("joins"):
        return False
    return isinstance(source.this, exp.Table) and source.this.name.lower() == "log"
