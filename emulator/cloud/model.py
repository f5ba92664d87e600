"""What the tenant asked for: plain, frozen data without any I/O.

::

    Vpc ─┬─ Subnet ── Eni ── Cvm
         ├─ SecurityGroup ── Rule       bound to ENIs, stateful
         └─ NetworkAcl ───── Rule       associated with subnets, stateless
    Template ── addresses or services that rules name
    FlowLog ── an ENI, a subnet or a VPC ──► a log topic

Addresses and networks are ``ipaddress`` objects, times are unix seconds of lab time, intervals seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Direction = Literal["ingress", "egress"]
Action = Literal["allow", "deny"]
Traffic = Literal["ALL", "ACCEPT", "REJECT"]
ResourceType = Literal["eni", "subnet", "vpc", "ccn"]
GroupType = Literal["normal", "enterprise"]
InnerAccess = Literal["accept", "drop"]
AclType = Literal["triple", "quintuple"]
TemplateKind = Literal[
    "prefix_list", "port_list", "address_template", "address_group", "service_template", "service_group"
]

EVERYBODY = IPv4Address("255.255.255.255")
"""Of whatever subnet the sender is in."""

PORTS_PROTOCOLS = frozenset({6, 17, 33, 132, 136})
"""IANA numbers whose header begins with source and destination port: TCP, UDP, DCCP, SCTP, UDP-Lite."""

EXTENSION_HEADERS = frozenset({0, 43, 44, 60})
"""IPv6's: hop-by-hop options, routing, fragment, destination options. What a packet is for stands behind them; of an
authentication header it is that header, as in IPv4."""


@dataclass(frozen=True)
class Rule:
    """One line of a security group or network ACL; None means any.

    ``number`` is unique in its VPC for the life of a lab and is what the kernel carries in packet marks
    (1 to 65,535); a changed rule is a new rule with a new number. ``peer`` is the other side: the source of
    an ingress rule, the destination of an egress rule, as a network or as the id of a security group whose members, or
    of a template whose addresses are meant. ``service`` is the id of a template that says protocols and ports in place
    of the rule, or of a port list, which says the ports of the rule's protocol. ``priority``: for list-ordered
    providers the position among the rules of its direction (it moves when others come and go, the number stays),
    otherwise the provider's own number.
    """

    number: int
    id: str
    direction: Direction
    action: Action
    protocol: int | None = None
    ports: tuple[tuple[int, int], ...] | None = None
    peer: Network | str | None = None
    priority: int = 1
    service: str | None = None
    source_ports: tuple[tuple[int, int], ...] | None = None
    local: Network | None = None
    """What of this side is meant: the destination of an ingress rule, the source of an egress rule."""
    default: bool = False
    """True for a rule that came with the group or ACL and was not written by the tenant."""

    def __str__(self) -> str:
        return describe_rule(self)


@dataclass(frozen=True)
class Vpc:
    id: str
    name: str
    region: str
    cidr: IPv4Network
    default_group_id: str = ""
    ipv6_cidr: IPv6Network | None = None


@dataclass(frozen=True)
class Subnet:
    id: str
    name: str
    vpc_id: str
    cidr: IPv4Network
    gateway: IPv4Address
    acl_id: str | None = None
    route_table_id: str | None = None
    """None: the VPC's default route table."""
    broadcast: bool = False
    """Whether what an ENI sends to all reaches the others."""
    ipv6_cidr: IPv6Network | None = None

    def holds(self, address: Address) -> bool:
        """Whether an address is inside its block of that family."""
        return address in self.cidr or (self.ipv6_cidr is not None and address in self.ipv6_cidr)

    def is_everybody(self, address: Address) -> bool:
        """Whether an ENI in it that sends there sends to all in it."""
        return address in (EVERYBODY, self.cidr.broadcast_address)


@dataclass(frozen=True)
class Cvm:
    id: str
    name: str
    vpc_id: str
    subnet_id: str
    instance_type: str


@dataclass(frozen=True)
class Eni:
    """``device`` is the index at the CVM (0 is eth0), None while detached; ``groups`` are in the order bound."""

    id: str
    name: str
    vpc_id: str
    subnet_id: str
    address: IPv4Address
    mac: str
    groups: tuple[str, ...]
    cvm_id: str | None = None
    device: int | None = None
    primary: bool = False
    secondary: tuple[IPv4Address, ...] = ()
    """Private addresses beside the first, in the order assigned."""
    ipv6_addresses: tuple[IPv6Address, ...] = ()

    @cached_property
    def private_addresses(self) -> tuple[IPv4Address, ...]:
        """All its private addresses, the primary one first."""
        return (self.address, *self.secondary)

    @cached_property
    def addresses(self) -> tuple[Address, ...]:
        """All its addresses of both families, the primary one first."""
        return (*self.private_addresses, *self.ipv6_addresses)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The private addresses as integers."""
        return tuple(map(int, self.private_addresses))


@dataclass(frozen=True)
class SecurityGroup:
    """``rules`` are in the order in which the provider judges them (ingress and egress mixed).

    ``type`` and ``inner_access``, whether members accept from each other where no rule says otherwise, are Alibaba's.
    """

    id: str
    name: str
    vpc_id: str
    rules: tuple[Rule, ...] = ()
    default: bool = False
    type: GroupType = "normal"
    inner_access: InnerAccess = "drop"


@dataclass(frozen=True)
class NetworkAcl:
    """``rules`` are in the order of judgement; what matches none is denied.

    ``type``: what Tencent's entries may name; those of a quintuple ACL source ports and this side's addresses too.
    """

    id: str
    name: str
    vpc_id: str
    rules: tuple[Rule, ...] = ()
    type: AclType = "triple"


@dataclass(frozen=True)
class Template:
    """A list of addresses, ports or services that rules name; of a group of templates the entries are their ids.

    ``max_entries``: how many it may come to hold, and counts for in a rule, whatever it holds.
    """

    id: str
    name: str
    kind: TemplateKind
    entries: tuple[str, ...]
    max_entries: int | None = None


@dataclass(frozen=True)
class FlowLog:
    """``vpc_id`` is empty for one on a CCN, which tells of what leaves and enters its ``region``."""

    id: str
    name: str
    region: str
    vpc_id: str
    resource_type: ResourceType
    resource_id: str
    traffic: Traffic
    topic_id: str
    interval_s: int
    created_s: int
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    enabled: bool = True


PROTOCOL_WORDS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 58: "icmpv6"}


def describe_rule(rule: Rule) -> str:
    """A rule as one phrase: ``deny ingress icmp from 0.0.0.0/0``."""
    protocol = "all" if rule.protocol is None else PROTOCOL_WORDS.get(rule.protocol, str(rule.protocol))
    ports = "" if rule.ports is None else f" port {describe_ports(rule.ports)}"
    if rule.source_ports is not None:
        ports = f" source port {describe_ports(rule.source_ports)}{ports}"
    side = "from" if rule.direction == "ingress" else "to"
    peer = "anywhere" if rule.peer is None else str(rule.peer)
    if rule.service is not None:
        ports += f" port {rule.service}"
    what = f"{protocol}{ports}" if rule.service is None or rule.protocol is not None else f"service {rule.service}"
    if rule.local is not None:
        peer += f" {'to' if side == 'from' else 'from'} {rule.local}"
    return f"{rule.action} {rule.direction} {what} {side} {peer}"


def describe_ports(ports: tuple[tuple[int, int], ...]) -> str:
    """Ports as people write them: ``80,4000-4001``."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ports)
