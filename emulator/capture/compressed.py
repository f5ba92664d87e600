"""IPv6 addresses as text in vectors, compressed as RFC 5952 wants it: the longest run of zero groups is ``::``."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_GROUPS = 8

Halves = np.ndarray[Any, np.dtype[np.uint64]]


def compressed(high: Halves, low: Halves) -> pa.Array:
    """Addresses, given by their first and last 64 bits, as text."""
    shifts = np.array([48, 32, 16, 0], np.uint64)
    halves = (half[:, None] >> shifts & np.uint64(0xFFFF) for half in (high, low))
    groups = np.concatenate(list(halves), axis=1).astype("u2")
    start, length = _longest_zeros(groups)
    words, pattern = [_hexadecimal().take(pa.array(column)) for column in groups.T], start * 16 + length
    texts, places = [], []
    for one in np.unique(pattern):  # at most 37: where the zeros are decides how an address is written
        rows = np.flatnonzero(pattern == one)
        texts.append(_written([column.take(pa.array(rows)) for column in words], *divmod(int(one), 16)))
        places.append(rows)
    if not texts:
        return pa.array([], pa.string())
    return pa.concat_arrays(texts).take(pa.array(np.argsort(np.concatenate(places))))


def _longest_zeros(groups: np.ndarray[Any, np.dtype[np.uint16]]) -> tuple[Any, Any]:
    """Where the longest run of zero groups starts, the first of equals, and how long it is: 0 where no run has two."""
    start = np.zeros(len(groups), np.intp)
    length = np.zeros(len(groups), np.intp)
    run = np.zeros(len(groups), np.intp)
    for number in range(_GROUPS):
        run = np.where(groups[:, number] == 0, run + 1, 0)
        longer = (run > length) & (run > 1)
        start, length = np.where(longer, number + 1 - run, start), np.where(longer, run, length)
    return np.where(length > 0, start, 0), length


def _written(words: list[pa.Array], start: int, length: int) -> pa.Array:
    """Addresses whose zeros are in the same place."""
    if not length:
        return pc.binary_join_element_wise(*words, ":")
    nothing = pa.repeat("", len(words[0]))
    before = pc.binary_join_element_wise(*words[:start], ":") if start else nothing
    behind = pc.binary_join_element_wise(*words[start + length :], ":") if start + length < _GROUPS else nothing
    return pc.binary_join_element_wise(before, behind, "::")


@cache
def _hexadecimal() -> pa.Array:
    """The text of each group there is."""
    return pa.array([f"{number:x}" for number in range(65_536)])
