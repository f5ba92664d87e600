"""Observation changes nothing: whether flow logs watch or not, every frame at every CVM is the same, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import dpkt
import pytest
from ground import Ground
from rulesets import Shooter, Writer

pytestmark = pytest.mark.kernel

ROUNDS, BATCH = 6, 40


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_the_same_frames_pass_with_and_without_flow_logs(
    ground: Callable[..., Ground], tmp_path: Path, profile: str
) -> None:
    unseen = frames(ground(profile), tmp_path, watch=lambda here: None)
    seen = frames(ground(profile), tmp_path, watch=watch)

    assert seen == unseen
    assert min(map(len, seen.values())) > 20


def watch(here: Ground) -> None:
    """Flow logs on the VPC, a subnet and an ENI, of what is let through, of what is not, of everything."""
    here.record(here.vpc)
    other = here.lab.logs.create_topic("other", logset="proof")
    handles = [here.lab.find(eni.id) for eni in here.enis]
    handles[0].create_flow_log(topic=other, traffic="REJECT")
    here.lab.find(here.enis[1].subnet_id).create_flow_log(topic=other, traffic="ACCEPT")


def frames(here: Ground, folder: Path, watch: Callable[[Ground], None]) -> dict[str, list[bytes]]:
    """The IP frames at each CVM, in their order, of rounds of packets under changing rules; windows end in between."""
    dice, cloud = random.Random("observation"), here.lab.cloud
    groups = [here.vpc.create_security_group() for _ in range(3)]
    subnets = [here.vpc.create_subnet(f"10.16.{number}.0/24") for number in range(2)]
    acl = here.vpc.create_network_acl()
    acl.associate(subnets[1])
    cvms = [subnets[number % 2].run_instance(f"cvm {number}", security_groups=[groups[number]]) for number in range(3)]
    watch(here)
    writer = Writer(cloud, dice, here.enis, [groups[0].id])
    with ExitStack() as captures:
        for cvm in cvms:
            captures.enter_context(cvm.eni.capture(folder / f"{cvm.name}.pcap"))
        for _ in range(ROUNDS):
            here.change(lambda _: [writer.rewrite(owner.id) for owner in (*groups, acl)])
            here.volley(Shooter(cloud, dice, here.enis).batch(dice.choice(here.enis), BATCH))
            here.pass_window()
    if here.recorded:
        here.compare()
    return {cvm.name: ip_frames(folder / f"{cvm.name}.pcap") for cvm in cvms}


def ip_frames(path: Path) -> list[bytes]:
    with path.open("rb") as stream:
        return [frame for _, frame in dpkt.pcap.Reader(stream) if frame[12:14] != b"\x08\x06"]
