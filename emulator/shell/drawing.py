"""The topology of a lab as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from emulator.cloud.account import Cloud
from emulator.cloud.model import Eni, Subnet, Vpc

if TYPE_CHECKING:
    from emulator.lab import Lab


def draw(lab: Lab) -> Tree:
    """VPCs with subnets, CVMs and ENIs, what is logged marked so, and what lies between and outside them."""
    cloud = lab.cloud
    tree = Tree(Text(f"{lab.profile.name}, lab time {lab.clock.now:.0f}", style="bold"))
    for vpc in cloud.vpcs.values():
        branch = tree.add(_line(cloud, vpc.id, "VPC", vpc.name, [str(vpc.cidr), vpc.ipv6_cidr, vpc.region]))
        for subnet in cloud.subnets.values():
            if subnet.vpc_id == vpc.id:
                _subnet(branch.add(_subnet_line(cloud, subnet)), cloud, subnet)
        _outside(branch, cloud, vpc)
    for ccn in cloud.ccns.values():
        joined = ", ".join(cloud.vpcs[vpc_id].name for vpc_id in ccn.vpcs)
        tree.add(_line(cloud, ccn.id, "CCN", ccn.name, [f"joins {joined or 'nothing yet'}"]))
    for peering in cloud.peerings.values():
        ends = " and ".join(cloud.vpcs[vpc_id].name for vpc_id in (peering.vpc_id, peering.peer_vpc_id))
        tree.add(_line(cloud, peering.id, "peering", peering.name, [f"joins {ends}"]))
    for host in cloud.internet_hosts.values():
        tree.add(_line(cloud, host.id, "internet host", host.name, [str(host.address), host.region]))
    return tree


def _subnet_line(cloud: Cloud, subnet: Subnet) -> Text:
    acl = f"behind {cloud.acls[subnet.acl_id].name}" if subnet.acl_id else None
    return _line(cloud, subnet.id, "subnet", subnet.name, [str(subnet.cidr), subnet.ipv6_cidr, acl])


def _subnet(branch: Tree, cloud: Cloud, subnet: Subnet) -> None:
    for eni in cloud.enis.values():
        if eni.subnet_id == subnet.id:
            branch.add(_eni_line(cloud, eni))


def _eni_line(cloud: Cloud, eni: Eni) -> Text:
    groups = "in " + ", ".join(cloud.groups[group].name for group in eni.groups)
    public = [f"EIP {eip.address}" for eip in cloud.eips.values() if eip.target_id == eni.id]
    addresses = " ".join(map(str, eni.addresses))
    if eni.primary and eni.cvm_id is not None:
        return _line(cloud, eni.id, "CVM", cloud.cvms[eni.cvm_id].name, [addresses, *public, groups])
    at = f"at {cloud.cvms[eni.cvm_id].name}" if eni.cvm_id else "detached"
    return _line(cloud, eni.id, "ENI", eni.name, [addresses, *public, at, groups])


def _outside(branch: Tree, cloud: Cloud, vpc: Vpc) -> None:
    for nat in cloud.nat_gateways.values():
        if nat.vpc_id == vpc.id:
            branch.add(
                _line(cloud, nat.id, "NAT gateway", nat.name, [str(eip.address) for eip in cloud.eips_of(nat.id)])
            )
    for gateway in cloud.internet_gateways.values():
        if gateway.vpc_id == vpc.id:
            branch.add(_line(cloud, gateway.id, "IPv4 gateway", gateway.name, []))


def _line(cloud: Cloud, id: str, kind: str, name: str, more: Sequence[object]) -> Text:
    logs = [log.name for log in cloud.flow_logs.values() if log.resource_id == id and log.enabled]
    text = Text.assemble(f"{kind} ", (name, "bold"), *(f"  {one}" for one in more if one))
    if logs:
        text.append(f"  [logged: {', '.join(logs)}]", style="cyan")
    return text
