"""CLS Lucene: luqum reads it, this makes conditions of it.

Two conditions side by side mean OR; a NOT among them takes away from all of them, as Lucene has it. Only upper-case
operators are operators. What luqum takes for plain words although CLS does not (``&&``, ``||``, ``!``) is refused, as
is everything that has no condition: fuzziness, boosts, ``+`` and ``-``.
"""

from __future__ import annotations

import re
from typing import Any

from luqum import tree
from luqum.exceptions import ParseError

from emulator.errors import QueryError
from emulator.logs.condition import (
    All,
    Compare,
    Condition,
    Exists,
    Matches,
    Not,
    Operator,
    Pattern,
    Wild,
    Words,
    conjunction,
    disjunction,
    number,
)
from emulator.logs.grammar import parse as parse_tree
from emulator.logs.query import QueryText

_POSITION = re.compile(r"position (\d+)")


def parse_lucene(query: QueryText, text: str) -> Condition:
    """The condition that ``text``, the beginning of ``query``, asks for."""
    try:
        return _Reader(query).condition(parse_tree(text))
    except ParseError as error:
        where = _POSITION.search(str(error))
        raise _syntax_error(query, text, int(where[1]) if where else len(text.rstrip())) from None
    except RecursionError:
        raise query.refuse(0, "the query is nested too deeply") from None


def _syntax_error(query: QueryText, text: str, at: int) -> QueryError:
    found = text[at : at + 1]
    if not found:
        return query.refuse(at, "the query ends where a condition or a closing bracket is missing")
    if found == '"':
        return query.refuse(at, "the quotation mark is never closed")
    return query.refuse(at, f"{found!r} is not understood here; as part of a word it needs a \\ before it, or quotes")


class _Reader:
    """Walks luqum's tree; ``field`` is the field that a value stands behind, and where its name begins."""

    def __init__(self, query: QueryText) -> None:
        self.query = query

    def condition(self, node: Any, field: tuple[str, int] | None = None) -> Condition:
        match node:
            case tree.AndOperation():
                return conjunction([self.condition(part, field) for part in node.operands])
            case tree.UnknownOperation():
                return self.side_by_side(node.operands, field)
            case tree.OrOperation():
                return disjunction([self.condition(part, field) for part in node.operands])
            case tree.Not():
                return Not(self.condition(node.a, field))
            case tree.BaseGroup():
                return self.condition(node.expr, field)
            case tree.SearchField():
                return self.field(node, field)
            case tree.Phrase():
                return self.words(node, field, node.value[1:-1], phrase=True)
            case tree.Word():
                return self.words(node, field, node.value, phrase=False)
            case tree.Range():
                return self.range(node, field)
            case tree.From() | tree.To():
                return self.bound(node, field)
            case tree.Prohibit() if field is not None and isinstance(node.a, tree.Word):
                return self.words(node, field, "-" + node.a.value, phrase=False)
            case tree.Plus() | tree.Prohibit():
                raise self.query.unsupported(node.pos, "+ and - before a word (AND and NOT are understood)")
            case tree.Regex():
                name, field_at = field or (None, node.pos)
                return Matches(name, node.value[1:-1].replace("\\/", "/"), node.pos, field_at)
            case tree.Fuzzy() | tree.Proximity():
                raise self.query.unsupported(node.pos, "~ behind a word")
            case tree.Boost():
                raise self.query.unsupported(node.pos, "^ behind a word")
        raise self.query.unsupported(node.pos, f"{str(node).strip()!r}")

    def side_by_side(self, parts: list[Any], field: tuple[str, int] | None) -> Condition:
        """``a b NOT c``: a or b, and not c."""
        wanted = [self.condition(part, field) for part in parts if not isinstance(part, tree.Not)]
        unwanted = [self.condition(part, field) for part in parts if isinstance(part, tree.Not)]
        return conjunction(([disjunction(wanted)] if wanted else []) + unwanted)

    def field(self, node: Any, outer: tuple[str, int] | None) -> Condition:
        at = node.pos
        if outer is not None:
            raise self.query.refuse(at, f"a field within the value of {outer[0]}; a value that holds : needs quotes")
        name = _unescaped(node.name)
        if name != "_exists_":
            if isinstance(node.expr, tree.Word) and node.expr.value == "*":
                return Exists(name, at)
            return self.condition(node.expr, (name, at))
        if not isinstance(node.expr, tree.Word):
            raise self.query.refuse(node.expr.pos, "behind _exists_: stands the name of a field")
        return Exists(_unescaped(node.expr.value), node.expr.pos)

    def words(self, node: Any, field: tuple[str, int] | None, value: str, *, phrase: bool) -> Condition:
        name, field_at = field or (None, node.pos)
        if phrase:
            pattern: Pattern = (_unescaped(value),) if value else ()
        else:
            self.check_word(node, value)
            pattern = _pattern(value)
            if name is None and pattern == (Wild.ANY,):
                return All()
        return Words(name, pattern, "phrase" if phrase else "any", node.pos, field_at)

    def check_word(self, node: Any, value: str) -> None:
        """Refuse what luqum reads as part of a word and Lucene does not."""
        for found in re.finditer(r'\\.|&&|\|\||^!|["<>:]', value, re.DOTALL):
            if not found[0].startswith("\\"):
                at = node.pos + found.start()
                what = "AND, OR and NOT are the operators; " if found[0] in ("&&", "||", "!") else ""
                raise self.query.refuse(at, f"{found[0]!r}: {what}as part of a word it needs a \\ before it, or quotes")

    def range(self, node: Any, field: tuple[str, int] | None) -> Condition:
        parts: list[Condition] = []
        ends: tuple[tuple[Any, Operator], ...] = (
            (node.low, ">=" if node.include_low else ">"),
            (node.high, "<=" if node.include_high else "<"),
        )
        for end, operator in ends:
            if not (isinstance(end, tree.Word) and end.value == "*"):
                parts.append(self.compare(field, operator, end))
        if not parts and field is not None:
            return Exists(*field)
        return conjunction(parts) if parts else self.compare(field, ">=", node.low)

    def bound(self, node: Any, field: tuple[str, int] | None) -> Condition:
        if isinstance(node, tree.From):
            return self.compare(field, ">=" if node.include else ">", node.a)
        return self.compare(field, "<=" if node.include else "<", node.a)

    def compare(self, field: tuple[str, int] | None, operator: Operator, node: Any) -> Condition:
        if field is None:
            raise self.query.refuse(node.pos, "a range needs a field before it: field:>400, field:[400 TO 500]")
        sign, word = ("-", node.a) if isinstance(node, tree.Prohibit) else ("", node)
        text = _unescaped(word.value[1:-1] if isinstance(word, tree.Phrase) else word.value)
        value = number(sign + text)
        if value is None:
            raise self.query.refuse(node.pos, f"{sign + text!r} is no number; ranges are for number fields")
        return Compare(field[0], operator, value, field[1])


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _pattern(text: str) -> Pattern:
    """A word with its escapes undone and its wildcards found."""
    runs: list[str | Wild] = []
    for found in re.finditer(r"\\(.)|(.)", text, re.DOTALL):
        if found[2] in ("*", "?"):
            runs.append(Wild(found[2]))
            continue
        character = found[1] or found[2]
        if runs and isinstance(runs[-1], str):
            runs[-1] += character
        else:
            runs.append(character)
    return tuple(runs)
