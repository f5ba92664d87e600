"""By which way an ENI's packets leave its VPC, as the routes say."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from emulator.cloud.account import Cloud
from emulator.cloud.departures import departure
from emulator.providers import profile


@pytest.mark.parametrize(
    ("name", "with_eip", "with_gateway", "destination", "path"),
    [
        ("tencent", False, False, "10.16.9.9", "vpc"),
        ("tencent", False, False, "8.8.8.8", "nat"),
        ("tencent", True, False, "8.8.8.8", "nat"),
        ("tencent", True, False, "10.17.1.1", "peering"),
        ("tencent", True, False, "10.18.1.1", "ccn"),
        ("alibaba", True, False, "8.8.8.8", "eip"),
        ("alibaba", True, False, "10.17.1.1", "peering"),
        ("alibaba", False, False, "8.8.8.8", "nat"),
        ("alibaba", True, True, "8.8.8.8", "nat"),
        ("alibaba", True, True, "9.9.9.9", "internet gateway"),
    ],
)
def test_the_longest_mask_leads(name: str, with_eip: bool, with_gateway: bool, destination: str, path: str) -> None:
    cloud = Cloud(profile(name))
    here, there, far = (cloud.create_vpc(f"10.{number}.0.0/16") for number in (16, 17, 18))
    subnet = cloud.create_subnet(here.id, "10.16.0.0/24")
    _, eni = cloud.create_cvm(subnet.id)
    nat, table = cloud.create_nat_gateway(here.id), cloud.default_route_table(here.id)
    if not cloud.profile.nat_routes_itself:
        cloud.add_route(table.id, "0.0.0.0/0", nat.id)
    cloud.add_route(table.id, "10.17.0.0/16", cloud.create_peering(here.id, there.id).id)
    ccn = cloud.create_ccn()
    for vpc in (here, far):
        cloud.attach_vpc(ccn.id, vpc.id)
    if with_eip:
        cloud.associate_eip(cloud.allocate_eip().id, eni.id)
    if with_gateway:
        cloud.add_route(table.id, "9.0.0.0/8", cloud.create_internet_gateway(here.id).id)

    assert departure(cloud, eni, eni.address, IPv4Address(destination)).path == path


def test_without_a_route_it_leads_nowhere_and_by_an_eip_it_does() -> None:
    cloud = Cloud(profile("tencent"))
    subnet = cloud.create_subnet(cloud.create_vpc("10.16.0.0/16").id, "10.16.0.0/24")
    _, eni = cloud.create_cvm(subnet.id)
    outside = IPv4Address("8.8.8.8")
    assert departure(cloud, eni, eni.address, outside).path == "nowhere"
    eni = cloud.assign_address(eni.id)
    eip = cloud.associate_eip(cloud.allocate_eip().id, eni.id, eni.secondary[0])
    assert departure(cloud, eni, eni.address, outside).path == "nowhere"
    by = departure(cloud, eni, eni.secondary[0], outside)
    assert (by.path, by.target_id) == ("eip", eip.id)
