"""What a chart is drawn of: curves over labels, moments among these, numbers and values as a person reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from emulator.logs.records import Record

Curves: TypeAlias = dict[str, list[float | None]]

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d(\.\d+)?)?)?")


def curves(records: Sequence[Record], series: str = "") -> tuple[list[str], Curves]:
    """What a chart is drawn over, in order, and for each curve its values there; None where it has none.

    It is drawn over the first column. The others are a curve each, or one for each value of the column ``series``; a
    column without a number is none.
    """
    labels = list(dict.fromkeys(shown(next(iter(record.values()), None)) for record in records))
    if moments(labels):
        labels.sort()
    place = {label: at for at, label in enumerate(labels)}
    found: Curves = {}
    for record in filter(None, records):
        over, *names = record
        curve_name = shown(record[series]) if series in record else None
        for name in names:
            value = record[name]
            if name == series or not isinstance(value, int | float) or not abs(value) < math.inf:
                continue
            curve = found.setdefault(name if curve_name is None else curve_name, [None] * len(labels))
            curve[place[shown(record[over])]] = float(value)
    return labels, found


def moments(labels: Sequence[str]) -> list[datetime] | None:
    """What a chart is drawn over as moments, where all of it are some."""
    if not labels or not all(map(_MOMENT.fullmatch, labels)):
        return None
    try:
        return [datetime.fromisoformat(label) for label in labels]
    except ValueError:
        return None  # the thirtieth of February


def clock_times(times: Sequence[datetime]) -> tuple[list[str], str]:
    """Moments as an axis has them, and the day, if they are all of one."""
    form = "%H:%M:%S" if any(time.second for time in times) else "%H:%M"
    one_day = len({time.date() for time in times}) == 1
    return [f"{time:{form if one_day else f'%m-%d {form}'}}" for time in times], f"{times[0]:%Y-%m-%d}" * one_day


def runs(labels: Sequence[str], values: Sequence[float | None]) -> list[list[int]]:
    """The places that a line goes through without a break.

    It ends where the curve has no value, and where times leave out a multiple of the minutes that all are multiples of.
    """
    seconds = [round((time - datetime.min).total_seconds()) for time in moments(labels) or []]
    step = math.gcd(*seconds)
    found: list[list[int]] = [[]]
    for place, value in enumerate(values):
        if place and step % 60 == 0 and step and seconds[place] - seconds[place - 1] != step:
            found.append([])
        if value is None:
            found.append([])
        else:
            found[-1].append(place)
    return [run for run in found if run]


def short(value: float) -> str:
    """A number in four digits, and a letter where it has more: 1.254M."""
    for power, letter in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= max(10_000, 10**power):
            return f"{float(f'{value / 10**power:.4g}'):g}{letter}"
    return f"{float(f'{value:.4g}'):g}"


def shown(value: object) -> str:
    """A value as text in one line, without what a terminal would obey."""
    text = "-" if value is None else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
