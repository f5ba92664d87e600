"""What lies beyond one VPC, and leads there: plain, frozen data without any I/O.

::

    Vpc ─┬─ RouteTable ── Route ──► NatGateway, InternetGateway, Peering or Ccn
         ├─ NatGateway ──── Eip, Eip, ...          ──►  the internet of the lab: InternetHost, other Eips
         ├─ InternetGateway                        ──►
         ├─ Eni ── Eip                             ──►
         ├─ Peering ── one other Vpc
         └─ Ccn ── many Vpcs, of several regions
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

Caps = tuple[tuple[str, str, float], ...]
"""(region, other region, Mbit/s) in the alphabetical order of the regions; each way has as much."""


@dataclass(frozen=True)
class Route:
    """Where a subnet's packets to ``cidr`` go; of several routes the one with the longest mask counts.

    ``learned``: it came with a CCN and goes with it.
    """

    cidr: IPv4Network
    target_id: str
    learned: bool = False


@dataclass(frozen=True)
class RouteTable:
    """Of the subnets associated with it; the default one of all others. What is inside the VPC needs no route."""

    id: str
    name: str
    vpc_id: str
    default: bool = False
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True)
class Eip:
    """A public address. Bound it stands for the address ``private`` of an ENI, or is one of a NAT gateway's."""

    id: str
    name: str
    region: str
    address: IPv4Address
    target_id: str | None = None
    private: IPv4Address | None = None


@dataclass(frozen=True)
class InternetGateway:
    """Alibaba's IPv4 gateway: where a VPC has one, only subnets with a route to it use their EIPs."""

    id: str
    name: str
    vpc_id: str


@dataclass(frozen=True)
class SnatEntry:
    """What comes from ``source`` leaves a NAT gateway under one of ``addresses``."""

    id: str
    source: IPv4Network
    addresses: tuple[IPv4Address, ...]


@dataclass(frozen=True)
class PortForward:
    """What reaches a NAT gateway's public address at this port is sent to a private one."""

    id: str
    protocol: int
    public: IPv4Address
    public_port: int
    private: IPv4Address
    private_port: int


@dataclass(frozen=True)
class NatGateway:
    id: str
    name: str
    vpc_id: str
    entries: tuple[SnatEntry, ...] = ()
    forwards: tuple[PortForward, ...] = ()


@dataclass(frozen=True)
class Peering:
    """Two VPCs joined; ``bandwidth_mbps`` caps each way, None is no cap."""

    id: str
    name: str
    vpc_id: str
    peer_vpc_id: str
    bandwidth_mbps: float | None = None


@dataclass(frozen=True)
class Ccn:
    """Many VPCs joined (Tencent's Cloud Connect Network, Alibaba's Cloud Enterprise Network).

    ``vpcs`` maps each in the order attached to the id of its attachment; between two regions a cap may hold.
    """

    id: str
    name: str
    vpcs: dict[str, str] = field(default_factory=dict)
    caps: Caps = ()

    def cap(self, one: str, other: str) -> float | None:
        """Mbit/s from one region to another, None where there is no cap."""
        pair = tuple(sorted((one, other)))
        return next((cap for first, second, cap in self.caps if (first, second) == pair), None)


@dataclass(frozen=True)
class InternetHost:
    """A machine somewhere on the lab's internet."""

    id: str
    name: str
    region: str
    address: IPv4Address


GatewayKind = Literal["nat", "internet gateway", "peering", "ccn"]
Outside = RouteTable | Eip | InternetGateway | NatGateway | Peering | Ccn | InternetHost
