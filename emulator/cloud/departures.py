"""Where an ENI's packets leave its VPC, by the routes as they are: in words, for explanations and records.

The kernel's routes are made by fabric/plans.py, which shares nothing with this module; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from emulator.cloud.account import Cloud
from emulator.cloud.model import Eni
from emulator.cloud.routes import ANYWHERE

Path = Literal["vpc", "eip", "nat", "internet gateway", "peering", "ccn", "nowhere"]


@dataclass(frozen=True)
class Departure:
    """To ``network`` by ``target_id``: an EIP, a gateway, a peering or a CCN; None inside the VPC and to nowhere."""

    network: IPv4Network
    path: Path
    target_id: str | None = None


def departures(cloud: Cloud, eni: Eni, private: IPv4Address) -> tuple[Departure, ...]:
    """All ways from an address of an ENI; the first whose network holds a destination counts."""
    return tuple(sorted(_departures(cloud, eni, private), key=lambda one: one.network.prefixlen, reverse=True))


def departure(cloud: Cloud, eni: Eni, private: IPv4Address, destination: IPv4Address) -> Departure:
    """The way to one destination."""
    return next(one for one in departures(cloud, eni, private) if destination in one.network)


def _departures(cloud: Cloud, eni: Eni, private: IPv4Address) -> Iterator[Departure]:
    """Of two that lead to the same network, the first counts."""
    yield Departure(cloud.vpcs[eni.vpc_id].cidr, "vpc")
    eip = next((one for one in cloud.eips.values() if (one.target_id, one.private) == (eni.id, private)), None)
    gateway = next((one for one in cloud.internet_gateways.values() if one.vpc_id == eni.vpc_id), None)
    by_eip = [Departure(ANYWHERE, "eip", eip.id)] if eip and gateway is None else []
    routes = cloud.route_table_of(cloud.subnets[eni.subnet_id]).routes
    by_route = [Departure(route.cidr, _path(cloud, route.target_id), route.target_id) for route in routes]
    first, second = (by_eip, by_route) if cloud.profile.eip_before_nat else (by_route, by_eip)
    yield from first
    yield from second
    yield Departure(ANYWHERE, "nowhere")


def _path(cloud: Cloud, target_id: str) -> Path:
    if target_id in cloud.nat_gateways:
        return "nat"
    if target_id in cloud.internet_gateways:
        return "internet gateway"
    return "peering" if target_id in cloud.peerings else "ccn"
