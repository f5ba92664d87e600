"""Bad input through a lab: the exception, the provider's own code, a message that helps, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from emulator.errors import (
    AlreadyExists,
    ClockError,
    InUse,
    InvalidValue,
    LabError,
    NotFound,
    QueryError,
    QuotaExceeded,
    RequestRefused,
    Unsupported,
)

pytestmark = pytest.mark.kernel

PROFILES = ("tencent", "alibaba")


@dataclass
class Place:
    """A site with more to do wrong: another VPC, a flow log, a group that refers to another, an ACL in use, a list of
    addresses in use, a group of lists (Tencent; at Alibaba the list itself)."""

    site: Any
    away: Any
    group: Any
    friends: Any
    acl: Any
    spare: Any
    log: Any
    listed: Any
    group_of_lists: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.site, name)


def furnish(site: Any) -> Place:
    away = site.lab.create_vpc("10.16.0.0/16", name="away")
    away.create_subnet("10.16.0.0/24", name="far")
    group, friends = site.vpc.create_security_group("group"), site.vpc.create_security_group("friends")
    group.allow("ingress", protocol="tcp", port=22, cidr=friends)
    acl = site.vpc.create_network_acl("acl")
    acl.associate(site.db)
    spare = site.web.create_eni("spare")
    if site.lab.profile.name == "tencent":
        listed = site.lab.create_address_template("listed", entries=["10.16.9.0/24"])
        group_of_lists = site.lab.create_address_group("lists", templates=[listed])
    else:
        listed = group_of_lists = site.lab.create_prefix_list("listed", entries=["10.16.9.0/24"])
    group.allow("ingress", protocol="tcp", port=23, cidr=listed)
    log = site.a.eni.create_flow_log("taken", topic=site.topic)
    return Place(site, away, group, friends, acl, spare, log, listed, group_of_lists)


@pytest.fixture(scope="module")
def places(open_module_lab: Callable[..., Any], furnished: Callable[[Any], Any]) -> dict[str, Place]:
    """One of each provider for all tests: a refused request leaves it as it was, which each test checks."""
    return {profile: furnish(furnished(open_module_lab(profile))) for profile in PROFILES}


def state(place: Place) -> tuple[Any, ...]:
    lab = place.lab
    cloud = lab.cloud
    tables = (
        cloud.vpcs,
        cloud.subnets,
        cloud.cvms,
        cloud.enis,
        cloud.groups,
        cloud.acls,
        cloud.flow_logs,
        cloud.templates,
    )
    fabric = lab.fabric
    kernel = [
        (name, sorted(vpc.attached), vpc.accounts.generations, vpc.standing.written.copy())
        for name, vpc in fabric.vpcs.items()
    ]
    namespaces = [tag for tag in fabric.keeper.spaces().values() if tag == fabric.tag]
    return [dict(table) for table in tables], kernel, len(namespaces), sorted(lab.net), lab.clock.now, lab.logs.topics()


def one_too_many(place: Place) -> None:
    place.lab.quotas["flow_logs"] = 1
    try:
        place.web.create_flow_log(topic=place.topic)
    finally:
        place.lab.quotas["flow_logs"] = 10


def one_rule_too_many(place: Place) -> None:
    quotas = place.lab.quotas
    most, quotas["group_rules"] = quotas["group_rules"], 2
    try:
        place.group.allow("ingress", protocol="gre")
    finally:
        quotas["group_rules"] = most


def what_the_other_has(place: Place) -> None:
    """A list of the kind that the other provider has."""
    if place.lab.profile.name == "tencent":
        place.lab.create_prefix_list(entries=["10.0.0.0/8"])
    else:
        place.lab.create_service_template(entries=["TCP:80"])


MALFORMED = ("InvalidParameterValue.Malformed", "InvalidCidrBlock.Malformed")
BAD_ADDRESS = "InvalidPrivateIpAddress.Malformed"
BAD_PORT = ("InvalidParameterValue.Malformed", "InvalidPortRange.Malformed")
BAD_PROTOCOL = ("InvalidParameterValue", "InvalidIpProtocol.ValueNotSupported")

# what is asked for, the exception, Tencent's and Alibaba's code, what the message says
CASES: dict[str, tuple[Callable[[Place], Any], type[RequestRefused], tuple[str, str], str]] = {
    # several CVMs
    "minus one CVMs": (
        lambda p: p.web.run_instances(-1),
        InvalidValue,
        ("InvalidParameterValue", "InvalidParameter"),
        "instances -1 in subnet web: give names in a list, or how many",
    ),
    "a name for CVMs": (
        lambda p: p.web.run_instances("web"),
        InvalidValue,
        ("InvalidParameterValue", "InvalidParameter"),
        "instances 'web' in subnet web: give names in a list, or how many",
    ),
    "2.5 CVMs": (
        lambda p: p.web.run_instances(2.5),
        InvalidValue,
        ("InvalidParameterValue", "InvalidParameter"),
        "instances 2.5 in subnet web: give names in a list, or how many",
    ),
    "CVMs of which one has no name": (
        lambda p: p.web.run_instances(["X", ""]),
        InvalidValue,
        ("InvalidParameterValue.TooLong", "InvalidName.Malformed"),
        "CVM",
    ),
    # CIDR blocks
    "VPC with host bits": (
        lambda p: p.lab.create_vpc("10.0.0.1/16"),
        InvalidValue,
        MALFORMED,
        "network is 10.0.0.0/16",
    ),
    "VPC mask 33": (lambda p: p.lab.create_vpc("10.0.0.0/33"), InvalidValue, MALFORMED, "10.0.0.0/33"),
    "VPC mask 29": (
        lambda p: p.lab.create_vpc("10.0.0.0/29"),
        InvalidValue,
        ("InvalidParameterValue.Range", "InvalidCidrBlock.Malformed"),
        "/29, choose one from",
    ),
    "VPC mask 7": (
        lambda p: p.lab.create_vpc("10.0.0.0/7"),
        InvalidValue,
        ("InvalidParameterValue.Range", "InvalidCidrBlock.Malformed"),
        "choose",
    ),
    "VPC of loopback": (
        lambda p: p.lab.create_vpc("127.0.0.0/16"),
        InvalidValue,
        ("InvalidParameterValue.Range", "InvalidCidrBlock.Malformed"),
        "choose a (private )?block",
    ),
    "VPC that is no CIDR": (lambda p: p.lab.create_vpc("here"), InvalidValue, MALFORMED, "write it like 10.0.0.0/16"),
    "VPC of nothing": (lambda p: p.lab.create_vpc(""), InvalidValue, MALFORMED, "write it like"),
    "VPC of None": (lambda p: p.lab.create_vpc(None), InvalidValue, MALFORMED, "write it like"),
    "VPC of IPv6": (
        lambda p: p.lab.create_vpc("fd00::/48"),
        InvalidValue,
        MALFORMED,
        "give IPv4 here",
    ),
    "VPC in no region": (
        lambda p: p.lab.create_vpc("10.0.0.0/16", region="mars-1"),
        Unsupported,
        ("UnsupportedRegion", "InvalidRegionId.NotFound"),
        "no region 'mars-1'",
    ),
    "subnet that overlaps": (
        lambda p: p.vpc.create_subnet("10.16.0.128/25"),
        AlreadyExists,
        ("InvalidParameterValue.SubnetConflict", "InvalidCidrBlock.Overlapped"),
        "overlaps 10.16.0.0/24 of subnet web",
    ),
    "subnet around another": (
        lambda p: p.vpc.create_subnet("10.16.0.0/20"),
        AlreadyExists,
        ("InvalidParameterValue.SubnetConflict", "InvalidCidrBlock.Overlapped"),
        "overlaps",
    ),
    "subnet outside": (
        lambda p: p.vpc.create_subnet("10.17.0.0/24"),
        InvalidValue,
        ("InvalidParameterValue.SubnetRange", "InvalidCidrBlock.NotInVpc"),
        "not inside 10.16.0.0/16, the block of VPC demo",
    ),
    "subnet with host bits": (lambda p: p.vpc.create_subnet("10.16.2.1/24"), InvalidValue, MALFORMED, "host bits"),
    "subnet mask 30": (
        lambda p: p.vpc.create_subnet(IPv4Network("10.16.2.0/30")),
        InvalidValue,
        ("InvalidParameterValue.Range", "InvalidCidrBlock.Malformed"),
        "mask of /30",
    ),
    # addresses
    "address outside": (
        lambda p: p.web.run_instance("X", private_ip="10.16.1.22"),
        InvalidValue,
        ("InvalidParameterValue.Range", BAD_ADDRESS),
        "10.16.1.22 is not inside 10.16.0.0/24",
    ),
    "the network's address": (
        lambda p: p.web.run_instance("X", private_ip="10.16.0.0"),
        InvalidValue,
        ("InvalidParameterValue.Reserved", BAD_ADDRESS),
        "reserved",
    ),
    "the broadcast address": (
        lambda p: p.web.create_eni(private_ip=IPv4Address("10.16.0.255")),
        InvalidValue,
        ("InvalidParameterValue.Reserved", BAD_ADDRESS),
        "reserved",
    ),
    "an address that is taken": (
        lambda p: p.web.run_instance("X", private_ip="10.16.0.22"),
        AlreadyExists,
        ("ResourceInUse.Address", "InvalidPrivateIpAddress.Duplicated"),
        "10.16.0.22 is taken.*leave it out",
    ),
    "no address": (
        lambda p: p.web.run_instance("X", private_ip="10.16.0"),
        InvalidValue,
        ("InvalidParameterValue.Malformed", BAD_ADDRESS),
        "write it like 10.0.0.5",
    ),
    # names
    "a CVM's name of nothing": (
        lambda p: p.web.run_instance(""),
        InvalidValue,
        ("InvalidParameterValue.TooLong", "InvalidName.Malformed"),
        "0 characters",
    ),
    "a VPC's name of 200": (
        lambda p: p.lab.create_vpc("10.0.0.0/16", name="x" * 200),
        InvalidValue,
        ("InvalidParameterValue.TooLong", "InvalidName.Malformed"),
        "200 characters",
    ),
    "a name with a line feed": (
        lambda p: p.web.run_instance("a\nb"),
        InvalidValue,
        ("InvalidParameterValue.Malformed", "InvalidName.Malformed"),
        "take out",
    ),
    "an unknown name": (
        lambda p: p.lab.find("spares"),
        NotFound,
        ("ResourceNotFound", "ResourceNotFound"),
        "did you mean spare",
    ),
    # rules
    "an unknown protocol": (
        lambda p: p.group.allow("ingress", protocol="tpc"),
        InvalidValue,
        BAD_PROTOCOL,
        "'tpc'.*tcp",
    ),
    "protocol 256": (lambda p: p.group.allow("ingress", protocol=256), InvalidValue, BAD_PROTOCOL, "0 to 255"),
    "protocol -1": (lambda p: p.acl.allow("ingress", protocol=-1), InvalidValue, BAD_PROTOCOL, "0 to 255"),
    "port 0": (lambda p: p.group.allow("ingress", protocol="tcp", port=0), InvalidValue, BAD_PORT, "from 1 to 65535"),
    "port 65536": (lambda p: p.acl.deny("egress", protocol="udp", port="65536"), InvalidValue, BAD_PORT, "65536 is no"),
    "port 443-80": (
        lambda p: p.group.allow("ingress", protocol="tcp", port="443-80"),
        InvalidValue,
        BAD_PORT,
        "runs backwards, write 80-443",
    ),
    "port abc": (
        lambda p: p.group.allow("ingress", protocol="tcp", port="abc"),
        InvalidValue,
        BAD_PORT,
        "write it like",
    ),
    "a port of ICMP": (
        lambda p: p.group.allow("ingress", protocol="icmp", port=8),
        InvalidValue,
        BAD_PORT,
        "protocol 1 has no ports",
    ),
    "a port of everything": (
        lambda p: p.acl.allow("ingress", port=22),
        InvalidValue,
        BAD_PORT,
        "say tcp or udp",
    ),
    "no direction": (
        lambda p: p.group.allow("in"),
        InvalidValue,
        ("InvalidParameterValue", "InvalidDirection.Malformed"),
        "'ingress' or 'egress'",
    ),
    "a rule's peer with host bits": (
        lambda p: p.group.allow("ingress", cidr="10.16.0.1/24"),
        InvalidValue,
        ("InvalidParameterValue.Malformed", "InvalidSourceCidrIp.Malformed"),
        "10.16.0.0/24",
    ),
    "ICMP from an IPv6 network": (
        lambda p: p.group.allow("ingress", protocol="icmp", cidr="2001:db8::/32"),
        InvalidValue,
        ("InvalidParameterValue", "InvalidIpProtocol.ValueNotSupported"),
        "icmp has no IPv6 addresses",
    ),
    "ICMPv6 from an IPv4 network": (
        lambda p: p.group.allow("ingress", protocol="icmpv6", cidr="10.16.0.0/24"),
        InvalidValue,
        ("InvalidParameterValue", "InvalidIpProtocol.ValueNotSupported"),
        "icmpv6 has no IPv4 addresses",
    ),
    "ICMPv6 from IPv4 in an ACL": (
        lambda p: p.acl.allow("ingress", protocol=58, cidr="0.0.0.0/0"),
        InvalidValue,
        ("InvalidParameterValue", "InvalidIpProtocol.ValueNotSupported"),
        "icmpv6 has no IPv4 addresses",
    ),
    "the rule behind the last": (
        one_rule_too_many,
        QuotaExceeded,
        ("LimitExceeded.SecurityGroupPolicySet", "AuthorizationLimitExceed"),
        "has 2 group rules and may have 2",
    ),
    "a list of the other provider": (
        what_the_other_has,
        Unsupported,
        ("UnsupportedOperation", "InvalidOperation.NotSupported"),
        "has no",
    ),
    "a list in an ACL's rule": (
        lambda p: p.acl.allow("ingress", cidr=p.listed),
        Unsupported,
        ("UnsupportedOperation", "OperationUnsupported.PrefixList"),
        "network ACL acl knows no lists",
    ),
    "an entry with host bits": (
        lambda p: p.listed.add("10.0.0.0/24", "10.16.0.1/24"),
        InvalidValue,
        ("InvalidParameterValue.Malformed", "InvalidCidr.Malformed"),
        "host bits",
    ),
    "an entry of IPv6 with host bits": (
        lambda p: p.listed.add("2001:db8::1/32"),
        InvalidValue,
        ("InvalidParameterValue.Malformed", "InvalidCidr.Malformed"),
        "host bits",
    ),
    "an entry twice": (
        lambda p: p.listed.add("10.0.0.0/24", "10.16.9.0/24"),
        AlreadyExists,
        ("InvalidParameterValue.Duplicate", "InvalidParameter.EntryDuplicate"),
        "is there already",
    ),
    "an entry that is not there": (
        lambda p: p.listed.remove("10.16.9.0/24", "10.9.0.0/16"),
        NotFound,
        ("InvalidParameterValue", "InvalidParameter.EntryNotExist"),
        "has no entry 10.9.0.0/16",
    ),
    "a group of lists in itself": (
        lambda p: p.group_of_lists.add(p.group_of_lists),
        InvalidValue,
        ("InvalidParameterValue", "InvalidCidr.Malformed"),
        "lists|entry",
    ),
    "a list that a rule names": (
        lambda p: p.listed.delete(),
        InUse,
        ("ResourceInUse", "DependencyViolation"),
        "a rule of security group group",
    ),
    "a group of another VPC in a rule": (
        lambda p: p.group.allow("ingress", cidr=p.away.default_security_group),
        InvalidValue,
        ("InvalidParameterValue", "InvalidSourceGroupId.Mismatch"),
        "same VPC",
    ),
    "a group in an ACL's rule": (
        lambda p: p.acl.allow("ingress", cidr=p.friends),
        Unsupported,
        ("InvalidParameterValue", "InvalidSourceGroupId.Mismatch"),
        "knows no security groups",
    ),
    "priority -1": (
        lambda p: p.group.allow("ingress", priority=-1),
        InvalidValue,
        ("InvalidParameterValue.Range", "InvalidPriority.Malformed"),
        "security group group: give",
    ),
    "priority 101": (
        lambda p: p.group.allow("egress", priority=101),
        InvalidValue,
        ("InvalidParameterValue.Range", "InvalidPriority.Malformed"),
        "priority 101",
    ),
    "priority 0 of an ACL": (
        lambda p: p.acl.allow("ingress", priority=0),
        InvalidValue,
        ("InvalidParameterValue.Range", "InvalidPriority.Malformed"),
        "network ACL acl: give 1",
    ),
    "a rule that is not there": (
        lambda p: p.group.remove("sgr-nothing"),
        NotFound,
        ("ResourceNotFound", "InvalidSecurityGroupRuleId.NotFound"),
        "group has no rule 'sgr-nothing'",
    ),
    # groups and ACLs
    "no group": (
        lambda p: p.a.eni.set_security_groups([]),
        InvalidValue,
        ("InvalidParameterValue.Empty", "MissingParameter.SecurityGroupId"),
        "at least one",
    ),
    "a group twice": (
        lambda p: p.a.eni.set_security_groups([p.group, p.group]),
        InvalidValue,
        ("InvalidParameterValue.DuplicatePara", "InvalidSecurityGroupId.Malformed"),
        "listed twice",
    ),
    "a CVM in a group of another VPC": (
        lambda p: p.web.run_instance("X", security_groups=[p.away.default_security_group]),
        InvalidValue,
        ("UnsupportedOperation.VpcMismatch", "InvalidSecurityGroupId.VPCMismatch"),
        "CVM X: security group default",
    ),
    "an ACL for a subnet of another VPC": (
        lambda p: p.acl.associate(p.lab.find("far")),
        InvalidValue,
        ("UnsupportedOperation.VpcMismatch", "OperationDenied.VpcMismatch"),
        "create an ACL in the subnet's VPC",
    ),
    "an ACL off a subnet that it is not on": (
        lambda p: p.acl.disassociate(p.web),
        InvalidValue,
        ("UnsupportedOperation.AttachmentNotFound", "IncorrectStatus.NetworkAcl"),
        "not associated",
    ),
    # what is in use
    "the default group": (
        lambda p: p.vpc.default_security_group.delete(),
        InUse,
        ("ResourceInUse", "DependencyViolation"),
        "goes with its VPC",
    ),
    "a group that a rule names": (
        lambda p: p.friends.delete(),
        InUse,
        ("ResourceInUse", "DependencyViolation"),
        "a rule of security group group",
    ),
    "an ACL that serves a subnet": (
        lambda p: p.acl.delete(),
        InUse,
        ("ResourceInUse", "DependencyViolation.NetworkAcl"),
        "disassociate it first",
    ),
    "a subnet with ENIs": (lambda p: p.web.delete(), InUse, ("ResourceInUse", "DependencyViolation"), "still has ENI"),
    "a VPC with subnets": (
        lambda p: p.vpc.delete(),
        InUse,
        ("ResourceInUse", "DependencyViolation"),
        "still has subnet",
    ),
    "an ENI that is attached": (
        lambda p: p.a.eni.delete(),
        InUse,
        ("UnsupportedOperation.InvalidState", "InvalidOperation.InvalidEniState"),
        "delete the CVM",
    ),
    # ENIs
    "the primary ENI": (
        lambda p: p.a.eni.detach(),
        InvalidValue,
        ("UnsupportedOperation.InvalidState", "InvalidOperation.DetachPrimaryEniNotAllowed"),
        "goes with the CVM",
    ),
    "an ENI that is detached": (
        lambda p: p.spare.detach(),
        InvalidValue,
        ("UnsupportedOperation.AttachmentNotFound", "InvalidOperation.InvalidEniState"),
        "attached to nothing",
    ),
    "an ENI that is somewhere else": (
        lambda p: p.a.eni.attach(p.b),
        InUse,
        ("UnsupportedOperation.AttachmentAlreadyExists", "InvalidOperation.InvalidEniState"),
        "detach it first",
    ),
    # flow logs
    "a flow log on nothing": (
        lambda p: p.lab._create_flow_log("eni-00000000", topic=p.topic, report=True),
        NotFound,
        ("ResourceNotFound", "ResourceNotFound.ResourceId"),
        "no such ENI, subnet or VPC",
    ),
    "a flow log on a CVM": (
        lambda p: p.lab._create_flow_log(p.a.id, topic=p.topic, report=True),
        InvalidValue,
        ("InvalidParameterValue", "IllegalParam.ResourceType"),
        "create it on an ENI of it",
    ),
    "a flow log on a foreign VPC's ENI": (
        lambda p: p.lab._create_flow_log(p.b.eni.id, topic=p.topic, report=True, vpc_id=p.away.id),
        InvalidValue,
        ("InvalidParameterValue", "IllegalParam.VpcId"),
        "not in vpc-",
    ),
    "traffic BANANA": (
        lambda p: p.b.eni.create_flow_log(topic=p.topic, traffic="BANANA"),
        InvalidValue,
        ("InvalidParameterValue", "IllegalParam.TrafficType"),
        "'BANANA': give ALL, ACCEPT, REJECT",
    ),
    "traffic None": (
        lambda p: p.b.eni.create_flow_log(topic=p.topic, traffic=None),
        InvalidValue,
        ("InvalidParameterValue", "IllegalParam.TrafficType"),
        "give ALL",
    ),
    "an interval of two minutes": (
        lambda p: p.b.eni.create_flow_log(topic=p.topic, interval_s=120),
        InvalidValue,
        ("InvalidParameterValue.Range", "IllegalParam.AggregationInterval"),
        "120",
    ),
    "no topic": (
        lambda p: p.b.eni.create_flow_log(topic=None),
        InvalidValue,
        ("InvalidParameterValue.Empty", "MissingParam.LogStoreName"),
        "give a topic",
    ),
    "a topic that is missing": (
        lambda p: p.b.eni.create_flow_log(topic="nowhere/nothing"),
        NotFound,
        ("ResourceNotFound.TopicNotExist", "LogStoreNotExist"),
        "nowhere/nothing",
    ),
    "a tag without a key": (
        lambda p: p.b.eni.create_flow_log(topic=p.topic, tags={"": "x"}),
        InvalidValue,
        ("InvalidParameterValue.TagInvalidKeyLen", "IllegalParam.TagKey"),
        "0 characters",
    ),
    "a description that is too long": (
        lambda p: p.b.eni.create_flow_log(topic=p.topic, description="x" * 513),
        InvalidValue,
        ("InvalidParameterValue.Range", "IllegalParam.Description"),
        "513 characters",
    ),
    "a name that is too long": (
        lambda p: p.b.eni.create_flow_log("x" * 129, topic=p.topic),
        InvalidValue,
        ("InvalidParameterValue.Range", "IllegalParam.FlowLogName"),
        "129 characters",
    ),
    "a name of nothing": (
        lambda p: p.b.eni.create_flow_log("", topic=p.topic),
        InvalidValue,
        ("InvalidParameterValue.Range", "IllegalParam.FlowLogName"),
        "0 characters",
    ),
    "the quota of flow logs": (
        lambda p: one_too_many(p),
        QuotaExceeded,
        ("LimitExceeded", "QuotaExceeded.FlowLog"),
        r"raise quotas\['flow_logs'\]",
    ),
    # guests and answers
    "minus one ping": (
        lambda p: p.a.ping(p.b, count=-1),
        InvalidValue,
        ("InvalidParameterValue", "InvalidParameterValue"),
        "a whole number from 1",
    ),
    "explaining what is no record": (
        lambda p: p.lab.explain({"srcaddr": "10.16.0.22"}),
        NotFound,
        ("ResourceNotFound", "ResourceNotFound.Record"),
        "give one that topic.search returned",
    ),
    "a query that does not parse": (
        lambda p: p.topic.search("dstaddr:("),
        QueryError,
        ("FailedOperation.SyntaxError", "InvalidQueryString"),
        ".",
    ),
    "from after to": (
        lambda p: p.topic.search(start=2, end=1),
        InvalidValue,
        ("InvalidParameter", "InvalidTimeRange"),
        "not before",
    ),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_by_the_providers_code_and_nothing_changes(
    places: dict[str, Place], profile: str, case: str
) -> None:
    attempt, kind, codes, said = CASES[case]
    place = places[profile]
    before = state(place)

    with pytest.raises(kind, match=said) as refused:
        attempt(place)

    assert type(refused.value) is kind
    assert refused.value.code == codes[PROFILES.index(profile)]
    assert refused.value.reason
    assert state(place) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("http://logs", "may not begin with http://"),
        ("https://logs", "may not begin with https://"),
        ("x", "1 characters, not 2 to 128"),
        ("1st", "begin with an English letter"),
        ("_log", "begin with"),
        ("a log", "letters, digits"),
        ("a.log", "letters, digits"),
        (7, "give a string"),
    ],
)
def test_alibabas_names_of_flow_logs(places: dict[str, Place], name: Any, said: str) -> None:
    place = places["alibaba"]
    before = state(place)

    with pytest.raises(InvalidValue, match=said) as refused:
        place.b.eni.create_flow_log(name, topic=place.topic)
    with pytest.raises(InvalidValue, match=said):
        place.log.modify(name=name)

    assert refused.value.code == "IllegalParam.FlowLogName"
    assert state(place) == before


@pytest.mark.parametrize(
    ("description", "said"), [("x", "1 characters"), ("http://x", "may not begin"), ("x" * 257, "257")]
)
def test_alibabas_descriptions(places: dict[str, Place], description: str, said: str) -> None:
    place = places["alibaba"]
    with pytest.raises(InvalidValue, match=said) as refused:
        place.b.eni.create_flow_log(topic=place.topic, description=description)
    assert refused.value.code == "IllegalParam.Description"


def test_tencent_refuses_what_is_there_once(places: dict[str, Place]) -> None:
    place = places["tencent"]
    before = state(place)
    cases: dict[str, tuple[Callable[[], Any], type[RequestRefused]]] = {
        "UnsupportedOperation.FlowLogInstanceExisted": (
            lambda: place.a.eni.create_flow_log("second", topic=place.topic),
            AlreadyExists,
        ),
        "InvalidParameterValue.Duplicate": (
            lambda: place.b.eni.create_flow_log("taken", topic=place.topic),
            AlreadyExists,
        ),
        "UnsupportedOperation.FlowLogsNotSupportNullInstanceEni": (
            lambda: place.spare.create_flow_log(topic=place.topic),
            Unsupported,
        ),
        "UnsupportedOperation.DuplicatePolicy": (
            lambda: place.group.allow("ingress", protocol="tcp", port="22", cidr=place.friends),
            AlreadyExists,
        ),
    }
    for code, (attempt, kind) in cases.items():
        with pytest.raises(kind) as refused:
            attempt()
        assert refused.value.code == code
    assert state(place) == before


@pytest.mark.parametrize("profile", PROFILES)
def test_groups_may_refer_to_themselves_and_to_each_other(build: Callable[..., Any], wire: Any, profile: str) -> None:
    """A group as peer means its members' addresses, so a circle of them ends nowhere."""
    site = build(profile)
    one, two = (site.vpc.create_security_group(name) for name in ("one", "two"))
    for group in (one, two):
        group.allow("egress")
    itself = one.allow("ingress", cidr=one)
    one.allow("ingress", cidr=two)
    there = two.allow("ingress", cidr=one)
    site.a.eni.set_security_groups([one])
    site.c.eni.set_security_groups([two])
    assert site.a.ping(site.c).received == 1
    assert site.c.ping(site.a).received == 1
    for group in (one, two):
        with pytest.raises(InUse):
            group.delete()
    for cvm in (site.a, site.c):
        cvm.eni.set_security_groups([site.vpc.default_security_group])
    with pytest.raises(InUse, match="a rule of security group two"):
        one.delete()
    two.remove(there)
    assert itself in one.rules
    one.delete()
    two.delete()


@pytest.mark.parametrize(
    "step",
    [{"minutes": -1}, {"seconds": float("nan")}, {"days": 365_250}, {"seconds": "900"}],
    ids=["backwards", "nan", "a thousand years", "text"],
)
@pytest.mark.parametrize("profile", PROFILES)
def test_time_that_cannot_pass(places: dict[str, Place], profile: str, step: dict[str, Any]) -> None:
    place = places[profile]
    before = state(place)
    with pytest.raises(ClockError, match="advance"):
        place.lab.clock.advance(**step)
    assert state(place) == before


@pytest.mark.parametrize("profile", PROFILES)
def test_the_lab_goes_on_after_all_of_it(places: dict[str, Place], profile: str) -> None:
    """Whatever order the tests run in: what was refused left a lab that works."""
    place = places[profile]
    with pytest.raises(LabError, match="already entered"):
        place.lab.__enter__()
    assert place.a.ping(place.b).received == 1
