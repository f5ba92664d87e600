"""Rules: how they are written, in which order they are judged, how a number leads back to them."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cloud.model import PORTS_PROTOCOLS
from emulator.cloud.numbers import MOST
from emulator.cloud.rules import merge_ranges, parse_ports, parse_protocol
from emulator.errors import AlreadyExists, InvalidValue, NotFound, QuotaExceeded, Unsupported
from emulator.providers import PROFILES, profile

TENCENT = profile("tencent")


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("tcp", 6), ("UDP", 17), (" icmp ", 1), ("icmpv6", 58), ("gre", 47), ("all", None), (None, None),
        (0, 0), (255, 255), ("132", 132),
    ],
)  # fmt: skip
def test_protocols(written, number):
    assert parse_protocol(TENCENT, written) == number


@pytest.mark.parametrize("written", ["sctp", "", "256", 256, -1, True, 6.0, "\uff16"], ids=repr)
def test_protocols_refused(written):
    with pytest.raises(InvalidValue, match="a number from 0 to 255") as refused:
        parse_protocol(TENCENT, written)
    assert refused.value.reason == "rule.protocol"


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ("443", ((443, 443),)),
        (443, ((443, 443),)),
        ("4000-4001", ((4000, 4001),)),
        ("443,80", ((80, 80), (443, 443))),
        (" 80 , 443 ", ((80, 80), (443, 443))),
        ("1-65535", ((1, 65535),)),
        ("20-22,21-25,26", ((20, 26),)),
        ("all", None),
        ("ALL", None),
        (None, None),
    ],
    ids=repr,
)
def test_ports(written, ports):
    assert parse_ports(TENCENT, written, 6) == ports


@pytest.mark.parametrize(
    ("written", "protocol"),
    [
        ("0", 6), (0, 6), ("65536", 6), (65536, 17), ("443-80", 6), ("0-80", 6), ("80-65536", 6), ("80,", 6), ("", 6),
        ("http", 6), ("80/80", 6), (-1, 6), (True, 6), (80.0, 6), ("-80", 6), ("80-", 6), ("\uff18\uff10", 6),
        ("80", 1), ("80", 47), ("80", None), (80, 0),
    ],
    ids=repr,
)  # fmt: skip
def test_ports_refused(written, protocol):
    with pytest.raises(InvalidValue) as refused:
        parse_ports(TENCENT, written, protocol)
    assert refused.value.reason == "rule.port"


PORT = st.integers(1, 65535)
RANGES = st.lists(st.tuples(PORT, PORT).map(lambda pair: (min(pair), max(pair))), min_size=1, max_size=6)


@given(RANGES)
def test_law_ports_read_back_as_written(ranges):
    parsed = parse_ports(TENCENT, ",".join(f"{low}-{high}" for low, high in ranges), 6)
    assert parsed == merge_ranges(ranges)
    written = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parsed)
    assert parse_ports(TENCENT, written, 17) == parsed


@given(RANGES, PORT)
def test_law_merging_keeps_every_port_and_no_other(ranges, port):
    merged = merge_ranges(ranges)
    assert any(low <= port <= high for low, high in merged) == any(low <= port <= high for low, high in ranges)
    assert all(high + 1 < low for (_, high), (low, _) in pairwise(merged))


@pytest.mark.parametrize(
    ("name", "cidr", "error", "code"),
    [
        ("tencent", "10.0.0.1/24", InvalidValue, "InvalidParameterValue.Malformed"),
        ("tencent", "10.0.0.0/33", InvalidValue, "InvalidParameterValue.Malformed"),
        ("tencent", "everywhere", InvalidValue, "InvalidParameterValue.Malformed"),
        ("tencent", "2001:db8::1/32", InvalidValue, "InvalidParameterValue.Malformed"),
        ("tencent", "sg-nobody00", NotFound, "InvalidSecurityGroupID.NotFound"),
        ("alibaba", "10.0.0.1/24", InvalidValue, "InvalidSourceCidrIp.Malformed"),
    ],
)
def test_peers_refused(make, name, cidr, error, code):
    there = make(name)
    group = there.cloud.create_group(there.vpc.id)
    with pytest.raises(error) as refused:
        there.cloud.add_rule(group.id, "ingress", "allow", cidr=cidr)
    assert refused.value.code == code
    assert there.cloud.groups[group.id].rules == ()


def test_a_bare_address_is_one_address(tencent):
    rule = tencent.cloud.add_rule(tencent.vpc.default_group_id, "ingress", "deny", cidr="10.0.0.7")
    assert rule.peer == IPv4Network("10.0.0.7/32")


def test_a_group_as_peer(tencent):
    cloud = tencent.cloud
    group = cloud.create_group(tencent.vpc.id)
    foreign = cloud.create_vpc("10.0.0.0/16").default_group_id
    assert cloud.add_rule(group.id, "ingress", "allow", cidr=group.id).peer == group.id
    with pytest.raises(InvalidValue, match="of the same VPC"):
        cloud.add_rule(group.id, "ingress", "allow", cidr=foreign)
    with pytest.raises(Unsupported, match="knows no security groups"):
        cloud.add_rule(cloud.create_acl(tencent.vpc.id).id, "ingress", "allow", cidr=group.id)


@pytest.mark.parametrize(
    ("direction", "action", "reason"),
    [("in", "allow", "rule.direction"), ("ingress", "ACCEPT", "rule.action"), (None, "allow", "rule.direction")],
)
def test_words_refused(tencent, direction, action, reason):
    with pytest.raises(InvalidValue) as refused:
        tencent.cloud.add_rule(tencent.vpc.default_group_id, direction, action)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("name", "owner", "allowed", "refused"),
    [
        pytest.param("tencent", "group", [0, 1, 0], [-1, 4, True, "0", 0.0], id="tencent-group"),
        pytest.param("tencent", "acl", [1, 2, 1], [0, 5, -1], id="tencent-acl"),
        pytest.param("alibaba", "group", [1, 100, 50], [0, 101, -1, "1"], id="alibaba-group"),
        pytest.param("alibaba", "acl", [1, 2, 5 - 1], [0, 6], id="alibaba-acl"),
    ],
)
def test_priorities(make, name, owner, allowed, refused):
    there = make(name)
    create = there.cloud.create_group if owner == "group" else there.cloud.create_acl
    owner_id = create(there.vpc.id).id
    for number, priority in enumerate(allowed):
        there.cloud.add_rule(owner_id, "ingress", "allow", protocol=number, priority=priority)
    for priority in refused:
        with pytest.raises(InvalidValue) as error:
            there.cloud.add_rule(owner_id, "ingress", "allow", protocol=200, priority=priority)
        assert error.value.reason == "rule.priority"


def protocols(rules):
    return [rule.protocol for rule in rules]


def test_tencent_groups_are_lists(tencent):
    cloud = tencent.cloud
    group = cloud.create_group(tencent.vpc.id).id
    cloud.add_rule(group, "ingress", "allow", protocol=1)
    cloud.add_rule(group, "ingress", "allow", protocol=2)
    cloud.add_rule(group, "ingress", "deny", protocol=3, priority=0)
    cloud.add_rule(group, "ingress", "deny", protocol=4, priority=2)
    cloud.add_rule(group, "egress", "deny", protocol=5)
    rules = cloud.group_rules(tencent.vpc.id, (group,), "ingress")
    assert protocols(rules) == [3, 1, 4, 2, None]
    assert [rule.priority for rule in rules[:-1]] == [0, 1, 2, 3]
    other = cloud.create_group(tencent.vpc.id).id
    cloud.add_rule(other, "ingress", "allow", protocol=6)
    assert protocols(cloud.group_rules(tencent.vpc.id, (group, other), "ingress")) == [3, 1, 4, 2, 6, None]
    assert protocols(cloud.group_rules(tencent.vpc.id, (other, group), "ingress")) == [6, 3, 1, 4, 2, None]


METADATA_PASSES = "allow egress all to 100.100.100.200/32"
"""What Alibaba's groups let pass before any rule."""


def test_alibaba_groups_are_one_pool(alibaba):
    cloud = alibaba.cloud
    one, two = (cloud.create_group(alibaba.vpc.id).id for _ in range(2))
    cloud.add_rule(one, "ingress", "allow", protocol=1)
    cloud.add_rule(two, "ingress", "deny", protocol=2)
    cloud.add_rule(one, "ingress", "deny", protocol=3, priority=2)
    cloud.add_rule(two, "ingress", "allow", protocol=4, priority=2)
    cloud.add_rule(two, "ingress", "allow", protocol=5)
    rules = cloud.group_rules(alibaba.vpc.id, (one, two), "ingress")
    assert protocols(rules) == [2, 1, 5, 3, 4, None, None, None]
    assert [rule.peer for rule in rules[-3:]] == [one, two, None]
    assert [rule.action for rule in rules[-3:]] == ["allow", "allow", "deny"]
    assert [str(rule) for rule in cloud.group_rules(alibaba.vpc.id, (one,), "egress")] == [
        METADATA_PASSES,
        "allow egress all to anywhere",
    ]


def test_tencents_default_group_lets_everything_through(tencent):
    cloud, vpc = tencent.cloud, tencent.vpc
    for direction in ("ingress", "egress"):
        rules = cloud.group_rules(vpc.id, (vpc.default_group_id,), direction)
        assert [(rule.action, rule.default) for rule in rules] == [("allow", True), ("deny", True)]
        cloud.remove_rule(vpc.default_group_id, rules[0].id)
        assert [rule.action for rule in cloud.group_rules(vpc.id, (vpc.default_group_id,), direction)] == ["deny"]


def test_a_new_tencent_acl_denies(tencent):
    acl = tencent.cloud.create_acl(tencent.vpc.id)
    assert acl.rules == ()
    tencent.cloud.add_rule(acl.id, "ingress", "allow", protocol="icmp")
    tencent.cloud.add_rule(acl.id, "ingress", "deny", protocol="tcp", port=22, priority=1)
    assert [str(rule) for rule in tencent.cloud.acl_rules(acl.id, "ingress")] == [
        "deny ingress tcp port 22 from anywhere", "allow ingress icmp from anywhere", "deny ingress all from anywhere",
    ]  # fmt: skip


def test_a_new_alibaba_acl_allows_until_its_defaults_are_removed(alibaba):
    cloud = alibaba.cloud
    acl = cloud.create_acl(alibaba.vpc.id)
    cloud.add_rule(acl.id, "egress", "deny", protocol="icmp")
    cloud.add_rule(acl.id, "egress", "deny", protocol="gre")
    own, rules = cloud.acl_rules(acl.id, "egress")[:3], cloud.acl_rules(acl.id, "egress")[3:]
    assert [str(rule) for rule in own] == [
        "allow egress all to 100.100.2.128/28", "allow egress all to 100.100.2.112/28",
        "allow egress all to 100.100.100.200/32",
    ]  # fmt: skip
    assert protocols(rules) == [1, 47, None, None]
    assert [(rule.action, rule.priority) for rule in rules[:3]] == [("deny", 1), ("deny", 2), ("allow", 3)]
    cloud.remove_rule(acl.id, rules[2].id)
    assert [rule.action for rule in cloud.acl_rules(acl.id, "egress")] == ["allow"] * 3 + ["deny"] * 3
    for rule in (*own, rules[-1]):
        assert rule not in acl.rules
        with pytest.raises(NotFound):
            cloud.remove_rule(acl.id, rule.id)
        assert cloud.rule_origin(alibaba.vpc.id, rule.number).current
    first = cloud.add_rule(acl.id, "egress", "deny", priority=1)
    assert cloud.acl_rules(acl.id, "egress")[3] == first


@pytest.mark.parametrize(
    ("name", "owner", "accepted"),
    [
        ("tencent", "group", False),
        ("tencent", "triple", False),
        ("tencent", "quintuple", True),
        ("alibaba", "group", True),
        ("alibaba", "acl", False),
    ],
)
def test_source_ports_and_this_sides_addresses(make, name, owner, accepted):
    there = make(name)
    cloud, vpc = there.cloud, there.vpc
    if owner == "group":
        owner_id = cloud.create_group(vpc.id).id
    else:
        owner_id = cloud.create_acl(vpc.id, type=None if owner == "acl" else owner).id
    written = {"protocol": "tcp", "port": 443, "cidr": "10.9.0.0/16"}
    for further in ({"source_port": "1024-65535"}, {"local_cidr": "10.16.0.22"}):
        if not accepted:
            with pytest.raises(Unsupported) as refused:
                cloud.add_rule(owner_id, "ingress", "allow", **written, **further)
            assert refused.value.code == cloud.profile.codes["rule.quintuple"]
            continue
        rule = cloud.add_rule(owner_id, "ingress", "allow", **written, **further)
        assert (rule.source_ports, rule.local) == (
            (((1024, 65535),), None) if "source_port" in further else (None, IPv4Network("10.16.0.22/32"))
        )
    if accepted:
        rule = cloud.add_rule(owner_id, "egress", "deny", protocol="udp", source_port=53, local_cidr="10.16.0.0/24")
        assert str(rule) == "deny egress udp source port 53 to anywhere from 10.16.0.0/24"
        for wrong in ({"protocol": "icmp", "source_port": 1}, {"source_port": 1}, {"local_cidr": "10.16.0.1/24"}):
            with pytest.raises(InvalidValue):
                cloud.add_rule(owner_id, "ingress", "allow", **wrong)


@pytest.mark.parametrize(("name", "type"), [("alibaba", "quintuple"), ("tencent", "double"), ("tencent", "")])
def test_types_of_acls_refused(make, name, type):
    there = make(name)
    with pytest.raises(Unsupported) as refused:
        there.cloud.create_acl(there.vpc.id, type=type)
    assert refused.value.code == there.cloud.profile.codes["acl.type"]
    assert not there.cloud.acls


@pytest.mark.parametrize("name", PROFILES)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from(["ingress", "egress"]),
            st.sampled_from(["allow", "deny"]),
            st.sampled_from([None, 6, 17]),
            st.none() | st.integers(0, 6),
        ),
        max_size=12,
    )
)
def test_law_every_list_ends_in_a_rule_for_everything(make, name, plan):
    there = make(name)
    cloud, vpc = there.cloud, there.vpc
    owners = [cloud.create_group(vpc.id).id, cloud.create_acl(vpc.id).id]
    for direction, action, protocol, priority in plan:
        for owner in owners:
            try:
                cloud.add_rule(owner, direction, action, protocol=protocol, priority=priority)
            except (InvalidValue, AlreadyExists):
                continue
    for direction in ("ingress", "egress"):
        for rules in (cloud.group_rules(vpc.id, owners[:1], direction), cloud.acl_rules(owners[1], direction)):
            last = rules[-1]
            assert (last.protocol, last.ports, last.peer, last.default) == (None, None, None, True)
            assert all(rule.direction == direction for rule in rules)
            assert len({rule.number for rule in rules}) == len(rules)
    group = cloud.group_rules(vpc.id, owners[:1], "ingress")
    tenants = [rule for rule in group if not rule.default]
    if cloud.profile.pooled_groups:
        keys = [(rule.priority, rule.action == "allow", rule.number) for rule in tenants]
        assert keys == sorted(keys)
    else:
        assert [rule.priority for rule in tenants] == list(range(len(tenants)))


def test_tencent_refuses_the_same_rule_twice_alibaba_ignores_it(tencent, alibaba):
    group = tencent.cloud.create_group(tencent.vpc.id).id
    tencent.cloud.add_rule(group, "ingress", "allow", protocol="tcp", port="80,443")
    with pytest.raises(AlreadyExists) as refused:
        tencent.cloud.add_rule(group, "ingress", "allow", protocol="tcp", port="443,80", priority=0)
    assert refused.value.code == "UnsupportedOperation.DuplicatePolicy"
    assert tencent.cloud.add_rule(tencent.vpc.default_group_id, "ingress", "allow").default is False

    group = alibaba.cloud.create_group(alibaba.vpc.id).id
    first = alibaba.cloud.add_rule(group, "ingress", "allow", protocol="tcp", port=80)
    assert alibaba.cloud.add_rule(group, "ingress", "allow", protocol="tcp", port=80) == first
    assert alibaba.cloud.add_rule(group, "ingress", "allow", protocol="tcp", port=80, priority=2) != first


@pytest.mark.parametrize(("name", "most"), [("tencent", 100), ("alibaba", 200)])
def test_rule_quota(make, name, most):
    there = make(name)
    group, acl = there.cloud.create_group(there.vpc.id).id, there.cloud.create_acl(there.vpc.id).id
    for owner, room, reason in ((group, most, "group.rule_quota"), (acl, 20, "acl.rule_quota")):
        for port in range(1, room + 1):
            there.cloud.add_rule(owner, "ingress", "allow", protocol="tcp", port=port)
        there.cloud.add_rule(owner, "egress", "allow")
        with pytest.raises(QuotaExceeded) as refused:
            there.cloud.add_rule(owner, "ingress", "allow", protocol="udp")
        assert refused.value.code == there.cloud.profile.codes[reason]


def test_a_number_leads_back_to_its_rule(tencent):
    cloud, vpc = tencent.cloud, tencent.vpc
    group = cloud.create_group(vpc.id, name="web")
    rule = cloud.add_rule(group.id, "ingress", "deny", protocol="icmp")
    origin = cloud.rule_origin(vpc.id, rule.number)
    assert (origin.rule, origin.stage, origin.owner_id, origin.owner_name, origin.current) == (
        rule, "security group", group.id, "web", True,
    )  # fmt: skip
    cloud.add_rule(group.id, "ingress", "allow", priority=0)
    assert cloud.rule_origin(vpc.id, rule.number).rule.priority == 1
    cloud.remove_rule(group.id, rule.id)
    gone = cloud.rule_origin(vpc.id, rule.number)
    assert (gone.current, gone.rule) == (False, rule)
    again = cloud.add_rule(group.id, "ingress", "deny", protocol="icmp")
    assert again.number > rule.number
    for number in (0, -1, again.number + 1, 70000):
        with pytest.raises(NotFound):
            cloud.rule_origin(vpc.id, number)


@pytest.mark.parametrize("name", PROFILES)
def test_every_rule_of_every_list_has_an_origin(make, name):
    there = make(name)
    cloud, vpc = there.cloud, there.vpc
    acl = cloud.create_acl(vpc.id, name="border")
    numbers = []
    for direction in ("ingress", "egress"):
        for rule in cloud.acl_rules(acl.id, direction):
            origin = cloud.rule_origin(vpc.id, rule.number)
            assert (origin.rule, origin.stage, origin.owner_name, origin.current) == (
                rule,
                "network ACL",
                "border",
                True,
            )
            numbers.append(rule.number)
        for rule in cloud.group_rules(vpc.id, there.eni.groups, direction):
            origin = cloud.rule_origin(vpc.id, rule.number)
            assert (origin.rule, origin.stage, origin.current) == (rule, "security group", True)
            numbers.append(rule.number)
    assert len(numbers) == len(set(numbers))
    cloud.delete_acl(acl.id)
    assert not cloud.rule_origin(vpc.id, numbers[0]).current


def test_rule_numbers_run_out(tencent):
    cloud, vpc = tencent.cloud, tencent.vpc
    group = cloud.create_group(vpc.id).id
    rule = cloud.add_rule(group, "ingress", "allow")
    cloud.remove_rule(group, rule.id)
    while cloud._numbers.left(vpc.id) > 3:
        cloud._numbers.give(vpc.id, lambda number: rule, "security group")
    numbers = [cloud.add_rule(group, "egress", "allow", protocol=protocol).number for protocol in range(3)]
    assert numbers == [MOST - 2, MOST - 1, MOST]
    before = dict(cloud.groups)
    with pytest.raises(QuotaExceeded) as refused:
        cloud.add_rule(group, "ingress", "allow")
    assert refused.value.reason == "rule.numbers"
    assert cloud.groups == before
    with pytest.raises(QuotaExceeded):
        cloud.create_acl(vpc.id)
    assert not cloud.acls


def test_associating(tencent):
    cloud = tencent.cloud
    first, second = cloud.create_acl(tencent.vpc.id), cloud.create_acl(tencent.vpc.id)
    foreign = cloud.create_acl(cloud.create_vpc("10.0.0.0/16").id)
    assert cloud.associate_acl(first.id, tencent.subnet.id).acl_id == first.id
    assert cloud.associate_acl(second.id, tencent.subnet.id).acl_id == second.id
    cloud.delete_acl(first.id)
    with pytest.raises(InvalidValue) as refused:
        cloud.associate_acl(foreign.id, tencent.subnet.id)
    assert refused.value.code == "UnsupportedOperation.VpcMismatch"
    assert cloud.disassociate_acl(tencent.subnet.id).acl_id is None
    with pytest.raises(InvalidValue):
        cloud.disassociate_acl(tencent.subnet.id)


def test_ports_protocols_are_the_ones_that_may_have_a_port():
    for protocol in range(256):
        if protocol in PORTS_PROTOCOLS:
            assert parse_ports(TENCENT, 53, protocol)
        else:
            with pytest.raises(InvalidValue):
                parse_ports(TENCENT, 53, protocol)


def said(cloud, vpc, group, direction):
    return [str(rule) for rule in cloud.group_rules(vpc.id, (group.id,), direction)]


def test_alibabas_types_of_groups(alibaba):
    cloud, vpc = alibaba.cloud, alibaba.vpc
    normal = cloud.create_group(vpc.id, type="normal")
    strict = cloud.create_group(vpc.id, inner_access="drop")
    enterprise = cloud.create_group(vpc.id, type="enterprise")
    deny = "deny ingress all from anywhere"
    assert said(cloud, vpc, normal, "ingress") == [f"allow ingress all from {normal.id}", deny]
    assert said(cloud, vpc, strict, "ingress") == said(cloud, vpc, enterprise, "ingress") == [deny]
    open_out = [METADATA_PASSES, "allow egress all to anywhere"]
    assert said(cloud, vpc, normal, "egress") == said(cloud, vpc, strict, "egress") == open_out
    assert said(cloud, vpc, enterprise, "egress")[:2] == [METADATA_PASSES, "deny egress all to anywhere"]
    assert (enterprise.type, enterprise.inner_access, strict.inner_access) == ("enterprise", "drop", "drop")
    cloud.set_inner_access(strict.id, "accept")
    rule = cloud.group_rules(vpc.id, (strict.id,), "ingress")[0]
    assert rule.peer == strict.id
    assert cloud.rule_origin(vpc.id, rule.number).current
    cloud.set_inner_access(strict.id, "drop")
    assert not cloud.rule_origin(vpc.id, rule.number).current
    with pytest.raises(Unsupported, match="name no groups"):
        cloud.add_rule(enterprise.id, "ingress", "allow", cidr=normal.id)
    cloud.add_rule(normal.id, "ingress", "allow", cidr=enterprise.id)
    with pytest.raises(InvalidValue) as refused:
        cloud.set_groups(alibaba.eni.id, [normal.id, enterprise.id])
    assert refused.value.reason == "group.mixed"
    assert cloud.set_groups(alibaba.eni.id, [enterprise.id]).groups == (enterprise.id,)


@pytest.mark.parametrize(
    ("name", "wanted", "error"),
    [
        ("tencent", {"type": "enterprise"}, Unsupported),
        ("tencent", {"inner_access": "accept"}, Unsupported),
        ("alibaba", {"type": "advanced"}, Unsupported),
        ("alibaba", {"inner_access": "Accept"}, InvalidValue),
        ("alibaba", {"type": "enterprise", "inner_access": "accept"}, Unsupported),
    ],
)
def test_types_of_groups_refused(make, name, wanted, error):
    there = make(name)
    before = dict(there.cloud.groups)
    with pytest.raises(error) as refused:
        there.cloud.create_group(there.vpc.id, **wanted)
    assert refused.value.code == there.cloud.profile.codes[refused.value.reason]
    assert there.cloud.groups == before


def test_rules_over_all_groups_of_an_eni_have_a_limit(alibaba):
    cloud, vpc = alibaba.cloud, alibaba.vpc
    cloud.quotas["eni_rules"] = 5
    one, two = (cloud.create_group(vpc.id).id for _ in range(2))
    for number in range(3):
        cloud.add_rule(one, "ingress", "allow", protocol=number)
        cloud.add_rule(two, "egress", "allow", protocol=number)
    with pytest.raises(QuotaExceeded) as refused:
        cloud.set_groups(alibaba.eni.id, [one, two])
    assert refused.value.reason == "group.eni_rules"
    cloud.remove_rule(two, cloud.groups[two].rules[0].id)
    cloud.set_groups(alibaba.eni.id, [one, two])
    before = cloud.groups[one]
    with pytest.raises(QuotaExceeded):
        cloud.add_rule(one, "ingress", "allow", protocol=9)
    assert cloud.groups[one] == before


def test_a_prefix_list_counts_as_many_rules_as_it_has_entries(alibaba):
    cloud = alibaba.cloud
    cloud.quotas["eni_rules"] = 5
    listed = cloud.create_template("prefix_list", ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"])
    group = cloud.create_group(alibaba.vpc.id).id
    cloud.set_groups(alibaba.eni.id, [group])
    cloud.add_rule(group, "ingress", "allow", cidr=listed.id)
    with pytest.raises(QuotaExceeded):
        cloud.add_rule(group, "ingress", "deny", cidr=listed.id)
    cloud.add_entries(listed.id, ["10.0.3.0/24", "10.0.4.0/24"])
    with pytest.raises(QuotaExceeded):
        cloud.add_entries(listed.id, ["10.0.5.0/24"])
    assert len(cloud.templates[listed.id].entries) == 5
