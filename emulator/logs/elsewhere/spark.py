"""Spark's SQL for the providers' functions: numbers, text, JSON, arrays, addresses, rows.

Written for ANSI mode, which is Spark's default and fails where Presto does. ``vpclab_quoted`` makes a text in quotes
into a regular expression that matches it (Spark splits by expressions only), ``vpclab_pattern`` a date format into
Java's letters, ``vpclab_micros`` a unit of time into microseconds, ``vpclab_unit`` into a bare word; see ``target.py``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot.dialects.spark import Spark
from sqlglot.parsers.spark import SparkParser

from emulator.logs.elsewhere.spark_times import FUNCTIONS as TIMES
from emulator.logs.elsewhere.target import Target
from emulator.logs.presto.addresses import places_text
from emulator.logs.presto.scalars import NUMBERS_ANYWHERE

_NUMBERS = r"""
bit_count(x, bits) = CASE bits WHEN 64 THEN bit_count(CAST(x AS BIGINT))
    WHEN 32 THEN bit_count(CAST(x AS BIGINT) & 4294967295) WHEN 8 THEN bit_count(CAST(x AS BIGINT) & 255)
    ELSE CAST(raise_error('bit_count knows 8, 32 and 64 bits') AS INT) END
bitwise_left_shift(x, n) = shiftleft(CAST(x AS BIGINT), CAST(n AS INT))
bitwise_not(x) = -1 - CAST(x AS BIGINT)
bitwise_right_shift(x, n) = CASE WHEN n = 0 THEN CAST(x AS BIGINT) ELSE
    shiftright(CAST(x AS BIGINT), CAST(n AS INT)) & shiftright(9223372036854775807, CAST(n AS INT) - 1) END
bitwise_xor(x, y) = CAST(x AS BIGINT) ^ CAST(y AS BIGINT)
ceiling(x) = ceil(x)
is_finite(x) = abs(CAST(x AS DOUBLE)) < CAST('Infinity' AS DOUBLE)
is_infinite(x) = abs(CAST(x AS DOUBLE)) = CAST('Infinity' AS DOUBLE)
pow(x, y) = power(x, y)
rand()
random() = rand()
random(n) = CAST(floor(rand() * n) AS BIGINT)
random(m, n) = m + CAST(floor(rand() * (n - m)) AS BIGINT)
sign(x) = CAST(sign(x) AS BIGINT)
to_base(x, radix) = CASE WHEN x < 0 THEN '-' ELSE '' END
    || lower(conv(CAST(abs(CAST(x AS BIGINT)) AS STRING), 10, radix))
truncate(x) = CASE WHEN x < 0 THEN ceil(x) ELSE floor(x) END
truncate(x, d) = CASE WHEN x < 0 THEN ceil(x * power(10, d)) ELSE floor(x * power(10, d)) END / power(10, d)
"""

_TEXT = r"""
chr(n) = CASE WHEN n BETWEEN 0 AND 127 THEN chr(n) ELSE CAST(raise_error('Spark has chr up to 127') AS STRING) END
codepoint(x) = ascii(x)
ends_with(x, y) = endswith(x, y)
from_utf8(x) = decode(x, 'UTF-8')
hamming_distance(x, y) = CASE WHEN length(x) = length(y)
    THEN size(filter(sequence(1, length(x)), one -> substr(x, one, 1) <> substr(y, one, 1)))
    ELSE CAST(raise_error('hamming_distance compares texts of one length') AS INT) END
length(x)
levenshtein_distance(x, y) = levenshtein(x, y)
lower(x)
lpad(x, n, pad) = lpad(x, CAST(n AS INT), pad)
ltrim(x) = regexp_replace(x, '^{space}', '')
regexp_count(x, p) = size(regexp_extract_all(x, p, 0))
regexp_extract(x, p) = CASE WHEN regexp_like(x, p) THEN regexp_extract(x, p, 0) END
regexp_extract(x, p, g) = CASE WHEN regexp_like(x, p) THEN regexp_extract(x, p, CAST(g AS INT)) END
regexp_extract_all(x, p) = regexp_extract_all(x, p, 0)
regexp_extract_all(x, p, g) = regexp_extract_all(x, p, CAST(g AS INT))
regexp_extract_bool(x, p) = try_cast(regexp_extract(x, p, 0) AS BOOLEAN)
regexp_extract_bool(x, p, g) = try_cast(regexp_extract(x, p, CAST(g AS INT)) AS BOOLEAN)
regexp_extract_double(x, p) = try_cast(regexp_extract(x, p, 0) AS DOUBLE)
regexp_extract_double(x, p, g) = try_cast(regexp_extract(x, p, CAST(g AS INT)) AS DOUBLE)
regexp_extract_long(x, p) = try_cast(regexp_extract(x, p, 0) AS BIGINT)
regexp_extract_long(x, p, g) = try_cast(regexp_extract(x, p, CAST(g AS INT)) AS BIGINT)
regexp_like(x, p)
regexp_replace(x, p) = regexp_replace(x, p, '')
regexp_replace(x, p, r)
regexp_split(x, p) = split(x, p)
replace(x, y) = replace(x, y, '')
replace(x, y, z) = CASE WHEN y = '' THEN regexp_replace(x, '', z) ELSE replace(x, y, z) END
rpad(x, n, pad) = rpad(x, CAST(n AS INT), pad)
rtrim(x) = regexp_replace(x, '{space}$', '')
split(x, d) = split(x, vpclab_quoted(d))
split(x, d, n) = split(x, vpclab_quoted(d), CAST(n AS INT))
split_part(x, d, i) = CASE WHEN i < 1 THEN CAST(raise_error('split_part counts from 1') AS STRING)
    WHEN i <= size(split(x, vpclab_quoted(d))) THEN split_part(x, d, CAST(i AS INT)) END
split_to_map(x, d, k) = str_to_map(x, vpclab_quoted(d), vpclab_quoted(k))
starts_with(x, y) = startswith(x, y)
strpos(x, y) = instr(x, y)
substr(x, i) = CASE WHEN i = 0 OR -i > length(x) THEN '' ELSE substr(x, i) END
substr(x, i, n) = CASE WHEN i = 0 OR -i > length(x) OR n <= 0 THEN '' ELSE substr(x, i, n) END
substring(x, i) = CASE WHEN i = 0 OR -i > length(x) THEN '' ELSE substr(x, i) END
substring(x, i, n) = CASE WHEN i = 0 OR -i > length(x) OR n <= 0 THEN '' ELSE substr(x, i, n) END
to_utf8(x) = encode(x, 'UTF-8')
translate(x, y, z)
trim(x) = regexp_replace(x, '^{space}|{space}$', '')
upper(x)
typeof(x) = lower(replace(replace(replace(replace(replace(replace(
    typeof(x), 'bigint', 'BIGINT'), 'binary', 'varbinary'), 'int', 'integer'), 'string', 'varchar'),
    '<', '('), '>', ')'))
current_timezone() = 'Asia/Shanghai'
""".replace("{space}", "[ \\t-\\r]+")

_JSON = r"""
json_array_length(x) = json_array_length(x)
json_extract_bool(x, p) = try_cast(get_json_object(x, p) AS BOOLEAN)
json_extract_double(x, p) = try_cast(get_json_object(x, p) AS DOUBLE)
json_extract_long(x, p) = try_cast(get_json_object(x, p) AS BIGINT)
json_extract_scalar(x, p) = CASE WHEN NOT regexp_like(get_json_object(x, p), '^[\\[{]') THEN get_json_object(x, p) END
"""

_BEFORE_PATH = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?"

_URLS = r"""
from_base64(x) = unbase64(x)
from_hex(x) = unhex(x)
md5(x) = unhex(md5(x))
sha1(x) = unhex(sha1(x))
sha256(x) = unhex(sha2(x, 256))
to_base64(x) = base64(x)
to_hex(x) = hex(x)
url_decode(x)
url_encode(x)
url_extract_fragment(x) = CASE WHEN regexp_like(x, '{start}') THEN regexp_extract(x, '#(.*)$', 1) END
url_extract_host(x) = CASE WHEN regexp_like(x, '{start}')
    THEN regexp_extract(x, '{start}(\\[[^\\]]*\\]|[^/?#:]*)', 1) END
url_extract_parameter(x, n) = try_element_at(transform(filter(split(regexp_extract(x, '\\?([^#]*)', 1), '&'),
    pair -> split_part(pair, '=', 1) = n), pair -> url_decode(substr(pair, length(n) + 2))), 1)
url_extract_path(x) = CASE WHEN regexp_like(x, '{start}') THEN regexp_extract(x, '{start}[^/?#]*([^?#]*)', 1) END
url_extract_port(x) = try_cast(regexp_extract(x, '{start}(?:\\[[^\\]]*\\]|[^/?#:]*):([0-9]+)', 1) AS BIGINT)
url_extract_protocol(x) = CASE WHEN regexp_like(x, '{start}')
    THEN regexp_extract(x, '^([A-Za-z][A-Za-z0-9+.-]*)://', 1) END
url_extract_query(x) = CASE WHEN regexp_like(x, '{start}') THEN regexp_extract(x, '\\?([^#]*)', 1) END
""".replace("{start}", _BEFORE_PATH)

_ARRAYS = r"""
array_distinct(a)
array_except(a, b)
array_intersect(a, b)
array_join(a, d) = array_join(transform(a, one -> CAST(one AS STRING)), d)
array_join(a, d, n) = array_join(transform(a, one -> CAST(one AS STRING)), d, n)
array_max(a) = CASE WHEN NOT exists(a, one -> one IS NULL) THEN array_max(a) END
array_min(a) = CASE WHEN NOT exists(a, one -> one IS NULL) THEN array_min(a) END
array_position(a, v)
array_remove(a, v)
array_sort(a)
array_union(a, b)
cardinality(a) = CAST(size(a) AS BIGINT)
contains(a, v) = CASE WHEN array_contains(a, v) THEN TRUE WHEN NOT exists(a, one -> one IS NULL)
    THEN array_contains(a, v) END
element_at(a, k) = try_element_at(a, k)
filter(a, f)
flatten(a)
map(k, v) = map_from_arrays(k, v)
map_concat(a, b)
map_keys(m)
map_values(m)
repeat(v, n) = array_repeat(v, CAST(n AS INT))
reverse(x)
sequence(a, b)
sequence(a, b, s)
slice(a, i, n) = slice(a, CAST(i AS INT), CAST(n AS INT))
transform(a, f)
zip(a, b) = transform(sequence(1, greatest(size(a), size(b))),
    at -> named_struct('element1', try_element_at(a, at), 'element2', try_element_at(b, at)))
"""

_ROWS = r"""
any_value(x) = max(x)
approx_distinct(x) = approx_count_distinct(x)
approx_percentile(x BIGINT, p DOUBLE) = CAST(percentile_disc(p) WITHIN GROUP (ORDER BY x) AS BIGINT)
approx_percentile(x DOUBLE, p DOUBLE) = percentile_disc(p) WITHIN GROUP (ORDER BY x)
arbitrary(x) = max(x)
array_agg(x) = CASE WHEN count(*) > 0 THEN transform(collect_list(named_struct('v', x)), one -> one.v) END
avg(x)
bitwise_and_agg(x) = bit_and(x)
bitwise_or_agg(x) = bit_or(x)
bitwise_xor_agg(x) = bit_xor(x)
bool_and(x)
bool_or(x)
corr(y, x)
count()
count(x)
count_if(x)
covar_pop(y, x)
covar_samp(y, x)
cume_dist()
dense_rank()
every(x) = bool_and(x)
first_value(x)
geometric_mean(x) = exp(avg(ln(x)))
grouping(x) = grouping(x)
kurtosis(x) = CASE WHEN count(x) > 3 THEN (count(x) - 1) * ((count(x) + 1) * kurtosis(x) + 6)
    / ((count(x) - 2) * (count(x) - 3)) END
lag(x)
lag(x, n)
lag(x, n, v)
last_value(x)
lead(x)
lead(x, n)
lead(x, n, v)
map_agg(k, v) = map_from_entries(filter(collect_list(named_struct('k', k, 'v', v)), one -> one.k IS NOT NULL))
max(x)
max(x, n) = slice(sort_array(collect_list(x), false), 1, CAST(n AS INT))
max_by(x, y)
min(x)
min(x, n) = slice(array_sort(collect_list(x)), 1, CAST(n AS INT))
min_by(x, y)
nth_value(x, n)
ntile(n) = ntile(CAST(n AS INT))
percent_rank()
rank()
regr_intercept(y, x)
regr_slope(y, x)
row_number()
skewness(x)
stddev(x)
stddev_pop(x)
stddev_samp(x)
sum(x)
var_pop(x)
var_samp(x)
variance(x)
"""

_INSIDE = r"^(10\\.|127\\.|169\\.254\\.|192\\.168\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|f[cdCD]|fe[89abAB]|::1$)"

_ADDRESSES = r"""
is_prefix_subnet_of(c, d) = vpclab_cidr_first(d) >= vpclab_cidr_first(c)
    AND vpclab_cidr_first(d) + vpclab_cidr_size(d) <= vpclab_cidr_first(c) + vpclab_cidr_size(c)
is_subnet_of(c, x) = vpclab_ip4(x) >= vpclab_cidr_first(c)
    AND vpclab_ip4(x) < vpclab_cidr_first(c) + vpclab_cidr_size(c)
ip_prefix(x, b) = vpclab_ip4_text(vpclab_ip4(x) div vpclab_ip4_size(b) * vpclab_ip4_size(b)) || '/' || b
ip_subnet_max(c) = vpclab_ip4_text(vpclab_cidr_first(c) + vpclab_cidr_size(c) - 1)
ip_subnet_min(c) = vpclab_ip4_text(vpclab_cidr_first(c))
ip_subnet_range(c) = array(vpclab_ip4_text(vpclab_cidr_first(c)),
    vpclab_ip4_text(vpclab_cidr_first(c) + vpclab_cidr_size(c) - 1))
ip_to_domain(x) = CASE WHEN vpclab_ip4(x) IS NULL AND NOT vpclab_is_ip6(regexp_replace(x, ':{v4}$', ':0:0'))
    THEN 'invalid' WHEN regexp_like(x, '{inside}') THEN 'intranet' WHEN x IS NOT NULL THEN 'internet' END
vpclab_is_ip6(x) = regexp_like(x, '^({h}:){7}{h}$') OR (regexp_like(x, '^({h}(:{h})*)?::({h}(:{h})*)?$')
    AND size(regexp_extract_all(x, '{h}', 0)) < 8)
vpclab_ip4(x) = CASE WHEN regexp_like(x, '^{v4}$')
    THEN vpclab_octet(x, 1) * 16777216 + vpclab_octet(x, 2) * 65536 + vpclab_octet(x, 3) * 256 + vpclab_octet(x, 4) END
vpclab_octet(x, at) = nullif(least(try_cast(split_part(x, '.', at) AS BIGINT), 256), 256)
vpclab_ip4_text(n) = element_at(transform(array(n), one -> shiftright(one, 24) || '.' || (shiftright(one, 16) & 255)
    || '.' || (shiftright(one, 8) & 255) || '.' || (one & 255)), 1)
vpclab_ip4_size(b) = CASE WHEN b BETWEEN 0 AND 32 THEN shiftleft(CAST(1 AS BIGINT), 32 - CAST(b AS INT)) END
vpclab_cidr_first(c) = vpclab_ip4(split_part(c, '/', 1)) div vpclab_cidr_size(c) * vpclab_cidr_size(c)
vpclab_cidr_size(c) = vpclab_ip4_size(
    try_cast(CASE WHEN contains(c, '/') THEN split_part(c, '/', 2) ELSE '32' END AS INT))
"""
for _name, _value in {"inside": _INSIDE, "h": "[0-9a-fA-F]{1,4}", "v4": "[0-9]{1,3}([.][0-9]{1,3}){3}"}.items():
    _ADDRESSES = _ADDRESSES.replace("{" + _name + "}", _value)

_SHARED = "\n".join(
    text.strip()
    for text in (NUMBERS_ANYWHERE, _NUMBERS, _TEXT, _JSON, _URLS, _ARRAYS, _ROWS, _ADDRESSES, places_text("startswith"))
)


class SparkSql(Spark):
    """Spark's SQL, with every function as a call by its name."""

    class Parser(SparkParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: SparkParser.FUNCTION_PARSERS[name] for name in ("CAST", "TRY_CAST", "EXTRACT")
        }


SPARK = Target("Spark", SparkSql, {provider: f"{_SHARED}\n{times}" for provider, times in TIMES.items()}, "size")
