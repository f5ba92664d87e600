"""What IPv4 and IPv6 differ in where the ruleset is written: words, names and how long an address is."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from emulator.cloud.model import Address


@dataclass(frozen=True)
class Family:
    """``word`` is nftables' name of the protocol, ``suffix`` the ending of what sets, maps and chains have one for each
    family."""

    version: int
    word: str
    address_type: str
    suffix: str
    bits: int

    def address(self, number: int) -> Address:
        return IPv4Address(number) if self.version == 4 else IPv6Address(number)


IPV4 = Family(4, "ip", "ipv4_addr", "", 32)
IPV6 = Family(6, "ip6", "ipv6_addr", "6", 128)
