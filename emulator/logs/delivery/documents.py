"""Records as JSON documents for stores that know fields: the provider's own names, or those of the Elastic Common
Schema.

The mapping is Elastic's own for flow logs of another cloud (its processor ``parse_aws_vpc_flow_log``): addresses,
ports, counts, window and verdict by their names in ECS, everything else under ``vpcflow.``. What has no value is left
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pyarrow as pa

from emulator.logs.records import TIME
from emulator.logs.scan import apart, literal, quoted

Fields = Literal["provider", "ecs"]
FIELDS: tuple[Fields, ...] = ("provider", "ecs")

ECS_VERSION = "8.17.0"
OTHERS = "vpcflow."
"""Before the names of fields that ECS has no place for."""

PORTLESS = "1, 58"
"""ICMP and ICMPv6: what a provider puts into their ports are no ports."""

TRANSPORTS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "ipv6-icmp", 132: "sctp"}
"""IANA numbers → ``network.transport``."""

_TEXTS = frozenset({"srcaddr", "dstaddr", "action", "direction", "log-status", "account-id", "vm-id", "region"})
_NUMBERS = frozenset({"srcport", "dstport", "protocol", "packets", "bytes", "start", "end"})
"""Columns of flow records that are mapped, where they are of this type."""

_ISO = "TRY(strftime(make_timestamp({} * 1000000), '%Y-%m-%dT%H:%M:%SZ'))"
_PORT = f"CASE WHEN {{protocol}} NOT IN ({PORTLESS}) THEN {{}} END"
_NO_PORT = f"CASE WHEN {{protocol}} IN ({PORTLESS}) THEN {{}} END"
_TRANSPORT = " ".join(f"WHEN {number} THEN '{name}'" for number, name in TRANSPORTS.items())
_KINDS = "WHEN 'ACCEPT' THEN ['connection', 'allowed'] WHEN 'REJECT' THEN ['connection', 'denied']"

ECS: tuple[tuple[str, str, str], ...] = (
    ("source.ip", "srcaddr", "{srcaddr}"),
    ("source.address", "srcaddr", "{srcaddr}"),
    ("source.port", "srcport", _PORT.replace("{}", "{srcport}")),
    ("source.bytes", "bytes", "{bytes}"),
    ("source.packets", "packets", "{packets}"),
    ("destination.ip", "dstaddr", "{dstaddr}"),
    ("destination.address", "dstaddr", "{dstaddr}"),
    ("destination.port", "dstport", _PORT.replace("{}", "{dstport}")),
    ("network.bytes", "bytes", "{bytes}"),
    ("network.packets", "packets", "{packets}"),
    ("network.iana_number", "protocol", "CAST({protocol} AS VARCHAR)"),
    ("network.transport", "protocol", f"CASE {{protocol}} {_TRANSPORT} END"),
    ("network.type", "srcaddr", "CASE contains({srcaddr}, ':') WHEN true THEN 'ipv6' WHEN false THEN 'ipv4' END"),
    ("network.direction", "direction", "CASE {direction} WHEN 'in' THEN 'ingress' WHEN 'out' THEN 'egress' END"),
    ("event.start", "start", _ISO.replace("{}", "{start}")),
    ("event.end", "end", _ISO.replace("{}", "{end}")),
    ("event.action", "action", "lower({action})"),
    ("event.outcome", "action", "CASE {action} WHEN 'ACCEPT' THEN 'success' WHEN 'REJECT' THEN 'failure' END"),
    ("event.type", "action", f"CASE {{action}} {_KINDS} END"),
    ("cloud.account.id", "account-id", "{account-id}"),
    ("cloud.instance.id", "vm-id", "{vm-id}"),
    ("cloud.region", "region", "{region}"),
    (OTHERS + "srcport", "srcport", _NO_PORT.replace("{}", "{srcport}")),
    (OTHERS + "dstport", "dstport", _NO_PORT.replace("{}", "{dstport}")),
)
"""Field of ECS, the column that it tells, SQL."""

_ALWAYS = {"ecs.version": f"'{ECS_VERSION}'", "event.kind": "'event'", "event.category": "['network']"}


def document(records: pa.Table, fields: Fields) -> dict[str, str]:
    """Name and SQL of each field of a record's document; the time is left to whoever sends it."""
    columns = dict(zip(records.column_names, map(quoted, apart(records.column_names)), strict=True))
    own = {name: column for name, column in columns.items() if name != TIME}
    if fields == "provider":
        return own
    types = {name: records.schema.field(name).type for name in own}
    known = {name for name in own if types[name] == (pa.string() if name in _TEXTS else pa.int64())}
    known &= _TEXTS | _NUMBERS if {"srcaddr", "protocol"} <= known else set()
    told = {name: sql.format_map(own) for name, column, sql in ECS if column in known}
    mapped = {column for _, column, _ in ECS} & known
    return {**_ALWAYS, **told, **{OTHERS + name: value for name, value in own.items() if name not in mapped}}


def as_object(values: Mapping[str, str]) -> str:
    """SQL for a JSON object with these names and values, which are SQL; names may differ by case only."""
    return f"json_object({', '.join(f'{literal(name)}, {value}' for name, value in values.items())})"


def as_json(values: Mapping[str, str]) -> str:
    """SQL for the text of such an object; nulls are left out."""
    return f"CAST(json_merge_patch('{{}}', {as_object(values)}) AS VARCHAR)"
