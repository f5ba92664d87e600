"""The providers' record forms: fields, their order, types, and what is written where there is no value."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from emulator.capture import forms, schema
from emulator.errors import InvalidValue

COMMON: dict[str, Any] = {
    "flow_log_id": "fl-1",
    "account_id": "1251762227",
    "region": "cn-hangzhou",
    "vpc_id": "vpc-1",
    "subnet_id": "vsw-1",
    "cvm_id": "i-1",
    "eni_id": "eni-1",
    "start": 600,
    "end": 1200,
}
PACKETS: dict[str, Any] = {
    **COMMON,
    "ip_version": 4,
    "srcaddr": "10.16.0.22",
    "dstaddr": "10.16.0.40",
    "packets": 9,
    "bytes": 756,
    "action": "ACCEPT",
    "log_status": "OK",
    "rule": 4,
}
PLACE = {"src_region": "ap-hongkong", "dst_region": "ap-seoul", "attachment_id": "att-1"}
TCP = {**PACKETS, "direction": "in", "protocol": 6, "srcport": 50_000, "dstport": 443}
PING = {**PACKETS, "direction": "out", "path": "vpc", "protocol": 1, "icmp_id": 77, "icmp_type_code": 2048}
GRE = {**PACKETS, "direction": "out", "path": "nat", "protocol": 47, "action": "REJECT"}
NODATA = {**COMMON, "log_status": "NODATA"}
SKIPDATA = {**COMMON, "log_status": "SKIPDATA", "skipped": 14_465}
ROWS = {"tcp": TCP, "ping": PING, "gre": GRE, "nodata": NODATA, "skipdata": SKIPDATA}

TENCENT_FIELDS = [
    *("version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets"),
    *("bytes", "start", "end", "action", "log-status"),
]
ALIBABA_2019_FIELDS = [
    *("version", "vswitch-id", "vm-id", "vpc-id", "account-id", "eni-id", "srcaddr", "srcport", "dstaddr", "dstport"),
    *("protocol", "direction", "packets", "bytes", "start", "end", "log-status", "action"),
]
TENCENT_CCN_FIELDS = [
    *("srcaddr", "dstregionid", "dstport", "start", "dstaddr", "version", "packets", "ccnid", "protocol"),
    *("srcregionid", "bytes", "action", "region-id", "srcport", "end", "log-status"),
]
ALIBABA_CEN_FIELDS = [
    *("account-id", "attachment-id", "cen-id", "src-region-id", "srcaddr", "srcport", "dst-region-id", "dstaddr"),
    *("dstport", "protocol", "packets", "bytes", "start", "end", "direction"),
]
NUMBERS = {
    *("version", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "tcp-flags", "traffic_path"),
}

CCN_LINES = {
    "tcp": "10.16.0.22 ap-seoul 443 600 10.16.0.40 2 9 eni-1 6 ap-hongkong 756 ACCEPT cn-hangzhou 50000 1200 OK",
    "ping": "10.16.0.22 ap-seoul - 600 10.16.0.40 2 9 eni-1 1 ap-hongkong 756 ACCEPT cn-hangzhou - 1200 OK",
    "gre": "10.16.0.22 ap-seoul - 600 10.16.0.40 2 9 eni-1 47 ap-hongkong 756 REJECT cn-hangzhou - 1200 OK",
    "nodata": "- ap-seoul - 600 - 2 - eni-1 - ap-hongkong - - cn-hangzhou - 1200 NODATA",
}
CEN_HEAD = "1251762227 att-1 eni-1 ap-hongkong"
CEN_LINES = {
    "tcp": f"{CEN_HEAD} 10.16.0.22 50000 ap-seoul 10.16.0.40 443 6 9 756 600 1200 in",
    "gre": f"{CEN_HEAD} 10.16.0.22 - ap-seoul 10.16.0.40 - 47 9 756 600 1200 out",
}
TENCENT_LINES = {
    "tcp": "2 1251762227 eni-1 10.16.0.22 10.16.0.40 50000 443 6 9 756 600 1200 ACCEPT OK",
    "ping": "2 1251762227 eni-1 10.16.0.22 10.16.0.40 77 2048 1 9 756 600 1200 ACCEPT OK",
    "gre": "2 1251762227 eni-1 10.16.0.22 10.16.0.40 - - 47 9 756 600 1200 REJECT OK",
    "nodata": "2 1251762227 eni-1 - - - - - - - 600 1200 - NODATA",
    "skipdata": "2 1251762227 eni-1 - - - - - - - 600 1200 - SKIPDATA",
}
ALIBABA_HEAD = "1 vsw-1 i-1 vpc-1 1251762227 eni-1"
ALIBABA_LINES = {
    "tcp": f"{ALIBABA_HEAD} 10.16.0.22 50000 10.16.0.40 443 6 in 9 756 600 1200 OK ACCEPT cn-hangzhou - -",
    "ping": f"{ALIBABA_HEAD} 10.16.0.22 - 10.16.0.40 - 1 out 9 756 600 1200 OK ACCEPT cn-hangzhou - 2",
    "gre": f"{ALIBABA_HEAD} 10.16.0.22 - 10.16.0.40 - 47 out 9 756 600 1200 OK REJECT cn-hangzhou - 7",
    "nodata": f"{ALIBABA_HEAD} - - - - - - - - 600 1200 NODATA - cn-hangzhou - -",
    "skipdata": f"{ALIBABA_HEAD} - - - - - - - - 600 1200 SKIPDATA - cn-hangzhou - -",
}
LINES = {
    **{("tencent-ccn", row): line for row, line in CCN_LINES.items()},
    **{("alibaba-cen", row): line for row, line in CEN_LINES.items()},
    **{("tencent", row): line for row, line in TENCENT_LINES.items()},
    **{("alibaba", row): line for row, line in ALIBABA_LINES.items()},
    **{("alibaba-2019", row): " ".join(line.split()[:18]) for row, line in ALIBABA_LINES.items()},
}


def table(*names: str) -> pa.Table:
    """Rows with every column that any form asks for."""
    rows = schema.remarks([ROWS[name] for name in names])
    for name, value in PLACE.items():
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    return rows


@pytest.mark.parametrize(("form", "row"), LINES, ids=[f"{form} {row}" for form, row in LINES])
def test_a_row_as_a_line(form: str, row: str) -> None:
    assert forms.lines(forms.form(form, table(row))) == [LINES[form, row]]


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        pytest.param("tencent", TENCENT_FIELDS, id="tencent"),
        pytest.param("alibaba-2019", ALIBABA_2019_FIELDS, id="alibaba-2019"),
        pytest.param("alibaba", [*ALIBABA_2019_FIELDS, "region", "tcp-flags", "traffic_path"], id="alibaba"),
        pytest.param("tencent-ccn", TENCENT_CCN_FIELDS, id="tencent-ccn"),
        pytest.param("alibaba-cen", ALIBABA_CEN_FIELDS, id="alibaba-cen"),
        pytest.param("full", [name for name in schema.RECORD.names if name != "lab"], id="full"),
    ],
)
def test_the_fields_and_their_order(form: str, fields: list[str]) -> None:
    assert forms.form(form, table(*ROWS)).column_names == fields
    assert forms.form(form, schema.OF_CCN.empty_table()).column_names == fields
    assert list(forms.index_keys(form)) == fields


@pytest.mark.parametrize("form", forms.FORMS)
def test_what_has_no_value_is_none_in_arrow(form: str) -> None:
    rows = forms.form(form, table("nodata", "gre")).to_pylist()

    assert rows[0]["srcaddr"] is rows[0]["packets"] is rows[0].get("action") is rows[1]["srcport"] is None
    assert not any(value == "-" for row in rows for value in row.values())


@pytest.mark.parametrize("form", ["tencent", "alibaba", "alibaba-2019"])
def test_numbers_are_int64_and_the_rest_is_text(form: str) -> None:
    kinds = {field.name: field.type for field in forms.form(form, table(*ROWS)).schema}

    assert {name for name, kind in kinds.items() if kind == pa.int64()} == NUMBERS & set(kinds)
    assert set(kinds.values()) == {pa.int64(), pa.string()}
    assert {name for name, kind in forms.index_keys(form).items() if kind == "long"} == NUMBERS & set(kinds)


def test_a_ccns_source_port_and_version_are_text() -> None:
    """tencent.md §1.2: the ports differ in type."""
    longs = {name for name, kind in forms.index_keys("tencent-ccn").items() if kind == "long"}

    assert longs == {"dstport", "protocol", "packets", "bytes", "start", "end"}


def test_the_full_form_tells_everything() -> None:
    assert forms.form("full", table("ping")).to_pylist() == [
        {**dict.fromkeys(name for name in schema.RECORD.names if name != "lab"), **PING},
    ]


@pytest.mark.parametrize("form", forms.FORMS)
def test_stored_rows_carry_their_windows_end_and_what_explain_needs(form: str) -> None:
    (row,) = forms.stored(form, table("ping")).to_pylist()

    assert row["__time__"] == 1200
    assert {name: value for name, value in row.items() if name.startswith("_vpclab_")} == {
        "_vpclab_lab": None,
        "_vpclab_flow_log_id": "fl-1",
        "_vpclab_direction": "out",
        "_vpclab_vpc_id": "vpc-1",
        "_vpclab_subnet_id": "vsw-1",
        "_vpclab_cvm_id": "i-1",
        "_vpclab_eni_id": "eni-1",
        "_vpclab_rule": 4,
        "_vpclab_skipped": None,
        "_vpclab_src_region": "ap-hongkong",
        "_vpclab_dst_region": "ap-seoul",
    }


def test_no_rows_are_no_lines() -> None:
    assert forms.lines(forms.form("tencent", schema.RECORD.empty_table())) == []


def test_an_unknown_form_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidValue, match=r"'aws'; there are tencent, alibaba, .*, full") as refused:
        forms.form("aws", table("ping"))

    assert refused.value.value == "aws"
