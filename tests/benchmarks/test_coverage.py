"""What rule coverage adds to a test: a lab with two CVMs, a list of rules, a ping, a window, with and without."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import measure
from measure import Figures

from emulator.lab import Lab
from emulator.pytest_plugin import START_S
from emulator.suites.coverage import Coverage
from emulator.watching import WATCHERS

AT_MOST = 1.1
ROUNDS, WARM_UP, RULES = 40, 3, 20


def life() -> None:
    with Lab(start=START_S) as lab:
        vpc = lab.create_vpc("10.16.0.0/16")
        subnet, group = vpc.create_subnet("10.16.0.0/24"), vpc.create_security_group("web")
        for port in range(RULES):
            group.allow("ingress", protocol="tcp", port=port + 1)
        group.allow("ingress", protocol="icmp")
        a, b = subnet.run_instance("A"), subnet.run_instance("B", security_groups=[group])
        topic = lab.logs.create_topic("all")
        vpc.create_flow_log("all", topic=topic)
        assert a.ping(b).received == 1
        lab.clock.advance(minutes=15)
        assert len(topic.search("log-status:OK")) == 4


def covered() -> None:
    coverage = Coverage(Path.cwd())
    WATCHERS.append(coverage)
    try:
        life()
    finally:
        WATCHERS.remove(coverage)
    assert sum(not one.default for one in coverage.rules) == RULES + 1
    assert coverage.percent < 10


def test_coverage_adds_little(figures: Figures) -> None:
    for _ in range(WARM_UP):
        covered()
    took = measure.in_turns(ROUNDS, plain=lambda: measure.timed(life), covered=lambda: measure.timed(covered))
    ratio = measure.ratio(took["covered"], took["plain"])
    figures.note("coverage", plain_s=median(took["plain"]), covered_s=median(took["covered"]), ratio=ratio)
    assert ratio <= AT_MOST
