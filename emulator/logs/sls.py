"""The search language of SLS: a small parser of its own, for a generated one costs 0.1 s to load.

::

    either  both (or both)*
    both    one (and? one)*
    one     not one | ( either ) | phrase | text | text : (text | phrase) | text OPERATOR number
            | text in [ number number ]                     or with round brackets, which leave the bound out

Two conditions side by side mean AND; ``and``, ``or``, ``not`` are operators in any case, ``in`` in lower case only.
Words in quotes are all wanted, in any order; a phrase, ``#"…"``, wants them in this order and side by side
(alibaba.md §5.5).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple, NoReturn

from emulator.logs.condition import (
    All,
    Compare,
    Condition,
    Empty,
    Exists,
    Not,
    Operator,
    Pattern,
    Wild,
    Words,
    conjunction,
    disjunction,
    number,
)
from emulator.logs.query import QueryText

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<phrase>\#"(?:\\.|[^"\\])*")
    | (?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    | (?P<operator>[<>]=?|=)
    | (?P<mark>[()\[\]:])
    | (?P<word>[^\s()\[\]"'\#:<>=|]+)
    """,
    re.VERBOSE | re.DOTALL,
)

_RESERVED = frozenset({"and", "or", "not", "sort", "asc", "desc", "group", "by", "avg", "sum", "min", "max", "limit"})
"""Words of the language, in any case, that need quotes to be searched for; so does ``in``, in lower case only."""

_OPERATORS: dict[str, Operator] = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "=": "="}


class _Token(NamedTuple):
    """``kind`` is the name of a group of ``_TOKEN``, or ``end``."""

    kind: str
    text: str
    at: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words


def parse_sls(query: QueryText, text: str) -> Condition:
    """The condition that ``text``, the beginning of ``query``, asks for."""
    parser = _Parser(query, text)
    try:
        condition = parser.either()
    except RecursionError:
        raise query.refuse(0, "the query is nested too deeply") from None
    if parser.next.kind != "end":
        parser.fail()
    return condition


class _Parser:
    def __init__(self, query: QueryText, text: str) -> None:
        self.query = query
        self.tokens = self.tokenized(text)
        self.place = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def take(self, *kinds: str) -> _Token:
        """The next token, which has to be one of these: a kind, or the text of a mark."""
        token = self.next
        if token.kind not in kinds and not (token.kind == "mark" and token.text in kinds):
            self.fail()
        self.place += 1
        return token

    def either(self) -> Condition:
        parts = [self.both()]
        while self.next.is_word("or"):
            self.take("word")
            parts.append(self.both())
        return disjunction(parts)

    def both(self) -> Condition:
        parts = [self.one()]
        while self.next.kind != "end" and self.next.text != ")" and not self.next.is_word("or"):
            if self.next.is_word("and"):
                self.take("word")
            parts.append(self.one())
        return conjunction(parts)

    def one(self) -> Condition:
        if self.next.is_word("not"):
            self.take("word")
            return Not(self.one())
        if self.next.text == "(":
            self.take("(")
            inner = self.either()
            self.take(")")
            return inner
        return self.leaf()

    def leaf(self) -> Condition:
        first = self.take("word", "quoted", "phrase")
        if first.kind == "phrase":
            return self.words(None, first)
        if self.next.text == ":":
            self.take(":")
            return self.words(first, self.take("word", "quoted", "phrase"))
        if self.next.kind == "operator":
            operator = _OPERATORS[self.take("operator").text]
            return Compare(self.name(first), operator, self.number(), first.at)
        if self.next == ("word", "in", self.next.at) and self.tokens[self.place + 1].text in ("[", "("):
            self.take("word")
            low: Operator = ">=" if self.take("[", "(").text == "[" else ">"
            bounds = self.number(), self.number()
            high: Operator = "<=" if self.take("]", ")").text == "]" else "<"
            name = self.name(first)
            return conjunction([Compare(name, low, bounds[0], first.at), Compare(name, high, bounds[1], first.at)])
        return self.words(None, first)

    def words(self, field: _Token | None, value: _Token) -> Condition:
        name, field_at = (None, value.at) if field is None else (self.name(field), field.at)
        if value.kind == "word":
            self.check_word(value)
            if value.text == "*":
                return All() if name is None else Exists(name, field_at)
            return Words(name, _pattern(value.text), "all", value.at, field_at)
        phrase = value.kind == "phrase"
        text = _unquoted(value.text.removeprefix("#"))
        if not text and not phrase and name is not None:
            return Empty(name, field_at)
        if re.search(r"(?<!\\)(\\\\)*[*?]", value.text):
            raise self.query.refuse(value.at, "wildcards stand outside of quotes; within, write \\* or \\?")
        return Words(name, (text,) if text else (), "phrase" if phrase else "all", value.at, field_at)

    def name(self, token: _Token) -> str:
        if token.kind == "quoted":
            return _unquoted(token.text)
        self.check_word(token)
        return token.text

    def number(self) -> Decimal:
        token = self.take("word")
        value = number(token.text)
        if value is None:
            raise self.query.refuse(token.at, f"{token.text!r} is no number; comparisons are for number fields")
        return value

    def check_word(self, token: _Token) -> None:
        if token.text == "in" or token.text.lower() in _RESERVED:
            raise self.query.refuse(token.at, f"{token.text} is a word of the language; to search for it, quote it")

    def fail(self) -> NoReturn:
        """Refuse the next token."""
        token = self.next
        if token.kind == "end":
            raise self.query.refuse(token.at, "the query ends where a condition or a closing bracket is missing")
        raise self.query.refuse(token.at, f"{token.text!r} is not understood here; as part of a word it needs quotes")

    def tokenized(self, text: str) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                message = {
                    "#": '# stands before a phrase: #"one two"',
                    "|": "'|' is not understood here; as part of a word it needs quotes",
                }
                raise self.query.refuse(at, message.get(text[at], "the quotation mark is never closed"))
            if found.lastgroup and found.lastgroup != "space":
                tokens.append(_Token(found.lastgroup, found[0], at))
            at = found.end()
        return [*tokens, _Token("end", "", len(text.rstrip()))]


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _pattern(word: str) -> Pattern:
    """A bare word with its wildcards found."""
    runs = [run for run in re.split(r"([*?])", word) if run]
    return tuple(Wild(run) if run in ("*", "?") else run for run in runs)
