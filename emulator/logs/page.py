"""A dashboard as one HTML file that needs nothing beside it: charts by pygal, as SVG without scripts.

Each chart has its numbers below it, as a table that opens by a click: for who cannot see it, or wants them exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from emulator.errors import RequirementMissing
from emulator.logs.curves import Curves, clock_times, curves, moments, runs, short, shown
from emulator.logs.dashboard import Answer, Dashboard
from emulator.logs.drawing import figure
from emulator.logs.records import Record

_STYLE = """
:root { color-scheme: light } * { box-sizing: border-box }
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(34em, 100%), 1fr)); gap: 1.5em }
section { border: 1px solid #ddd; border-radius: 6px; padding: 1em; overflow: auto; min-width: 0 }
section.table { grid-column: 1 / -1 }
h2 { font-size: 1.1em; margin: 0 0 .5em } h2 small { color: #666; font-weight: normal }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2em .7em; border-bottom: 1px solid #eee; text-align: left } td.n, th.n { text-align: right }
figure { margin: 0 } figure svg { width: 100%; height: auto } summary { color: #666; cursor: pointer }
.number { font-size: 2.4em; margin: 0 } .refused { color: #a00 } @media (max-width: 40em) { body { margin: 1em } }
"""

_KINDS = {"line": "Line", "bar": "HorizontalBar", "pie": "Pie"}
_TICKS = 6
_LEGEND_WIDE = 28
"""Characters of a name with which two stand side by side."""


def page(board: Dashboard, answers: Sequence[Answer]) -> str:
    """The HTML."""
    sections = "\n".join(_section(answer, number) for number, answer in enumerate(answers, 1))
    title = escape(shown(board.title))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n<main>\n{sections}\n</main></body></html>\n"
    )


def _section(answer: Answer, number: int) -> str:
    labels, found = ([], {}) if answer.refused else curves(answer.records or [], answer.panel.series)
    times = moments(labels) if answer.panel.chart == "line" else None
    notes = [answer.panel.unit, clock_times(times)[1] if times else ""]
    small = "".join(f" <small>{escape(note)}</small>" for note in notes if note)
    wide = ' class="table"' if answer.panel.chart == "table" else ""
    title = escape(shown(answer.panel.title))
    return f"<section{wide}><h2>{title}{small}</h2>{_body(answer, number, labels, found)}</section>"


def _body(answer: Answer, number: int, labels: list[str], found: Curves) -> str:
    if answer.refused:
        return f'<p class="refused">{escape(answer.refused)}</p>'
    if not answer.records:
        return "<p>nothing was found</p>"
    if answer.panel.chart == "number":
        return f'<p class="number">{escape(figure(next(iter(answer.records[0].values()), None)))}</p>'
    table = _table(answer.records)
    if answer.panel.chart == "table" or not found:
        return table
    title = escape(shown(answer.panel.title), quote=True)
    return (
        f'<figure role="img" aria-label="{title}">{_chart(answer.panel.chart, number, labels, found)}</figure>'
        f"<details><summary>as a table</summary>{table}</details>"
    )


def _chart(kind: str, number: int, labels: list[str], found: Curves) -> str:
    try:
        import pygal
    except ImportError:
        raise RequirementMissing("charts need plotext and pygal", way_out="pip install 'vpclab[charts]'") from None
    many = len(labels) if kind == "bar" else 0
    columns = 1 if max(map(len, found)) > _LEGEND_WIDE else 2
    legend = 15 * -(-len(found) // columns) if kind == "line" else 0
    chart = getattr(pygal, "DateTimeLine" if kind == "line" and moments(labels) else _KINDS[kind])(
        js=[],
        height=max(300, 24 * many * len(found) + 60) + legend,
        width=640,
        show_legend=len(found) > 1 or kind == "pie",
        legend_at_bottom=kind == "line",
        legend_at_bottom_columns=columns,
        truncate_legend=-1,
        truncate_label=-1,
        value_formatter=short,
        include_x_axis=True,
        print_values=kind == "bar" and len(found) > 1,
    )
    chart.uuid = f"panel-{number}"
    {"line": _lines, "bar": _bars, "pie": _slices}[kind](chart, labels, found)
    drawn = str(chart.render(is_unicode=True, disable_xml_declaration=True))
    return re.sub(r"<script.*?</script>|<!--.*?-->", "", drawn, flags=re.DOTALL)


def _lines(chart: Any, labels: list[str], found: Curves) -> None:
    times = moments(labels)
    every = max(1, -(-len(labels) // _TICKS))
    if times is None:
        chart.x_labels, chart.x_labels_major, chart.show_minor_x_labels = labels, labels[::every], False
    else:
        told = dict(zip(times, clock_times(times)[0], strict=True))
        chart.x_labels, chart.x_value_formatter = times[::every], lambda time: told.get(time, str(time))
    for name, values in found.items():
        points: list[Any] = []
        for run in runs(labels, values):
            points += [None] * bool(points)
            points += [(times[at], values[at]) if times else values[at] for at in run]
        chart.add(shown(name), points if times else values, allow_interruptions=True)


def _bars(chart: Any, labels: list[str], found: Curves) -> None:
    told = labels
    if len(found) == 1:  # beside the label there is always room for the value
        (values,) = found.values()
        told = [f"{label}  {short(value or 0.0)}" for label, value in zip(labels, values, strict=True)]
    chart.x_labels = told[::-1]
    for name, values in found.items():
        chart.add(shown(name), values[::-1])


def _slices(chart: Any, labels: list[str], found: Curves) -> None:
    for values in found.values():
        whole = sum(value or 0.0 for value in values)
        for label, value in zip(labels, values, strict=True):
            share = f" {(value or 0.0) / whole:.1%}" if whole else ""
            chart.add(f"{label} {short(value or 0.0)}{share}", value)


def _table(records: Sequence[Record]) -> str:
    numbers = [' class="n"' * isinstance(value, int | float) for value in records[0].values()]
    names = zip(numbers, records[0], strict=True)
    head = "".join(f'<th scope="col"{number}>{escape(shown(name))}</th>' for number, name in names)
    rows = (
        "".join(
            f"<td{number}>{escape(shown(record.get(name)))}</td>"
            for number, name in zip(numbers, records[0], strict=True)
        )
        for record in records
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
