"""VPCs and subnets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from emulator.cloud.addresses import check_subnet_network, check_vpc_network, parse_network
from emulator.cloud.groups import Groups
from emulator.cloud.ipv6 import claim_subnet_block, claim_vpc_block
from emulator.cloud.model import Subnet, Vpc
from emulator.cloud.names import check_name
from emulator.cloud.routes import RouteTables
from emulator.cloud.rulebook import implied
from emulator.cloud.rules import FIRST
from emulator.errors import AlreadyExists, InUse, Unsupported


class Networks(Groups, RouteTables):
    def create_vpc(
        self,
        cidr: str | IPv4Network,
        *,
        name: str | None = None,
        region: str | None = None,
        ipv6_cidr: bool | str | IPv6Network | None = None,
    ) -> Vpc:
        """A VPC with its default security group and route table. VPCs may overlap: they do not see each other.

        ``ipv6_cidr``: a /56, or True for the next of the provider's; no other VPC has it.
        """
        where = self.region if region is None else self._check_region(region)
        network = parse_network(self.profile, cidr, "VPC")
        check_vpc_network(self.profile, network)
        if name is not None:
            check_name(self.profile, name, "VPC")
        used = sum(vpc.region == where for vpc in self.vpcs.values())
        self._check_quota("vpcs", used, "vpc.quota", f"region {where}")
        block = claim_vpc_block(self.profile, ipv6_cidr, "VPC", self.vpcs.values()) if ipv6_cidr else None
        vpc_id = self._ids.new("vpc")
        vpc = Vpc(vpc_id, name or vpc_id, where, network, ipv6_cidr=block)
        self._implied[vpc_id] = tuple(
            self._number(vpc_id, rule, "security group")
            for rule in (
                implied("ingress", "deny"),
                implied("egress", self.profile.egress_default),
                *(implied("egress", "allow", IPv4Network(one), priority=FIRST) for one in self.profile.group_services),
            )
        )
        vpc = replace(vpc, default_group_id=self._new_default_group(vpc).id)
        self.vpcs[vpc_id] = vpc
        self._new_route_table(vpc_id, "default", default=True)
        return vpc

    def delete_vpc(self, vpc_id: str) -> None:
        """Refused while anything but the default group and route table is in it; flow logs on the VPC go with it."""
        vpc = self._vpc(vpc_id)
        inside = [f"subnet {subnet.name}" for subnet in self.subnets.values() if subnet.vpc_id == vpc_id]
        inside += [f"network ACL {acl.name}" for acl in self.acls.values() if acl.vpc_id == vpc_id]
        inside += [
            f"security group {group.name}"
            for group in self.groups.values()
            if group.vpc_id == vpc_id and not group.default
        ]
        inside += self._in_vpc(vpc_id)
        if inside:
            raise self.profile.refusal(
                InUse,
                "vpc.in_use",
                f"VPC {vpc.name} ({vpc_id}) still has {_some(inside)}; delete them first",
                object=vpc_id,
                value=tuple(inside),
            )
        self._drop_flow_logs(vpc_id)
        del self.groups[vpc.default_group_id]
        self._implied.pop(vpc.default_group_id, None)
        del self._implied[vpc_id]
        del self.route_tables[self.default_route_table(vpc_id).id]
        del self.vpcs[vpc_id]

    def create_subnet(
        self,
        vpc_id: str,
        cidr: str | IPv4Network,
        *,
        name: str | None = None,
        broadcast: bool = False,
        ipv6_cidr: bool | int | str | IPv6Network | None = None,
    ) -> Subnet:
        """A subnet inside the VPC's block and beside its other subnets.

        ``ipv6_cidr``: a /64 within that of the VPC, its number there from 0 to 255, or True for the first free one.
        """
        vpc = self._vpc(vpc_id)
        self._check_broadcast(broadcast, f"a subnet of VPC {vpc.name}")
        network = parse_network(self.profile, cidr, f"subnet of VPC {vpc.name}")
        others = [subnet for subnet in self.subnets.values() if subnet.vpc_id == vpc_id]
        check_subnet_network(self.profile, network, vpc, others)
        if name is not None:
            check_name(self.profile, name, "subnet")
        self._check_quota("subnets", len(others), "subnet.quota", f"VPC {vpc.name}")
        block = None
        if ipv6_cidr is not None and ipv6_cidr is not False:
            block = claim_subnet_block(self.profile, ipv6_cidr, f"subnet {network}", vpc, others)
        subnet_id = self._ids.new("subnet")
        gateway = network[self.profile.gateway_index]
        subnet = Subnet(subnet_id, name or subnet_id, vpc_id, network, gateway, broadcast=broadcast, ipv6_cidr=block)
        self.subnets[subnet_id] = subnet
        return subnet

    def assign_ipv6_cidr(self, owner_id: str, ipv6_cidr: bool | int | str | IPv6Network = True) -> Vpc | Subnet:
        """Give a VPC or a subnet that has none an IPv6 block, as when it is created."""
        owner = self.subnets.get(owner_id) or self._vpc(owner_id)
        if owner.ipv6_cidr is not None:
            raise self.profile.refusal(
                AlreadyExists,
                "ipv6.present",
                f"{owner.name} ({owner_id}) has {owner.ipv6_cidr} already, and may have one IPv6 block",
                object=owner_id,
                value=str(owner.ipv6_cidr),
            )
        if isinstance(owner, Vpc):
            block = claim_vpc_block(self.profile, ipv6_cidr, f"VPC {owner.name}", self.vpcs.values())
            self.vpcs[owner_id] = vpc = replace(owner, ipv6_cidr=block)
            return vpc
        vpc = self._vpc(owner.vpc_id)
        beside = [subnet for subnet in self.subnets.values() if subnet.vpc_id == vpc.id]
        block = claim_subnet_block(self.profile, ipv6_cidr, f"subnet {owner.name}", vpc, beside)
        self.subnets[owner_id] = subnet = replace(owner, ipv6_cidr=block)
        return subnet

    def set_broadcast(self, subnet_id: str, on: bool) -> Subnet:
        """Turn broadcast in a subnet on or off."""
        subnet = self._subnet(subnet_id)
        self._check_broadcast(on, f"subnet {subnet.name} ({subnet_id})")
        self.subnets[subnet_id] = subnet = replace(subnet, broadcast=on)
        return subnet

    def _check_broadcast(self, on: bool, where: str) -> None:
        if on and not self.profile.subnet_broadcast:
            raise self.profile.refusal(
                Unsupported,
                "subnet.broadcast",
                f"{where}: this provider's subnets have no broadcast; leave it off",
                object=where,
                value=on,
            )

    def delete_subnet(self, subnet_id: str) -> None:
        """Refused while an ENI is in it; flow logs on the subnet go with it, its ACL stays."""
        subnet = self._subnet(subnet_id)
        inside = [f"ENI {eni.name}" for eni in self.enis.values() if eni.subnet_id == subnet_id]
        if inside:
            raise self.profile.refusal(
                InUse,
                "subnet.in_use",
                f"subnet {subnet.name} ({subnet_id}) still has {_some(inside)}; delete them first",
                object=subnet_id,
                value=tuple(inside),
            )
        self._drop_flow_logs(subnet_id)
        del self.subnets[subnet_id]


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
