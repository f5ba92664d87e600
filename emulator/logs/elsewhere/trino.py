"""Trino's SQL for the providers' functions: most are its own, for it is Presto's successor. Written, never run here."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot.dialects.trino import Trino
from sqlglot.parsers.trino import TrinoParser

from emulator.logs.elsewhere.target import Target
from emulator.logs.presto.addresses import places_text

_SAME = """
abs acos any_value approx_distinct approx_percentile arbitrary array_agg array_distinct array_except array_intersect
array_join array_max array_min array_position array_remove array_sort array_union asin atan atan2 avg bit_count
bitwise_and bitwise_and_agg bitwise_left_shift bitwise_not bitwise_or bitwise_or_agg bitwise_right_shift bitwise_xor
bitwise_xor_agg bool_and bool_or cardinality cbrt ceil ceiling chr codepoint contains corr cos cosh count count_if
covar_pop covar_samp cume_dist date date_add date_diff date_format date_parse date_trunc day day_of_month day_of_week
day_of_year degrees dense_rank dow doy e element_at every exp filter first_value flatten floor from_base64 from_hex
from_iso8601_date from_utf8 geometric_mean grouping hamming_distance hour infinity is_finite is_infinite
is_json_scalar is_nan json_array_contains json_array_get json_array_length json_extract json_extract_scalar json_format
json_parse json_size kurtosis lag last_day_of_month last_value lead length levenshtein_distance ln log log10 log2 lower
lpad ltrim map map_agg map_concat map_keys map_values max max_by md5 millisecond min min_by minute month nan
normalize nth_value ntile percent_rank pi pow power quarter radians rand random rank regexp_count regexp_extract
regexp_extract_all regexp_like regexp_replace regexp_split regr_intercept regr_slope repeat replace reverse round
row_number rpad rtrim second sequence sha1 sha256 sign sin skewness slice split split_part split_to_map sqrt
starts_with stddev stddev_pop stddev_samp strpos substr substring sum tan tanh to_base to_base64 to_hex to_iso8601
to_utf8 transform translate trim truncate try typeof upper url_decode url_encode url_extract_fragment url_extract_host
url_extract_parameter url_extract_path url_extract_port url_extract_protocol url_extract_query var_pop var_samp variance
week week_of_year width_bucket year year_of_week yow zip
"""

_EPOCH = "TIMESTAMP '1970-01-01 00:00:00'"

_OWN = r"""
current_timezone() = 'Asia/Shanghai'
ends_with(x, y) = substr(x, -length(y)) = y
from_iso8601_timestamp(x) = date_add('second', {zone_s}, CAST(from_iso8601_timestamp(x) AS TIMESTAMP))
from_unixtime(s) = date_add('millisecond', CAST(s * 1000 AS BIGINT) + {zone_s} * 1000, {epoch})
from_unixtime(s, h, m) = CAST(from_unixtime(s, h, m) AS TIMESTAMP)
from_unixtime(s, z) = CAST(from_unixtime(s, z) AS TIMESTAMP)
is_subnet_of(c, x) = contains(c, CAST(x AS IPADDRESS))
json_extract_bool(x, p) = try_cast(json_extract_scalar(x, p) AS BOOLEAN)
json_extract_double(x, p) = try_cast(json_extract_scalar(x, p) AS DOUBLE)
json_extract_long(x, p) = try_cast(json_extract_scalar(x, p) AS BIGINT)
regexp_extract_bool(x, p) = try_cast(regexp_extract(x, p) AS BOOLEAN)
regexp_extract_bool(x, p, g) = try_cast(regexp_extract(x, p, g) AS BOOLEAN)
regexp_extract_double(x, p) = try_cast(regexp_extract(x, p) AS DOUBLE)
regexp_extract_double(x, p, g) = try_cast(regexp_extract(x, p, g) AS DOUBLE)
regexp_extract_long(x, p) = try_cast(regexp_extract(x, p) AS BIGINT)
regexp_extract_long(x, p, g) = try_cast(regexp_extract(x, p, g) AS BIGINT)
to_unixtime(x) = date_diff('millisecond', {epoch}, x) / 1e3 - {zone_s}
vpclab_bucket(x BIGINT, s) = date_add('second',
    (x / {units} + 28800) / s * s, {epoch})
vpclab_bucket(x, s) = date_add('second',
    (date_diff('second', {epoch}, x) + {shift_s}) / s * s, {epoch})
vpclab_cast_timestamp(x {milliseconds}) = date_add('millisecond', x, {epoch})
vpclab_whole(x, y) = x / y
vpclab_share(x, y) = x / y
vpclab_rest(x, y) = x % y
"""


def _functions(zone_s: int, units: int, shift_s: int, milliseconds: str) -> str:
    values = {"zone_s": zone_s, "units": units, "shift_s": shift_s, "milliseconds": milliseconds, "epoch": _EPOCH}
    text = _OWN
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return f"{text.strip()}\n{places_text().strip()}"


class TrinoSql(Trino):
    """Trino's SQL, with every function as a call by its name."""

    class Parser(TrinoParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: TrinoParser.FUNCTION_PARSERS[name] for name in ("CAST", "TRY_CAST", "EXTRACT")
        }


TRINO = Target(
    "Trino",
    TrinoSql,
    {"tencent": _functions(0, 1_000, 28_800, "BIGINT"), "alibaba": _functions(28_800, 1, 0, "NEVER")},
    "cardinality",
    frozenset(_SAME.split()),
    fills=False,
)
