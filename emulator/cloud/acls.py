"""Network ACLs: associated with subnets, stateless, blind to traffic inside one subnet."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

from emulator.cloud.model import AclType, Direction, NetworkAcl, Rule, Subnet
from emulator.cloud.names import check_name
from emulator.cloud.rulebook import RuleBook, implied
from emulator.cloud.rules import FIRST
from emulator.errors import InUse, InvalidValue, Unsupported

DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")


class Acls(RuleBook):
    def create_acl(self, vpc_id: str, *, name: str | None = None, type: str | None = None) -> NetworkAcl:
        """Tencent: empty, so it denies everything; ``type`` is ``triple``, or ``quintuple``, whose entries may name
        source ports and this side's addresses. Alibaba: one removable rule each way that allows everything, and rules
        before it for the provider's own services that nobody can remove."""
        vpc = self._vpc(vpc_id)
        kind = self._check_acl_type(type)
        if name is not None:
            check_name(self.profile, name, "network ACL")
        used = sum(acl.vpc_id == vpc_id for acl in self.acls.values())
        self._check_quota("acls", used, "acl.quota", f"VPC {vpc.name}")
        services = [IPv4Network(service) for service in self.profile.acl_services]
        self._need_numbers(vpc_id, 4 + 2 * len(services))
        acl_id = self._ids.new("acl")
        acl = NetworkAcl(acl_id, name or acl_id, vpc_id, type=kind)
        self.acls[acl_id] = acl
        if self.profile.acl_starts_open:
            open_rules = (Rule(0, "", "ingress", "allow", default=True), Rule(0, "", "egress", "allow", default=True))
            self._store(acl, [self._write(acl, rule) for rule in open_rules])
        own = [implied(way, "allow", service, priority=FIRST) for way in DIRECTIONS for service in services]
        own += [implied(way, "deny") for way in DIRECTIONS]
        self._implied[acl_id] = tuple(self._number(vpc_id, rule, "network ACL", acl_id, acl.name) for rule in own)
        return self.acls[acl_id]

    def _check_acl_type(self, type: str | None) -> AclType:
        for known in self.profile.acl_types:
            if type in (None, known):
                return known
        raise self.profile.refusal(
            Unsupported,
            "acl.type",
            f"network ACL of type {type!r}: {self.profile.name} has {' and '.join(self.profile.acl_types)}",
            value=type,
        )

    def associate_acl(self, acl_id: str, subnet_id: str) -> Subnet:
        """Put a subnet behind an ACL, in place of the one it may have had."""
        acl, subnet = self._acl(acl_id), self._subnet(subnet_id)
        if acl.vpc_id != subnet.vpc_id:
            raise self.profile.refusal(
                InvalidValue,
                "acl.vpc",
                f"network ACL {acl.name} is in VPC {acl.vpc_id}, subnet {subnet.name} in {subnet.vpc_id}; "
                "create an ACL in the subnet's VPC",
                object=acl_id,
                value=subnet_id,
            )
        self.subnets[subnet_id] = subnet = replace(subnet, acl_id=acl_id)
        return subnet

    def disassociate_acl(self, subnet_id: str) -> Subnet:
        """Take the ACL off a subnet; what has none is not filtered."""
        subnet = self._subnet(subnet_id)
        if subnet.acl_id is None:
            raise self.profile.refusal(
                InvalidValue, "acl.association", f"subnet {subnet.name} has no network ACL", object=subnet_id
            )
        self.subnets[subnet_id] = subnet = replace(subnet, acl_id=None)
        return subnet

    def delete_acl(self, acl_id: str) -> None:
        """Refused while a subnet is associated."""
        acl = self._acl(acl_id)
        users = [subnet.name for subnet in self.subnets.values() if subnet.acl_id == acl_id]
        if users:
            raise self.profile.refusal(
                InUse,
                "acl.in_use",
                f"network ACL {acl.name} ({acl_id}) serves subnet {', '.join(users)}; disassociate it first",
                object=acl_id,
                value=tuple(users),
            )
        del self.acls[acl_id]
        self._implied.pop(acl_id, None)
