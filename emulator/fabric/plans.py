"""What must stand outside the VPCs for a cloud as it is: which routers, which links, which routes. Pure.

::

    VPC a ──┬── eips:a ─────┐
            ├── nat-1 ──────┤
            ├── ccn-1       ├── internet ──┬── host
            │     │         │              └── host
    VPC b ──┴─────┘         │
       └────── eips:b ──────┘

A router is named by the id of its object; ``eips:`` and a VPC's id is the border of its EIPs, INTERNET the lab's own
internet. Every link adds a hop; inside a VPC there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from emulator.cloud.account import Cloud
from emulator.cloud.model import Subnet, Vpc
from emulator.cloud.routes import ANYWHERE
from emulator.fabric.transits import Lane, numbered

__all__ = [
    "ANYWHERE",
    "INTERNET",
    "NOWHERE",
    "REMEMBERED",
    "Plan",
    "VpcPlan",
    "eips_of_vpc",
    "lanes",
    "plan",
    "public_addresses",
]

INTERNET = "internet"
_EIPS = "eips:"

NOWHERE = "nowhere"
"""The link of a VPC's namespace for what nobody has."""

_INSIDE, REMEMBERED, _EVERY_GATE, _EIP_SPECIFIC, _EIP_FIRST, _BY_SUBNET, _EIP_LAST = 4, 5, 10, 25, 26, 30, 40
"""Priorities of a VPC's rules, in their order: what stays inside is routed by the first, so that it pays for no other.
REMEMBERED is for replies that go back as their connection came."""


@dataclass(frozen=True)
class Way:
    """A route of a VPC: ``table`` is a route table's id, a gate's name, or empty for the namespace's main one."""

    table: str
    network: IPv4Network
    gate: str


@dataclass(frozen=True)
class Choice:
    """Which table a VPC's packets ask: those from ``source``, those that come by ``gate``, or all; without the default
    route in it where ``specific``."""

    priority: int
    table: str
    source: IPv4Network | None = None
    gate: str = ""
    specific: bool = False


@dataclass
class VpcPlan:
    """``gates`` are the names of the routers a VPC is linked with; replies go back by those in ``remembered``."""

    gates: list[str] = field(default_factory=list)
    remembered: list[str] = field(default_factory=list)
    ways: set[Way] = field(default_factory=set)
    choices: set[Choice] = field(default_factory=set)


@dataclass
class Plan:
    vpcs: dict[str, VpcPlan] = field(default_factory=dict)
    borders: dict[str, str] = field(default_factory=dict)
    """Routers between a VPC and the internet → the VPC."""
    joints: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Peerings and CCNs → their VPCs in order."""


def eip_border(vpc_id: str) -> str:
    return _EIPS + vpc_id


def plan(cloud: Cloud) -> Plan:
    """The plan; empty for an account that has nothing outside its VPCs."""
    made = Plan()
    bound = {cloud.enis[str(eip.target_id)].vpc_id for eip in cloud.eips.values() if eip.private is not None}
    gated = {gateway.vpc_id: gateway.id for gateway in cloud.internet_gateways.values()}
    for vpc_id in [vpc_id for vpc_id in cloud.vpcs if vpc_id in bound or vpc_id in gated]:
        made.borders[eip_border(vpc_id)] = vpc_id
    made.borders.update({gateway.id: gateway.vpc_id for gateway in cloud.nat_gateways.values()})
    made.joints.update({one.id: (one.vpc_id, one.peer_vpc_id) for one in cloud.peerings.values()})
    made.joints.update({ccn.id: tuple(ccn.vpcs) for ccn in cloud.ccns.values()})
    for border, vpc_id in made.borders.items():
        there = made.vpcs.setdefault(vpc_id, VpcPlan())
        there.gates.append(border)
        there.remembered.append(border)
    for joint, vpc_ids in made.joints.items():
        for vpc_id in vpc_ids:
            made.vpcs.setdefault(vpc_id, VpcPlan()).gates.append(joint)
    for vpc_id, there in made.vpcs.items():
        _lead(cloud, cloud.vpcs[vpc_id], there, gated.get(vpc_id))
    return made


def _lead(cloud: Cloud, vpc: Vpc, there: VpcPlan, internet_gateway: str | None) -> None:
    """Ways and choices of one VPC."""
    border = eip_border(vpc.id)
    there.ways.add(Way("", vpc.cidr, NOWHERE))
    there.choices.update(Choice(_EVERY_GATE, "", gate=gate) for gate in there.gates)
    there.choices.add(Choice(_INSIDE, "", specific=True))
    there.ways.update(Way(gate, ANYWHERE, gate) for gate in there.remembered)
    subnets = {subnet.id: subnet for subnet in cloud.subnets.values() if subnet.vpc_id == vpc.id}
    used = {subnet_id: cloud.route_table_of(subnet) for subnet_id, subnet in subnets.items()}
    for subnet_id, table in used.items():
        there.choices.add(Choice(_BY_SUBNET, table.id, subnets[subnet_id].cidr))
        for route in table.routes:
            gate = border if route.target_id == internet_gateway else route.target_id
            there.ways.add(Way(table.id, route.cidr, gate))
    if internet_gateway is None:
        _lead_by_eips(cloud, there, border, subnets)


def _lead_by_eips(cloud: Cloud, there: VpcPlan, border: str, subnets: dict[str, Subnet]) -> None:
    """Where no internet gateway decides, an address with an EIP leaves by its border; any route but a default one goes
    before, and where the provider has it so, that too."""
    for eip in cloud.eips.values():
        eni = cloud.enis.get(eip.target_id or "")
        if eip.private is None or eni is None or eni.subnet_id not in subnets:
            continue
        source = IPv4Network(eip.private)
        if not cloud.profile.eip_before_nat:
            there.choices.add(Choice(_EIP_LAST, border, source))
            continue
        table = cloud.route_table_of(subnets[eni.subnet_id])
        there.choices.add(Choice(_EIP_SPECIFIC, table.id, source, specific=True))
        there.choices.add(Choice(_EIP_FIRST, border, source))


def eips_of_vpc(cloud: Cloud, vpc_id: str) -> dict[IPv4Address, IPv4Address]:
    """Private addresses of a VPC's ENIs → the EIPs that stand for them."""
    enis = cloud.enis
    return {
        eip.private: eip.address
        for eip in cloud.eips.values()
        if eip.private is not None and enis[str(eip.target_id)].vpc_id == vpc_id
    }


def public_addresses(cloud: Cloud, border: str, vpc_id: str) -> list[IPv4Address]:
    """The EIPs for which the internet sends packets to a border."""
    if border in cloud.nat_gateways:
        return [eip.address for eip in cloud.eips_of(border)]
    return list(eips_of_vpc(cloud, vpc_id).values())


def lanes(cloud: Cloud, joint: str, links: Mapping[str, int]) -> Iterator[Lane]:
    """The lanes of a peering or CCN whose VPCs have these links."""
    numbers = numbered(cloud.profile.regions)
    regions: dict[str, list[int]] = {}
    for vpc_id, index in links.items():
        regions.setdefault(cloud.vpcs[vpc_id].region, []).append(index)
    ccn, peering = cloud.ccns.get(joint), cloud.peerings.get(joint)
    for one, come in regions.items():
        for other, go in regions.items():
            if one != other or len(come) > 1:
                cap = ccn.cap(one, other) if ccn else peering.bandwidth_mbps if peering else None
                yield Lane(tuple(come), tuple(go), numbers[one], numbers[other], cap)
