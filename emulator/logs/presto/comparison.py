"""``compare``: what is computed now, beside the same some seconds earlier.

::

    select compare(n, 86400) as c from (select count(*) as n from log)

becomes a select over two that differ by the rows they read: ``log``, and ``log 86400`` in which every row is 86,400 s
older than it is written, so that times of day meet. Both are joined by the columns that are not compared. A comparison
is an array, counted from 1: now, each time earlier, and now in relation to each (tencent.md §5.7, alibaba.md §5.7).
``ts_compare``, which SLS has, adds to one comparison the unix time of the earlier one; the other column is the time.
"""

from __future__ import annotations

from sqlglot import exp

from emulator.logs.presto.aggregates import FUNCTIONS as OVER_ROWS
from emulator.logs.presto.kinds import kind_of
from emulator.logs.presto.rewrite import Refuse

LOG = "log"

COMPARISONS = ("compare", "ts_compare")

_MOST_S = 366 * 86_400


def earlier(shift_s: int) -> str:
    """The name of the table of rows that are ``shift_s`` older than they seem."""
    return f"{LOG} {shift_s}"


def compare(select: exp.Select, refuse: Refuse) -> tuple[exp.Select, set[int]]:
    """``select`` itself or, where it compares, what that means; and the shifts of the tables that it reads."""
    calls = [node for node in select.find_all(exp.Anonymous) if node.name.lower() in COMPARISONS]
    calls = [node for node in calls if node.parent_select is select]
    if not calls:
        return select, set()
    columns = select.expressions
    shifts: dict[str, list[int]] = {}
    times: dict[str, exp.Expr] = {}
    for call in calls:
        if not (isinstance(call.parent, exp.Alias) and call.parent.parent is select):
            raise refuse(call, "compare is a column of its select, by itself")
        if call.name.lower() == "ts_compare":
            times[call.parent.alias] = _time_of(select, call, refuse)
        shifts[call.parent.alias] = [_shift(node, refuse) for node in call.expressions[1:]]
    if any(column.is_star for column in columns):
        raise refuse(calls[0], "beside compare each column is named")
    if select.ctes or any(table.name != LOG for table in select.find_all(exp.Table)):
        raise refuse(calls[0], "compare reads log, or selects from it; tables of the query's own it does not know")
    inner = select.copy()
    for part in ("order", "limit", "offset"):
        inner.set(part, None)
    for column in inner.expressions:
        if column.alias in shifts:
            value = column.this.expressions[0]
            if inner.args.get("group") and not _is_aggregate(value):
                value = exp.Anonymous(this="arbitrary", expressions=[value])
            column.set("this", value)
    every = {shift for several in shifts.values() for shift in several}
    keys = [column.alias_or_name for column in columns if column.alias not in shifts]
    whole = exp.select(
        *[
            _compared(column.alias, shifts[column.alias], times.get(column.alias))
            if column.alias in shifts
            else exp.alias_(_of(0, column.alias_or_name), column.alias_or_name, quoted=True)
            for column in columns
        ]
    ).from_(inner.subquery(_side(0)))
    for shift in sorted(every):
        on = exp.and_(*[exp.NullSafeEQ(this=_of(0, key), expression=_of(shift, key)) for key in keys], exp.true())
        whole.join(_moved(inner, shift).subquery(_side(shift)), on=on, join_type="left", copy=False)
    for part in ("order", "limit", "offset"):
        whole.set(part, select.args.get(part))
    return whole, every


def _shift(node: exp.Expr, refuse: Refuse) -> int:
    seconds = int(node.name) if isinstance(node, exp.Literal) and node.is_int else 0
    if not 0 < seconds <= _MOST_S:
        raise refuse(node, f"compare looks back by a number of seconds, at most {_MOST_S}")
    return seconds


def _moved(select: exp.Select, shift: int) -> exp.Select:
    """``select`` over what is ``shift`` seconds older."""
    moved = select.copy()
    for table in moved.find_all(exp.Table):
        table.set("this", exp.to_identifier(earlier(shift), quoted=True))
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(LOG)))
    return moved


def _is_aggregate(node: exp.Expr) -> bool:
    names = (call.name.lower() for call in node.find_all(exp.Anonymous))
    return any(name in OVER_ROWS and OVER_ROWS[name].kind == "aggregate" for name in names)


def _time_of(select: exp.Select, call: exp.Anonymous, refuse: Refuse) -> exp.Expr:
    """The unix time of the one column that a ``ts_compare`` stands beside."""
    others = [column for column in select.expressions if column is not call.parent]
    kind = kind_of(others[0]) if len(others) == 1 else ""
    if select.args.get("group") is None or kind not in ("TIMESTAMP", "BIGINT"):
        raise refuse(call, "ts_compare is grouped by one column, the time, and stands beside it")
    if len(call.expressions) != 2:
        raise refuse(call, "ts_compare looks back once: ts_compare(x, seconds)")
    moment = _of(0, others[0].alias_or_name)
    return exp.Anonymous(this="to_unixtime", expressions=[moment]) if kind == "TIMESTAMP" else moment


def _compared(name: str, shifts: list[int], time: exp.Expr | None) -> exp.Expr:
    now = exp.cast(_of(0, name), "DOUBLE")
    then = [exp.cast(_of(shift, name), "DOUBLE") for shift in shifts]
    ratios = [
        exp.case().when(
            exp.NEQ(this=one.copy(), expression=exp.Literal.number(0)), exp.Div(this=now.copy(), expression=one)
        )
        for one in then
    ]
    before = [] if time is None else [exp.cast(time, "DOUBLE") - shifts[0]]
    return exp.alias_(exp.array(now, *then, *ratios, *before), name, quoted=True)


def _side(shift: int) -> str:
    return f"vpclab {shift}"


def _of(shift: int, name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True), exp.to_identifier(_side(shift), quoted=True))
