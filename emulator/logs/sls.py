"""The search language of SLS.

::

    leaf    phrase | text | text : (text | phrase) | text OPERATOR number
            | text in [ number number ]                     or with round brackets, which leave the bound out

``and``, ``or``, ``not`` are operators in any case, ``in`` in lower case only. Words in quotes are all wanted, in any
order; a phrase, ``#"…"``, wants them in this order and side by side (alibaba.md §5.5).
"""

from __future__ import annotations

import re

from emulator.logs.condition import All, Compare, Condition, Empty, Exists, Operator, Pattern, Wild, Words, conjunction
from emulator.logs.descent import OPERATORS, Descent, Token
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


def parse_sls(query: QueryText, text: str) -> Condition:
    """The condition that ``text``, the beginning of ``query``, asks for."""
    return _Parser(query, text, _TOKEN).parse()


class _Parser(Descent):
    def leaf(self) -> Condition:
        first = self.take("word", "quoted", "phrase")
        if first.kind == "phrase":
            return self.words(None, first)
        if self.next.text == ":":
            self.take(":")
            return self.words(first, self.take("word", "quoted", "phrase"))
        if self.next.kind == "operator":
            operator = OPERATORS[self.take("operator").text]
            return Compare(self.name(first), operator, self.number(), first.at)
        if self.next == ("word", "in", self.next.at) and self.tokens[self.place + 1].text in ("[", "("):
            self.take("word")
            low: Operator = ">=" if self.take("[", "(").text == "[" else ">"
            bounds = self.number(), self.number()
            high: Operator = "<=" if self.take("]", ")").text == "]" else "<"
            name = self.name(first)
            return conjunction([Compare(name, low, bounds[0], first.at), Compare(name, high, bounds[1], first.at)])
        return self.words(None, first)

    def words(self, field: Token | None, value: Token) -> Condition:
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

    def name(self, token: Token) -> str:
        if token.kind == "quoted":
            return _unquoted(token.text)
        self.check_word(token)
        return token.text

    def check_word(self, token: Token) -> None:
        if token.text == "in" or token.text.lower() in _RESERVED:
            raise self.query.refuse(token.at, f"{token.text} is a word of the language; to search for it, quote it")

    def no_token(self, text: str, at: int) -> str:
        if text[at] == "|":
            return "'|' is not understood here; as part of a word it needs quotes"
        return '# stands before a phrase: #"one two"' if text[at] == "#" else super().no_token(text, at)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _pattern(word: str) -> Pattern:
    """A bare word with its wildcards found."""
    runs = [run for run in re.split(r"([*?])", word) if run]
    return tuple(Wild(run) if run in ("*", "?") else run for run in runs)
