"""What a search gives back: records, made at the edge for the rows that a person looks at."""

from __future__ import annotations

import base64
import csv
import datetime
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from emulator.errors import RequirementMissing

if TYPE_CHECKING:
    import pandas

HIDDEN = "_vpclab_"
"""Columns that begin so are kept with a row and never searched, returned or delivered."""

TIME = "__time__"
SEGMENT = HIDDEN + "segment"
ROW = HIDDEN + "row"
"""A row's batch and its place in it, given when it is stored; together its id."""

_PLAIN = (pa.string(), pa.int64(), pa.float64())
"""What is in CSV as it is."""

SHAPE = HIDDEN + "shape"
"""The number of the shape, that is of the columns that its batch was written with."""


class Record(dict[str, Any]):
    """One record, keyed by the provider's field names; ints where the field is a number, None where it has no value.

    ``id``    stable and unique in the log service; ``""`` for a row that SQL computed
    ``time``  the time in the log service, unix seconds; None for a row that SQL computed
    ``meta``  what vpclab knows beyond the provider's fields (the deciding rule, the direction, ...)

    Equal to a plain dict with the same fields.
    """

    __slots__ = ("id", "meta", "time")

    id: str
    time: int | None
    meta: dict[str, Any]

    def __init__(
        self,
        fields: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        id: str = "",
        time: int | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(fields)
        self.id = id
        self.time = time
        self.meta = {} if meta is None else meta

    @property
    def line(self) -> str:
        """The values in the order of the fields, separated by spaces; ``-`` for what has none."""
        return " ".join("-" if value is None else str(value) for value in self.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (dict(self), self.id, self.time, self.meta)


class Records(list[Record]):
    """What a search found: a list of records, oldest first unless asked otherwise, and the same as a table.

    ``complete``  False where a limit cut the answer
    """

    def __init__(self, records: Iterable[Record], table: pa.Table, complete: bool = True) -> None:
        super().__init__(records)
        self._table = table
        self.complete = complete

    @property
    def lines(self) -> list[str]:
        return [record.line for record in self]

    @property
    def line(self) -> str:
        """All records as text, a line each."""
        return "\n".join(self.lines)

    def arrow(self) -> pa.Table:
        """What was found, a column for each field; numbers are int64, what has no value is null."""
        return self._table

    def json(self) -> str:
        """What was found as a JSON array, an object for each record: times in ISO 8601, bytes in base 64; null for
        what JSON has no number for (NaN, infinite)."""
        try:
            return json.dumps(self, ensure_ascii=False, allow_nan=False, default=_text)
        except (TypeError, ValueError):
            # A number that is none in JSON, a key that is no text: once more, value by value.
            return json.dumps([_json(record) for record in self], ensure_ascii=False)

    def csv(self) -> str:
        """What was found as CSV with a line of names; what has no value is an empty field, an array or a map is JSON.

        Values are what they are: of a spreadsheet that opens it, say that ``=1+1`` is text.
        """
        names = self._table.column_names
        rows: Iterable[Sequence[object]] = ([record.get(name) for name in names] for record in self)
        if not all(kind in _PLAIN for kind in self._table.schema.types):
            rows = ([_cell(value) for value in row] for row in rows)
        text = io.StringIO()
        columns = [column for column in self._table.columns if column.type == pa.string()]
        if any("\r" in name for name in names) or any(pc.any(pc.match_substring(one, "\r")).as_py() for one in columns):
            writer = csv.writer(_Lines(text), lineterminator="\r\n")
        else:
            writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
        return text.getvalue()

    def pandas(self) -> pandas.DataFrame:
        """What was found as a DataFrame; whole numbers stay whole (``Int64``) where values are missing."""
        try:
            import pandas
        except ImportError:
            raise RequirementMissing(
                "records as a DataFrame need pandas", way_out="pip install pandas, or use .arrow()"
            ) from None
        frame: pandas.DataFrame = self._table.to_pandas(types_mapper={pa.int64(): pandas.Int64Dtype()}.get)
        return frame

    def __reduce__(self) -> tuple[Any, ...]:
        return Records, (list(self), self._table, self.complete)


def found_records(rows: pa.Table, shapes: Mapping[int, tuple[str, ...]], complete: bool = True) -> Records:
    """Records of stored rows: a table with ``__time__``, the place of each row, and hidden columns.

    ``shapes`` says which columns a batch was written with: a record has the fields of its own source, not those of
    others that write into the same topic.
    """
    values = {name: column.to_pylist() for name, column in zip(rows.column_names, rows.columns, strict=True)}
    own = {shape: [name for name in shapes[shape] if name != TIME] for shape in set(values[SHAPE])}
    shown = {shape: tuple(name for name in names if not name.startswith(HIDDEN)) for shape, names in own.items()}
    hidden = {shape: tuple(name for name in names if name.startswith(HIDDEN)) for shape, names in own.items()}
    places = zip(values[SEGMENT], values[ROW], strict=True)
    parts = zip(_dicts(shown, values), places, values[TIME], _dicts(hidden, values), strict=True)
    visible = [name for name in rows.column_names if name != TIME and not name.startswith(HIDDEN)]
    return Records(
        (Record(fields, f"{batch}-{row}", time, meta) for fields, (batch, row), time, meta in parts),
        rows.select(visible),
        complete,
    )


def _json(value: object) -> object:
    """A value as JSON has it."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    return _text(value)


def _cell(value: object) -> object:
    """A value as a field of CSV."""
    if isinstance(value, bool | list | tuple | Mapping):
        return json.dumps(_json(value), ensure_ascii=False)
    return value if value is None or isinstance(value, str | int | float) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


class _Lines:
    """What a writer of CSV writes to, a line at a time: it quotes ``\\r`` only while that is in its own line ends."""

    def __init__(self, text: io.StringIO) -> None:
        self._text = text

    def write(self, line: str) -> None:
        self._text.write(line.removesuffix("\r\n") + "\n")


def _dicts(names: Mapping[int, tuple[str, ...]], values: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """A dict for each row, with the columns that ``names`` has for its shape, without the prefix of hidden ones."""
    if len(set(names.values())) == 1:
        (same,) = set(names.values())
        keys = [name.removeprefix(HIDDEN) for name in same]
        if not keys:
            return ({} for _ in values[SHAPE])
        return (dict(zip(keys, row, strict=True)) for row in zip(*[values[name] for name in same], strict=True))
    pairs = {shape: [(name.removeprefix(HIDDEN), values[name]) for name in own] for shape, own in names.items()}
    return ({key: column[at] for key, column in pairs[shape]} for at, shape in enumerate(values[SHAPE]))


def computed_records(table: pa.Table, complete: bool = True) -> Records:
    """Records of what SQL computed, keyed by the names of its select list."""
    try:
        rows = table.to_pylist(maps_as_pydicts="lossy")
    except TypeError:
        # The keys of a map are arrays, which are none of a dict: it stays a list of pairs.
        rows = table.to_pylist()
    return Records((Record(row) for row in rows), table, complete)
