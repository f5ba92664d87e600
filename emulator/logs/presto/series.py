"""``time_series``: a row for each bucket of time between the first and the last, those without rows included.

::

    select time_series(__time__, '5m', '%H:%i', '0') as t, count(*) as n from log group by t order by t

becomes a select over what was counted by bucket, joined to all buckets that there should be. The rules are the
documents': GROUP BY and ORDER BY are needed, and DESC is not possible (tencent.md §5.7, alibaba.md §5.7).
"""

from __future__ import annotations

import re

from sqlglot import exp

from emulator.logs.presto.rewrite import Refuse, Rewriter
from emulator.logs.presto.times import strftime_format

PADDINGS = ("0", "null", "last", "next", "avg")

MOST_BUCKETS = 1_000_000

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

_BEFORE = 'last_value({0} IGNORE NULLS) OVER (ORDER BY s."at" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)'
_AFTER = 'first_value({0} IGNORE NULLS) OVER (ORDER BY s."at" ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)'
_PADDED = {
    "0": "coalesce({0}, 0)",
    "null": "{0}",
    "last": _BEFORE,
    "next": _AFTER,
    "avg": f"coalesce({{0}}, ({_BEFORE} + {_AFTER}) / 2e0)",
}

_FILLED = """
WITH "vpclab counted" AS (SELECT 1), "vpclab ends" AS (SELECT min("vpclab at") AS a, max("vpclab at") AS z
    FROM "vpclab counted"), "vpclab series" AS (
    SELECT unnest(generate_series(a, CASE WHEN epoch(z) - epoch(a) > {most}
    THEN strptime('time_series would make too many rows', '%Y') ELSE z END, INTERVAL '{step}' SECOND)) AS "at"
    FROM "vpclab ends")
SELECT {columns} FROM "vpclab series" AS s LEFT JOIN "vpclab counted" AS v ON v."vpclab at" = s."at" ORDER BY s."at"
"""


def fill_series(select: exp.Select, rewriter: Rewriter, refuse: Refuse) -> exp.Select:
    """``select`` itself or, where it calls ``time_series``, a select that computes what it means."""
    calls = [
        node
        for node in select.find_all(exp.Anonymous)
        if node.name.lower() == "time_series" and node.parent_select is select
    ]
    if not calls:
        return select
    column, group, order = calls[0].parent, select.args.get("group"), select.args.get("order")
    if len(calls) > 1 or not isinstance(column, exp.Alias) or column.parent is not select:
        raise refuse(calls[-1], "time_series is one column of its select, once")
    if group is None or order is None:
        raise refuse(calls[0], "time_series needs group by and order by the time")
    if len(group.expressions) != 1 or any(ordered.args.get("desc") for ordered in order.expressions):
        raise refuse(calls[0], "time_series is grouped by its time alone, and ordered by it, ascending")
    moment, window, form, padding = calls[0].expressions
    step_s, shown, padded = _seconds(window, refuse), strftime_format(form.name), _PADDED.get(padding.name.lower())
    if shown is None or not (isinstance(form, exp.Literal) and form.is_string):
        raise refuse(form, "a format of dates is a text in quotes, with the letters that MySQL has")
    if padded is None:
        raise refuse(padding, f"time_series pads with {', '.join(PADDINGS)}")
    columns = []
    for one in select.expressions:
        name = exp.to_identifier(one.alias_or_name, quoted=True).sql("duckdb")
        if one is column:
            columns.append(f'strftime(s."at", {exp.Literal.string(shown).sql("duckdb")}) AS {name}')
        else:
            columns.append(f"{padded.format('v.' + name)} AS {name}")
    text = _FILLED.format(columns=", ".join(columns), step=step_s, most=MOST_BUCKETS * step_s)
    filled = exp.maybe_parse(text, into=exp.Select, dialect="duckdb")
    at = select.expressions.index(column)
    counted = select.copy()
    bucket = exp.alias_(rewriter.bucket(moment.copy(), step_s, "SECOND"), "vpclab at", quoted=True)
    counted.set("expressions", [bucket, *counted.expressions[:at], *counted.expressions[at + 1 :]])
    counted.set("group", exp.Group(expressions=[exp.Literal.number(1)]))
    for part in ("order", "limit", "offset"):
        counted.set(part, None)
    for part in ("limit", "offset"):
        filled.set(part, select.args.get(part))
    ctes = filled.ctes
    first = ctes[0]
    first.set("this", counted)
    for part in ("with", "with_"):
        own = counted.args.pop(part, None)
        if own is not None and first.parent is not None:
            first.parent.set("expressions", [*own.expressions, *ctes])
    return filled


def _seconds(node: exp.Expr, refuse: Refuse) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", node.name) if isinstance(node, exp.Literal) else None
    if found is None:
        raise refuse(node, "the window of time_series is a number and s, m, h or d: '5m'")
    return int(found[1]) * _UNITS[found[2]]
