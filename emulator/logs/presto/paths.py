"""Paths into JSON, as Presto reads them: ``$.a.b[0]["c.d"]``, names and places one by one."""

from __future__ import annotations

import json
import re

_STEP = re.compile(
    r"""\.(?P<name>[^\s.*\[\]"']+) | \[(?P<place>[0-9]{1,9})\]
    | \["(?P<quoted>(?:[^"\\]|\\.)*)"\] | \['(?P<single>[^']*)'\]""",
    re.VERBOSE,
)

_UNSPEAKABLE = re.compile(r"\*|.*[\x00-\x1f].*", re.DOTALL)
"""Names that an engine's own paths cannot say."""


def steps_of(path: str) -> list[str | int] | None:
    """The names and places that ``path`` goes through; None where it is no path, or one to several values."""
    at, steps = 1, list[str | int]()
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            return None
        at = found.end()
        if found["place"] is not None:
            steps.append(int(found["place"]))
        elif found["quoted"] is not None:
            steps.append(re.sub(r"\\(.)", r"\1", found["quoted"]))
        else:
            steps.append(found["name"] or found["single"] or "")
    if any(isinstance(step, str) and _UNSPEAKABLE.fullmatch(step) for step in steps):
        return None
    return steps if path.startswith("$") else None


def in_duckdb(steps: list[str | int]) -> str:
    """The path as DuckDB has it: every name in quotes."""
    return "$" + "".join(
        f"[{step}]" if isinstance(step, int) else f".{json.dumps(step, ensure_ascii=False)}" for step in steps
    )


def in_brackets(steps: list[str | int]) -> str:
    """The path as engines elsewhere have it: every step in brackets."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f"['{step}']" for step in steps)
