"""VPCs and subnets: where CVMs live."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from emulator.cloud import model
from emulator.errors import InvalidValue
from emulator.resources.base import Loggable
from emulator.resources.gateways import InternetGateway, NatGateway, RouteTable
from emulator.resources.joins import Peering
from emulator.resources.machines import Cvm, Eni
from emulator.resources.rules import NetworkAcl, SecurityGroup


class Subnet(Loggable[model.Subnet]):
    """A subnet (a vSwitch at Alibaba Cloud)."""

    _table = "subnets"

    @property
    def cidr(self) -> str:
        return str(self.model.cidr)

    @property
    def ipv6_cidr(self) -> str | None:
        block = self.model.ipv6_cidr
        return None if block is None else str(block)

    def set_broadcast(self, on: bool) -> None:
        """Tencent: turn broadcast in the subnet on or off, at once."""
        self._lab._change(
            lambda cloud: cloud.set_broadcast(self.id, on),
            lambda fabric, _: fabric.broadcasts_changed(),
            self.model.vpc_id,
        )

    def run_instance(
        self,
        name: str | None = None,
        *,
        private_ip: str | IPv4Address | None = None,
        ipv6: bool | str | IPv6Address | None = None,
        security_groups: Sequence[SecurityGroup] | None = None,
        instance_type: str | None = None,
    ) -> Cvm:
        """Start a CVM with one ENI here; its packets are forwarded when this returns.

        Without ``private_ip`` it gets the lowest free address, with ``ipv6`` that IPv6 address, too (True: the lowest
        free one), without ``security_groups`` the VPC's default group.
        """
        (cvm,) = self._run([name], security_groups, instance_type, private_ip, ipv6)
        return cvm

    def run_instances(
        self,
        names: Sequence[str] | int,
        *,
        ipv6: bool = False,
        security_groups: Sequence[SecurityGroup] | None = None,
        instance_type: str | None = None,
    ) -> list[Cvm]:
        """Start several CVMs, all or none: one for each name, or as many as a number says; faster than one by one."""
        wanted = self._names(names)
        return self._run(wanted, security_groups, instance_type, ipv6=ipv6) if wanted else []

    def _names(self, names: Sequence[str] | int) -> Sequence[str | None]:
        if isinstance(names, int) and not isinstance(names, bool) and names >= 0:
            return [None] * names
        if isinstance(names, Sequence) and not isinstance(names, str):
            return names
        raise self._lab.profile.refusal(
            InvalidValue,
            "cvm.count",
            f"instances {names!r} in subnet {self.name}: give names in a list, or how many",
            object=self.id,
            value=names,
        )

    def _run(
        self,
        names: Sequence[str | None],
        security_groups: Sequence[SecurityGroup] | None,
        instance_type: str | None,
        private_ip: str | IPv4Address | None = None,
        ipv6: bool | str | IPv6Address | None = None,
    ) -> list[Cvm]:
        groups = None if security_groups is None else self._all_here(security_groups, SecurityGroup)
        return self._lab._run_instances(
            self.id, names, private_ip=private_ip, ipv6=ipv6, groups=groups, instance_type=instance_type
        )

    def create_eni(
        self,
        name: str | None = None,
        *,
        private_ip: str | IPv4Address | None = None,
        ipv6: bool | str | IPv6Address | None = None,
        security_groups: Sequence[SecurityGroup] | None = None,
    ) -> Eni:
        """A detached ENI; ``attach`` plugs it in."""
        groups = None if security_groups is None else self._all_here(security_groups, SecurityGroup)
        eni = self._lab._change(
            lambda cloud: cloud.create_eni(self.id, name=name, private_ip=private_ip, ipv6=ipv6, groups=groups),
            lambda fabric, _: fabric.members_changed(),
            self.model.vpc_id,
        )
        return Eni(self._lab, eni.id)

    def assign_ipv6_cidr(self, ipv6_cidr: bool | int | str | IPv6Network = True) -> None:
        """Give a subnet that has none an IPv6 block, as ``create_subnet`` does."""
        self._lab._change(
            lambda cloud: cloud.assign_ipv6_cidr(self.id, ipv6_cidr),
            lambda fabric, _: fabric.rules_changed(*filter(None, [self.model.acl_id])),
            self.model.vpc_id,
        )

    def delete(self) -> None:
        self._lab._change(lambda cloud: cloud.delete_subnet(self.id))


class Vpc(Loggable[model.Vpc]):
    """A virtual private cloud: a routed network of its own."""

    _table = "vpcs"

    @property
    def cidr(self) -> str:
        return str(self.model.cidr)

    @property
    def ipv6_cidr(self) -> str | None:
        block = self.model.ipv6_cidr
        return None if block is None else str(block)

    @property
    def default_security_group(self) -> SecurityGroup:
        return SecurityGroup(self._lab, self.model.default_group_id)

    def create_subnet(
        self,
        cidr: str | IPv4Network,
        *,
        name: str | None = None,
        broadcast: bool = False,
        ipv6_cidr: bool | int | str | IPv6Network | None = None,
    ) -> Subnet:
        """A subnet; ``ipv6_cidr`` is its /64 within that of the VPC, its number there (0 to 255), or True for the
        first free one. Tencent: with ``broadcast``, what an ENI sends to all others in it reaches them."""
        subnet = self._lab._change(
            lambda cloud: cloud.create_subnet(self.id, cidr, name=name, broadcast=broadcast, ipv6_cidr=ipv6_cidr)
        )
        return Subnet(self._lab, subnet.id)

    def assign_ipv6_cidr(self, ipv6_cidr: bool | str | IPv6Network = True) -> None:
        """Give a VPC that has none an IPv6 block: a /56, or True for the next of the provider's."""
        self._lab._change(
            lambda cloud: cloud.assign_ipv6_cidr(self.id, ipv6_cidr), lambda fabric, _: fabric.add_ipv6(), self.id
        )

    def create_security_group(
        self, name: str | None = None, *, type: str | None = None, inner_access: str | None = None
    ) -> SecurityGroup:
        """A security group without rules. Alibaba: ``type`` "normal" (the default) or "enterprise", and of a normal one
        ``inner_access`` "accept" (the default) or "drop" between its members."""
        group = self._lab._change(
            lambda cloud: cloud.create_group(self.id, name=name, type=type, inner_access=inner_access)
        )
        return SecurityGroup(self._lab, group.id)

    def create_network_acl(self, name: str | None = None, *, type: str | None = None) -> NetworkAcl:
        """A network ACL. Tencent: ``type`` "triple" (the default), or "quintuple" for entries with source ports."""
        acl = self._lab._change(lambda cloud: cloud.create_acl(self.id, name=name, type=type))
        return NetworkAcl(self._lab, acl.id)

    @property
    def region(self) -> str:
        return self.model.region

    @property
    def route_table(self) -> RouteTable:
        """Its default route table, which holds for every subnet that has no other."""
        self.model  # noqa: B018 - a VPC that is gone says so
        return RouteTable(self._lab, self._lab.cloud.default_route_table(self.id).id)

    def create_route_table(self, name: str | None = None) -> RouteTable:
        table = self._lab._change(lambda cloud: cloud.create_route_table(self.id, name=name))
        return RouteTable(self._lab, table.id)

    def create_nat_gateway(self, name: str | None = None) -> NatGateway:
        """A NAT gateway: give it EIPs, and subnets a route to it."""
        gateway = self._lab._change(lambda cloud: cloud.create_nat_gateway(self.id, name=name))
        return NatGateway(self._lab, gateway.id)

    def create_internet_gateway(self, name: str | None = None) -> InternetGateway:
        """Alibaba's IPv4 gateway: from now on EIPs work only in subnets with a route to it."""
        gateway = self._lab._change(lambda cloud: cloud.create_internet_gateway(self.id, name=name))
        return InternetGateway(self._lab, gateway.id)

    def create_peering(self, other: Vpc, name: str | None = None, *, bandwidth_mbps: float | None = None) -> Peering:
        """Join it with another VPC of any region; both need routes. Over ``bandwidth_mbps``, each way, packets are
        dropped."""
        other_id = self._here(other, Vpc)
        peering = self._lab._change(
            lambda cloud: cloud.create_peering(self.id, other_id, name=name, bandwidth_mbps=bandwidth_mbps)
        )
        return Peering(self._lab, peering.id)

    def delete(self) -> None:
        """Delete an empty VPC."""
        self._lab._delete_vpc(self.id)
