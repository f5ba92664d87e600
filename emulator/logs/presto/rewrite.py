"""A tree that was checked, in which every call means what Presto means by it, becomes one that DuckDB computes."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping

from sqlglot import exp

from emulator.errors import QueryError
from emulator.logs.presto.addresses import INTERNAL
from emulator.logs.presto.casts import cast
from emulator.logs.presto.functions import MACRO, Function
from emulator.logs.presto.times import BUCKETS, CHINA_US, strftime_format

Refuse = Callable[[exp.Expr, str], QueryError]

SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400, "WEEK": 604_800}
MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}

SECONDS_OF_LOG = "vpclab seconds"
"""The time of a row as it is stored: from CLS's milliseconds a bucket takes a third longer."""

_FORMATTED = frozenset({"date_format", "date_parse"})

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
        self._need(function)
        return exp.Anonymous(this=function.target, expressions=list(arguments))

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
        if function.macro:
            for name in re.findall(rf"{MACRO}(\w+)", function.macro):
                if MACRO + name != function.target:
                    self._need(INTERNAL[name])
            self.needed[function.target] = function.macro

    def _rewritten(self, node: exp.Expr) -> exp.Expr:
        match node:
            case exp.Anonymous():
                return self._called(node)
            case exp.Cast():
                new, function = cast(node, self._provider)
                if function is not None:
                    self._need(function)
                return new
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

    def _called(self, node: exp.Anonymous) -> exp.Expr:
        name, arguments = node.name.lower(), node.expressions
        if name == "now":
            return self._rewritten(exp.CurrentTimestamp())
        if name == "histogram" and len(arguments) == 2:
            interval = arguments[1]
            return self.bucket(arguments[0], int(interval.this.name), interval.unit.name.upper())
        if name in _FORMATTED:
            self._strftime(arguments[1])
        if name == "approx_distinct":
            arguments = arguments[:1]
        function = self._functions.get(name)
        # What is not in the list was made here.
        return node if function is None else self.call(function, *arguments)

    def _strftime(self, node: exp.Expr) -> None:
        text = strftime_format(node.name) if isinstance(node, exp.Literal) and node.is_string else None
        if text is None:
            raise self._refuse(node, "a format of dates is a text in quotes, with the letters that MySQL has")
        node.set("this", text)

    def _now(self, zone_us: int) -> exp.Expr:
        moment = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(
            microseconds=self._now_us + zone_us
        )
        return exp.cast(exp.Literal.string(moment.strftime("%Y-%m-%d %H:%M:%S.%f")), "TIMESTAMP")


def _is_time_of_log(node: exp.Expr) -> bool:
    """Whether it is CLS's time, in a select from ``log`` and nothing else."""
    if not isinstance(node, exp.Column) or node.table or node.name.upper() != "__TIMESTAMP__":
        return False
    select = node.parent_select
    source = None if select is None else select.args.get("from_") or select.args.get("from")
    if select is None or source is None or select.args.get("joins"):
        return False
    return isinstance(source.this, exp.Table) and source.this.name.lower() == "log"
