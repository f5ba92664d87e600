"""The account in which captured packets are judged: that of a lab file, with ENIs added where it has none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from emulator.cloud.account import Cloud
from emulator.cloud.model import Address, Eni
from emulator.cloud.profile import Profile
from emulator.errors import LabError
from emulator.labfiles.document import Document, Source, read
from emulator.labfiles.opening import cloud_of

ANY_VPC = "imported"
"""The VPC and subnet that are made up where the file has none."""


@dataclass(frozen=True)
class Setting:
    """``enis`` in the order asked for; ``made_up`` where the VPC around them is of our making, so that nobody knows by
    which way packets leave it."""

    cloud: Cloud
    enis: tuple[Eni, ...]
    made_up: bool


def setting(profile: Profile, addresses: Sequence[str], rules: str | os.PathLike[str] | None) -> Setting:
    """ENIs with these addresses under the rules of a lab file; without one under the provider's default group.

    An address that no CVM of the file has gets one: in the subnet it lies in, or, where the file has no VPC, in one
    that is made up, bound to all security groups of the file in their order.

    :raises LabError: an address is none, or lies in no VPC of the file; LabFileError: something is wrong with the file
    """
    wanted = [_address(text) for text in dict.fromkeys(addresses)]
    document = _empty() if rules is None else read(rules)
    made_up = not document.names("vpc")
    if made_up:
        _make_up(document, profile, wanted)
    with_ids = document.data.get("profile", profile.name) == profile.name
    cloud = cloud_of(document, profile, with_ids=with_ids)
    enis = tuple(_eni(cloud, address) or _add(cloud, address, os.fspath(rules or "")) for address in wanted)
    for eni in enis:
        if eni.vpc_id != enis[0].vpc_id:
            raise LabError(
                f"{enis[0].address} and {eni.address} are in two VPCs, {enis[0].vpc_id} and {eni.vpc_id}; "
                "import the file once for each"
            )
    return Setting(cloud, tuple(dict.fromkeys(enis)), made_up)


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise LabError(f"ENI {text!r}: give its private address, like 10.0.0.5") from None


def _empty() -> Document:
    return Document(Path.cwd(), {}, {(): Source("no rules", "")})


def _make_up(document: Document, profile: Profile, wanted: Sequence[Address]) -> None:
    """A VPC with one subnet around all addresses, and a CVM for each."""
    groups = [name for name, one in document.objects("security_group") if not one.get("default")]
    cidr = str(_around(profile, wanted))
    document.data["vpc"] = {ANY_VPC: {"cidr": cidr}}
    document.data["subnet"] = {ANY_VPC: {"cidr": cidr}}
    bound: dict[str, Any] = {"security_groups": groups} if groups else {}
    document.data["cvm"] = {str(address): {"private_ip": str(address), **bound} for address in wanted}


def _around(profile: Profile, wanted: Sequence[Address]) -> IPv4Network:
    """The smallest block from a subnet's largest on that holds them all, so that hardly any address is reserved."""
    four = [address for address in wanted if isinstance(address, IPv4Address)]
    if len(four) < len(wanted):
        raise LabError("ENIs with IPv6 addresses need a lab file with their VPC: --rules FILE")
    block = ip_network((four[0], profile.subnet_prefix[0]), strict=False)
    assert isinstance(block, IPv4Network)
    outside = [address for address in four if address not in block]
    if outside:
        raise LabError(
            f"{four[0]} and {outside[0]} lie far apart: describe their VPC and subnets in a lab file, --rules FILE"
        )
    return block


def _eni(cloud: Cloud, address: Address) -> Eni | None:
    found = [eni for eni in cloud.enis.values() if address in eni.addresses and eni.cvm_id is not None]
    if len(found) > 1:
        raise LabError(f"{address} is in {len(found)} VPCs of the file: {', '.join(eni.vpc_id for eni in found)}")
    return found[0] if found else None


def _add(cloud: Cloud, address: Address, name: str) -> Eni:
    subnets = [subnet for subnet in cloud.subnets.values() if subnet.holds(address)]
    if len(subnets) != 1:
        there = ", ".join(str(subnet.cidr) for subnet in cloud.subnets.values()) or "none"
        which = "several subnets" if subnets else "no subnet"
        raise LabError(f"ENI {address} lies in {which} of {name}; its subnets are {there}")
    if not isinstance(address, IPv4Address):
        raise LabError(f"ENI {address}: no CVM of {name} has it; describe one with this address there")
    groups = [group.id for group in cloud.groups.values() if group.vpc_id == subnets[0].vpc_id and not group.default]
    return cloud.create_cvm(subnets[0].id, name=str(address), private_ip=address, groups=groups or None)[1]
