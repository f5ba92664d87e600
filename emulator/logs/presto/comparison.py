"""``compare``: what is computed now, beside the same some seconds earlier.

::

    select compare(n, 86400) as c from (select count(*) as n from log)

becomes a select over two that differ by the rows they read: ``log``, and ``log 86400`` in which every row is 86,400 s
older than it is written, so that times of day meet. Both are joined by the columns that are not compared. A comparison
is an array, counted from 1: now, each time earlier, and now in relation to each (tencent.md §5.7, alibaba.md §5.7).
"""

from __future__ import annotations

from sqlglot import exp

from emulator.logs.presto.rewrite import Refuse

LOG = "log"

_MOST_S = 366 * 86_400


def earlier(shift_s: int) -> str:
    """The name of the table of rows that are ``shift_s`` older than they seem."""
    return f"{LOG} {shift_s}"


def compare(select: exp.Select, refuse: Refuse) -> tuple[exp.Select, set[int]]:
    """``select`` itself or, where it calls ``compare``, what that means; and the shifts of the tables that it reads."""
    calls = [node for node in select.find_all(exp.Anonymous) if node.name.lower() == "compare"]
    calls = [node for node in calls if node.parent_select is select]
    if not calls:
        return select, set()
    columns = select.expressions
    shifts: dict[str, list[int]] = {}
    for call in calls:
        if not (isinstance(call.parent, exp.Alias) and call.parent.parent is select):
            raise refuse(call, "compare is a column of its select, by itself")
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
            column.set("this", column.this.expressions[0])
    every = {shift for several in shifts.values() for shift in several}
    keys = [column.alias_or_name for column in columns if column.alias not in shifts]
    whole = exp.select(
        *[
            _compared(column.alias, shifts[column.alias])
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


def _compared(name: str, shifts: list[int]) -> exp.Expr:
    now = exp.cast(_of(0, name), "DOUBLE")
    then = [exp.cast(_of(shift, name), "DOUBLE") for shift in shifts]
    ratios = [
        exp.case().when(
            exp.NEQ(this=one.copy(), expression=exp.Literal.number(0)), exp.Div(this=now.copy(), expression=one)
        )
        for one in then
    ]
    return exp.alias_(exp.array(now, *then, *ratios), name, quoted=True)


def _side(shift: int) -> str:
    return f"vpclab {shift}"


def _of(shift: int, name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True), exp.to_identifier(_side(shift), quoted=True))
