"""The log service: the logsets and topics of one account in one region, over one store.

::

    collector ──append──►  Topic ──► Store (memory | folder)
    topic.write ────────►    │
    topic.search ◄──────── View ◄── segments, read once
                             │
                  condition, SQL ──► Engine (DuckDB)
    deliver ─────────────► Deliveries ──► folders, buckets, ...
"""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from emulator.cloud.profile import Profile
from emulator.errors import AlreadyExists, InUse, InvalidValue, LabClosed, LabError, NotFound
from emulator.logs.bill import Bill, bill_of
from emulator.logs.delivery.deliveries import Deliveries
from emulator.logs.index import Index
from emulator.logs.memory import MemoryStore
from emulator.logs.names import DEFAULT_LOGSET, check_days, check_logset, check_names
from emulator.logs.refusal import refuse
from emulator.logs.store import Damage, ReadStore, Store, StoredTopic
from emulator.logs.topic import Topic

if TYPE_CHECKING:
    from emulator.logs.elsewhere.cluster import SparkCluster, SparkEngine
    from emulator.logs.workers import Workers


class LogService:
    """Topics by logset (Alibaba: Logstores by project). Thread-safe.

    Rows are kept in memory, or in ``folder``, which one service at a time may write; with ``read_only`` it reads what
    another process writes there. ``now`` gives lab time in unix seconds.
    """

    def __init__(
        self, *, profile: Profile, now: Callable[[], float], folder: Path | None = None, read_only: bool = False
    ) -> None:
        self.profile = profile
        self.now = now
        self.folder = folder
        self.closed = False
        self.read_only = read_only
        self.store: ReadStore
        if read_only and folder is not None:
            from emulator.logs.reader import FolderReader

            self.store = FolderReader.opened(folder)
        else:
            self.store = self._writable = _store(folder)
        self._workers: Workers | None = None
        self._spark: SparkEngine | None = None
        self._geography: Path | None = None
        self._lock = threading.RLock()
        self._topics = {stored.number: Topic(self, stored) for stored in self.store.topics()}
        self.deliveries = Deliveries(self)
        self.wake: Callable[[], None] = lambda: None
        """Called when deliveries may be due sooner than was known."""

    def __enter__(self) -> LogService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def damaged(self) -> list[Damage]:
        """Segments that were found damaged and are left out of every answer."""
        return list(self.store.damaged)

    def create_logset(self, name: str) -> str:
        """A new logset (Alibaba: project) without topics; its name."""
        check_logset(name, self.profile)
        with self._lock:
            store = self.writable()
            if name in store.logsets():
                message = f"there is a logset {name} already"
                raise refuse(AlreadyExists, self.profile, "logset.duplicate", message, object=name, value=name)
            store.add_logset(name)
            return name

    def logsets(self) -> list[str]:
        """The names of all logsets, in the order in which they were made."""
        with self._lock:
            self._check_open()
            return self.store.logsets()

    def delete_logset(self, name: str) -> None:
        """Delete a logset; where the provider wants it empty, one with topics is refused, else they go with it."""
        with self._lock:
            store = self.writable()
            self._check_logset(name)
            topics = [topic for topic in self.topics() if topic.logset == name]
            if topics and self.profile.logsets_deleted_empty:
                some = ", ".join(topic.name for topic in topics[:3])
                message = f"logset {name} has topics, {some} among them: delete_topic(...) first"
                raise refuse(InUse, self.profile, "logset.in_use", message, object=name, value=name)
            for topic in topics:
                self.delete_topic(topic)
            store.remove_logset(name)

    def create_topic(
        self,
        name: str,
        logset: str | None = None,
        index: Index | Mapping[str, str] | None = None,
        *,
        retention_days: int | None = None,
    ) -> Topic:
        """A new topic, in a logset that is made where there is none of this name; None keeps its rows for ever."""
        logset = DEFAULT_LOGSET if logset is None else logset
        check_names(name, logset, self.profile)
        days = check_days(retention_days, self.profile, name)
        with self._lock:
            store = self.writable()
            if any((topic.name, topic.logset) == (name, logset) for topic in self._topics.values()):
                message = f"{logset} has a topic {name} already"
                raise refuse(AlreadyExists, self.profile, "topic.duplicate", message, object=name, value=name)
            topic = Topic(self, store.add_topic(name, logset, days))
            try:
                if index is not None:
                    topic.enable_index(index)
            except BaseException:
                store.remove_topic(topic.number)
                raise
            self._topics[topic.number] = topic
            return topic

    def topic(self, name: str, logset: str | None = None) -> Topic:
        """The topic of this name; ``logset`` may be left out where only one logset has it."""
        with self._lock:
            topics = self.topics()
            if logset is not None:
                self._check_logset(logset)
            found = [topic for topic in topics if topic.name == name and logset in (None, topic.logset)]
            if not found:
                names = [topic.name for topic in topics if logset in (None, topic.logset)]
                where = "" if logset is None else f" in {logset}"
                message = f"there is no topic {name!r}{where}{_nearest(name, names)}"
                raise refuse(NotFound, self.profile, "topic.missing", message, object=name, value=name)
            if len(found) > 1:
                message = f"{name!r} is a topic in {' and '.join(topic.logset for topic in found)}: say logset="
                raise refuse(InvalidValue, self.profile, "topic.name", message, object=name, value=name)
            return found[0]

    def get(self, topic_id: str) -> Topic:
        """The topic with this id."""
        for topic in self.topics():
            if topic.id == topic_id:
                return topic
        message = f"there is no topic with the id {topic_id!r}"
        raise refuse(NotFound, self.profile, "topic.missing", message, object=topic_id, value=topic_id)

    def topics(self) -> list[Topic]:
        """All topics, in the order in which they were made."""
        with self._lock:
            self._check_open()
            if self.read_only:
                self._share()
            return list(self._topics.values())

    def delete_topic(self, topic: Topic) -> None:
        """Delete a topic with all its rows; its logset stays."""
        with self._lock:
            self.writable()
            if topic not in self._topics.values():
                message = f"{topic!r} is no topic of this log service; give one of its topics()"
                raise refuse(NotFound, self.profile, "topic.missing", message, value=topic)
            topic.remove()
            del self._topics[topic.number]

    @property
    def bill(self) -> Bill:
        """What the provider would charge for all topics that there are, line by line."""
        return bill_of(self.profile.prices, [topic.usage for topic in self.topics()])

    def expire(self, now_s: float | None = None) -> None:
        """Let go of rows that are older than their topics keep them, now or at another moment of lab time; what a
        delivery has yet to deliver is no longer found, but stays until then."""
        moment = self._moment(now_s)
        with self._lock:
            self.writable().expire(moment)

    def flush(self) -> None:
        """Have all that was written in the data folder's Parquet files, for programs that read these by themselves.

        By itself it happens within milliseconds, before each search, and when the service is closed.
        """
        with self._lock:
            store = self.writable()
            for topic in store.topics():
                store.flush(topic.number)

    def deliver(self, now_s: float | None = None, *, goes_on: bool = False) -> None:
        """Deliver what is due, now or by another moment of lab time; a lab's clock calls it by itself.

        ``goes_on``: more of the same step of the clock follows.
        """
        moment = self._moment(now_s)
        self.writable()
        self.deliveries.settle(moment, goes_on=goes_on)

    def _moment(self, now_s: float | None) -> float:
        if not (now_s is None or (isinstance(now_s, int | float) and math.isfinite(now_s))):
            message = f"now_s is a time in unix seconds, not {now_s!r}"
            raise refuse(InvalidValue, self.profile, "time.range", message, value=now_s)
        return self.now() if now_s is None else now_s

    def close(self) -> None:
        """Give up the store; a second close does nothing."""
        with self._lock:
            if not self.closed:
                self.closed = True
                self.deliveries.close()
                if self._workers is not None:
                    self._workers.close()
                if self._spark is not None:
                    self._spark.close()
                self.store.close()

    @property
    def geography(self) -> Path | None:
        """A database in MaxMind's format that ``ip_to_country`` and its like read, in place of the shipped table.

        Set it to a path, or to None.

        :raises LabError: the file is no such database
        """
        return self._geography

    @geography.setter
    def geography(self, path: str | Path | None) -> None:
        from emulator.logs.places import places

        found = None if path is None else Path(path).absolute()
        if found is not None:
            places(found)
        self._geography = found

    @property
    def cluster(self) -> SparkCluster | None:
        """The Spark cluster that answers ``topic.search(..., engine="spark")``.

        Set it to a ``SparkCluster``, to an address like ``sc://host:15002``, or to None.
        """
        return None if self._spark is None else self._spark.cluster

    @cluster.setter
    def cluster(self, wanted: SparkCluster | str | None) -> None:
        from emulator.logs.elsewhere.cluster import SparkCluster, SparkEngine

        if wanted is not None and not isinstance(wanted, SparkCluster):
            wanted = SparkCluster(wanted)
        with self._lock:
            if self._spark is not None:
                self._spark.close()
            self._spark = None if wanted is None else SparkEngine(wanted)

    def spark_engine(self) -> SparkEngine:
        """The engine of the cluster."""
        with self._lock:
            self._check_open()
            if self._spark is None:
                raise LabError("no Spark cluster is named: lab.logs.cluster = 'sc://host:15002', or Lab(spark=...)")
            return self._spark

    @property
    def workers(self) -> Workers:
        """The processes that answer strangers' queries; none before the first of these."""
        from emulator.logs.workers import Workers

        with self._lock:
            self._check_open()
            if self._workers is None:
                self._workers = Workers()
            return self._workers

    def topic_id(self, stored: StoredTopic) -> str:
        """Tencent's topics have a UUID (here one of their number); a Logstore is known by project and name."""
        if self.profile.provider == "alibaba":
            return f"{stored.logset}/{stored.name}"
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"vpclab topic {stored.number}"))

    def _check_open(self) -> None:
        if self.closed:
            raise LabClosed("the log service is closed")

    def writable(self) -> Store:
        """The store, for a change."""
        self._check_open()
        if self.read_only:
            raise LabError("read_logs(...) opened this log service to look on; what changes it is for Lab(data=...)")
        return self._writable

    def _check_logset(self, name: str) -> None:
        logsets = self.store.logsets()
        if name not in logsets:
            message = f"there is no logset {name!r}{_nearest(name, logsets)}"
            raise refuse(NotFound, self.profile, "logset.missing", message, object=name, value=name)

    def _share(self) -> None:
        """The topics that another process has by now."""
        stored = {one.number: one for one in self.store.topics()}
        self._topics = {number: self._topics.get(number) or Topic(self, one) for number, one in stored.items()}


def _store(folder: Path | None) -> Store:
    if folder is None:
        return MemoryStore()
    from emulator.logs.folder import FolderStore

    return FolderStore(folder)


def _nearest(name: str, names: list[str]) -> str:
    near = get_close_matches(str(name), names, n=3, cutoff=0.5) or names[:3]
    return f"; there is {', '.join(near)}" if near else "; there is none at all"
