"""Rules of security groups and network ACLs: adding, removing, and the complete lists that judge a packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emulator.cloud.addresses import parse_any_network
from emulator.cloud.model import (
    PORTS_PROTOCOLS,
    Action,
    Direction,
    Network,
    NetworkAcl,
    Rule,
    SecurityGroup,
    TemplateKind,
)
from emulator.cloud.numbers import MOST, RuleOrigin, Stage
from emulator.cloud.rules import (
    FIRST,
    LAST,
    by_priority,
    parse_action,
    parse_direction,
    parse_ports,
    parse_protocol,
    renumber,
)
from emulator.cloud.templates import ADDRESSES, SERVICES, Templates
from emulator.errors import AlreadyExists, InvalidValue, NotFound, QuotaExceeded, Unsupported

Owner = SecurityGroup | NetworkAcl

ICMP, ICMPV6 = 1, 58

POOL_PRIORITIES = (1, 100)
"""Alibaba's rule priorities, 1 first; the default is 1."""


class RuleBook(Templates):
    """Every rule there is. A list-ordered rule's priority is its position now; it moves when others come and go."""

    def add_rule(
        self,
        owner_id: str,
        direction: str,
        action: str,
        *,
        protocol: str | int | None = None,
        port: str | int | None = None,
        cidr: str | Network | None = None,
        priority: int | None = None,
        source_port: str | int | None = None,
        local_cidr: str | Network | None = None,
    ) -> Rule:
        """One more rule of a security group or network ACL; what is left out means any.

        ``cidr`` may be the id of a security group of the same VPC, in a group's rule: its members are meant; or of a
        template of addresses. ``port`` may be the id of a template of services, which says the protocols too, or of a
        port list, beside a protocol that has ports.
        ``source_port`` and ``local_cidr``, this side's addresses, are for Tencent's quintuple ACLs and Alibaba's
        groups. ``priority``: in a Tencent group the PolicyIndex, 0 first; in an ACL the position, 1 first; where left
        out the rule goes to the end (of an Alibaba ACL: before the default rules at its end). In an Alibaba group 1 to
        100, default 1. The same rule once more is refused by Tencent's groups and changes nothing in Alibaba's.
        """
        owner = self._owner(owner_id)
        number = parse_protocol(self.profile, protocol)
        way, verdict = parse_direction(self.profile, direction), parse_action(self.profile, action)
        service = self._parse_service(owner, port, number)
        rule = Rule(
            number=0,
            id="",
            direction=way,
            action=verdict,
            protocol=number,
            ports=None if service else parse_ports(self.profile, port, number),
            peer=None if cidr is None else self._parse_peer(owner, cidr),
            service=service,
        )
        if source_port is not None or local_cidr is not None:
            rule = self._with_local_side(owner, rule, source_port, local_cidr)
        self._check_family(owner, rule)
        beside = tuple(other for other in owner.rules if other.direction == rule.direction)
        if self._pooled(owner):
            index = len(beside)
            rule = replace(rule, priority=self._pool_priority(owner, priority))
        else:
            index = self._position(owner, beside, priority)
            rule = replace(rule, priority=self._first(owner) + index)
        if isinstance(owner, SecurityGroup) and (same := self._same(owner, beside, rule)):
            if not self.profile.duplicate_rules_refused:
                return same
            raise self.profile.refusal(
                AlreadyExists,
                "rule.duplicate",
                f"security group {owner.name} has the rule '{same}' already (priority {same.priority}); "
                "remove that one to move it",
                object=owner.id,
                value=str(same),
            )
        self._check_weight(owner, (*owner.rules, rule))
        for groups in self._bound_lists(owner.id):
            self._check_eni_rules(groups, self.rule_weight(rule))
        rule = self._enter(owner, rule, beside)
        others = tuple(other for other in owner.rules if other.direction != rule.direction)
        self._store(owner, (*others, *beside[:index], rule, *beside[index:]))
        return rule

    def remove_rule(self, owner_id: str, rule_id: str) -> Rule:
        """Take a rule away; its number stays its own. A provider's final rule has no id and cannot be removed."""
        owner = self._owner(owner_id)
        for rule in owner.rules:
            if rule.id == rule_id:
                kept = tuple(other for other in owner.rules if other.id != rule_id)
                self._store(owner, kept)
                return rule
        raise self.profile.refusal(
            NotFound,
            "rule.missing",
            f"{_stage(owner)} {owner.name} has no rule {rule_id!r}; it has {len(owner.rules)} rules, see .rules",
            object=owner.id,
            value=rule_id,
        )

    def group_rules(self, vpc_id: str, groups: Sequence[str], direction: str) -> tuple[Rule, ...]:
        """The list that judges an ENI bound to ``groups``: first match wins, what the provider always lets pass stands
        first, the last one matches everything."""
        way = parse_direction(self.profile, direction)
        bound = [self._group(group_id) for group_id in groups]
        written = tuple(rule for group in bound for rule in group.rules if rule.direction == way)
        if self.profile.pooled_groups:
            written = by_priority(written)
        implied = [
            rule for owner_id in (*groups, vpc_id) for rule in self._implied.get(owner_id, ()) if rule.direction == way
        ]
        always = [rule for rule in implied if rule.priority == FIRST]
        return (*always, *written, *(rule for rule in implied if rule.priority != FIRST))

    def acl_rules(self, acl_id: str, direction: str) -> tuple[Rule, ...]:
        """The list that judges what crosses a subnet of this ACL: Alibaba's rules for its own services first; the last
        rule denies everything."""
        way = parse_direction(self.profile, direction)
        own = self._implied[acl_id]
        rules = [rule for rule in own if rule.priority == FIRST]
        rules += [*self._acl(acl_id).rules, *(rule for rule in own if rule.priority != FIRST)]
        return tuple(rule for rule in rules if rule.direction == way)

    def rule_origin(self, vpc_id: str, number: int) -> RuleOrigin:
        """The rule behind a number, also one that was removed, as it was when it decided."""
        origin = self._numbers.origin(vpc_id, number)
        if origin is None:
            raise self.profile.refusal(
                NotFound,
                "rule.missing",
                f"no rule of VPC {vpc_id!r} ever had the number {number}",
                object=vpc_id,
                value=number,
            )
        owner = self.groups.get(origin.owner_id) or self.acls.get(origin.owner_id)
        present = (*(owner.rules if owner else ()), *self._implied.get(origin.owner_id or vpc_id, ()))
        live = next((rule for rule in present if rule.number == number), None)
        return replace(origin, rule=live or origin.rule, current=live is not None)

    def rule_numbers(self, vpc_id: str) -> range:
        """Every number that a rule of a VPC ever had."""
        return range(1, self._numbers.given(vpc_id) + 1)

    def _owner(self, owner_id: str) -> Owner:
        return self._acl(owner_id) if owner_id in self.acls else self._group(owner_id)

    def _with_local_side(
        self, owner: Owner, rule: Rule, source_port: str | int | None, local_cidr: str | Network | None
    ) -> Rule:
        what = f"rule of {_stage(owner)} {owner.name}"
        if not (self.profile.pooled_groups if isinstance(owner, SecurityGroup) else owner.type == "quintuple"):
            raise self.profile.refusal(
                Unsupported,
                "rule.quintuple",
                f"{what}: it names no source port or addresses of its own side; leave out source_port, local_cidr"
                + (", or create the ACL with type='quintuple'" if "quintuple" in self.profile.acl_types else ""),
                object=owner.id,
                value=local_cidr if source_port is None else source_port,
            )
        local = None
        if local_cidr is not None:
            local = parse_any_network(self.profile, local_cidr, what, malformed="rule.peer", host_bits="rule.peer")
        return replace(rule, source_ports=parse_ports(self.profile, source_port, rule.protocol), local=local)

    def _check_family(self, owner: Owner, rule: Rule) -> None:
        """Refuse IPv4 and IPv6 in one rule."""
        networks = [
            network for network in (rule.peer, rule.local) if network is not None and not isinstance(network, str)
        ]
        versions, what = {network.version for network in networks}, f"rule of {_stage(owner)} {owner.name}"
        other = {
            ICMP: (6, "icmp has no IPv6 addresses; say icmpv6"),
            ICMPV6: (4, "icmpv6 has no IPv4 addresses; say icmp"),
        }
        version, why = other.get(rule.protocol or 0, (0, ""))
        if len(versions) > 1:
            why = f"{' and '.join(map(str, networks))} are of two families; write two rules"
        elif version not in versions:
            return
        raise self.profile.refusal(
            InvalidValue, "rule.family", f"{what}: {why}", object=owner.id, value=" ".join(map(str, networks))
        )

    def _parse_service(self, owner: Owner, port: str | int | None, protocol: int | None) -> str | None:
        """The id of a template of services or of a port list, where ``port`` is one."""
        if self._names(port, ("port_list",)):
            if protocol not in PORTS_PROTOCOLS:
                raise self.profile.refusal(
                    InvalidValue,
                    "rule.port_list",
                    f"port {port!r}: a port list is for a protocol with ports; say tcp or udp beside it",
                    object=owner.id,
                    value=port,
                )
            return self._parse_template(owner, str(port))
        if not self._names(port, SERVICES):
            return None
        if protocol is not None:
            raise self.profile.refusal(
                InvalidValue,
                "rule.port",
                f"port {port!r}: the template says the protocols itself; leave the protocol out",
                object=owner.id,
                value=port,
            )
        return self._parse_template(owner, str(port))

    def _parse_template(self, owner: Owner, template_id: str) -> str:
        template = self._template(template_id)
        if isinstance(owner, NetworkAcl):
            raise self.profile.refusal(
                Unsupported,
                "rule.port" if template.kind == "port_list" else "rule.template",
                f"network ACL {owner.name} knows no lists; write out {template.name} ({template_id})",
                object=owner.id,
                value=template_id,
            )
        return template_id

    def _names(self, word: object, kinds: Sequence[TemplateKind]) -> bool:
        """Whether this is an id of one of these kinds, and no CIDR or port."""
        return isinstance(word, str) and word.startswith(tuple(self.profile.id_prefixes[kind] for kind in kinds))

    def _parse_peer(self, owner: Owner, cidr: str | Network) -> Network | str:
        if self._names(cidr, ADDRESSES):
            return self._parse_template(owner, str(cidr))
        if not isinstance(cidr, str) or not cidr.startswith(self.profile.id_prefixes["group"]):
            what = f"rule of {_stage(owner)} {owner.name}"
            return parse_any_network(self.profile, cidr, what, malformed="rule.peer", host_bits="rule.peer")
        peer = self._group(cidr)
        if isinstance(owner, NetworkAcl):
            raise self.profile.refusal(
                Unsupported,
                "rule.peer_group",
                f"network ACL {owner.name} knows no security groups; give a CIDR instead of {cidr}",
                object=owner.id,
                value=cidr,
            )
        if owner.type == "enterprise":
            raise self.profile.refusal(
                Unsupported,
                "rule.enterprise",
                f"security group {owner.name} is an enterprise group, whose rules name no groups; "
                f"give a CIDR or a prefix list instead of {cidr}",
                object=owner.id,
                value=cidr,
            )
        if peer.vpc_id != owner.vpc_id:
            raise self.profile.refusal(
                InvalidValue,
                "rule.peer_group",
                f"security group {cidr} is in VPC {peer.vpc_id}, {owner.name} in {owner.vpc_id}; "
                "give one of the same VPC, or a CIDR",
                object=owner.id,
                value=cidr,
            )
        return cidr

    def _pool_priority(self, owner: Owner, priority: int | None) -> int:
        least, most = POOL_PRIORITIES
        return least if priority is None else self._check_priority(owner, priority, least, most)

    def _position(self, owner: Owner, beside: Sequence[Rule], priority: int | None) -> int:
        """The place in ``beside`` for a rule of a list-ordered owner."""
        if priority is not None:
            first = self._first(owner)
            return self._check_priority(owner, priority, first, first + len(beside)) - first
        index = len(beside)
        while isinstance(owner, NetworkAcl) and index and beside[index - 1].default:
            index -= 1
        return index

    def _pooled(self, owner: Owner) -> bool:
        return isinstance(owner, SecurityGroup) and self.profile.pooled_groups

    def _first(self, owner: Owner) -> int:
        """The priority of the first rule of a list: a Tencent group's PolicyIndex counts from 0, ACLs from 1."""
        return 0 if isinstance(owner, SecurityGroup) else 1

    def _same(self, owner: Owner, beside: Sequence[Rule], rule: Rule) -> Rule | None:
        """The tenant's rule that says the same; in a pool, where a priority is part of a rule, at the same one."""
        pooled = self._pooled(owner)

        def says(rule: Rule) -> tuple[object, ...]:
            what = rule.action, rule.protocol, rule.ports, rule.service, rule.peer, rule.source_ports, rule.local
            return *what, rule.priority if pooled else None

        wanted = says(rule)
        alike = (other for other in beside if other.ports == rule.ports and not other.default)
        return next((other for other in alike if says(other) == wanted), None)

    def _check_priority(self, owner: Owner, priority: int, least: int, most: int) -> int:
        if isinstance(priority, bool) or not isinstance(priority, int) or not least <= priority <= most:
            raise self.profile.refusal(
                InvalidValue,
                "rule.priority",
                f"priority {priority!r} in {_stage(owner)} {owner.name}: give {least} to {most}, or leave it out",
                object=owner.id,
                value=priority,
            )
        return priority

    def _enter(self, owner: Owner, rule: Rule, beside: Sequence[Rule]) -> Rule:
        """``rule`` with its id and number, once quotas allow one more."""
        where = f"{_stage(owner)} {owner.name} ({rule.direction})"
        tenants = sum(not other.default for other in beside)
        if isinstance(owner, SecurityGroup):
            self._check_quota("group_rules", tenants, "group.rule_quota", where)
        else:
            self._check_quota("acl_rules", tenants, "acl.rule_quota", where)
        self._need_numbers(owner.vpc_id, 1)
        return self._write(owner, rule)

    def _write(self, owner: Owner, rule: Rule) -> Rule:
        kind = "group_rule" if isinstance(owner, SecurityGroup) else "acl_rule"
        rule = replace(rule, id=self._ids.new(kind))
        return self._number(owner.vpc_id, rule, _stage(owner), owner.id, owner.name)

    def _store(self, owner: Owner, rules: Sequence[Rule]) -> None:
        """Put ``rules`` in their order, ingress before egress, into ``owner``."""
        ingress = tuple(rule for rule in rules if rule.direction == "ingress")
        egress = tuple(rule for rule in rules if rule.direction == "egress")
        if self._pooled(owner):
            ordered = (*by_priority(ingress), *by_priority(egress))
        else:
            ordered = (*renumber(ingress, self._first(owner)), *renumber(egress, self._first(owner)))
        if isinstance(owner, SecurityGroup):
            self.groups[owner.id] = replace(owner, rules=ordered)
        else:
            self.acls[owner.id] = replace(owner, rules=ordered)

    def _need_numbers(self, vpc_id: str, count: int) -> None:
        if self._numbers.left(vpc_id) < count:
            raise self.profile.refusal(
                QuotaExceeded,
                "rule.numbers",
                f"VPC {vpc_id} has used up its {MOST} rule numbers, which are never given twice; use another VPC",
                object=vpc_id,
                value=MOST,
            )

    def _number(self, vpc_id: str, rule: Rule, stage: Stage, owner_id: str = "", owner_name: str = "") -> Rule:
        return self._numbers.give(vpc_id, lambda number: replace(rule, number=number), stage, owner_id, owner_name)


def implied(direction: Direction, action: Action, peer: str | Network | None = None, *, priority: int = LAST) -> Rule:
    """A provider's own rule, behind all that a tenant writes, or FIRST before it; it has no id."""
    return Rule(0, "", direction, action, peer=peer, priority=priority, default=True)


def _stage(owner: Owner) -> Stage:
    return "security group" if isinstance(owner, SecurityGroup) else "network ACL"
