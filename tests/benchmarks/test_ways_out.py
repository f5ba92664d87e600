"""What a packet costs within a VPC that has ways out, a NAT gateway and EIPs, against one that has none."""

from __future__ import annotations

import traffic
from measure import Figures

from emulator.lab import Lab
from emulator.pytest_plugin import START_S

AT_MOST = 1.25
ROUNDS, PASSES = 150, 4


def test_ways_out_cost_packets_that_stay_little(figures: Figures) -> None:
    with Lab(start=START_S) as lab, vpc_with(lab, ways_out=False) as closed, vpc_with(lab, ways_out=True) as open_:
        compared = traffic.in_turns(ROUNDS, PASSES, without=closed, with_=open_)
    figures.note("ways out", cost=1 / compared.ratio)

    assert 1 / compared.ratio <= AT_MOST


def vpc_with(lab: Lab, *, ways_out: bool) -> traffic.Path:
    vpc = lab.create_vpc("10.16.0.0/16")
    subnet = vpc.create_subnet("10.16.0.0/24")
    cvms = subnet.run_instances(2)
    if ways_out:
        gateway = vpc.create_nat_gateway()
        vpc.route_table.add_route("0.0.0.0/0", gateway)
        for target in (gateway, *cvms):
            lab.allocate_address().associate(target)
    return traffic.path(lab, vpc, *cvms, traffic.thousand_flows())
