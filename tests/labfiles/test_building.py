"""From a document to a cloud: what names mean, what rules become, and what is told where the cloud refuses."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from emulator.errors import LabFileError, QuotaExceeded
from emulator.labfiles.document import parse
from emulator.labfiles.opening import cloud_of
from emulator.providers import profile

SITE = """
[vpc.demo]
cidr = "10.16.0.0/16"
[subnet.web]
cidr = "10.16.0.0/24"
"""


def build(text, name="tencent", **options):
    return cloud_of(parse(text), profile(name), **options)


def refused(text, name="tencent"):
    with pytest.raises(LabFileError) as told:
        build(text, name)
    return told.value


def test_names_refer():
    cloud = build(
        SITE
        + """
        [template.offices]
        kind = "address_template"
        entries = ["192.0.2.1"]
        [security_group.web]
        rules = [
            { allow = "ingress", protocol = "tcp", port = "80,443", cidr = "offices" },
            { allow = "ingress", cidr = "db" },
            { deny = "egress", protocol = 89, cidr = "10.0.0.0/8" },
        ]
        [security_group.db]
        rules = [{ allow = "ingress", cidr = "web" }]
        [cvm.A]
        security_groups = ["web", "db"]
        secondary_ips = ["10.16.0.99"]
        [eni.more]
        cvm = "A"
        """
    )
    group, db = (next(one for one in cloud.groups.values() if one.name == name) for name in ("web", "db"))
    a = cloud.find("A")
    first, second, third = group.rules
    assert (first.peer, first.ports) == (cloud.find("offices").id, ((80, 80), (443, 443)))
    assert (second.peer, third.protocol) == (db.id, 89)
    assert db.rules[0].peer == group.id
    primary = next(eni for eni in cloud.enis.values() if eni.cvm_id == a.id and eni.primary)
    assert primary.groups == (group.id, db.id)
    assert ip_address("10.16.0.99") in primary.addresses
    assert cloud.find("more").device == 1


IN, OUT = ("ingress", "allow", True), ("egress", "allow", True)
DENY = ("ingress", "deny", False)


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        (None, [IN, OUT]),
        ("[]", []),
        ('[{ deny = "ingress" }, { allow = "ingress", default = true }]', [DENY, IN]),
        ('[{ allow = "ingress", default = true }, { deny = "ingress" }]', [IN, DENY]),
        ('[{ allow = "egress", default = true }, { deny = "ingress" }]', [DENY, OUT]),
    ],
    ids=["not said", "none", "deny first", "default first", "the other way"],
)
@pytest.mark.parametrize(
    ("name", "owner"),
    [("tencent", "[security_group.default]\ndefault = true\n"), ("alibaba", "[network_acl.acl]\n")],
    ids=["Tencent's default group", "Alibaba's network ACL"],
)
def test_rules_are_the_whole_list(name, owner, rules, wanted):
    """Of what a provider puts into a list by itself only what is listed stays, at its place."""
    cloud = build(SITE + owner + (f"rules = {rules}\n" if rules else ""), name)
    (holder,) = cloud.acls.values() if name == "alibaba" else cloud.groups.values()
    assert [(rule.direction, rule.action, rule.default) for rule in holder.rules] == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[subnet.web]\ncidr = '10.0.0.0/24'", ":1: subnet web: vpc is missing; and the file has no vpc"),
        (SITE + "[vpc.b]\ncidr = '10.0.0.0/16'", ":4: subnet web: vpc is missing; there are demo, b"),
        (SITE + "[cvm.A]\nsubnet = 'wbe'", ":7: cvm A: there is no subnet 'wbe'; did you mean web?"),
        (
            SITE + "[security_group.g]\nrules = [\n{ allow = 'ingress' },\n{ deny = 'egress', cidr = 'h' },\n]",
            ":9: security group g: rules, entry 2: there is no security group or template 'h'; there are g",
        ),
        (
            SITE + "[security_group.g]\nrules = [{ protocol = 'tcp' }]",
            ":7: security group g: rules, entry 1: write one of allow",
        ),
        (
            SITE + "[security_group.g]\nrules = [{ allow = 'ingress', priority = 3 }]",
            "rules are judged in the order in which they stand here; leave it out",
        ),
        (SITE + "[cvm.A]\nprivate_ip = '10.17.0.1'", ":7: cvm A: address for subnet web: 10.17.0.1 is not inside"),
        (SITE + "[cvm.A]\nprivate_ip = 'ten'", "(InvalidParameterValue.Malformed)"),
        (SITE + "[flow_log.f]\non = 'web'\n", ":6: flow log f: topic is missing; there are none yet"),
        (SITE + "[flow_log.f]\non = 'web'\ntopic = 'al'\n[topic.all]", ":8: flow log f: there is no topic 'al'"),
        (
            SITE + "[cvm.web]\n[topic.all]\n[flow_log.f]\non = 'web'",
            ":9: flow log f: 'web' is cvm.web and subnet.web; write one of these",
        ),
        (SITE + "[cvm.A]\nid = 'i-1'", ":7: cvm A: 'i-1' is none of tencent; write it like ins-00000000"),
        (
            SITE + "[cvm.A]\nid = 'ins-00000000'\n[cvm.B]\nid = 'ins-00000000'",
            ":9: cvm B: ins-00000000 is at cvm.A.id already",
        ),
        (
            SITE + "[security_group.a]\ndefault = true\n[security_group.b]\ndefault = true",
            ":9: security group b: it is the second default group of its VPC",
        ),
        ("region = 'ap-guangzou'", ":1: profile tencent has no region"),
        ("[quotas]\nvpc = 1", ":2: quotas vpc: tencent has no such quota; did you mean vpcs"),
        (
            SITE + "[route_table.r]\nroutes = [{ cidr = '10.9.0.0/16', to = 'c' }]\n[ccn.c]",
            ":7: route table r: routes, entry 1: route of r",
        ),
    ],
    ids=[
        *("no VPC", "which VPC", "no such subnet", "no such group", "neither", "priority", "outside", "no address"),
        *("no topic", "no such topic", "two kinds", "another's id", "id twice", "two defaults", "region", "quota"),
        "a CCN that it is not in",
    ],
)
def test_what_is_wrong(text, said):
    assert said in str(refused(text))


def test_several_at_once_and_none_that_follows():
    """What refers to an object that was refused is not told as well."""
    error = refused(SITE.replace("10.16.0.0/24", "10.17.0.0/24") + "[cvm.A]\n[cvm.B]\n[eip.e]\naddress = '8.8.8.8'\n")
    assert [problem.place for problem in error.problems] == [("subnet", "web", "cidr"), ("eip", "e", "address")]
    assert error.problems[0].refusal.code == "InvalidParameterValue.SubnetRange"


def test_thousands_of_cvms():
    """The quota is told once, with the line of the first that is too many."""
    error = refused(SITE.replace("/24", "/19") + "".join(f"[cvm.A{number}]\n" for number in range(3000)))
    (problem,) = error.problems
    assert problem.place == ("cvm", "A1000")
    assert isinstance(problem.refusal, QuotaExceeded)
    assert "may have 1000; delete one, or raise quotas['enis'] (" in str(error)


def test_groups_that_refer_to_each_other():
    cloud = build(
        SITE
        + '[security_group.a]\nrules = [{ allow = "ingress", cidr = "b" }]\n'
        + '[security_group.b]\nrules = [{ allow = "ingress", cidr = "a" }]\n'
    )
    a, b = (next(one for one in cloud.groups.values() if one.name == name) for name in "ab")
    assert (a.rules[0].peer, b.rules[0].peer) == (b.id, a.id)


def test_under_another_profile_ids_are_left_out():
    text = SITE + "[cvm.A]\nid = 'ins-00000000'\n"
    assert "ins-00000000" in build(text).cvms
    assert "ins-00000000" not in build(text, "alibaba", with_ids=False).cvms
