"""Other rules tried on records: what would change, which rules decide, whose records are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from emulator.cloud.account import Cloud
from emulator.cloud.model import NetworkAcl, SecurityGroup
from emulator.errors import InvalidValue, NotFound
from emulator.logs.records import Record
from emulator.providers import profile
from emulator.replay import Replay, replay

CLIENT, SERVER = "10.0.1.10", "10.0.2.20"


@dataclass
class Past:
    """A server with one group and an ACL on its subnet, a client elsewhere, and records of the server's ENI."""

    cloud: Cloud
    group: str
    acl: str
    eni: str
    records: list[Record]

    def saw(self, direction: str, action: str, rule: int, port: int) -> Record:
        """A record of TCP between the client and a port of the server."""
        ends = [("addr", CLIENT, SERVER), ("port", 40_000, port)]
        fields: dict[str, Any] = {"protocol": 6, "action": action, "packets": 1}
        for name, client, server in ends:
            fields[f"src{name}"], fields[f"dst{name}"] = (client, server) if direction == "in" else (server, client)
        eni = self.cloud.enis[self.eni]
        record = Record(fields, meta={"eni_id": eni.id, "vpc_id": eni.vpc_id, "direction": direction, "rule": rule})
        self.records.append(record)
        return record

    def proposed(self, *ports: int, direction: str = "ingress") -> SecurityGroup:
        vpc_id = self.cloud.groups[self.group].vpc_id
        made = self.cloud.create_group(vpc_id)
        for port in ports:
            self.cloud.add_rule(made.id, direction, "allow", protocol="tcp", port=port)
        return self.cloud.groups[made.id]

    def judged(self, rules_of: SecurityGroup | NetworkAcl | None = None) -> Replay:
        now = self.cloud.groups[self.group]
        if isinstance(rules_of, NetworkAcl):
            return replay(self.cloud, self.records, rules_of, self.cloud.acls[self.acl])
        return replay(self.cloud, self.records, rules_of or now, now)


def past(name: str) -> tuple[Past, dict[str, int]]:
    cloud = Cloud(profile(name))
    vpc = cloud.create_vpc("10.0.0.0/16")
    near, far = (cloud.create_subnet(vpc.id, block) for block in ("10.0.1.0/24", "10.0.2.0/24"))
    group = cloud.create_group(vpc.id)
    numbers = {
        "443": cloud.add_rule(group.id, "ingress", "allow", protocol="tcp", port=443).number,
        "22": cloud.add_rule(group.id, "ingress", "allow", protocol="tcp", port=22).number,
        "21": cloud.add_rule(group.id, "ingress", "allow", protocol="tcp", port=21).number,
    }
    numbers["shut"] = cloud.group_rules(vpc.id, [group.id], "ingress")[-1].number
    cloud.create_cvm(near.id, private_ip=CLIENT)
    _, eni = cloud.create_cvm(far.id, private_ip=SERVER, groups=[group.id])
    acl = cloud.create_acl(vpc.id)
    for direction in ("ingress", "egress"):
        cloud.add_rule(acl.id, direction, "allow", priority=1)
    numbers["acl out"] = next(rule.number for rule in cloud.acls[acl.id].rules if rule.direction == "egress")
    cloud.associate_acl(acl.id, far.id)
    return Past(cloud, group.id, acl.id, eni.id, []), numbers


BOTH = pytest.mark.parametrize("name", ["tencent", "alibaba"])


@BOTH
def test_the_rules_that_held_change_nothing(name: str) -> None:
    site, rule = past(name)
    asked, told = site.saw("in", "ACCEPT", rule["443"], 443), site.saw("out", "ACCEPT", rule["443"], 443)
    shell = site.saw("in", "ACCEPT", rule["22"], 22)
    site.saw("in", "REJECT", rule["shut"], 3389)
    found = site.judged()
    assert found.changed == ()
    assert found.records == tuple(site.records)
    decided = {rule.number: records for rule, records in found.decided.items()}
    assert decided == {rule["443"]: (asked, told), rule["22"]: (shell,), rule["21"]: ()}
    assert [rule.number for rule in found.unused] == [rule["21"]]


@BOTH
def test_what_would_change(name: str) -> None:
    site, rule = past(name)
    site.saw("in", "ACCEPT", rule["443"], 443)
    site.saw("out", "ACCEPT", rule["443"], 443)
    shell, answer = site.saw("in", "ACCEPT", rule["22"], 22), site.saw("out", "ACCEPT", rule["22"], 22)
    desktop = site.saw("in", "REJECT", rule["shut"], 3389)
    found = site.judged(site.proposed(443, 3389))
    said = [(one.record, one.action, None if one.rule is None else one.rule.ports) for one in found.changed]
    assert said == [(shell, "REJECT", None), (answer, None, None), (desktop, "ACCEPT", ((3389, 3389),))]
    assert str(found.changed[1]).endswith(": would not be there")
    assert ": ACCEPT by allow ingress tcp port 3389" in str(found.changed[2])


@BOTH
def test_an_answer_that_an_acl_rejected_stays_an_answer(name: str) -> None:
    """Its record names the ACL's rule, so that it is one is known by the record of what it answers."""
    site, rule = past(name)
    site.saw("in", "ACCEPT", rule["443"], 443)
    answer = site.saw("out", "REJECT", rule["acl out"], 443)
    wide = site.cloud.create_acl(site.cloud.vpcs[site.cloud.enis[site.eni].vpc_id].id)
    for direction in ("ingress", "egress"):
        site.cloud.add_rule(wide.id, direction, "allow", priority=1)
    found = site.judged(site.cloud.acls[wide.id])
    assert [(one.record, one.action) for one in found.changed] == [(answer, "ACCEPT")]
    if name == "tencent":  # where a group lets nothing out that is no answer
        alone = Past(site.cloud, site.group, site.acl, site.eni, [answer])
        assert alone.judged(site.cloud.acls[wide.id]).changed == ()


def test_enis_for_which_the_rules_do_not_hold_are_left_out() -> None:
    site, rule = past("tencent")
    site.saw("in", "ACCEPT", rule["443"], 443)
    (elsewhere,) = (eni.id for eni in site.cloud.enis.values() if eni.id != site.eni)
    site.records[0].meta["eni_id"] = elsewhere
    assert site.judged(site.proposed()).records == ()
    site.records[0].meta["eni_id"] = "eni-gone"
    assert site.judged(site.proposed()).records == ()


@pytest.mark.kernel
def test_what_is_foretold_is_what_happens(open_lab: Callable[..., Any]) -> None:
    lab = open_lab("tencent")
    vpc = lab.create_vpc("10.0.0.0/16")
    subnet = vpc.create_subnet("10.0.1.0/24")
    wide, narrow = vpc.create_security_group("wide"), vpc.create_security_group("narrow")
    wide.allow("ingress")
    narrow.allow("ingress", protocol="tcp", port=443)
    client, server = subnet.run_instance("client"), subnet.run_instance("server", security_groups=[wide])
    topic = lab.logs.create_topic("server")
    server.eni.create_flow_log(topic=topic)

    def knock() -> list[tuple[Any, ...]]:
        began = int(lab.clock.now)
        client.tcp(server, 443, bytes=10)
        client.scan(server, [22], wait_s=0.1)
        client.ping(server, wait_s=0.1)
        lab.clock.advance(minutes=10)
        return [one for one in topic.search("log-status:OK", start=began) if one["dstaddr"] == server.ip]

    before = knock()
    foretold = {(one.record["protocol"], one.record["dstport"]): one.action for one in narrow.replay(
        before, instead_of=wide
    ).changed}  # fmt: skip
    assert narrow.replay(before).records == (), "it holds nowhere yet"
    server.eni.set_security_groups([narrow])
    after = {(one["protocol"], one["dstport"]): one["action"] for one in knock()}
    said = {(one["protocol"], one["dstport"]): one["action"] for one in before}
    assert after == {**said, **foretold} == {(6, 443): "ACCEPT", (6, 22): "REJECT", (1, 2048): "REJECT"}

    other = lab.create_vpc("10.1.0.0/16").create_security_group("other")
    with pytest.raises(InvalidValue, match=r"that is in VPC .*; give one of the same VPC"):
        narrow.replay(before, instead_of=other)
    with pytest.raises(NotFound, match="is no SecurityGroup"):
        narrow.replay(before, instead_of=vpc.create_network_acl("acl"))
    with pytest.raises(NotFound, match="this is no flow record of this lab"):
        narrow.replay([{"srcaddr": "10.0.0.1"}])
    idle = topic.search("log-status:NODATA")
    assert narrow.replay(idle).records == ()
