"""Record forms: how a provider writes a record. A form maps the neutral schema to the provider's columns.

====================  ==========================================================================================
form                  columns
====================  ==========================================================================================
tencent               the 14 fields of an ENI flow log, in the order of the line (tencent.md §1.1)
alibaba-2019          the 18 fields of the 2019 overview (alibaba.md §1.1, SEED4)
alibaba               those, and today's region, tcp-flags, traffic_path
tencent-ccn           the 16 fields of a CCN's cross-region flow log, in the order of the line (tencent.md §1.2)
alibaba-cen           the 15 fields of a transit router's flow log (alibaba.md §1.6)
full                  the neutral schema itself
====================  ==========================================================================================

Where the providers' documents contradict each other the choice is a named constant here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emulator.capture.schema import OF_CCN, RECORD
from emulator.errors import InvalidValue

TENCENT_VERSION = 2
"""The samples print ``2`` on data rows and ``V1`` on others; one number for every row."""
ALIBABA_VERSION = 1
"""Text and samples agree on 1; the shifted samples of NODATA rows are a slip of the document."""
TRAFFIC_PATHS = {"nowhere": 0, "vpc": 2, "nat": 7, "ccn": 8, "internet gateway": 13, "eip": 15, "peering": 17}
"""Ways out → Alibaba's codes (alibaba.md §1.3), for what leaves an ENI; the documents' inbound samples hold ``-``."""

TENCENT_FIELDS = (
    *("version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol"),
    *("packets", "bytes", "start", "end", "action", "log-status"),
)
ALIBABA_2019_FIELDS = (
    *("version", "vswitch-id", "vm-id", "vpc-id", "account-id", "eni-id", "srcaddr", "srcport", "dstaddr", "dstport"),
    *("protocol", "direction", "packets", "bytes", "start", "end", "log-status", "action"),
)
ALIBABA_FIELDS = (*ALIBABA_2019_FIELDS, "region", "tcp-flags", "traffic_path")

WITHOUT_ICMP_NUMBERS = frozenset({"alibaba", "alibaba-2019"})
"""Forms that show neither identifier nor type: all ICMP between two addresses in one direction is one record."""

WITHOUT_STATUS = frozenset({"alibaba-cen"})
"""Forms that cannot say NODATA: an idle window leaves no row."""

CCN_ID = "ccnid"
"""As in the line format; the table of fields has ``ccn-id``."""

WITH_PATHS = frozenset({"alibaba"})
"""Forms that tell by which way a packet left."""

HIDDEN = "_vpclab_"
"""Prefix of columns that are kept with a record and never shown: what ``lab.explain`` needs."""
_HIDDEN_COLUMNS = ("lab", "flow_log_id", "direction", "vpc_id", "subnet_id", "cvm_id", "eni_id", "rule", "skipped")
_HIDDEN_OF_CCN = ("src_region", "dst_region")

Columns = dict[str, pa.ChunkedArray | pa.Array]


def tencent(table: pa.Table) -> Columns:
    """Tencent's 14: ICMP has its identifier as source and ``type << 8 | code`` as destination port; NODATA's counts are
    ``-``."""
    return {
        "version": _constant(TENCENT_VERSION, table),
        "account-id": table["account_id"],
        "interface-id": table["eni_id"],
        "srcaddr": table["srcaddr"],
        "dstaddr": table["dstaddr"],
        "srcport": _long(pc.coalesce(table["srcport"], table["icmp_id"])),
        "dstport": _long(pc.coalesce(table["dstport"], table["icmp_type_code"])),
        "protocol": _long(table["protocol"]),
        "packets": table["packets"],
        "bytes": table["bytes"],
        "start": table["start"],
        "end": table["end"],
        "action": table["action"],
        "log-status": table["log_status"],
    }


def alibaba_2019(table: pa.Table) -> Columns:
    """Alibaba's 18: ICMP ports are ``-`` (no source gives a value; ``-`` is the rule for what does not apply)."""
    return {
        "version": _constant(ALIBABA_VERSION, table),
        "vswitch-id": table["subnet_id"],
        "vm-id": table["cvm_id"],
        "vpc-id": table["vpc_id"],
        "account-id": table["account_id"],
        "eni-id": table["eni_id"],
        "srcaddr": table["srcaddr"],
        "srcport": _long(table["srcport"]),
        "dstaddr": table["dstaddr"],
        "dstport": _long(table["dstport"]),
        "protocol": _long(table["protocol"]),
        "direction": table["direction"],
        "packets": table["packets"],
        "bytes": table["bytes"],
        "start": table["start"],
        "end": table["end"],
        "log-status": table["log_status"],
        "action": table["action"],
    }


def alibaba(table: pa.Table) -> Columns:
    """Alibaba's form of today."""
    place = pc.index_in(table["path"], pa.array(list(TRAFFIC_PATHS)), skip_nulls=True)
    path = pc.take(pa.array(list(TRAFFIC_PATHS.values()), pa.int64()), place)
    return {
        **alibaba_2019(table),
        "region": table["region"],
        "tcp-flags": _long(table["tcp_flags"]),
        "traffic_path": path,
    }


def tencent_ccn(table: pa.Table) -> Columns:
    """Tencent's 16 of a CCN; ports are told of TCP and UDP only, the source port as text."""
    protocol = table["protocol"]
    told = pc.or_(pc.equal(protocol, 6), pc.equal(protocol, 17))
    source, destination = (pc.if_else(told, table[name], None) for name in ("srcport", "dstport"))
    return {
        "srcaddr": table["srcaddr"],
        "dstregionid": table["dst_region"],
        "dstport": _long(destination),
        "start": table["start"],
        "dstaddr": table["dstaddr"],
        "version": pc.cast(_constant(TENCENT_VERSION, table), pa.string()),
        "packets": table["packets"],
        CCN_ID: table["eni_id"],
        "protocol": _long(protocol),
        "srcregionid": table["src_region"],
        "bytes": table["bytes"],
        "action": table["action"],
        "region-id": table["region"],
        "srcport": pc.cast(source, pa.string()),
        "end": table["end"],
        "log-status": table["log_status"],
    }


def alibaba_cen(table: pa.Table) -> Columns:
    """Alibaba's of a transit router: neither action nor status."""
    return {
        "account-id": table["account_id"],
        "attachment-id": table["attachment_id"],
        "cen-id": table["eni_id"],
        "src-region-id": table["src_region"],
        "srcaddr": table["srcaddr"],
        "srcport": _long(table["srcport"]),
        "dst-region-id": table["dst_region"],
        "dstaddr": table["dstaddr"],
        "dstport": _long(table["dstport"]),
        "protocol": _long(table["protocol"]),
        "packets": table["packets"],
        "bytes": table["bytes"],
        "start": table["start"],
        "end": table["end"],
        "direction": table["direction"],
    }


def full(table: pa.Table) -> Columns:
    """Every column of the neutral schema but the lab, which differs from run to run."""
    return {name: table[name] for name in RECORD.names if name != "lab"}


FORMS: dict[str, Callable[[pa.Table], Columns]] = {
    "tencent": tencent,
    "alibaba": alibaba,
    "alibaba-2019": alibaba_2019,
    "tencent-ccn": tencent_ccn,
    "alibaba-cen": alibaba_cen,
    "full": full,
}


def form(name: str, table: pa.Table) -> pa.Table:
    """Records (schema RECORD) in a provider's columns; numbers are int64, None is what the provider prints as ``-``."""
    try:
        write = FORMS[name]
    except KeyError:
        raise InvalidValue(
            f"no record form {name!r}; there are {', '.join(FORMS)}",
            code="InvalidParameterValue",
            reason="form",
            value=name,
        ) from None
    return pa.table(write(table))


def stored(name: str, table: pa.Table, deciders: pa.Array | None = None) -> pa.Table:
    """As :func:`form`, ready for a topic: with the hidden columns and ``__time__``, a record's time, which is its
    window's end; ``deciders`` names each record's rule in words."""
    columns = FORMS[name](table)
    hidden = (*_HIDDEN_COLUMNS, *(one for one in _HIDDEN_OF_CCN if one in table.column_names))
    columns.update({HIDDEN + one: table[one] for one in hidden})
    if deciders is not None:
        columns[HIDDEN + "decided_by"] = deciders
    columns["__time__"] = table["end"]
    return pa.table(columns)


def index_keys(name: str) -> dict[str, str]:
    """What the flow-log index of a topic covers: every column of the form, numbers as ``long``, the rest as
    ``text``."""
    empty = form(name, OF_CCN.empty_table() if name in ("tencent-ccn", "alibaba-cen") else RECORD.empty_table())
    return {field.name: "long" if pa.types.is_integer(field.type) else "text" for field in empty.schema}


def lines(table: pa.Table) -> list[str]:
    """Records of any form as space-separated lines, ``-`` for None."""
    texts = [pc.fill_null(pc.cast(column, pa.string()), "-") for column in table.columns]
    return list(pc.binary_join_element_wise(*texts, " ").to_pylist()) if texts else []


def _long(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, pa.int64())


def _constant(value: int, table: pa.Table) -> pa.Array:
    return pa.array(np.full(table.num_rows, value, "i8"))
