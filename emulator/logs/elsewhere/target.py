"""One engine's dialect: how SQL is written for it, and what it computes for each function of the providers'.

A table of functions is text, as in ``presto/``: a name and its arguments, and what the engine computes, in its own
SQL. Here it is no macro but put in place of the call, for neither Spark Connect nor Trino lets a reader define one;
of several lines for one function the first holds whose arguments are of the kinds that it names::

    strpos(x, y) = instr(x, y)
    date_trunc(u, x DATE) = CAST(date_trunc(u, x) AS DATE)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from emulator.logs.presto.functions import Form, lines
from emulator.logs.presto.kinds import kind_of
from emulator.logs.presto.rewrite import SECONDS

_SPECIAL = re.compile(r"([\\.^$|()\[\]{}*+?])")

_LETTERS = """
%Y yyyy|%y yy|%m MM|%-m M|%d dd|%-d d|%H HH|%-H H|%I hh|%-I h|%M mm|%S ss|%f SSSSSS|%p a|%j DDD|%b MMM|%B MMMM
%a EEE|%A EEEE|%% %
"""
_JAVA = dict(re.findall(r"(%[^\s|]+) ([^|\s]+)", _LETTERS))
"""strftime's codes, and Java's letters for them."""


_COMPUTED = "computed"


class NotThere(Exception):
    """The engine has nothing for it; the message says for what."""


@dataclass(frozen=True)
class Target:
    """An engine elsewhere.

    ``reads``      its dialect, in which the tables are written; every function is a call by name in it
    ``functions``  by provider, a table of text
    ``size``       what it calls the number of elements of an array
    ``same``       the functions that are its own, by the same name
    ``fills``      whether ``time_series`` can be written for it
    """

    name: str
    reads: type[Dialect]
    functions: Mapping[str, str]
    size: str
    same: frozenset[str] = frozenset()
    fills: bool = True

    def forms(self, provider: str) -> Mapping[str, list[Form]]:
        return _forms(self.functions[provider])

    def call(self, provider: str, name: str, arguments: list[exp.Expr]) -> exp.Expr:
        """What the engine computes for a call.

        :raises NotThere: nothing
        """
        kinds = [kind_of(one) for one in arguments]
        for form in self.forms(provider).get(name, []):
            if form.takes(kinds):
                return self._computed(provider, form, arguments)
        if name in self.same:
            return _own(exp.Anonymous(this=name, expressions=[one.copy() for one in arguments]))
        raise NotThere(f"the function {name}")

    def computed(self, node: exp.Expr) -> bool:
        """Whether a call was put here by a table, so that it is the engine's own."""
        return _COMPUTED in node.meta

    def _computed(self, provider: str, form: Form, arguments: list[exp.Expr]) -> exp.Expr:
        body = _parsed(form.body, self.reads).copy()
        given = dict(zip(form.names, arguments, strict=True))
        for node in list(body.walk(bfs=False))[::-1]:
            new = self._filled(provider, node, given)
            if new is node:
                continue
            if node is body:
                body = new
            else:
                node.replace(new)
        return enclosed(body)

    def _filled(self, provider: str, node: exp.Expr, given: Mapping[str, exp.Expr]) -> exp.Expr:
        if isinstance(node, exp.Column) and node.name in given:
            return enclosed(given[node.name].copy())
        if isinstance(node, exp.Anonymous) and node.name in _SPELLED:
            return _SPELLED[node.name](node.expressions[0])
        if isinstance(node, exp.Anonymous) and node.name.startswith("vpclab_"):
            return self.call(provider, node.name, node.expressions)
        return node


def enclosed(node: exp.Expr) -> exp.Expr:
    """In brackets where what stands beside it could take it apart."""
    loose = isinstance(node, exp.Binary | exp.Not | exp.Neg | exp.Between | exp.In) and not isinstance(node, exp.Dot)
    return exp.Paren(this=node) if loose else node


def _text(node: exp.Expr, what: str) -> str:
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.name)
    raise NotThere(f"{what} that is no text in quotes")


def _quoted(node: exp.Expr) -> exp.Expr:
    return exp.Literal.string(_SPECIAL.sub(r"\\\1", _text(node, "a separator")))


def _pattern(node: exp.Expr) -> exp.Expr:
    pieces = re.split(r"(%-?.)", _text(node, "a format of dates"))
    if set(pieces[1::2]) - _JAVA.keys():
        raise NotThere(f"{', '.join(sorted(set(pieces[1::2]) - _JAVA.keys()))} in a format of dates")
    pieces[1::2] = [_JAVA[piece] for piece in pieces[1::2]]
    pieces[::2] = [re.sub(r"([A-Za-z]+)", r"'\1'", piece.replace("'", "''")) for piece in pieces[::2]]
    return exp.Literal.string("".join(pieces))


def _micros(node: exp.Expr) -> exp.Expr:
    unit = _text(node, "a unit of time").upper()
    if unit == "MILLISECOND":
        return exp.Literal.number(1_000)
    if unit not in SECONDS:
        raise NotThere(f"the unit {unit.lower()} in date_diff")
    return exp.Literal.number(SECONDS[unit] * 1_000_000)


def _unit(node: exp.Expr) -> exp.Expr:
    unit = _text(node, "a unit of time").upper()
    if unit not in (*SECONDS, "MILLISECOND", "MONTH", "QUARTER", "YEAR"):
        raise NotThere(f"the unit {unit.lower()}")
    return exp.Var(this=unit)


_SPELLED: Mapping[str, Callable[[exp.Expr], exp.Expr]] = {
    "vpclab_quoted": _quoted,
    "vpclab_pattern": _pattern,
    "vpclab_micros": _micros,
    "vpclab_unit": _unit,
}


@functools.cache
def _forms(text: str) -> Mapping[str, list[Form]]:
    found: dict[str, list[Form]] = {}
    for name, form in lines(text):
        body = form.body or f"{name}({', '.join(form.names)})"
        found.setdefault(name, []).append(replace(form, body=body))
    return found


@functools.cache
def _parsed(body: str, reads: type[Dialect]) -> exp.Expr:
    tree = sqlglot.parse_one(body, read=reads)
    for call in tree.find_all(exp.Anonymous):
        _own(call)
    return tree


def _own(call: exp.Anonymous) -> exp.Anonymous:
    """Note that a call is the engine's."""
    call.meta[_COMPUTED] = True
    return call
