"""The account as a whole: finding, ids, snapshots, and refusals that change nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cloud.account import Cloud
from emulator.cloud.ids import Ids
from emulator.errors import InvalidValue, NotFound, RequestRefused
from emulator.providers import PROFILES, profile

TABLES = ("vpcs", "subnets", "cvms", "enis", "groups", "acls", "flow_logs")


def contents(cloud):
    return {table: dict(getattr(cloud, table)) for table in TABLES}


def test_find(tencent):
    cloud = tencent.cloud
    for thing in (tencent.vpc, tencent.subnet, tencent.cvm, tencent.eni):
        assert cloud.find(thing.id) == thing
        assert cloud.find(thing.name) == thing
    with pytest.raises(NotFound, match="did you mean web"):
        cloud.find("wen")
    other, _ = cloud.create_cvm(tencent.subnet.id, name="A")
    with pytest.raises(InvalidValue, match=f"{tencent.cvm.id}, {other.id}; use the id"):
        cloud.find("A")
    assert cloud.find(other.id) == other


def test_an_id_wins_over_a_name(tencent):
    tencent.cloud.create_cvm(tencent.subnet.id, name=tencent.vpc.id)
    assert tencent.cloud.find(tencent.vpc.id) == tencent.vpc


def test_nothing_to_find():
    with pytest.raises(NotFound, match="there are none yet"):
        Cloud(profile("tencent")).find("x")


@pytest.mark.parametrize(("name", "length"), [("tencent", 8), ("alibaba", 20)])
def test_ids_look_like_the_providers(make, name, length):
    there = make(name)
    words = {"tencent": ("vpc", "subnet", "ins", "eni"), "alibaba": ("vpc", "vsw", "i", "eni")}[name]
    for word, thing in zip(words, (there.vpc, there.subnet, there.cvm, there.eni), strict=True):
        assert re.fullmatch(rf"{word}-[0-9a-z]{{{length}}}", thing.id)
    assert re.fullmatch(r"(20:90:6f|00:16:3e)(:[0-9a-f]{2}){3}", there.eni.mac)


@given(seed=st.integers(), name=st.sampled_from(sorted(PROFILES)))
def test_law_ids_repeat_with_the_seed_and_never_within_it(seed, name):
    def build(seed):
        cloud = Cloud(profile(name), seed=seed)
        subnet = cloud.create_subnet(cloud.create_vpc("10.0.0.0/16").id, "10.0.0.0/24")
        return [cloud.create_eni(subnet.id) for _ in range(50)]

    enis = build(seed)
    assert enis == build(seed)
    for part in ([eni.id[:15] for eni in enis], [eni.mac for eni in enis]):
        assert len(set(part)) == len(part)
    assert not {eni.id for eni in enis} & {eni.id for eni in build(seed + 1)}


@pytest.mark.parametrize(("name", "size"), [("tencent", 36**2), ("alibaba", 36**3)])
def test_ids_repeat_only_after_all_of_them(name, size):
    length = {36**2: 2, 36**3: 3}[size]
    ids = Ids(replace(profile(name), id_length=length), seed=7)
    assert len({ids.new("eni") for _ in range(size)}) == size


def test_restore(tencent):
    cloud = tencent.cloud
    log = cloud.create_flow_log(tencent.eni.id, topic_id="t", now_s=0)
    before, held, saved = contents(cloud), cloud.enis, cloud.snapshot()
    group = cloud.create_group(tencent.vpc.id)
    rule = cloud.add_rule(group.id, "ingress", "allow")
    cloud.set_groups(tencent.eni.id, [group.id])
    cloud.delete_flow_log(log.id)
    late, _ = cloud.create_cvm(tencent.subnet.id)
    cloud.restore(saved)
    assert contents(cloud) == before
    assert cloud.enis is held
    assert not cloud.rule_origin(tencent.vpc.id, rule.number).current
    again, _ = cloud.create_cvm(tencent.subnet.id)
    assert again.id != late.id
    cloud.restore(saved)
    assert contents(cloud) == before


def number(most):
    return st.integers(0, most)


CALLS = st.one_of(
    st.tuples(st.just("create_vpc"), st.sampled_from(["10.0.0.0/16", "10.0.0.1/16", "10.0.0.0/30"])),
    st.tuples(st.just("create_subnet"), st.sampled_from(["10.0.1.0/28", "10.0.1.0/27", "10.0.2.0/28", "11.0.0.0/24"])),
    st.tuples(st.just("create_cvm"), st.none() | number(15)),
    st.tuples(st.just("create_eni"), st.none() | number(15)),
    st.tuples(st.just("attach_eni"), number(3)),
    st.tuples(st.just("detach_eni"), number(3)),
    st.tuples(st.just("delete_eni"), number(3)),
    st.tuples(st.just("delete_cvm"), number(3)),
    st.tuples(st.just("delete_subnet"), number(1)),
    st.tuples(st.just("delete_vpc"), number(1)),
    st.tuples(st.just("create_group"), st.just(None)),
    st.tuples(st.just("delete_group"), number(3)),
    st.tuples(st.just("create_acl"), st.just(None)),
    st.tuples(st.just("associate_acl"), number(1)),
    st.tuples(st.just("delete_acl"), number(1)),
    st.tuples(st.just("add_rule"), st.sampled_from([None, 0, 1, 2, 101])),
    st.tuples(st.just("set_groups"), number(3)),
    st.tuples(st.just("create_flow_log"), number(3)),
    st.tuples(st.just("delete_flow_log"), number(3)),
)


def pick(table, index):
    ids = list(table)
    return ids[index % len(ids)] if ids else "nothing"


def call(cloud, name, value):
    vpc, subnet = pick(cloud.vpcs, -1), pick(cloud.subnets, -1)
    address = f"10.0.1.{value}" if isinstance(value, int) else None
    calls = {
        "create_vpc": lambda: cloud.create_vpc(value),
        "create_subnet": lambda: cloud.create_subnet(vpc, value),
        "create_cvm": lambda: cloud.create_cvm(subnet, private_ip=address),
        "create_eni": lambda: cloud.create_eni(subnet, private_ip=address),
        "attach_eni": lambda: cloud.attach_eni(pick(cloud.enis, value), pick(cloud.cvms, value)),
        "detach_eni": lambda: cloud.detach_eni(pick(cloud.enis, value)),
        "delete_eni": lambda: cloud.delete_eni(pick(cloud.enis, value)),
        "delete_cvm": lambda: cloud.delete_cvm(pick(cloud.cvms, value)),
        "delete_subnet": lambda: cloud.delete_subnet(pick(cloud.subnets, value)),
        "delete_vpc": lambda: cloud.delete_vpc(pick(cloud.vpcs, value)),
        "create_group": lambda: cloud.create_group(vpc),
        "delete_group": lambda: cloud.delete_group(pick(cloud.groups, value)),
        "create_acl": lambda: cloud.create_acl(vpc),
        "associate_acl": lambda: cloud.associate_acl(pick(cloud.acls, value), subnet),
        "delete_acl": lambda: cloud.delete_acl(pick(cloud.acls, value)),
        "add_rule": lambda: cloud.add_rule(pick(cloud.groups, -1), "ingress", "deny", priority=value),
        "set_groups": lambda: cloud.set_groups(pick(cloud.enis, value), [pick(cloud.groups, value)]),
        "create_flow_log": lambda: cloud.create_flow_log(pick(cloud.enis, value), topic_id="t", now_s=0),
        "delete_flow_log": lambda: cloud.delete_flow_log(pick(cloud.flow_logs, value)),
    }
    calls[name]()


@given(name=st.sampled_from(sorted(PROFILES)), plan=st.lists(CALLS, max_size=30))
def test_law_what_is_refused_changes_nothing_and_nothing_dangles(name, plan):
    cloud = Cloud(profile(name))
    call(cloud, "create_vpc", "10.0.0.0/16")
    call(cloud, "create_subnet", "10.0.1.0/28")
    for operation, value in plan:
        before, implied = contents(cloud), dict(cloud._implied)
        try:
            call(cloud, operation, value)
        except RequestRefused as refused:
            assert refused.code
            assert refused.reason
            assert contents(cloud) == before
            assert cloud._implied == implied
    for eni in cloud.enis.values():
        assert eni.subnet_id in cloud.subnets
        assert eni.cvm_id is None or eni.cvm_id in cloud.cvms
        assert all(cloud.groups[group].vpc_id == eni.vpc_id for group in eni.groups)
        assert cloud.group_rules(eni.vpc_id, eni.groups, "ingress")
    for subnet in cloud.subnets.values():
        assert subnet.vpc_id in cloud.vpcs
        assert subnet.acl_id is None or subnet.acl_id in cloud.acls
    for cvm in cloud.cvms.values():
        assert sum(eni.cvm_id == cvm.id and eni.primary for eni in cloud.enis.values()) == 1
    for log in cloud.flow_logs.values():
        assert log.resource_id in cloud.enis
    assert set(cloud._implied) <= {*cloud.vpcs, *cloud.groups, *cloud.acls}
