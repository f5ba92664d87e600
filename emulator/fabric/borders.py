"""The rulesets between a VPC and the internet, as nftables text. Pure.

::

    VPC ──── inner  border of the VPC's EIPs  outer ──── internet       10.0.0.5  ◄─►  203.0.113.7, both ways
    VPC ──── inner  NAT gateway               outer ──── internet       10.0.0.0/16 ──► 203.0.113.9; DNAT by port

Each is a namespace of its own, so that the VPC's ruleset, and with it its records, sees private addresses only. What
would leave under an address that is not the border's is dropped, and so is what comes in under one of the VPC's or
another that nobody on the internet has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from emulator.cloud.beyond import PortForward
from emulator.cloud.gateways import choosing_bits, chosen
from emulator.cloud.internet import NOT_PUBLIC

TABLE = "ip border"

HOPS = IPv4Network("100.64.0.0/10")
"""Addresses of the routers themselves, as a traceroute shows them (RFC 6598)."""

_FORGED = [network for network in NOT_PUBLIC if network != HOPS]
"""Sources that no packet from the internet has."""

Snat = Sequence[tuple[IPv4Network, Sequence[IPv4Address]]]
"""(source, public addresses), the first that matches counts."""


def eips(inner: int, outer: int, vpc: IPv4Network, hop: IPv4Address, bound: Mapping[IPv4Address, IPv4Address]) -> str:
    """Of the border where ``bound`` maps private addresses to their EIPs; ``hop`` is the border's own address."""
    inbound = [(str(public), str(private)) for private, public in bound.items()]
    outbound = [(str(private), str(public)) for private, public in bound.items()]
    to_private = [f"iif {outer} dnat to ip daddr {_map(inbound)}"] if bound else []
    to_public = [f"oif {outer} snat to ip saddr {_map(outbound)}"] if bound else []
    return _table(inner, outer, vpc, [hop, *bound.values()], to_private, to_public)


def nat_gateway(
    inner: int, outer: int, vpc: IPv4Network, hop: IPv4Address, snat: Snat, forwards: Iterable[PortForward]
) -> str:
    """Of a NAT gateway."""
    entries = [
        (f"{one.protocol} . {one.public} . {one.public_port}", f"{one.private} . {one.private_port}")
        for one in forwards
    ]
    to_private = [f"iif {outer} dnat to meta l4proto . ip daddr . th dport {_map(entries)}"] if entries else []
    to_public = [f"oif {outer} ip saddr {source} snat to {_one_of(addresses)}" for source, addresses in snat]
    allowed = {address for _, addresses in snat for address in addresses}
    allowed.update(forward.public for forward in forwards)
    return _table(inner, outer, vpc, [hop, *sorted(allowed)], to_private, to_public)


def _one_of(addresses: Sequence[IPv4Address]) -> str:
    if len(addresses) == 1:
        return str(addresses[0])
    mask = choosing_bits(addresses)
    shares = [(str(IPv4Address(low)), str(chosen(IPv4Address(low), addresses))) for low in range(mask + 1)]
    return f"ip saddr & {IPv4Address(mask)} {_map(shares)}"


def _map(entries: Iterable[tuple[str, str]]) -> str:
    return "map { " + ", ".join(f"{key} : {value}" for key, value in entries) + " }"


def _table(
    inner: int,
    outer: int,
    vpc: IPv4Network,
    own: Sequence[IPv4Address],
    to_private: Iterable[str],
    to_public: Iterable[str],
) -> str:
    forged = ", ".join(map(str, collapse_addresses([vpc, *_FORGED])))
    return f"""table {TABLE} {{
}}
flush table {TABLE}
table {TABLE} {{
 chain to_private {{
  type nat hook prerouting priority -100
  {_lines(to_private)}
 }}
 chain forward {{
  type filter hook forward priority 0
  iif {outer} oif {outer} drop
  iif {inner} oif {inner} drop
  iif {outer} ip saddr {{ {forged} }} drop
 }}
 chain to_public {{
  type nat hook postrouting priority 100
  {_lines(to_public)}
 }}
 chain leaving {{
  type filter hook postrouting priority 110
  oif {outer} ip saddr != {{ {", ".join(map(str, own))} }} drop
 }}
}}
"""


def _lines(statements: Iterable[str]) -> str:
    return "\n  ".join(statements)
