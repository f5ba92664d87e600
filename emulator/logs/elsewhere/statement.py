"""``topic.sql``: a query as the SQL that another engine runs, for whoever asks that engine himself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from emulator.errors import InvalidValue
from emulator.logs.records import TIME
from emulator.logs.refusal import refuse

if TYPE_CHECKING:
    from emulator.logs.search import Asked
    from emulator.logs.topic import Topic

DIALECTS = ("spark", "trino")

VIEW = "vpclab_rows"
"""What stands for the stored rows in SQL for other engines."""


def sql_elsewhere(topic: Topic, wanted: Asked, dialect: str, table: str) -> str:
    """The SQL of a query in another dialect, over a table that has the columns of the topic's segments."""
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError

    from emulator.logs.elsewhere.engines import target_of
    from emulator.logs.plan import HistogramPlan, understood
    from emulator.logs.search import question_of

    if dialect not in DIALECTS:
        message = f"dialect is one of {', '.join(DIALECTS)}, not {dialect!r}"
        raise refuse(InvalidValue, topic.profile, "query", message, object=topic.id, value=dialect)
    target = target_of(dialect)
    question = replace(question_of(topic, wanted, topic.scan(), wanted.limit), dialect=dialect)
    plan = understood(question)
    if plan.lookback_s:
        question = replace(question, lookback_s=plan.lookback_s)
        plan = understood(question)
    assert not isinstance(plan, HistogramPlan)  # that one has no query of its own
    try:
        source = parse_one(table, into=exp.Table, read=target.reads)
    except (SqlglotError, TypeError):
        message = f"table is a table's name in {target.name}, not {table!r}"
        raise refuse(InvalidValue, topic.profile, "query", message, object=topic.id, value=table) from None
    time = exp.column(TIME, quoted=True)
    rows = exp.select("*").from_(source)
    if question.low is not None:
        rows = rows.where(time.copy() >= question.low - question.lookback_s)
    if question.high is not None:
        rows = rows.where(time.copy() < question.high)
    tree = parse_one(plan.statement()[0], read=target.reads)
    for node in list(tree.find_all(exp.Table)):
        if node.name == VIEW:
            node.replace(rows.subquery(node.alias or VIEW))
    return str(tree.sql(target.reads, identify=True))
