"""CVMs and their ENIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from emulator.cloud.addresses import claim_address
from emulator.cloud.eips import Eips
from emulator.cloud.groups import Groups
from emulator.cloud.model import Cvm, Eni, Subnet
from emulator.cloud.names import check_name
from emulator.errors import InUse, InvalidValue


class Instances(Groups, Eips):
    def create_cvm(
        self,
        subnet_id: str,
        *,
        name: str | None = None,
        private_ip: str | IPv4Address | None = None,
        groups: Sequence[str] | None = None,
        instance_type: str | None = None,
    ) -> tuple[Cvm, Eni]:
        """A CVM and its primary ENI (device 0, named ``<name>-eth0``).

        Without ``private_ip`` the lowest free address, without ``groups`` the VPC's default group, without
        ``instance_type`` the profile's; any type is accepted, some families cannot be logged.
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
        groups: Sequence[str] | None = None,
    ) -> Eni:
        """An ENI that is attached to nothing yet."""
        subnet = self._subnet(subnet_id)
        if name is not None:
            check_name(self.profile, name, "ENI")
        address, bound = self._place(subnet, private_ip, groups, "ENI" if name is None else f"ENI {name}")
        eni_id = self._ids.new("eni")
        eni = Eni(eni_id, name or eni_id, subnet.vpc_id, subnet_id, address, self._ids.new_mac(), bound)
        self.enis[eni_id] = eni
        return eni

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
