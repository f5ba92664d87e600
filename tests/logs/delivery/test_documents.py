"""Records as documents: the provider's names, and Elastic's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.logs.delivery import Elasticsearch, Kafka, Splunk
from emulator.logs.delivery.documents import FIELDS, Fields, as_json, document
from emulator.logs.engine import ENGINE
from emulator.logs.scan import ROWS
from tests.logs.delivery.stores import (
    FLOW,
    IDLE,
    START_S,
    Broker,
    ScriptedElasticsearch,
    ScriptedSplunk,
    flows,
    shipment,
)


def documents(records: pa.Table, fields: Fields) -> list[dict[str, Any]]:
    found = ENGINE.table(records, f'SELECT {as_json(document(records, fields))} AS one FROM "{ROWS}"', [])
    return [json.loads(one) for one in found["one"].to_pylist()]


def test_the_providers_names_without_what_has_no_value() -> None:
    data, idle = documents(flows({}, IDLE), "provider")
    assert data == FLOW
    assert idle == {name: value for name, value in IDLE.items() if value is not None}


ALWAYS = {"ecs.version": "8.17.0", "event.kind": "event", "event.category": ["network"]}
COMMON = {
    **ALWAYS,
    "source.ip": "10.16.0.22",
    "source.address": "10.16.0.22",
    "source.bytes": 756,
    "source.packets": 9,
    "destination.ip": "10.16.0.40",
    "destination.address": "10.16.0.40",
    "network.bytes": 756,
    "network.packets": 9,
    "network.type": "ipv4",
    "event.start": "2024-01-01T00:00:00Z",
    "event.end": "2024-01-01T00:05:00Z",
    "event.action": "accept",
    "event.outcome": "success",
    "event.type": ["connection", "allowed"],
    "cloud.account.id": "1250000000",
    "vpcflow.version": 2,
    "vpcflow.interface-id": "eni-aaaa1111",
    "vpcflow.log-status": "OK",
}
TCP = {
    "source.port": 40000,
    "destination.port": 443,
    "network.iana_number": "6",
    "network.transport": "tcp",
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "accepted": ({}, {**COMMON, **TCP}),
    "rejected": (
        {"action": "REJECT"},
        {
            **COMMON,
            **TCP,
            "event.action": "reject",
            "event.outcome": "failure",
            "event.type": ["connection", "denied"],
        },
    ),
    "ipv6": (
        {"srcaddr": "2001:db8::1", "dstaddr": "2001:db8::2"},
        {
            **COMMON,
            **TCP,
            "network.type": "ipv6",
            "source.ip": "2001:db8::1",
            "source.address": "2001:db8::1",
            "destination.ip": "2001:db8::2",
            "destination.address": "2001:db8::2",
        },
    ),
    "a ping has no ports, and keeps its numbers": (
        {"protocol": 1, "srcport": 512, "dstport": 2048},
        {
            **COMMON,
            "network.iana_number": "1",
            "network.transport": "icmp",
            "vpcflow.srcport": 512,
            "vpcflow.dstport": 2048,
        },
    ),
    "a protocol without a name": (
        {"protocol": 89, "srcport": None, "dstport": None},
        {**COMMON, "network.iana_number": "89"},
    ),
    "idle": (
        IDLE,
        {
            **ALWAYS,
            "event.start": "2024-01-01T00:00:00Z",
            "event.end": "2024-01-01T00:05:00Z",
            "cloud.account.id": "1250000000",
            "vpcflow.version": 2,
            "vpcflow.interface-id": "eni-aaaa1111",
            "vpcflow.log-status": "NODATA",
        },
    ),
}


@pytest.mark.parametrize(("change", "wanted"), CASES.values(), ids=CASES)
def test_by_the_elastic_common_schema(change: dict[str, Any], wanted: dict[str, Any]) -> None:
    (found,) = documents(flows(change), "ecs")
    assert found == wanted


def test_alibabas_columns() -> None:
    renamed = {"interface-id": "eni-id"}
    table = flows({}).rename_columns([renamed.get(name, name) for name in flows({}).column_names])
    for name, value in {"direction": "in", "vm-id": "i-1", "region": "cn-hangzhou", "tcp-flags": 18}.items():
        table = table.append_column(name, pa.array([value]))
    (found,) = documents(table, "ecs")
    assert found["network.direction"] == "ingress"
    assert (found["cloud.instance.id"], found["cloud.region"]) == ("i-1", "cn-hangzhou")
    assert (found["vpcflow.eni-id"], found["vpcflow.tcp-flags"]) == ("eni-aaaa1111", 18)


OTHERS: dict[str, tuple[dict[str, list[Any]], dict[str, Any]]] = {
    "a protocol that is text": (
        {"protocol": ["tcp"], "srcaddr": ["here"]},
        {"vpcflow.protocol": "tcp", "vpcflow.srcaddr": "here"},
    ),
    "a time that no calendar has": (
        {"protocol": [47], "srcaddr": ["10.0.0.1"], "start": [1 << 62]},
        {
            "source.ip": "10.0.0.1",
            "source.address": "10.0.0.1",
            "network.type": "ipv4",
            "network.iana_number": "47",
            "network.transport": "gre",
        },
    ),
    "another log": ({"note": ["no flow"], "bytes": [7]}, {"vpcflow.note": "no flow", "vpcflow.bytes": 7}),
}


@pytest.mark.parametrize(("columns", "wanted"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_flow_record(columns: dict[str, list[Any]], wanted: dict[str, Any]) -> None:
    (found,) = documents(pa.table({**columns, "__time__": [START_S]}), "ecs")
    assert found == {**ALWAYS, **wanted}


@given(
    name=st.text(min_size=1, max_size=8).filter(lambda name: name.casefold() != "__time__" and "\0" not in name),
    texts=st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=3),
    numbers=st.lists(st.none() | st.integers(-(1 << 63), (1 << 63) - 1), min_size=3, max_size=3),
)
def test_any_name_and_any_value_arrive(name: str, texts: list[str | None], numbers: list[int | None]) -> None:
    count = len(texts)
    table = pa.table({name: pa.array(texts, pa.string()), "n°": pa.array(numbers[:count], pa.int64())})
    for fields in FIELDS:
        before = "" if fields == "provider" else "vpcflow."
        for at, found in enumerate(documents(table, fields)):
            assert found.get(before + name) == texts[at]
            assert found.get(before + "n°") == numbers[at]


def test_keys_that_differ_by_case_only(
    elastic: Callable[..., ScriptedElasticsearch], splunk: Callable[..., ScriptedSplunk], broker: Broker
) -> None:
    rows = [{"Action": "x", "action": 1}, {"Action": "y", "ACTION": "z"}, {"action": 3}]
    columns = {"Action": pa.string(), "action": pa.int64(), "ACTION": pa.string(), "__time__": pa.int64()}
    sent = shipment(pa.Table.from_pylist([{**row, "__time__": START_S} for row in rows], pa.schema(columns)))
    elk, hec = elastic(), splunk()
    broker.create("app", 1)
    for target in (
        *(Elasticsearch(elk.url, index=names, fields=names, timeout_s=20) for names in FIELDS),
        Splunk(hec.url, token=hec.token, timeout_s=20),
        Kafka(broker.address, topic="app", key="action", timeout_s=20),
    ):
        sender = target.opened()
        assert sender.send(sent).dead == []
        sender.close()
    own = [{"@timestamp": "2024-01-01T00:00:00Z", **row} for row in rows]
    assert list(elk.indices["provider"].values()) == own
    assert [
        {name.removeprefix("vpcflow."): value for name, value in document.items() if name not in ALWAYS}
        for document in elk.indices["ecs"].values()
    ] == own
    assert [event["event"] for event in hec.events] == rows
    messages = broker.messages("app")
    assert [message.key() for message in messages] == [b"1", None, b"3"]
    nothing = dict.fromkeys(columns)
    assert [json.loads(message.value()) for message in messages] == [
        {**nothing, **row, "__time__": START_S} for row in rows
    ]
