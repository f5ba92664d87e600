"""Arrays and maps."""

from __future__ import annotations

from emulator.logs.presto.functions import renamed, table

_TABLE = r"""
array_distinct(a) = list_filter(a, lambda x, i: list_position(a, x) = i)
array_except(a, b) = CASE WHEN b IS NOT NULL
    THEN list_filter(a, lambda x, i: list_position(b, x) IS NULL AND list_position(a, x) = i) END
array_intersect(a, b) = CASE WHEN b IS NOT NULL
    THEN list_filter(a, lambda x, i: list_position(b, x) IS NOT NULL AND list_position(a, x) = i) END
array_join(a, d) = array_to_string(list_transform(list_filter(a, lambda x: x IS NOT NULL),
    lambda x: CAST(x AS VARCHAR)), d)
array_join(a, d, n) = array_to_string(list_transform(a, lambda x: coalesce(CAST(x AS VARCHAR), n)), d)
array_max(a) = CASE WHEN len(list_filter(a, lambda x: x IS NULL)) = 0 THEN list_max(a) END
array_min(a) = CASE WHEN len(list_filter(a, lambda x: x IS NULL)) = 0 THEN list_min(a) END
array_position(a, v) = CASE WHEN a IS NOT NULL AND v IS NOT NULL THEN coalesce(list_position(a, v), 0) END
array_remove(a, v) = CASE WHEN v IS NOT NULL THEN list_filter(a, lambda x: x IS DISTINCT FROM v) END
array_sort(a) = list_sort(a, 'ASC', 'NULLS LAST')
array_union(a, b) = CASE WHEN a IS NOT NULL AND b IS NOT NULL
    THEN list_filter(list_concat(a, b), lambda x, i: list_position(list_concat(a, b), x) = i) END
cardinality(a) = CAST(len(a) AS BIGINT)
contains(a, v) = CASE WHEN list_contains(a, v) THEN TRUE WHEN list_position(a, NULL) IS NULL
    THEN list_contains(a, v) END
element_at(a, k) = a[k]
flatten(a)
map(k, v) = map(k, v)
map_concat(a, b)
map_keys(m)
map_values(m)
repeat(v, n) = list_transform(range(n), lambda i: v)
reverse(x VARCHAR) = reverse(x)
reverse(x) = list_reverse(x)
sequence(a, b) = generate_series(a, b, CASE WHEN a <= b THEN 1 ELSE -1 END)
sequence(a, b, s) = generate_series(a, b, s)
slice(a, i, n) = CASE WHEN i = 0 OR n < 0 THEN a[CAST('slice counts from 1, and has no negative length' AS BIGINT):]
    WHEN i > 0 THEN list_slice(a, i, i + n - 1)
    ELSE list_slice(a, len(a) + i + 1, len(a) + i + n) END
zip(a, b) = CASE WHEN a IS NOT NULL AND b IS NOT NULL THEN list_zip(a, b) END
"""

_LAMBDAS = """
filter(2) list_filter
transform(2) list_transform
"""

FUNCTIONS = {**table(_TABLE), **renamed(_LAMBDAS, "scalar")}
