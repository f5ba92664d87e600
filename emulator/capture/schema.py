"""The one schema of records, provider-neutral, and the way from kernel entries to it.

A record is what one ENI saw of one flow in one window: one direction, one 5-tuple, one action. Units: bytes are
those of whole IP packets, times unix seconds of lab time, ports and ICMP numbers as on the wire. None means that the
field has no value.

===============  =======  ==========================================================================
column           type     meaning (source: design, tencent.md §1.1, alibaba.md §1.1)
===============  =======  ==========================================================================
lab              string   the lab that counted: ids repeat in the next lab on a data folder. In no form
flow_log_id      string   the flow log that this copy belongs to
account_id       string   owner of the ENI
region           string
vpc_id           string
subnet_id        string
cvm_id           string   the CVM the ENI was attached to
eni_id           string
direction        string   "in" or "out", seen from the ENI
ip_version       int32    4 or 6
protocol         int32    IANA number
srcaddr          string
srcport          int32    None for ICMP and for protocols without ports
dstaddr          string
dstport          int32    as srcport
icmp_id          int32    ICMP identifier (ICMPv6's where ip_version is 6), None for other protocols
icmp_type_code   int32    ICMP type << 8 | code, None for other protocols
packets          int64
bytes            int64
start            int64    the window's bounds
end              int64
action           string   "ACCEPT" or "REJECT"
log_status       string   "OK", "NODATA" or "SKIPDATA"
tcp_flags        int32    TCP's, OR-ed over the record's packets, ACK only of SYN-ACK; None for other protocols, where
                          the profile's records do not show them, and where there was no room to keep them
rule             int32    number of the deciding rule in its VPC
path             string   by which way it left: "vpc" (it stayed inside), "eip", "nat", "internet gateway", "peering",
                          "ccn" or "nowhere"; None for what came in, and in forms that do not tell it
skipped          int64    SKIPDATA only: packets that found no room in the flow table
===============  =======  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emulator.capture.compressed import compressed
from emulator.cloud.model import PORTS_PROTOCOLS
from emulator.fabric import marks
from emulator.fabric.shapes6 import FLOW6, tuple_fields

RECORD = pa.schema(
    [
        ("lab", pa.string()),
        ("flow_log_id", pa.string()),
        ("account_id", pa.string()),
        ("region", pa.string()),
        ("vpc_id", pa.string()),
        ("subnet_id", pa.string()),
        ("cvm_id", pa.string()),
        ("eni_id", pa.string()),
        ("direction", pa.string()),
        ("ip_version", pa.int32()),
        ("protocol", pa.int32()),
        ("srcaddr", pa.string()),
        ("srcport", pa.int32()),
        ("dstaddr", pa.string()),
        ("dstport", pa.int32()),
        ("icmp_id", pa.int32()),
        ("icmp_type_code", pa.int32()),
        ("packets", pa.int64()),
        ("bytes", pa.int64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("action", pa.string()),
        ("log_status", pa.string()),
        ("tcp_flags", pa.int32()),
        ("rule", pa.int32()),
        ("path", pa.string()),
        ("skipped", pa.int64()),
    ]
)

OF_CCN = pa.schema([*RECORD, *((name, pa.string()) for name in ("src_region", "dst_region", "attachment_id"))])
"""Of a CCN's flow log: ``eni_id`` is the CCN's, ``region`` the flow log's, and no rule decided."""

Flows = np.ndarray[tuple[int], np.dtype[np.void]]

_OCTETS = pa.array([str(number) for number in range(256)])
_HAS_PORTS = np.isin(np.arange(256), sorted(PORTS_PROTOCOLS))


def merge(parts: list[Flows]) -> Flows:
    """Kernel entries of several cuts or rules as one entry a record.

    Entries are equal when direction, action, protocol, addresses and ports are; packets and bytes are summed, and the
    rule with the most packets stays, the one with the smaller number among equals. In order of protocol, addresses,
    ports, direction and action.
    """
    flows = np.concatenate(parts)
    flows = flows[np.lexsort((_rule(flows), *_key(flows)))]
    flows = _summed(flows, _firsts(_rule(flows), *_key(flows)))
    firsts = _firsts(*_key(flows))
    if len(firsts) < len(flows):
        flows = _summed(flows[np.lexsort((_rule(flows), -flows["packets"], *_key(flows)))], firsts)
    return flows[flows["packets"] > 0]  # flags of a flow that itself found no room


def _rule(flows: Flows) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return flows["mark"] & np.uint32(marks.RULE)


def _key(flows: Flows) -> tuple[np.ndarray[Any, Any], ...]:
    """What makes two kernel entries the same record: everything of their key but the rule; the last sorts first."""
    verdict = flows["mark"] & np.uint32(marks.IN | marks.REJECT)
    return verdict, *(flows[name].copy() for name in reversed(tuple_fields(flows.dtype)))


def _firsts(*columns: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Where in sorted columns another combination of values begins."""
    fresh = np.ones(len(columns[0]), bool)
    fresh[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.flatnonzero(fresh)


def _summed(flows: Flows, firsts: np.ndarray[Any, np.dtype[np.intp]]) -> Flows:
    """The first of each run, with the run's packets and bytes."""
    if len(firsts) == len(flows):
        return flows
    merged: Flows = flows[firsts]
    for name in ("packets", "bytes"):
        merged[name] = np.add.reduceat(flows[name], firsts)
    merged["flags"] = np.bitwise_or.reduceat(flows["flags"], firsts)
    return merged


def without_icmp_numbers(flows: Flows) -> Flows:
    """A copy in which ICMP has neither identifier nor type, for a form whose records do not tell them apart."""
    plain = flows.copy()
    icmp = plain["protocol"] == _icmp(flows)
    plain["sport"][icmp] = plain["dport"][icmp] = 0
    return plain


def _icmp(flows: Flows) -> int:
    """The protocol number of ICMP of the flows' family."""
    return 58 if flows.dtype == FLOW6 else 1


def dotted(addresses: np.ndarray[Any, np.dtype[np.uint32]]) -> pa.Array:
    """IPv4 addresses (host-order integers) as text; of a run of equal ones, as sorting makes them, one is written."""
    if len(addresses) == 0:
        return pa.array([], pa.string())
    firsts = _firsts(addresses)
    runs = addresses[firsts]
    octets = [_OCTETS.take(pa.array((runs >> np.uint32(shift)) & np.uint32(255))) for shift in (24, 16, 8, 0)]
    return _spread(pc.binary_join_element_wise(*octets, "."), firsts, len(addresses))


def _texts(flows: Flows, side: str) -> pa.Array:
    """The addresses of a side, ``saddr`` or ``daddr``, as text."""
    if flows.dtype != FLOW6:
        return dotted(flows[side])
    if len(flows) == 0:
        return pa.array([], pa.string())
    high, low = flows[side + "_net"].copy(), flows[side].copy()
    firsts = _firsts(high, low)
    return _spread(compressed(high[firsts], low[firsts]), firsts, len(flows))


def _spread(texts: pa.Array, firsts: np.ndarray[Any, np.dtype[np.intp]], count: int) -> pa.Array:
    """The text of each run for all of its members."""
    return texts.take(pa.array(np.repeat(np.arange(len(firsts)), np.diff(firsts, append=count))))


def records(flows: Flows, constants: dict[str, Any], paths: pa.Array | None = None) -> pa.Table:
    """Kernel entries as records; ``constants`` fill the columns that are equal in all of them (ids, window)."""
    count = len(flows)
    protocol, mark = flows["protocol"], flows["mark"]
    ports, icmp = _HAS_PORTS[protocol], protocol == _icmp(flows)
    version = 6 if flows.dtype == FLOW6 else 4
    columns: dict[str, Any] = {
        "direction": _choose(mark & marks.IN != 0, "in", "out"),
        "ip_version": pa.repeat(pa.scalar(version, pa.int32()), count),
        "protocol": pa.array(protocol.astype("i4")),
        "srcaddr": _texts(flows, "saddr"),
        "dstaddr": _texts(flows, "daddr"),
        "srcport": pa.array(flows["sport"].astype("i4"), mask=~ports),
        "dstport": pa.array(flows["dport"].astype("i4"), mask=~ports),
        "icmp_id": pa.array(flows["sport"].astype("i4"), mask=~icmp),
        "icmp_type_code": pa.array(flows["dport"].astype("i4"), mask=~icmp),
        "packets": pa.array(flows["packets"]),
        "bytes": pa.array(flows["bytes"]),
        "action": _choose(mark & marks.REJECT != 0, "REJECT", "ACCEPT"),
        "tcp_flags": pa.array(flows["flags"].astype("i4"), mask=(protocol != 6) | (flows["flags"] < 0)),
        "rule": pa.array((mark & marks.RULE).astype("i4")),
        "log_status": pa.repeat("OK", count),
    }
    if paths is not None:
        columns["path"] = paths
    return _table(columns, constants, count)


def idle(ends: range, window_s: int, constants: dict[str, Any], statuses: Sequence[str] = ()) -> pa.Table:
    """A NODATA row for each window of ``window_s`` seconds that ends at one of ``ends``, or what ``statuses`` say."""
    last = np.arange(ends.start, ends.stop, ends.step)
    columns = {"start": pa.array(last - window_s), "end": pa.array(last)}
    if statuses:
        columns["log_status"] = pa.array(statuses)
    return _table(columns, {**constants, "log_status": "NODATA"}, len(last))


def remarks(statuses: list[dict[str, Any]]) -> pa.Table:
    """NODATA and SKIPDATA rows: dicts of the columns that have a value."""
    columns = {name: pa.array([row.get(name) for row in statuses], RECORD.field(name).type) for name in RECORD.names}
    return pa.table(columns, schema=RECORD)


def _choose(condition: np.ndarray[Any, np.dtype[np.bool_]], yes: str, no: str) -> pa.Array:
    return pa.array([no, yes]).take(pa.array(condition.astype("i1")))


def _table(columns: dict[str, Any], constants: dict[str, Any], count: int) -> pa.Table:
    arrays = []
    for field in RECORD:
        if field.name in columns:
            arrays.append(columns[field.name])
        else:
            arrays.append(pa.repeat(pa.scalar(constants.get(field.name), field.type), count))
    return pa.Table.from_arrays(arrays, schema=RECORD)
