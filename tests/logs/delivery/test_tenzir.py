"""Delivery to receivers of another maker: Tenzir accepts Elasticsearch's bulk requests and Splunk's events, strictly.

It is 600 MB: ``tox run -e receivers`` fetches it.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from emulator.logs.delivery import Elasticsearch, Splunk, TargetRefuses
from tests.logs.delivery.stores import FLOW, IDLE, START_S, ScriptedSplunk, flows, shipment

FOUND = importlib.util.find_spec("tenzir")
pytestmark = pytest.mark.skipif(FOUND is None, reason="600 MB, not in every run: tox run -e receivers")

TOKEN = "00000000-0000-0000-0000-000000000000"


@dataclass
class Pipeline:
    """``accept`` with an address, and what came of it once the block has ended."""

    url: str
    process: subprocess.Popen[bytes]
    rows: list[dict[str, Any]]


@contextmanager
def accepting(accept: str) -> Iterator[Pipeline]:
    assert FOUND is not None
    assert FOUND.origin is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = Path(FOUND.origin).parent / "bundled" / "bin" / "tenzir"
    pipeline = accept.format(f'"{address}"') + "\nwrite_ndjson\nsave_stdout"
    process = subprocess.Popen(
        [str(program), "--bare-mode", pipeline],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    made = Pipeline(f"http://{address}", process, [])
    try:
        host, port = address.split(":")
        connected = False
        while not connected:
            assert process.poll() is None, "tenzir ended"
            with socket.socket() as probe:
                connected = probe.connect_ex((host, int(port))) == 0
        yield made
        process.terminate()  # it writes what it has
        said, errors = process.communicate(timeout=30)
        assert b"warning" not in errors, errors.decode()
        made.rows = [json.loads(line) for line in said.splitlines()]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("fields", ["provider", "ecs"])
def test_bulk_requests_are_what_elasticsearch_takes(fields: Any) -> None:
    with accepting("accept_elasticsearch {}, keep_actions=true") as pipeline:
        sender = Elasticsearch(pipeline.url, fields=fields, timeout_s=20).opened()
        for _ in range(2):
            assert sender.send(shipment(flows({}, IDLE))).dead == []
        sender.close()
    actions, documents = pipeline.rows[::2], pipeline.rows[1::2]
    assert [action["create"]["_index"] for action in actions] == 4 * ["logs-vpcflow-default"]
    ids = [action["create"]["_id"] for action in actions]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2
    if fields == "provider":
        assert {name: value for name, value in documents[0].items() if value is not None} == {
            "@timestamp": "2024-01-01T00:05:00Z",
            **FLOW,
        }


def test_events_are_what_splunk_takes() -> None:
    with accepting(f'accept_splunk {{}}, hec_token="{TOKEN}"') as pipeline:
        Splunk(pipeline.url, token=TOKEN, timeout_s=20).opened().send(shipment(flows({}, IDLE)))
        with pytest.raises(TargetRefuses, match="HTTP 403: Invalid token"):
            Splunk(pipeline.url, token="another", timeout_s=20).opened().send(shipment(flows({})))
    data, idle = pipeline.rows
    assert data["event"] == FLOW
    assert (data["sourcetype"], data["source"]) == ("vpcflow", "accept")
    assert data["time"].startswith("2024-01-01T00:05:00")
    assert idle["event"]["log-status"] == "NODATA"
    assert START_S + 300 == 1_704_067_500


REQUESTS: dict[str, tuple[str, dict[str, str]]] = {
    "an event": ('{"event": {"a": 1}}', {"authorization": f"Splunk {TOKEN}"}),
    "two events": ('{"event": {"a": 1}} {"event": "b"}', {"authorization": f"Splunk {TOKEN}"}),
    "no token": ('{"event": {"a": 1}}', {}),
    "another token": ('{"event": {"a": 1}}', {"authorization": "Splunk 1"}),
    "no data": ("", {"authorization": f"Splunk {TOKEN}"}),
    "half an event": ('{"event": {"a": 1}', {"authorization": f"Splunk {TOKEN}"}),
    "no event": ('{"a": 1}', {"authorization": f"Splunk {TOKEN}"}),
}


def test_our_receiver_answers_as_theirs(splunk: Callable[..., ScriptedSplunk]) -> None:
    ours = splunk(token=TOKEN)
    with accepting(f'accept_splunk {{}}, hec_token="{TOKEN}"') as theirs, urllib3.PoolManager(retries=False) as http:
        for body, headers in REQUESTS.values():
            answers = [
                http.request("POST", f"{url}/services/collector/event", body=body, headers=headers)
                for url in (ours.url, theirs.url)
            ]
            codes = [(answer.status, answer.json()["code"], answer.json()["text"]) for answer in answers]
            assert codes[0] == codes[1], body
