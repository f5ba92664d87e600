"""One topic: rows go in, and come out by search."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from emulator.errors import AlreadyExists, InvalidValue, LabClosed, NotFound
from emulator.logs.index import DEFAULT_DELIMITERS, FLOW_DELIMITERS, KINDS, Index, index_of
from emulator.logs.records import Records
from emulator.logs.refusal import refuse
from emulator.logs.rows import stored_rows
from emulator.logs.search import asked, search
from emulator.logs.store import StoredTopic
from emulator.logs.view import View

if TYPE_CHECKING:
    from emulator.logs.service import LogService


class Topic:
    """A topic (Tencent), a Logstore (Alibaba); made by ``LogService.create_topic``. Thread-safe."""

    def __init__(self, service: LogService, stored: StoredTopic) -> None:
        self.id = service.topic_id(stored)
        self.name = stored.name
        self.logset = stored.logset
        self.index = None if stored.index is None else Index.from_json(stored.index)
        self.report = stored.report
        self.number = stored.number
        self.removed = False
        self._service = service
        self.profile = service.profile
        self._lock = threading.RLock()
        self._view = View()
        self._read_until = 0

    def __repr__(self) -> str:
        return f"<Topic {self.logset}/{self.name}>"

    def enable_index(self, keys: Index | Mapping[str, str], report: bool = False) -> None:
        """Make ``keys`` searchable, rows that are already there included.

        ``keys`` maps each to ``text``, ``long`` or ``double``. With ``report``, the provider's flow-log report, text is
        cut so that addresses and ids stay whole; without it by the provider's default tokens.
        """
        with self._lock:
            self._check_there()
            if self.index is not None:
                message = f"{self.name} has an index already: {', '.join(self.index.fields)}"
                raise refuse(AlreadyExists, self.profile, "index.duplicate", message, object=self.id)
            index = self._index_of(keys, report)
            self._service.store.set_index(self.number, index.to_json(), report)
            self.index, self.report = index, report

    def write(self, rows: object, key: str | None = None) -> int:
        """Write ``rows``, dicts or an Arrow table, and return how many once they are durable and searchable.

        ``__time__`` is unix seconds (default: now). The same ``key`` twice writes once: then 0 is returned.
        """
        if not (key is None or isinstance(key, str)):
            raise refuse(InvalidValue, self.profile, "write.key", f"a key is text, not {key!r}", value=key)
        table = stored_rows(rows, self._service.now(), self.profile)
        with self._lock:
            self._check_there()
            self._check_types(table.schema)
            return table.num_rows if self._append(table, key) else 0

    def append(self, table: pa.Table, *, key: str) -> bool:
        """Write a window's records, once for each ``key``; False if they were there already.

        The table has ``__time__`` and may have hidden columns, whose names begin with ``_vpclab_``.
        """
        table = stored_rows(table, self._service.now(), self.profile, hidden=True)
        with self._lock:
            self._check_there()
            return self._append(table, key)

    def search(
        self,
        query: str = "*",
        start: float | None = None,
        end: float | None = None,
        limit: int | None = None,
        language: str | None = None,
        *,
        offset: int = 0,
        newest_first: bool = False,
    ) -> Records:
        """The records that ``query`` finds, oldest first, or newest.

        ``start`` (included) and ``end`` (excluded) are unix seconds; what is left out means everything. ``language``
        is ``lucene``, ``cql`` or ``sls``, by default the profile's. Behind a ``|`` follows SQL. ``limit`` and
        ``offset`` page through what is found; ``.complete`` of the answer is False where the limit cut it.

        :raises QueryError: the query was not understood, or cannot be answered, with line and column
        """
        return search(self, asked(self, query, start, end, limit, language, offset, newest_first))

    def now(self) -> float:
        """Lab time in unix seconds."""
        return self._service.now()

    def searchable(self) -> Index:
        """The index, for a search; refused where there is none."""
        with self._lock:
            self._check_there()
            return self._index()

    def schema(self) -> pa.Schema:
        """What columns the stored rows have."""
        return self.rows()[0].schema

    def rows(self, start: int | None = None, end: int | None = None) -> tuple[pa.Table, Mapping[int, tuple[str, ...]]]:
        """Stored rows with ``start`` <= time < ``end`` in their order, and the columns of each segment's own source."""
        with self._lock:
            self._check_there()
            view = self._refresh()
            return view.rows(start, end), view.columns

    def remove(self) -> None:
        """Delete the topic with all its rows; what still holds it is told so when it asks."""
        with self._lock:
            self._check_there()
            self._service.store.remove_topic(self.number)
            self.removed = True
            self._view = View()

    def _refresh(self) -> View:
        """The view with every segment that was acknowledged by now."""
        for segment in self._service.store.segments(self.number, self._read_until):
            rows = self._service.store.read(segment)
            if rows is not None:
                self._view.add(segment.number, rows)
            self._read_until = segment.number
        return self._view

    def _append(self, table: pa.Table, key: str | None) -> bool:
        return table.num_rows > 0 and self._service.store.append(self.number, table, key)

    def _check_there(self) -> None:
        if self._service.closed:
            raise LabClosed(f"{self.name}: the log service is closed")
        if self.removed:
            raise refuse(NotFound, self.profile, "topic.missing", f"{self.name} was deleted", object=self.id)

    def _check_types(self, schema: pa.Schema) -> None:
        """A key keeps its type over writes: text stays text, numbers stay numbers."""
        known = self._refresh().rows().schema
        for column in schema:
            at = known.get_field_index(column.name)
            if at >= 0 and (known.field(at).type == pa.string()) != (column.type == pa.string()):
                message = f"{column.name} is {column.type}, but {self.name} has it as {known.field(at).type}"
                raise refuse(InvalidValue, self.profile, "write.value", message, object=self.id, value=column.name)

    def _index(self) -> Index:
        if self.index is None:
            message = f"{self.name} has no index, so nothing in it can be searched: enable_index(...)"
            raise refuse(NotFound, self.profile, "index.missing", message, object=self.id)
        return self.index

    def _index_of(self, keys: Index | Mapping[str, str], report: bool) -> Index:
        kinds = {key: field.kind for key, field in keys.fields.items()} if isinstance(keys, Index) else keys
        good = isinstance(kinds, Mapping) and all(
            isinstance(key, str) and key and not key.startswith("_") and kind in KINDS for key, kind in kinds.items()
        )
        if not good or not kinds:
            message = f"an index maps keys to {', '.join(KINDS)}; keys do not start with _; this is {kinds!r}"
            raise refuse(InvalidValue, self.profile, "write.key", message, object=self.id, value=keys)
        if isinstance(keys, Index):
            return keys
        return index_of(keys, FLOW_DELIMITERS if report else DEFAULT_DELIMITERS[self.profile.provider])
