"""The log service: topics that keep records, and search them.

Knows records as Arrow tables, not packets. Imports ``emulator.errors``, ``emulator.cloud.profile`` and what is pure and
of no room (names, lines of a TOML text), nothing else of vpclab. DuckDB, luqum and sqlglot are imported when a query
first needs them, the last by SQL alone.
"""

from emulator.logs.elsewhere.cluster import SparkCluster
from emulator.logs.index import Field, FullText, Index, flow_index
from emulator.logs.limits import QueryLimits
from emulator.logs.records import Record, Records
from emulator.logs.service import LogService
from emulator.logs.topic import Topic

__all__ = [
    "Field",
    "FullText",
    "Index",
    "LogService",
    "QueryLimits",
    "Record",
    "Records",
    "SparkCluster",
    "Topic",
    "flow_index",
]
