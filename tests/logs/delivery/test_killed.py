"""kill -9 between a target's acknowledgement and the checkpoint: nothing is lost, and where ids are known nothing is
twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.children import environment
from tests.logs.delivery.killed import ROWS
from tests.logs.delivery.stores import Broker, ScriptedElasticsearch, ScriptedSplunk


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def once(target: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
        program = Path(__file__).with_name("killed.py")
        words = [sys.executable, str(program), str(tmp_path / "logs"), json.dumps(target), *more]
        return subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=60)

    return once


def twice(run: Callable[..., subprocess.CompletedProcess[str]], target: dict[str, Any]) -> None:
    """Killed before the checkpoint, and brought to its end."""
    done = run(target)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    done = run(target, "to the end")
    assert (done.stdout, done.stderr, done.returncode) == (f"running {ROWS} None\n", "", 0)


def test_elasticsearch_has_each_once(run: Callable[..., Any], elastic: Callable[..., ScriptedElasticsearch]) -> None:
    store = elastic()
    twice(run, {"kind": "elasticsearch", "url": store.url, "index": "app", "timeout_s": 20})
    assert len(store.requests) == 2
    assert [document["n"] for document in store.indices["app"].values()] == list(range(ROWS))


def test_splunk_has_each_at_least_once(run: Callable[..., Any], splunk: Callable[..., ScriptedSplunk]) -> None:
    store = splunk()
    twice(run, {"kind": "splunk", "url": store.url, "token": store.token, "timeout_s": 20})
    assert [event["event"]["n"] for event in store.events] == 2 * list(range(ROWS))


def test_kafka_has_each_at_least_once_under_the_same_id(run: Callable[..., Any], broker: Broker) -> None:
    broker.create("app")
    twice(run, {"kind": "kafka", "brokers": broker.address, "topic": "app", "timeout_s": 20})
    messages = broker.messages("app")
    ids = [dict(message.headers())["id"] for message in messages]
    assert set(Counter(ids).values()) == {2}
    assert [json.loads(message.value())["n"] for message in messages] == 2 * list(range(ROWS))
