"""The ruleset as text: one small case to the letter, laws of its parts. What it means, kernel tests show."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cloud.account import Cloud
from emulator.cloud.model import Action, Rule
from emulator.fabric import chains, marks, ruleset, ruleset6
from emulator.fabric.clauses import Clause
from emulator.providers import profile

GROUP_CHAIN = """\
add chain inet vpc g1
flush chain inet vpc g1
add rule inet vpc g1 meta l4proto 6 ip saddr 10.16.0.0/24 th dport { 22, 8000-8010 } goto r3
add rule inet vpc g1 meta l4proto 1 goto r4
add rule inet vpc g1 ip saddr @m_sg_1 goto r5
add rule inet vpc g1 goto r6
"""
ACL_CHAIN = """\
add chain inet vpc l2
flush chain inet vpc l2
add rule inet vpc l2 ip daddr 10.16.0.0/24 return
add rule inet vpc l2 meta l4proto 17 ip daddr 10.16.1.7 th dport { 53 } return
add rule inet vpc l2 goto r8
"""
ACCEPT_IN = Rule(3, "sgr-3", "ingress", "allow", 6, ((22, 22), (8000, 8010)), IPv4Network("10.16.0.0/24"))
PING_IN = Rule(4, "sgr-4", "ingress", "allow", 1)
MEMBERS_IN = Rule(5, "sgr-5", "ingress", "allow", peer="sg-1")
DENY_IN = Rule(6, "", "ingress", "deny")
DNS_OUT = Rule(7, "acl-7", "egress", "allow", 17, ((53, 53),), IPv4Network("10.16.1.7/32"))
DENY_OUT = Rule(8, "", "egress", "deny")


def clauses(*rules: Rule) -> list[Clause]:
    return [clause for rule in rules for clause in chains.clauses(rule)]


def no_chain() -> str:
    raise AssertionError("a short list goes through no other chain")


def test_a_list_of_groups_as_a_chain() -> None:
    rules = clauses(ACCEPT_IN, PING_IN, MEMBERS_IN, DENY_IN)
    assert chains.group_chain("g1", "ingress", rules, {}, no_chain) == (GROUP_CHAIN, {})


def test_an_acl_as_a_chain_lets_its_own_subnet_pass() -> None:
    rules = clauses(DNS_OUT, DENY_OUT)
    assert chains.acl_chain("l2", IPv4Network("10.16.0.0/24"), "egress", rules, {}, no_chain) == (ACL_CHAIN, {})


LONG_CHAIN = """\
add chain inet vpc l1
add chain inet vpc d1
add chain inet vpc d2
flush chain inet vpc l1
add rule inet vpc d1 ip saddr 10.0.0.0/23 return
add rule inet vpc d1 ip saddr 10.0.2.0/23 goto r4
add rule inet vpc d1 goto r9
add rule inet vpc d2 th dport vmap { 22 : goto d1, 80 : return, 443-444 : goto r6 }
add rule inet vpc d2 goto r9
add rule inet vpc l1 ip saddr 10.16.0.0/24 return
add rule inet vpc l1 meta l4proto vmap { 1 : return, 6 : goto d2, 17 : goto r8 }
add rule inet vpc l1 goto r9
"""


def test_a_long_list_becomes_a_few_lookups() -> None:
    def rule(number: int, action: Action, protocol: int | None, ports: object = None, peer: str | None = None) -> Rule:
        network = None if peer is None else IPv4Network(peer)
        return Rule(number, "", "ingress", action, protocol, ports, network)  # type: ignore[arg-type]

    ssh, names = ((22, 22),), map("d{}".format, count(1))
    rules = clauses(
        rule(1, "allow", 1),
        rule(2, "allow", 6, ssh, "10.0.0.0/23"),
        rule(3, "deny", 6, ssh, "10.0.1.0/24"),
        rule(4, "deny", 6, ssh, "10.0.2.0/23"),
        rule(5, "allow", 6, ((80, 80),)),
        rule(6, "deny", 6, ((443, 444),)),
        rule(7, "allow", 6, ((80, 80), (444, 444)), "10.0.0.0/8"),
        rule(8, "deny", 17),
        rule(9, "deny", None),
    )
    subnet = IPv4Network("10.16.0.0/24")
    text, first = chains.acl_chain("l1", subnet, "ingress", rules, {}, lambda: next(names))
    assert (text, list(first.values())) == (LONG_CHAIN, ["d1", "d2"])
    # What says the same stays; a change of one port writes its chain anew and what leads there.
    rules[1:2] = clauses(rule(10, "deny", 6, ssh, "10.0.0.0/23"))
    text, changed = chains.acl_chain("l1", subnet, "ingress", rules, first, lambda: next(names))
    assert list(changed.values()) == ["d3", "d4"]
    text, again = chains.acl_chain("l1", subnet, "ingress", rules, changed, no_chain)
    assert again == changed
    assert "add chain inet vpc d" not in text


@pytest.mark.parametrize("text", [ruleset.base(2), ruleset6.base(2)], ids=["IPv4", "IPv6"])
def test_protocols_are_numbers(text: str) -> None:
    """Where there is no /etc/protocols, nftables knows no name that is not a word of its own."""
    named = re.findall(r"l4proto (?:!= )?(\{[^}]*\}|\S+)", text)

    assert named
    assert [one for one in named if re.search("[a-z]", one)] == []


def test_what_a_chain_says_apart_is_written_ahead() -> None:
    rules, names = clauses(ACCEPT_IN, PING_IN, DENY_IN), map("d{}".format, count(1))

    _, said = chains.group_chain("g1", "ingress", rules, {}, lambda: next(names), apart=True)
    text, _ = chains.group_chain("g1", "ingress", rules[1:], said, lambda: next(names), apart=True)

    assert list(said.values()) == ["d1"]
    fresh, change = ruleset.ahead(text)
    assert [line.split()[4] for line in fresh] == ["d2"] * 3
    assert change == "add chain inet vpc g1\nflush chain inet vpc g1\nadd rule inet vpc g1 goto d2\n"


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        pytest.param(ACCEPT_IN, "meta mark set 0x10003 ct mark set ct mark & 0xffff | 0x30000", id="accepted in"),
        pytest.param(DNS_OUT, "meta mark set 0x7 ct mark set ct mark & 0xffff0000 | 0x7", id="accepted out"),
        pytest.param(DENY_IN, "meta mark set 0x30006", id="denied in"),
        pytest.param(DENY_OUT, "meta mark set 0x20008", id="denied out"),
    ],
)
def test_a_verdict_is_written_into_the_mark(rule: Rule, statement: str) -> None:
    name = f"r{rule.number}"
    assert chains.verdict_chain(rule) == f"add chain inet vpc {name}\nadd rule inet vpc {name} {statement}\n"
    if rule.action == "deny":
        assert chains.denial_chain(rule) == chains.verdict_chain(rule)


@given(
    number=st.integers(1, 65_535),
    direction=st.sampled_from(["ingress", "egress"]),
    action=st.sampled_from(["allow", "deny"]),
)
def test_direction_verdict_and_number_never_meet_in_the_mark(number: int, direction: str, action: str) -> None:
    text = chains.verdict_chain(Rule(number, "", direction, action))  # type: ignore[arg-type]
    mark = int(re.search(r"meta mark set (0x[0-9a-f]+)", text)[1], 16)  # type: ignore[index]

    assert mark & marks.RULE == number
    assert bool(mark & marks.IN) == (direction == "ingress")
    assert bool(mark & marks.REJECT) == (action == "deny")
    assert mark < 0x4_0000


def test_no_elements_are_no_text() -> None:
    assert ruleset.add_elements("owned", []) == ruleset.delete_elements("owned", []) == ""
    assert ruleset.delete_elements("m_sg_1", ["10.0.0.1", "10.0.0.2"]) == (
        "delete element inet vpc m_sg_1 { 10.0.0.1, 10.0.0.2 }\n"
    )


def test_the_ttl_that_routing_takes_is_given_back_for_every_ttl_below_255() -> None:
    text = ruleset.base(2)

    given_back = dict(re.findall(r"(\d+) : jump t(\d+)", text))
    assert given_back == {str(ttl): str(ttl + 1) for ttl in range(1, 255)}
    assert re.findall(r"chain t(\d+) \{\n  ip ttl set (\d+)", text) == [(str(ttl), str(ttl)) for ttl in range(2, 256)]


def test_the_order_of_judgement() -> None:
    """Out: groups, then ACL. In: ACL, then groups. What was rejected is asked no more, counted, and then dropped."""
    text = ruleset.base(2)

    def body(chain: str) -> list[str]:
        return re.search(rf" chain {chain} {{\n(.*?)\n }}", text, re.DOTALL)[1].splitlines()  # type: ignore[index]

    rejected = "meta mark & 0x20000 == 0x20000"
    assert [line.split(" {")[0].strip() for line in body("judge_out")] == [
        "ct state vmap",
        f"{rejected} return",
        "iif vmap @acl_out",
    ]
    assert [line.split(" {")[0].strip() for line in body("judge_in")] == [
        "oif vmap @acl_in",
        f"{rejected} return",
        "ct state vmap",
    ]
    assert [line.strip() for line in body("prerouting")[-3:]] == [
        "jump judge_out",
        "iif vmap @acct_out",
        f"{rejected} drop",
    ]
    assert [line.strip() for line in body("forward")[-3:]] == ["jump judge_in", "oif vmap @acct_in", f"{rejected} drop"]


@pytest.mark.parametrize("name", ["tencent", "alibaba"])
def test_every_list_of_rules_ends_with_one_that_matches_all(name: str) -> None:
    cloud = Cloud(profile(name))
    vpc = cloud.create_vpc("10.16.0.0/16")
    group = cloud.create_group(vpc.id)
    acl = cloud.create_acl(vpc.id)
    cloud.add_rule(group.id, "ingress", "deny", protocol="tcp", port="1-65535", cidr="10.0.0.0/8")

    for direction in ("ingress", "egress"):
        for rules in (cloud.group_rules(vpc.id, [group.id], direction), cloud.acl_rules(acl.id, direction)):
            assert [chains.match(clause) for clause in chains.clauses(rules[-1])] == [""]


# long changes ------------------------------------------------------------------------------------------


def test_a_long_change_is_written_ahead_but_for_what_makes_it() -> None:
    text = (
        "add set inet vpc m_sg { type ipv4_addr; }\n"
        "add chain inet vpc r7\nadd rule inet vpc r7 meta mark set 0x7\n"
        "add element inet vpc m_sg { 10.0.0.1 }\n"
        "add chain inet vpc d2\nadd rule inet vpc d2 ip daddr vmap { 10.0.0.1 : goto r7 }\n"
        "add chain inet vpc g1\nflush chain inet vpc g1\nadd rule inet vpc g1 goto d2\n"
        "flush chain inet vpc d1\ndelete chain inet vpc d1\n"
    )
    fresh, change = ruleset.ahead(text)

    assert "".join(fresh) == (
        "add set inet vpc m_sg { type ipv4_addr; }\n"
        "add chain inet vpc r7\nadd rule inet vpc r7 meta mark set 0x7\n"
        "add chain inet vpc d2\nadd rule inet vpc d2 ip daddr vmap { 10.0.0.1 : goto r7 }\n"
    )
    assert change == (
        "add element inet vpc m_sg { 10.0.0.1 }\n"
        "add chain inet vpc g1\nflush chain inet vpc g1\nadd rule inet vpc g1 goto d2\n"
        "flush chain inet vpc d1\ndelete chain inet vpc d1\n"
    )
    assert ruleset.take_back(fresh) == (
        "flush chain inet vpc r7\nflush chain inet vpc d2\n"
        "delete chain inet vpc r7\ndelete chain inet vpc d2\n"
        "delete set inet vpc m_sg\n"
    )


def test_pieces_keep_the_order_and_the_bound() -> None:
    lines = [f"add chain inet vpc d{number}\n" for number in range(5000)]
    pieces = list(ruleset.pieces(lines))

    assert "".join(pieces) == "".join(lines)
    assert len(pieces) > 2
    assert all(0 < len(piece) <= ruleset.MOST for piece in pieces)
    assert list(ruleset.pieces([])) == []
    long = "x" * (ruleset.MOST + 1)
    assert list(ruleset.pieces(["a", long, "b"])) == ["a", long, "b"]
