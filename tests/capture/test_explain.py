"""Why a record says what it says, from its hidden columns and the account's memory of rules. No kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from emulator.cloud.account import Cloud
from emulator.cloud.model import Rule
from emulator.cloud.verdict import Packet
from emulator.errors import InvalidValue, NotFound
from emulator.explain import Explanation, Look, explain, explain_packet, packet_in, packet_of
from emulator.providers import profile


@pytest.fixture(params=["tencent", "alibaba"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return Cloud(profile(request.param))


def meta(cloud: Cloud, rule: Rule | None, direction: str | None = "in", **more: Any) -> dict[str, Any]:
    number = None if rule is None else rule.number
    return {"vpc_id": next(iter(cloud.vpcs)), "eni_id": "eni-1", "direction": direction, "rule": number, **more}


def test_a_rule_of_a_group(cloud: Cloud) -> None:
    vpc = cloud.create_vpc("10.16.0.0/16")
    group = cloud.create_group(vpc.id, name="web")
    rule = cloud.add_rule(group.id, "ingress", "deny", protocol="tcp", port="80,443", cidr="10.16.1.0/24")

    why = explain(cloud, meta(cloud, rule), "REJECT", "OK")

    assert (why.stage, why.owner_id, why.owner_name, why.current) == ("security group", group.id, "web", True)
    assert str(why) == (
        f"REJECT of what reached eni-1: security group {group.id} (web), rule {rule.id}: "
        "deny ingress tcp port 80,443 from 10.16.1.0/24"
    )


def test_a_rule_of_an_acl(cloud: Cloud) -> None:
    vpc = cloud.create_vpc("10.16.0.0/16")
    acl = cloud.create_acl(vpc.id)
    rule = cloud.add_rule(acl.id, "egress", "deny", protocol="icmp")

    why = explain(cloud, meta(cloud, rule, "out"), "REJECT", "OK")

    assert (why.stage, why.rule, why.direction) == ("network ACL", rule, "out")
    assert str(why) == f"REJECT of what left eni-1: network ACL {acl.id}, rule {rule.id}: deny egress icmp to anywhere"


def test_a_reply_is_explained_by_the_rule_that_let_the_connection_through(cloud: Cloud) -> None:
    vpc = cloud.create_vpc("10.16.0.0/16")
    group = cloud.create_group(vpc.id)
    rule = cloud.add_rule(group.id, "ingress", "allow", protocol="udp")

    assert "let through the other way" in str(explain(cloud, meta(cloud, rule, "out"), "ACCEPT", "OK"))
    assert "other way" not in str(explain(cloud, meta(cloud, rule, "in"), "ACCEPT", "OK"))


def test_a_rule_that_was_removed_is_told_as_it_was(cloud: Cloud) -> None:
    vpc = cloud.create_vpc("10.16.0.0/16")
    group = cloud.create_group(vpc.id, name="gone")
    rule = cloud.add_rule(group.id, "ingress", "deny", protocol="udp", port=53)
    told = meta(cloud, rule)

    cloud.remove_rule(group.id, rule.id)
    why = explain(cloud, told, "REJECT", "OK")
    assert (why.rule, why.owner_name, why.current) == (rule, "gone", False)
    assert str(why).endswith("; the rule has been removed since")
    cloud.delete_group(group.id)
    cloud.delete_vpc(vpc.id)
    assert explain(cloud, told, "REJECT", "OK") == why


def test_the_end_of_all_lists_belongs_to_no_group(cloud: Cloud) -> None:
    vpc = cloud.create_vpc("10.16.0.0/16")
    group = cloud.create_group(vpc.id)
    last = cloud.group_rules(vpc.id, [group.id], "ingress")[-1]

    why = explain(cloud, meta(cloud, last), "REJECT", "OK")

    assert (why.stage, why.owner_id, why.current) == ("security group", "", True)
    assert "no rule of its security groups matched" in str(why)


@pytest.mark.parametrize(
    ("status", "skipped", "said"),
    [
        ("NODATA", None, "no packet passed eni-1 in this window"),
        ("SKIPDATA", 14_465, "14465 packets at eni-1 found no room in a kernel table in this window"),
    ],
)
def test_remarks_need_no_rule(cloud: Cloud, status: str, skipped: int | None, said: str) -> None:
    cloud.create_vpc("10.16.0.0/16")

    why = explain(cloud, meta(cloud, None, None, skipped=skipped), None, status)

    assert (str(why), why.rule, why.stage, why.action) == (said, None, None, None)


def test_a_number_that_no_rule_ever_had_is_refused(cloud: Cloud) -> None:
    vpc = cloud.create_vpc("10.16.0.0/16")
    strange = {"vpc_id": vpc.id, "eni_id": "eni-1", "direction": "in", "rule": 60_000}

    with pytest.raises(NotFound, match="60000") as refused:
        explain(cloud, strange, "ACCEPT", "OK")
    assert refused.value.code == cloud.profile.code("rule.missing")


# the walk ----------------------------------------------------------------------------------------------


@dataclass
class Place:
    """A in one subnet, B (groups web) in another that has the ACL edge."""

    cloud: Cloud
    web: Any
    edge: Any
    a: Any
    b: Any
    icmp: Rule

    def record(self, eni: Any, direction: str, rule: Rule, action: str, packet: Packet) -> Explanation:
        told = {"vpc_id": eni.vpc_id, "eni_id": eni.id, "direction": direction, "rule": rule.number}
        return explain(self.cloud, told, action, "OK", packet)

    def packet(self, protocol: int, dst_port: int = 0) -> Packet:
        return Packet(self.a.address, self.b.address, protocol, 40_000, dst_port)


@pytest.fixture
def place(cloud: Cloud) -> Place:
    vpc = cloud.create_vpc("10.16.0.0/16")
    near, far = cloud.create_subnet(vpc.id, "10.16.0.0/24"), cloud.create_subnet(vpc.id, "10.16.1.0/24")
    web, edge = cloud.create_group(vpc.id, name="web"), cloud.create_acl(vpc.id, name="edge")
    cloud.add_rule(web.id, "ingress", "deny", protocol="tcp", port=22)
    icmp = cloud.add_rule(web.id, "ingress", "allow", protocol="icmp")
    cloud.add_rule(web.id, "egress", "allow")
    for protocol in ("icmp", "udp"):
        cloud.add_rule(edge.id, "ingress", "allow", protocol=protocol)
    cloud.add_rule(edge.id, "egress", "allow")
    cloud.associate_acl(edge.id, far.id)
    (_, a), (_, b) = cloud.create_cvm(near.id, name="A"), cloud.create_cvm(far.id, name="B", groups=[web.id])
    return Place(cloud, web, edge, a, b, icmp)


def told(looks: Sequence[Look]) -> list[tuple[str, str, str, str, bool]]:
    return [(look.eni_id, look.direction, look.stage, look.action, look.recorded) for look in looks]


def test_the_walk_through_both_ends(place: Place) -> None:
    why = place.record(place.b, "in", place.icmp, "ACCEPT", place.packet(1))

    assert told(why.walk) == [
        (place.b.id, "in", "network ACL", "ACCEPT", False),
        (place.b.id, "in", "security group", "ACCEPT", True),
    ]
    assert why.walk[1].rule == place.icmp
    assert [str(rule) for rule in why.walk[1].passed] == ["deny ingress tcp port 22 from anywhere"]
    assert told(why.other_side) == [(place.a.id, "out", "security group", "ACCEPT", False)]
    assert why.difference == ""
    first, acl, group, other = why.in_full.splitlines()
    assert first == why.text == str(why)
    assert acl.startswith(f"  1. {place.b.id} in, network ACL {place.edge.id}: ACCEPT by rule ")
    assert "allow ingress icmp from anywhere" in acl
    assert acl.endswith(" (by the rules as they are now)")
    assert group == (
        f"  2. {place.b.id} in, security group {place.web.id}: ACCEPT by rule {place.icmp.id}: "
        "allow ingress icmp from anywhere, after 1 that did not match"
    )
    assert other.startswith(f"  other side: {place.a.id} out, security group ")


def test_a_reply_needs_no_rule_of_its_own(place: Place) -> None:
    reply = Packet(place.b.address, place.a.address, 1)
    why = place.record(place.b, "out", place.icmp, "ACCEPT", reply)

    assert [(look.stage, look.state) for look in why.walk] == [("security group", "established"), ("network ACL", None)]
    assert why.walk[0].passed == ()
    assert "which let the connection through, and its established packets pass" in why.in_full
    assert [(look.eni_id, look.rule, look.state) for look in why.other_side] == [(place.a.id, None, "established")]
    assert "the packet belongs to an established connection" in why.in_full


@pytest.mark.parametrize(
    ("side", "protocol", "port", "difference"),
    [
        pytest.param("a", 17, 53, "accepted here and rejected at {b}: there the record says REJECT", id="sender"),
        pytest.param(
            "b", 17, 53, "rejected here and accepted where it left {A}: there the record says ACCEPT", id="receiver"
        ),
    ],
)
def test_why_the_other_side_says_something_else(
    place: Place, side: str, protocol: int, port: int, difference: str
) -> None:
    packet = place.packet(protocol, port)
    eni, way, action = (place.a, "out", "ACCEPT") if side == "a" else (place.b, "in", "REJECT")
    rule = place.cloud.group_rules(eni.vpc_id, eni.groups, "egress" if way == "out" else "ingress")[-1]
    why = place.record(eni, way, rule, action, packet)

    assert why.difference == difference.format(b=place.b.id, A=place.a.address)
    assert why.in_full.endswith(why.difference)


def test_what_the_sender_rejects_has_no_other_side(place: Place) -> None:
    deny = place.cloud.add_rule(place.web.id, "egress", "deny", protocol="tcp")
    packet = Packet(place.b.address, place.a.address, 6, 1, 2)
    why = place.record(place.b, "out", deny, "REJECT", packet)

    assert told(why.walk) == [(place.b.id, "out", "security group", "REJECT", True)]
    assert (
        why.difference
        == f"what was rejected here did not reach {place.a.address}, so the ENI there has no record of it"
    )


def test_a_rule_that_was_removed_is_still_the_one_that_decided(place: Place) -> None:
    place.cloud.remove_rule(place.web.id, place.icmp.id)
    why = place.record(place.b, "in", place.icmp, "ACCEPT", place.packet(1))

    assert not why.current
    assert (why.walk[1].rule, why.walk[1].passed, why.walk[1].recorded) == (place.icmp, (), True)
    assert why.text.endswith("the rule has been removed since")
    assert why.difference == ""  # the other side's record was made at the same moment


def test_an_address_that_nobody_has(place: Place) -> None:
    packet = Packet(place.a.address, IPv4Address("10.16.9.9"), 6, 1, 80)
    rule = place.cloud.group_rules(place.a.vpc_id, place.a.groups, "egress")[-1]
    why = place.record(place.a, "out", rule, "ACCEPT", packet)

    assert why.other_side == ()
    assert why.difference == f"no ENI in VPC {place.a.vpc_id} has 10.16.9.9 now, so there is no record of another side"


@pytest.mark.parametrize("address", ["10.16.0.255", "255.255.255.255"])
def test_a_broadcast_that_nobody_hears(place: Place, address: str) -> None:
    packet = Packet(place.a.address, IPv4Address(address), 17, 1, 9)
    rule = place.cloud.group_rules(place.a.vpc_id, place.a.groups, "egress")[-1]
    everybody = f"{address} is everybody in subnet {place.a.subnet_id}"

    off = place.record(place.a, "out", rule, "ACCEPT", packet)
    assert (off.other_side, off.difference) == (
        (),
        f"{everybody}, which has broadcast off now: it ends here, so there is no record of another side",
    )
    assert explain_packet(place.cloud, packet, place.a.vpc_id).difference == off.difference
    rejected = place.record(place.a, "out", rule, "REJECT", packet)
    assert (
        rejected.difference == f"{everybody}; what is rejected here reaches none of them, so they have no record of it"
    )


@pytest.mark.parametrize("cloud", ["tencent"], indirect=True)
def test_a_broadcast_has_records_at_all_who_hear_it(place: Place) -> None:
    cloud, subnet_id = place.cloud, place.a.subnet_id
    cloud.set_broadcast(subnet_id, True)
    everybody = IPv4Address("10.16.0.255")
    packet = Packet(place.a.address, everybody, 17, 1, 9)
    rule = cloud.group_rules(place.a.vpc_id, place.a.groups, "egress")[-1]
    alone = place.record(place.a, "out", rule, "ACCEPT", packet)
    assert alone.difference.endswith("where no other ENI is now, so there is no record of another side")

    (_, hears), (_, rejects) = (cloud.create_cvm(subnet_id, groups=groups) for groups in (None, [place.web.id]))
    cloud.create_eni(subnet_id)  # attached to nobody
    why = place.record(place.a, "out", rule, "ACCEPT", packet)
    assert told(why.other_side) == [
        (hears.id, "in", "security group", "ACCEPT", False),
        (rejects.id, "in", "security group", "REJECT", False),
    ]
    assert why.difference == (
        f"{everybody} is everybody in subnet {subnet_id}: each other ENI there gets a copy, 2 now, and has a record of "
        f"its own, which says REJECT at {rejects.id}"
    )
    assert why.in_full.endswith(why.difference)
    asked = explain_packet(cloud, packet, place.a.vpc_id)
    assert (asked.other_side, asked.difference) == (why.other_side, why.difference)

    at_the_receiver = place.record(rejects, "in", rule, "REJECT", packet)
    assert told(at_the_receiver.other_side) == [(place.a.id, "out", "security group", "ACCEPT", False)]
    assert "there the record says ACCEPT" in at_the_receiver.difference


# a packet instead of a record --------------------------------------------------------------------------


def test_what_would_become_of_a_packet(place: Place) -> None:
    deny = place.cloud.add_rule(place.edge.id, "ingress", "deny", protocol="tcp", priority=1)
    why = explain_packet(place.cloud, place.packet(6, 22))

    assert (why.action, why.direction, why.eni_id, why.stage) == ("REJECT", "in", place.b.id, "network ACL")
    rejecting = f"network ACL {place.edge.id} (edge), rule {deny.id}"
    assert why.text.startswith(f"REJECT of what reaches {place.b.id}: {rejecting}: ")
    assert [look.eni_id for look in why.walk] == [place.a.id, place.b.id]
    assert not any(look.recorded for look in why.walk)
    accepted = explain_packet(place.cloud, place.packet(1))
    assert (accepted.action, accepted.rule) == ("ACCEPT", place.icmp)
    nobody = explain_packet(place.cloud, Packet(place.a.address, IPv4Address("10.16.9.9"), 17))
    assert (nobody.action, nobody.difference) == ("ACCEPT", "nobody in the VPC has 10.16.9.9")


def test_a_packet_of_strangers_is_refused(place: Place) -> None:
    with pytest.raises(InvalidValue, match="ENIs with these addresses are in none; give a packet between ENIs"):
        explain_packet(place.cloud, Packet(IPv4Address("1.1.1.1"), IPv4Address("2.2.2.2"), 6))


def test_scapys_packets_and_records_as_packets() -> None:
    from scapy.layers.inet import ICMP, IP, TCP
    from scapy.layers.l2 import ARP

    a, b = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
    assert packet_of(IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=5, dport=443)) == Packet(a, b, 6, 5, 443)
    assert packet_of(IP(src="10.0.0.1", dst="10.0.0.2") / ICMP()) == Packet(a, b, 1)
    assert packet_of(ARP()) is None
    assert packet_of("10.0.0.1") is None
    row: dict[str, Any] = {"srcaddr": "10.0.0.1", "dstaddr": "10.0.0.2", "protocol": 6, "srcport": 5, "dstport": 443}
    assert packet_in(row) == Packet(a, b, 6, 5, 443)
    assert packet_in({**row, "protocol": 1, "srcport": 77, "dstport": 2048}) == Packet(a, b, 1)
    assert packet_in({**row, "srcaddr": None}) is None


def test_scapys_packets_and_records_of_ipv6_as_packets() -> None:
    """Extension headers are walked; of a packet in a packet the outer one counts, of a fragment behind the first none
    has ports."""
    from scapy.layers import inet6
    from scapy.layers.inet import IP, TCP, UDP

    one, other = "2001:db8::1", "2001:db8::2"
    a, b, head = IPv6Address(one), IPv6Address(other), inet6.IPv6(src=one, dst=other)
    chain = inet6.IPv6ExtHdrHopByHop() / inet6.IPv6ExtHdrRouting() / inet6.IPv6ExtHdrDestOpt()
    cases = [
        (head / UDP(sport=5, dport=53), (17, 5, 53)),
        (head / chain / TCP(sport=5, dport=443), (6, 5, 443)),
        (head / inet6.IPv6ExtHdrFragment(m=1) / UDP(sport=5, dport=53), (17, 5, 53)),
        (head / inet6.IPv6ExtHdrFragment(nh=17, offset=9) / b"12345678", (17, 0, 0)),
        (head / inet6.ICMPv6EchoRequest(), (58, 0, 0)),
        (head / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(), (4, 0, 0)),
    ]
    for packet, expected in cases:
        assert packet_of(packet) == Packet(a, b, *expected)
    row: dict[str, Any] = {"srcaddr": one, "dstaddr": other, "protocol": 17, "srcport": 5, "dstport": 53}
    assert packet_in(row) == Packet(a, b, 17, 5, 53)
