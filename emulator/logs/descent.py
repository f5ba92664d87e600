"""What CQL and the search of SLS have in common: and, or, not, brackets, over leaves that each language reads itself.

::

    either  both (or both)*
    both    one (and? one)*
    one     not one | ( either ) | leaf

Written by hand, for a generated parser costs 0.1 s to load. Two conditions side by side mean AND.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import NamedTuple, NoReturn

from emulator.logs.condition import Condition, Not, Operator, conjunction, disjunction, number
from emulator.logs.query import QueryText

OPERATORS: dict[str, Operator] = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "=": "="}


class Token(NamedTuple):
    """``kind`` is the name of a group of the language's pattern, or ``end``."""

    kind: str
    text: str
    at: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words


class Descent(ABC):
    """A parser by recursive descent. ``pattern`` has groups ``space``, ``word``, ``mark`` and others as needed."""

    def __init__(self, query: QueryText, text: str, pattern: re.Pattern[str]) -> None:
        self.query = query
        self.place = 0
        self.tokens = self._tokens(text, pattern)

    def parse(self) -> Condition:
        """The condition that the whole text asks for."""
        try:
            condition = self.either()
        except RecursionError:
            raise self.query.refuse(0, "the query is nested too deeply") from None
        if self.next.kind != "end":
            self.fail()
        return condition

    @abstractmethod
    def leaf(self) -> Condition:
        """What stands between operators."""

    @property
    def next(self) -> Token:
        return self.tokens[self.place]

    def take(self, *kinds: str) -> Token:
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

    def number(self) -> Decimal:
        token = self.take("word")
        value = number(token.text)
        if value is None:
            raise self.query.refuse(token.at, f"{token.text!r} is no number; comparisons are for number fields")
        return value

    def fail(self) -> NoReturn:
        """Refuse the next token."""
        token = self.next
        if token.kind == "end":
            raise self.query.refuse(token.at, "the query ends where a condition or a closing bracket is missing")
        raise self.query.refuse(token.at, f"{token.text!r} is not understood here; as part of a word it needs quotes")

    def no_token(self, text: str, at: int) -> str:
        """What is wrong with ``text`` at an offset where no token begins."""
        return "the quotation mark is never closed"

    def _tokens(self, text: str, pattern: re.Pattern[str]) -> list[Token]:
        tokens: list[Token] = []
        at = 0
        while at < len(text):
            found = pattern.match(text, at)
            if found is None:
                raise self.query.refuse(at, self.no_token(text, at))
            if found.lastgroup and found.lastgroup != "space":
                tokens.append(Token(found.lastgroup, found[0], at))
            at = found.end()
        return [*tokens, Token("end", "", len(text.rstrip()))]
