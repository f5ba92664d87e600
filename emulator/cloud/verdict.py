"""The verdict on one packet, as plainly as it can be said: what tests compare the kernel's rules with.

::

    ENI a ──► a's groups ──► a's subnet's ACL ──►  counted at a, out
                                                        │ accepted
    ENI b ◄── b's groups ◄── b's subnet's ACL ◄─────────┘      counted at b, in

A group or ACL is a list of rules; the first that matches decides. ACLs do not see what stays inside one subnet, and
judge every packet for itself. Groups let the packets of an established connection pass. Whoever denies ends it: what a
denied never arrives at b and is not counted there. This module shares nothing with the compiler of the kernel's rules
but the lists of rules themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from emulator.cloud.account import Cloud
from emulator.cloud.model import PORTS_PROTOCOLS, Action, Direction, Eni, Rule
from emulator.cloud.numbers import Stage


@dataclass(frozen=True)
class Packet:
    """``protocol`` is the IANA number; ports count only where the protocol has them (TCP, UDP, ...)."""

    src: IPv4Address
    dst: IPv4Address
    protocol: int
    src_port: int = 0
    dst_port: int = 0


@dataclass(frozen=True)
class Step:
    """What one list of rules said; ``rule`` is None for a packet of an established connection at the groups."""

    stage: Stage
    action: Action
    rule: Rule | None


@dataclass(frozen=True)
class Judgement:
    """What became of a packet at one ENI; ``steps`` are in the order judged, up to the first that denied."""

    eni_id: str
    direction: Direction
    steps: tuple[Step, ...]

    @property
    def decisive(self) -> Step:
        """The step that denied; of an accepted packet the groups', which every packet passes and an ACL need not be."""
        denied = [step for step in self.steps if step.action == "deny"]
        groups = [step for step in self.steps if step.stage == "security group"]
        return (denied or groups)[0]

    @property
    def action(self) -> Action:
        return self.decisive.action

    @property
    def stage(self) -> Stage:
        return self.decisive.stage

    @property
    def rule(self) -> Rule | None:
        return self.decisive.rule


@dataclass(frozen=True)
class Verdict:
    """``at_source`` is None where no ENI has the source address, ``at_destination`` where the packet did not arrive."""

    at_source: Judgement | None
    at_destination: Judgement | None

    @property
    def delivered(self) -> bool:
        return self.at_destination is not None and self.at_destination.action == "allow"


def judge(cloud: Cloud, packet: Packet, established: bool = False, *, vpc_id: str | None = None) -> Verdict:
    """What the cloud does with ``packet`` between two ENIs of one VPC.

    ``established``: it belongs to a connection whose first packet was let through. ``vpc_id`` is needed only where
    addresses occur in several VPCs.
    """
    source, destination = _ends(cloud, packet, vpc_id)
    same_subnet = source and destination and source.subnet_id == destination.subnet_id
    at_source = at_destination = None
    if source:
        steps = [_ask_groups(cloud, source, "egress", packet, established)]
        if steps[-1].action == "allow" and not same_subnet:
            steps += _ask_acl(cloud, source, "egress", packet)
        at_source = Judgement(source.id, "egress", tuple(steps))
    if destination and (at_source is None or at_source.action == "allow"):
        steps = [] if same_subnet else _ask_acl(cloud, destination, "ingress", packet)
        if not steps or steps[-1].action == "allow":
            steps.append(_ask_groups(cloud, destination, "ingress", packet, established))
        at_destination = Judgement(destination.id, "ingress", tuple(steps))
    return Verdict(at_source, at_destination)


def matches(cloud: Cloud, rule: Rule, packet: Packet) -> bool:
    """Whether ``rule`` is about this packet; None in a rule means any."""
    services = ((rule.protocol, rule.ports),) if rule.service is None else cloud.services_of(rule.service)
    if not any(_is_of(packet, protocol, ports) for protocol, ports in services):
        return False
    if rule.source_ports is not None and not any(low <= packet.src_port <= high for low, high in rule.source_ports):
        return False
    other_side, this_side = (packet.src, packet.dst) if rule.direction == "ingress" else (packet.dst, packet.src)
    if rule.local is not None and this_side not in rule.local:
        return False
    if rule.peer is None:
        return True
    if rule.peer in cloud.groups:
        return other_side in cloud.group_members(str(rule.peer))
    if isinstance(rule.peer, str):
        return any(first <= other_side <= last for first, last in cloud.addresses_of(rule.peer))
    return other_side in rule.peer


def _is_of(packet: Packet, protocol: int | None, ports: Sequence[tuple[int, int]] | None) -> bool:
    if protocol is not None and protocol != packet.protocol:
        return False
    if ports is None:
        return True
    return packet.protocol in PORTS_PROTOCOLS and any(low <= packet.dst_port <= high for low, high in ports)


def _ask_groups(cloud: Cloud, eni: Eni, direction: Direction, packet: Packet, established: bool) -> Step:
    if established:
        return Step("security group", "allow", None)
    rule = _first_match(cloud, cloud.group_rules(eni.vpc_id, eni.groups, direction), packet)
    return Step("security group", rule.action, rule)


def _ask_acl(cloud: Cloud, eni: Eni, direction: Direction, packet: Packet) -> list[Step]:
    """No step where the subnet has no ACL."""
    acl_id = cloud.subnets[eni.subnet_id].acl_id
    if acl_id is None:
        return []
    rule = _first_match(cloud, cloud.acl_rules(acl_id, direction), packet)
    return [Step("network ACL", rule.action, rule)]


def _first_match(cloud: Cloud, rules: Sequence[Rule], packet: Packet) -> Rule:
    return next(rule for rule in rules if matches(cloud, rule, packet))


def _ends(cloud: Cloud, packet: Packet, vpc_id: str | None) -> tuple[Eni | None, Eni | None]:
    """The attached ENIs with the packet's addresses, in the one VPC that has either."""
    vpcs = [vpc_id] if vpc_id is not None else list(cloud.vpcs)
    attached = {(eni.vpc_id, eni.address): eni for eni in cloud.enis.values() if eni.cvm_id is not None}
    ends = [(attached.get((vpc, packet.src)), attached.get((vpc, packet.dst))) for vpc in vpcs]
    ends = [(source, destination) for source, destination in ends if source or destination]
    if len(ends) != 1:
        found = "none" if not ends else f"{len(ends)} VPCs; name one by vpc_id="
        raise ValueError(f"packet {packet.src} > {packet.dst}: ENIs with these addresses are in {found}")
    return ends[0]
