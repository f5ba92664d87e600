"""A dashboard in a terminal: tables and bars by rich, lines by plotext.

Curves differ by their marks and not only by colour. In a pipe or a file tables are as wide as what they hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.bar import Bar
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from emulator.errors import RequirementMissing
from emulator.logs.curves import Curves, clock_times, curves, moments, runs, short, shown
from emulator.logs.dashboard import Answer, Dashboard
from emulator.logs.records import Record

CHART_LINES = 14
_MARKS = "•x+o*#@%&~"
_COLOURS = (12, 9, 10, 13, 11, 14, 4, 1, 2, 5)
"""Of the sixteen that each terminal has."""
_Y_TICKS = 4
_BAR_LEAST = 10


def draw(board: Dashboard, answers: Sequence[Answer], console: Console) -> None:
    """Print every panel, one below the other."""
    _print(console, Text(shown(board.title), style="bold"))
    for answer in answers:
        console.print()
        unit = f" ({answer.panel.unit})" if answer.panel.unit else ""
        _print(console, Text(shown(answer.panel.title + unit), style="bold"))
        _print(console, _panel(answer, console))


def _print(console: Console, what: RenderableType) -> None:
    console.print(what, crop=console.is_terminal, soft_wrap=not console.is_terminal and isinstance(what, Text))


def _panel(answer: Answer, console: Console) -> RenderableType:
    if answer.refused:
        return Text(answer.refused, style="red")
    if not answer.records:
        return Text("nothing was found")
    if answer.panel.chart == "number":
        return Text(figure(next(iter(answer.records[0].values()), None)), style="bold green")
    labels, found = curves(answer.records, answer.panel.series)
    if answer.panel.chart == "table" or not found:
        return _table(answer.records, console)
    return (
        _lines(labels, found, console) if answer.panel.chart == "line" else _bars(answer, labels, found, console.width)
    )


def figure(value: object) -> str:
    """A value that stands by itself."""
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else shown(value)


def _bars(answer: Answer, labels: Sequence[str], found: Curves, width: int) -> Table:
    low, high = _range(found)
    rows: list[tuple[str, float, str]] = []
    for at, label in enumerate(labels):
        for name, curve in found.items():
            value = curve[at] or 0.0
            whole = sum(one or 0.0 for one in curve) if answer.panel.chart == "pie" else 0.0
            told = short(value) + (f" {value / whole:6.1%}" if whole else "")
            rows.append((label if len(found) == 1 else f"{label} {name}", value, told))
    longest = max(len(told) for _, _, told in rows)
    table = Table(box=None, show_header=False, expand=True, pad_edge=False)
    table.add_column(overflow="fold", max_width=max(_BAR_LEAST, width - longest - _BAR_LEAST - 4))
    table.add_column(ratio=1, min_width=_BAR_LEAST)
    table.add_column(justify="right", no_wrap=True, min_width=longest)
    for label, value, told in rows:
        bar = Bar(high - low, min(0.0, value) - low, max(0.0, value) - low, color="color(12)")
        table.add_row(Text(label), bar, told)
    return table


def _range(found: Curves) -> tuple[float, float]:
    """What an axis reaches from and to, zero included."""
    values = [value for curve in found.values() for value in curve if value is not None]
    low, high = min(0.0, *values), max(0.0, *values)
    return (low, high) if low < high else (0.0, 1.0)


def _lines(labels: list[str], found: Curves, console: Console) -> RenderableType:
    try:
        import plotext
    except ImportError:
        raise RequirementMissing("charts need plotext and pygal", way_out="pip install 'vpclab[charts]'") from None
    times = moments(labels)
    # Not timestamps: those of the reader's own zone leap where its summer begins.
    places = (
        [(time - times[0]).total_seconds() for time in times] if times else [float(at) for at in range(len(labels))]
    )
    ticks, day = (labels, "") if times is None else clock_times(times)
    chart: Any = plotext.figure
    chart.clear()
    chart.theme("colorless")
    plotext.terminal.limit(False, False)
    chart.plot_size(console.width, CHART_LINES)
    legend = [Text(day)] if day else []
    for number, (name, values) in enumerate(found.items()):
        mark, colour = _MARKS[number % len(_MARKS)], _COLOURS[number % len(_COLOURS)]
        for run in runs(labels, values):
            signal = chart.signal([places[at] for at in run], [values[at] for at in run], marker=_mark(mark, colour))
            chart.draw(signal.lines())
        legend.append(Text.assemble((mark, f"color({colour})"), f" {name}"))
    low, high = _range(found)
    heights = _heights(low, high)
    chart.ruler("y").lim(low, high)
    chart.ruler("y").ticks(heights, [short(height) for height in heights])
    most = max(1, console.width // (max(map(len, ticks)) + 8))
    every = -(-len(labels) // most)
    chart.ruler("x").ticks(places[::every], ticks[::every])
    drawn = str(chart.build().string(colorless=not console.color_system)).rstrip("\n")
    return Group(Text.from_ansi(drawn, no_wrap=True), Columns(legend, padding=(0, 2)))


def _mark(mark: str, colour: int) -> Any:
    import plotext

    return plotext.marker(mark, colour)


def _heights(low: float, high: float) -> list[float]:
    """Round numbers between the two."""
    rough = (high - low) / _Y_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    return [step * at for at in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _table(records: Sequence[Record], console: Console) -> RenderableType:
    table = Table(show_edge=False)
    for name, value in records[0].items():
        table.add_column(
            Text(shown(name)), justify="right" if isinstance(value, int | float) else "left", overflow="fold"
        )
    for record in records:
        table.add_row(*[Text(shown(record.get(name))) for name in records[0]])
    whole = Measurement.get(console, console.options.update(width=1_000_000), table).maximum
    if not console.is_terminal:
        table.width = whole
    elif whole > 2 * console.width:
        return _cards(records)
    return table


def _cards(records: Sequence[Record]) -> Table:
    """Rows below each other, where side by side no column would have room for a word."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for record in records:
        for name, value in record.items():
            table.add_row(Text(shown(name)), Text(shown(value)))
        table.add_row()
    return table
