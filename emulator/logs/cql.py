"""CQL, the newer search language of CLS.

::

    leaf   value | key : value | key : ( values with and, or, not ) | key OPERATOR number | key : OPERATOR number

Operators are words in any case; two conditions side by side mean AND (the documents contradict each other). A bare
word that the tokenizer cuts wants all its parts; a phrase, in either kind of quotes, wants them in this order, and may
hold ``*`` (tencent.md §5.6). ``?`` is a character like others: the list of what has to be escaped leaves it out.
"""

from __future__ import annotations

import re

from emulator.logs.condition import All, Compare, Condition, Empty, Exists, Pattern, Wild, Words
from emulator.logs.descent import OPERATORS, Descent, Token
from emulator.logs.query import QueryText

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    | (?P<operator>[<>]=?|=)
    | (?P<mark>[():])
    | (?P<word>(?:\\.|[^\s()"':<>=|\\])+)
    """,
    re.VERBOSE | re.DOTALL,
)

_BARE = re.compile(r"\\(.)|(.)", re.DOTALL)
_QUOTED = re.compile(r"\\([*\"'\\])|(.)", re.DOTALL)
"""Within quotes a backslash is one, but before what would end the phrase or be a wildcard."""


def parse_cql(query: QueryText, text: str) -> Condition:
    """The condition that ``text``, the beginning of ``query``, asks for."""
    return _Parser(query, text, _TOKEN).parse()


class _Parser(Descent):
    field: Token | None = None
    """The key whose values are read between brackets."""

    def leaf(self) -> Condition:
        first = self.take("word", "quoted")
        self.check_word(first)
        if first.kind == "word" and self.next.kind == "operator":
            return self.compare(first)
        if first.kind == "quoted" or self.next.text != ":":
            return self.value(self.field, first)
        if self.field is not None:
            raise self.query.refuse(
                first.at, f"a field within the value of {_plain(self.field)}; a value that holds : needs quotes"
            )
        self.take(":")
        if self.next.kind == "operator":
            return self.compare(first)
        if self.next.text == "(":
            self.take("(")
            self.field = first
            inner = self.either()
            self.field = None
            self.take(")")
            return inner
        value = self.take("word", "quoted")
        self.check_word(value)
        return self.value(first, value)

    def compare(self, key: Token) -> Condition:
        return Compare(_plain(key), OPERATORS[self.take("operator").text], self.number(), key.at)

    def value(self, key: Token | None, value: Token) -> Condition:
        name, field_at = (None, value.at) if key is None else (_plain(key), key.at)
        quoted = value.kind == "quoted"
        pattern = _pattern(value.text[1:-1], _QUOTED) if quoted else _pattern(value.text, _BARE)
        if not quoted and pattern == (Wild.ANY,):
            return All() if name is None else Exists(name, field_at)
        if quoted and not pattern and name is not None:
            return Empty(name, field_at, delimiters_too=True)
        return Words(name, pattern, "phrase" if quoted else "all", value.at, field_at)

    def check_word(self, token: Token) -> None:
        if token.is_word("and", "or", "not"):
            raise self.query.refuse(token.at, f"{token.text} is an operator; to search for it, quote it")

    def no_token(self, text: str, at: int) -> str:
        if text[at] == "|":
            return "'|' is not understood here; as part of a word it needs quotes"
        return "a \\ has nothing behind it" if text[at] == "\\" else super().no_token(text, at)


def _plain(token: Token) -> str:
    return _BARE.sub(lambda found: found[1] or found[2], token.text)


def _pattern(text: str, escapes: re.Pattern[str]) -> Pattern:
    """A value with its escapes undone and its wildcards found."""
    runs: list[str | Wild] = []
    for found in escapes.finditer(text):
        if found[2] == "*":
            runs.append(Wild.ANY)
        elif runs and isinstance(runs[-1], str):
            runs[-1] += found[1] or found[2]
        else:
            runs.append(found[1] or found[2])
    return tuple(runs)
