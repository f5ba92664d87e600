"""CVMs and their ENIs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from emulator.cloud.addresses import claim_address, parse_ipv6_address
from emulator.cloud.eips import Eips
from emulator.cloud.groups import Groups
from emulator.cloud.ipv6 import claim_ipv6_address
from emulator.cloud.model import Cvm, Eni, Subnet
from emulator.cloud.names import check_name, nearest
from emulator.errors import InUse, InvalidValue, NotFound, QuotaExceeded


class Instances(Groups, Eips):
    def create_cvm(
        self,
        subnet_id: str,
        *,
        name: str | None = None,
        private_ip: str | IPv4Address | None = None,
        ipv6: bool | str | IPv6Address | None = None,
        groups: Sequence[str] | None = None,
        instance_type: str | None = None,
    ) -> tuple[Cvm, Eni]:
        """A CVM and its primary ENI (device 0, named ``<name>-eth0``).

        Without ``private_ip`` the lowest free address, without ``ipv6`` (an address, or True for the lowest free one)
        none of that family, without ``groups`` the VPC's default group, without ``instance_type`` the profile's; any
        type is accepted, some families cannot be logged.
        """
        subnet = self._subnet(subnet_id)
        if name is not None:
            check_name(self.profile, name, "CVM")
        if instance_type is not None and not (isinstance(instance_type, str) and instance_type.strip()):
            raise self.profile.refusal(
                InvalidValue,
                "cvm.instance_type",
                f"instance type {instance_type!r}: give one like {self.profile.default_instance_type}, or leave it out",
                value=instance_type,
            )
        address, bound = self._place(subnet, private_ip, groups, "CVM" if name is None else f"CVM {name}")
        ipv6_addresses = self._place_ipv6(subnet, ipv6)
        cvm_id = self._ids.new("cvm")
        kind = instance_type or self.profile.default_instance_type
        cvm = Cvm(cvm_id, name or cvm_id, subnet.vpc_id, subnet_id, kind)
        eni = Eni(
            self._ids.new("eni"),
            f"{cvm.name}-eth0",
            subnet.vpc_id,
            subnet_id,
            address,
            self._ids.new_mac(),
            bound,
            cvm_id=cvm_id,
            device=0,
            primary=True,
            ipv6_addresses=ipv6_addresses,
        )
        self.cvms[cvm_id] = cvm
        self.enis[eni.id] = eni
        return cvm, eni

    def delete_cvm(self, cvm_id: str) -> None:
        """Its primary ENI goes with it, and the flow logs on that, its EIPs stay; other ENIs are detached and stay."""
        self._cvm(cvm_id)
        for eni in [eni for eni in self.enis.values() if eni.cvm_id == cvm_id]:
            if eni.primary:
                self._drop_flow_logs(eni.id)
                self._unbind_eips(eni.id)
                del self.enis[eni.id]
            else:
                self.enis[eni.id] = replace(eni, cvm_id=None, device=None)
        del self.cvms[cvm_id]

    def create_eni(
        self,
        subnet_id: str,
        *,
        name: str | None = None,
        private_ip: str | IPv4Address | None = None,
        ipv6: bool | str | IPv6Address | None = None,
        groups: Sequence[str] | None = None,
    ) -> Eni:
        """An ENI that is attached to nothing yet."""
        subnet = self._subnet(subnet_id)
        if name is not None:
            check_name(self.profile, name, "ENI")
        address, bound = self._place(subnet, private_ip, groups, "ENI" if name is None else f"ENI {name}")
        ipv6_addresses = self._place_ipv6(subnet, ipv6)
        eni_id = self._ids.new("eni")
        eni = Eni(
            eni_id,
            name or eni_id,
            subnet.vpc_id,
            subnet_id,
            address,
            self._ids.new_mac(),
            bound,
            ipv6_addresses=ipv6_addresses,
        )
        self.enis[eni_id] = eni
        return eni

    def assign_ipv6_addresses(self, eni_id: str, addresses: int | Sequence[str | IPv6Address]) -> Eni:
        """More IPv6 addresses: as many as a number says, the lowest free ones, or those of a list."""
        eni = self._eni(eni_id)
        wanted = self._several(eni, addresses)
        most = self.quotas.get("ipv6_addresses", len(eni.ipv6_addresses) + len(wanted))
        if len(eni.ipv6_addresses) + len(wanted) > most:
            raise self.profile.refusal(
                QuotaExceeded,
                "eni.ipv6_quota",
                f"ENI {eni.name} has {len(eni.ipv6_addresses)} IPv6 addresses and may have {most}; "
                "unassign some, or raise quotas['ipv6_addresses']",
                object=eni_id,
                value=len(wanted),
            )
        subnet = self._subnet(eni.subnet_id)
        taken, claimed = self._taken_ipv6(subnet), list(eni.ipv6_addresses)
        for one in wanted:
            claimed.append(claim_ipv6_address(self.profile, subnet, one, taken))
            taken.add(int(claimed[-1]))
        self.enis[eni_id] = eni = replace(eni, ipv6_addresses=tuple(claimed))
        return eni

    def unassign_ipv6_addresses(self, eni_id: str, addresses: Sequence[str | IPv6Address]) -> Eni:
        """Take IPv6 addresses back that the ENI has, written in any way."""
        eni = self._eni(eni_id)
        what = f"ENI {eni.name}"
        gone = [parse_ipv6_address(self.profile, one, what) for one in _in_a_list(addresses)]
        for address in gone:
            if address not in eni.ipv6_addresses:
                raise self.profile.refusal(
                    NotFound,
                    "address.unassigned",
                    f"{what} has no address {address}; {nearest(str(address), map(str, eni.ipv6_addresses))}",
                    object=eni_id,
                    value=str(address),
                )
        kept = tuple(address for address in eni.ipv6_addresses if address not in gone)
        self.enis[eni_id] = eni = replace(eni, ipv6_addresses=kept)
        return eni

    def _several(self, eni: Eni, addresses: int | Sequence[str | IPv6Address]) -> Sequence[bool | str | IPv6Address]:
        if isinstance(addresses, int) and not isinstance(addresses, bool) and addresses > 0:
            return [True] * addresses
        if not isinstance(addresses, int) and (several := _in_a_list(addresses)):
            return several
        raise self.profile.refusal(
            InvalidValue,
            "address.count",
            f"IPv6 addresses {addresses!r} for ENI {eni.name}: give how many, from 1, or addresses in a list",
            object=eni.id,
            value=addresses,
        )

    def attach_eni(self, eni_id: str, cvm_id: str) -> Eni:
        """Attach a detached ENI as the CVM's lowest free device; both are in one VPC."""
        eni, cvm = self._eni(eni_id), self._cvm(cvm_id)
        if eni.cvm_id is not None:
            raise self.profile.refusal(
                InUse,
                "eni.attached",
                f"ENI {eni.name} ({eni_id}) is attached to CVM {self._cvm(eni.cvm_id).name}; detach it first",
                object=eni_id,
                value=eni.cvm_id,
            )
        if eni.vpc_id != cvm.vpc_id:
            raise self.profile.refusal(
                InvalidValue,
                "eni.vpc",
                f"ENI {eni.name} is in VPC {eni.vpc_id}, CVM {cvm.name} in {cvm.vpc_id}; create one in the CVM's VPC",
                object=eni_id,
                value=cvm_id,
            )
        used = {other.device for other in self.enis.values() if other.cvm_id == cvm_id}
        device = next(number for number in range(len(used) + 1) if number not in used)
        self.enis[eni_id] = eni = replace(eni, cvm_id=cvm_id, device=device)
        return eni

    def detach_eni(self, eni_id: str) -> Eni:
        """Not the primary one. Flow logs on it stay, and record again once it is attached again."""
        eni = self._eni(eni_id)
        if eni.primary:
            raise self.profile.refusal(
                InvalidValue,
                "eni.primary",
                f"ENI {eni.name} ({eni_id}) is the primary ENI of its CVM; it goes with the CVM",
                object=eni_id,
                value=eni.cvm_id,
            )
        if eni.cvm_id is None:
            raise self.profile.refusal(
                InvalidValue, "eni.detached", f"ENI {eni.name} ({eni_id}) is attached to nothing", object=eni_id
            )
        self.enis[eni_id] = eni = replace(eni, cvm_id=None, device=None)
        return eni

    def delete_eni(self, eni_id: str) -> None:
        """Refused while attached; flow logs on the ENI go with it, EIPs stay."""
        eni = self._eni(eni_id)
        if eni.cvm_id is not None:
            raise self.profile.refusal(
                InUse,
                "eni.in_use",
                f"ENI {eni.name} ({eni_id}) is attached to CVM {self._cvm(eni.cvm_id).name}; "
                + ("delete the CVM" if eni.primary else "detach it first"),
                object=eni_id,
                value=eni.cvm_id,
            )
        self._drop_flow_logs(eni_id)
        self._unbind_eips(eni_id)
        del self.enis[eni_id]

    def _place(
        self, subnet: Subnet, private_ip: str | IPv4Address | None, groups: Sequence[str] | None, what: str
    ) -> tuple[IPv4Address, tuple[str, ...]]:
        """Address and groups of a new ENI."""
        default = (self._vpc(subnet.vpc_id).default_group_id,)
        bound = self._check_groups(subnet.vpc_id, default if groups is None else groups, what)
        there = [eni for eni in self.enis.values() if eni.vpc_id == subnet.vpc_id]
        taken = {number for eni in there if eni.subnet_id == subnet.id for number in eni.numbers}
        address = claim_address(self.profile, subnet, private_ip, taken)
        self._check_quota("enis", len(there), "eni.quota", f"VPC {self._vpc(subnet.vpc_id).name}")
        return address, bound

    def _place_ipv6(self, subnet: Subnet, wanted: bool | str | IPv6Address | None) -> tuple[IPv6Address, ...]:
        """The IPv6 address of a new ENI, if it is to have one."""
        if wanted is None or wanted is False:
            return ()
        return (claim_ipv6_address(self.profile, subnet, wanted, self._taken_ipv6(subnet)),)

    def _taken_ipv6(self, subnet: Subnet) -> set[int]:
        there = (eni for eni in self.enis.values() if eni.subnet_id == subnet.id)
        return {int(address) for eni in there for address in eni.ipv6_addresses}


def _in_a_list(addresses: Sequence[str | IPv6Address] | str | IPv6Address) -> Sequence[str | IPv6Address]:
    """What is no list is one address, right or not."""
    if isinstance(addresses, str | IPv6Address) or not isinstance(addresses, Iterable):
        return (addresses,)
    return tuple(addresses)
