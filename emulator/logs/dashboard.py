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

The first column is what the others are drawn over.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from emulator.errors import LabError, QueryError
from emulator.logs.records import Record, Records
from emulator.logs.topic import Topic

PRESETS = Path(__file__).with_name("dashboards")
CHARTS = ("line", "bar", "pie", "number", "table")
PROVIDERS = ("tencent", "alibaba")


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


Curves: TypeAlias = dict[str, list[float | None]]


def presets() -> list[Dashboard]:
    """The dashboards that come with vpclab."""
    return [read_dashboard(path) for path in sorted(PRESETS.glob("*.toml"))]


def dashboard(name: str, folder: Path) -> Dashboard:
    """The dashboard of this name: a file, one of the user's in ``folder``, or a preset."""
    for path in (Path(name), folder / f"{name}.toml", PRESETS / f"{name}.toml"):
        if path.suffix == ".toml" and path.is_file():
            return read_dashboard(path)
    known = ", ".join(sorted(path.stem for place in (folder, PRESETS) for path in place.glob("*.toml")))
    raise LabError(f"there is no dashboard {name!r}; there are {known}; or give a TOML file, or put one into {folder}")


def read_dashboard(path: Path) -> Dashboard:
    """The dashboard in a file; LabError says what is wrong with it."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        raise LabError(f"{path} is no dashboard: {wrong}") from None
    panels = told.pop("panel", None)
    _check(path, told, {"title", "provider"}, set())
    if told["provider"] not in PROVIDERS:
        raise LabError(f"{path}: provider is {' or '.join(PROVIDERS)}, not {told['provider']!r}")
    if not isinstance(panels, list) or not panels:
        raise LabError(f"{path}: a dashboard has [[panel]] entries")
    return Dashboard(path.stem, told["title"], told["provider"], tuple(_panel(path, panel) for panel in panels))


def ask(board: Dashboard, topic: Topic, start: float | None = None, end: float | None = None) -> list[Answer]:
    """What each panel shows of a topic; a query that is refused does not keep the others away."""
    answers = []
    for panel in board.panels:
        try:
            answers.append(Answer(panel, topic.search(panel.query, start, end)))
        except QueryError as refused:
            answers.append(Answer(panel, refused=str(refused)))
    return answers


def curves(answer: Answer) -> tuple[list[str], Curves]:
    """What a chart is drawn over, in order, and for each curve its values there; None where it has none."""
    records: list[Record] = answer.records or []
    labels = list(dict.fromkeys(_label(next(iter(record.values()), None)) for record in records))
    place = {label: at for at, label in enumerate(labels)}
    found: Curves = {}
    for record in records:
        over, *names = record
        series = _label(record[answer.panel.series]) if answer.panel.series in record else None
        for name in names:
            if name == answer.panel.series:
                continue
            curve = found.setdefault(name if series is None else series, [None] * len(labels))
            value = record[name]
            curve[place[_label(record[over])]] = float(value) if isinstance(value, int | float) else None
    return labels, found


def _label(value: object) -> str:
    return "-" if value is None else str(value)


def _panel(path: Path, told: object) -> Panel:
    if not isinstance(told, dict):
        raise LabError(f"{path}: a panel is a table: [[panel]]")
    _check(path, told, {"title", "chart", "query"}, {field.name for field in fields(Panel)})
    if told["chart"] not in CHARTS:
        raise LabError(f"{path}: the chart of {told['title']!r} is one of {', '.join(CHARTS)}, not {told['chart']!r}")
    return Panel(**told)


def _check(path: Path, told: dict[str, Any], needed: set[str], allowed: set[str]) -> None:
    missing, unknown = needed - told.keys(), told.keys() - needed - allowed
    if missing or unknown:
        what = f"without {', '.join(sorted(missing))}" if missing else f"with {', '.join(sorted(unknown))}"
        raise LabError(
            f"{path}: {told.get('title', 'an entry')!r} {what}; it has {', '.join(sorted(needed | allowed))}"
        )
    for name, value in told.items():
        if not isinstance(value, str):
            raise LabError(f"{path}: {name} is text, not {value!r}")
