"""docs/languages.md is true: every example in its tables is asked, and what can be asked is in its tables."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from emulator.errors import QueryError
from emulator.logs import LogService, Topic
from emulator.logs.presto.functions import functions_of
from emulator.providers import profile
from tests.logs.conftest import NOW, flows_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "languages.md"
UNDOCUMENTED = "\N{EN DASH}"
SECOND_WINDOW = {"start": 1_700_000_301, "end": 1_700_000_601}


class Row(NamedTuple):
    """``condition``: it stands in a table of conditions, whose answers are numbers of records."""

    construct: str
    status: str
    language: str
    condition: bool
    example: str
    answer: str


def rows() -> Iterator[Row]:
    """A row for each language that a row of the document speaks of."""
    languages: list[str] = []
    for line in DOCUMENT.read_text().split("\n"):
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0] == "construct":
            languages = cells[1 : cells.index("example")]
        elif not cells:
            languages = []
        elif languages and not cells[0].startswith("---"):
            example, answer = (cells[len(languages) + at].strip("`") for at in (1, 2))
            for language, status in zip(languages, cells[1:], strict=False):
                if status != UNDOCUMENTED:
                    yield Row(cells[0], status, language, "Lucene" in languages, example, answer)


ROWS = list(rows())


@pytest.fixture(scope="module")
def flows() -> Iterator[Topic]:
    """Tencent's, for questions only."""
    with LogService(profile=profile("tencent"), now=lambda: float(NOW)) as service:
        yield flows_of(service)


@pytest.fixture(scope="module")
def sls_flows() -> Iterator[Topic]:
    with LogService(profile=profile("alibaba"), now=lambda: float(NOW)) as service:
        yield flows_of(service)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.language}: {row.construct}")
def test_the_document_says_what_is(flows: Topic, sls_flows: Topic, row: Row) -> None:
    topic = sls_flows if row.language == "SLS" else flows
    language = row.language.lower() if row.condition else None
    query = row.example if row.condition or " | " in row.example else f"* | select {row.example} limit 1"
    if row.status in ("not yet", "refused"):
        with pytest.raises(QueryError):
            topic.search(query, language=language)
        return
    assert row.status in ("works", "differs")
    found = topic.search(query, language=language, **(SECOND_WINDOW if "compare(" in query else {}))
    if row.condition:
        assert [int(record.id.split("-")[1]) for record in found] == json.loads(row.answer)
    else:
        assert shown(json.loads(found.json())) == json.loads(row.answer)


def shown(records: list[dict[str, Any]]) -> Any:
    """Values as the document has them: those of one row without the list of rows, a single one by itself."""
    values = [list(record.values()) for record in records]
    if len(values) > 1:
        return values
    return values[0][0] if len(values[0]) == 1 else values[0]


@pytest.mark.parametrize(("language", "provider"), [("CLS", "tencent"), ("SLS", "alibaba")])
def test_every_function_is_in_the_document(language: str, provider: str) -> None:
    told = " ".join(
        f"{row.construct} {row.example}"
        for row in ROWS
        if row.language == language and row.status in ("works", "differs")
    )
    assert set(functions_of(provider)) - set(re.findall(r"\w+", told)) == set()


ARGUMENTS = (
    *("null", "0", "-1", "1.5", "1e308", "9223372036854775807", "''", "'a'", "'1,2'", "'%Y'", "'day'", "true", "bytes"),
    *(
        "'{\"a\":1}'",
        "'$.a'",
        "'10.0.0.1/24'",
        "array[]",
        "array[1, 2]",
        "array[null]",
        "array['a']",
        "srcaddr",
        "now()",
    ),
    *("map(array['a'], array[1])", "map(array[array[1]], array[1])", "date '2020-01-01'", "to_utf8('a')"),
)


def test_every_function_takes_or_refuses_whatever_it_is_given(flows: Topic, sls_flows: Topic) -> None:
    chance = random.Random(11)
    for topic, provider in ((flows, "tencent"), (sls_flows, "alibaba")):
        for name, function in functions_of(provider).items():
            for count in sorted(function.arguments):
                given = ", ".join(chance.choice(ARGUMENTS) for _ in range(count))
                over = " over (order by bytes)" if function.kind == "window" else ""
                try:
                    topic.search(f"* | select {name}({given}){over} as x")
                except QueryError as refused:
                    assert "nternal" not in str(refused)
    assert flows.search("* | select histogram(array[1]) as x") == [{"x": [([1], 5)]}]


def test_every_table_was_read() -> None:
    assert len({row.construct for row in ROWS}) > 150
    assert {row.language for row in ROWS} == {"Lucene", "CQL", "SLS", "CLS"}
