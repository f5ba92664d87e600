"""A dashboard as one HTML file that needs nothing beside it: charts by pygal, as SVG without scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from emulator.errors import RequirementMissing
from emulator.logs.dashboard import Answer, Dashboard, curves
from emulator.logs.records import Record

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(30em, 1fr)); gap: 1.5em }
section { border: 1px solid #ddd; border-radius: 6px; padding: 1em; overflow: auto }
h2 { font-size: 1.1em; margin: 0 0 .5em } h2 small { color: #777; font-weight: normal }
table { border-collapse: collapse } td, th { padding: .2em .7em; border-bottom: 1px solid #eee; text-align: left }
.number { font-size: 2.4em } .refused { color: #a00 } svg { width: 100%; height: auto }
"""

_KINDS = {"line": "Line", "bar": "HorizontalBar", "pie": "Pie"}


def page(board: Dashboard, answers: Sequence[Answer]) -> str:
    """The HTML."""
    sections = "\n".join(_section(answer) for answer in answers)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(board.title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(board.title)}</h1>\n<main>\n{sections}\n</main></body></html>\n"
    )


def _section(answer: Answer) -> str:
    panel = answer.panel
    unit = f" <small>{escape(panel.unit)}</small>" if panel.unit else ""
    return f"<section><h2>{escape(panel.title)}{unit}</h2>{_body(answer)}</section>"


def _body(answer: Answer) -> str:
    if answer.refused:
        return f'<p class="refused">{escape(answer.refused)}</p>'
    if not answer.records:
        return "<p>nothing was found</p>"
    if answer.panel.chart == "number":
        return f'<p class="number">{_shown(next(iter(answer.records[0].values())))}</p>'
    return _table(answer) if answer.panel.chart == "table" else _chart(answer)


def _chart(answer: Answer) -> str:
    try:
        import pygal
    except ImportError:
        raise RequirementMissing("charts need plotext and pygal", way_out="pip install 'vpclab[charts]'") from None
    labels, found = curves(answer)
    chart = getattr(pygal, _KINDS[answer.panel.chart])(
        js=[], height=320, width=640, show_legend=len(found) > 1 or answer.panel.chart == "pie", x_label_rotation=30
    )
    if answer.panel.chart == "pie":
        for values in found.values():
            for label, value in zip(labels, values, strict=True):
                chart.add(label, value)
    else:
        chart.x_labels = labels
        for name, values in found.items():
            chart.add(name, values)
    drawn = str(chart.render(is_unicode=True, disable_xml_declaration=True))
    return re.sub(r"<script.*?</script>|<!--.*?-->", "", drawn, flags=re.DOTALL)


def _table(answer: Answer) -> str:
    records: list[Record] = answer.records or []
    head = "".join(f"<th>{escape(name)}</th>" for name in records[0])
    rows = ("".join(f"<td>{_shown(value)}</td>" for value in record.values()) for record in records)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _shown(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    return "-" if value is None else escape(str(value))
