"""What CAST means: to whole numbers halves go away from zero, and text has to be one; DuckDB rounds both to even.

What cannot be cast fails by a cast of DuckDB's that cannot work: TRY takes no call of ``error``.
"""

from __future__ import annotations

from emulator.logs.presto.functions import Function, table

_WHOLE = r"""
cast_{name}(x {type}) = x
cast_{name}(x BIGINT) = CAST(x AS {type})
cast_{name}(x HUGEINT) = CAST(x AS {type})
cast_{name}(x DOUBLE) = CAST(round(x) AS {type})
cast_{name}(x BOOLEAN) = CAST(x AS {type})
cast_{name}(x VARCHAR) = CASE WHEN x IS NULL OR regexp_full_match(x, '[+-]?[0-9]+') THEN CAST(x AS {type})
    ELSE CAST('''' || x || '''' AS {type}) END
"""

_BOOLEAN = r"""
cast_boolean(x VARCHAR) = CASE WHEN x IS NULL OR lower(x) IN ('true', 't', '1', 'false', 'f', '0')
    THEN CAST(x AS BOOLEAN) ELSE CAST(x || ' is no boolean' AS BOOLEAN) END
cast_boolean(x) = CAST(x AS BOOLEAN)
"""

_TEXT = r"""
cast_varchar(x DATE) = CAST(x AS VARCHAR)
cast_varchar(x TIMESTAMP) = strftime(x, '%Y-%m-%d %H:%M:%S.%g')
cast_varchar(x) = CAST(x AS VARCHAR)
"""

_TIMES = r"""
cast_timestamp(x TIMESTAMP) = x
cast_timestamp(x DATE) = CAST(x AS TIMESTAMP)
cast_timestamp(x VARCHAR) = CAST(x AS TIMESTAMP)
"""

_CLS_TIMES = r"""
cast_timestamp(x TIMESTAMP) = x
cast_timestamp(x DATE) = CAST(x AS TIMESTAMP)
cast_timestamp(x BIGINT) = make_timestamp(x * 1000)
cast_timestamp(x VARCHAR) = CASE WHEN regexp_matches(x, '(Z|[+-][0-9][0-9](:?[0-9][0-9])?)$')
    THEN make_timestamp(epoch_us(CAST(x AS TIMESTAMP WITH TIME ZONE))) ELSE CAST(x AS TIMESTAMP) END
"""
"""CLS casts milliseconds and ISO 8601 (tencent.md §5.7)."""

_NAMES = {"BIGINT": "bigint", "INT": "integer", "SMALLINT": "smallint", "TINYINT": "tinyint"}


def _whole() -> dict[str, Function]:
    functions: dict[str, Function] = {}
    for kind, name in _NAMES.items():
        text = _WHOLE if kind != "BIGINT" else _WHOLE.replace("cast_{name}(x {type}) = x\n", "")
        functions[kind] = table(text, name=name, type=name.upper())[f"cast_{name}"]
    return functions


CASTS: dict[str, dict[str, Function]] = {
    provider: {
        **_whole(),
        "BOOLEAN": table(_BOOLEAN)["cast_boolean"],
        "VARCHAR": table(_TEXT)["cast_varchar"],
        "TIMESTAMP": table(times, prefix)["cast_timestamp"],
    }
    for provider, prefix, times in (("tencent", "cls_", _CLS_TIMES), ("alibaba", "sls_", _TIMES))
}

TYPES = frozenset({*_NAMES, "DOUBLE", "FLOAT", "BOOLEAN", "DATE", "DECIMAL", "VARCHAR", "TIMESTAMP", "ARRAY"})
"""What can be cast to, in sqlglot's names."""
