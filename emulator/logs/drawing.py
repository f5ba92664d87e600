"""A dashboard in a terminal: tables by rich, charts by plotext."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulator.errors import RequirementMissing
from emulator.logs.dashboard import Answer, Dashboard, curves
from emulator.logs.records import Record

CHART_LINES = 14
MOST_TICKS = 6


def draw(board: Dashboard, answers: Sequence[Answer], console: Console) -> None:
    """Print every panel, one below the other."""
    console.print(Text(board.title, style="bold"))
    for answer in answers:
        console.print()
        unit = f" ({answer.panel.unit})" if answer.panel.unit else ""
        console.print(Text(answer.panel.title + unit, style="bold"))
        if answer.refused:
            console.print(Text(answer.refused, style="red"))
        elif not answer.records:
            console.print("nothing was found")
        elif answer.panel.chart == "number":
            console.print(Text(_shown(next(iter(answer.records[0].values()))), style="bold green"))
        elif answer.panel.chart == "table":
            console.print(_table(answer))
        else:
            console.print(Text.from_ansi(_chart(answer, console)))


def _chart(answer: Answer, console: Console) -> str:
    try:
        import plotext
    except ImportError:
        raise RequirementMissing("charts need plotext and pygal", way_out="pip install 'vpclab[charts]'") from None
    labels, found = curves(answer)
    figure: Any = plotext.figure
    figure.clear()
    plotext.terminal.limit(False, False)
    horizontal = answer.panel.chart != "line"
    figure.plot_size(min(console.width, 100), len(labels) * 2 + 3 if horizontal else CHART_LINES)
    if horizontal:
        ((_, values), *_) = found.items()
        heights = [value or 0.0 for value in values][::-1]
        figure.draw(figure.bar(labels[::-1], heights, orientation="horizontal"))
        # By itself plotext takes -1 to 1 for these bars and fills all that is beyond, in time and memory, too.
        figure.ruler("x").lim(min(0.0, *heights), max(0.0, *heights) or 1.0)
        figure.ruler("y").lim(0.5, len(labels) + 0.5)
    else:
        for name, values in found.items():
            points = [(at, value) for at, value in enumerate(values) if value is not None]
            figure.draw(figure.signal([at for at, _ in points], [value for _, value in points]).lines().label(name))
        step = max(1, -(-len(labels) // MOST_TICKS))
        figure.ruler("x").ticks(list(range(0, len(labels), step)), labels[::step])
    return str(figure.build().string(colorless=not console.color_system)).rstrip("\n")


def _table(answer: Answer) -> Table:
    records: list[Record] = answer.records or []
    table = Table(show_edge=False)
    for name, value in records[0].items():
        table.add_column(name, justify="right" if isinstance(value, int | float) else "left", overflow="fold")
    for record in records:
        table.add_row(*[Text(_shown(value)) for value in record.values()])
    return table


def _shown(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    return "-" if value is None else str(value)
