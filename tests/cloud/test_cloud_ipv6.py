"""IPv6 of the cloud's state: blocks of VPCs and subnets, addresses of ENIs, rules about them, and what is refused."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from emulator.cloud.account import Cloud
from emulator.cloud.verdict import Packet, judge
from emulator.errors import AlreadyExists, InvalidValue, NotFound, QuotaExceeded
from emulator.providers import PROFILES, profile

POOL = {"tencent": "2402:4e00::", "alibaba": "2408:4000::"}


class Dual:
    """A VPC with IPv6, a subnet with its first /64, and a CVM A with both families."""

    def __init__(self, name: str) -> None:
        self.cloud = cloud = Cloud(profile(name))
        self.vpc = cloud.create_vpc("10.16.0.0/16", ipv6_cidr="2001:db8:0:aa00::/56")
        self.subnet = cloud.create_subnet(self.vpc.id, "10.16.0.0/24", ipv6_cidr=True)
        self.cvm, self.eni = cloud.create_cvm(self.subnet.id, name="A", ipv6=True)
        self.plain = cloud.create_subnet(self.vpc.id, "10.16.1.0/24")
        self.old = cloud.create_vpc("10.16.0.0/16")


@pytest.fixture
def dual() -> Dual:
    return Dual("tencent")


@pytest.mark.parametrize("name", POOL)
def test_blocks_and_addresses_come_in_order(name):
    cloud = Cloud(profile(name))
    first, second = (cloud.create_vpc("10.16.0.0/16", ipv6_cidr=True) for _ in range(2))
    base = IPv6Address(POOL[name])
    assert first.ipv6_cidr == IPv6Network((int(base), 56))
    assert second.ipv6_cidr == IPv6Network((int(base) + (1 << 72), 56))
    subnets = [cloud.create_subnet(second.id, f"10.16.{n}.0/24", ipv6_cidr=True) for n in range(2)]
    assert [subnet.ipv6_cidr for subnet in subnets] == list(second.ipv6_cidr.subnets(new_prefix=64))[:2]
    enis = [cloud.create_cvm(subnets[1].id, ipv6=True)[1] for _ in range(2)]
    enis.append(cloud.create_eni(subnets[1].id, ipv6=True))
    assert [eni.ipv6_addresses for eni in enis] == [(subnets[1].ipv6_cidr[number],) for number in (1, 2, 3)]


@pytest.mark.parametrize("name", PROFILES)
def test_without_asking_there_is_none(name):
    cloud = Cloud(profile(name))
    vpc = cloud.create_vpc("10.16.0.0/16")
    subnet = cloud.create_subnet(vpc.id, "10.16.0.0/24", ipv6_cidr=False)
    _, eni = cloud.create_cvm(subnet.id, ipv6=False)
    assert (vpc.ipv6_cidr, subnet.ipv6_cidr, eni.ipv6_addresses) == (None, None, ())


@pytest.mark.parametrize(
    ("wanted", "block"),
    [
        pytest.param(True, "2001:db8:0:aa01::/64", id="the first that is free"),
        pytest.param(255, "2001:db8:0:aaff::/64", id="number 255"),
        pytest.param("2001:DB8:0:AA07::/64", "2001:db8:0:aa07::/64", id="a block"),
        pytest.param(IPv6Network("2001:db8:0:aa08::/64"), "2001:db8:0:aa08::/64", id="an object"),
    ],
)
def test_a_subnets_block(dual, wanted, block):
    assert str(dual.cloud.assign_ipv6_cidr(dual.plain.id, wanted).ipv6_cidr) == block
    assert dual.cloud.subnets[dual.plain.id].ipv6_cidr == IPv6Network(block)


REFUSED = {
    "a VPC's /48": (lambda d: d.cloud.create_vpc("10.0.0.0/16", ipv6_cidr="2001:db8::/48"), "vpc.ipv6_range"),
    "a VPC's block that is link-local": (
        lambda d: d.cloud.create_vpc("10.0.0.0/16", ipv6_cidr="fe80::/56"),
        "vpc.ipv6_range",
    ),
    "a VPC's block of IPv4": (
        lambda d: d.cloud.create_vpc("10.0.0.0/16", ipv6_cidr="10.0.0.0/16"),
        "cidr.ipv6_malformed",
    ),
    "a VPC's block that is a number": (
        lambda d: d.cloud.create_vpc("10.0.0.0/16", ipv6_cidr=3),
        "cidr.ipv6_malformed",
    ),
    "a block with host bits": (
        lambda d: d.cloud.create_vpc("10.0.0.0/16", ipv6_cidr="2001:db8::1/56"),
        "cidr.ipv6_malformed",
    ),
    "a block of letters": (
        lambda d: d.cloud.create_vpc("10.0.0.0/16", ipv6_cidr="2001:db8::g/56"),
        "cidr.ipv6_malformed",
    ),
    "another VPC's block": (
        lambda d: d.cloud.create_vpc("10.0.0.0/16", ipv6_cidr="2001:db8:0:aa00::/56"),
        "vpc.ipv6_taken",
    ),
    "a second block of a VPC": (lambda d: d.cloud.assign_ipv6_cidr(d.vpc.id), "ipv6.present"),
    "a second block of a subnet": (lambda d: d.cloud.assign_ipv6_cidr(d.subnet.id), "ipv6.present"),
    "a subnet's /80": (
        lambda d: d.cloud.assign_ipv6_cidr(d.plain.id, "2001:db8:0:aa07::/80"),
        "subnet.ipv6_range",
    ),
    "a subnet's block outside": (
        lambda d: d.cloud.assign_ipv6_cidr(d.plain.id, "2001:db8:0:ab00::/64"),
        "subnet.ipv6_range",
    ),
    "a subnet's block number 256": (lambda d: d.cloud.assign_ipv6_cidr(d.plain.id, 256), "subnet.ipv6_range"),
    "another subnet's block": (lambda d: d.cloud.assign_ipv6_cidr(d.plain.id, 0), "subnet.overlap"),
    "a subnet's block in a VPC without": (
        lambda d: d.cloud.create_subnet(d.old.id, "10.16.0.0/24", ipv6_cidr=True),
        "vpc.ipv6_missing",
    ),
    "an address in a subnet without": (
        lambda d: d.cloud.create_cvm(d.plain.id, ipv6=True),
        "subnet.ipv6_missing",
    ),
    "an address outside": (lambda d: d.cloud.create_eni(d.subnet.id, ipv6="2001:db8::5"), "address.outside"),
    "the routers' address": (lambda d: d.cloud.create_eni(d.subnet.id, ipv6="2001:db8:0:aa00::"), "address.reserved"),
    "a taken address": (lambda d: d.cloud.create_eni(d.subnet.id, ipv6="2001:db8:0:aa00:0::1"), "address.taken"),
    "an address with a zone": (
        lambda d: d.cloud.create_eni(d.subnet.id, ipv6="2001:db8:0:aa00::7%eth0"),
        "address.malformed",
    ),
    "an address of IPv4": (lambda d: d.cloud.create_eni(d.subnet.id, ipv6="10.16.0.9"), "address.malformed"),
    "no more addresses": (lambda d: d.cloud.assign_ipv6_addresses(d.eni.id, 0), "address.count"),
    "no addresses": (lambda d: d.cloud.assign_ipv6_addresses(d.eni.id, []), "address.count"),
    "too many addresses": (lambda d: d.cloud.assign_ipv6_addresses(d.eni.id, 10), "eni.ipv6_quota"),
    "one address twice": (
        lambda d: d.cloud.assign_ipv6_addresses(d.eni.id, ["2001:db8:0:aa00::9"] * 2),
        "address.taken",
    ),
    "an address that it has not": (
        lambda d: d.cloud.unassign_ipv6_addresses(d.eni.id, ["2001:db8:0:aa00::9"]),
        "address.unassigned",
    ),
    "a private_ip of IPv6": (lambda d: d.cloud.create_eni(d.subnet.id, private_ip="2001:db8:0:aa00::9"), "cidr.ipv6"),
}


@pytest.mark.parametrize("name", POOL)
@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_and_nothing_changes(name, case):
    dual, (ask, reason) = Dual(name), REFUSED[case]
    before = dual.cloud.snapshot()
    with pytest.raises((InvalidValue, AlreadyExists, NotFound, QuotaExceeded)) as refused:
        ask(dual)
    assert (refused.value.reason, refused.value.code) == (reason, dual.cloud.profile.codes[reason])
    assert dual.cloud.snapshot() == before


def test_addresses_come_and_go(dual):
    cloud, block = dual.cloud, dual.subnet.ipv6_cidr
    more = cloud.assign_ipv6_addresses(dual.eni.id, 2)
    assert more.ipv6_addresses == (block[1], block[2], block[3])
    less = cloud.unassign_ipv6_addresses(dual.eni.id, "2001:0db8:0:aa00:0:0:0:2")
    assert less.ipv6_addresses == (block[1], block[3])
    assert cloud.assign_ipv6_addresses(dual.eni.id, [block[9], "2001:db8:0:aa00::2"]).ipv6_addresses[2:] == (
        block[9],
        block[2],
    )
    assert cloud.group_members(dual.vpc.default_group_id) == cloud.enis[dual.eni.id].addresses


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        pytest.param({"protocol": "icmp", "cidr": "::/0"}, "rule.family", id="ICMP and IPv6"),
        pytest.param({"protocol": "icmpv6", "cidr": "0.0.0.0/0"}, "rule.family", id="ICMPv6 and IPv4"),
        pytest.param({"cidr": "::/0", "local_cidr": "0.0.0.0/0"}, "rule.family", id="both families"),
        pytest.param({"protocol": "icmp", "local_cidr": "::/0"}, "rule.family", id="ICMP and IPv6 on this side"),
        pytest.param({"cidr": "2001:db8::1/64"}, "rule.peer", id="host bits"),
        pytest.param({"cidr": "::/129"}, "rule.peer", id="mask 129"),
    ],
)
def test_rules_refused(rule, reason):
    dual = Dual("alibaba")
    with pytest.raises(InvalidValue) as refused:
        dual.cloud.add_rule(dual.vpc.default_group_id, "ingress", "allow", **rule)
    assert refused.value.reason == reason


def test_a_prefix_list_is_of_one_family():
    cloud = Cloud(profile("alibaba"))
    listed = cloud.create_template("prefix_list", ["2001:db8::/32", "::1/128"])
    with pytest.raises(InvalidValue) as refused:
        cloud.add_entries(listed.id, ["10.0.0.0/8"])
    assert refused.value.code == "InvalidParameter.AddressFamily"
    assert cloud.templates[listed.id].entries == ("2001:db8::/32", "::1/128")


def test_an_address_template_may_be_of_both():
    cloud = Cloud(profile("tencent"))
    entries = ["10.0.0.0/8", "2001:DB8::/32", "2001:db8::1-2001:db8::9", "2001:db8::7"]
    template = cloud.create_template("address_template", entries)
    assert template.entries == ("10.0.0.0/8", "2001:db8::/32", "2001:db8::1-2001:db8::9", "2001:db8::7")
    for wrong in ("10.0.0.1-2001:db8::9", "2001:db8::9-2001:db8::1"):
        with pytest.raises(InvalidValue) as refused:
            cloud.add_entries(template.id, [wrong])
        assert refused.value.reason == "template.entry"


@pytest.mark.parametrize(
    ("rule", "delivered"),
    [
        pytest.param({}, True, id="anywhere"),
        pytest.param({"cidr": "::/0"}, True, id="all of IPv6"),
        pytest.param({"cidr": "0.0.0.0/0"}, False, id="all of IPv4"),
        pytest.param({"cidr": "2001:db8:0:aa00::1/128"}, True, id="the sender"),
        pytest.param({"cidr": "2001:db8:0:aa00::2/128"}, False, id="another"),
        pytest.param({"protocol": "icmpv6"}, True, id="ICMPv6"),
        pytest.param({"protocol": "icmp"}, False, id="ICMP"),
        pytest.param({"cidr": "the group"}, True, id="its group"),
        pytest.param({"cidr": "a list"}, True, id="a list of both families"),
    ],
)
def test_the_verdict_on_a_ping(dual, rule, delivered):
    cloud = dual.cloud
    group = cloud.create_group(dual.vpc.id)
    listed = cloud.create_template("address_template", ["10.0.0.0-10.255.255.255", "2001:db8::-2001:db9::"])
    names = {"the group": dual.vpc.default_group_id, "a list": listed.id}
    cidr = rule.get("cidr")
    cloud.add_rule(group.id, "ingress", "allow", **(rule | ({"cidr": names[cidr]} if cidr in names else {})))
    _, eni = cloud.create_cvm(dual.subnet.id, ipv6=True, groups=[group.id])
    packet = Packet(dual.eni.ipv6_addresses[0], eni.ipv6_addresses[0], 58)
    assert judge(cloud, packet).delivered is delivered
