"""lab.audit() of 65,536 flow table entries in two ENIs, the reading of the tables included."""

from __future__ import annotations

from statistics import median

import measure
import traffic
from measure import Figures

from emulator.lab import Lab
from emulator.pytest_plugin import START_S

AT_MOST_S = 0.3
ENTRIES, ROUNDS = 65_536, 5


def test_an_audit_is_quick(figures: Figures) -> None:
    took = []
    with Lab(start=START_S) as lab:
        vpc = lab.create_vpc("10.16.0.0/16")
        subnet = vpc.create_subnet("10.16.0.0/24")
        vpc.create_flow_log(topic=lab.logs.create_topic("all"))
        flows = [(port, traffic.PORT) for port in range(1, ENTRIES // 2 + 1)]
        idle = []
        with traffic.path(lab, vpc, subnet.run_instance(), subnet.run_instance(), flows) as path:
            for _ in range(ROUNDS):
                path.sender.send()
                begun = measure.now()
                audit = lab.audit().check()
                took.append(measure.now() - begun)
                begun = measure.now()
                lab.audit().check()
                idle.append(measure.now() - begun)
    counted = sum(eni.accepted_out + eni.accepted_in + eni.skipped_out + eni.skipped_in for eni in audit.enis)
    figures.note("audit", entries=ENTRIES, flows_s=median(took), idle_s=median(idle), most_s=max(took))

    assert counted == ENTRIES * ROUNDS
    assert median(took) <= AT_MOST_S
