"""What may be written into a topic: rows as dicts or Arrow, checked and brought to the types that are stored.

Stored are strings, 64-bit integers and doubles, and ``__time__`` in unix seconds: every reader of the files knows
these.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue
from emulator.logs.names import wrong_with_key
from emulator.logs.records import HIDDEN, TIME
from emulator.logs.refusal import refuse
from emulator.logs.schemas import by_schema
from emulator.logs.view import int64_values

LATEST_S = 253_402_300_799
"""The last second of the year 9999."""

VALUE_BYTES = 1 << 20
"""Longest value, as both have it (tencent.md §5.4, alibaba.md §5.8)."""

_LONG = range(-(1 << 63), 1 << 63)
_TEXT = (pa.string(), pa.large_string(), pa.string_view())
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
"""What pandas calls an index without a name, as a frame has it after rows were picked out of it."""


def stored_rows(rows: object, now_s: float, profile: Profile, *, hidden: bool = False) -> pa.Table:
    """``rows`` as a table of stored types, ``__time__`` first; it is ``now_s`` where a row has none.

    ``rows`` are dicts or anything that speaks Arrow; with ``hidden``, columns that begin with ``_vpclab_`` are taken.
    A key that has no value in any of the rows, and so no type, is left out, as is an index of pandas without a name.

    :raises InvalidValue: reasons ``write.key``, ``write.value``, ``write.time``, ``write.rows``
    """
    if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)):
        return _check_sizes(_from_dicts(rows, now_s, profile), profile)
    if isinstance(rows, pa.Table):
        return _check_sizes(_from_arrow(rows, now_s, profile, hidden), profile)
    why = ""
    if isinstance(rows, pa.RecordBatch) or hasattr(rows, "__arrow_c_stream__"):
        try:
            table = pa.table(rows)
        except (TypeError, ValueError, pa.ArrowException) as wrong:
            why = f": {' '.join(map(str, wrong.args))}"
        else:
            return _check_sizes(_from_arrow(table, now_s, profile, hidden), profile)
    message = f"rows are a list of dicts or an Arrow table, not {type(rows).__name__}{why}"
    raise refuse(InvalidValue, profile, "write.value", message, value=rows)


def _check_sizes(table: pa.Table, profile: Profile) -> pa.Table:
    """The table, if no value is too long."""
    if table.get_total_buffer_size() > VALUE_BYTES:
        for name, values in zip(table.column_names, table.itercolumns(), strict=True):
            if values.type == pa.string() and values.nbytes > VALUE_BYTES:
                longest = pc.max(pc.binary_length(values)).as_py() or 0
                if longest > VALUE_BYTES:
                    message = f"a value of {name} has {longest} bytes: {VALUE_BYTES} are the most"
                    raise refuse(InvalidValue, profile, "write.rows", message, value=name)
    return table


def _from_arrow(table: pa.Table, now_s: float, profile: Profile, hidden: bool) -> pa.Table:
    plain = _plain(table.schema)
    if plain is not None and (hidden or not plain.hides):
        return _from_plain(table, plain, profile)
    if len(set(table.column_names)) < table.num_columns:
        message = "the table has two columns of one name"
        raise refuse(InvalidValue, profile, "write.key", message, value=table.column_names)
    names = [
        field.name
        for field in table.schema
        if field.name != TIME and not pa.types.is_null(field.type) and not _PANDAS_INDEX.fullmatch(field.name)
    ]
    columns: dict[str, Any] = {}
    if TIME in table.column_names:
        columns[TIME] = _times(table[TIME], profile)
    else:
        columns[TIME] = pa.array([math.floor(now_s)] * table.num_rows, pa.int64())
    for name in names:
        if not (hidden and name.startswith(HIDDEN)):
            _check_key(name, profile)
        columns[name] = _stored(name, table[name], profile)
    return pa.table(columns)


@dataclass(frozen=True)
class _Plain:
    """A schema with which nothing but the times and the length of values can be wrong.

    ``order``   places of its columns as they are stored
    ``narrow``  places, among those, of integers that become longs
    ``hides``   whether it has hidden columns
    """

    order: list[int]
    narrow: list[int]
    hides: bool


_NARROW = (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32())
_TO_LONG = pc.CastOptions.safe(pa.int64())


@by_schema
def _plain(schema: pa.Schema) -> _Plain | None:
    names = schema.names
    keys = [name for name in names if name != TIME and not name.startswith(HIDDEN)]
    if names.count(TIME) != 1 or len(set(names)) < len(names) or any(map(wrong_with_key, keys)):
        return None
    if not schema.equals(pa.schema(list(zip(names, schema.types, strict=True))), check_metadata=True):
        return None
    order = sorted(range(len(names)), key=lambda place: names[place] != TIME)
    types = [schema.types[place] for place in order]
    if types[0] != pa.int64() or any(kind not in (pa.int64(), pa.string(), *_NARROW) for kind in types):
        return None
    narrow = [place for place, kind in enumerate(types) if kind in _NARROW]
    return _Plain(order, narrow, hides=len(keys) + 1 < len(names))


def _from_plain(table: pa.Table, plain: _Plain, profile: Profile) -> pa.Table:
    stored = table.select(plain.order)
    _times(stored.column(0), profile)
    for place in plain.narrow:
        stored = stored.set_column(place, stored.schema.names[place], stored.column(place).cast(options=_TO_LONG))
    return stored


def _stored(name: str, column: pa.ChunkedArray, profile: Profile) -> pa.ChunkedArray:
    """A column in the one of the stored types that holds it without loss."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_integer(kind):
        wanted: pa.DataType = pa.int64()
    elif pa.types.is_floating(kind):
        wanted = pa.float64()
    elif kind in _TEXT:
        wanted = pa.string()
    else:
        raise refuse(
            InvalidValue, profile, "write.value", f"{name} is {column.type}: write strings, ints or floats", value=name
        )
    try:
        stored = column if column.type.equals(wanted) else column.cast(wanted)
    except pa.ArrowInvalid as loss:
        raise refuse(InvalidValue, profile, "write.value", f"{name} does not fit a long: {loss}", value=name) from None
    if wanted.equals(pa.float64()) and not all(math.isfinite(value) for value in stored.drop_null().to_pylist()):
        raise refuse(InvalidValue, profile, "write.value", f"{name} holds a number that is not finite", value=name)
    return stored


def _times(column: pa.ChunkedArray, profile: Profile) -> pa.ChunkedArray:
    if not pa.types.is_integer(column.type) or column.null_count:
        raise refuse(
            InvalidValue,
            profile,
            "write.time",
            f"{TIME} is unix seconds, a whole number in every row; the column is {column.type}"
            f" with {column.null_count} nulls",
            value=TIME,
        )
    stored = column if column.type == pa.int64() else column.cast(pa.int64(), safe=False)
    times = int64_values(stored)
    if len(times) and not 0 <= times.min() <= times.max() <= LATEST_S:
        wrong = times[(times < 0) | (times > LATEST_S)]
        message = f"{TIME} is unix seconds up to {LATEST_S}, not {wrong[0]}"
        raise refuse(InvalidValue, profile, "write.time", message, value=int(wrong[0]))
    return stored


def _from_dicts(rows: Sequence[object], now_s: float, profile: Profile) -> pa.Table:
    names: dict[str, type] = {}
    times: list[int] = []
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            message = f"row {number} is {type(row).__name__}, not a dict"
            raise refuse(InvalidValue, profile, "write.value", message, value=row)
        times.append(_time(number, row.get(TIME), now_s, profile))
        for name, value in row.items():
            if name != TIME:
                if name not in names:
                    _check_key(name, profile)
                names[name] = _kind(number, name, value, names.get(name, type(None)), profile)
    types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    columns: dict[str, Any] = {TIME: pa.array(times, pa.int64())}
    for name, kind in names.items():
        if kind not in types:  # None in every row
            continue
        try:
            columns[name] = pa.array([row.get(name) for row in rows], types[kind])  # type: ignore[attr-defined]
        except UnicodeEncodeError:
            message = f"{name} holds text that is no Unicode"
            raise refuse(InvalidValue, profile, "write.value", message, value=name) from None
    return pa.table(columns)


def _kind(number: int, name: str, value: object, before: type, profile: Profile) -> type:
    """The type of ``name`` after one more ``value``: what came before, or wider."""
    message = ""
    if value is None:
        return before
    if isinstance(value, str):
        kind: type = str
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        kind = int
        message = "" if int(value) in _LONG else "does not fit a long"
    elif isinstance(value, (float, np.floating)):
        kind = float
        message = "" if math.isfinite(value) else "is not finite"
    else:
        message = f"is {type(value).__name__}: write strings, ints or floats"
    if not message and {kind, before} - {type(None)} > {str}:
        message = f"is {kind.__name__}, an earlier row has {before.__name__}: one key, one type"
    if message:
        raise refuse(InvalidValue, profile, "write.value", f"row {number}: {name} {message}", value=value)
    return float if {kind, before} == {int, float} else kind


def _time(number: int, value: object, now_s: float, profile: Profile) -> int:
    if value is None:
        return math.floor(now_s)
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        seconds = float(value)
        if 0 <= seconds <= LATEST_S:
            return math.floor(seconds)
    message = f"row {number}: {TIME} is unix seconds up to {LATEST_S}, not {value!r}"
    raise refuse(InvalidValue, profile, "write.time", message, value=value)


def _check_key(name: object, profile: Profile) -> None:
    message = wrong_with_key(name)
    if message:
        raise refuse(InvalidValue, profile, "write.key", f"{name!r}: {message}", value=name)
