"""Subnets with broadcast on: what one ENI sends to all reaches every other, as nftables text. Pure.

A table beside the VPC's, there while a subnet wants it. Behind judgement and counting at the sender the packet is
copied for each other ENI of its subnet; the copies come to the VPC's output hook, where they are judged and counted
like what any CVM sends. The packet itself ends here::

    prerouting   @subnets: interface and address ──► the subnet's chain: dup to … device …, for each ENI; drop
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

from emulator.cloud.model import EVERYBODY

TABLE = "ip broadcasts"

Member = tuple[int, str, IPv4Address]
"""An ENI: its interface index and name, and its address."""


def text(subnets: Mapping[IPv4Address, Sequence[Member]]) -> str:
    """The whole table in one transaction, whatever stood before; subnets by their broadcast address."""
    lines = [f"table {TABLE}", f"delete table {TABLE}"]
    if subnets:
        lines += [
            f"table {TABLE} {{\n map subnets {{\n  type iface_index . ipv4_addr : verdict\n }}\n chain prerouting {{\n"
            f"  type filter hook prerouting priority 20\n  iif . ip daddr vmap @subnets\n }}\n}}"
        ]
    for number, (address, members) in enumerate(subnets.items()):
        lines.append(f"add chain {TABLE} s{number}")
        for index, name, own in members:
            lines.append(f'add rule {TABLE} s{number} iif != {index} dup to {own} device "{name}"')
            keys = ", ".join(f"{index} . {one} : jump s{number}" for one in (address, EVERYBODY))
            lines.append(f"add element {TABLE} subnets {{ {keys} }}")
        lines.append(f"add rule {TABLE} s{number} drop")
    return "\n".join(lines) + "\n"
