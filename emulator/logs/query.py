"""The text of a query: where its condition ends, its SQL begins, and what a position in it means to who typed it.

::

    dstaddr:10.16.0.40 AND action:ACCEPT | select srcaddr, sum(bytes) as b group by srcaddr
    └───────────── condition ──────────┘   └──────────────────── SQL ──────────────────────┘
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from emulator.cloud.profile import Profile
from emulator.errors import QueryError

_EXPRESSION = re.compile(r"(?<![^\s:(])/(?:\\.|[^/\\])+/", re.DOTALL)
"""A regular expression, where a value begins."""


@dataclass(frozen=True)
class QueryText:
    """A query as it was typed, and the id of the topic that is asked; offsets count characters of ``text`` from 0."""

    text: str
    profile: Profile
    topic_id: str = ""

    def refuse(self, offset: int, message: str) -> QueryError:
        """The error for a query that is wrong at ``offset``; raise it."""
        return self._error(offset, message, "query")

    def unsupported(self, offset: int, what: str) -> QueryError:
        """The error for what a provider understands and vpclab does not yet; raise it."""
        return self._error(offset, f"{what}: not supported yet", "query.unsupported")

    def ended(self, reason: str, message: str) -> QueryError:
        """The error for a query that was understood and used up what it may; raise it."""
        return self._error(0, message, reason)

    def _error(self, offset: int, message: str, reason: str) -> QueryError:
        before = self.text[: max(0, offset)]
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        return QueryError(
            f"line {line}:{column}: {message}",
            code=self.profile.code(reason),
            line=line,
            column=column,
            object=self.topic_id,
            value=self.text,
        )

    def bar(self, quotes: str, *, expressions: bool) -> int | None:
        """Offset of the bar between condition and SQL, None without one.

        Bars within ``quotes`` and, where there are ``expressions``, in ``/one/``, behind a backslash, or doubled (an
        operator) do not count.
        """
        text, at, quoted = self.text, 0, ""
        while at < len(text):
            character = text[at]
            if character == "\\":
                at += 1
            elif quoted:
                if character == quoted:
                    quoted = ""
            elif character in quotes:
                quoted = character
            elif expressions and (found := _EXPRESSION.match(text, at)):
                at = found.end() - 1
            elif text.startswith("||", at):
                at += 1
            elif character == "|":
                return at
            at += 1
        return None
