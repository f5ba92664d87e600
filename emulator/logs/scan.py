"""What one query reads: the rows of a topic within a time range, as Parquet files, as a table, or as both.

The engine shows a scan as the relation ``"vpclab rows"``, with ``__time__``, the keys, and the hidden columns; who runs
queries in another process sends it ``files``, which never change and stay for a minute after they were replaced.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from emulator.logs.records import ROW, SEGMENT, SHAPE, TIME
from emulator.logs.segments import characters
from emulator.logs.view import int64_values

ORDER = (TIME, SEGMENT, ROW)
"""The order of rows: by time, then by insertion."""

ROWS = "vpclab rows"
"""The name under which the engine shows a scan, or a table."""

BESIDE = "vpclab rows beside"
"""The name of those rows of a scan that are in none of its files."""

_EVERYWHERE = {TIME, SEGMENT, ROW, SHAPE}
_SQL = {pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.string(): "VARCHAR"}

FIRST_STEP = 4
"""How many times the rows that are wanted the first step of a limited search looks at, and the next steps of the one
before."""


@dataclass(frozen=True)
class ScannedFile:
    """A verified Parquet file; times are those of its oldest and newest row, batches those of its rows."""

    path: Path
    rows: int
    first_s: int
    last_s: int
    lowest: int
    highest: int
    shapes: tuple[int, ...]
    characters: Mapping[str, str]


@dataclass(frozen=True)
class Scan:
    """Rows with ``low`` <= time < ``high``; None is no bound.

    ``types``   columns → types: ``__time__``, keys, hidden ones
    ``shapes``  by number, the columns that a source wrote, in order
    ``lowest``, ``highest``  numbers of the first and the last batch that may have rows here
    ``files``   files that hold them, and others beside them
    ``table``   in ``ORDER``, the rows that are in none of the files, which are all where the store is in memory
    """

    types: Mapping[str, pa.DataType]
    shapes: Mapping[int, tuple[str, ...]]
    low: int | None
    high: int | None
    lowest: int = 0
    highest: int = 0
    table: pa.Table | None = None
    files: tuple[ScannedFile, ...] = ()

    @functools.cached_property
    def schema(self) -> pa.Schema:
        return pa.schema(list(self.types.items()))

    @property
    def folder(self) -> Path | None:
        """Where the files are."""
        return self.files[0].path.parent if self.files else None

    @functools.cached_property
    def characters(self) -> dict[str, str]:
        """For each text key all characters that its values are made of, where every file tells (see ``Segment``)."""
        if not self.files:
            return {}
        beside = {} if self.table is None else characters(self.table)
        kept = {}
        for name, kind in self.types.items():
            having = [file for file in self.files if any(name in self.shapes[shape] for shape in file.shapes)]
            if kind == pa.string() and all(name in file.characters for file in having):
                found = set(beside.get(name, "")).union(*(file.characters[name] for file in having))
                kept[name] = "".join(sorted(found))
        return kept

    def relation(self) -> str:
        """The rows as SQL, with all columns, where there are files; ``table`` is known as ``BESIDE``."""
        names = ", ".join(literal(str(file.path)) for file in self.files)
        there = _EVERYWHERE | {name for file in self.files for shape in file.shapes for name in self.shapes[shape]}
        columns = ", ".join(
            f"CAST({quoted(name) if name in there else 'NULL'} AS {_SQL[kind]}) AS {quoted(name)}"
            for name, kind in self.types.items()
        )
        bounds = [f'"{TIME}" >= {self.low}'] if self.low is not None else []
        bounds += [f'"{TIME}" < {self.high}'] if self.high is not None else []
        where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
        differ = str(len({file.shapes for file in self.files}) > 1).lower()
        beside = f' UNION ALL BY NAME SELECT * FROM "{BESIDE}"' if self.table is not None else ""
        return f"SELECT {columns} FROM read_parquet([{names}], union_by_name = {differ}){where}{beside}"

    def within(self, low: int | None, high: int | None) -> Scan:
        """The same for a part of the time range, where there are files."""
        files = [
            file for file in self.files if (low is None or file.last_s >= low) and (high is None or file.first_s < high)
        ]
        table = self.table
        if table is not None:
            times = int64_values(table[TIME])
            begin = 0 if low is None else int(np.searchsorted(times, low))
            end = len(times) if high is None else int(np.searchsorted(times, high))
            table = table.slice(begin, end - begin)
        elif not files:
            table = self.schema.empty_table()
        return replace(self, low=low, high=high, files=tuple(files), table=table)

    def steps(self, most: int, newest_first: bool) -> Iterator[Scan]:
        """The scan cut by time into parts that grow, so that a search for a few rows reads a few."""
        parts = [_Part(file.rows, file.first_s, file.last_s) for file in self.files]
        if self.table is not None and self.table.num_rows:
            times = int64_values(self.table[TIME])
            parts.append(_Part(len(times), int(times[0]), int(times[-1])))
        oldest, newest = min(part.first_s for part in parts), max(part.last_s for part in parts)
        low = oldest if self.low is None else max(self.low, oldest)
        high = newest + 1 if self.high is None else min(self.high, newest + 1)
        wanted = most * FIRST_STEP
        while low < high:
            cut = _cut(parts, low, high, wanted, newest_first)
            yield self.within(cut, high) if newest_first else self.within(low, cut)
            low, high = (low, cut) if newest_first else (cut, high)
            wanted *= FIRST_STEP * 2


class _Part(NamedTuple):
    rows: int
    first_s: int
    last_s: int


def _cut(parts: Sequence[_Part], low: int, high: int, wanted: int, newest_first: bool) -> int:
    """Where about ``wanted`` rows lie between the near end of the time range and here, were each part's spread
    evenly."""
    bounds = {bound for part in parts for bound in (part.first_s, part.last_s + 1)}
    spans = list(itertools.pairwise(sorted({low, high, *(bound for bound in bounds if low < bound < high)})))
    counted = 0.0
    for begin, end in reversed(spans) if newest_first else spans:
        there = [part for part in parts if part.first_s < end and part.last_s >= begin]
        density = sum(part.rows / (part.last_s + 1 - part.first_s) for part in there)
        if density and counted + density * (end - begin) >= wanted:
            seconds = max(1, round((wanted - counted) / density))
            return max(begin, end - seconds) if newest_first else min(end, begin + seconds)
        counted += density * (end - begin)
    return low if newest_first else high


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def apart(names: Sequence[str]) -> list[str]:
    """Names of columns under which SQL, which ignores case, tells them apart: as they are wherever that will do."""
    if len({name.lower() for name in names}) == len(names):
        return list(names)
    seen: dict[str, int] = {}
    found = []
    for name in names:
        earlier = seen.setdefault(name.lower(), 0)
        seen[name.lower()] += 1
        found.append(f"{name}\x7f{earlier}" if earlier else name)
    return found
