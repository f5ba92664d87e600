"""A Spark cluster, asked through Spark Connect: it reads the segments of the data folder itself.

::

    topic.search(…, engine="spark") ── Spark's SQL, paths of segments ──►  cluster ── reads ──►  folder or bucket
                                    ◄── Arrow ───────────────────────────
"""

from __future__ import annotations

import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa

from emulator.errors import LabError, RequirementMissing
from emulator.logs.elsewhere.statement import VIEW
from emulator.logs.engine import Engine, EngineRefused
from emulator.logs.records import ROW, SEGMENT, SHAPE, TIME
from emulator.logs.scan import Scan, ScannedFile

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

PORT = 15_002
"""Spark Connect's, where an address has none."""

PATIENCE_S = 5.0
"""For a cluster to take a connection."""

_SETTINGS = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}
"""Times are clocks of our own, and what cannot be computed is refused."""

_TYPES = {pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.string(): "STRING"}
_EVERYWHERE = {TIME, SEGMENT, ROW, SHAPE}


@dataclass(frozen=True)
class SparkCluster:
    """Where a Spark cluster is, and where it finds the segments.

    ``address``   ``sc://host:port``, as Spark Connect has it
    ``segments``  the folder ``segments`` of the data folder as the cluster sees it, where that is another path or a
                  bucket: ``s3a://bucket/demo/segments``
    """

    address: str
    segments: str | None = None

    def __post_init__(self) -> None:
        try:
            found = urlsplit(self.address)
            good = found.scheme == "sc" and bool(found.hostname) and found.port != 0
        except (AttributeError, TypeError, ValueError):
            good = False
        if not good or not (self.segments is None or (isinstance(self.segments, str) and self.segments)):
            raise LabError(
                f"a Spark cluster is SparkCluster('sc://host:port', segments='s3a://…' or None), not {self!r}"
            )


class SparkEngine(Engine):
    """Answers what ``plan.py`` and ``analysis.py`` ask, by a cluster; one query at a time. Opened when first asked."""

    def __init__(self, cluster: SparkCluster) -> None:
        super().__init__()
        self.cluster = cluster
        self._one = threading.Lock()
        self._session: SparkSession | None = None

    def table(
        self,
        table: pa.Table | Scan,
        sql: str,
        parameters: Sequence[str],
        macros: Mapping[str, str] | None = None,
        functions: Mapping[str, Callable[..., pa.Array]] | None = None,
    ) -> pa.Table:
        """The answer of ``sql``, which knows the rows of a scan as ``VIEW`` and has no parameters."""
        assert isinstance(table, Scan)
        with self._one:
            session = self._opened()
            from grpc import RpcError
            from pyspark.errors import PySparkException

            try:
                self._frame(session, table).createOrReplaceTempView(VIEW)
                return _without_zones(session.sql(sql).toArrow())
            except (PySparkException, RpcError) as refused:
                raise EngineRefused(str(refused).split("\n")[0][:300]) from None

    def close(self) -> None:
        """End the session; the next query opens another."""
        super().close()
        with self._one:
            if self._session is not None:
                self._session.stop()
                self._session = None

    def _opened(self) -> SparkSession:
        if self._session is None:
            self._session = _session(self.cluster)
        return self._session

    def _frame(self, session: SparkSession, scan: Scan) -> Any:
        """The rows within the time range, with all columns."""
        alike: dict[frozenset[str], list[str]] = {}
        for file in scan.files:
            there = {name for shape in file.shapes for name in scan.shapes[shape]} | _EVERYWHERE
            alike.setdefault(frozenset(there), []).append(self._path(file))
        frames = [
            session.read.parquet(*paths).selectExpr(
                *[
                    f"CAST({_quoted(name) if name in there else 'NULL'} AS {_TYPES[kind]}) AS {_quoted(name)}"
                    for name, kind in scan.types.items()
                ]
            )
            for there, paths in alike.items()
        ]
        if scan.table is not None and scan.table.num_rows:
            frames.append(session.createDataFrame(scan.table))
        if not frames:
            columns = ", ".join(f"CAST(NULL AS {_TYPES[kind]}) AS {_quoted(name)}" for name, kind in scan.types.items())
            return session.sql(f"SELECT {columns} WHERE FALSE")
        frame = frames[0]
        for more in frames[1:]:
            frame = frame.unionAll(more)
        bounds = [f"{_quoted(TIME)} >= {scan.low}"] if scan.low is not None else []
        bounds += [f"{_quoted(TIME)} < {scan.high}"] if scan.high is not None else []
        return frame.where(" AND ".join(bounds)) if bounds else frame

    def _path(self, file: ScannedFile) -> str:
        if self.cluster.segments is None:
            return file.path.as_uri()
        return f"{self.cluster.segments.rstrip('/')}/{file.path.name}"


def _session(cluster: SparkCluster) -> SparkSession:
    try:
        with _as_a_program(), warnings.catch_warnings():
            # It warns of pandas 3, through which nothing passes here: answers come as Arrow.
            warnings.simplefilter("ignore", FutureWarning)
            from pyspark.sql.connect.client.retries import DefaultPolicy
            from pyspark.sql.connect.session import SparkSession
    except ImportError:
        raise RequirementMissing(
            "engine='spark' needs the client of Spark Connect", way_out="pip install 'vpclab[spark]'"
        ) from None
    from grpc import RpcError
    from pyspark.errors import PySparkException

    found = urlsplit(cluster.address)
    try:
        # By itself the client tries for ten minutes to reach a cluster that is not there.
        socket.create_connection((found.hostname, found.port or PORT), PATIENCE_S).close()
        session = SparkSession.builder.remote(cluster.address).create()
        session.client.set_retry_policies([DefaultPolicy(max_retries=3)])
        for name, value in _SETTINGS.items():
            session.conf.set(name, value)
    except (OSError, PySparkException, RpcError) as error:
        first = str(error).split("\n")[0]
        raise LabError(f"no Spark cluster answers at {cluster.address}: {first}; see docs/scaling.md") from None
    return session


@contextmanager
def _as_a_program() -> Iterator[None]:
    """For the import of pyspark, which takes a main module without a file, as a worker of xdist has it, for a doctest
    and ends the process."""
    main = sys.modules["__main__"]
    if hasattr(main, "__file__"):
        yield
        return
    main.__file__ = ""
    try:
        yield
    finally:
        del main.__file__


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _without_zones(table: pa.Table) -> pa.Table:
    """Times as the clocks that they are: Spark writes each with the zone of the session."""
    return table.cast(pa.schema([(column.name, _plain(column.type)) for column in table.schema]))


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us")
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind
