"""Security groups and network ACLs: what a lab's user writes rules into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from emulator.cloud import model
from emulator.errors import InvalidValue
from emulator.resources.base import Resource
from emulator.resources.templates import Template

if TYPE_CHECKING:
    from emulator.logs.records import Record
    from emulator.replay import Replay
    from emulator.resources.networks import Subnet

_O = TypeVar("_O", bound="model.SecurityGroup | model.NetworkAcl")


class RuleOwner(Resource[_O]):
    """A security group or a network ACL."""

    @property
    def rules(self) -> tuple[model.Rule, ...]:
        """Its rules in the order in which they are judged, both directions mixed."""
        owner = self.model
        assert isinstance(owner, model.SecurityGroup | model.NetworkAcl)
        return owner.rules

    def allow(
        self,
        direction: str,
        *,
        protocol: str | int | None = None,
        port: str | int | Template | None = None,
        cidr: str | model.Network | SecurityGroup | Template | None = None,
        priority: int | None = None,
        source_port: str | int | None = None,
        local_cidr: str | model.Network | None = None,
    ) -> model.Rule:
        """Add a rule that lets through; it holds when this returns.

        ``direction`` "ingress" or "egress"; ``protocol`` a name or number, None for all; ``port`` "443", "4000-4001",
        "80,443", an int, None for all, a port list, or a template of services, which says the protocols too; ``cidr``
        the other side of either family (a security group: its members; a prefix list or a template: its addresses),
        None for anywhere; ``priority`` as the provider has it. ``source_port`` and ``local_cidr``, the addresses of
        this side, are for Tencent's quintuple ACLs and Alibaba's security groups.
        """
        return self._add("allow", direction, protocol, port, cidr, priority, source_port, local_cidr)

    def deny(
        self,
        direction: str,
        *,
        protocol: str | int | None = None,
        port: str | int | Template | None = None,
        cidr: str | model.Network | SecurityGroup | Template | None = None,
        priority: int | None = None,
        source_port: str | int | None = None,
        local_cidr: str | model.Network | None = None,
    ) -> model.Rule:
        """Add a rule that drops in silence; arguments as for :meth:`allow`."""
        return self._add("deny", direction, protocol, port, cidr, priority, source_port, local_cidr)

    def remove(self, rule: model.Rule | str) -> None:
        """Remove a rule; it no longer holds when this returns."""
        rule_id = rule.id if isinstance(rule, model.Rule) else rule
        self._lab._change(
            lambda cloud: cloud.remove_rule(self.id, rule_id),
            lambda fabric, _: fabric.rules_changed(self.id),
            self._vpc_id,
        )

    def replay(self, records: Iterable[Record], *, instead_of: RuleOwner[_O] | None = None) -> Replay:
        """What these rules would have said of packets that flow records of this lab tell of, where ``instead_of``
        holds, a group or ACL of the same kind and VPC; where these hold themselves, if it is left out.

        ``proposed.replay(topic.search(), instead_of=web).changed`` are the records that would say something else;
        ``.unused`` are rules that decide none of them, ``.decided`` is which rule decides what. No packet is sent and
        nothing is changed. NODATA, SKIPDATA, and records of ENIs or labs that are gone are left out.
        """
        from emulator.replay import replay

        other = self if instead_of is None else instead_of
        self._here(other, type(self))
        if other._vpc_id != self._vpc_id:
            raise self._lab.profile.refusal(
                InvalidValue,
                "object.missing",
                f"replay of {self.id} ({self.name}) instead of {other.id}: that is in VPC {other._vpc_id}, this in "
                f"{self._vpc_id}; give one of the same VPC",
                object=self.id,
                value=other.id,
            )
        with self._lab._lock:
            given = records if isinstance(records, Iterable) else [records]
            told = [(record, self._lab._meta_of(record)) for record in given]
            judged = [one for one, meta in told if meta["rule"] is not None and meta["lab"] == self._lab._tag]
            return replay(self._lab.cloud, judged, self.model, other.model)

    @property
    def _vpc_id(self) -> str:
        owner = self.model
        assert isinstance(owner, model.SecurityGroup | model.NetworkAcl)
        return owner.vpc_id

    def _add(
        self,
        action: str,
        direction: str,
        protocol: str | int | None,
        port: str | int | Template | None,
        cidr: str | model.Network | SecurityGroup | Template | None,
        priority: int | None,
        source_port: str | int | None,
        local_cidr: str | model.Network | None,
    ) -> model.Rule:
        peer = self._here(cidr, type(cidr)) if isinstance(cidr, SecurityGroup | Template) else cidr
        service = self._here(port, Template) if isinstance(port, Template) else port
        return self._lab._change(
            lambda cloud: cloud.add_rule(
                self.id,
                direction,
                action,
                protocol=protocol,
                port=service,
                cidr=peer,
                priority=priority,
                source_port=source_port,
                local_cidr=local_cidr,
            ),
            lambda fabric, _: fabric.rules_changed(self.id),
            self._vpc_id,
        )


class SecurityGroup(RuleOwner[model.SecurityGroup]):
    """A security group: stateful, bound to ENIs."""

    _table = "groups"

    def set_inner_access(self, inner_access: str) -> None:
        """Alibaba, normal groups: "accept" or "drop" what members send each other and no rule is about."""
        self._lab._change(
            lambda cloud: cloud.set_inner_access(self.id, inner_access),
            lambda fabric, _: fabric.rules_changed(self.id),
            self._vpc_id,
        )

    def delete(self) -> None:
        self._lab._change(lambda cloud: cloud.delete_group(self.id))


class NetworkAcl(RuleOwner[model.NetworkAcl]):
    """A network ACL: stateless, associated with subnets, blind to traffic within one subnet."""

    _table = "acls"

    def associate(self, subnet: Subnet) -> None:
        """Let this ACL judge what enters and leaves a subnet, in place of the one it has."""
        self._check_subnet(subnet)
        before = subnet.model.acl_id
        self._lab._change(
            lambda cloud: cloud.associate_acl(self.id, subnet.id),
            lambda fabric, _: fabric.acl_changed(subnet.id, before),
            subnet.model.vpc_id,
        )

    def disassociate(self, subnet: Subnet) -> None:
        """A subnet without an ACL is not filtered."""
        self._check_subnet(subnet)
        before = subnet.model.acl_id
        if before != self.id:
            raise InvalidValue(
                f"{subnet.id} ({subnet.name}) is not associated with {self.id}, but with {before or 'no ACL'}",
                code=self._lab.profile.code("acl.association"),
                reason="acl.association",
                object=self.id,
                value=subnet.id,
            )
        self._lab._change(
            lambda cloud: cloud.disassociate_acl(subnet.id),
            lambda fabric, _: fabric.acl_changed(subnet.id, before),
            subnet.model.vpc_id,
        )

    def delete(self) -> None:
        self._lab._change(lambda cloud: cloud.delete_acl(self.id))

    def _check_subnet(self, subnet: Subnet) -> None:
        from emulator.resources.networks import Subnet  # which creates ACLs

        self._here(subnet, Subnet)
