"""What is known of a schema, so that it is found out once and not with every batch.

To compare two schemas costs a microsecond; to look at the names and types of two dozen columns a hundred.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

KEPT = 8
"""Answers that are kept: a topic's batches have one schema, or a few."""

T = TypeVar("T")


def by_schema(known_of: Callable[[pa.Schema], T]) -> Callable[[pa.Schema], T]:
    """``known_of``, which depends on nothing but the schema and its metadata, with its last answers kept."""
    kept: tuple[tuple[pa.Schema, T], ...] = ()

    @functools.wraps(known_of)
    def known(schema: pa.Schema) -> T:
        nonlocal kept
        for one, answer in kept:
            if schema.equals(one, check_metadata=True):
                return answer
        answer = known_of(schema)
        kept = ((schema, answer), *kept[: KEPT - 1])
        return answer

    return known
