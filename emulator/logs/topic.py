"""One topic: rows go in, and come out by search."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from emulator.errors import AlreadyExists, InvalidValue, LabClosed, LabError, NotFound, RequestRefused, StoreFailed
from emulator.logs.bill import Bill, bill_of
from emulator.logs.elsewhere.statement import VIEW, sql_elsewhere
from emulator.logs.histogram import Bucket, histogram
from emulator.logs.index import (
    DEFAULT_DELIMITERS,
    FLOW_DELIMITERS,
    Age,
    FullText,
    Index,
    ages,
    index_from,
    index_now,
)
from emulator.logs.names import check_days
from emulator.logs.neighbours import neighbours
from emulator.logs.records import TIME, Record, Records
from emulator.logs.refusal import refuse
from emulator.logs.report import REPORT_DASHBOARDS, REPORT_DAYS
from emulator.logs.rows import stored_rows
from emulator.logs.scan import Scan
from emulator.logs.search import asked, checked_limits, count, search, seconds
from emulator.logs.store import FOREVER, Batch, StoredTopic, Usage, expired_before
from emulator.logs.tail import Tail
from emulator.logs.view import int64_values

if TYPE_CHECKING:
    from emulator.logs.delivery.deliveries import Start
    from emulator.logs.delivery.delivery import Delivery
    from emulator.logs.delivery.target import Target
    from emulator.logs.elsewhere.cluster import SparkEngine
    from emulator.logs.limits import QueryLimits
    from emulator.logs.service import LogService
    from emulator.logs.workers import Workers


class Topic:
    """A topic (Tencent), a Logstore (Alibaba); made by ``LogService.create_topic``. Thread-safe."""

    def __init__(self, service: LogService, stored: StoredTopic) -> None:
        self.id = service.topic_id(stored)
        self.name = stored.name
        self.logset = stored.logset
        self.number = stored.number
        self.removed = False
        self.profile = service.profile
        self._service = service
        self.written = threading.Condition()
        self._lock = threading.RLock()
        self._stored = stored
        self._sources: set[str] = set()

    def __repr__(self) -> str:
        return f"<Topic {self.logset}/{self.name}>"

    @property
    def index(self) -> Index | None:
        """What of a row that is written now can be searched; None while there is no index."""
        return index_now(self._stored.indexes)

    @property
    def report(self) -> bool:
        """Whether the provider's flow-log report is on: its index, and its dashboards."""
        return self._stored.report

    @property
    def dashboards(self) -> tuple[str, ...]:
        """The names of the topic's dashboards."""
        names = REPORT_DASHBOARDS[self.profile.provider] if self.report else ()
        return tuple(name.format(topic=self.name) for name in names)

    @property
    def retention_days(self) -> int | None:
        """How long rows are kept, in lab time; None for ever."""
        return None if self._stored.days == FOREVER else self._stored.days

    @retention_days.setter
    def retention_days(self, days: int | None) -> None:
        kept = check_days(days, self.profile, self.name, self.id)
        with self._lock:
            self._check_there()
            self._change(days=kept)
            self._service.expire()

    @property
    def usage(self) -> Usage:
        """Bytes collected, written, stored, indexed and read, as the provider's meter counts them."""
        with self._lock:
            self._check_there()
            return self._service.store.usage(self.number, self._service.now())

    @property
    def bill(self) -> Bill:
        """What the provider would charge for the topic, line by line."""
        return bill_of(self.profile.prices, [self.usage])

    def enable_index(
        self, keys: Index | Mapping[str, str], report: bool = False, *, full_text: bool | FullText = False
    ) -> None:
        """Make ``keys`` searchable in what is written from now on (:meth:`reindex` for what is there already).

        ``keys`` maps each to ``text``, ``long``, ``double`` or ``json`` (with sub-keys: ``a.b``), or is a whole
        ``Index``. ``full_text`` looks for words that name no key in all values. With ``report``, the provider's
        flow-log report, which is offered where it is off: text is cut so that addresses and ids stay whole, and the
        dashboards come with it; without it by the provider's default tokens.
        """
        with self._lock:
            self._check_there()
            known = self.index
            if known is not None and (self.report or not report):
                message = f"{self.name} has an index already: {', '.join(known.fields)}; modify_index(...) changes it"
                raise refuse(AlreadyExists, self.profile, "index.duplicate", message, object=self.id)
            index = self._index_of(keys, report, full_text)
            if known is not None:
                index = Index({**known.fields, **index.fields}, known.full_text or index.full_text)
            self._service.writable().set_index(self.number, index.to_json())
            if report:
                self._change(report=True, days=REPORT_DAYS.get(self.profile.provider))
            self._reload()

    def modify_index(self, keys: Index | Mapping[str, str], *, full_text: bool | FullText = False) -> None:
        """Another index for what is written from now on."""
        with self._lock:
            self._check_there()
            self._index()
            self._service.writable().set_index(self.number, self._index_of(keys, self.report, full_text).to_json())
            self._reload()

    def disable_index(self) -> None:
        """What is written from now on cannot be searched; the report goes with the index."""
        with self._lock:
            self._check_there()
            self._index()
            self._service.writable().set_index(self.number, None)
            self._change(report=False)

    def reindex(self) -> None:
        """Let the index hold for everything that is there, as if it had been on from the beginning."""
        with self._lock:
            self._check_there()
            self._index()
            self._service.writable().reindex(self.number)
            self._reload()

    def write(self, rows: object, key: str | None = None) -> int:
        """Write ``rows``, dicts or an Arrow table, and return how many once they are durable and searchable.

        ``__time__`` is unix seconds (default: now). The same ``key`` twice writes once: then 0 is returned.
        """
        if not (key is None or (isinstance(key, str) and key == key.encode(errors="ignore").decode())):
            raise refuse(InvalidValue, self.profile, "write.key", f"a key is text, not {key!r}", value=key)
        table = self._stored_rows(rows)
        with self._lock:
            self._check_there()
            self._check_types(table.schema)
            written = table.num_rows if self._append(table, key, collected=False) else 0
        self._service.wake()
        return written

    def append(self, table: pa.Table, *, key: str) -> bool:
        """Write a window's records, once for each ``key``; False if they were there already.

        The table has ``__time__`` and may have hidden columns, whose names begin with ``_vpclab_``.
        """
        table = self._stored_rows(table, hidden=True)
        with self._lock:
            self._check_there()
            return self._append(table, key, collected=True)

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
        limits: QueryLimits | None = None,
        engine: str = "duckdb",
    ) -> Records:
        """The records that ``query`` finds, oldest first, or newest.

        ``start`` (included) and ``end`` (excluded) are unix seconds; what is left out means everything. ``language``
        is ``lucene``, ``cql`` or ``sls``, by default the profile's. Behind a ``|`` follows SQL. ``limit`` and
        ``offset`` page through what is found; ``.complete`` of the answer is False where the limit cut it.

        With ``limits`` the query is taken for a stranger's: a locked-down process answers it, within them. With
        ``engine="spark"`` the cluster of ``lab.logs.cluster`` answers.

        :raises QueryError: the query was not understood, or cannot be answered, with line and column
        """
        wanted = asked(self, query, start, end, limit, language, offset, newest_first, engine)
        found = search(self, wanted, checked_limits(self, limits))
        self._service.store.count_read(self.number, found.arrow().nbytes)
        return found

    def histogram(
        self,
        query: str = "*",
        start: float | None = None,
        end: float | None = None,
        interval_s: int = 60,
        language: str | None = None,
        *,
        limits: QueryLimits | None = None,
        engine: str = "duckdb",
    ) -> list[Bucket]:
        """How many records ``query`` finds in each multiple of ``interval_s``, empty ones included."""
        wanted = asked(self, query, start, end, None, language, engine=engine)
        return histogram(self, wanted, interval_s, checked_limits(self, limits))

    def context(self, record: Record, before: int = 10, after: int = 10) -> Records:
        """A record that a search found, with what comes before and behind it in this topic, oldest first."""
        counts = count(self, "before", before, 0), count(self, "after", after, 0)
        return neighbours(self, asked(self, "*", None, None), record, *counts)

    def tail(self, query: str = "*", language: str | None = None) -> Tail:
        """Live tail: records that are written from now on, as they come."""
        return Tail(self, asked(self, query, None, None, None, language))

    def sql(
        self,
        query: str,
        start: float | None = None,
        end: float | None = None,
        language: str | None = None,
        *,
        dialect: str = "spark",
        table: str = VIEW,
    ) -> str:
        """The SQL that another engine is to run for ``query``: ``dialect`` is ``spark`` or ``trino``.

        ``table`` is what that engine calls the rows of the topic's segments; see docs/scaling.md.

        :raises QueryError: as for :meth:`search`, and what that engine cannot compute
        """
        return sql_elsewhere(self, asked(self, query, start, end, None, language), dialect, table)

    def deliver(
        self,
        to: Target,
        name: str | None = None,
        *,
        flow_logs: Iterable[object] | None = None,
        start: Start = "now",
    ) -> Delivery:
        """Deliver to a target (``emulator.logs.delivery``) what is written from now on, or all that is there.

        At least once and in the order in which it was written; into a folder or a bucket exactly once. It happens in
        lab time, and goes on when the data folder is opened again. ``flow_logs`` limits it to what these wrote.
        ``start`` is ``now`` or ``earliest``.
        """
        with self._lock:
            self._check_there()
            made = self._service.deliveries.add(self, to, name, flow_logs, start)
        self._service.wake()
        return made

    @property
    def deliveries(self) -> list[Delivery]:
        """In the order in which they were made."""
        with self._lock:
            self._check_there()
            return self._service.deliveries.of(self)

    def now(self) -> float:
        """Lab time in unix seconds."""
        return self._service.now()

    @property
    def workers(self) -> Workers:
        """The processes that answer strangers' queries."""
        return self._service.workers

    @property
    def in_memory(self) -> bool:
        """Whether the topic is gone with its log service."""
        return self._service.folder is None

    def spark_engine(self) -> SparkEngine:
        """The engine of the Spark cluster."""
        return self._service.spark_engine()

    @property
    def geography(self) -> Path | None:
        """The MMDB that says where addresses are, if there is one."""
        return self._service.geography

    def searchable(self) -> list[Age]:
        """The indexes that a search is answered by, each for the batches that were written under it."""
        with self._lock:
            self._check_there()
            self._index()
            return ages(self._stored.indexes)

    def scan(self, start: int | None = None, end: int | None = None) -> Scan:
        """Stored rows with ``start`` <= time < ``end``."""
        low, high = seconds(self, "start", start), seconds(self, "end", end)
        with self._lock:
            self._check_there()
            expired = expired_before(self._stored.days, self._service.now())
            low = expired if low is None else low if expired is None else max(low, expired)
            return self._service.store.scan(self.number, low, high)

    def remove(self) -> None:
        """Delete the topic with all its rows; what still holds it is told so when it asks."""
        with self._lock:
            self._check_there()
            self._service.writable().remove_topic(self.number)
            self._service.deliveries.forget(self)
            self.removed = True

    def _change(self, *, days: int | None = None, report: bool | None = None) -> None:
        self._service.writable().set_topic(self.number, days=days, report=report)
        self._reload()

    def _reload(self) -> None:
        stored = self._service.store.topic(self.number)
        if stored is not None:
            self._stored = stored

    def _append(self, table: pa.Table, key: str | None, *, collected: bool) -> bool:
        if table.num_rows == 0:
            return False
        self._note_source(collected)
        self._warn_of_old_rows(table)
        store = self._service.writable()
        try:
            written = store.append(self.number, Batch(table, key, collected), self._service.now())
        except LabError as failed:
            code = self.profile.code("write.failed")
            message = f"{failed}; write the batch again when that is mended, with the same key if it had one"
            raise StoreFailed(message, code=code, object=self.id) from failed
        if written:
            self._service.deliveries.arrived(self, table)
        with self.written:
            self.written.notify_all()
        return written

    def _stored_rows(self, rows: object, *, hidden: bool = False) -> pa.Table:
        try:
            return stored_rows(rows, self._service.now(), self.profile, hidden=hidden)
        except RequestRefused as refused:
            refused.object = self.id
            raise

    def _warn_of_old_rows(self, table: pa.Table) -> None:
        """Rows that the topic does not keep any more are taken, and no search will find them."""
        before = expired_before(self._stored.days, self._service.now())
        if before is not None and (over := int((int64_values(table[TIME]) < before).sum())):
            message = f"{self.name} keeps rows for {self._stored.days} days: {over} of {table.num_rows} are older"
            warnings.warn(f"{message}, and no search will find them", stacklevel=4)

    def _note_source(self, collected: bool) -> None:
        """Flow records and other logs in one topic are taken, with a warning: the providers want one source."""
        self._sources.add("flow records" if collected else "other logs")
        if len(self._sources) > 1 and "warned" not in self._sources:
            self._sources.add("warned")
            warnings.warn(
                f"{self.name} has flow records and other logs: the provider advises a topic for flow records alone",
                stacklevel=4,
            )

    def _check_there(self) -> None:
        if self._service.closed:
            raise LabClosed(f"{self.name}: the log service is closed")
        if self._service.read_only:
            self._reload_shared()
        if self.removed:
            raise refuse(NotFound, self.profile, "topic.missing", f"{self.name} was deleted", object=self.id)

    def _reload_shared(self) -> None:
        """What another process made of the topic meanwhile."""
        stored = self._service.store.topic(self.number)
        self.removed = stored is None
        if stored is not None:
            self._stored = stored

    def _check_types(self, schema: pa.Schema) -> None:
        """A key keeps its type over writes: text stays text, numbers stay numbers."""
        known = self._service.store.types(self.number)
        for column in schema:
            there = known.get(column.name)
            if there is not None and (there == pa.string()) != (column.type == pa.string()):
                message = f"{column.name} is {column.type}, but {self.name} has it as {there}"
                raise refuse(InvalidValue, self.profile, "write.value", message, object=self.id, value=column.name)

    def _index(self) -> Index:
        index = self.index
        if index is None:
            message = f"{self.name} has no index, so nothing in it can be searched: enable_index(...)"
            raise refuse(NotFound, self.profile, "index.missing", message, object=self.id)
        return index

    def _index_of(self, keys: Index | Mapping[str, str], report: bool, full_text: bool | FullText) -> Index:
        delimiters = FLOW_DELIMITERS if report else DEFAULT_DELIMITERS[self.profile.provider]
        return index_from(keys, full_text, delimiters, self.profile, self.id)
