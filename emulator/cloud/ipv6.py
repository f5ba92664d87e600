"""IPv6 blocks and addresses: a VPC's /56, a subnet's /64 within it, the addresses of ENIs.

The providers give both kinds of block themselves, from their own pool; a lab takes a block of the caller's choice, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv6Address, IPv6Network

from emulator.cloud.addresses import check_claim, parse_ipv6_address, parse_ipv6_network
from emulator.cloud.model import Subnet, Vpc
from emulator.cloud.profile import Profile
from emulator.errors import AlreadyExists, InvalidValue, QuotaExceeded

VPC_PREFIX, SUBNET_PREFIX = 56, 64
"""Both providers' (CreateVpc, AssignIpv6CidrBlock)."""

RESERVED = 1
"""Addresses at the beginning of a subnet that no ENI may take: the first is the routers' (RFC 4291, 2.6.1)."""

_UNICAST = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"))
"""Global and unique local addresses."""


def claim_vpc_block(
    profile: Profile, wanted: bool | int | str | IPv6Network, what: str, others: Iterable[Vpc]
) -> IPv6Network:
    """``wanted`` after all checks, or where it is True the first block of the provider's pool that is free."""
    taken = {vpc.ipv6_cidr: vpc for vpc in others if vpc.ipv6_cidr is not None}
    if wanted is True:
        blocks = IPv6Network(profile.ipv6_pool).subnets(new_prefix=VPC_PREFIX)
        return next(block for block in blocks if block not in taken)
    network = parse_ipv6_network(profile, wanted, what)
    if network.prefixlen != VPC_PREFIX or not any(network.subnet_of(unicast) for unicast in _UNICAST):
        raise profile.refusal(
            InvalidValue,
            "vpc.ipv6_range",
            f"{what}: an IPv6 block is a /{VPC_PREFIX} within {' or '.join(map(str, _UNICAST))}, not {network}; "
            "say True to get one",
            value=str(network),
        )
    if network in taken:
        raise profile.refusal(
            AlreadyExists,
            "vpc.ipv6_taken",
            f"{what}: VPC {taken[network].name} has {network}; say True to get another one",
            object=taken[network].id,
            value=str(network),
        )
    return network


def claim_subnet_block(
    profile: Profile, wanted: bool | int | str | IPv6Network, what: str, vpc: Vpc, others: Iterable[Subnet]
) -> IPv6Network:
    """``wanted`` after all checks, a number being its place in the VPC's block; where it is True the first free one."""
    if vpc.ipv6_cidr is None:
        raise profile.refusal(
            InvalidValue,
            "vpc.ipv6_missing",
            f"{what}: VPC {vpc.name} ({vpc.id}) has no IPv6 block; give it one by assign_ipv6_cidr()",
            object=vpc.id,
            value=wanted,
        )
    taken = {subnet.ipv6_cidr: subnet for subnet in others if subnet.ipv6_cidr is not None}
    if wanted is True:
        blocks = vpc.ipv6_cidr.subnets(new_prefix=SUBNET_PREFIX)
        free = next((block for block in blocks if block not in taken), None)
        if free is None:
            raise profile.refusal(
                QuotaExceeded,
                "subnet.ipv6_range",
                f"{what}: all /{SUBNET_PREFIX} of {vpc.ipv6_cidr} are taken; use another VPC",
                object=vpc.id,
                value=str(vpc.ipv6_cidr),
            )
        return free
    network = _numbered(vpc.ipv6_cidr, wanted) if isinstance(wanted, int) else parse_ipv6_network(profile, wanted, what)
    if network is None or network.prefixlen != SUBNET_PREFIX or not network.subnet_of(vpc.ipv6_cidr):
        raise profile.refusal(
            InvalidValue,
            "subnet.ipv6_range",
            f"{what}: an IPv6 block is a /{SUBNET_PREFIX} within {vpc.ipv6_cidr}, or its number from 0 to 255, "
            f"not {wanted}",
            object=vpc.id,
            value=str(wanted),
        )
    if network in taken:
        raise profile.refusal(
            AlreadyExists,
            "subnet.overlap",
            f"{what}: subnet {taken[network].name} has {network}; say True to get another one",
            object=taken[network].id,
            value=str(network),
        )
    return network


def claim_ipv6_address(
    profile: Profile, subnet: Subnet, wanted: bool | str | IPv6Address, taken: Collection[int]
) -> IPv6Address:
    """``wanted`` after all checks, or where it is True the lowest free address; ``taken`` are integers."""
    what = f"IPv6 address for subnet {subnet.name}"
    if subnet.ipv6_cidr is None:
        raise profile.refusal(
            InvalidValue,
            "subnet.ipv6_missing",
            f"{what}: the subnet ({subnet.id}) has no IPv6 block; give it one by assign_ipv6_cidr()",
            object=subnet.id,
            value=wanted,
        )
    first = int(subnet.ipv6_cidr.network_address)
    if wanted is True:
        number = first + RESERVED
        while number in taken:
            number += 1
        return IPv6Address(number)
    address = parse_ipv6_address(profile, wanted, what)
    check_claim(
        profile,
        subnet,
        what,
        address,
        subnet.ipv6_cidr,
        kept="the routers'; take a later one, or say True" if int(address) < first + RESERVED else None,
        taken=int(address) in taken,
        otherwise="say True to get a free one",
    )
    return address


def _numbered(block: IPv6Network, number: int) -> IPv6Network | None:
    """A VPC's subnet block of that number; None where it has none."""
    if not 0 <= number < 2 ** (SUBNET_PREFIX - VPC_PREFIX):
        return None
    return IPv6Network((int(block.network_address) + (number << 128 - SUBNET_PREFIX), SUBNET_PREFIX))
