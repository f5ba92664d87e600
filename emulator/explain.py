"""Why a record says what it says, or what would become of a packet: each list of rules on the way, and who decided.

Which rule decided for a record is the kernel's own word: its number was in the mark that the packet was counted under.
What else stood on the packet's way left no trace there; it is told by the rules as they are now, and marked as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Literal

from emulator.cloud.account import Cloud
from emulator.cloud.model import EXTENSION_HEADERS, PORTS_PROTOCOLS, Direction, Eni, Rule
from emulator.cloud.numbers import RuleOrigin, Stage
from emulator.cloud.verdict import Judge, Judgement, Packet, judge, matches
from emulator.errors import InvalidValue
from emulator.outlook import outlook

_WAYS: dict[str, Direction] = {"out": "egress", "in": "ingress"}
_ACTIONS = {"allow": "ACCEPT", "deny": "REJECT"}

_NAMED = 5
"""So many of the ENIs that reject a broadcast are named in a sentence; ``other_side`` has all."""


@dataclass(frozen=True)
class Look:
    """One list of rules on a packet's way.

    ``passed``   the rules looked at before the one that decided, in order
    ``rule``     the one that decided; None for a packet of an established connection
    ``state``    "established" where the connection's state let it pass and no rule was looked at
    ``recorded`` True where the kernel named the rule, False where the rules as they are now say so
    """

    eni_id: str
    direction: Literal["in", "out"]
    stage: Stage
    owner_ids: tuple[str, ...]
    passed: tuple[Rule, ...]
    rule: Rule | None
    action: str
    state: str | None
    recorded: bool

    def __str__(self) -> str:
        owners = ", ".join(self.owner_ids)
        text = f"{self.eni_id} {self.direction}, {self.stage} {owners}: {self.action}"
        if self.rule is None:
            return text + ", the packet belongs to an established connection"
        text += f" by {_named(self.rule)}"
        if self.state is not None:
            text += f", which let the connection through, and its {self.state} packets pass"
        elif self.passed:
            text += f", after {len(self.passed)} that did not match"
        return text if self.recorded else text + " (by the rules as they are now)"


@dataclass(frozen=True)
class Explanation:
    """``stage`` is "security group" or "network ACL"; ``rule`` is None for NODATA and SKIPDATA, and where the lab that
    counted is gone. ``current`` is False for a rule that was removed since; ``rule`` is then as it was.

    ``walk`` are the lists of rules on the packet's way through this ENI, ``other_side`` those at the other end, of a
    broadcast at every other ENI of the subnet, in the order in which they judge; empty where nobody has the address, or
    the ENI is gone. ``text`` is one line,
    ``in_full`` all of it.
    """

    action: str | None
    direction: str | None
    eni_id: str
    stage: str | None
    owner_id: str | None
    owner_name: str | None
    rule: Rule | None
    current: bool
    text: str
    walk: tuple[Look, ...] = ()
    other_side: tuple[Look, ...] = ()
    difference: str = ""
    """Why the other side's record says something else, why there is none or more than one; empty where both say the
    same."""

    def __str__(self) -> str:
        return self.text

    @property
    def in_full(self) -> str:
        steps = [f"  {number}. {look}" for number, look in enumerate(self.walk, 1)]
        other = [f"  other side: {look}" for look in self.other_side]
        return "\n".join([self.text, *steps, *other, *([f"  {self.difference}"] if self.difference else [])])


def explain(
    cloud: Cloud | None, meta: Mapping[str, Any], action: str | None, status: str, packet: Packet | None = None
) -> Explanation:
    """A record's explanation.

    ``meta`` are its hidden columns, ``packet`` is one of those it counted; ``cloud`` is that of the lab that counted
    them, None where that is gone.
    """
    eni_id, direction, number = str(meta["eni_id"]), meta["direction"], meta["rule"]
    if number is None and status == "OK":
        return Explanation(action, direction, eni_id, None, None, None, None, False, _between_regions(meta, action))
    if number is None:
        why = {
            "NODATA": f"no packet passed {eni_id} in this window",
            "SKIPDATA": f"{meta['skipped']} packets at {eni_id} found no room in a kernel table in this window",
        }.get(status, f"{eni_id}: no rule is known for this record")
        return Explanation(action, direction, eni_id, None, None, None, None, False, why)
    if cloud is None:
        gone = f"{eni_id}: an earlier lab on this data folder counted this, and its rules went with it"
        return Explanation(action, direction, eni_id, None, None, None, None, False, gone)
    origin = cloud.rule_origin(str(meta["vpc_id"]), int(number))
    rule = origin.rule
    text = f"{action} of what {'left' if direction == 'out' else 'reached'} {eni_id}: {named_rule(origin)}"
    reply = (rule.direction == "egress") != (direction == "out")
    if reply:
        text += "; the packet belongs to a connection that this rule let through the other way"
    if not origin.current:
        text += "; the rule has been removed since"
    found = Explanation(
        action, direction, eni_id, origin.stage, origin.owner_id, origin.owner_name, rule, origin.current, text
    )
    eni = cloud.enis.get(eni_id)
    if packet is None or eni is None or eni.cvm_id is None:
        return found
    return _with_walk(cloud, found, eni, packet, origin, reply)


def _between_regions(meta: Mapping[str, Any], action: str | None) -> str:
    """Of a record of a CCN, where no rule decides."""
    way = f"{meta['eni_id']} from {meta.get('src_region')} to {meta.get('dst_region')}"
    if action == "REJECT":
        return f"REJECT of what was over the bandwidth of {way}"
    return f"it passed {way}; no rule of yours decides there"


def explain_packet(cloud: Cloud, packet: Packet, vpc_id: str | None = None) -> Explanation:
    """What would become of a packet that begins a connection, by the rules as they are now.

    Raises InvalidValue where no ENI has an address of it, or several VPCs have one.
    """
    try:
        verdict = judge(cloud, packet, vpc_id=vpc_id)
    except ValueError as error:
        raise cloud.profile.refusal(
            InvalidValue, "packet.addresses", f"{error}; give a packet between ENIs of this lab", value=str(packet)
        ) from None
    last = verdict.at_destination or verdict.at_source
    assert last is not None  # one end is an ENI
    walks = [tuple(_looks(cloud, one)) for one in (verdict.at_source, verdict.at_destination) if one is not None]
    assert last.rule is not None  # it begins a connection
    way = walks[-1][-1].direction
    eni = cloud.enis[last.eni_id]
    origin = cloud.rule_origin(eni.vpc_id, last.rule.number)
    other: tuple[Look, ...] = ()
    difference = ""
    if verdict.at_destination is None and cloud.subnets[eni.subnet_id].is_everybody(packet.dst):
        other, difference = _everybody(cloud, eni, packet, _ACTIONS[last.action])
    elif verdict.at_destination is None and last.action == "allow":
        difference = outlook(cloud, eni, packet.src, packet.dst) or f"nobody in the VPC has {packet.dst}"
    text = f"{_ACTIONS[last.action]} of what {'leaves' if way == 'out' else 'reaches'} {last.eni_id}: {_owner(origin)}"
    return Explanation(
        _ACTIONS[last.action],
        way,
        last.eni_id,
        last.stage,
        origin.owner_id,
        origin.owner_name,
        last.rule,
        True,
        f"{text}, {_named(last.rule)}",
        walk=tuple(look for walk in walks for look in walk),
        other_side=other,
        difference=difference,
    )


def look_at(cloud: Cloud, packet: Packet, eni_id: str, way: str, established: bool) -> Look | None:
    """The list of rules that decides about a packet at one ENI, on its way ``out`` or ``in``, by the rules as they are
    now; None where none there is asked. Raises ValueError as :func:`judge` does."""
    verdict = judge(cloud, packet, established, vpc_id=cloud.enis[eni_id].vpc_id)
    there = verdict.at_source if way == "out" else verdict.at_destination
    if there is None or there.eni_id != eni_id:
        return None
    return next(look for step, look in zip(there.steps, _looks(cloud, there), strict=True) if step is there.decisive)


def packet_of(thing: Any) -> Packet | None:
    """A :class:`Packet` as it is, a scapy packet's IP layer, or None for what is neither."""
    if isinstance(thing, Packet):
        return thing
    layers = iter(thing.iterpayloads() if hasattr(thing, "iterpayloads") else ())
    ip = next((layer for layer in layers if layer.name in ("IP", "IPv6")), None)
    if ip is None:
        return None
    protocol, upper = int(ip.proto if ip.name == "IP" else ip.nh), ip.payload
    while ip.name == "IPv6" and protocol in EXTENSION_HEADERS and hasattr(upper, "nh"):
        protocol, upper = int(upper.nh), upper.payload
    ports = protocol in PORTS_PROTOCOLS and hasattr(upper, "dport")
    return Packet(
        ip_address(ip.src),
        ip_address(ip.dst),
        protocol,
        int(upper.sport) if ports else 0,
        int(upper.dport) if ports else 0,
    )


def packet_in(record: Mapping[str, Any]) -> Packet | None:
    """A packet such as a record counted; None where it lacks what makes one (NODATA)."""
    try:
        ports = int(record["protocol"]) in PORTS_PROTOCOLS
        return Packet(
            ip_address(record["srcaddr"]),
            ip_address(record["dstaddr"]),
            int(record["protocol"]),
            int(record["srcport"]) if ports else 0,
            int(record["dstport"]) if ports else 0,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _with_walk(
    cloud: Cloud, found: Explanation, eni: Eni, packet: Packet, origin: RuleOrigin, reply: bool
) -> Explanation:
    """The explanation with the walk through both ENIs. Of a reply the state is known: a rule let its connection
    through."""
    walk = tuple(_walk(cloud, found, eni, packet, origin.rule, reply))
    if found.direction == "out" and cloud.subnets[eni.subnet_id].is_everybody(packet.dst):
        other, difference = _everybody(cloud, eni, packet, str(found.action))
        return replace(found, walk=walk, other_side=other, difference=difference)
    try:
        verdict = judge(cloud, packet, reply, vpc_id=eni.vpc_id)
    except ValueError:  # no ENI has either address any more
        return replace(found, walk=walk)
    there = verdict.at_destination if found.direction == "out" else verdict.at_source
    other = tuple(_looks(cloud, there)) if there is not None else ()
    return replace(found, walk=walk, other_side=other, difference=_difference(cloud, found, packet, eni, other))


def _walk(cloud: Cloud, found: Explanation, eni: Eni, packet: Packet, decided: Rule, reply: bool) -> Iterator[Look]:
    """The lists of rules at the ENI that a record is of, as far as the packet came."""
    way = _WAYS[str(found.direction)]
    subnet = cloud.subnets[eni.subnet_id]
    stages: list[Stage] = ["security group"]
    far = packet.dst if way == "egress" else packet.src
    if subnet.acl_id is not None and not subnet.holds(far):
        stages.insert(1 if way == "egress" else 0, "network ACL")
    for stage in stages:
        known = reply and stage == "security group"
        if stage != found.stage:
            rules = _list(cloud, eni, stage, way)
            first = None if known else next((rule for rule in rules if matches(cloud, rule, packet)), None)
            action = "ACCEPT" if first is None else _ACTIONS[first.action]
            yield _look(cloud, eni, way, stage, first, action, "established" if known else None, recorded=False)
            continue
        yield _look(cloud, eni, way, stage, decided, str(found.action), "established" if known else None, recorded=True)
        if found.action == "REJECT":
            return


def _looks(cloud: Cloud, judgement: Judgement) -> Iterator[Look]:
    """What the reference verdict looked at, at one ENI."""
    eni = cloud.enis[judgement.eni_id]
    for step in judgement.steps:
        state = "established" if step.rule is None else None
        action = _ACTIONS[step.action]
        yield _look(cloud, eni, judgement.direction, step.stage, step.rule, action, state, recorded=False)


def _look(
    cloud: Cloud,
    eni: Eni,
    way: Direction,
    stage: Stage,
    rule: Rule | None,
    action: str,
    state: str | None,
    *,
    recorded: bool,
) -> Look:
    owners = eni.groups if stage == "security group" else (str(cloud.subnets[eni.subnet_id].acl_id),)
    rules = _list(cloud, eni, stage, way) if rule is not None and state is None else ()
    numbers = [one.number for one in rules]
    passed = rules[: numbers.index(rule.number)] if rule is not None and rule.number in numbers else ()
    side: Literal["in", "out"] = "out" if way == "egress" else "in"
    return Look(eni.id, side, stage, owners, tuple(passed), rule, action, state, recorded)


def _list(cloud: Cloud, eni: Eni, stage: Stage, way: Direction) -> Sequence[Rule]:
    """The rules that judge there now, in order."""
    if stage == "security group":
        return cloud.group_rules(eni.vpc_id, eni.groups, way)
    return cloud.acl_rules(str(cloud.subnets[eni.subnet_id].acl_id), way)


def _difference(cloud: Cloud, found: Explanation, packet: Packet, eni: Eni, other: Sequence[Look]) -> str:
    """Why the other side's record says something else, or why there is none."""
    far = packet.dst if found.direction == "out" else packet.src
    there = any(far in one.addresses and one.vpc_id == eni.vpc_id and one.cvm_id for one in cloud.enis.values())
    if not there:
        if found.direction == "out" and found.action == "REJECT":
            return f"what was rejected here did not leave the VPC for {far}"
        known = outlook(cloud, eni, packet.src if found.direction == "out" else packet.dst, far)
        return known or f"no ENI in VPC {eni.vpc_id} has {far} now, so there is no record of another side"
    if found.direction == "out" and found.action == "REJECT":
        return f"what was rejected here did not reach {far}, so the ENI there has no record of it"
    said = next((look for look in other if look.action == "REJECT"), None)
    if said is not None and found.action == "ACCEPT":
        return f"accepted here and rejected at {said.eni_id}: there the record says REJECT"
    if found.direction == "in" and found.action == "REJECT":
        return f"rejected here and accepted where it left {far}: there the record says ACCEPT"
    return ""


def _everybody(cloud: Cloud, eni: Eni, packet: Packet, action: str) -> tuple[tuple[Look, ...], str]:
    """What the other ENIs of the subnet make of a broadcast, and what is to be said of their records."""
    subnet = cloud.subnets[eni.subnet_id]
    everybody = f"{packet.dst} is everybody in subnet {subnet.id}"
    if action == "REJECT":
        return (), f"{everybody}; what is rejected here reaches none of them, so they have no record of it"
    if not subnet.broadcast:
        return (), f"{everybody}, which has broadcast off now: it ends here, so there is no record of another side"
    there = [one for one in cloud.enis.values() if one.subnet_id == subnet.id and one.cvm_id and one.id != eni.id]
    if not there:
        return (), f"{everybody}, where no other ENI is now, so there is no record of another side"
    asked = Judge(cloud)
    judgements = [asked.arrival(one, packet) for one in there]
    refusing = [one.eni_id for one in judgements if one.action == "deny"]
    said = f"{everybody}: each other ENI there gets a copy, {len(there)} now, and has a record of its own"
    if refusing:
        said += f", which says REJECT at {', '.join(refusing[:_NAMED])}" + (" ..." if refusing[_NAMED:] else "")
    return tuple(look for one in judgements for look in _looks(cloud, one)), said


def named_rule(origin: RuleOrigin) -> str:
    """A rule, and where it stands."""
    return f"{_owner(origin)}, {_named(origin.rule)}"


def _owner(origin: RuleOrigin) -> str:
    owner = f"{origin.stage} {origin.owner_id}" if origin.owner_id else f"no rule of its {origin.stage}s matched"
    return owner + (f" ({origin.owner_name})" if origin.owner_name not in ("", origin.owner_id) else "")


def _named(rule: Rule) -> str:
    return f"{'default rule' if rule.default else 'rule'}{rule.id and ' ' + rule.id}: {rule}"
