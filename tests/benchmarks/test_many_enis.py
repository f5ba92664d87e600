"""A packet's cost with the rules and flow tables of 400 ENIs: against those of 2."""

from __future__ import annotations

import traffic
from measure import Figures

from emulator.lab import Lab
from emulator.pytest_plugin import START_S

ENIS = 400
AT_MOST = 1.15
ROUNDS, PASSES = 150, 4


def test_a_packet_costs_as_much_among_400_enis_as_among_2(figures: Figures) -> None:
    with Lab(start=START_S) as lab, vpc_with(lab, 2) as few, vpc_with(lab, ENIS) as many:
        rules = traffic.in_turns(ROUNDS, PASSES, without=few, with_=many)
        topic = lab.logs.create_topic("all")
        for path in (few, many):
            path.vpc.create_flow_log(topic=topic)
        logged = traffic.in_turns(ROUNDS, PASSES, without=few, with_=many)
    figures.note("many ENIs", enis=ENIS, cost=1 / rules.ratio, cost_logged=1 / logged.ratio)

    assert 1 / rules.ratio <= AT_MOST
    assert 1 / logged.ratio <= AT_MOST


def vpc_with(lab: Lab, enis: int) -> traffic.Path:
    """The first and the last of them talk."""
    vpc = lab.create_vpc("10.16.0.0/16")
    subnet = vpc.create_subnet("10.16.0.0/16")
    cvms = [subnet.run_instance() for _ in range(enis)]
    return traffic.path(lab, vpc, cvms[0], cvms[-1], traffic.thousand_flows())
