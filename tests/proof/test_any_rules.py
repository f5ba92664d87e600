"""Whatever rules, whatever packets: the kernel judges as the reference does; a failure shows the smallest case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from ground import Ground
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rulesets import Shooter, Writer

PROFILES = ("tencent", "alibaba")
pytestmark = pytest.mark.kernel


@dataclass
class Corner:
    """Three CVMs of both families in two subnets, each behind an ACL, each in a group of its own and one in common."""

    here: Ground
    owners: list[str]
    group: str


@pytest.fixture(scope="module")
def corners(open_module_lab: Callable[..., Any], wire: Any) -> Iterator[dict[str, Corner]]:
    corners = {}
    for profile in PROFILES:
        here = Ground(open_module_lab(profile), wire.drain)
        here.record(here.vpc)
        here.vpc.assign_ipv6_cidr()
        common = here.vpc.create_security_group()
        owners = [common.id]
        for number, count in ((0, 2), (1, 1)):
            subnet, acl = here.vpc.create_subnet(f"10.16.{number}.0/24", ipv6_cidr=True), here.vpc.create_network_acl()
            acl.associate(subnet)
            owners.append(acl.id)
            for _ in range(count):
                own = here.vpc.create_security_group()
                subnet.run_instance(security_groups=[own, common], ipv6=True)
                owners.append(own.id)
        corners[profile] = Corner(here, owners, common.id)
    yield corners
    for corner in corners.values():
        corner.here.close()


@pytest.mark.parametrize("profile", PROFILES)
def test_any_rules_and_any_packets(corners: dict[str, Corner], profile: str) -> None:
    corner = corners[profile]
    here, cloud = corner.here, corner.here.lab.cloud

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(dice=st.randoms(use_true_random=False))
    def agree(dice: Random) -> None:
        writer, shooter = Writer(cloud, dice, here.enis, [corner.group]), Shooter(cloud, dice, here.enis)
        here.change(lambda _: [writer.rewrite(owner, most=3) for owner in corner.owners])
        here.volley(shooter.batch(dice.choice(here.enis), dice.randint(1, 8)))
        here.compare()

    agree()
