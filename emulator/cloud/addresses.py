"""CIDR blocks and addresses: parsing them, and of IPv4 fitting them into each other, finding a free one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeVar

from emulator.cloud.model import Address, Network, Subnet, Vpc
from emulator.cloud.profile import Profile
from emulator.errors import AlreadyExists, InvalidValue, QuotaExceeded, RequestRefused

_N = TypeVar("_N", IPv4Network, IPv6Network)
_CIDR = re.compile(r"[0-9.]+(/[0-9]{1,2})?")
_IPV6_CIDR = re.compile(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?")


def parse_any_network(
    profile: Profile,
    cidr: str | Network,
    what: str,
    *,
    malformed: str = "cidr.malformed",
    host_bits: str = "cidr.host_bits",
) -> Network:
    """A network of either family; what has a colon is IPv6."""
    if isinstance(cidr, IPv6Network) or (isinstance(cidr, str) and ":" in cidr):
        return parse_ipv6_network(profile, cidr, what, malformed=malformed, host_bits=host_bits)
    return parse_network(profile, cidr, what, malformed=malformed, host_bits=host_bits)


def parse_ipv6_network(
    profile: Profile,
    cidr: object,
    what: str,
    *,
    malformed: str = "cidr.ipv6_malformed",
    host_bits: str = "cidr.ipv6_malformed",
) -> IPv6Network:
    """An IPv6 network in CIDR notation; a bare address is a /128. Host bits are refused, not cut off."""
    if isinstance(cidr, IPv6Network):
        return cidr
    form = f"write it like 2001:db8:0:1::/64, groups of hexadecimal digits and a mask of 0 to 128, not {cidr!r}"
    return _parse(profile, IPv6Network, _IPV6_CIDR, cidr, what, form, malformed, host_bits)


def parse_any_address(profile: Profile, address: str | Address, what: str) -> Address:
    """An address of either family; what has a colon is IPv6."""
    if isinstance(address, IPv6Address):
        return address
    if isinstance(address, str) and ":" in address:
        return parse_ipv6_address(profile, address, what)
    return parse_address(profile, address, what)


def parse_ipv6_address(profile: Profile, address: object, what: str) -> IPv6Address:
    """An IPv6 address without a zone."""
    if isinstance(address, IPv6Address) and address.scope_id is None:
        return address
    try:
        if isinstance(address, str) and "%" not in address:
            return IPv6Address(address.strip())
    except ValueError:
        pass
    raise profile.refusal(
        InvalidValue, "address.malformed", f"{what}: write it like 2001:db8::5, not {str(address)!r}", value=address
    )


def parse_network(
    profile: Profile,
    cidr: str | IPv4Network,
    what: str,
    *,
    malformed: str = "cidr.malformed",
    host_bits: str = "cidr.host_bits",
) -> IPv4Network:
    """An IPv4 network in CIDR notation; a bare address is a /32. Host bits are refused, not cut off."""
    if isinstance(cidr, IPv4Network):
        return cidr
    _refuse_ipv6(profile, cidr, what)
    form = f"write it like 10.0.0.0/16, four numbers up to 255 and a mask of 0 to 32, not {cidr!r}"
    return _parse(profile, IPv4Network, _CIDR, cidr, what, form, malformed, host_bits)


def _parse(
    profile: Profile,
    kind: type[_N],
    pattern: re.Pattern[str],
    cidr: object,
    what: str,
    form: str,
    malformed: str,
    host_bits: str,
) -> _N:
    """A network of one family; ``form`` says how to write it."""
    if not isinstance(cidr, str) or not pattern.fullmatch(cidr.strip()):
        raise profile.refusal(InvalidValue, malformed, f"{what}: {form}", value=cidr)
    try:
        network = kind(cidr.strip(), strict=False)
    except ValueError:
        raise profile.refusal(InvalidValue, malformed, f"{what}: {form}", value=cidr) from None
    if ip_address(cidr.strip().partition("/")[0]) != network.network_address:
        raise profile.refusal(
            InvalidValue, host_bits, f"{what}: {cidr} has host bits set, the network is {network}", value=cidr
        )
    return network


def parse_address(profile: Profile, address: str | IPv4Address, what: str) -> IPv4Address:
    if isinstance(address, IPv4Address):
        return address
    _refuse_ipv6(profile, address, what)
    try:
        if isinstance(address, str):
            return IPv4Address(address.strip())
    except ValueError:
        pass
    raise profile.refusal(
        InvalidValue, "address.malformed", f"{what}: write it like 10.0.0.5, not {address!r}", value=address
    )


def check_vpc_network(profile: Profile, network: IPv4Network) -> None:
    """Refuse a VPC's block that the provider would not give."""
    shortest, longest = profile.vpc_prefix
    if not shortest <= network.prefixlen <= longest:
        raise profile.refusal(
            InvalidValue,
            "vpc.prefix",
            f"VPC {network}: a mask of /{network.prefixlen}, choose one from /{shortest} to /{longest}",
            value=str(network),
        )
    if not any(network.subnet_of(IPv4Network(allowed)) for allowed in profile.vpc_networks):
        raise profile.refusal(
            InvalidValue,
            "vpc.range",
            f"VPC {network}: choose a block within {', '.join(profile.vpc_networks)}",
            value=str(network),
        )
    for refused in profile.vpc_networks_refused:
        if network.overlaps(IPv4Network(refused)):
            raise profile.refusal(
                InvalidValue,
                "vpc.range",
                f"VPC {network}: it overlaps {refused}, which no VPC may use; choose a private block",
                value=str(network),
            )


def check_subnet_network(profile: Profile, network: IPv4Network, vpc: Vpc, others: Iterable[Subnet]) -> None:
    """Refuse a subnet's block that is too big or small, leaves its VPC, or overlaps one of ``others``."""
    shortest, longest = profile.subnet_prefix
    if not shortest <= network.prefixlen <= longest:
        raise profile.refusal(
            InvalidValue,
            "subnet.prefix",
            f"subnet {network}: a mask of /{network.prefixlen}, choose one from /{shortest} to /{longest}",
            object=vpc.id,
            value=str(network),
        )
    if not network.subnet_of(vpc.cidr):
        raise profile.refusal(
            InvalidValue,
            "subnet.range",
            f"subnet {network}: it is not inside {vpc.cidr}, the block of VPC {vpc.name}",
            object=vpc.id,
            value=str(network),
        )
    for other in others:
        if network.overlaps(other.cidr):
            raise profile.refusal(
                AlreadyExists,
                "subnet.overlap",
                f"subnet {network}: it overlaps {other.cidr} of subnet {other.name} in VPC {vpc.name}",
                object=other.id,
                value=str(network),
            )


def reserved(profile: Profile, address: IPv4Address, network: IPv4Network) -> bool:
    """Whether the provider keeps ``address`` of ``network`` for itself (network, gateway, broadcast, ...)."""
    index = int(address) - int(network.network_address)
    return index < profile.reserved_first or index >= network.num_addresses - profile.reserved_last


def claim_address(
    profile: Profile, subnet: Subnet, wanted: str | IPv4Address | None, taken: Collection[int]
) -> IPv4Address:
    """``wanted`` after all checks, or the lowest free address of ``subnet``; ``taken`` are addresses as integers."""
    if wanted is None:
        return _lowest_free(profile, subnet, taken)
    what = f"address for subnet {subnet.name}"
    address = parse_address(profile, wanted, what)
    kept = (
        f"reserved; the first {profile.reserved_first} and the last {profile.reserved_last} of {subnet.cidr} are the "
        "provider's"
    )
    check_claim(
        profile,
        subnet,
        what,
        address,
        subnet.cidr,
        kept=kept if reserved(profile, address, subnet.cidr) else None,
        taken=int(address) in taken,
        otherwise="leave it out to get a free one",
    )
    return address


def check_claim(
    profile: Profile,
    subnet: Subnet,
    what: str,
    address: Address,
    block: Network,
    *,
    kept: str | None,
    taken: bool,
    otherwise: str,
) -> None:
    """Refuse an address outside its subnet's block, one that the provider keeps (``kept`` says as what), and one that
    is taken; ``otherwise`` is the way out."""
    kind: type[RequestRefused] = InvalidValue
    if address not in block:
        reason, said = "address.outside", f"is not inside {block}"
    elif kept is not None:
        reason, said = "address.reserved", f"is {kept}"
    elif taken:
        kind, reason, said = AlreadyExists, "address.taken", f"is taken by another ENI; {otherwise}"
    else:
        return
    raise profile.refusal(kind, reason, f"{what}: {address} {said}", object=subnet.id, value=str(address))


def _lowest_free(profile: Profile, subnet: Subnet, taken: Collection[int]) -> IPv4Address:
    base = int(subnet.cidr.network_address)
    for number in range(base + profile.reserved_first, base + subnet.cidr.num_addresses - profile.reserved_last):
        if number not in taken:
            return IPv4Address(number)
    raise profile.refusal(
        QuotaExceeded,
        "subnet.full",
        f"subnet {subnet.name}: all addresses of {subnet.cidr} are taken; delete an ENI or use another subnet",
        object=subnet.id,
        value=str(subnet.cidr),
    )


def _refuse_ipv6(profile: Profile, value: object, what: str) -> None:
    if isinstance(value, IPv6Network | IPv6Address) or (isinstance(value, str) and ":" in value):
        raise profile.refusal(InvalidValue, "cidr.ipv6", f"{what}: {value} is IPv6; give IPv4 here", value=str(value))
