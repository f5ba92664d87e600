"""Security groups: bound to ENIs, stateful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from emulator.cloud.model import Eni, Rule, SecurityGroup, Vpc
from emulator.cloud.names import check_name
from emulator.cloud.rulebook import RuleBook, implied
from emulator.errors import InUse, InvalidValue, QuotaExceeded


class Groups(RuleBook):
    def create_group(self, vpc_id: str, *, name: str | None = None) -> SecurityGroup:
        """A group without rules: what passes then is the provider's default (``group_rules`` ends with it)."""
        vpc = self._vpc(vpc_id)
        if name is not None:
            check_name(self.profile, name, "security group")
        used = sum(group.vpc_id == vpc_id for group in self.groups.values())
        self._check_quota("groups", used, "group.quota", f"VPC {vpc.name}")
        return self._new_group(vpc, name, default=False)

    def delete_group(self, group_id: str) -> None:
        """Refused for a VPC's default group, and while an ENI is bound to it or a rule of another group names it."""
        group = self._group(group_id)
        if group.default:
            raise self.profile.refusal(
                InUse,
                "group.default",
                f"security group {group.name} ({group_id}) is the default group of VPC {group.vpc_id}; "
                "it goes with its VPC",
                object=group_id,
            )
        users = [f"ENI {eni.name}" for eni in self.enis.values() if group_id in eni.groups]
        users += [
            f"a rule of security group {other.name}"
            for other in self.groups.values()
            if other.id != group_id and any(rule.peer == group_id for rule in other.rules)
        ]
        if users:
            raise self.profile.refusal(
                InUse,
                "group.in_use",
                f"security group {group.name} ({group_id}) is in use by {', '.join(users[:5])}"
                f"{f' and {len(users) - 5} more' if len(users) > 5 else ''}; unbind it there first",
                object=group_id,
                value=tuple(users),
            )
        del self.groups[group_id]
        self._implied.pop(group_id, None)

    def set_groups(self, eni_id: str, groups: Sequence[str]) -> Eni:
        """Bind an ENI to exactly these groups, in this order."""
        eni = self._eni(eni_id)
        bound = self._check_groups(eni.vpc_id, groups, f"ENI {eni.name}")
        self.enis[eni_id] = eni = replace(eni, groups=bound)
        return eni

    def group_members(self, group_id: str) -> tuple[IPv4Address, ...]:
        """Addresses of the ENIs bound to a group, attached or not, in the order of creation."""
        self._group(group_id)
        return tuple(eni.address for eni in self.enis.values() if group_id in eni.groups)

    def _new_group(self, vpc: Vpc, name: str | None, *, default: bool) -> SecurityGroup:
        self._need_numbers(vpc.id, 1)
        group_id = self._ids.new("group")
        group = SecurityGroup(group_id, name or group_id, vpc.id, default=default)
        if self.profile.members_inside:
            rule = implied("ingress", "allow", peer=group_id)
            self._implied[group_id] = (self._number(vpc.id, rule, "security group", group_id, group.name),)
        self.groups[group_id] = group
        return group

    def _new_default_group(self, vpc: Vpc) -> SecurityGroup:
        """The group of ENIs that were given none; for Tencent with rules that let everything through both ways."""
        group = self._new_group(vpc, "default", default=True)
        if self.profile.default_group_open:
            open_rules = (Rule(0, "", "ingress", "allow", default=True), Rule(0, "", "egress", "allow", default=True))
            self._store(group, [self._write(group, rule) for rule in open_rules])
        return self.groups[group.id]

    def _check_groups(self, vpc_id: str, groups: Sequence[str], what: str) -> tuple[str, ...]:
        bound = (groups,) if isinstance(groups, str) else tuple(groups)
        if not bound:
            raise self.profile.refusal(
                InvalidValue,
                "group.none",
                f"{what}: an ENI needs at least one security group; leave the list out for the VPC's default group",
                value=bound,
            )
        for position, group_id in enumerate(bound):
            group = self._group(group_id)
            if group.vpc_id != vpc_id:
                raise self.profile.refusal(
                    InvalidValue,
                    "group.vpc",
                    f"{what}: security group {group.name} ({group_id}) is in VPC {group.vpc_id}, not in {vpc_id}",
                    object=group_id,
                    value=group_id,
                )
            if group_id in bound[:position]:
                raise self.profile.refusal(
                    InvalidValue, "group.repeated", f"{what}: security group {group_id} is listed twice", value=group_id
                )
        most = self.quotas.get("groups_per_eni", len(bound))
        if len(bound) > most:
            raise self.profile.refusal(
                QuotaExceeded,
                "group.bindings",
                f"{what}: {len(bound)} security groups, at most {most}; raise quotas['groups_per_eni']",
                value=len(bound),
            )
        return bound
