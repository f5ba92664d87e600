"""The SQL behind the bar: Presto's dialect, as the providers have it, becomes DuckDB's.

sqlglot reads and writes it; between the two stand an allow-list (``allowed.py``) and these rules of ours:

- a select without FROM reads ``log``, the rows that the condition found; no other table exists but the query's own
- names of the query's own tables get a prefix, so that none can mean something in DuckDB
- a column without a name is called ``_col0``, ``_col1``, … by its place
- integer division stays integer (a setting of the engine)
- functions and casts mean what ``presto/`` says
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError

from emulator.errors import QueryError
from emulator.logs.allowed import is_allowed
from emulator.logs.presto.comparison import LOG, compare, earlier
from emulator.logs.presto.dialect import DuckDbSql, ProviderSql
from emulator.logs.presto.functions import MACRO, functions_of
from emulator.logs.presto.kinds import Kind, note_kinds
from emulator.logs.presto.rewrite import Rewriter
from emulator.logs.presto.series import fill_series
from emulator.logs.query import QueryText

if TYPE_CHECKING:
    from emulator.logs.elsewhere.target import Target

MOST_ROWS = 1_000_000
"""Largest LIMIT of both providers (tencent.md §5.7, alibaba.md §5.7)."""

_OWN = "vpclab cte "

_OUR_MACRO = re.compile(rf"Macro {MACRO}(?:[cs]ls_)?(?:cast_(?P<kind>\w+)|(?P<name>\w+))\(\) ")
"""What DuckDB says of a call of a macro of ours, for which it finds no form."""

_OUR_ERROR = re.compile(r"^Could not convert string '([^'].*)' to INT64.*")
"""How a macro of ours says what is wrong: by a cast that cannot work. Casts of the query's have quotes in quotes."""

_FORMS = {"now": 0, "try": 1, "time_series": 4, "compare": 2}
"""What is called like a function and changes more than its own place; with how many arguments at least."""

_FORMS_OF = {"tencent": _FORMS, "alibaba": {**_FORMS, "ts_compare": 2}}

_RESERVED = frozenset({"end"})
"""Keywords of Presto that sqlglot takes for columns; a flow record has a field of this name."""


class Sql:
    """A query's SQL, checked and rewritten.

    ``known``   the columns that it may name; ``without`` those that are indexed without statistics
    ``limit``   most rows wanted, over the query's own LIMIT
    ``now_s``   what the clock says
    ``words``   the names that occur in it, in lower case; ``star``: it asks for all columns
    ``macros``  definitions of what it calls, by name
    ``counts_seconds``  it reads ``SECONDS_OF_LOG``, too
    ``shifts``  how many seconds it looks back, for each table of older rows that it reads
    ``target``  an engine elsewhere that is to compute it, DuckDB where left out
    ``kinds``   of columns, by their names in lower case
    """

    def __init__(
        self,
        query: QueryText,
        bar: int,
        known: Iterable[str],
        limit: int | None,
        now_s: float,
        place_of: str = "",
        without: Iterable[str] = (),
        target: Target | None = None,
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        self._query = query
        self._target = target
        self.shifts: set[int] = set()
        self._functions = functions_of(query.profile.provider, place_of)
        self._start = bar + 1
        self._source = query.text[self._start :]
        self._known, self._without = list(known), set(without)
        try:
            tree = self._parsed()
            self._check(tree)
            self.words = {identifier.name.lower() for identifier in tree.find_all(exp.Identifier)}
            self.star = any(not isinstance(star.parent, exp.Anonymous) for star in tree.find_all(exp.Star))
            self._read_log(tree)
            _name_columns(tree)
            _limit(tree, limit)
            note_kinds(tree, kinds or {})
            rewriter = self._rewriter(now_s, bool(place_of))
            tree = self._expanded(tree, rewriter)
            tree = rewriter.rewrite(tree)
            self.macros, self.counts_seconds = rewriter.needed, rewriter.counts_seconds
            self._written = self._write(tree)
        except RecursionError:
            raise query.refuse(self._start, "the SQL is nested too deeply") from None

    def over(self, log: Callable[[int], str]) -> str:
        """DuckDB's SQL, in which ``log`` is what ``log(0)`` selects; ``log(n)`` has the rows that are n s older."""
        ctes, body = self._written
        names = {0: LOG, **{shift: earlier(shift) for shift in sorted(self.shifts)}}
        logs = [f"{self._sql(exp.to_identifier(name))} AS ({log(shift)})" for shift, name in names.items()]
        return f"WITH {', '.join([*logs, *ctes])} {body}"

    def failed(self, message: str) -> QueryError:
        """The error for what DuckDB said of it, at the name that it speaks of."""
        message = re.sub(r"^\w+(?: \w+)* Error: ", "", message.replace(_OWN, "")).split("\n")[0]
        macro = _OUR_MACRO.match(message)
        if macro is not None:
            if macro["kind"]:
                return self.refuse("cast", f"this cannot be cast to {macro['kind']}")
            return self.refuse(macro["name"], f"{macro['name']} does not take values of these types")
        message = _OUR_ERROR.sub(r"\1", message.replace(MACRO, ""))
        for name in re.findall(r'"([^"]+)"', message):
            at = self._named(name)
            if at is not None:
                return self._query.refuse(at, message)
        return self._query.refuse(self._first(), f"the SQL could not be run: {message}")

    def refuse(self, name: str, message: str) -> QueryError:
        """The error about a name, where it stands."""
        at = self._named(name)
        return self._query.refuse(self._first() if at is None else at, message)

    def _rewriter(self, now_s: float, from_database: bool) -> Rewriter:
        provider = self._query.profile.provider
        if self._target is None:
            seconds = provider == "tencent" and not self.star
            return Rewriter(self._functions, provider, now_s, self._wrong, seconds)
        from emulator.logs.elsewhere.rewrite import TargetRewriter

        return TargetRewriter(self._target, self._functions, provider, now_s, self._wrong, self._lacking, from_database)

    def _expanded(self, tree: exp.Query, rewriter: Rewriter) -> exp.Query:
        """``tree`` with ``compare`` and ``time_series`` made into selects, those within others first."""
        for call in tree.find_all(exp.Anonymous):
            if self._target is not None and not self._target.fills and call.name.lower() == "time_series":
                raise self._lacking(call, f"time_series on {self._target.name}")
        for select in list(tree.find_all(exp.Select))[::-1]:
            new, shifts = compare(select, self._wrong)
            new = fill_series(new, rewriter, self._wrong)
            self.shifts |= shifts
            if select is tree:
                tree = new
            elif new is not select:
                select.replace(new)
        return tree

    def _parsed(self) -> exp.Query:
        first = re.match(r"\w*", self._source.lstrip())
        word = first[0] if first else ""
        if word and word.lower() not in ("select", "with"):
            raise self._query.unsupported(self._first(), f"{word!r} behind the | (a select is)")
        try:
            trees = sqlglot.parse(self._source, read=ProviderSql)
        except ParseError as error:
            raise self._not_understood(error) from None
        except SqlglotError:
            raise self._query.refuse(self._first(), "the SQL is not understood: a quotation mark is open") from None
        if not trees or trees[0] is None:
            raise self._query.refuse(self._first(), "behind the | has to follow SQL: select ...")
        if len(trees) > 1:
            raise self._query.refuse(self._first(), "behind the | stands one select, without a ;")
        tree = trees[0]
        if not isinstance(tree, exp.Select | exp.SetOperation):
            raise self._query.unsupported(self._first(), f"{self._text(tree)} behind the | (a select is)")
        return tree

    def _not_understood(self, error: ParseError) -> QueryError:
        found = error.errors[0] if error.errors else {}
        lines = self._source.split("\n")
        before = sum(len(line) + 1 for line in lines[: (found.get("line") or 1) - 1])
        # sqlglot counts to the end of the token that it stopped at.
        at, token = before + (found.get("col") or 1), found.get("highlight") or ""
        expected = found.get("description") or ""
        if not expected.startswith("Expect"):
            at, expected = at - len(token), f"{token!r} is not understood here"
        return self._query.refuse(self._start + max(0, at), f"the SQL is not understood: {expected}")

    def _check(self, tree: exp.Query) -> None:
        """Refuse what is not on the list, and what would mean something else than it seems to."""
        names = {name.lower() for name in self._known}
        names |= {alias.alias.lower() for alias in tree.find_all(exp.Alias)}
        names |= {column.name.lower() for alias in tree.find_all(exp.TableAlias) for column in alias.columns}
        for node in tree.walk():
            if isinstance(node, exp.Sub):
                self._check_hyphens(node)
            if isinstance(node, exp.Identifier) and not node.quoted and node.name.lower() in _RESERVED:
                raise self._query.refuse(self._at(node), f'{node.name} is a keyword; the column is "{node.name}"')
            if not is_allowed(node):
                raise self._query.unsupported(self._at(node), self._text(node))
            if isinstance(node, exp.Limit) and int(node.expression.name) > MOST_ROWS:
                raise self._query.refuse(self._at(node), f"a LIMIT is at most {MOST_ROWS}")
            if isinstance(node, exp.Anonymous):
                self._check_call(node)
            if isinstance(node, exp.Column) and not node.is_star and node.name.lower() not in names:
                raise self._query.refuse(self._at(node), self._unresolved(node.name))

    def _check_call(self, node: exp.Anonymous) -> None:
        """A call of a function that there is, with as many arguments as it takes."""
        function = self._functions.get(node.name.lower())
        if function is None:
            least = _FORMS_OF[self._query.profile.provider].get(node.name.lower())
            if least is not None and least <= len(node.expressions):
                return
            raise self._query.unsupported(self._at(node), self._text(node))
        given = node.expressions
        if len(given) == 1 and isinstance(given[0], exp.Distinct):
            given = given[0].expressions
        if function.name == "histogram" and len(given) == 2:
            if not isinstance(given[1], exp.Interval):
                raise self._wrong(given[1], "histogram(time, interval 1 minute) takes an interval")
            if int(given[1].this.name) < 1:
                raise self._wrong(given[1], "the interval of histogram is at least 1")
        elif function.name == "approx_percentile" and isinstance(given[-1], exp.Neg):
            raise self._wrong(given[-1], "a percentile is between 0 and 1")
        elif function.name == "to_unixtime" and any(len(call.expressions) > 1 for call in _clocks(node)):
            raise self._wrong(
                node, "the clock of a zone does not tell its unix time: from_unixtime without the zone does"
            )
        elif len(given) not in function.arguments:
            wanted = " or ".join(str(number) for number in sorted(function.arguments))
            raise self._wrong(node, f"{function.name} takes {wanted} arguments, not {len(given)}")

    def _lacking(self, node: exp.Expr, message: str) -> QueryError:
        return self._query.unsupported(self._at(node), message)

    def _wrong(self, node: exp.Expr, message: str) -> QueryError:
        return self._query.refuse(self._at(node), message)

    def _check_hyphens(self, node: exp.Sub) -> None:
        """``log-status`` without quotes is a difference of two columns; say so where that is not what was meant."""
        parts: list[str] = []
        left: exp.Expr = node
        while isinstance(left, exp.Sub) and isinstance(left.expression, exp.Column):
            parts.insert(0, left.expression.name)
            left = left.this
        if isinstance(left, exp.Column):
            name = "-".join([left.name, *parts])
            if name in self._known and not {left.name, *parts} <= set(self._known):
                raise self._query.refuse(self._at(node), f'{name} is a difference; the column is "{name}", in quotes')

    def _read_log(self, tree: exp.Query) -> None:
        ctes = list(tree.find_all(exp.CTE))
        own = {cte.alias.lower() for cte in ctes}
        if LOG in own:
            raise self.refuse(LOG, f"{LOG} is the table of what was found; name yours otherwise")
        for select in list(tree.find_all(exp.Select)):
            if not (select.args.get("from_") or select.args.get("from")):
                select.from_(exp.Table(this=exp.to_identifier(LOG)), copy=False)
        for table in list(tree.find_all(exp.Table)):
            name = table.name.lower()
            if name in own:
                if not table.alias:
                    table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
                table.set("this", exp.to_identifier(_OWN + name))
            elif name != LOG:
                message = f"there is no table {table.name!r}, only {', '.join([LOG, *sorted(own)])}"
                raise self._query.refuse(self._at(table), message)
        for cte in ctes:
            cte.args["alias"].set("this", exp.to_identifier(_OWN + cte.alias.lower()))

    def _write(self, tree: exp.Query) -> tuple[list[str], str]:
        """The common table expressions, and the select without them."""
        part = "with_" if tree.args.get("with_") else "with"
        ctes = tree.args.get(part)
        tree.set(part, None)
        try:
            nodes = [*(ctes.expressions if ctes else []), tree]
            *written, body = [self._sql(node) for node in nodes]
        except SqlglotError as error:
            raise self._query.unsupported(self._first(), str(error)) from None
        return written, body

    def _sql(self, node: exp.Expr) -> str:
        dialect = DuckDbSql if self._target is None else self._target.reads
        return str(node.sql(dialect, identify=True, comments=False, unsupported_level=ErrorLevel.RAISE))

    def _unresolved(self, name: str) -> str:
        near = get_close_matches(name, self._known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(self._known)}"
        if name in self._without:
            return (
                f"column {name!r} cannot be resolved: its statistics are off, so it is searched and not computed with"
            )
        return f"column {name!r} cannot be resolved: it is not in the index of this topic; {hint}"

    def _first(self) -> int:
        """Where the SQL begins, or should."""
        return self._start + len(self._source) - len(self._source.lstrip())

    def _at(self, node: exp.Expr) -> int:
        """Where a node, or what is nearest to it, stands in the query."""
        if "start" not in node.meta and isinstance(node, exp.Func):
            # sqlglot keeps no place of functions that it knows by heart.
            named = self._named(node.sql_name())
            if named is not None:
                return named
        place: exp.Expr | None = node
        while place is not None:
            starts = [inner.meta["start"] for inner in place.walk() if "start" in inner.meta]
            if starts:
                return self._start + int(min(starts))
            place = place.parent
        return self._first()

    def _named(self, name: str) -> int | None:
        """Where a name first stands in the query."""
        found = re.search(rf'(?<![\w"]){re.escape(name)}(?!\w)|"{re.escape(name)}"', self._source, re.IGNORECASE)
        return None if found is None else self._start + found.start()

    def _text(self, node: exp.Expr) -> str:
        """How a node is called in an error."""
        if isinstance(node, exp.Anonymous):
            return f"the function {node.name}"
        return repr(node.sql("presto")[:60])


def _clocks(node: exp.Expr) -> Iterator[exp.Anonymous]:
    """The calls of ``from_unixtime`` below a node."""
    return (call for call in node.find_all(exp.Anonymous) if call.name.lower() == "from_unixtime")


def _name_columns(tree: exp.Query) -> None:
    """As Presto does, where a column of the result has no name."""
    first = tree
    while isinstance(first, exp.SetOperation):
        first = first.left
    named = (exp.Alias, exp.Column, exp.Star)
    columns = [
        column if isinstance(column, named) else exp.alias_(column, f"_col{at}")
        for at, column in enumerate(first.expressions)
    ]
    first.set("expressions", columns)


def _limit(tree: exp.Query, most: int | None) -> None:
    if most is not None:
        own = tree.args.get("limit")
        tree.limit(most if own is None else min(most, int(own.expression.name)), copy=False)
