"""Rule coverage: what the kernel counts for each rule, and what is made of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import InvalidValue, Lab
from emulator.cloud.model import Rule
from emulator.fabric import marks, ruleset, ruleset6
from emulator.fabric.tally import Decided, by_rule
from emulator.pytest_plugin import START_S, need_kernel
from emulator.suites.coverage import Coverage, Hits, RuleMade, status
from emulator.watching import WATCHERS

ALLOWS = RuleMade("test_a.py:3", "security group", "web", "allow ingress tcp from anywhere", True, False)
HERE = Path(__file__)


@pytest.mark.parametrize(
    ("stage", "allows", "hits", "word"),
    [
        ("security group", True, Hits(0, 0, 3), "never"),
        ("security group", True, Hits(1, 0, 1), "one way"),
        ("security group", True, Hits(0, 1, 1), "one way"),
        ("security group", True, Hits(1, 1, 1), "both ways"),
        ("security group", False, Hits(1, 0, 1), "decided"),
        ("network ACL", True, Hits(1, 0, 1), "decided"),
        ("network ACL", False, Hits(0, 0, 1), "never"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_what_is_said_of_a_rule(stage: str, allows: bool, hits: Hits, word: str) -> None:
    assert status(RuleMade("test_a.py:3", stage, "web", "a rule", allows, False), hits) == word


made = st.builds(
    RuleMade,
    st.sampled_from(["a.py:1", "a.py:2", "b.py:1"]),
    st.sampled_from(["security group", "network ACL"]),
    st.just("web"),
    st.sampled_from(["one", "two"]),
    st.booleans(),
    st.booleans(),
)
hits = st.builds(Hits, st.integers(0, 9), st.integers(0, 9), st.integers(1, 3))


@given(st.lists(st.lists(st.tuples(made, hits), max_size=5), max_size=4), st.randoms())
def test_workers_are_added_up(processes: list[list[tuple[RuleMade, Hits]]], random) -> None:  # type: ignore[no-untyped-def]
    """However rules are spread over processes, and whichever of these ends first."""
    alone = Coverage("/")
    for one, count in (item for process in processes for item in process):
        alone.rules[one] = alone.rules.get(one, Hits()) + count
    together = Coverage("/")
    told = []
    for process in processes:
        worker = Coverage("/")
        for one, count in process:
            worker.rules[one] = worker.rules.get(one, Hits()) + count
        told.append(json.loads(json.dumps(worker.to_json())))
    random.shuffle(told)
    for one in told:
        together.merge(one)
    assert together.to_json() == alone.to_json()
    assert sum(together.to_json()["counts"].values()) == sum(not one.default for one in together.rules)


def test_marks_are_told_by_direction() -> None:
    """A reply carries the rule of its connection, and goes the other way; numbers that no rule has are nobody's."""
    rules = {1: Rule(1, "", "ingress", "allow"), 2: Rule(2, "", "egress", "deny")}
    counts = {1 | marks.IN: 5, 1: 4, 2 | marks.REJECT: 3, 0: 7, marks.IN: 8, 9: 1}
    assert by_rule(counts, rules) == {1: Decided(5, 4), 2: Decided(3, 0)}


@pytest.mark.parametrize("base", [ruleset.base, ruleset6.base], ids=["IPv4", "IPv6"])
def test_a_tally_costs_nobody_else(base) -> None:  # type: ignore[no-untyped-def]
    assert "decided" not in base(2)
    assert base(2, tally=True).count("update @decided") == 2


# in the kernel ---------------------------------------------------------------------------------------


@pytest.fixture
def coverage() -> Iterator[Coverage]:
    need_kernel()
    coverage = Coverage(HERE.parent)
    WATCHERS.append(coverage)
    yield coverage
    WATCHERS.remove(coverage)


@pytest.mark.kernel
def test_rules_of_every_kind(coverage: Coverage) -> None:
    """Both families and stages, of ENIs that no flow log covers; fragments; long lists, which are compiled."""
    with Lab(start=START_S) as lab:
        vpc = lab.create_vpc("10.16.0.0/16", ipv6_cidr="2001:db8:0:1600::/56")
        near, far = (vpc.create_subnet(f"10.16.{n}.0/24", ipv6_cidr=n) for n in (0, 1))
        out, web = vpc.create_security_group("out"), vpc.create_security_group("web")
        acl = vpc.create_network_acl("edge")
        acl.associate(far)
        for port in range(100, 108):
            acl.deny("egress", protocol="tcp", port=port)
        wanted = {
            web.allow("ingress", protocol="icmp"): ("both ways", 3, 3),
            web.allow("ingress", protocol="icmpv6"): ("both ways", 2, 2),
            web.deny("ingress", protocol="udp", port=53): ("decided", 1, 0),
            web.allow("ingress", protocol="udp", port=1000): ("one way", 2, 0),
            web.allow("ingress", protocol="tcp", port=443): ("never", 0, 0),
            out.allow("egress", protocol="all"): ("both ways", 8, 5),
            out.allow("ingress", protocol="udp", port=9): ("never", 0, 0),
            acl.allow("ingress", protocol="all"): ("decided", 8, 0),
            acl.deny("egress", protocol="icmp", cidr="10.16.0.99/32"): ("never", 0, 0),
            acl.allow("egress", protocol="icmp"): ("decided", 3, 0),
            acl.allow("egress", protocol="icmpv6"): ("decided", 2, 0),
        }
        a = near.run_instance("a", security_groups=[out], ipv6=True)
        b = far.run_instance("b", security_groups=[web], ipv6=True)
        a.ping(b, count=3)
        a.ping(b, count=2, ipv6=True)
        with a.socket(type=socket.SOCK_DGRAM) as sender, b.socket(type=socket.SOCK_DGRAM) as listener:
            listener.bind((b.ip, 1000))  # otherwise an ICMP error comes back over the connection
            sender.sendto(b"x", (b.ip, 53))
            for _ in range(2):
                sender.sendto(bytes(4_000), (b.ip, 1000))
    found = {row["rule"]: (row["status"], row["packets"], row["replies"]) for row in written(coverage)}
    lists = {f"deny egress tcp port {port} to anywhere": ("never", 0, 0) for port in range(100, 108)}
    assert found == {str(rule): counts for rule, counts in wanted.items()} | lists
    assert coverage.unread == 0


@pytest.mark.kernel
def test_rules_of_every_life(coverage: Coverage) -> None:
    """Where a rule was made; refused ones are none; VPCs that go before their lab, labs that nobody closes, and labs
    whose kernel is gone."""

    def open_lab() -> Lab:
        lab = Lab(start=START_S)
        lab.create_vpc("10.16.0.0/16", name="demo").create_security_group("web").allow("ingress", protocol="tcp")
        return lab

    with open_lab() as lab:
        group = lab.find("web")
        with pytest.raises(InvalidValue):
            group.allow("ingress", protocol="tcp", port=70_000)
        group.delete()
        lab.find("demo").delete()
    left = open_lab()
    coverage.finish()
    left.close()
    dead = open_lab()
    dead.fabric.keeper.drop([dead.fabric.vpcs[dead.find("demo").id].ns])
    dead.close()

    (row,) = written(coverage)
    line = next(
        number
        for number, text in enumerate(HERE.read_text().splitlines(), 1)
        if 'lab.create_vpc("10.16.0.0/16", name=' in text
    )
    assert (row["place"], row["owner"], row["labs"], row["status"]) == (f"{HERE.name}:{line}", "web", 3, "never")
    assert coverage.unread == 1


def written(coverage: Coverage) -> list[dict[str, Any]]:
    return [row for row in coverage.to_json()["rules"] if not row["default"]]
