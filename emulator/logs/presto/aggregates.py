"""Functions over many rows: aggregates, and those of windows."""

from __future__ import annotations

from emulator.logs.presto.functions import as_aggregates, renamed, table

_AGGREGATES = """
any_value(1)
approx_distinct(1, 2) approx_count_distinct
approx_percentile(2) quantile_disc
arbitrary(1) any_value
array_agg(1)
avg(1)
bitwise_and_agg(1) bit_and
bitwise_or_agg(1) bit_or
bitwise_xor_agg(1) bit_xor
bool_and(1)
bool_or(1)
corr(2)
count(0, 1)
count_if(1)
covar_pop(2)
covar_samp(2)
every(1) bool_and
geometric_mean(1)
grouping(1, 2, 3)
kurtosis(1)
max(1, 2)
max_by(2, 3) arg_max_null
min(1, 2)
min_by(2, 3) arg_min_null
regr_intercept(2)
regr_slope(2)
stddev(1)
stddev_pop(1)
stddev_samp(1)
sum(1)
var_pop(1)
var_samp(1)
variance(1)
"""

_COMPUTED = """
histogram(x) = histogram(x)
map_agg(k, v) = map(list(k) FILTER (k IS NOT NULL), list(v) FILTER (k IS NOT NULL))
skewness(x) = skewness(x) * (count(x) - 2) / sqrt(count(x) * (count(x) - 1))
"""

_WINDOWS = """
cume_dist(0)
dense_rank(0)
first_value(1)
lag(1, 2, 3)
last_value(1)
lead(1, 2, 3)
nth_value(2)
ntile(1)
percent_rank(0)
rank(0)
row_number(0)
"""

FUNCTIONS = {
    **renamed(_AGGREGATES, "aggregate"),
    **as_aggregates(table(_COMPUTED)),
    **renamed(_WINDOWS, "window"),
}
