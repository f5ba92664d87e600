"""Lists that rules name in place of an address or of a protocol with its ports, and that rules follow when they change.

| kind | of | entries |
|---|---|---|
| ``prefix_list`` | Alibaba | networks, all of one family |
| ``port_list`` | Alibaba | ports and ranges, ``443`` and ``8000-8100``, of the protocol that the rule names |
| ``address_template`` | Tencent | addresses, ranges ``10.0.0.1-10.0.0.100``, networks |
| ``address_group`` | Tencent | ids of address templates |
| ``service_template`` | Tencent | ``TCP:80``, ``TCP:80,443``, ``TCP:3306-20000``, ``TCP:ALL``, ``ICMP``, ``GRE`` |
| ``service_group`` | Tencent | ids of service templates |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from emulator.cloud.addresses import parse_any_address, parse_any_network
from emulator.cloud.model import PORTS_PROTOCOLS, Address, NetworkAcl, Rule, SecurityGroup, Template, TemplateKind
from emulator.cloud.names import check_name, nearest
from emulator.cloud.profile import Profile
from emulator.cloud.rules import PROTOCOLS, Ports, parse_ports, parse_protocol
from emulator.cloud.state import State
from emulator.errors import AlreadyExists, InUse, InvalidValue, NotFound, QuotaExceeded, Unsupported

GROUPS_OF: dict[TemplateKind, TemplateKind] = {
    "address_group": "address_template",
    "service_group": "service_template",
}
ADDRESSES: tuple[TemplateKind, ...] = ("prefix_list", "address_template", "address_group")
SERVICES: tuple[TemplateKind, ...] = ("service_template", "service_group")

_MAY_BE_EMPTY: tuple[TemplateKind, ...] = ("prefix_list", "port_list")

_OF_PORT_LISTS = {
    "template.missing": "port_list.missing",
    "template.quota": "port_list.quota",
    "template.entries": "port_list.entries",
    "template.entry": "port_list.entry",
    "template.duplicate": "port_list.duplicate",
    "template.in_use": "port_list.in_use",
}
"""The reasons that have codes of their own where the list is one of ports."""

AddressRange = tuple[Address, Address]
Service = tuple[int | None, Ports | None]

_TCP = 6


class Templates(State):
    def create_template(
        self, kind: TemplateKind, entries: Sequence[str], *, name: str | None = None, max_entries: int | None = None
    ) -> Template:
        """One of the provider's kinds; Tencent's have at least one entry. A rule that names it counts as many rules as
        it has entries, or as ``max_entries`` where that was given."""
        what = kind.replace("_", " ")
        if kind not in self.profile.template_kinds:
            known = nearest("", [one.replace("_", " ") for one in self.profile.template_kinds])
            raise self.profile.refusal(
                Unsupported, "template.unsupported", f"{self.profile.name} has no {what}; {known}", value=kind
            )
        if name is not None:
            check_name(self.profile, name, what)
        used = sum(template.kind == kind for template in self.templates.values())
        self._check_quota("templates", used, _reason(kind, "template.quota"), f"the account ({what})")
        self._check_max_entries(kind, max_entries)
        parsed = self._entries(kind, (), entries, what)
        template_id = self._ids.new(kind)
        template = Template(template_id, name or template_id, kind, parsed, max_entries)
        self._check_entries(template)
        self.templates[template_id] = template
        return template

    def add_entries(self, template_id: str, entries: Sequence[str]) -> Template:
        """More entries; what is there already, or a member that is no template of the kind, is refused."""
        template = self._template(template_id)
        parsed = self._entries(template.kind, template.entries, entries, template.name)
        return self._renew(replace(template, entries=(*template.entries, *parsed)))

    def remove_entries(self, template_id: str, entries: Sequence[str]) -> Template:
        """Take entries out, written in any way that means the same."""
        template = self._template(template_id)
        gone = [self._entry(template.kind, entry, template.name) for entry in _several(entries)]
        for entry in gone:
            if entry not in template.entries:
                raise self.profile.refusal(
                    NotFound,
                    "template.entry_missing",
                    f"{template.name} ({template_id}) has no entry {entry}; {nearest(entry, template.entries)}",
                    object=template_id,
                    value=entry,
                )
        return self._renew(replace(template, entries=tuple(one for one in template.entries if one not in gone)))

    def delete_template(self, template_id: str) -> None:
        """Refused while a rule or a group of templates names it."""
        template = self._template(template_id)
        users = [f"{other.kind.replace('_', ' ')} {other.name}" for other in self._groups_with(template_id)]
        users += [f"a rule of security group {owner.name}" for owner in self._owners({template_id})]
        if users:
            raise self.profile.refusal(
                InUse,
                _reason(template.kind, "template.in_use"),
                f"{template.kind.replace('_', ' ')} {template.name} ({template_id}) is in use by "
                f"{', '.join(users[:5])}; take it out there first",
                object=template_id,
                value=tuple(users),
            )
        del self.templates[template_id]

    def template_users(self, template_id: str) -> list[SecurityGroup | NetworkAcl]:
        """Who has rules that name it, or a group that it is in."""
        return self._owners({template_id, *(group.id for group in self._groups_with(template_id))})

    def addresses_of(self, template_id: str) -> tuple[AddressRange, ...]:
        """The addresses that a rule means by it, first and last of each range."""
        return tuple(_address_range(entry) for entry in self._leaves(template_id))

    def services_of(self, template_id: str, protocol: int | None = None) -> tuple[Service, ...]:
        """The protocols that a rule means by it, each with its ports; None is any. A port list has the ports of
        ``protocol``, the rule's own."""
        entries = list(self._leaves(template_id))
        if self._template(template_id).kind == "port_list":
            return ((protocol, parse_ports(self.profile, ",".join(entries), protocol)),) if entries else ()
        return tuple(_service(self.profile, entry) for entry in entries)

    def rule_weight(self, rule: Rule) -> int:
        """How many rules it would be if each entry were written as one."""
        if rule.service is None and not isinstance(rule.peer, str):
            return 1
        is_list = isinstance(rule.peer, str) and rule.peer in self.templates
        addresses = self._size(str(rule.peer)) if is_list else 1
        return addresses * (1 if rule.service is None else self._size(rule.service))

    def _size(self, template_id: str) -> int:
        """How many entries it counts for."""
        return self._template(template_id).max_entries or len(list(self._leaves(template_id)))

    def _check_weight(self, owner: SecurityGroup | NetworkAcl, rules: Iterable[Rule]) -> None:
        weight, most = sum(map(self.rule_weight, rules)), self.quotas.get("expanded_rules")
        if most is not None and weight > most:
            raise self.profile.refusal(
                QuotaExceeded,
                "template.expansion",
                f"{owner.name} ({owner.id}): with their lists written out its rules would be {weight}, at most {most}; "
                "name shorter lists, or raise quotas['expanded_rules']",
                object=owner.id,
                value=weight,
            )

    def _check_eni_rules(self, groups: Sequence[str], more: int = 0) -> None:
        """Refuse more rules over all groups of an ENI, both directions, than the provider allows."""
        rules = [rule for group_id in groups for rule in self.groups[group_id].rules if not rule.default]
        used, most = sum(map(self.rule_weight, rules)) + more, self.quotas.get("eni_rules")
        if most is not None and used > most:
            raise self.profile.refusal(
                QuotaExceeded,
                "group.eni_rules",
                f"security groups {', '.join(groups)} of one ENI: {used} rules together, at most {most}; "
                "remove some, or raise quotas['eni_rules']",
                object=groups[0],
                value=used,
            )

    def _bound_lists(self, owner_id: str) -> set[tuple[str, ...]]:
        """The lists of groups, one of which this is, that ENIs are bound to."""
        return {eni.groups for eni in self.enis.values() if owner_id in eni.groups}

    def _template(self, template_id: str) -> Template:
        is_ports = isinstance(template_id, str) and template_id.startswith(self.profile.id_prefixes["port_list"])
        reason = _reason("port_list", "template.missing") if is_ports else "template.missing"
        return self._lookup(self.templates, template_id, "list or template", reason)

    def _leaves(self, template_id: str) -> Iterator[str]:
        """Its entries; of a group those of its members."""
        template = self._template(template_id)
        if template.kind in GROUPS_OF:
            for member in template.entries:
                yield from self._template(member).entries
        else:
            yield from template.entries

    def _groups_with(self, template_id: str) -> list[Template]:
        return [other for other in self.templates.values() if other.kind in GROUPS_OF and template_id in other.entries]

    def _owners(self, named: set[str]) -> list[SecurityGroup | NetworkAcl]:
        owners: list[SecurityGroup | NetworkAcl] = [*self.groups.values(), *self.acls.values()]
        return [owner for owner in owners if any({rule.peer, rule.service} & named for rule in owner.rules)]

    def _renew(self, template: Template) -> Template:
        self._check_entries(template)
        before = self.templates[template.id]
        self.templates[template.id] = template
        try:
            for owner in self.template_users(template.id):
                self._check_weight(owner, owner.rules)
                for groups in self._bound_lists(owner.id):
                    self._check_eni_rules(groups)
        except QuotaExceeded:
            self.templates[template.id] = before
            raise
        return template

    def _check_entries(self, template: Template) -> None:
        self._refuse_empty(template)
        if template.kind == "prefix_list" and len({":" in entry for entry in template.entries}) > 1:
            raise self.profile.refusal(
                InvalidValue,
                "template.family",
                f"prefix list {template.name}: its entries are of two families; make a list for each",
                object=template.id,
                value=template.entries,
            )
        quota = _entries_quota(template.kind)
        most = template.max_entries or self.quotas.get(quota, len(template.entries))
        if len(template.entries) > most:
            way_out = "use another list" + ("" if template.max_entries else f", or raise quotas[{quota!r}]")
            raise self.profile.refusal(
                QuotaExceeded,
                _reason(template.kind, "template.entries"),
                f"{template.name}: {len(template.entries)} entries, at most {most}; {way_out}",
                object=template.id,
                value=len(template.entries),
            )

    def _check_max_entries(self, kind: TemplateKind, max_entries: int | None) -> None:
        most = self.quotas.get(_entries_quota(kind))
        whole = isinstance(max_entries, int) and not isinstance(max_entries, bool) and max_entries >= 1
        if max_entries is None or (whole and (most is None or max_entries <= most)):
            return
        raise self.profile.refusal(
            InvalidValue,
            "template.max_entries",
            f"max_entries {max_entries!r} of a {kind.replace('_', ' ')}: give "
            + ("1 or more" if most is None else f"1 to {most}")
            + ", or leave it out",
            value=max_entries,
        )

    def _refuse_empty(self, template: Template) -> None:
        if not template.entries and template.kind not in _MAY_BE_EMPTY:
            raise self.profile.refusal(
                InvalidValue,
                "template.empty",
                f"{template.kind.replace('_', ' ')} {template.name}: it needs at least one entry; delete it instead",
                object=template.id,
            )

    def _entries(
        self, kind: TemplateKind, there: tuple[str, ...], entries: Sequence[str], what: str
    ) -> tuple[str, ...]:
        """New entries as they are kept, none twice."""
        parsed: list[str] = []
        for written in _several(entries):
            entry = self._entry(kind, written, what)
            if entry in there or entry in parsed:
                raise self.profile.refusal(
                    AlreadyExists,
                    _reason(kind, "template.duplicate"),
                    f"{what}: {entry} is there already",
                    value=entry,
                )
            parsed.append(entry)
        return tuple(parsed)

    def _entry(self, kind: TemplateKind, written: str, what: str) -> str:
        """An entry as it is kept: equal ones are written alike."""
        if not isinstance(written, str | IPv4Network | IPv6Network):
            raise self.profile.refusal(
                InvalidValue,
                _reason(kind, "template.entry"),
                f"{what}: entry {written!r}: give a string",
                value=written,
            )
        if kind in GROUPS_OF:
            return self._member(kind, written, what)
        try:
            if kind in SERVICES:
                return _service_entry(self.profile, written)
            if kind == "port_list":
                return _port_entry(self.profile, written)
            if kind == "address_template" and isinstance(written, str) and "-" in written:
                return _range_entry(self.profile, written)
            network = parse_any_network(self.profile, written, "entry")
        except InvalidValue as refused:
            raise self.profile.refusal(
                InvalidValue, _reason(kind, "template.entry"), f"{what}: entry {written!r}: {refused}", value=written
            ) from None
        whole = kind == "prefix_list" or network.prefixlen < network.max_prefixlen
        return str(network if whole else network.network_address)

    def _member(self, kind: TemplateKind, written: str, what: str) -> str:
        member = self._template(written)
        if member.kind != GROUPS_OF[kind]:
            raise self.profile.refusal(
                InvalidValue,
                "template.member",
                f"{what}: {member.name} ({member.id}) is a {member.kind.replace('_', ' ')}; "
                f"an {kind.replace('_', ' ')} holds {GROUPS_OF[kind].replace('_', ' ')}s, no groups",
                object=member.id,
                value=written,
            )
        return member.id


def _reason(kind: TemplateKind, reason: str) -> str:
    return _OF_PORT_LISTS.get(reason, reason) if kind == "port_list" else reason


def _entries_quota(kind: TemplateKind) -> str:
    return "port_list_entries" if kind == "port_list" else "template_entries"


def _several(entries: Sequence[str]) -> Sequence[str]:
    return (entries,) if isinstance(entries, str) else tuple(entries)


def _range_entry(profile: Profile, written: str) -> str:
    first, last = (parse_any_address(profile, part, "range") for part in written.split("-", 1))
    if first.version != last.version:
        raise profile.refusal(InvalidValue, "template.entry", "its ends are of two families", value=written)
    if int(first) > int(last):
        raise profile.refusal(InvalidValue, "template.entry", f"it runs backwards, write {last}-{first}", value=written)
    return f"{first}-{last}" if first != last else str(first)


def _address_range(entry: str) -> AddressRange:
    if "-" in entry:
        first, last = entry.split("-")
        return ip_address(first), ip_address(last)
    network = ip_network(entry)
    return network.network_address, network.broadcast_address


def _service_entry(profile: Profile, written: str) -> str:
    word, colon, port = written.partition(":") if isinstance(written, str) else ("", "", "")
    protocol = PROTOCOLS.get(word.strip().lower(), -1)
    if protocol == -1 or bool(colon) != (protocol in PORTS_PROTOCOLS) or (colon and not port.strip()):
        raise profile.refusal(
            InvalidValue,
            "template.entry",
            "write it like TCP:80, TCP:80,443, TCP:3306-20000, TCP:ALL, ICMP or GRE",
            value=written,
        )
    ports = parse_ports(profile, port, protocol) if colon else None
    text = "ALL" if ports is None else ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ports)
    return word.strip().upper() + (f":{text}" if colon else "")


def _port_entry(profile: Profile, written: object) -> str:
    ports = parse_ports(profile, written, _TCP) if isinstance(written, str) and "," not in written else None
    if ports is None:
        raise profile.refusal(InvalidValue, "port_list.entry", "write it like 443 or 8000-8100", value=written)
    ((low, high),) = ports
    return str(low) if low == high else f"{low}-{high}"


def _service(profile: Profile, entry: str) -> Service:
    word, colon, port = entry.partition(":")
    protocol = parse_protocol(profile, word)
    return protocol, parse_ports(profile, port, protocol) if colon else None
