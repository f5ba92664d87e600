"""Packets become records, and records objects, when the clock is advanced."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import pytest

from emulator import Lab
from emulator.delivery import Folder
from emulator.logs.delivery.folder import FolderSender
from emulator.pytest_plugin import need_kernel


@pytest.mark.kernel
def test_pings_become_objects(tmp_path: Path) -> None:
    need_kernel()
    with Lab(start=1_700_000_100) as lab:
        subnet = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24")
        a, b = subnet.run_instance("A"), subnet.run_instance("B")
        topic = lab.logs.create_topic("shared")
        wanted = a.eni.create_flow_log("wanted", topic=topic)
        b.eni.create_flow_log("other", topic=topic)
        some = topic.deliver(Folder(tmp_path / "some", interval_s=300, prefix="%H%M%S"), flow_logs=[wanted])
        every = topic.deliver(Folder(tmp_path / "all", interval_s=300, prefix="%H%M%S"))
        a.ping(b, count=2)
        lab.clock.advance(minutes=30)
        (first, *_) = sorted((tmp_path / "some").iterdir())
        assert first.name.startswith("223000_"), "shipped 5 minutes after it was published, not when the clock stood"
        records = [json.loads(line) for line in first.read_text().splitlines()]
        assert {record["interface-id"] for record in records} == {a.eni.id}
        assert sorted((record["srcaddr"], record["packets"], record["action"]) for record in records) == [
            (a.ip, 2, "ACCEPT"),
            (b.ip, 2, "ACCEPT"),
        ]
        assert "_vpclab_rule" not in records[0]
        found = topic.search()
        assert every.records == len(found) - every.lag.records
        assert 0 < some.records < every.records
        assert topic.deliveries == [some, every]


@pytest.mark.kernel
def test_a_running_clock_delivers_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    need_kernel()
    delivered = Event()
    monkeypatch.setattr(FolderSender, "put", lambda *_: delivered.set())
    with Lab(speed=600) as lab:
        topic = lab.logs.create_topic("app")
        topic.deliver(Folder("nowhere", interval_s=60))
        topic.write([{"n": 1}])
        assert delivered.wait(20), "a minute is a tenth of a second"
