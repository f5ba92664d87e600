"""A packet's cost under 1,000 rules: against that under 10; what a change of them costs, and a change among 400 ENIs.

Every rule of the lists is asked for by some packet or none: the one that decides stands last. The packets are answered
by nobody, so to the kernel each is new and judged by the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import measure
import pytest
import traffic
from measure import Figures

from emulator.lab import Lab
from emulator.pytest_plugin import START_S
from emulator.resources import SecurityGroup

FEW, MANY, ENIS = 10, 1000, 400
AT_MOST = 1.3
ROUNDS, PASSES = 100, 4
CHANGES = 20


def by_address(number: int) -> dict[str, Any]:
    return {"cidr": f"172.16.{number >> 6}.{(number & 63) * 4}/30"}


def by_port(number: int) -> dict[str, Any]:
    return {"protocol": "udp", "port": 1000 + 2 * number}


def by_both(number: int) -> dict[str, Any]:
    return by_address(number) | by_port(number)


def in_turn(number: int) -> dict[str, Any]:
    """The hardest: ports among addresses would multiply, so both are asked apart."""
    return by_port(number) if number % 2 else by_address(number)


@pytest.mark.parametrize("kind", [by_address, by_port, by_both, in_turn], ids=lambda kind: kind.__name__)
def test_a_packet_costs_as_much_under_1000_rules_as_under_10(
    figures: Figures, kind: Callable[[int], dict[str, Any]]
) -> None:
    with (
        Lab(start=START_S, quotas={"group_rules": MANY + 1, "expanded_rules": 2 * MANY + 1}) as lab,
        under(lab, FEW, kind) as few,
    ):
        begun = measure.now()
        with under(lab, MANY, kind) as many:
            written_s = measure.now() - begun
            compared = traffic.in_turns(ROUNDS, PASSES, without=few, with_=many)
            group = lab.cloud.groups[many.sending.eni.model.groups[0]]
            bound = SecurityGroup(lab, group.id)
            changes = [
                measure.timed(lambda: bound.remove(bound.deny("egress", protocol="tcp", priority=0))) / 2
                for _ in range(CHANGES)
            ]
    figures.note(
        f"many rules, {kind.__name__}",
        rules=MANY,
        cost=1 / compared.ratio,
        written_s=written_s,
        change_s=median(changes),
        kpps=compared.kpps,
    )

    assert 1 / compared.ratio <= AT_MOST


def under(lab: Lab, rules: int, kind: Callable[[int], dict[str, Any]]) -> traffic.Path:
    """Two CVMs in a group whose last rule each way lets their packets pass, behind others that do not match."""
    vpc = lab.create_vpc("10.16.0.0/16")
    subnet = vpc.create_subnet("10.16.0.0/24")
    group = vpc.create_security_group()
    for direction in ("egress", "ingress"):
        for number in range(rules - 1):
            group.deny(direction, **kind(number))
        group.allow(direction, cidr="10.16.0.0/24")
    cvms = subnet.run_instances(2, security_groups=[group])
    return traffic.path(lab, vpc, *cvms, traffic.thousand_flows())


def test_a_change_among_400_enis(figures: Figures) -> None:
    with Lab(start=START_S) as lab:
        vpc = lab.create_vpc("10.16.0.0/16")
        subnet = vpc.create_subnet("10.16.0.0/16")
        common, other = vpc.create_security_group(), vpc.create_security_group()
        for direction in ("egress", "ingress"):
            for number in range(50):
                common.deny(direction, **by_both(number))
            common.allow(direction)
        common.allow("ingress", protocol="gre", cidr=other)
        cvms = subnet.run_instances(ENIS, security_groups=[common])
        rule = [
            measure.timed(lambda: common.remove(common.deny("egress", protocol="tcp", priority=0))) / 2
            for _ in range(CHANGES)
        ]
        eni = cvms[-1].eni

        def bind() -> None:
            eni.set_security_groups([common, other])
            eni.set_security_groups([common])

        bind()
        member = [measure.timed(bind) / 2 for _ in range(CHANGES)]
    figures.note("a change among many ENIs", enis=ENIS, rule_s=median(rule), member_s=median(member))
