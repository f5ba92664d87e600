"""Security groups: bound to ENIs, stateful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emulator.cloud.model import Address, Eni, GroupType, InnerAccess, Rule, SecurityGroup, Vpc
from emulator.cloud.names import check_name
from emulator.cloud.rulebook import RuleBook, implied
from emulator.errors import InUse, InvalidValue, QuotaExceeded, Unsupported


class Groups(RuleBook):
    def create_group(
        self, vpc_id: str, *, name: str | None = None, type: str | None = None, inner_access: str | None = None
    ) -> SecurityGroup:
        """A group without rules: what passes then is the provider's default (``group_rules`` ends with it).

        ``type``: ``normal``, or Alibaba's ``enterprise``, whose members neither reach each other nor anybody else until
        a rule says so. ``inner_access``: ``accept`` or ``drop`` between members of one of Alibaba's normal groups.
        """
        vpc = self._vpc(vpc_id)
        kind = self._check_type(type)
        access = self._check_inner_access(kind, inner_access)
        if name is not None:
            check_name(self.profile, name, "security group")
        used = sum(group.vpc_id == vpc_id for group in self.groups.values())
        self._check_quota("groups", used, "group.quota", f"VPC {vpc.name}")
        return self._new_group(vpc, name, default=False, type=kind, inner_access=access)

    def set_inner_access(self, group_id: str, inner_access: str) -> SecurityGroup:
        """Whether members accept from each other where no rule says otherwise; of Alibaba's normal groups."""
        group = self._group(group_id)
        access = self._check_inner_access(group.type, inner_access)
        if access != group.inner_access:
            self._need_numbers(group.vpc_id, 1)
            self.groups[group_id] = group = replace(group, inner_access=access)
            self._imply(group)
        return group

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

    def group_members(self, group_id: str) -> tuple[Address, ...]:
        """Addresses of both families of the ENIs bound to a group, attached or not, in the order of creation."""
        self._group(group_id)
        return tuple(address for eni in self.enis.values() if group_id in eni.groups for address in eni.addresses)

    def _new_group(
        self,
        vpc: Vpc,
        name: str | None,
        *,
        default: bool,
        type: GroupType = "normal",
        inner_access: InnerAccess | None = None,
    ) -> SecurityGroup:
        self._need_numbers(vpc.id, 1)
        group_id = self._ids.new("group")
        access = inner_access or self._check_inner_access(type, None)
        group = SecurityGroup(group_id, name or group_id, vpc.id, default=default, type=type, inner_access=access)
        self._imply(group)
        self.groups[group_id] = group
        return group

    def _imply(self, group: SecurityGroup) -> None:
        """The provider's own rules of a group, which stand before those of its VPC."""
        rules = []
        if group.inner_access == "accept":
            rules.append(implied("ingress", "allow", peer=group.id))
        if group.type == "enterprise":
            rules.append(implied("egress", "deny"))
        self._implied[group.id] = tuple(
            self._number(group.vpc_id, rule, "security group", group.id, group.name) for rule in rules
        )

    def _check_type(self, type: str | None) -> GroupType:
        for known in self.profile.group_types:
            if type in (None, known):
                return known
        raise self.profile.refusal(
            Unsupported,
            "group.type",
            f"security group of type {type!r}: {self.profile.name} has {' and '.join(self.profile.group_types)}",
            value=type,
        )

    def _check_inner_access(self, type: GroupType, inner_access: str | None) -> InnerAccess:
        """``inner_access``, or what the provider has where it is None."""
        if inner_access is None:
            return "accept" if self.profile.members_inside and type == "normal" else "drop"
        if not self.profile.members_inside or type != "normal":
            raise self.profile.refusal(
                Unsupported,
                "group.inner_access",
                f"inner_access={inner_access!r}: members of {'an enterprise' if type != 'normal' else 'this'} group "
                "reach each other by rules only; leave it out",
                value=inner_access,
            )
        if inner_access == "accept":
            return "accept"
        if inner_access == "drop":
            return "drop"
        raise self.profile.refusal(
            InvalidValue,
            "group.inner_access",
            f"inner_access={inner_access!r}: give 'accept' or 'drop'",
            value=inner_access,
        )

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
        types = {self.groups[group_id].type for group_id in bound}
        if len(types) > 1:
            raise self.profile.refusal(
                InvalidValue,
                "group.mixed",
                f"{what}: security groups of types {' and '.join(sorted(types))}; give groups of one type",
                value=bound,
            )
        self._check_eni_rules(bound)
        return bound
