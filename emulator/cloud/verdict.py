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
from functools import cache, cached_property

from emulator.cloud.account import Cloud
from emulator.cloud.model import PORTS_PROTOCOLS, Action, Address, Direction, Eni, Rule
from emulator.cloud.numbers import Stage

Ports = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Packet:
    """``protocol`` is the IANA number, of IPv6 that behind its extension headers; ports count only where the protocol
    has them (TCP, UDP, ...). Both addresses are of one family."""

    src: Address
    dst: Address
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
    """What the cloud does with ``packet`` between two ENIs of one VPC; of many packets a :class:`Judge` is asked.

    ``established``: it belongs to a connection whose first packet was let through. ``vpc_id`` is needed only where
    addresses occur in several VPCs.
    """
    return Judge(cloud).verdict(packet, established, vpc_id=vpc_id)


def matches(cloud: Cloud, rule: Rule, packet: Packet) -> bool:
    """Whether ``rule`` is about this packet; None in a rule means any."""
    return Judge(cloud).matches(rule, packet)


class Judge:
    """Verdicts by a cloud as it is now: what was looked up for one packet is kept for the next.

    After a change of the cloud another one is needed.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._members = cache(lambda group_id: frozenset(cloud.group_members(group_id)))
        self._addresses = cache(cloud.addresses_of)
        self._services = cache(cloud.services_of)
        self._group_rules = cache(cloud.group_rules)
        self._acl_rules = cache(cloud.acl_rules)

    def verdict(self, packet: Packet, established: bool = False, *, vpc_id: str | None = None) -> Verdict:
        """As :func:`judge` says."""
        source, destination = self._ends(packet, vpc_id)
        at_source = at_destination = None
        if source:
            at_source = self.departure(source, packet, established)
        if destination and (at_source is None or at_source.action == "allow"):
            at_destination = self.arrival(destination, packet, established)
        return Verdict(at_source, at_destination)

    def at(self, eni: Eni, packet: Packet, direction: Direction, *, established: bool = False) -> Judgement:
        """What becomes of a packet at one ENI."""
        judge = self.arrival if direction == "ingress" else self.departure
        return judge(eni, packet, established)

    def departure(self, eni: Eni, packet: Packet, established: bool = False) -> Judgement:
        """What becomes of a packet that leaves ``eni``."""
        steps = [self._ask_groups(eni, "egress", packet, established)]
        if steps[-1].action == "allow":
            steps += self._ask_acl(eni, "egress", packet)
        return Judgement(eni.id, "egress", tuple(steps))

    def arrival(self, eni: Eni, packet: Packet, established: bool = False) -> Judgement:
        """What becomes of a packet that has come to ``eni``, whatever its address: of a broadcast's copy."""
        steps = self._ask_acl(eni, "ingress", packet)
        if not steps or steps[-1].action == "allow":
            steps.append(self._ask_groups(eni, "ingress", packet, established))
        return Judgement(eni.id, "ingress", tuple(steps))

    def matches(self, rule: Rule, packet: Packet) -> bool:
        """Whether ``rule`` is about this packet; None in a rule means any."""
        if rule.service is None:
            if not _is_of(packet, rule.protocol, rule.ports):
                return False
        elif not any(
            _is_of(packet, protocol, ports) for protocol, ports in self._services(rule.service, rule.protocol)
        ):
            return False
        if rule.source_ports is not None and not _within(packet.src_port, rule.source_ports):
            return False
        other_side, this_side = (packet.src, packet.dst) if rule.direction == "ingress" else (packet.dst, packet.src)
        if rule.local is not None and this_side not in rule.local:
            return False
        if rule.peer is None:
            return True
        if not isinstance(rule.peer, str):
            return other_side in rule.peer
        if rule.peer in self._cloud.groups:
            return other_side in self._members(rule.peer)
        return any(_between(first, other_side, last) for first, last in self._addresses(rule.peer))

    def _ask_groups(self, eni: Eni, direction: Direction, packet: Packet, established: bool) -> Step:
        if established:
            return Step("security group", "allow", None)
        rule = self._first_match(self._group_rules(eni.vpc_id, eni.groups, direction), packet)
        return Step("security group", rule.action, rule)

    def _ask_acl(self, eni: Eni, direction: Direction, packet: Packet) -> list[Step]:
        """No step where the subnet has no ACL, nor for what stays inside it, whether anybody has the address or not."""
        subnet = self._cloud.subnets[eni.subnet_id]
        if subnet.acl_id is None or subnet.holds(packet.dst if direction == "egress" else packet.src):
            return []
        rule = self._first_match(self._acl_rules(subnet.acl_id, direction), packet)
        return [Step("network ACL", rule.action, rule)]

    def _first_match(self, rules: Sequence[Rule], packet: Packet) -> Rule:
        return next(rule for rule in rules if self.matches(rule, packet))

    def _ends(self, packet: Packet, vpc_id: str | None) -> tuple[Eni | None, Eni | None]:
        """The attached ENIs with the packet's addresses, in the one VPC that has either."""
        sources, destinations = self._attached.get(packet.src, {}), self._attached.get(packet.dst, {})
        vpcs = sources.keys() | destinations.keys() if vpc_id is None else [vpc_id]
        ends = [(sources.get(vpc), destinations.get(vpc)) for vpc in vpcs]
        ends = [(source, destination) for source, destination in ends if source or destination]
        if len(ends) != 1:
            found = "none" if not ends else f"{len(ends)} VPCs; name one by vpc_id="
            raise ValueError(f"packet {packet.src} > {packet.dst}: ENIs with these addresses are in {found}")
        return ends[0]

    @cached_property
    def _attached(self) -> dict[Address, dict[str, Eni]]:
        """The ENIs at CVMs: address → VPC → ENI."""
        found: dict[Address, dict[str, Eni]] = {}
        for eni in self._cloud.enis.values():
            if eni.cvm_id is not None:
                for address in eni.addresses:
                    found.setdefault(address, {})[eni.vpc_id] = eni
        return found


def _is_of(packet: Packet, protocol: int | None, ports: Ports | None) -> bool:
    if protocol is not None and protocol != packet.protocol:
        return False
    return ports is None or (packet.protocol in PORTS_PROTOCOLS and _within(packet.dst_port, ports))


def _between(first: Address, address: Address, last: Address) -> bool:
    return first.version == address.version and int(first) <= int(address) <= int(last)


def _within(port: int, ports: Ports) -> bool:
    for low, high in ports:  # noqa: SIM110 - any() takes twice as long
        if low <= port <= high:
            return True
    return False
