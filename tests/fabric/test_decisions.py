"""Decisions against the reference: the same rule for every packet, at every boundary of every rule."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.cloud.account import Cloud
from emulator.cloud.model import PORTS_PROTOCOLS, Direction, Rule
from emulator.cloud.rules import parse_ports
from emulator.cloud.verdict import Judge, Packet
from emulator.fabric import chains
from emulator.fabric.clauses import Clause
from emulator.fabric.decisions import GROWTH, Line, Part, Steps, Table, Tree, decide
from emulator.fabric.families import IPV4, IPV6, Family
from emulator.fabric.races import NONE, Heat, Race, race
from emulator.providers import profile

GROUPS = 3
HERE = {IPV4: IPv4Address("10.0.0.200"), IPV6: IPv6Address("2001:db8::200")}
SPORT = 40_000
"""This side's address and the source port of every packet."""


def members() -> tuple[Cloud, list[str]]:
    """An account with groups whose members overlap."""
    cloud = Cloud(profile("tencent"))
    vpc = cloud.create_vpc("10.0.0.0/16", ipv6_cidr="2001:db8::/56")
    subnet = cloud.create_subnet(vpc.id, "10.0.0.0/24", ipv6_cidr=True)
    groups = [cloud.create_group(vpc.id).id for _ in range(GROUPS)]
    for bound in (groups[:1], groups[:2], groups[1:], groups[2:]):
        cloud.create_cvm(subnet.id, groups=bound, ipv6=True)
    return cloud, groups


CLOUD, GROUP_IDS = members()
JUDGE = Judge(CLOUD)
MEMBERS = [address for eni in CLOUD.enis.values() for address in eni.addresses]

PORT = st.integers(1, 40) | st.sampled_from([1, 65_535])
PORTS = st.lists(st.tuples(PORT, PORT).map(sorted), min_size=1, max_size=3).map(
    lambda ranges: ",".join(f"{low}-{high}" for low, high in ranges)
)
NETWORK = st.builds(
    lambda low, bits: IPv4Network((low & ~((1 << bits) - 1), 32 - bits)),
    st.integers(0, 63).map(lambda low: 0x0A000000 + low) | st.sampled_from([0, 2**32 - 1]),
    st.sampled_from([0, 0, 1, 2, 3, 5, 8, 32]),
)
NETWORK6 = st.builds(
    lambda low, bits: IPv6Network((low & ~((1 << bits) - 1), 128 - bits)),
    st.integers(0, 63).map(lambda low: int(IPv6Address("2001:db8::")) + low) | st.sampled_from([0, 2**128 - 1]),
    st.sampled_from([0, 0, 1, 2, 3, 5, 64, 72, 128]),
)
LOCALS = [IPv4Network("10.0.0.200/32"), IPv4Network("10.0.1.0/24"), IPv6Network("2001:db8::/64"), IPv6Network("::/0")]


@st.composite
def rule_lists(draw: st.DrawFn, most: int = 30) -> list[Rule]:
    """As the cloud makes them: ports only where there are some, and a last rule that matches everything."""
    direction: Direction = draw(st.sampled_from(["ingress", "egress"]))
    rules = []
    for number in range(1, draw(st.integers(0, most)) + 1):
        protocol = draw(st.sampled_from([None, 6, 6, 6, 17, 1, 58, 132, 0, 255]))
        ports = draw(st.none() | PORTS) if protocol in PORTS_PROTOCOLS else None
        peer = draw(st.none() | NETWORK | NETWORK6 | st.sampled_from(GROUP_IDS))
        action = draw(st.sampled_from(["allow", "deny"]))
        parsed = parse_ports(CLOUD.profile, ports, protocol)
        rule = Rule(number, "", direction, action, protocol, parsed, peer)
        if draw(st.integers(0, 9)) == 0:
            sources = parse_ports(CLOUD.profile, draw(st.sampled_from([None, "40000", "1-39999,40001"])), 6)
            local = draw(st.none() | st.sampled_from(LOCALS))
            rule = replace(rule, source_ports=sources if protocol in PORTS_PROTOCOLS else None, local=local)
        rules.append(rule)
    return [*rules, Rule(len(rules) + 1, "", direction, "deny")]


def edges(rules: Sequence[Rule], family: Family) -> tuple[list[int], list[int]]:
    """Addresses and ports just inside and just outside of what any rule says."""
    members = [int(member) for member in MEMBERS if member.version == family.version]
    addresses, ports = {0, 2**family.bits - 1, *members, *(member + 1 for member in members)}, {0, 1, 65_535}
    for rule in rules:
        if rule.peer is not None and not isinstance(rule.peer, str) and rule.peer.version == family.version:
            low, high = int(rule.peer.network_address), int(rule.peer.broadcast_address)
            addresses |= {low - 1, low, high, high + 1}
        for low, high in rule.ports or ():
            ports |= {low - 1, low, high, high + 1}
    return (
        sorted(address for address in addresses if 0 <= address < 2**family.bits),
        sorted(port for port in ports if port < 65_536),
    )


def follow(parts: Sequence[Part], protocol: int, port: int, address: int, family: Family = IPV4) -> Rule | None:
    """The rule that the kernel finds on its way through these parts."""

    def is_member(group_id: str) -> bool:
        return family.address(address) in CLOUD.group_members(group_id)

    def tested(clause: Clause, *, decided: bool) -> bool:
        if not decided and clause.protocol not in (None, protocol):
            return False
        if not decided and clause.ports is not None and not any(low <= port <= high for low, high in clause.ports):
            return False
        if clause.source_ports is not None and not any(low <= SPORT <= high for low, high in clause.source_ports):
            return False
        if clause.local is not None and not clause.local[0] <= int(HERE[family]) <= clause.local[1]:
            return False
        if clause.members is not None:
            return is_member(clause.members)
        return clause.addresses is None or clause.addresses[0] <= address <= clause.addresses[1]

    def walk(steps: Steps) -> Rule | None:
        for step in steps.steps:
            if isinstance(step, Table):
                found = [rule for low, high, rule in step.entries if low <= address <= high]
                if found:
                    return found[0]
            elif tested(step, decided=True):
                return step.rule
        return None

    def run(part: Race, heat: Heat) -> Rule | None:
        mark = next((rank for low, high, rank in heat.table if low <= address <= high), heat.start)
        mark = min([mark, *(rank for rank, clause in heat.tests if tested(clause, decided=True))])
        for lane in [lane for low, high, lane in heat.ports if low <= port <= high]:
            mark = min([mark, *(rank for rank, clause in lane.tests if tested(clause, decided=True))])
            decisive = next((rank for low, high, rank in lane.table if low <= address <= high), lane.anyone)
            mark = mark if decisive is None else min(mark, decisive)
        return None if mark == NONE else part.rules[mark]

    for part in parts:
        if isinstance(part, Race):
            found = run(part, part.protocols.get(protocol, part.other))
        elif isinstance(part, Line):
            found = next((clause.rule for clause in part.clauses if tested(clause, decided=False)), None)
        elif protocol in part.protocols:
            branch = part.protocols[protocol]
            inside = [steps for low, high, steps in branch.ports if low <= port <= high]
            found = walk(inside[0] if inside else branch.other)
        else:
            found = walk(part.other)
        if found is not None:
            return found
    return None


def first_match(rules: Sequence[Rule], protocol: int, port: int, address: int, family: Family) -> Rule:
    there, here = family.address(address), HERE[family]
    ends = (there, here) if rules[0].direction == "ingress" else (here, there)
    packet = Packet(*ends, protocol, SPORT, port)
    return next(rule for rule in rules if JUDGE.matches(rule, packet))


def clauses(rules: Sequence[Rule], family: Family = IPV4) -> list[Clause]:
    return [clause for rule in rules for clause in chains.clauses(rule, family=family)]


def raced(clauses: Sequence[Clause]) -> list[Part]:
    """As a race, however short."""
    half = len(clauses) // 2
    return [race(clauses[:half], 10**6), race(clauses[half:], 10**6)]


@pytest.mark.parametrize("made", [decide, raced])
@settings(max_examples=60)
@given(rules=rule_lists(), dice=st.integers(0, 99).map(random.Random), family=st.sampled_from([IPV4, IPV6]))
def test_law_the_first_match_of_the_reference_decides(
    made: Any, rules: list[Rule], dice: random.Random, family: Family
) -> None:
    parts = made(clauses(rules, family))
    addresses, ports = edges(rules, family)
    for _ in range(200):
        address, port, protocol = map(dice.choice, (addresses, ports, [6, 6, 6, 17, 1, 58, 132, 0, 255, 50]))
        found = follow(parts, protocol, port, address, family)
        assert found is first_match(rules, protocol, port, address, family)


@settings(max_examples=40)
@given(rules=rule_lists(most=50))
def test_law_a_decision_has_a_bounded_size_and_no_overlaps(rules: list[Rule]) -> None:
    parts = decide(clauses(rules))
    distinct: dict[int, Steps] = {}
    for part in parts:
        if isinstance(part, Tree):
            distinct[id(part.other)] = part.other
            for branch in part.protocols.values():
                assert all(one[1] < other[0] for one, other in pairwise(branch.ports))
                distinct |= {id(steps): steps for _, _, steps in branch.ports} | {id(branch.other): branch.other}
    tables = [step for steps in distinct.values() for step in steps.steps if isinstance(step, Table)]
    assert all(one[1] < other[0] for table in tables for one, other in pairwise(table.entries))
    # An overlap cuts an interval in two at most once for each other interval of its table.
    assert sum(len(table.entries) for table in tables) <= 2 * GROWTH * len(rules)


@pytest.mark.parametrize(
    ("rules", "most"),
    [
        pytest.param([(6, port, None) for port in range(1, 1001)], 1, id="ports"),
        pytest.param([(17, 53, f"10.{n >> 8}.{n & 255}.0/24") for n in range(1000)], 1, id="addresses"),
        pytest.param([(6, n, f"10.{n >> 8}.{n & 255}.0/24") for n in range(1, 1001)], 1, id="pairs"),
        pytest.param([(n % 250, None, f"10.{n >> 8}.{n & 255}.0/24") for n in range(1000)], 1, id="protocols"),
        pytest.param(
            [(6, n, None) if n % 2 else (6, None, f"10.{n >> 8}.{n & 255}.0/24") for n in range(1, 1001)],
            40,
            id="ports among addresses",
        ),
    ],
)
def test_a_thousand_rules_are_few_lookups(rules: list[tuple[int, int | None, str | None]], most: int) -> None:
    made = [
        Rule(number, "", "ingress", "deny", protocol, port and ((port, port),), peer and IPv4Network(peer))  # type: ignore[arg-type]
        for number, (protocol, port, peer) in enumerate(rules, 1)
    ]
    parts = decide(clauses([*made, Rule(1001, "", "ingress", "allow")]))
    assert len(parts) <= most
    assert all(isinstance(part, Tree) for part in parts)
    (raced,) = decide(clauses([*made, Rule(1001, "", "ingress", "allow")]), races=True)
    assert isinstance(raced, Tree if most == 1 else Race)
