"""Conditions against a slow evaluator in plain Python: the tree itself, and the tree written in each language."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.errors import QueryError
from emulator.logs import Field, Index, LogService, Topic
from emulator.logs.condition import (
    All,
    And,
    Compare,
    Condition,
    Empty,
    Exists,
    Matches,
    Not,
    Or,
    Pattern,
    Wild,
    Words,
)
from emulator.logs.index import Age
from emulator.logs.plan import Question, RawPlan
from emulator.logs.query import QueryText
from emulator.logs.records import ROW, SEGMENT
from emulator.providers import profile

INDEX = Index(
    {
        "addr": Field("text", ", /"),
        "cased": Field("text", "", case_sensitive=True),
        'od"d key': Field("text", "-[]^.\\ \n"),
        "count": Field("long"),
        "share": Field("double"),
        "count-text": Field("long"),
        "never": Field("text", ","),
    }
)
TEXTS = list("abAÉéßİ.*?-,/ \"'\\\n[]^(1")
NUMBERS = [-(1 << 63), -3, -1, 0, 1, 2, 5, 443, (1 << 53) + 1, (1 << 63) - 1]


def rows(count: int) -> list[dict[str, Any]]:
    chance = random.Random(7)

    def text() -> str | None:
        return chance.choice([None, "", *("".join(chance.choices(TEXTS, k=chance.randint(1, 5))) for _ in range(5))])

    return [
        {
            "addr": text(),
            "cased": text(),
            'od"d key': text(),
            "count": chance.choice([None, *NUMBERS]),
            "share": chance.choice([None, -1.5, 0.0, 0.5, 1.0, 443.0, 1e18]),
            "count-text": chance.choice([None, "", "-", "1.5", "x", "5", "-3", "443", " 1", "9" * 19]),
        }
        for _ in range(count)
    ]


ROWS = rows(2000)


# The slow evaluator.


def fold(text: str) -> str:
    return "".join(character.lower()[0] for character in text)


def tokens(value: str, delimiters: str) -> list[str]:
    for delimiter in delimiters:
        value = value.replace(delimiter, "\0")
    return [token for token in value.split("\0") if token]


def pattern_tokens(pattern: Pattern, delimiters: str) -> list[list[str | Wild]]:
    marked: list[str | Wild] = []
    for run in pattern:
        marked += [run] if isinstance(run, Wild) else list(run)
    words: list[list[str | Wild]] = [[]]
    for one in marked:
        if one in list(delimiters):
            words.append([])
        else:
            words[-1].append(one)
    return [word for word in words if word]


def fits(word: list[str | Wild], token: str) -> bool:
    if not word:
        return not token
    head, *rest = word
    if head is Wild.ANY:
        return any(fits(rest, token[skip:]) for skip in range(len(token) + 1))
    return bool(token) and (head is Wild.ONE or head == token[0]) and fits(rest, token[1:])


def value_of(row: dict[str, Any], name: str) -> Any:
    value, kind = row.get(name), INDEX.fields[name].kind
    if kind == "long" and isinstance(value, str):
        digits = value.removeprefix("-")
        good = digits.isascii() and digits.isdigit() and -(1 << 63) <= int(value) < 1 << 63
        return int(value) if good else None
    return value


def holds(condition: Condition, row: dict[str, Any]) -> bool:
    match condition:
        case All():
            return True
        case And(parts):
            return all(holds(part, row) for part in parts)
        case Or(parts):
            return any(holds(part, row) for part in parts)
        case Not(part):
            return not holds(part, row)
        case Exists(name):
            return value_of(row, name) is not None
        case Empty(name):
            field, value = INDEX.fields[name], value_of(row, name)
            if field.kind != "text" or value is None:
                return field.kind != "text" and value is None
            return not (tokens(value, field.delimiters) if condition.delimiters_too else value)
        case Compare(name, operator, number):
            value = value_of(row, name)
            if value is None:
                return False
            exact = Decimal(value)
            return (
                (exact < number and "<" in operator)
                or (exact > number and ">" in operator)
                or (exact == number and "=" in operator)
            )
        case Matches(None):
            return any(holds(replace(condition, field=name), row) for name in texts)
        case Matches(name, expression):
            field, value = INDEX.fields[name], row.get(name)
            pattern = re.compile(expression, re.DOTALL if field.case_sensitive else re.DOTALL | re.IGNORECASE)
            return value is not None and any(pattern.fullmatch(token) for token in tokens(value, field.delimiters))
        case Words(None):
            return any(found(condition, name, row) for name, field in INDEX.fields.items() if field.kind == "text")
        case Words(name):
            if INDEX.fields[name].kind != "text":
                value = value_of(row, name)
                return value is not None and Decimal(value) == Decimal(str(condition.pattern[0]))
            return found(condition, name, row)
    raise AssertionError(condition)


def found(words: Words, name: str, row: dict[str, Any]) -> bool:
    field, value = INDEX.fields[name], row.get(name)
    if value is None:
        return False
    clean = (lambda text: text) if field.case_sensitive else fold
    held = tokens(clean(value), field.delimiters) if field.delimiters else [clean(value)]
    wanted = [
        [one if isinstance(one, Wild) else clean(one) for one in word]
        for word in pattern_tokens(words.pattern, field.delimiters)
    ]
    if words.match == "phrase":
        return any(
            all(fits(word, token) for word, token in zip(wanted, held[at:], strict=False))
            for at in range(len(held) - len(wanted) + 1)
        )
    hits = [any(fits(word, token) for token in held) for word in wanted]
    return any(hits) if words.match == "any" else all(hits)


# Random conditions.

texts = [name for name, field in INDEX.fields.items() if field.kind == "text"]
numeric = [name for name, field in INDEX.fields.items() if field.kind != "text"]
literal = st.text(st.sampled_from(TEXTS), min_size=1, max_size=4)
numbers = st.one_of(
    st.sampled_from([*NUMBERS, 1 << 63, -(1 << 70), 10**30]).map(Decimal),
    st.decimals(-10, 500, places=1, allow_nan=False, allow_infinity=False),
)


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    """A word that begins with text, whatever tokenizer cuts it."""
    runs: list[str | Wild] = [draw(st.sampled_from(["a", "b", "A", "é", "1"]))]
    for _ in range(draw(st.integers(0, 3))):
        if isinstance(runs[-1], Wild):
            runs.append(draw(st.sampled_from(["a", "b", "A", "1"])))
        else:
            runs.append(draw(st.sampled_from([Wild.ANY, Wild.ONE])))
    return tuple(runs)


empties = [
    st.builds(lambda name, too: Empty(name, 0, too), st.sampled_from([*texts, *numeric]), st.just(too))
    for too in (False, True)
]
expressions = st.builds(
    lambda name, expression: Matches(name, expression, 0, 0),
    st.sampled_from([None, *texts]),
    st.sampled_from(["a.*", "[ab]+", ".b?", "(A|B)1*", "[^a]", r"\S{2,3}", "1.*1", "é+"]),
)


def leaves(matches: list[str], more: Sequence[st.SearchStrategy[Condition]]) -> st.SearchStrategy[Condition]:
    wild = st.builds(
        lambda name, pattern: Words(name, pattern, matches[0], 0, 0),  # type: ignore[arg-type]
        st.sampled_from([None, *texts]),
        patterns(),
    )
    plain = st.builds(
        lambda name, text, match: Words(name, (text,), match, 0, 0),
        st.sampled_from([None, *texts]),
        literal.filter(lambda text: all(pattern_tokens((text,), INDEX.fields[name].delimiters) for name in texts)),
        st.sampled_from(matches),
    )
    compare = st.builds(
        lambda name, operator, number: Compare(name, operator, number, 0),
        st.sampled_from(numeric),
        st.sampled_from(["<", "<=", ">", ">="]),
        numbers,
    )
    equal = st.builds(
        lambda name, number: Words(name, (f"{number:f}",), matches[0], 0, 0),  # type: ignore[arg-type]
        st.sampled_from(numeric),
        numbers,
    )
    exists = st.builds(lambda name: Exists(name, 0), st.sampled_from([*texts, *numeric]))
    return st.one_of(wild, plain, compare, equal, exists, *more)


def conditions(matches: list[str], *more: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    def inner(part: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
        several = st.lists(part, min_size=2, max_size=3).map(tuple)
        return st.one_of(several.map(And), several.map(Or), part.map(Not))

    return st.recursive(leaves(matches, more), inner, max_leaves=5)


# The tree written in a language.


def escaped(text: str) -> str:
    return "".join(character if character.isalnum() else f"\\{character}" for character in text)


def lucene(condition: Condition) -> str:
    match condition:
        case And(parts):
            return "(" + " AND ".join(map(lucene, parts)) + ")"
        case Or(parts):
            return "(" + (" OR " if len(parts) == 2 else " ").join(f"({lucene(part)})" for part in parts) + ")"
        case Not(part):
            return f"NOT {lucene(part)}"
        case Exists(name):
            return f"{escaped(name)}:*"
        case Compare(name, operator, number):
            return f"{escaped(name)}:{operator}{escaped(format(number, 'f'))}"
        case Matches(name, expression):
            return ("" if name is None else f"{escaped(name)}:") + f"/{expression}/"
        case Words(name, pattern, match):
            field = "" if name is None else f"{escaped(name)}:"
            if match == "phrase":
                return f'{field}"{escaped(str(pattern[0]))}"'.replace("\\\n", "\n")
            return field + "".join(run.value if isinstance(run, Wild) else escaped(run) for run in pattern)
    raise AssertionError(condition)


def cql(condition: Condition) -> str:
    match condition:
        case And(parts):
            return "(" + (" AND " if len(parts) == 2 else " ").join(map(cql, parts)) + ")"
        case Or(parts):
            return "(" + " or ".join(map(cql, parts)) + ")"
        case Not(part):
            return f"not {cql(part)}"
        case Exists(name):
            return f"{escaped(name)}:*"
        case Empty(name):
            return f"{escaped(name)}:''"
        case Compare(name, operator, number):
            return f"{escaped(name)}{operator}{number:f}"
        case Words(name, pattern, match):
            field = "" if name is None else f"{escaped(name)}:"
            if match == "phrase":
                return f"{field}'" + re.sub(r"([*'\\])", r"\\\1", str(pattern[0])) + "'"
            # What only CQL takes for a wildcard is text of the others.
            return field + "".join(run.value if isinstance(run, Wild) else escaped(run) for run in pattern)
    raise AssertionError(condition)


def with_stars(condition: Condition) -> Condition:
    """``*`` for every ``?``, which is no wildcard in CQL."""
    match condition:
        case And(parts) | Or(parts):
            return replace(condition, parts=tuple(map(with_stars, parts)))
        case Not(part):
            return Not(with_stars(part))
        case Words(_, pattern):
            return replace(condition, pattern=tuple(Wild.ANY if run is Wild.ONE else run for run in pattern))
    return condition


def words_over_lines(condition: Condition) -> bool:
    """Several words with a line break between them, of which one will do: Lucene cannot say that."""
    match condition:
        case And(parts) | Or(parts):
            return any(map(words_over_lines, parts))
        case Not(part):
            return words_over_lines(part)
        case Words(_, pattern, "any"):
            return "\n" in str(pattern[0])
    return False


def sls(condition: Condition) -> str:
    def name_of(name: str) -> str:
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'

    match condition:
        case And(parts):
            return "(" + " and ".join(map(sls, parts)) + ")"
        case Or(parts):
            return "(" + " OR ".join(map(sls, parts)) + ")"
        case Not(part):
            return f"not {sls(part)}"
        case Exists(name):
            return f"{name_of(name)}:*"
        case Empty(name):
            return f'{name_of(name)}:""'
        case Compare(name, operator, number):
            return f"{name_of(name)} {operator} {number:f}"
        case Words(name, pattern, match):
            field = "" if name is None else f"{name_of(name)}:"
            if any(isinstance(run, Wild) for run in pattern):
                return field + "".join(run.value if isinstance(run, Wild) else run for run in pattern)
            quoted = '"' + "".join(one if one.isalnum() else f"\\{one}" for one in str(pattern[0])) + '"'
            return field + ("#" if match == "phrase" else "") + quoted
    raise AssertionError(condition)


@pytest.fixture(scope="module")
def topic_of() -> Iterator[Callable[[str], Topic]]:
    services = {name: LogService(profile=profile(name), now=lambda: 0.0) for name in ("tencent", "alibaba")}
    topics = {name: service.create_topic("random", index=INDEX) for name, service in services.items()}
    for topic in topics.values():
        topic.write(ROWS)
        assert topic.search() == ROWS
    yield topics.__getitem__
    for service in services.values():
        service.close()


often = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@often
@given(conditions(["any", "all", "phrase"], *empties, expressions))
def test_the_engine_agrees_with_the_evaluator(topic_of: Callable[[str], Topic], condition: Condition) -> None:
    topic = topic_of("tencent")
    scan = topic.scan()
    question = Question(QueryText("", profile("tencent")), "lucene", [Age(INDEX, 0, None)], scan.schema, now_s=0)
    found = RawPlan(question, condition).answer(scan)
    assert found[ROW].to_pylist() == [at for at, row in enumerate(ROWS) if holds(condition, row)]


@often
@given(conditions(["any", "phrase"], expressions).filter(lambda condition: not words_over_lines(condition)))
def test_lucene_means_what_it_says(topic_of: Callable[[str], Topic], condition: Condition) -> None:
    expected = [row for row in ROWS if holds(condition, row)]
    assert topic_of("tencent").search(lucene(condition)) == expected


@often
@given(conditions(["all", "phrase"], empties[1]).map(with_stars))
def test_cql_means_what_it_says(topic_of: Callable[[str], Topic], condition: Condition) -> None:
    expected = [row for row in ROWS if holds(condition, row)]
    assert topic_of("tencent").search(cql(condition), language="cql") == expected


@often
@given(conditions(["all", "phrase"], empties[0]))
def test_sls_means_what_it_says(topic_of: Callable[[str], Topic], condition: Condition) -> None:
    expected = [row for row in ROWS if holds(condition, row)]
    assert topic_of("alibaba").search(sls(condition)) == expected


@pytest.fixture(scope="module")
def in_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topic]:
    """The same rows in files, some of them without some keys; no value of ``plain`` holds a delimiter."""
    index = Index(
        {**INDEX.fields, "plain": Field("text", " ,"), "upper": Field("text", ","), "mixed": Field("text", ",")}
    )
    folder = tmp_path_factory.mktemp("logs")
    with LogService(profile=profile("tencent"), now=lambda: 0.0, folder=folder) as service:
        topic = service.create_topic("random", index=index)
        for at in range(0, len(ROWS), 100):
            topic.write(ROWS[at : at + 100])
        words = ["10.0.0.1", "10.0.0.11", "", None, "eni-7"]
        topic.write([{"plain": word, "upper": "ACCEPT", "mixed": "Ab"} for word in words])
        yield topic


@often
@given(conditions(["any", "all", "phrase"]))
def test_files_are_judged_as_rows_in_memory_are(in_files: Topic, condition: Condition) -> None:
    scan = in_files.scan()
    ages = [Age(in_files.index or INDEX, 0, None)]
    text = QueryText("", profile("tencent"))
    question = Question(text, "lucene", ages, scan.schema, now_s=0, characters=scan.characters)
    found = RawPlan(question, condition).answer(scan)
    numbers = [
        (batch - 1) * 100 + row
        for batch, row in zip(*(found[name].to_pylist() for name in (SEGMENT, ROW)), strict=True)
    ]
    assert [at for at in numbers if at < len(ROWS)] == [at for at, row in enumerate(ROWS) if holds(condition, row)]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("plain:10.0.0.1", 1),
        ("plain:10.0.0.1*", 2),
        ("plain:10.0.0.?", 1),
        ('plain:"eni-7" OR plain:10.0.0.?', 2),
        ("plain:(eni-7 10.0.0.?)", 2),
        ('plain:"10.0.0.1 eni-7"', 0),
        ("plain:ENI-7", 1),
        ("plain:é", 0),
        ("upper:accept", 5),
        ("upper:acc*", 5),
        ("mixed:aB", 5),
        ("NOT plain:10.0.0.1 AND upper:*", 4),
    ],
)
def test_a_value_without_delimiters_is_its_only_word(in_files: Topic, query: str, count: int) -> None:
    assert len(in_files.search(query)) == count


fragments = st.sampled_from(
    [
        *"()[]{}:\"'\\#*?|!+-~^/<>=,;\n  ",
        *("AND", "OR", "NOT", "and", "or", "not", "in", "TO", "||", "&&", "$1", "--", "/*", "*/", "5", "-1", "1.5"),
        *("addr", "count", "share", "never", "nope", "count-text", '"count-text"', "a", "é", "select", "from", "log"),
        *(
            "round(",
            "cast(",
            " as bigint)",
            "array[",
            "x -> ",
            "over (",
            "date '2020-01-01'",
            "time_series(",
            "compare(",
        ),
        *("histogram(", "interval 5 minute", "now()", "from_unixtime(", "ip_prefix(", "json_extract(", "'$.a'", "map("),
        *("where", "sum(count)", "limit", "case", "when", "end", "with", "as", "null", "union", "group by", "order by"),
    ]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.sampled_from(["", "* | select "]), st.lists(fragments, max_size=12), st.sampled_from(["", " "]))
def test_whatever_is_typed_is_answered_or_refused(
    topic_of: Callable[[str], Topic], before: str, parts: list[str], space: str
) -> None:
    query = before + space.join(parts)
    for name, language in (("tencent", "lucene"), ("tencent", "cql"), ("alibaba", "sls")):
        line, column = 1, 1
        try:
            topic_of(name).search(query, limit=3, language=language)
        except QueryError as refused:
            line, column = refused.line, refused.column
        lines = query.split("\n")
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_any_text_at_all_is_answered_or_refused(topic_of: Callable[[str], Topic], query: str) -> None:
    for text in (query, f"* | {query}", f"* | select {query}"):
        for name, language in (("tencent", "lucene"), ("tencent", "cql"), ("alibaba", "sls")):
            try:
                topic_of(name).search(text, limit=3, language=language)
            except QueryError:
                continue
