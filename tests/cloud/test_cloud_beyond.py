"""What lies beyond one VPC, as data: EIPs, secondary addresses, route tables, gateways, peerings, CCNs, hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cloud.account import Cloud
from emulator.cloud.beyond import Ccn, Eip, NatGateway, Peering, RouteTable
from emulator.cloud.model import Eni, Subnet, Vpc
from emulator.errors import (
    AlreadyExists,
    InUse,
    InvalidValue,
    NotFound,
    QuotaExceeded,
    RequestRefused,
    Unsupported,
)
from emulator.providers import profile

PROFILES = ("tencent", "alibaba")
ELSEWHERE = {"tencent": "ap-singapore", "alibaba": "ap-southeast-1"}


@dataclass
class Place:
    """VPC ``here`` 10.16.0.0/16 with a CVM and a bound EIP, a NAT gateway with an EIP, entries and a route; ``there``
    10.17.0.0/16, peered with it and in a CCN with ``away``, 10.18.0.0/16 of another region."""

    cloud: Cloud
    here: Vpc
    there: Vpc
    away: Vpc
    subnet: Subnet
    eni: Eni
    bound: Eip
    free: Eip
    nat: NatGateway
    nat_eip: Eip
    table: RouteTable
    peering: Peering
    ccn: Ccn

    @property
    def default(self) -> str:
        return self.cloud.default_route_table(self.here.id).id

    def state(self) -> tuple[dict[str, object], ...]:
        return tuple(dict(table) for table in self.cloud.snapshot().tables)


def furnished(name: str) -> Place:
    cloud = Cloud(profile(name))
    here, there = cloud.create_vpc("10.16.0.0/16"), cloud.create_vpc("10.17.0.0/16")
    away = cloud.create_vpc("10.18.0.0/16", region=ELSEWHERE[name])
    subnet = cloud.create_subnet(here.id, "10.16.0.0/24")
    _, eni = cloud.create_cvm(subnet.id, name="A", private_ip="10.16.0.22")
    bound, free, nat_eip = (cloud.allocate_eip() for _ in range(3))
    bound = cloud.associate_eip(bound.id, eni.id)
    nat, table = cloud.create_nat_gateway(here.id), cloud.create_route_table(here.id)
    cloud.associate_eip(nat_eip.id, nat.id)
    cloud.add_snat_entry(nat.id, subnet.id)
    cloud.add_port_forward(nat.id, "tcp", nat_eip.id, 80, "10.16.0.22", 8080)
    cloud.add_route(table.id, "0.0.0.0/0", nat.id)
    peering, ccn = cloud.create_peering(here.id, there.id), cloud.create_ccn()
    cloud.add_route(table.id, "10.17.1.0/24", peering.id)
    for vpc in (there, away):
        cloud.attach_vpc(ccn.id, vpc.id)
    return Place(cloud, here, there, away, subnet, eni, bound, free, nat, nat_eip, table, peering, ccn)


Ask = Callable[[Place], object]

REFUSALS: dict[str, tuple[Ask, type[RequestRefused], str]] = {
    "an EIP bound twice": (lambda p: p.cloud.associate_eip(p.bound.id, p.nat.id), InUse, "eip.bound"),
    "an address with two EIPs": (lambda p: p.cloud.associate_eip(p.free.id, p.eni.id), InUse, "eip.private_bound"),
    "an EIP for a foreign address": (
        lambda p: p.cloud.associate_eip(p.free.id, p.eni.id, "10.16.0.99"), NotFound, "eip.private"),
    "an EIP for a VPC": (lambda p: p.cloud.associate_eip(p.free.id, p.here.id), NotFound, "eip.target"),
    "a private address of a NAT gateway": (
        lambda p: p.cloud.associate_eip(p.free.id, p.nat.id, "10.16.0.22"), InvalidValue, "eip.target"),
    "an EIP of another region": (
        lambda p: p.cloud.associate_eip(
            p.cloud.allocate_eip(region=p.away.region).id, p.eni.id), InvalidValue, "eip.region"),
    "an unbound EIP off": (lambda p: p.cloud.disassociate_eip(p.free.id), InvalidValue, "eip.unbound"),
    "an EIP off that entries name": (lambda p: p.cloud.disassociate_eip(p.nat_eip.id), InUse, "eip.in_use"),
    "release of a bound EIP": (lambda p: p.cloud.release_eip(p.bound.id), InUse, "eip.release"),
    "an EIP nobody has": (lambda p: p.cloud.release_eip("eip-0"), NotFound, "eip.missing"),
    "an EIP in no region": (lambda p: p.cloud.allocate_eip(region="mars"), Unsupported, "region.unknown"),
    "a taken secondary address": (
        lambda p: p.cloud.assign_address(p.eni.id, "10.16.0.22"), AlreadyExists, "address.taken"),
    "a secondary address outside": (
        lambda p: p.cloud.assign_address(p.eni.id, "10.16.1.22"), InvalidValue, "address.outside"),
    "the primary address off": (
        lambda p: p.cloud.unassign_address(p.eni.id, "10.16.0.22"), InvalidValue, "address.primary"),
    "an address off that is not there": (
        lambda p: p.cloud.unassign_address(p.eni.id, "10.16.0.23"), NotFound, "address.unassigned"),
    "a route inside the VPC": (
        lambda p: p.cloud.add_route(p.default, "10.16.1.0/24", p.nat.id), InvalidValue, "route.local"),
    "the same route again": (
        lambda p: p.cloud.add_route(p.table.id, "0.0.0.0/0", p.nat.id), AlreadyExists, "route.exists"),
    "a route with host bits": (
        lambda p: p.cloud.add_route(p.table.id, "8.8.8.8/8", p.nat.id), InvalidValue, "cidr.host_bits"),
    "a route to a subnet": (
        lambda p: p.cloud.add_route(p.table.id, "8.8.8.8/32", p.subnet.id), InvalidValue, "route.target"),
    "a route to a gateway of another VPC": (
        lambda p: p.cloud.add_route(p.cloud.default_route_table(p.there.id).id, "8.0.0.0/8", p.nat.id),
        InvalidValue, "route.target"),
    "a route to a CCN that the VPC is not in": (
        lambda p: p.cloud.add_route(p.table.id, "10.18.0.0/16", p.ccn.id), InvalidValue, "route.target"),
    "no such route": (lambda p: p.cloud.remove_route(p.table.id, "9.9.9.9/32"), NotFound, "route.missing"),
    "a learned route off": (
        lambda p: p.cloud.remove_route(p.cloud.default_route_table(p.there.id).id, "10.18.0.0/16"),
        Unsupported, "route.learned"),
    "a route table of another VPC": (
        lambda p: p.cloud.associate_route_table(p.cloud.default_route_table(p.there.id).id, p.subnet.id),
        InvalidValue, "route_table.vpc"),
    "a subnet off a table that it has not": (
        lambda p: p.cloud.disassociate_route_table(p.table.id, p.subnet.id), InvalidValue, "route_table.association"),
    "the default route table": (lambda p: p.cloud.delete_route_table(p.default), InUse, "route_table.in_use"),
    "a NAT gateway in use": (lambda p: p.cloud.delete_nat_gateway(p.nat.id), InUse, "nat.in_use"),
    "an SNAT entry again": (
        lambda p: p.cloud.add_snat_entry(p.nat.id, "10.16.0.0/24"), AlreadyExists, "nat.entry_exists"),
    "an SNAT entry for others": (
        lambda p: p.cloud.add_snat_entry(p.nat.id, "10.0.0.0/8"), InvalidValue, "nat.source"),
    "an SNAT entry with a foreign EIP": (
        lambda p: p.cloud.add_snat_entry(p.nat.id, "10.16.0.8/32", [p.free.id]), InvalidValue, "nat.eip"),
    "an SNAT entry without an EIP": (
        lambda p: p.cloud.add_snat_entry(p.nat.id, "10.16.0.8/32", []), InvalidValue, "nat.no_eip"),
    "a port that is forwarded": (
        lambda p: p.cloud.add_port_forward(p.nat.id, "tcp", p.nat_eip.id, 80, "10.16.0.23"),
        AlreadyExists, "nat.forward_exists"),
    "ICMP forwarded": (
        lambda p: p.cloud.add_port_forward(p.nat.id, "icmp", p.nat_eip.id, 80, "10.16.0.22"),
        InvalidValue, "nat.protocol"),
    "port 0 forwarded": (
        lambda p: p.cloud.add_port_forward(p.nat.id, "udp", p.nat_eip.id, 0, "10.16.0.22"), InvalidValue, "nat.port"),
    "forwarded to port True": (
        lambda p: p.cloud.add_port_forward(p.nat.id, "udp", p.nat_eip.id, 53, "10.16.0.22", True),
        InvalidValue, "nat.port"),
    "forwarded out of the VPC": (
        lambda p: p.cloud.add_port_forward(p.nat.id, "udp", p.nat_eip.id, 53, "10.17.0.22"),
        InvalidValue, "nat.private"),
    "an entry that is not there": (
        lambda p: p.cloud.remove_nat_entry(p.nat.id, "snat-0"), NotFound, "nat.entry_missing"),
    "a peering with itself": (
        lambda p: p.cloud.create_peering(p.here.id, p.here.id), InvalidValue, "peering.itself"),
    "a second peering": (
        lambda p: p.cloud.create_peering(p.there.id, p.here.id), AlreadyExists, "peering.exists"),
    "a peering with a bandwidth of 0": (
        lambda p: p.cloud.create_peering(p.here.id, p.away.id, bandwidth_mbps=0), InvalidValue, "bandwidth.range"),
    "a peering with no number of Mbit/s": (
        lambda p: p.cloud.set_peering_bandwidth(p.peering.id, float("nan")), InvalidValue, "bandwidth.range"),
    "a peering in use": (lambda p: p.cloud.delete_peering(p.peering.id), InUse, "peering.in_use"),
    "a VPC in two CCNs": (
        lambda p: p.cloud.attach_vpc(p.cloud.create_ccn().id, p.there.id), AlreadyExists, "ccn.attached"),
    "a VPC off a CCN that it is not in": (
        lambda p: p.cloud.detach_vpc(p.ccn.id, p.here.id), NotFound, "ccn.not_attached"),
    "a CCN in use": (lambda p: p.cloud.delete_ccn(p.ccn.id), InUse, "ccn.in_use"),
    "bandwidth within a region": (
        lambda p: p.cloud.set_ccn_bandwidth(p.ccn.id, p.here.region, p.here.region, 5), InvalidValue, "ccn.regions"),
    "bandwidth to nowhere": (
        lambda p: p.cloud.set_ccn_bandwidth(p.ccn.id, p.here.region, "mars", 5), Unsupported, "region.unknown"),
    "a private host": (lambda p: p.cloud.create_internet_host(ip="10.0.0.1"), InvalidValue, "host.address"),
    "a host with an EIP's address": (
        lambda p: p.cloud.create_internet_host(ip=p.bound.address), InvalidValue, "host.address"),
    "two hosts with one address": (
        lambda p: [p.cloud.create_internet_host(ip="8.8.8.8") for _ in range(2)], AlreadyExists, "address.taken"),
    "a VPC with ways out": (lambda p: p.cloud.delete_vpc(p.there.id), InUse, "vpc.in_use"),
}  # fmt: skip
SETS_UP_FIRST = {"an EIP of another region", "a VPC in two CCNs", "two hosts with one address"}


@pytest.fixture(scope="module")
def places() -> dict[str, Place]:
    return {name: furnished(name) for name in PROFILES}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("case", REFUSALS)
def test_refused_with_the_providers_code_and_nothing_changed(places: dict[str, Place], name: str, case: str) -> None:
    place = furnished(name) if case in SETS_UP_FIRST else places[name]
    ask, kind, reason = REFUSALS[case]
    before = place.state()

    with pytest.raises(kind) as refused:
        ask(place)

    assert (refused.value.reason, refused.value.code) == (reason, place.cloud.profile.code(reason))
    assert case in SETS_UP_FIRST or place.state() == before


@pytest.mark.parametrize(
    ("quota", "most", "ask", "reason"),
    [
        ("eips", 3, lambda p: p.cloud.allocate_eip(), "eip.quota"),
        ("addresses_per_eni", 1, lambda p: p.cloud.assign_address(p.eni.id), "address.quota"),
        ("route_tables", 2, lambda p: p.cloud.create_route_table(p.here.id), "route_table.quota"),
        ("routes", 2, lambda p: p.cloud.add_route(p.table.id, "8.0.0.0/8", p.nat.id), "route.quota"),
        ("nat_gateways", 1, lambda p: p.cloud.create_nat_gateway(p.here.id), "nat.quota"),
        ("eips_per_nat_gateway", 1, lambda p: p.cloud.associate_eip(p.free.id, p.nat.id), "nat.eip_quota"),
        ("snat_entries", 1, lambda p: p.cloud.add_snat_entry(p.nat.id, "10.16.0.8/32"), "nat.entry_quota"),
        (
            "port_forwards",
            1,
            lambda p: p.cloud.add_port_forward(p.nat.id, "tcp", p.nat_eip.id, 81, "10.16.0.22"),
            "nat.forward_quota",
        ),
        ("peerings", 1, lambda p: p.cloud.create_peering(p.here.id, p.away.id), "peering.quota"),
        ("ccns", 1, lambda p: p.cloud.create_ccn(), "ccn.quota"),
        ("ccn_vpcs", 2, lambda p: p.cloud.attach_vpc(p.ccn.id, p.here.id), "ccn.vpc_quota"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." not in value else "",
)
@pytest.mark.parametrize("name", PROFILES)
def test_one_more_than_the_quota(places: dict[str, Place], name: str, quota: str, most: int, ask: Ask, reason: str):
    place = places[name]
    place.cloud.quotas[quota] = most
    before = place.state()

    with pytest.raises(QuotaExceeded) as refused:
        ask(place)

    place.cloud.quotas[quota] = place.cloud.profile.quotas[quota]
    assert (refused.value.reason, refused.value.code) == (reason, place.cloud.profile.code(reason))
    assert place.state() == before


def test_what_only_one_provider_refuses(places: dict[str, Place]) -> None:
    tencent, alibaba = (places[name] for name in PROFILES)

    with pytest.raises(InvalidValue, match="overlap") as refused:
        tencent.cloud.create_peering(tencent.here.id, tencent.cloud.create_vpc("10.16.128.0/17").id)
    assert refused.value.reason == "peering.overlap"
    with pytest.raises(InvalidValue, match="block of the peer") as refused:
        tencent.cloud.add_route(tencent.table.id, "10.99.0.0/16", tencent.peering.id)
    assert refused.value.reason == "route.peer"
    with pytest.raises(Unsupported) as unsupported:
        tencent.cloud.create_internet_gateway(tencent.here.id)
    assert unsupported.value.reason == "internet_gateway.unsupported"

    gateway = alibaba.cloud.create_internet_gateway(alibaba.here.id)
    with pytest.raises(AlreadyExists):
        alibaba.cloud.create_internet_gateway(alibaba.here.id)
    alibaba.cloud.add_route(alibaba.table.id, "8.0.0.0/8", gateway.id)
    with pytest.raises(InUse, match=r"route \S+ 8\.0\.0\.0/8"):
        alibaba.cloud.delete_internet_gateway(gateway.id)


@pytest.mark.parametrize("name", PROFILES)
def test_an_address_with_an_eip_stays_until_the_eip_is_off(name: str) -> None:
    place = furnished(name)
    eni = place.cloud.assign_address(place.eni.id, "10.16.0.99")
    assert eni.addresses == (IPv4Address("10.16.0.22"), IPv4Address("10.16.0.99"))
    place.cloud.associate_eip(place.free.id, eni.id, "10.16.0.99")

    with pytest.raises(InUse, match="stands for"):
        place.cloud.unassign_address(eni.id, "10.16.0.99")
    with pytest.raises(AlreadyExists):
        place.cloud.create_eni(place.subnet.id, private_ip="10.16.0.99")
    place.cloud.disassociate_eip(place.free.id)
    assert place.cloud.unassign_address(eni.id, "10.16.0.99").secondary == ()


@pytest.mark.parametrize("name", PROFILES)
def test_an_eip_outlives_what_it_is_bound_to(name: str) -> None:
    place = furnished(name)

    place.cloud.delete_cvm(str(place.eni.cvm_id))

    assert place.cloud.eips[place.bound.id].target_id is None
    place.cloud.release_eip(place.bound.id)
    assert place.cloud.allocate_eip().address == place.bound.address


@pytest.mark.parametrize("name", PROFILES)
def test_members_of_a_group_have_all_their_addresses(name: str) -> None:
    place = furnished(name)
    place.cloud.assign_address(place.eni.id, "10.16.0.99")

    members = place.cloud.group_members(place.here.default_group_id)

    assert set(members) == {IPv4Address("10.16.0.22"), IPv4Address("10.16.0.99")}


def routes(cloud: Cloud, vpc: Vpc) -> dict[str, str]:
    return {str(route.cidr): route.target_id for route in cloud.default_route_table(vpc.id).routes}


@pytest.mark.parametrize("name", PROFILES)
def test_a_ccn_teaches_and_forgets(name: str) -> None:
    place = furnished(name)
    cloud, ccn = place.cloud, place.ccn.id
    assert routes(cloud, place.there) == {"10.18.0.0/16": ccn}
    assert routes(cloud, place.away) == {"10.17.0.0/16": ccn}
    late = cloud.create_route_table(place.away.id)
    assert [str(route.cidr) for route in late.routes] == ["10.17.0.0/16"]

    twin = cloud.create_vpc("10.17.0.0/16")
    cloud.attach_vpc(ccn, twin.id)
    assert routes(cloud, place.away) == {"10.17.0.0/16": ccn}, "the second block of the same addresses is not learned"
    assert routes(cloud, twin) == {"10.18.0.0/16": ccn}, "nor another's like its own"

    cloud.detach_vpc(ccn, place.away.id)
    assert routes(cloud, place.away) == {} == routes(cloud, place.there)
    assert cloud.route_tables[late.id].routes == ()


def test_a_nat_gateway_of_alibaba_leads_to_itself_and_needs_entries(places: dict[str, Place]) -> None:
    tencent, alibaba = furnished("tencent"), furnished("alibaba")

    assert routes(tencent.cloud, tencent.here) == {}
    assert routes(alibaba.cloud, alibaba.here) == {"0.0.0.0/0": alibaba.nat.id}
    for place in (tencent, alibaba):
        for entry in place.cloud.nat_gateways[place.nat.id].entries:
            place.cloud.remove_nat_entry(place.nat.id, entry.id)
    everyone = ((IPv4Network("0.0.0.0/0"), (tencent.nat_eip.address,)),)
    assert tencent.cloud.snat_of(tencent.cloud.nat_gateways[tencent.nat.id]) == everyone
    assert alibaba.cloud.snat_of(alibaba.cloud.nat_gateways[alibaba.nat.id]) == ()


@given(st.lists(st.integers(8, 30), min_size=1, max_size=12, unique=True))
def test_of_several_snat_entries_the_longest_mask_comes_first(prefixes: list[int]) -> None:
    cloud = Cloud(profile("alibaba"))
    vpc = cloud.create_vpc("10.0.0.0/8")
    nat, eip = cloud.create_nat_gateway(vpc.id), cloud.allocate_eip()
    cloud.associate_eip(eip.id, nat.id)
    for prefix in prefixes:
        cloud.add_snat_entry(nat.id, f"10.0.0.0/{prefix}")

    found = [source.prefixlen for source, _ in cloud.snat_of(cloud.nat_gateways[nat.id])]

    assert found == sorted(prefixes, reverse=True)


def test_hosts_and_eips_get_addresses_that_nobody_has() -> None:
    cloud = Cloud(profile("tencent"))
    cloud.quotas["eips"] = 300
    eips = {cloud.allocate_eip().address for _ in range(300)}
    hosts = {cloud.create_internet_host().address for _ in range(600)}

    assert (len(eips), len(hosts), len(eips & hosts)) == (300, 600, 0)
    assert cloud.create_internet_host(ip="8.8.8.8").address == IPv4Address("8.8.8.8")
