"""Dashboards as data: panels, each a query with a kind of chart.

Presets lie beside this file in ``dashboards/``; users keep their own as TOML of the same form::

    title = "Mine"
    provider = "tencent"          # whose SQL it is

    [[panel]]
    title = "Top talkers"
    chart = "bar"                 # line, bar, pie, number, table
    unit = "bytes"                # optional
    series = "action"             # optional: the column whose values are drawn as one line each
    query = "* | select srcaddr, sum(bytes) as b group by srcaddr order by b desc limit 10"

The first column is what the others are drawn over; ``number`` shows the first value that there is.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from emulator.cloud.names import nearest
from emulator.errors import LabError, QueryError
from emulator.logs.curves import shown
from emulator.logs.records import Records
from emulator.logs.topic import Topic
from emulator.positions import Place, line_of

PRESETS = Path(__file__).with_name("dashboards")
CHARTS = ("line", "bar", "pie", "number", "table")
PROVIDERS = ("tencent", "alibaba")

_BOARD = frozenset({"title", "provider"})
_NEEDED = frozenset({"title", "chart", "query"})


@dataclass(frozen=True)
class Panel:
    title: str
    chart: str
    query: str
    unit: str = ""
    series: str = ""


@dataclass(frozen=True)
class Dashboard:
    name: str
    title: str
    provider: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Answer:
    """What a panel's query found, or why it was refused."""

    panel: Panel
    records: Records | None = None
    refused: str = ""


def presets() -> list[Dashboard]:
    """The dashboards that come with vpclab."""
    return [read_dashboard(path) for path in sorted(PRESETS.glob("*.toml"))]


def dashboard(name: str, folder: Path) -> Dashboard:
    """The dashboard of this name: a file, one of the user's in ``folder``, or a preset."""
    for path in (Path(name), folder / f"{name}.toml", PRESETS / f"{name}.toml"):
        if path.suffix == ".toml" and path.is_file():
            return read_dashboard(path)
    known = [path.stem for place in (folder, PRESETS) for path in place.glob("*.toml")]
    raise LabError(
        f"there is no dashboard {name!r}, no TOML file of this name, and none in {folder}; {nearest(name, known)}"
    )


def read_dashboard(path: Path) -> Dashboard:
    """The dashboard in a file; LabError says what is wrong with it, a line for each mistake."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        told = tomllib.loads(text)
    except OSError as wrong:
        raise LabError(f"{path} cannot be read: {wrong.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        raise LabError(f"{path} is no dashboard: {wrong}") from None
    problems = [f"{path}:{line_of(text, place)}: {message}" for place, message in _problems(told)]
    if problems:
        raise LabError("\n".join(problems))
    panels = tuple(Panel(**panel) for panel in told["panel"])
    return Dashboard(path.stem, told["title"], told["provider"], panels)


def ask(board: Dashboard, topic: Topic, start: float | None = None, end: float | None = None) -> list[Answer]:
    """What each panel shows of a topic; a query that is refused does not keep the others away."""
    answers = []
    for panel in board.panels:
        try:
            records = topic.search(panel.query, start, end)
        except QueryError as refused:
            answers.append(Answer(panel, refused=str(refused)))
        else:
            answers.append(Answer(panel, records, _wrong_with(panel, records)))
    return answers


def _wrong_with(panel: Panel, records: Records) -> str:
    """Why no chart can be drawn of what was found; empty if one can."""
    if panel.chart not in ("line", "bar", "pie") or not records:
        return ""
    names = list(records[0])
    if panel.series and panel.series not in names:
        return f"series is {panel.series!r}, and no column is called so: there are {', '.join(names)}"
    places = [(next(iter(record.values()), None), record.get(panel.series)) for record in records]
    twice = next((place for place, times in Counter(map(str, places)).items() if times > 1), None)
    if twice is None:
        return ""
    first = next(place for place in places if str(place) == twice)
    return (
        f"several rows are for {shown(first[0])}{f', {shown(first[1])}' * bool(panel.series)}: a {panel.chart} is drawn"
        f" over {names[0]}{f' and series {panel.series}' * bool(panel.series)}; group by these alone, or name a series"
    )


def _problems(told: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """What is wrong with the TOML of a dashboard, and where."""
    panels = told.get("panel")
    yield from _wrong_words({key: value for key, value in told.items() if key != "panel"}, (), _BOARD, _BOARD)
    provider = told.get("provider")
    if isinstance(provider, str) and provider not in PROVIDERS:
        yield ("provider",), f"provider is {provider!r}: {nearest(provider, PROVIDERS)}"
    if not isinstance(panels, list) or not panels:
        yield ("panel",), "a dashboard has [[panel]] entries"
        return
    for at, panel in enumerate(panels):
        if not isinstance(panel, dict):
            yield ("panel", at), f"a panel is a table, [[panel]], not {panel!r}"
            continue
        yield from _wrong_words(panel, ("panel", at), _NEEDED, {field.name for field in fields(Panel)})
        chart = panel.get("chart")
        if isinstance(chart, str) and chart not in CHARTS:
            yield ("panel", at, "chart"), f"chart is {chart!r}: {nearest(chart, CHARTS)}"


def _wrong_words(told: dict[str, Any], place: Place, needed: Set[str], known: Set[str]) -> Iterator[tuple[Place, str]]:
    what = "a panel" if place else "a dashboard"
    for name in sorted(needed - told.keys()):
        yield place, f"{what} has a {name}, this one has none"
    for name, value in told.items():
        if name not in known:
            yield (*place, name), f"{what} has no {name}: {nearest(name, known)}"
        elif not isinstance(value, str):
            yield (*place, name), f"{name} is text, not {value!r}"
