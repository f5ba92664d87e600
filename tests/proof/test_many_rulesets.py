"""Thousands of rule sets, packets at the edges of each: kernel = reference verdict = records, and the books balance.

A case is the rules of one ENI, that is of its groups and its subnet's ACL, with a batch of packets from and to it. All
ENIs of a lab get new rules at once, and windows end in between.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ground import Ground
from rulesets import Shooter, Writer

pytestmark = pytest.mark.kernel

SUBNETS, ENIS_EACH, SHARED, ACLS = 8, 8, 6, 6
WINDOWS, CHANGES, BATCH = 4, 10, 8
CASES = 2 * WINDOWS * CHANGES * SUBNETS * ENIS_EACH
"""Of both providers: 5,120; CI runs them as root and as an ordinary user, each with rules of their own."""


@dataclass
class Town:
    """A random topology: subnets with ACLs, in common and without, ENIs with a group of their own and with others; most
    speak IPv6, too."""

    here: Ground
    dice: random.Random
    owners: list[str] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)

    def build(self) -> None:
        vpc, dice = self.here.vpc, self.dice
        tencent = self.here.lab.profile.provider == "tencent"
        self._write_lists()
        self.shared = [vpc.create_security_group() for _ in range(SHARED)]
        self.peers += [group.id for group in self.shared]
        types = ["triple", "quintuple"] if tencent else [None]
        self.acls = [vpc.create_network_acl(type=dice.choice(types)) for _ in range(ACLS)]
        vpc.assign_ipv6_cidr("2001:db8:0:1600::/56")
        self.subnets = [
            vpc.create_subnet(f"10.16.{block}.0/24", ipv6_cidr=None if at % 4 == 1 else True)
            for at, block in enumerate(dice.sample(range(100), SUBNETS))
        ]
        for number, subnet in enumerate(self.subnets):
            enterprise = not tencent and number == 0
            for _ in range(ENIS_EACH):
                own = vpc.create_security_group(type="enterprise" if enterprise else None)
                more = [] if enterprise else dice.sample(self.shared, dice.choice([0, 1, 1, 2]))
                subnet.run_instance(security_groups=dice.sample([own, *more], 1 + len(more)), ipv6=number % 4 != 1)
                self.owners.append(own.id)
        self.owners += [one.id for one in (*self.shared, *self.acls)]
        self.move()

    def _write_lists(self) -> None:
        lab, choose = self.here.lab, self.dice.choice
        networks = [f"10.16.{self.dice.randrange(100)}.{choose([0, 128])}/{choose([25, 26, 30])}" for _ in range(9)]
        lists = [networks[at : at + 3] for at in (0, 3, 6)]
        if lab.profile.provider == "alibaba":
            self.peers += [lab.create_prefix_list(entries=sorted(set(one))).id for one in lists]
            ports = (["53", "443-8000"], ["1-22", "8001", "8000"], ["65535"])
            self.services += [lab.create_port_list(entries=one).id for one in ports]
            return
        templates = [lab.create_address_template(entries=[*sorted(set(one)), "10.16.7.9-10.16.9.3"]) for one in lists]
        services = [lab.create_service_template(entries=one) for one in (["TCP:53,443", "ICMP"], ["UDP:ALL", "GRE"])]
        self.peers += [one.id for one in (*templates, lab.create_address_group(templates=templates[:2]))]
        self.services += [one.id for one in (*services, lab.create_service_group(templates=services))]

    def move(self) -> None:
        """Other ACLs for some subnets, none for others; other groups for some ENIs, and another order."""
        for subnet in self.dice.sample(self.subnets, SUBNETS // 2):
            acl_id = subnet.model.acl_id
            if acl_id is not None and self.dice.random() < 0.3:
                self.here.lab.find(acl_id).disassociate(subnet)
            else:
                self.dice.choice(self.acls).associate(subnet)
        for eni in self.dice.sample(list(self.here.lab.cloud.enis), 4):
            handle = self.here.lab.find(eni)
            handle.set_security_groups(self.dice.sample(handle.security_groups, len(handle.security_groups)))


def prove(here: Ground, dice: random.Random, folder: Path, windows: int, changes: int, batch: int) -> None:
    """In each window two ENIs are captured, too."""
    town = Town(here, dice)
    town.build()
    here.record(here.vpc)
    cloud = here.lab.cloud
    writer = Writer(cloud, dice, here.enis, town.peers, town.services)
    for window in range(windows):
        shooter = Shooter(cloud, dice, here.enis)
        with ExitStack() as captures:
            for number, eni in enumerate(dice.sample(here.enis, 2)):
                captures.enter_context(here.captured(eni, folder / f"{here.lab.profile.name}-{window}-{number}.pcap"))
            for _ in range(changes):
                here.change(lambda _: [writer.rewrite(owner) for owner in town.owners])
                here.volley(packet for eni in here.enis for packet in shooter.batch(eni, batch))
        here.pass_window()
        town.move()
    here.compare()


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_the_kernel_judges_thousands_of_rule_sets_as_the_reference_does(
    ground: Callable[..., Ground], need_program: Callable[[str, str], str], tmp_path: Path, profile: str
) -> None:
    need_program("nfpcapd", "nfdump")
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    here = ground(profile, quotas={"groups": 100})
    prove(here, random.Random(f"{profile} {user}"), tmp_path, WINDOWS, CHANGES, BATCH)

    if not here.unmetered:  # no link lost a packet
        assert here.metered > WINDOWS * CHANGES * BATCH
        assert set(here.aside) == {"tunnel"}, "GRE is all that nfpcapd leaves out"
    assert here.sent > WINDOWS * CHANGES * BATCH * SUBNETS * ENIS_EACH


@pytest.mark.long
@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_a_million_packets(ground: Callable[..., Ground], tmp_path: Path, profile: str) -> None:
    sent = 0
    for seed in range(5):
        here = ground(profile, quotas={"groups": 100})
        prove(here, random.Random(f"{profile} long {seed}"), tmp_path, 5, 8, 40)
        sent += here.sent
        here.lab.close()

    assert sent > 500_000, "of each provider"
