"""The reference verdict: the order of judgement, who decides, what an established packet may."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cloud.account import Cloud
from emulator.cloud.model import Eni
from emulator.cloud.verdict import Packet, judge
from emulator.errors import RequestRefused
from emulator.providers import PROFILES, profile

A, B, C = (IPv4Address(text) for text in ("10.0.1.10", "10.0.2.20", "10.0.1.30"))


@dataclass
class World:
    """A and C in one subnet, B in another; each has a group of its own, each subnet an ACL once it is asked for."""

    cloud: Cloud
    vpc_id: str
    enis: dict[IPv4Address, Eni]

    def group(self, address, direction, action, **rule):
        return self.cloud.add_rule(self.enis[address].groups[0], direction, action, **rule)

    def acl(self, address):
        subnet = self.cloud.subnets[self.enis[address].subnet_id]
        if subnet.acl_id is None:
            acl = self.cloud.create_acl(self.vpc_id)
            for rule in acl.rules:
                self.cloud.remove_rule(acl.id, rule.id)
            subnet = self.cloud.associate_acl(acl.id, subnet.id)
        return subnet.acl_id

    def guard(self, address, direction, action, **rule):
        return self.cloud.add_rule(self.acl(address), direction, action, **rule)


def world(name: str) -> World:
    cloud = Cloud(profile(name))
    vpc = cloud.create_vpc("10.0.0.0/16")
    subnets = {block: cloud.create_subnet(vpc.id, block) for block in ("10.0.1.0/24", "10.0.2.0/24")}
    enis = {}
    for address in (A, B, C):
        subnet = next(subnet for subnet in subnets.values() if address in subnet.cidr)
        group = cloud.create_group(vpc.id)
        _, enis[address] = cloud.create_cvm(subnet.id, private_ip=address, groups=[group.id])
    return World(cloud, vpc.id, enis)


def open_world(name: str) -> World:
    built = world(name)
    for address in (A, B, C):
        for direction in ("ingress", "egress"):
            built.group(address, direction, "allow")
    return built


PING = Packet(A, B, 1)
SSH = Packet(A, B, 6, 40000, 22)


@pytest.mark.parametrize(
    ("name", "packet", "source", "destination"),
    [
        pytest.param("tencent", PING, "deny", None, id="tencent-lets-nothing-out"),
        pytest.param("alibaba", PING, "allow", "deny", id="alibaba-lets-out-but-not-in"),
    ],
)
def test_groups_without_rules(name, packet, source, destination):
    verdict = judge(world(name).cloud, packet)
    assert verdict.at_source.action == source
    assert (verdict.at_destination and verdict.at_destination.action) == destination
    assert not verdict.delivered


def test_members_of_an_alibaba_group_reach_each_other():
    there = world("alibaba")
    shared = there.cloud.create_group(there.vpc_id).id
    for address in (A, B):
        there.cloud.set_groups(there.enis[address].id, [shared])
    verdict = judge(there.cloud, PING)
    assert verdict.delivered
    assert verdict.at_destination.rule.peer == shared
    there.cloud.add_rule(shared, "ingress", "deny", protocol="icmp", priority=100)
    assert not judge(there.cloud, PING).delivered
    assert judge(there.cloud, SSH).delivered


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize(
    ("where", "side", "stage", "counted_at"),
    [
        pytest.param(lambda there: there.group, (A, "egress"), "security group", "source", id="source-group"),
        pytest.param(lambda there: there.guard, (A, "egress"), "network ACL", "source", id="source-acl"),
        pytest.param(lambda there: there.guard, (B, "ingress"), "network ACL", "destination", id="destination-acl"),
        pytest.param(
            lambda there: there.group, (B, "ingress"), "security group", "destination", id="destination-group"
        ),
    ],
)
def test_who_denies(name, where, side, stage, counted_at):
    there = open_world(name)
    for address in (A, B):
        for direction in ("ingress", "egress"):
            there.guard(address, direction, "allow")
    assert judge(there.cloud, SSH).delivered
    first = 1 if stage == "network ACL" or there.cloud.profile.pooled_groups else 0
    rule = where(there)(*side, "deny", protocol="tcp", port="20-25", priority=first)
    verdict = judge(there.cloud, SSH)
    decided = verdict.at_source if counted_at == "source" else verdict.at_destination
    assert (decided.action, decided.stage, decided.rule) == ("deny", stage, rule)
    assert (verdict.at_destination is None) == (counted_at == "source")
    if counted_at == "destination":
        assert verdict.at_source.action == "allow"
    assert judge(there.cloud, Packet(A, B, 6, 40000, 26)).delivered
    assert judge(there.cloud, Packet(A, B, 17, 40000, 22)).delivered
    assert judge(there.cloud, PING).delivered


def test_acls_do_not_see_one_subnet():
    there = open_world("tencent")
    there.acl(A)
    assert judge(there.cloud, Packet(A, C, 1)).delivered
    assert not judge(there.cloud, Packet(A, B, 1)).delivered
    assert not judge(there.cloud, Packet(B, C, 1)).delivered


def test_acls_do_not_see_one_subnet_in_ipv6_either():
    there = open_world("tencent")
    there.cloud.assign_ipv6_cidr(there.vpc_id, "2001:db8:0:1600::/56")
    there.cloud.assign_ipv6_cidr(there.enis[A].subnet_id, 1)
    a, c = (there.cloud.assign_ipv6_addresses(there.enis[at].id, 1).ipv6_addresses[0] for at in (A, C))
    there.acl(A)
    assert judge(there.cloud, Packet(a, c, 58)).delivered
    outward = judge(there.cloud, Packet(a, IPv6Address("2001:db8:0:1602::1"), 58))
    assert (outward.at_source.action, outward.at_source.stage) == ("deny", "network ACL")


def test_acls_do_not_see_what_is_sent_to_an_address_of_the_subnet_that_nobody_has():
    there = open_world("tencent")
    there.acl(A)
    inside, outside = (judge(there.cloud, Packet(A, IPv4Address(to), 1)) for to in ("10.0.1.99", "10.0.2.99"))
    assert (inside.at_source.action, outside.at_source.action) == ("allow", "deny")
    assert [step.stage for step in inside.at_source.steps] == ["security group"]


def test_established_passes_groups_and_not_acls():
    there = world("tencent")
    reply = Packet(B, A, 1)
    assert not judge(there.cloud, reply).delivered
    verdict = judge(there.cloud, reply, established=True)
    assert verdict.delivered
    assert verdict.at_source.rule is None
    there.acl(A)
    verdict = judge(there.cloud, reply, established=True)
    assert (verdict.at_source.action, verdict.at_destination.action) == ("allow", "deny")
    assert verdict.at_destination.stage == "network ACL"


def test_a_group_as_source_follows_its_members():
    there = world("tencent")
    there.group(A, "egress", "allow")
    there.group(B, "ingress", "allow", cidr=there.enis[C].groups[0])
    assert not judge(there.cloud, PING).delivered
    there.cloud.set_groups(there.enis[A].id, [*there.enis[A].groups, *there.enis[C].groups])
    assert judge(there.cloud, PING).delivered


def test_the_order_of_groups_counts_at_tencent():
    there = open_world("tencent")
    strict = there.cloud.create_group(there.vpc_id).id
    there.cloud.add_rule(strict, "ingress", "deny", protocol="icmp")
    own = there.enis[B].groups[0]
    there.cloud.set_groups(there.enis[B].id, [own, strict])
    assert judge(there.cloud, PING).delivered
    there.cloud.set_groups(there.enis[B].id, [strict, own])
    assert not judge(there.cloud, PING).delivered
    assert judge(there.cloud, SSH).delivered


def test_an_end_outside_is_judged_at_the_other_only():
    there = open_world("tencent")
    nobody = IPv4Address("10.0.9.9")
    outward = judge(there.cloud, Packet(A, nobody, 17, 1, 53))
    assert (outward.at_source.action, outward.at_destination) == ("allow", None)
    inward = judge(there.cloud, Packet(nobody, A, 17, 53, 1))
    assert (inward.at_source, inward.at_destination.action) == (None, "allow")
    with pytest.raises(ValueError, match="are in none"):
        judge(there.cloud, Packet(nobody, nobody, 17))


def test_overlapping_vpcs_are_told_apart():
    there = open_world("tencent")
    twin = there.cloud.create_vpc("10.0.0.0/16")
    subnet = there.cloud.create_subnet(twin.id, "10.0.1.0/24")
    there.cloud.create_cvm(subnet.id, private_ip=A)
    with pytest.raises(ValueError, match="name one by vpc_id="):
        judge(there.cloud, PING)
    assert judge(there.cloud, PING, vpc_id=there.vpc_id).delivered
    assert judge(there.cloud, PING, vpc_id=twin.id).at_destination is None


RULES = st.lists(
    st.tuples(
        st.sampled_from(["group", "guard"]),
        st.sampled_from([A, B, C]),
        st.sampled_from(["ingress", "egress"]),
        st.sampled_from(["allow", "deny"]),
        st.sampled_from([None, "tcp", "icmp"]),
        st.sampled_from([None, "22", "1-100,443"]),
        st.sampled_from([None, "10.0.1.0/24", "10.0.2.20", "0.0.0.0/0"]),
    ),
    max_size=10,
)
PACKETS = st.builds(
    Packet,
    st.sampled_from([A, B, C]),
    st.sampled_from([A, B, C]),
    st.sampled_from([1, 6, 17]),
    st.just(40000),
    st.sampled_from([22, 443, 8080]),
).filter(lambda packet: packet.src != packet.dst)


@given(name=st.sampled_from(sorted(PROFILES)), rules=RULES, packet=PACKETS)
def test_laws_of_a_verdict(name, rules, packet):
    there = world(name)
    for how, address, direction, action, protocol, port, cidr in rules:
        try:
            port = port if protocol == "tcp" else None
            getattr(there, how)(address, direction, action, protocol=protocol, port=port, cidr=cidr)
        except RequestRefused as refused:
            assert refused.reason == "rule.duplicate"
    verdict = judge(there.cloud, packet)
    # A packet is counted at its destination exactly if its source let it go.
    assert (verdict.at_destination is not None) == (verdict.at_source.action == "allow")
    for side in filter(None, (verdict.at_source, verdict.at_destination)):
        assert all(step.action == "allow" for step in side.steps[:-1])
        assert side.action == side.steps[-1].action
        assert side.rule.action == side.action
        origin = there.cloud.rule_origin(there.vpc_id, side.rule.number)
        assert (origin.stage, origin.rule) == (side.stage, side.rule)
    # What passes as new passes as established; what an ACL denies it denies to established packets too.
    established = judge(there.cloud, packet, established=True)
    assert established.delivered or not verdict.delivered
