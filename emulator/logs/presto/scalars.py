"""Numbers, text, regular expressions, JSON, URLs, bytes: functions of one row's values."""

from __future__ import annotations

from emulator.logs.presto.functions import table

NUMBERS_ANYWHERE = r"""
abs(x)
acos(x)
asin(x)
atan(x)
atan2(y, x)
bitwise_and(x, y) = CAST(x AS BIGINT) & CAST(y AS BIGINT)
bitwise_or(x, y) = CAST(x AS BIGINT) | CAST(y AS BIGINT)
cbrt(x)
ceil(x)
cos(x)
cosh(x)
degrees(x)
e() = exp(1)
exp(x)
floor(x)
infinity() = CAST('Infinity' AS DOUBLE)
is_nan(x) = isnan(CAST(x AS DOUBLE))
ln(x) = CASE WHEN x > 0 THEN ln(x) WHEN x = 0 THEN CAST('-Infinity' AS DOUBLE) WHEN x < 0 THEN CAST('NaN' AS DOUBLE) END
log(b, x) = CASE WHEN x > 0 AND b > 0 THEN ln(x) / ln(b) WHEN x = 0 THEN CAST('-Infinity' AS DOUBLE)
    WHEN x IS NOT NULL AND b IS NOT NULL THEN CAST('NaN' AS DOUBLE) END
log10(x) = CASE WHEN x > 0 THEN log10(x) WHEN x = 0 THEN CAST('-Infinity' AS DOUBLE)
    WHEN x < 0 THEN CAST('NaN' AS DOUBLE) END
log2(x) = CASE WHEN x > 0 THEN log2(x) WHEN x = 0 THEN CAST('-Infinity' AS DOUBLE)
    WHEN x < 0 THEN CAST('NaN' AS DOUBLE) END
nan() = CAST('NaN' AS DOUBLE)
pi()
power(x, y)
radians(x)
round(x)
round(x, d)
sin(x)
sqrt(x) = CASE WHEN x >= 0 THEN sqrt(x) WHEN x < 0 THEN CAST('NaN' AS DOUBLE) END
tan(x)
tanh(x)
width_bucket(x, low, high, n) = CASE WHEN x < low THEN 0 WHEN x >= high THEN n + 1
    ELSE CAST(floor((CAST(x AS DOUBLE) - low) * n / (CAST(high AS DOUBLE) - low)) AS BIGINT) + 1 END
"""
"""What Spark computes as DuckDB does."""

NUMBERS = r"""
bit_count(x, bits) = CASE bits WHEN 64 THEN bit_count(CAST(x AS BIGINT)) WHEN 32 THEN bit_count(CAST(x AS INTEGER))
    WHEN 8 THEN bit_count(CAST(x AS TINYINT)) ELSE CAST('bit_count knows 8, 32 and 64 bits' AS BIGINT) END
bitwise_left_shift(x, n) = CAST(x AS BIGINT) << n
bitwise_not(x) = ~CAST(x AS BIGINT)
bitwise_right_shift(x, n) = CASE WHEN n = 0 THEN CAST(x AS BIGINT)
    ELSE (CAST(x AS BIGINT) >> n) & (9223372036854775807 >> (n - 1)) END
bitwise_xor(x, y) = xor(CAST(x AS BIGINT), CAST(y AS BIGINT))
ceiling(x)
is_finite(x) = isfinite(CAST(x AS DOUBLE))
is_infinite(x) = isinf(CAST(x AS DOUBLE))
mod(x, y)
pow(x, y)
rand() = random()
random() = random()
random(n) = CAST(floor(random() * n) AS BIGINT)
random(m, n) = m + CAST(floor(random() * (n - m)) AS BIGINT)
sign(x)
to_base(x, radix) = CASE WHEN x < 0 THEN '-' ELSE '' END || lower(to_base(abs(CAST(x AS BIGINT)), radix))
truncate(x) = trunc(x)
truncate(x, d) = trunc(x, d)
"""

_SPACE = "' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13)"

TEXT = r"""
chr(n)
codepoint(x) = unicode(x)
ends_with(x, y)
from_utf8(x) = decode(x)
hamming_distance(x, y) = hamming(vpclab_ascii(x), vpclab_ascii(y))
length(x)
levenshtein_distance(x, y) = levenshtein(vpclab_ascii(x), vpclab_ascii(y))
lower(x)
lpad(x, n, pad) = lpad(x, CAST(n AS INTEGER), pad)
ltrim(x) = ltrim(x, {space})
normalize(x) = nfc_normalize(x)
replace(x, y) = replace(x, y, '')
replace(x, y, z) = CASE WHEN y = '' THEN z || array_to_string(string_split(x, ''), z)
    || CASE WHEN x = '' THEN '' ELSE z END ELSE replace(x, y, z) END
rpad(x, n, pad) = rpad(x, CAST(n AS INTEGER), pad)
rtrim(x) = rtrim(x, {space})
split(x, d) = string_split(x, d)
split(x, d, n) = CASE WHEN len(string_split(x, d)) <= n THEN string_split(x, d) ELSE
    list_append(string_split(x, d)[:n - 1], array_to_string(string_split(x, d)[n:], d)) END
split_part(x, d, i) = CASE WHEN i < 1 THEN CAST(CAST('split_part counts from 1' AS BIGINT) AS VARCHAR)
    WHEN i <= len(string_split(x, d)) THEN split_part(x, d, CAST(i AS INTEGER)) END
split_to_map(x, d, k) = map_from_entries(list_transform(list_filter(string_split(x, d), lambda p: x <> ''),
    lambda p: struct_pack(k := string_split(p, k)[1], v := CASE WHEN len(string_split(p, k)) = 2
    THEN string_split(p, k)[2] ELSE CAST(CAST('each entry needs one ' || k AS BIGINT) AS VARCHAR) END)))
starts_with(x, y)
strpos(x, y)
substr(x, i) = CASE WHEN i = 0 OR -i > length(x) THEN '' ELSE substr(x, i) END
substr(x, i, n) = CASE WHEN i = 0 OR -i > length(x) OR n <= 0 THEN '' ELSE substr(x, i, n) END
substring(x, i) = CASE WHEN i = 0 OR -i > length(x) THEN '' ELSE substr(x, i) END
substring(x, i, n) = CASE WHEN i = 0 OR -i > length(x) OR n <= 0 THEN '' ELSE substr(x, i, n) END
to_utf8(x) = encode(x)
translate(x, y, z)
trim(x) = trim(x, {space})
upper(x)
"""

# Which empty texts are nulls is said by regexp_extract_all, which finds all and so takes up to three times as long.
REGULAR_EXPRESSIONS = r"""
regexp_count(x, p) = len(regexp_extract_all(x, p))
regexp_extract(x, p) = CASE WHEN regexp_matches(x, p) THEN regexp_extract(x, p) END
regexp_extract(x, p, g) = coalesce(nullif(regexp_extract(x, p, CAST(g AS INTEGER)), ''),
    regexp_extract_all(x, p, CAST(g AS INTEGER))[1])
regexp_extract_all(x, p)
regexp_extract_all(x, p, g)
regexp_extract_bool(x, p) = TRY_CAST(regexp_extract_all(x, p)[1] AS BOOLEAN)
regexp_extract_bool(x, p, g) = TRY_CAST(regexp_extract_all(x, p, CAST(g AS INTEGER))[1] AS BOOLEAN)
regexp_extract_double(x, p) = TRY_CAST(regexp_extract_all(x, p)[1] AS DOUBLE)
regexp_extract_double(x, p, g) = TRY_CAST(regexp_extract_all(x, p, CAST(g AS INTEGER))[1] AS DOUBLE)
regexp_extract_long(x, p) = TRY_CAST(regexp_extract_all(x, p)[1] AS BIGINT)
regexp_extract_long(x, p, g) = TRY_CAST(regexp_extract_all(x, p, CAST(g AS INTEGER))[1] AS BIGINT)
regexp_like(x, p) = regexp_matches(x, p)
regexp_replace(x, p) = regexp_replace(x, p, '', 'g')
regexp_replace(x, p, r) = regexp_replace(x, p, vpclab_replacement(r), 'g')
regexp_split(x, p) = string_split_regex(x, p)
"""

JSON = r"""
is_json_scalar(x) = json_type(x) NOT IN ('OBJECT', 'ARRAY')
json_array_contains(x, v) = CASE WHEN json_valid(x) AND json_type(x) = 'ARRAY'
    THEN list_contains(CAST(json_extract(x, '$[*]') AS VARCHAR[]), CAST(to_json(v) AS VARCHAR)) END
json_array_get(x, i) = CASE WHEN json_valid(x) AND json_type(x) = 'ARRAY'
    THEN CAST(json_extract(x, CAST(i AS BIGINT)) AS VARCHAR) END
json_array_length(x) = CASE WHEN json_valid(x) AND json_type(x) = 'ARRAY'
    THEN CAST(json_array_length(x) AS BIGINT) END
json_extract(x, p) = CASE WHEN json_valid(x) THEN CAST(json_extract(x, p) AS VARCHAR) END
json_extract_bool(x, p) = CASE WHEN json_valid(x) THEN TRY_CAST(json_extract_string(x, p) AS BOOLEAN) END
json_extract_double(x, p) = CASE WHEN json_valid(x) THEN TRY_CAST(json_extract_string(x, p) AS DOUBLE) END
json_extract_long(x, p) = CASE WHEN json_valid(x) THEN TRY_CAST(json_extract_string(x, p) AS BIGINT) END
json_extract_scalar(x, p) = CASE WHEN json_valid(x) AND json_type(x, p) NOT IN ('OBJECT', 'ARRAY')
    THEN json_extract_string(x, p) END
json_format(x) = CAST(x AS VARCHAR)
json_parse(x) = CAST(json(x) AS VARCHAR)
json_size(x, p) = CASE WHEN json_valid(x) THEN CASE json_type(x, p) WHEN 'OBJECT' THEN len(json_keys(x, p))
    WHEN 'ARRAY' THEN json_array_length(x, p) ELSE CASE WHEN json_type(x, p) IS NOT NULL THEN 0 END END END
"""

_BEFORE_PATH = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?"

URLS = r"""
url_decode(x) = url_decode(replace(x, '+', ' '))
url_encode(x) = replace(replace(replace(url_encode(x), '%20', '+'), '%2A', '*'), '~', '%7E')
url_extract_fragment(x) = CASE WHEN regexp_matches(x, '{start}') THEN regexp_extract(x, '#(.*)$', 1) END
url_extract_host(x) = CASE WHEN regexp_matches(x, '{start}')
    THEN regexp_extract(x, '{start}(\[[^\]]*\]|[^/?#:]*)', 1) END
url_extract_parameter(x, n) = list_filter(list_transform(string_split(regexp_extract(x, '\?([^#]*)', 1), '&'),
    lambda p: CASE WHEN split_part(p, '=', 1) = n THEN url_decode(replace(substr(p, length(n) + 2), '+', ' ')) END),
    lambda v: v IS NOT NULL)[1]
url_extract_path(x) = CASE WHEN regexp_matches(x, '{start}') THEN regexp_extract(x, '{start}[^/?#]*([^?#]*)', 1) END
url_extract_port(x) = TRY_CAST(regexp_extract(x, '{start}(?:\[[^\]]*\]|[^/?#:]*):([0-9]+)', 1) AS BIGINT)
url_extract_protocol(x) = CASE WHEN regexp_matches(x, '{start}')
    THEN regexp_extract(x, '^([A-Za-z][A-Za-z0-9+.-]*)://', 1) END
url_extract_query(x) = CASE WHEN regexp_matches(x, '{start}') THEN regexp_extract(x, '\?([^#]*)', 1) END
"""

BYTES = r"""
from_base64(x) = from_base64(x)
from_hex(x) = unhex(x)
md5(x) = unhex(md5(x))
sha1(x) = unhex(sha1(x))
sha256(x) = unhex(sha256(x))
to_base64(x) = to_base64(x)
to_hex(x) = hex(x)
"""

_KINDS = r"""
current_timezone() = 'Asia/Shanghai'
typeof(x) = regexp_replace(replace(replace(replace(replace(lower(typeof(x)), 'hugeint', 'bigint'),
    'blob', 'varbinary'), '"null"', 'unknown'), ', ', ','), '^(.*)\[\]$', 'array(\1)')
"""

INTERNAL = table(r"""
ascii(x) = CASE WHEN strlen(x) > length(x) THEN CAST(CAST('distances are of texts in ASCII' AS BIGINT) AS VARCHAR)
    ELSE x END
share(x, y) = CASE WHEN y = 0 THEN x * CAST('Infinity' AS DOUBLE) ELSE x / y END
rest(x, y) = CASE WHEN y = 0 THEN x * CAST('NaN' AS DOUBLE) ELSE x % y END
replacement(r) = replace(replace(regexp_replace(replace(replace(replace(r, '\\', chr(2)), '\$', chr(1)), '\', ''),
    '\$(\d)', '\\\1', 'g'), chr(1), '$'), chr(2), '\\')
""")
"""Text whose bytes are its characters, which DuckDB counts; doubles divided by 0; and what ``regexp_replace`` puts in:
``$1`` is a group, a backslash takes the meaning away."""

FUNCTIONS = {
    **table(NUMBERS_ANYWHERE),
    **table(NUMBERS),
    **table(TEXT, space=_SPACE),
    **table(REGULAR_EXPRESSIONS),
    **table(JSON),
    **table(URLS, start=_BEFORE_PATH),
    **table(BYTES),
    **table(_KINDS),
}
