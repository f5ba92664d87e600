"""The reference verdict's speed: what it costs to compare the kernel with it packet for packet."""

from __future__ import annotations

import random
from statistics import median
from time import process_time

from measure import Figures

from emulator.cloud.account import Cloud
from emulator.cloud.verdict import Judge, Packet
from emulator.providers import profile

AT_LEAST_PER_S = 20_000
PACKETS, ROUNDS, ENIS = 20_000, 5, 400


def test_the_reference_judges_20000_packets_a_second(figures: Figures) -> None:
    """Between 400 ENIs of two subnets, each in two groups of five rules each way, each subnet behind an ACL of ten."""
    cloud, packets = furnished()
    took = []
    for _ in range(ROUNDS):
        begun = process_time()
        judge = Judge(cloud)
        delivered = sum(judge.verdict(packet).delivered for packet in packets)
        took.append(process_time() - begun)
    figures.note("reference verdict", packets=PACKETS, enis=ENIS, per_s=PACKETS / median(took))

    assert 0.2 < delivered / PACKETS < 0.8, "some are let through and some are not"
    assert PACKETS / median(took) >= AT_LEAST_PER_S


def furnished() -> tuple[Cloud, list[Packet]]:
    dice = random.Random("reference")
    cloud = Cloud(profile("tencent"))
    vpc = cloud.create_vpc("10.16.0.0/16")
    groups = [cloud.create_group(vpc.id) for _ in range(8)]
    acls = [cloud.create_acl(vpc.id) for _ in range(2)]
    for owner in (*groups, *acls):
        for direction in ("ingress", "egress"):
            for number in range(9 if owner in acls else 5):
                peer = dice.choice([None, "10.16.0.0/24", "10.16.1.0/24", f"10.16.{number % 2}.{number * 16}/28"])
                if owner in groups:
                    peer = dice.choice([peer, dice.choice(groups).id])
                port = f"{number * 100 + 1}-{number * 100 + 400}"
                action = "deny" if number == 3 else "allow"
                cloud.add_rule(owner.id, direction, action, protocol="tcp", port=port, cidr=peer)
            if owner in acls:
                cloud.add_rule(owner.id, direction, "allow")
    enis = []
    for index, acl in enumerate(acls):
        subnet = cloud.create_subnet(vpc.id, f"10.16.{index}.0/24")
        cloud.associate_acl(acl.id, subnet.id)
        for _ in range(ENIS // 2):
            bound = [group.id for group in dice.sample(groups, 2)]
            enis.append(cloud.create_cvm(subnet.id, groups=bound)[1])
    ends = (dice.sample(enis, 2) for _ in range(PACKETS))
    return cloud, [Packet(a.address, b.address, 6, 40_000, dice.randrange(1, 850)) for a, b in ends]
