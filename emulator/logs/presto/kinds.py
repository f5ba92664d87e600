"""What a part of a query is, where that decides what is computed: whole numbers, text, dates, times.

DuckDB chooses among the overloads of a macro by the types of the arguments, but knows none of what an aggregate or a
window is in, and engines elsewhere have no such macros; so the choice is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from sqlglot import exp

Kind: TypeAlias = Literal["BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", ""]
"""``""``: not known, or something else."""

_RETURNS: Mapping[Kind, str] = {
    "BIGINT": """approx_distinct bit_count bitwise_and bitwise_and_agg bitwise_left_shift bitwise_not bitwise_or
        bitwise_or_agg bitwise_right_shift bitwise_xor bitwise_xor_agg cardinality codepoint count count_if date_diff
        day day_of_month day_of_week day_of_year dense_rank dow doy grouping hamming_distance hour json_array_length
        json_extract_long json_size length levenshtein_distance millisecond minute month ntile quarter rank
        regexp_count regexp_extract_long row_number second strpos url_extract_port week week_of_year width_bucket year
        year_of_week yow""",
    "DOUBLE": """avg cbrt corr covar_pop covar_samp cume_dist exp geometric_mean infinity json_extract_double kurtosis
        ln log log10 log2 nan percent_rank pi pow power rand regexp_extract_double regr_intercept regr_slope skewness
        sqrt stddev stddev_pop stddev_samp to_unixtime var_pop var_samp variance""",
    "VARCHAR": """array_join chr date_format from_utf8 ip_prefix ip_subnet_max ip_subnet_min ip_to_city
        ip_to_country ip_to_domain ip_to_province json_extract json_extract_scalar lower lpad ltrim regexp_extract
        regexp_replace replace rpad rtrim split_part substr substring to_base to_base64 to_hex to_iso8601 translate
        trim upper url_decode url_encode url_extract_host url_extract_path""",
    "DATE": "date from_iso8601_date last_day_of_month",
    "TIMESTAMP": "date_parse from_iso8601_timestamp from_unixtime histogram now",
}

_OF_ARGUMENT: Mapping[int, str] = {
    0: """abs any_value approx_percentile arbitrary ceil ceiling first_value floor lag last_value lead max max_by min
        min_by mod nth_value round sum truncate try""",
    2: "date_add",
}
_SAME = {name: at for at, names in _OF_ARGUMENT.items() for name in names.split()}
"""Functions whose value is of the kind of one of their arguments."""

_OF_NAME: dict[str, Kind] = {name: kind for kind, names in _RETURNS.items() for name in names.split()}

_OF_TYPE: dict[str, Kind] = {
    **dict.fromkeys(("BIGINT", "INT", "SMALLINT", "TINYINT"), "BIGINT"),
    **dict.fromkeys(("DOUBLE", "FLOAT", "DECIMAL"), "DOUBLE"),
    "VARCHAR": "VARCHAR",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP",
}

_META = "kind"


def kind_of(node: exp.Expr) -> Kind:
    """What :func:`note_kinds` noted."""
    found: Kind = node.meta.get(_META, "")
    return found


def same_kind(node: exp.Expr, new: exp.Expr) -> exp.Expr:
    """What stands for a node from now on is of the same kind."""
    if _META in node.meta:
        new.meta[_META] = node.meta[_META]
    return new


def note_kinds(tree: exp.Expr, columns: Mapping[str, Kind]) -> None:
    """Note at every node below ``tree`` what it is; ``columns`` are those of ``log``, by names in lower case."""
    named: dict[str, list[exp.Expr]] = {}
    for alias in tree.find_all(exp.Alias):
        named.setdefault(alias.alias.lower(), []).append(alias.this)
    for node in list(tree.walk(bfs=False))[::-1]:
        _noted(node, columns, named, frozenset())


def _noted(
    node: exp.Expr, columns: Mapping[str, Kind], named: Mapping[str, list[exp.Expr]], above: frozenset[str]
) -> Kind:
    if _META not in node.meta:
        found = _found(node, columns, named, above)
        if above and not found:
            return found  # by another way it may be known
        node.meta[_META] = found
    return kind_of(node)


def _found(
    node: exp.Expr, columns: Mapping[str, Kind], named: Mapping[str, list[exp.Expr]], above: frozenset[str]
) -> Kind:
    def of(part: exp.Expr) -> Kind:
        return _noted(part, columns, named, above)

    match node:
        case exp.Literal():
            return "VARCHAR" if node.is_string else "BIGINT" if node.is_int else "DOUBLE"
        case exp.Column():
            name = node.name.lower()
            told = [columns[name]] if name in columns else []
            if name not in above:
                told += [_noted(one, columns, named, above | {name}) for one in named.get(name, [])]
            return told[0] if len(set(told)) == 1 else ""
        case exp.Cast():
            return _OF_TYPE.get(node.to.this.name, "")
        case exp.CurrentTimestamp() | exp.Localtimestamp():
            return "TIMESTAMP"
        case exp.CurrentDate():
            return "DATE"
        case exp.DPipe() | exp.Concat():
            return "VARCHAR"
        case exp.Sub() if {of(node.this), of(node.expression)} <= {"DATE", "TIMESTAMP"}:
            return ""  # an interval
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div() | exp.Mod():
            return _calculated(of(node.this), of(node.expression))
        case exp.Paren() | exp.Neg() | exp.Alias() | exp.Filter() | exp.Window() | exp.IgnoreNulls():
            return of(node.this)
        case exp.Nullif():
            return of(node.this)
        case exp.Coalesce() | exp.Greatest() | exp.Least():
            return _common([of(one) for one in (node.this, *node.expressions)])
        case exp.Case():
            values = [one.args["true"] for one in node.args["ifs"]]
            return _common([of(one) for one in (*values, node.args.get("default")) if one is not None])
        case exp.If():
            return _common([of(one) for one in (node.args["true"], node.args.get("false")) if one is not None])
        case exp.Subquery() if isinstance(node.this, exp.Select) and len(node.this.expressions) == 1:
            return of(node.this.expressions[0])
        case exp.Anonymous():
            name = node.name.lower()
            if name == "date_trunc" and len(node.expressions) == 2:
                return "DATE" if of(node.expressions[1]) == "DATE" else "TIMESTAMP"
            if _is_array(name, node.expressions):
                return ""
            if name in _SAME and len(node.expressions) > _SAME[name]:
                return of(node.expressions[_SAME[name]])
            return _OF_NAME.get(name, "")
    return ""


def _is_array(name: str, arguments: list[exp.Expr]) -> bool:
    """Whether an aggregate is one of several values: the n greatest, or several percentiles."""
    if name == "approx_percentile":
        return len(arguments) > 1 and isinstance(arguments[1], exp.Array)
    return len(arguments) > {"max": 1, "min": 1, "max_by": 2, "min_by": 2}.get(name, len(arguments))


def _calculated(one: Kind, other: Kind) -> Kind:
    for kind in ("TIMESTAMP", "DATE", "DOUBLE"):
        if kind in (one, other):
            return kind
    return "BIGINT" if one == other == "BIGINT" else ""


def _common(kinds: list[Kind]) -> Kind:
    """What one of several values is, those that are not known left out: null is one of them."""
    known = {kind for kind in kinds if kind}
    if known == {"BIGINT", "DOUBLE"}:
        return "DOUBLE"
    return known.pop() if len(known) == 1 else ""
