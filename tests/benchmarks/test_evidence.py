"""What the keeping of evidence adds to a test that passes: a lab with two CVMs, a ping, a window, with and without."""

from __future__ import annotations

from statistics import median

import measure
from measure import Figures

from emulator.lab import Lab
from emulator.pytest_plugin import START_S
from emulator.suites.evidence import Recorder
from emulator.watching import WATCHERS

AT_MOST = 1.1
ROUNDS, WARM_UP = 40, 3


def life() -> None:
    with Lab(start=START_S) as lab:
        vpc = lab.create_vpc("10.16.0.0/16")
        a, b = vpc.create_subnet("10.16.0.0/24").run_instances(["A", "B"])
        topic = lab.logs.create_topic("all")
        vpc.create_flow_log("all", topic=topic)
        assert a.ping(b).received == 1
        lab.clock.advance(minutes=15)
        assert len(topic.search("log-status:OK")) == 4


def recorded() -> None:
    """As the plugin has it: the lab of a fixture is closed when the verdict is known."""
    recorder = Recorder()
    WATCHERS.append(recorder)
    try:
        life()
    finally:
        WATCHERS.remove(recorder)


def test_evidence_adds_little(figures: Figures) -> None:
    for _ in range(WARM_UP):
        recorded()
    took = measure.in_turns(ROUNDS, plain=lambda: measure.timed(life), recorded=lambda: measure.timed(recorded))
    ratio = measure.ratio(took["recorded"], took["plain"])
    figures.note("evidence", plain_s=median(took["plain"]), recorded_s=median(took["recorded"]), ratio=ratio)
    assert ratio <= AT_MOST
