"""What stands outside the VPCs for a cloud: the routes that the kernel gets, against what the cloud says of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cloud.account import Cloud
from emulator.cloud.departures import departure
from emulator.cloud.gateways import chosen
from emulator.fabric import borders, plans, transits
from emulator.fabric.plans import NOWHERE, VpcPlan, eip_border, plan
from emulator.providers import profile

HERE = IPv4Network("10.16.0.0/16")
DESTINATIONS = [IPv4Address(one) for one in ("10.16.9.9", "10.17.1.1", "10.18.1.1", "8.8.8.8", "9.9.9.9", "8.8.9.9")]
CIDRS = ["0.0.0.0/0", "8.0.0.0/8", "8.8.8.0/24", "9.9.9.9/32", "10.0.0.0/8"]


def routed(there: VpcPlan, source: IPv4Address, destination: IPv4Address) -> str:
    """The gate by which a VPC's namespace sends a packet of an ENI, as the kernel reads rules and routes."""
    for choice in sorted(there.choices, key=lambda choice: choice.priority):
        if choice.gate or (choice.source is not None and source not in choice.source):
            continue
        found = [way for way in there.ways if way.table == choice.table and destination in way.network]
        best = max(found, key=lambda way: way.network.prefixlen, default=None)
        if best is not None and not (choice.specific and best.network.prefixlen == 0):
            return best.gate
    return NOWHERE


@given(
    st.sampled_from(["tencent", "alibaba"]),
    st.booleans(),
    st.booleans(),
    st.dictionaries(st.sampled_from(CIDRS), st.sampled_from(["nat", "gateway", "peering"]), max_size=5),
    st.dictionaries(st.sampled_from(CIDRS), st.sampled_from(["nat", "gateway", "peering"]), max_size=5),
)
def test_packets_go_where_the_cloud_says(
    name: str, with_eip: bool, with_gateway: bool, default: dict[str, str], own: dict[str, str]
) -> None:
    cloud = Cloud(profile(name))
    here, there, far = (cloud.create_vpc(block) for block in (str(HERE), "10.17.0.0/16", "10.18.0.0/16"))
    subnets = [cloud.create_subnet(here.id, block) for block in ("10.16.0.0/24", "10.16.1.0/24")]
    enis = [cloud.create_cvm(subnet.id)[1] for subnet in subnets]
    targets = {"nat": cloud.create_nat_gateway(here.id).id}
    if not cloud.profile.peer_routes_inside:
        targets["peering"] = cloud.create_peering(here.id, there.id).id
    if with_gateway and cloud.profile.internet_gateways:
        targets["gateway"] = cloud.create_internet_gateway(here.id).id
    ccn = cloud.create_ccn()
    for vpc in (here, far):
        cloud.attach_vpc(ccn.id, vpc.id)
    table = cloud.create_route_table(here.id)
    cloud.associate_route_table(table.id, subnets[1].id)
    for table_id, routes in ((cloud.default_route_table(here.id).id, default), (table.id, own)):
        there_already = {route.cidr for route in cloud.route_tables[table_id].routes}
        for cidr, target in routes.items():
            if target in targets and IPv4Network(cidr) not in there_already:
                cloud.add_route(table_id, cidr, targets[target])
    if with_eip:
        for eni in enis:
            cloud.associate_eip(cloud.allocate_eip().id, eni.id)
    wanted = plan(cloud).vpcs[here.id]

    for eni in enis:
        for destination in DESTINATIONS:
            way = departure(cloud, eni, eni.address, destination)
            by_border = way.path in ("eip", "internet gateway")
            gate = eip_border(here.id) if by_border else way.target_id or NOWHERE
            assert routed(wanted, eni.address, destination) == gate


def test_an_account_without_anything_outside_needs_nothing() -> None:
    cloud = Cloud(profile("tencent"))
    cloud.create_cvm(cloud.create_subnet(cloud.create_vpc("10.16.0.0/16").id, "10.16.0.0/24").id)
    cloud.allocate_eip()

    assert plan(cloud) == plans.Plan()


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_a_nat_gateway_writes_what_it_chooses(count: int, private: int) -> None:
    """The last bits of an address stand in the map with the public address that the cloud says."""
    addresses = [IPv4Address(f"203.0.113.{number}") for number in range(1, count + 1)]
    text = borders.nat_gateway(1, 2, HERE, IPv4Address("100.64.0.1"), [(HERE, addresses)], [])
    public = chosen(IPv4Address(private), addresses)

    if count == 1:
        assert f"snat to {public}\n" in text
    else:
        mask = int(IPv4Address(text.split("ip saddr & ")[1].split()[0]))
        assert f"{IPv4Address(private & mask)} : {public}" in text


@pytest.mark.parametrize(
    ("mbps", "limit"),
    [
        (1.0, "limit rate over 125000 bytes/second burst 12500 bytes"),
        (0.01, "limit rate over 1250 bytes/second burst 3000 bytes"),
        (100.0, "limit rate over 12500000 bytes/second burst 1250000 bytes"),
    ],
)
def test_a_cap_as_a_limit(mbps: float, limit: str) -> None:
    assert limit in transits.lanes([transits.Lane((7,), (8,), 1, 2, mbps)], [7, 8])


def test_a_mark_tells_its_regions() -> None:
    text = transits.lanes([transits.Lane((7,), (8,), 3, 26, None)], [7, 8])
    mark = int(text.split("meta mark set ")[1].split()[0], 16)

    assert transits.regions(mark) == (3, 26)
