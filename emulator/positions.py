"""On which line of a TOML text something stands. Pure.

tomllib tells no positions, but it parses any beginning of a text that ends between two statements. So the line of a
key is found as the last one of the shortest beginning that has it, by bisection.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

Place = tuple[str | int, ...]
"""Keys and indexes from the root of a document: ``("cvm", "A", "private_ip")``."""


def line_of(text: str, place: Place) -> int:
    """The line, from 1, on which a value begins to be there; of what is not there, that of what it would be in."""
    lines = text.replace("\r\n", "\n").split("\n")
    while place and not _reached(_parsed(lines, len(lines)), place):
        place = place[:-1]
    if not place:
        return 1
    return bisect_left(range(len(lines) + 1), True, key=lambda count: _reached(_parsed(lines, count), place))


def _parsed(lines: Sequence[str], count: int) -> dict[str, Any]:
    """The longest beginning of at most ``count`` lines that is a document; arrays may be cut behind an element."""
    while count:
        beginning = "\n".join(lines[:count])
        for end in ("", "]"):
            try:
                return tomllib.loads(beginning + end)
            except tomllib.TOMLDecodeError:
                continue
        count -= 1
    return {}


def _reached(value: Any, place: Place) -> bool:
    for step in place:
        there = step < len(value) if isinstance(step, int) and isinstance(value, list) else step in value
        if not there:
            return False
        value = value[step]
    return True
