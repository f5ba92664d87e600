"""The kernel's verdict: groups and ACLs by example, and lists of hundreds of rules against the reference.

Random rules of every kind, and packets at their edges, are in tests/proof.
"""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from emulator.cloud.verdict import Judgement, Packet, judge
from emulator.errors import AlreadyExists

pytestmark = pytest.mark.kernel

PROFILES = ("tencent", "alibaba")
TCP, UDP, ICMP, GRE = 6, 17, 1, 47


@dataclass
class Probe:
    """Sends packets of flows that were never seen before and says which arrived."""

    wire: Any
    site: Any
    ports: Iterator[int] = field(default_factory=lambda: itertools.count(20_000))

    def passes(self, src: Any, dst: Any, protocol: int = UDP, port: int = 53) -> bool:
        sport = next(self.ports)
        if protocol == TCP:
            payload = self.wire.tcp(src.ip, dst.ip, sport, port)
        elif protocol == UDP:
            payload = self.wire.udp(sport, port)
        elif protocol == ICMP:
            payload = self.wire.icmp(8, ident=sport)
        else:
            payload = b"x" * 16
        with self.wire.listening(dst, protocol) as heard:
            self.wire.send(src, dst.ip, protocol, payload)
            return payload in [packet[self.wire.HEAD :] for packet in heard()]

    def verdicts(self, src: Any, dst: Any, **packets: Any) -> dict[str, bool]:
        return {name: self.passes(src, dst, *packet) for name, packet in packets.items()}


@pytest.fixture
def probe(wire: Any) -> Callable[[Any], Probe]:
    return lambda site: Probe(wire, site)


@pytest.fixture(scope="module")
def probes(open_module_lab: Callable[..., Any], furnished: Callable[[Any], Any], wire: Any) -> dict[str, Probe]:
    """A lab of each provider for tests that put B into a group of their own; C may send all."""
    found = {name: Probe(wire, furnished(open_module_lab(name, quotas={"groups": 100}))) for name in PROFILES}
    for probe in found.values():
        own_group(probe.site, probe.site.c).allow("egress")
    return found


def own_group(site: Any, cvm: Any, name: str | None = None) -> Any:
    """A group of its own for a CVM, without rules."""
    group = site.vpc.create_security_group(name)
    cvm.eni.set_security_groups([group])
    return group


def open_up(*groups: Any) -> None:
    for group in groups:
        group.allow("ingress")
        group.allow("egress")


# security groups -------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_replies_pass_and_the_other_way_round_does_not(build: Callable[..., Any], probe: Any, profile: str) -> None:
    site = build(profile)
    own_group(site, site.a).allow("egress", protocol="icmp")
    guarded = own_group(site, site.c)
    guarded.allow("ingress", protocol="icmp")
    guarded.deny("egress", protocol="icmp")

    assert site.a.ping(site.c, count=2).received == 2
    assert site.c.ping(site.a, wait_s=0.2).received == 0


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        pytest.param("tencent", {"members": True, "a stranger": True, "to a stranger": False}, id="tencent"),
        pytest.param("alibaba", {"members": True, "a stranger": False, "to a stranger": False}, id="alibaba"),
    ],
)
def test_the_default_group(build: Callable[..., Any], probe: Any, profile: str, expected: dict[str, bool]) -> None:
    """A and B are in the VPC's default group; C is in one without rules, which lets only Alibaba's egress through."""
    site = build(profile)
    stranger = own_group(site, site.c)
    if profile == "tencent":
        stranger.allow("egress")
    ask = probe(site)

    found = {
        "members": ask.passes(site.a, site.b),
        "a stranger": ask.passes(site.c, site.b),
        "to a stranger": ask.passes(site.a, site.c),
    }
    assert found == expected


def test_a_tencent_group_without_rules_lets_nothing_through(build: Callable[..., Any], probe: Any) -> None:
    site = build()
    own_group(site, site.a)
    ask = probe(site)

    assert (ask.passes(site.a, site.b), ask.passes(site.b, site.a)) == (False, False)


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        pytest.param({"protocol": "udp"}, {"udp": (UDP, 9)}, {"tcp": (TCP, 9), "gre": (GRE,)}, id="protocol"),
        pytest.param({"protocol": 132}, {"sctp": (132,)}, {"udp": (UDP, 9), "udp-lite": (136,)}, id="number"),
        pytest.param({"protocol": 0}, {"zero": (0,)}, {"udp": (UDP, 9)}, id="protocol 0"),
        pytest.param({"protocol": 255}, {"last": (255,)}, {"esp": (50,)}, id="protocol 255"),
        pytest.param({"protocol": "gre"}, {"gre": (GRE,)}, {"esp": (50,)}, id="gre"),
        pytest.param(
            {"protocol": "tcp", "port": 443},
            {"443": (TCP, 443)},
            {"442": (TCP, 442), "444": (TCP, 444), "udp": (UDP, 443)},
            id="port",
        ),
        pytest.param(
            {"protocol": "udp", "port": "4000-4001"},
            {"low": (UDP, 4000), "high": (UDP, 4001)},
            {"below": (UDP, 3999), "above": (UDP, 4002)},
            id="range",
        ),
        pytest.param(
            {"protocol": "tcp", "port": "80,443,8000-8010"},
            {"80": (TCP, 80), "443": (TCP, 443), "8010": (TCP, 8010)},
            {"81": (TCP, 81), "8011": (TCP, 8011)},
            id="list",
        ),
        pytest.param(
            {"protocol": "tcp", "port": "1-65535"}, {"1": (TCP, 1), "last": (TCP, 65_535)}, {}, id="all ports"
        ),
        pytest.param({"cidr": "10.16.1.7"}, {"all": (UDP, 9)}, {}, id="address"),
        pytest.param({"cidr": "10.16.1.6/31"}, {"all": (GRE,)}, {}, id="mask 31"),
        pytest.param({"cidr": "10.16.1.8/29"}, {}, {"all": (UDP, 9)}, id="beside"),
        pytest.param({"cidr": "0.0.0.0/0"}, {"udp": (UDP, 9), "icmp": (ICMP,)}, {}, id="anywhere"),
        pytest.param({}, {"udp": (UDP, 9), "tcp": (TCP, 1), "gre": (GRE,)}, {}, id="everything"),
    ],
)
def test_what_a_rule_is_about(
    probes: dict[str, Probe], profile: str, rule: dict[str, Any], inside: dict[str, Any], outside: dict[str, Any]
) -> None:
    """The only rule of B's group, for what C sends; then the same as the only refusal before everything is allowed."""
    ask, site = probes[profile], probes[profile].site
    guard = own_group(site, site.b)

    allowed = guard.allow("ingress", **rule)
    assert ask.verdicts(site.c, site.b, **inside) == dict.fromkeys(inside, True)
    assert ask.verdicts(site.c, site.b, **outside) == dict.fromkeys(outside, False)
    guard.remove(allowed)
    guard.deny("ingress", **rule)
    guard.allow("ingress")
    assert ask.verdicts(site.c, site.b, **inside) == dict.fromkeys(inside, False)
    assert ask.verdicts(site.c, site.b, **outside) == dict.fromkeys(outside, True)


def test_tencents_list_order(build: Callable[..., Any], probe: Any) -> None:
    site, ask = build(), None
    guard, ask = own_group(site, site.b), probe(site)
    guard.deny("ingress", protocol="udp", port=53)
    guard.allow("ingress", protocol="udp")

    assert ask.verdicts(site.a, site.b, dns=(UDP, 53), ntp=(UDP, 123)) == {"dns": False, "ntp": True}
    first = guard.allow("ingress", protocol="udp", port="53-60", priority=0)
    assert ask.verdicts(site.a, site.b, dns=(UDP, 53), ntp=(UDP, 123)) == {"dns": True, "ntp": True}
    guard.deny("ingress", protocol="udp", priority=1)
    assert ask.verdicts(site.a, site.b, dns=(UDP, 53), ntp=(UDP, 123)) == {"dns": True, "ntp": False}
    guard.remove(first)
    assert ask.verdicts(site.a, site.b, dns=(UDP, 53), ntp=(UDP, 123)) == {"dns": False, "ntp": False}


def test_tencents_groups_are_asked_in_the_order_bound(build: Callable[..., Any], probe: Any) -> None:
    site = build()
    one, two, ask = site.vpc.create_security_group("one"), site.vpc.create_security_group("two"), probe(site)
    one.deny("ingress", protocol="udp", port=53)
    two.allow("ingress")

    site.b.eni.set_security_groups([one, two])
    assert ask.verdicts(site.a, site.b, dns=(UDP, 53), ntp=(UDP, 123)) == {"dns": False, "ntp": True}
    site.b.eni.set_security_groups([two, one])
    assert ask.verdicts(site.a, site.b, dns=(UDP, 53), ntp=(UDP, 123)) == {"dns": True, "ntp": True}


def test_alibabas_groups_are_one_pool_by_priority_and_denial_comes_first(build: Callable[..., Any], probe: Any) -> None:
    site = build("alibaba")
    one, two, ask = site.vpc.create_security_group("one"), site.vpc.create_security_group("two"), probe(site)
    site.b.eni.set_security_groups([one, two])

    one.allow("ingress", protocol="udp", priority=5)
    assert ask.passes(site.a, site.b)
    refusal = two.deny("ingress", protocol="udp", port=53, priority=5)
    assert not ask.passes(site.a, site.b)
    one.allow("ingress", protocol="udp", port=53, priority=4)
    assert ask.passes(site.a, site.b)
    two.remove(refusal)
    two.deny("ingress", priority=1)
    assert not ask.passes(site.a, site.b)
    site.b.eni.set_security_groups([one])
    assert ask.passes(site.a, site.b)


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_a_group_as_the_other_side_means_its_members_now(
    build: Callable[..., Any], wire: Any, probe: Any, profile: str
) -> None:
    site = build(profile)
    friends, ask = site.vpc.create_security_group("friends"), probe(site)
    friends.allow("egress")
    guard, others = own_group(site, site.b), own_group(site, site.c)
    open_up(others)

    guard.allow("ingress", cidr=friends)
    assert not ask.passes(site.c, site.b)
    site.c.eni.set_security_groups([others, friends])
    assert ask.passes(site.c, site.b)
    site.c.eni.set_security_groups([others])
    assert not ask.passes(site.c, site.b)
    d = site.db.run_instance("D", private_ip="10.16.1.9", security_groups=[friends])
    assert ask.passes(d, site.b)
    d.terminate()
    d = site.db.run_instance("D", private_ip="10.16.1.9", security_groups=[others])
    assert not ask.passes(d, site.b), "an address is no member for having been one"


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_a_detached_eni_is_a_member_until_it_is_deleted(build: Callable[..., Any], probe: Any, profile: str) -> None:
    """Who sends to its address is judged as if it were there; who gets the address later is no member."""
    site = build(profile)
    site.log = site.a.eni.create_flow_log(topic=site.topic)
    friends = site.vpc.create_security_group("friends")
    sender, others = own_group(site, site.a), own_group(site, site.c)
    open_up(others)
    sender.allow("egress", cidr=friends, priority=1 if profile == "alibaba" else None)
    if profile == "alibaba":
        sender.deny("egress", priority=2)
    ask = probe(site)

    spare = site.db.create_eni("spare", private_ip="10.16.1.20", security_groups=[friends])
    ask.wire.send(site.a, spare.ip, UDP, ask.wire.udp(1, 1))
    spare.delete()
    ask.wire.send(site.a, "10.16.1.20", UDP, ask.wire.udp(1, 2))
    d = site.db.run_instance("D", private_ip="10.16.1.20", security_groups=[others])
    assert not ask.passes(site.a, d, UDP, 3)

    found = {record["dstport"]: record["action"] for record in site.records() if record["protocol"] == UDP}
    assert found == {1: "ACCEPT", 2: "REJECT", 3: "REJECT"}


def test_groups_that_are_gone_disturb_no_later_change(build: Callable[..., Any], probe: Any) -> None:
    """B is bound to a list of groups, then to another; one of the first list is deleted: its chains are of no use."""
    site = build()
    one, two, ask = site.vpc.create_security_group("one"), site.vpc.create_security_group("two"), probe(site)
    two.allow("ingress", cidr=one)
    site.b.eni.set_security_groups([one, two])
    site.b.eni.set_security_groups([one])
    two.delete()

    one.allow("ingress", protocol="udp")
    assert ask.passes(site.a, site.b)
    three = site.vpc.create_security_group("three")
    three.deny("ingress", protocol="udp")
    site.b.eni.set_security_groups([three, one])
    assert not ask.passes(site.a, site.b)


def test_alibabas_types_of_groups_and_what_members_may(build: Callable[..., Any], probe: Any) -> None:
    site = build("alibaba")
    ask, vpc = probe(site), site.vpc
    enterprise = vpc.create_security_group(type="enterprise")
    normal = vpc.create_security_group(inner_access="drop")
    for cvm in (site.a, site.b, site.c):
        cvm.eni.set_security_groups([normal])

    assert not ask.passes(site.a, site.b)
    normal.set_inner_access("accept")
    assert ask.passes(site.a, site.b)
    normal.set_inner_access("drop")
    assert not ask.passes(site.a, site.b)
    normal.allow("ingress")
    assert ask.passes(site.a, site.b)
    for cvm in (site.a, site.b):
        cvm.eni.set_security_groups([enterprise])
    assert [ask.passes(*ends) for ends in ((site.a, site.c), (site.c, site.a), (site.a, site.b))] == [False] * 3
    enterprise.allow("egress")
    assert [ask.passes(*ends) for ends in ((site.a, site.c), (site.c, site.a))] == [True, False]


# changes ---------------------------------------------------------------------------------------------


def flips(site: Any) -> dict[str, Callable[[bool], None]]:
    """Ways to let a packet from A to C through, or not; each alone decides."""
    guard = own_group(site, site.c)
    guard.allow("ingress", protocol="udp", priority=0)
    shut = site.vpc.create_security_group("shut")
    acl, wall = site.vpc.create_network_acl("acl"), site.vpc.create_network_acl("wall")
    acl.allow("ingress")
    acl.allow("egress")
    acl.associate(site.db)
    held: dict[str, Any] = {}

    def rule(owner: Any, direction: str) -> Callable[[bool], None]:
        def flip(through: bool) -> None:
            if through:
                owner.remove(held.pop("rule"))
            else:
                held["rule"] = owner.deny(direction, protocol="udp", priority=0 if owner == guard else 1)

        return flip

    def groups(through: bool) -> None:
        site.c.eni.set_security_groups([guard] if through else [shut])

    def association(through: bool) -> None:
        wall.disassociate(site.web) if through else wall.associate(site.web)

    def exchange(through: bool) -> None:
        (acl if through else wall).associate(site.db)

    return {
        "a rule": rule(guard, "ingress"),
        "the groups": groups,
        "an ACL's rule": rule(acl, "ingress"),
        "an ACL that comes and goes": association,
        "one ACL for another": exchange,
    }


def test_a_change_holds_before_its_call_returns(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    ways = flips(site)
    arrived, sport = [], itertools.count(1000)
    wanted = []
    with (
        wire.listening(site.c, UDP) as heard,
        closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender,
    ):
        for flip in ways.values():
            for number in range(50):
                through = number % 2 == 1
                flip(through)
                port = next(sport)
                sender.sendto(wire.packet(site.a.ip, site.c.ip, UDP, wire.udp(port, 53)), (site.c.ip, 0))
                wanted += [port] if through else []
            wire.drain()
            arrived += [int.from_bytes(packet[20:22], "big") for packet in heard()]

    assert arrived == wanted


def test_many_changes_leave_nothing_behind_in_the_kernel(build: Callable[..., Any]) -> None:
    site = build()
    ways = flips(site)

    def size() -> tuple[int, ...]:
        written = site.lab.fabric.vpcs[site.vpc.id].standing.written
        return len(written.groups), len(written.acls), len(written.verdicts)

    for flip in (ways["a rule"], ways["an ACL's rule"]):
        flip(False)
        flip(True)
        before = size()
        for _ in range(20):
            flip(False)
            flip(True)
        assert size() == before


# network ACLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_an_acl_is_stateless_and_judges_both_ways(build: Callable[..., Any], probe: Any, profile: str) -> None:
    site = build(profile)
    open_up(own_group(site, site.a), own_group(site, site.c))
    acl = site.vpc.create_network_acl("acl")
    for rule in acl.rules:  # Alibaba's begins with one each way that allows everything
        acl.remove(rule)
    acl.associate(site.db)

    assert site.a.ping(site.c, wait_s=0.2).received == 0
    acl.allow("ingress", protocol="icmp")
    assert site.a.ping(site.c, wait_s=0.2).received == 0, "the answer needs a rule of its own"
    acl.allow("egress", protocol="icmp")
    assert site.a.ping(site.c).received == 1
    acl.disassociate(site.db)
    assert probe(site).passes(site.a, site.c)


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_an_acl_does_not_see_what_stays_in_its_subnet(build: Callable[..., Any], probe: Any, profile: str) -> None:
    site = build(profile)
    ask, wall = probe(site), site.vpc.create_network_acl("wall")
    for direction in ("ingress", "egress"):
        wall.deny(direction, priority=1)
    wall.associate(site.web)

    assert ask.passes(site.a, site.b)
    assert ask.passes(site.b, site.a)
    assert not ask.passes(site.a, site.c)
    assert not ask.passes(site.c, site.a)


def test_the_acls_of_both_subnets_are_asked(build: Callable[..., Any], probe: Any) -> None:
    site = build()
    ask = probe(site)
    acls = {}
    for subnet in (site.web, site.db):
        acls[subnet.name] = acl = site.vpc.create_network_acl(f"of {subnet.name}")
        open_up(acl)
        acl.associate(subnet)
    assert ask.passes(site.a, site.c)

    for name, direction in (("web", "egress"), ("db", "ingress")):
        refusal = acls[name].deny(direction, protocol="udp", port=53, priority=1)
        assert ask.verdicts(site.a, site.c, dns=(UDP, 53), ntp=(UDP, 123)) == {"dns": False, "ntp": True}
        assert ask.passes(site.c, site.a), "the other way is another direction"
        acls[name].remove(refusal)


def test_one_acl_serves_two_subnets_and_comes_between_them(build: Callable[..., Any], probe: Any) -> None:
    site = build()
    ask, acl = probe(site), site.vpc.create_network_acl()
    open_up(acl)
    acl.associate(site.web)
    acl.associate(site.db)

    refusal = acl.deny("ingress", protocol="udp", priority=1)
    assert not ask.passes(site.a, site.c)
    assert ask.passes(site.a, site.b)
    acl.remove(refusal)
    assert ask.passes(site.a, site.c)


def test_a_quintuple_acl_judges_source_ports_and_both_addresses(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    acl = site.vpc.create_network_acl("five", type="quintuple")
    acl.allow("ingress", protocol="udp", port=53, source_port="5000-5001", cidr=site.a.ip, local_cidr=site.c.ip)
    acl.allow("egress", protocol="udp", source_port=53)
    acl.associate(site.db)
    d = site.db.run_instance("D")

    def passes(src: Any, dst: Any, sport: int, dport: int) -> bool:
        payload = wire.udp(sport, dport)
        with wire.listening(dst, UDP) as heard:
            wire.send(src, dst.ip, UDP, payload)
            return payload in [packet[wire.HEAD :] for packet in heard()]

    sent = [(site.a, site.c, 5000), (site.a, site.c, 5001), (site.a, site.c, 5002), (site.b, site.c, 5000)]
    assert [passes(*packet, 53) for packet in [*sent, (site.a, d, 5000)]] == [True, True, False, False, False]
    assert [passes(site.c, site.a, sport, 6000) for sport in (53, 54)] == [True, False]


def test_nobody_can_close_alibabas_own_services(build: Callable[..., Any], wire: Any) -> None:
    """Egress to the metadata service and DNS is let out by rules of the ACL that no tenant wrote."""
    site = build("alibaba")
    site.log(site.a.eni)
    acl = site.vpc.create_network_acl("wall")
    for rule in acl.rules:
        acl.remove(rule)
    acl.deny("egress", priority=1)
    acl.associate(site.web)
    for number, to in enumerate(("100.100.100.200", "100.100.2.136", "100.100.2.144", "100.100.100.201")):
        wire.send(site.a, to, UDP, wire.udp(1, 100 + number))

    found = {record["dstport"]: record for record in site.records() if record["protocol"] == UDP}
    assert {port: record["action"] for port, record in found.items()} == {
        100: "ACCEPT", 101: "ACCEPT", 102: "REJECT", 103: "REJECT",
    }  # fmt: skip
    assert site.lab.explain(found[103]).owner_name == "wall"


# the order of judgement ------------------------------------------------------------------------------

STAGES = ("group out", "acl out", "acl in", "group in")


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_who_refuses_first_is_named(build: Callable[..., Any], wire: Any, profile: str) -> None:
    """Every combination of refusals on the way from A to C; each packet has a port of its own."""
    site = build(profile)
    site.vpc.create_flow_log(topic=site.topic)
    wire.deafen(site.c)
    out, into = own_group(site, site.a, "group out"), own_group(site, site.c, "group in")
    acls = {name: site.vpc.create_network_acl(name) for name in ("acl out", "acl in")}
    open_up(out, into, *acls.values())
    acls["acl out"].associate(site.web)
    acls["acl in"].associate(site.db)
    refusers = {
        "group out": lambda: (out, out.deny("egress", protocol="udp", priority=1 if profile == "alibaba" else 0)),
        "acl out": lambda: (acls["acl out"], acls["acl out"].deny("egress", protocol="udp", priority=1)),
        "acl in": lambda: (acls["acl in"], acls["acl in"].deny("ingress", protocol="udp", priority=1)),
        "group in": lambda: (into, into.deny("ingress", protocol="udp", priority=1 if profile == "alibaba" else 0)),
    }
    expected = {}
    for number in range(16):
        refusing = [stage for bit, stage in enumerate(STAGES) if number & 1 << bit]
        rules = [refusers[stage]() for stage in refusing]
        wire.send(site.a, site.c.ip, UDP, wire.udp(1, 100 + number))
        for owner, rule in rules:
            owner.remove(rule)
        expected[100 + number] = refusing[0] if refusing else None

    at = {
        (record["dstport"], record.meta["direction"]): record for record in site.records() if record["protocol"] == UDP
    }

    for port, refuser in expected.items():
        last = at.get((port, "in")) or at[port, "out"]
        why = site.lab.explain(last)
        if refuser is None:
            assert (last["action"], why.stage, why.owner_name) == ("ACCEPT", "security group", "group in")
            continue
        assert (last["action"], why.owner_name, why.current) == ("REJECT", refuser, False)
        assert why.stage == ("network ACL" if refuser.startswith("acl") else "security group")
        assert last.meta["direction"] == refuser.split()[1]
        assert "has been removed since" in str(why)


# against the reference -------------------------------------------------------------------------------


def decision(judgement: Judgement | None) -> tuple[str, int] | None:
    if judgement is None:
        return None
    assert judgement.rule is not None
    return "ACCEPT" if judgement.action == "allow" else "REJECT", judgement.rule.number


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
@pytest.mark.parametrize("owner", ["group", "acl", "turns"])
def test_hundreds_of_rules_are_judged_as_the_reference_does(
    build: Callable[..., Any], wire: Any, profile: str, owner: str
) -> None:
    """Rules for what A sends, packets to the edges of their networks and ports; nobody needs to be there. ``turns``: of
    a group, and most name either ports or addresses."""
    site = build(profile, quotas={"group_rules": 1000, "acl_rules": 1000})
    site.a.eni.create_flow_log(topic=site.topic)
    dice = random.Random(f"{profile} {owner}")
    friends = site.vpc.create_security_group("friends")
    site.b.eni.set_security_groups([friends])
    open_up(friends)
    guard = site.vpc.create_security_group("guard")
    if owner == "acl":
        guard.allow("egress")
    written = site.vpc.create_network_acl("written") if owner == "acl" else guard
    for rule in written.rules if owner == "acl" else ():
        written.remove(rule)

    def write_rule() -> None:
        bits = dice.choice([0, 0, 1, 3, 8])
        network = IPv4Network(((10 << 24 | 32 << 16 | dice.randrange(1 << 12)) >> bits << bits, 32 - bits))
        peer = network if dice.random() < 0.95 else "0.0.0.0/0"
        if owner != "acl" and dice.random() < 0.05:
            peer = friends
        protocol = dice.choice(["tcp", "udp", "udp", None])
        port = None if protocol is None else dice.choice([None, dice.randrange(1, 60), "20-25,40-50"])
        if owner == "turns" and dice.random() < 0.95:
            peer, port = ("0.0.0.0/0", port) if port else (peer, None)
        priority = dice.randint(1, 9) if profile == "alibaba" and owner != "acl" else None
        if peer == "0.0.0.0/0" and port is None:
            peer = network
        add = dice.choice([written.allow, written.deny])
        with suppress(AlreadyExists):
            add("egress", protocol=protocol, port=port, cidr=peer, priority=priority)

    for _ in range(300):
        write_rule()
    site.a.eni.set_security_groups([guard])
    if owner == "acl":
        written.associate(site.web)
    for _ in range(3):  # and while it is in use
        write_rule()
    rules = written.rules
    networks = [rule.peer for rule in rules if isinstance(rule.peer, IPv4Network)]
    addresses = {int(end) + by for one in networks for end in (one[0], one[-1]) for by in (-1, 0, 1)}
    addresses = sorted(address for address in addresses if 10 << 24 <= address < 11 << 24)
    ports = sorted({port + by for rule in rules for ends in rule.ports or () for port in ends for by in (-1, 0, 1)})
    wanted, sports = {}, itertools.count(10_000)
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
        for number in range(600):
            to = site.b.ip if number % 20 == 0 else str(IPv4Address(dice.choice(addresses)))
            protocol = dice.choice([TCP, UDP, UDP, 132])
            sport, dport = next(sports), dice.choice([port for port in ports if port])
            packet = Packet(IPv4Address(site.a.ip), IPv4Address(to), protocol, sport, dport)
            data = wire.tcp(site.a.ip, to, sport, dport) if protocol == TCP else wire.udp(sport, dport)
            sender.sendto(wire.packet(site.a.ip, to, protocol, data), (to, 0))
            wanted[(protocol, site.a.ip, sport, to, dport)] = decision(judge(site.lab.cloud, packet).at_source)
        wire.drain()

    records = [record for record in site.records() if record["srcport"] in range(10_000, 11_000)]
    found = {wire.flow(record)[1:]: (record["action"], record.meta["rule"]) for record in records}
    assert {flow: found.get(flow) for flow in wanted} == wanted
    assert len({rule for _, rule in wanted.values()}) > (10 if owner == "turns" else 25)
