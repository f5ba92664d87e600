"""VPCs, subnets, addresses: what fits, what is refused and with which code."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cloud.account import Cloud
from emulator.errors import AlreadyExists, InUse, InvalidValue, NotFound, QuotaExceeded, RequestRefused, Unsupported
from emulator.providers import PROFILES, profile

MALFORMED = "InvalidParameterValue.Malformed"
RANGE = "InvalidParameterValue.Range"
CONFLICT = "InvalidParameterValue.SubnetConflict"
BAD_BLOCK = "InvalidCidrBlock.Malformed"


def table(*rows):
    """Parameters whose first column is the row's id."""
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


@pytest.mark.parametrize("name", PROFILES)
def test_a_vpc_comes_with_its_default_group(name):
    cloud = Cloud(profile(name))
    vpc = cloud.create_vpc("10.16.0.0/16")
    assert vpc.region == profile(name).default_region
    assert vpc.name == vpc.id
    assert cloud.groups[vpc.default_group_id].default


@pytest.mark.parametrize(
    ("name", "cidr", "error", "reason", "code"),
    table(
        ("host-bits", "tencent", "10.16.0.0/11", InvalidValue, "cidr.host_bits", MALFORMED),
        ("too-big", "tencent", "10.0.0.0/11", InvalidValue, "vpc.prefix", RANGE),
        ("too-small", "tencent", "10.0.0.0/29", InvalidValue, "vpc.prefix", RANGE),
        ("wider-than-allowed", "tencent", "192.168.0.0/15", InvalidValue, "vpc.range", RANGE),
        ("public", "tencent", "8.8.0.0/16", InvalidValue, "vpc.range", RANGE),
        ("ipv6", "tencent", "fd00::/48", InvalidValue, "cidr.ipv6", MALFORMED),
        ("mask-33", "tencent", "10.0.0.0/33", InvalidValue, "cidr.malformed", MALFORMED),
        ("three-numbers", "tencent", "10.0.0/16", InvalidValue, "cidr.malformed", MALFORMED),
        ("netmask", "tencent", "10.0.0.0/255.255.0.0", InvalidValue, "cidr.malformed", MALFORMED),
        ("no-mask", "tencent", "10.0.0.0", InvalidValue, "vpc.prefix", RANGE),
        ("empty", "tencent", "", InvalidValue, "cidr.malformed", MALFORMED),
        ("int", "tencent", 167772160, InvalidValue, "cidr.malformed", MALFORMED),
        ("none", "tencent", None, InvalidValue, "cidr.malformed", MALFORMED),
        ("alibaba-host-bits", "alibaba", "11.0.0.0/7", InvalidValue, "cidr.host_bits", BAD_BLOCK),
        ("alibaba-carrier-nat", "alibaba", "100.64.0.0/16", InvalidValue, "vpc.range", BAD_BLOCK),
        ("alibaba-loopback", "alibaba", "127.0.0.0/16", InvalidValue, "vpc.range", BAD_BLOCK),
        ("alibaba-too-small", "alibaba", "10.0.0.0/29", InvalidValue, "vpc.prefix", BAD_BLOCK),
    ),
)  # fmt: skip
def test_vpc_blocks_refused(name, cidr, error, reason, code):
    cloud = Cloud(profile(name))
    with pytest.raises(error) as refused:
        cloud.create_vpc(cidr)
    assert (refused.value.reason, refused.value.code) == (reason, code)
    assert not cloud.vpcs
    assert not cloud.groups


@pytest.mark.parametrize(
    ("name", "cidr"),
    [
        ("tencent", "10.16.0.0/16"),
        ("tencent", "10.0.0.0/12"),
        ("tencent", "172.16.0.0/12"),
        ("tencent", "192.168.0.0/28"),
        ("tencent", IPv4Network("10.1.0.0/16")),
        ("alibaba", "10.0.0.0/8"),
        ("alibaba", "47.0.0.0/16"),
    ],
    ids=str,
)
def test_vpc_blocks_accepted(name, cidr):
    assert Cloud(profile(name)).create_vpc(cidr).cidr == IPv4Network(cidr)


def test_vpcs_may_overlap(tencent):
    assert tencent.cloud.create_vpc("10.16.0.0/16").cidr == tencent.vpc.cidr


def test_regions(tencent):
    with pytest.raises(Unsupported, match="did you mean ap-guangzhou") as refused:
        tencent.cloud.create_vpc("10.0.0.0/16", region="ap-guangzhu")
    assert refused.value.code == "UnsupportedRegion"
    assert tencent.cloud.create_vpc("10.0.0.0/16", region="na-ashburn").region == "na-ashburn"
    with pytest.raises(Unsupported):
        Cloud(profile("alibaba-2019"), region="cn-hangzhou")


@pytest.mark.parametrize(
    ("name", "cidr", "error", "reason", "code"),
    table(
        ("outside", "tencent", "10.17.0.0/24", InvalidValue, "subnet.range", "InvalidParameterValue.SubnetRange"),
        ("inside-another", "tencent", "10.16.0.128/25", AlreadyExists, "subnet.overlap", CONFLICT),
        ("around-another", "tencent", "10.16.0.0/16", AlreadyExists, "subnet.overlap", CONFLICT),
        ("too-small", "tencent", "10.16.1.0/29", InvalidValue, "subnet.prefix", RANGE),
        ("too-big", "tencent", "10.16.0.0/15", InvalidValue, "subnet.prefix", RANGE),
        ("host-bits", "tencent", "10.16.1.1/24", InvalidValue, "cidr.host_bits", MALFORMED),
        ("alibaba-too-small", "alibaba", "10.16.1.0/30", InvalidValue, "subnet.prefix", BAD_BLOCK),
        ("alibaba-overlap", "alibaba", "10.16.0.0/25", AlreadyExists, "subnet.overlap", "InvalidCidrBlock.Overlapped"),
    ),
)  # fmt: skip
def test_subnet_blocks_refused(make, name, cidr, error, reason, code):
    there = make(name)
    with pytest.raises(error) as refused:
        there.cloud.create_subnet(there.vpc.id, cidr)
    assert (refused.value.reason, refused.value.code) == (reason, code)
    assert list(there.cloud.subnets) == [there.subnet.id]


@pytest.mark.parametrize(("name", "gateway"), [("tencent", "10.16.0.1"), ("alibaba", "10.16.0.253")])
def test_gateway(make, name, gateway):
    assert make(name).subnet.gateway == IPv4Address(gateway)


@pytest.mark.parametrize(
    ("name", "address", "error", "reason"),
    [
        pytest.param("tencent", "10.16.0.0", InvalidValue, "address.reserved", id="network"),
        pytest.param("tencent", "10.16.0.1", InvalidValue, "address.reserved", id="gateway"),
        pytest.param("tencent", "10.16.0.255", InvalidValue, "address.reserved", id="broadcast"),
        pytest.param("tencent", "10.16.0.22", AlreadyExists, "address.taken", id="taken"),
        pytest.param("tencent", "10.16.1.5", InvalidValue, "address.outside", id="outside"),
        pytest.param("tencent", "10.16.0.300", InvalidValue, "address.malformed", id="malformed"),
        pytest.param("tencent", 7, InvalidValue, "address.malformed", id="int"),
        pytest.param("tencent", "fe80::1", InvalidValue, "cidr.ipv6", id="ipv6"),
        pytest.param("alibaba", "10.16.0.0", InvalidValue, "address.reserved", id="alibaba-network"),
        pytest.param("alibaba", "10.16.0.253", InvalidValue, "address.reserved", id="alibaba-gateway"),
        pytest.param("alibaba", "10.16.0.254", InvalidValue, "address.reserved", id="alibaba-last-but-one"),
        pytest.param("alibaba", "10.16.0.255", InvalidValue, "address.reserved", id="alibaba-broadcast"),
    ],
)
def test_addresses_refused(make, name, address, error, reason):
    there = make(name)
    with pytest.raises(error) as refused:
        there.cloud.create_cvm(there.subnet.id, private_ip=address)
    assert refused.value.reason == reason
    assert refused.value.code == there.cloud.profile.codes[reason]
    assert (len(there.cloud.cvms), len(there.cloud.enis)) == (1, 1)


@pytest.mark.parametrize(("name", "first", "last"), [("tencent", 2, 254), ("alibaba", 1, 252)])
def test_the_ends_that_are_free(make, name, first, last):
    there = make(name)
    for number in (first, last):
        _, eni = there.cloud.create_cvm(there.subnet.id, private_ip=f"10.16.0.{number}")
        assert eni.address == IPv4Address(f"10.16.0.{number}")


@pytest.mark.parametrize(("name", "room"), [("tencent", 13), ("alibaba", 12)])
def test_a_full_subnet(make, name, room):
    there = make(name)
    subnet = there.cloud.create_subnet(there.vpc.id, "10.16.9.0/28")
    addresses = {there.cloud.create_cvm(subnet.id)[1].address for _ in range(room)}
    assert len(addresses) == room
    with pytest.raises(QuotaExceeded, match=r"all addresses of 10\.16\.9\.0/28 are taken"):
        there.cloud.create_eni(subnet.id)


@given(
    name=st.sampled_from(sorted(PROFILES)),
    wishes=st.lists(st.none() | st.integers(0, 31), max_size=40),
)
def test_law_no_two_enis_share_an_address(name, wishes):
    cloud = Cloud(profile(name))
    vpc = cloud.create_vpc("10.0.0.0/16")
    subnet = cloud.create_subnet(vpc.id, "10.0.0.0/27")
    for wish in wishes:
        try:
            cloud.create_eni(subnet.id, private_ip=None if wish is None else subnet.cidr[wish])
        except RequestRefused as refused:
            assert refused.reason in {"address.taken", "address.reserved", "subnet.full"}
    given = [int(eni.address) - int(subnet.cidr.network_address) for eni in cloud.enis.values()]
    assert len(given) == len(set(given))
    limits = cloud.profile
    assert all(limits.reserved_first <= index < 32 - limits.reserved_last for index in given)
    assert subnet.gateway not in {eni.address for eni in cloud.enis.values()}


def test_deleting_needs_an_empty_place(tencent):
    cloud = tencent.cloud
    acl = cloud.create_acl(tencent.vpc.id, name="border")
    group = cloud.create_group(tencent.vpc.id, name="db")
    with pytest.raises(InUse, match="ENI A-eth0"):
        cloud.delete_subnet(tencent.subnet.id)
    with pytest.raises(InUse, match="subnet web, network ACL border, security group db"):
        cloud.delete_vpc(tencent.vpc.id)
    cloud.delete_cvm(tencent.cvm.id)
    cloud.delete_subnet(tencent.subnet.id)
    cloud.delete_acl(acl.id)
    cloud.delete_group(group.id)
    cloud.delete_vpc(tencent.vpc.id)
    assert not (cloud.vpcs or cloud.subnets or cloud.groups or cloud.acls or cloud.enis or cloud.cvms)
    with pytest.raises(NotFound):
        cloud.delete_vpc(tencent.vpc.id)


def test_vpc_quota_is_per_region_and_can_be_raised():
    cloud = Cloud(profile("tencent"))
    for _ in range(20):
        cloud.create_vpc("10.0.0.0/16")
    with pytest.raises(QuotaExceeded) as refused:
        cloud.create_vpc("10.0.0.0/16")
    assert refused.value.code == "LimitExceeded"
    cloud.create_vpc("10.0.0.0/16", region="ap-shanghai")
    cloud.quotas["vpcs"] = 21
    cloud.create_vpc("10.0.0.0/16")


def test_four_hundred_cvms_need_no_quota(tencent):
    subnet = tencent.cloud.create_subnet(tencent.vpc.id, "10.16.64.0/20")
    for number in range(400):
        tencent.cloud.create_cvm(subnet.id, name=f"h{number}")
    assert len({eni.address for eni in tencent.cloud.enis.values()}) == 401
