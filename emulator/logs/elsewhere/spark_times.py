"""Spark's SQL for dates and times: a time is a TIMESTAMP of a session whose zone is UTC, read as a wall clock.

See ``presto/times.py`` for what the functions mean, and whose clock it is.
"""

from __future__ import annotations

from emulator.logs.presto.times import CHINA_US

_SHARED = r"""
date_add(u, n, x DATE) = CAST(timestampadd(vpclab_unit(u), n, x) AS DATE)
date_add(u, n, x) = timestampadd(vpclab_unit(u), n, x)
date(x) = CAST(x AS DATE)
date_diff(u, a, b) = (unix_micros(CAST(b AS TIMESTAMP)) - unix_micros(CAST(a AS TIMESTAMP))) div vpclab_micros(u)
date_format(x BIGINT, f) = date_format({of_seconds}, vpclab_pattern(f))
date_format(x, f) = date_format(x, vpclab_pattern(f))
date_parse(x, f) = to_timestamp(x, vpclab_pattern(f))
date_trunc(u, x BIGINT) = date_trunc(u, {of_seconds})
date_trunc(u, x DATE) = CAST(date_trunc(u, x) AS DATE)
date_trunc(u, x) = date_trunc(u, x)
day(x) = day(x)
day_of_month(x) = day(x)
day_of_week(x) = pmod(dayofweek(x) + 5, 7) + 1
day_of_year(x) = dayofyear(x)
dow(x) = pmod(dayofweek(x) + 5, 7) + 1
doy(x) = dayofyear(x)
from_iso8601_date(x) = CAST(x AS DATE)
from_iso8601_timestamp(x) = CASE WHEN regexp_like(x, '(Z|[+-][0-9][0-9](:?[0-9][0-9])?)$')
    THEN timestamp_micros(unix_micros(CAST(x AS TIMESTAMP)) + {zone_us}) ELSE CAST(x AS TIMESTAMP) END
from_unixtime(s BIGINT) = timestamp_micros(CAST(s AS BIGINT) * 1000000 + {zone_us})
from_unixtime(s) = timestamp_micros(CAST(round(CAST(s AS DOUBLE) * 1000000) AS BIGINT) + {zone_us})
from_unixtime(s, h, m) = timestamp_micros(CAST(round(CAST(s + h * 3600 + m * 60 AS DOUBLE) * 1000000) AS BIGINT))
from_unixtime(s, z) = from_utc_timestamp(timestamp_micros(CAST(round(CAST(s AS DOUBLE) * 1000000) AS BIGINT)), z)
hour(x)
last_day_of_month(x) = last_day(x)
millisecond(x) = pmod(unix_micros(x) div 1000, 1000)
minute(x)
month(x)
quarter(x)
second(x)
to_iso8601(x DATE) = date_format(x, 'yyyy-MM-dd')
to_iso8601(x) = date_format(x, 'yyyy-MM-dd\'T\'HH:mm:ss.SSS')
to_unixtime(x) = (unix_micros(x) - {zone_us}) / 1000000D
week(x) = weekofyear(x)
week_of_year(x) = weekofyear(x)
year(x)
year_of_week(x) = year(date_add(CAST(date_trunc('week', x) AS DATE), 3))
yow(x) = year(date_add(CAST(date_trunc('week', x) AS DATE), 3))
vpclab_bucket(x BIGINT, s) = timestamp_micros(
    (CAST(x AS BIGINT) + {china_units}) div (CAST(s AS BIGINT) * {units}) * (CAST(s AS BIGINT) * 1000000))
vpclab_bucket(x, s) = timestamp_micros(
    (unix_micros(x) + {shift_us}) div (CAST(s AS BIGINT) * 1000000) * (CAST(s AS BIGINT) * 1000000))
vpclab_bucket_of_months(x BIGINT, n) = vpclab_months_of(
    timestamp_micros((CAST(x AS BIGINT) + {china_units}) * {unit_us}), n)
vpclab_bucket_of_months(x, n) = vpclab_months_of(timestamp_micros(unix_micros(x) + {shift_us}), n)
vpclab_months_of(t, n) = CAST(make_date((year(t) * 12 + month(t) - 1 - pmod(year(t) * 12 + month(t) - 24001, n)) div 12,
    pmod(year(t) * 12 + month(t) - 1 - pmod(year(t) * 12 + month(t) - 24001, n), 12) + 1, 1) AS TIMESTAMP)
"""


_CASTS = r"""
vpclab_cast_{kind}(x DOUBLE) = CAST(round(x) AS {type})
vpclab_cast_{kind}(x BIGINT) = CAST(x AS {type})
vpclab_cast_{kind}(x VARCHAR) = CAST(x AS {type})
vpclab_cast_{kind}(x) = CASE WHEN regexp_like(typeof(x), '^(double|float|decimal)')
    THEN CAST(round(CAST(x AS DOUBLE)) AS {type}) ELSE CAST(x AS {type}) END
"""
"""To whole numbers: halves go away from zero, and text has to be one."""

_OTHER_CASTS = r"""
vpclab_cast_varchar(x TIMESTAMP) = date_format(x, 'yyyy-MM-dd HH:mm:ss.SSS')
vpclab_cast_varchar(x) = CAST(x AS STRING)
vpclab_cast_timestamp(x {milliseconds}) = timestamp_millis(x)
vpclab_cast_timestamp(x) = CAST(x AS TIMESTAMP)
"""

_DIVISIONS = r"""
vpclab_whole(x, y) = x div y
vpclab_share(x, y) = CASE WHEN y = 0 THEN CAST(x AS DOUBLE) * CAST('Infinity' AS DOUBLE)
    ELSE CAST(x AS DOUBLE) / nullif(CAST(y AS DOUBLE), 0) END
vpclab_rest(x, y) = CASE WHEN y = 0 THEN CAST(x AS DOUBLE) * CAST('NaN' AS DOUBLE) ELSE x % nullif(y, 0) END
"""


def _casts(provider: str) -> str:
    """CLS casts milliseconds to times; what SLS casts is never of a kind that is called so."""
    kinds = {"bigint": "BIGINT", "int": "INT", "smallint": "SMALLINT", "tinyint": "TINYINT"}
    texts = [_CASTS.replace("{kind}", kind).replace("{type}", name).strip() for kind, name in kinds.items()]
    texts.append(_OTHER_CASTS.replace("{milliseconds}", "BIGINT" if provider == "tencent" else "NEVER").strip())
    casts = "\n".join(texts)
    tries = casts.replace("vpclab_cast", "vpclab_try_cast").replace("CAST(", "try_cast(")
    return "\n".join((casts, tries, _DIVISIONS.strip()))


def _functions(provider: str, zone_us: int, unit_us: int, shift_us: int, of_seconds: str) -> str:
    values = {
        "of_seconds": of_seconds,
        "zone_us": zone_us,
        "units": 1_000_000 // unit_us,
        "china_units": CHINA_US // unit_us,
        "unit_us": unit_us,
        "shift_us": shift_us,
    }
    text = _SHARED
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return f"{text.strip()}\n{_casts(provider)}"


_NO_SECONDS = "CAST(raise_error('CLS has no times in seconds') AS TIMESTAMP)"
_SECONDS = f"timestamp_micros(CAST(x AS BIGINT) * 1000000 + {CHINA_US})"

FUNCTIONS = {
    "tencent": _functions("tencent", 0, 1_000, CHINA_US, _NO_SECONDS),
    "alibaba": _functions("alibaba", CHINA_US, 1_000_000, 0, _SECONDS),
}
