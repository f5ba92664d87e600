"""Who an address outside an ENI's VPC is, and as whom that one sees the ENI: the end of an explanation.

By EIPs, gateways and routes as they are now.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from emulator.cloud.account import Cloud
from emulator.cloud.departures import Departure, departure
from emulator.cloud.gateways import chosen
from emulator.cloud.model import Address, Eni


def outlook(cloud: Cloud, eni: Eni, near: Address, far: Address) -> str:
    """What is to be said of ``far``, an address that no ENI of the VPC of ``eni`` has; ``near`` is the ENI's own;
    empty where nothing is known."""
    if isinstance(near, IPv6Address) or isinstance(far, IPv6Address):
        return ""  # nothing outside has one
    way = departure(cloud, eni, near, far)
    seen = _seen_as(cloud, near, way)
    as_whom = f"outside, {near} is {seen[0]} ({seen[1]})" if seen else ""
    other = _eip(cloud, far, near if seen is None else seen[0]) or _host(cloud, far) or _joined(cloud, way, far)
    return "; ".join(filter(None, [other, as_whom])) if other else ""


def _seen_as(cloud: Cloud, near: IPv4Address, way: Departure) -> tuple[IPv4Address, str] | None:
    """The public address that stands for a private one, and whose it is."""
    for eip in cloud.eips.values():
        if eip.private == near and way.target_id in (eip.id, *cloud.internet_gateways):
            return eip.address, f"EIP {eip.id}"
    gateway = cloud.nat_gateways.get(way.target_id or "")
    for source, addresses in cloud.snat_of(gateway) if gateway else ():
        if gateway and near in source:
            return chosen(near, addresses), f"NAT gateway {gateway.id}"
    return None


def _host(cloud: Cloud, far: IPv4Address) -> str:
    host = next((host for host in cloud.internet_hosts.values() if host.address == far), None)
    return f"{far} is host {host.name} ({host.id}) on the internet, in {host.region}" if host else ""


def _eip(cloud: Cloud, far: IPv4Address, shown: IPv4Address) -> str:
    eip = next((eip for eip in cloud.eips.values() if eip.address == far), None)
    if eip is None:
        return ""
    if eip.private is not None:
        return (
            f"{far} is EIP {eip.id}, which stands for {eip.private} of {eip.target_id}: the record there has "
            f"{eip.private} and {shown}"
        )
    return f"{far} is EIP {eip.id}" + (f" of {eip.target_id}" if eip.target_id else ", bound to nothing")


def _joined(cloud: Cloud, way: Departure, far: IPv4Address) -> str:
    """An ENI of a VPC that is joined with this one."""
    peering, ccn = cloud.peerings.get(way.target_id or ""), cloud.ccns.get(way.target_id or "")
    vpcs = (peering.vpc_id, peering.peer_vpc_id) if peering else tuple(ccn.vpcs) if ccn else ()
    there = (one for one in cloud.enis.values() if one.vpc_id in vpcs and far in one.addresses and one.cvm_id)
    eni = next(there, None)
    if eni is None:
        return ""
    return (
        f"{far} is {eni.id} ({eni.name}) in VPC {eni.vpc_id}, behind {way.target_id}, where its own record tells of it"
    )
