"""Dates and times.

A timestamp is a wall clock without a zone: at SLS that of UTC+8, at CLS that of UTC, where ``histogram`` and
``time_series`` alone speak of UTC+8 (tencent.md §5.7; Alibaba's documents show 1592374067 as 2020-06-17 14:07:47).
SLS takes seconds for a timestamp wherever a function asks for one, CLS milliseconds by CAST.
"""

from __future__ import annotations

import re

from emulator.logs.presto.functions import Function, table

CHINA_US = 8 * 3_600 * 1_000_000
"""UTC+8 in microseconds; China has no summer time since 1991."""

_ADDED = """CASE lower(u) WHEN 'millisecond' THEN x + to_milliseconds(n) WHEN 'second' THEN x + to_seconds(n)
    WHEN 'minute' THEN x + to_minutes(n) WHEN 'hour' THEN x + to_hours(n) ELSE {days_added} END"""

_DAYS_ADDED = """CASE lower(u) WHEN 'day' THEN x + to_days(CAST(n AS INTEGER))
    WHEN 'week' THEN x + to_days(CAST(7 * n AS INTEGER)) WHEN 'month' THEN x + to_months(CAST(n AS INTEGER))
    WHEN 'quarter' THEN x + to_months(CAST(3 * n AS INTEGER)) WHEN 'year' THEN x + to_months(CAST(12 * n AS INTEGER))
    ELSE make_timestamp(CAST('no unit of time: ' || u AS BIGINT)) END"""

_ZONE_AT_END = r"(Z|[+-][0-9][0-9](:?[0-9][0-9])?)$"

_SHARED = r"""
date_add(u, n, x DATE) = CAST({days_added} AS DATE)
date_add(u, n, x TIMESTAMP) = {added}
date(x) = CAST(x AS DATE)
date_diff(u, a, b) = datesub(u, CAST(a AS TIMESTAMP), CAST(b AS TIMESTAMP))
date_format(x TIMESTAMP, f) = strftime(x, f)
date_parse(x, f) = strptime(x, f)
date_trunc(u, x TIMESTAMP) = date_trunc(u, x)
date_trunc(u, x DATE) = CAST(date_trunc(u, x) AS DATE)
day(x)
day_of_month(x) = day(x)
day_of_week(x) = isodow(x)
day_of_year(x) = dayofyear(x)
dow(x) = isodow(x)
doy(x) = dayofyear(x)
from_iso8601_date(x) = CAST(x AS DATE)
from_iso8601_timestamp(x) = CASE WHEN regexp_matches(x, '{zone_at_end}')
    THEN make_timestamp(epoch_us(CAST(x AS TIMESTAMP WITH TIME ZONE)) + {zone_us}) ELSE CAST(x AS TIMESTAMP) END
from_unixtime(s BIGINT) = make_timestamp(s * CAST(1000000 AS BIGINT) + {zone_us})
from_unixtime(s DOUBLE) = make_timestamp(CAST(round(s * 1000000) AS BIGINT) + {zone_us})
from_unixtime(s, z) = timezone(z, to_timestamp(s))
from_unixtime(s, h, m) = timezone('UTC', to_timestamp(s + h * 3600 + m * 60))
hour(x)
last_day_of_month(x) = last_day(x)
millisecond(x) = millisecond(x) % 1000
minute(x)
month(x)
quarter(x)
second(x)
to_iso8601(x DATE) = strftime(x, '%Y-%m-%d')
to_iso8601(x TIMESTAMP) = strftime(x, '%Y-%m-%dT%H:%M:%S.%g')
to_unixtime(x TIMESTAMP) = epoch(x) - {zone_us} / 1000000
week(x)
week_of_year(x) = week(x)
year(x)
year_of_week(x) = isoyear(x)
yow(x) = isoyear(x)
"""

_SECONDS = r"""
date_format(x TIMESTAMP, f) = strftime(x, f)
date_format(x BIGINT, f) = strftime(make_timestamp(x * 1000000 + {zone_us}), f)
date_trunc(u, x TIMESTAMP) = date_trunc(u, x)
date_trunc(u, x DATE) = CAST(date_trunc(u, x) AS DATE)
date_trunc(u, x BIGINT) = date_trunc(u, make_timestamp(x * 1000000 + {zone_us}))
"""

_BUCKETS = r"""
bucket(x BIGINT, s) = make_timestamp(
    (x + {china_us} // {unit_us}) // (s * CAST(1000000 // {unit_us} AS BIGINT)) * (s * CAST(1000000 AS BIGINT)))
bucket(x TIMESTAMP, s) = make_timestamp(
    (epoch_us(x) + {shift_us}) - (epoch_us(x) + {shift_us}) % (s * CAST(1000000 AS BIGINT)))
bucket_of_months(x BIGINT, n) = time_bucket(to_months(n), make_timestamp(x * {unit_us} + {china_us}))
bucket_of_months(x TIMESTAMP, n) = time_bucket(to_months(n), make_timestamp(epoch_us(x) + {shift_us}))
"""
"""What ``histogram`` and ``time_series`` become: the beginning of a row's bucket on the clock of UTC+8. In integers,
for ``date_trunc`` takes five times as long."""


def _functions(prefix: str, zone_us: int) -> dict[str, Function]:
    added = {"added": " ".join(_ADDED.split()), "days_added": " ".join(_DAYS_ADDED.split())}
    values = {**added, "zone_us": zone_us, "zone_at_end": _ZONE_AT_END}
    functions = table(_SHARED, prefix, **values)
    return {**functions, **table(_SECONDS, prefix, **values)} if prefix == "sls_" else functions


CLS = _functions("cls_", 0)
SLS = _functions("sls_", CHINA_US)

BUCKETS = {
    "tencent": table(_BUCKETS, "cls_", unit_us=1_000, china_us=CHINA_US, shift_us=CHINA_US),
    "alibaba": table(_BUCKETS, "sls_", unit_us=1_000_000, china_us=CHINA_US, shift_us=0),
}
"""By provider, for no query to call."""

_CODES = {
    **{code: f"%{code}" for code in "abdfHjmpSyY%"},
    "c": "%-m",
    "D": "%d",
    "e": "%-d",
    "h": "%I",
    "I": "%I",
    "i": "%M",
    "k": "%-H",
    "l": "%-I",
    "M": "%B",
    "r": "%I:%M:%S %p",
    "s": "%S",
    "T": "%H:%M:%S",
    "v": "%V",
    "W": "%A",
    "x": "%G",
}
"""MySQL's letters, which Presto has in formats, and what strftime calls the same."""


def strftime_format(text: str) -> str | None:
    """A format of ``date_format`` as strftime has it; None where a letter in it has no equal."""
    pieces = re.split(r"%(.?)", text, flags=re.DOTALL)
    codes = [_CODES.get(code) for code in pieces[1::2]]
    if None in codes:
        return None
    pieces[1::2] = [code or "" for code in codes]
    return "".join(pieces)
