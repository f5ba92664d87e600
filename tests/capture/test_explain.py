"""Why a record says what it says, from its hidden columns and the account's memory of rules. No kernel."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.cloud.account import Cloud
from emulator.cloud.model import Rule
from emulator.errors import NotFound
from emulator.explain import explain
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
