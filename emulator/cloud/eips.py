"""EIPs: public addresses of the account, bound to private ones or to NAT gateways."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from emulator.cloud.addresses import parse_address
from emulator.cloud.beyond import Eip
from emulator.cloud.model import Eni
from emulator.cloud.names import check_name
from emulator.cloud.state import State
from emulator.errors import AlreadyExists, InUse, InvalidValue, NotFound, QuotaExceeded

EIP_NETWORKS = (IPv4Network("203.0.113.0/24"), IPv4Network("198.18.0.0/16"))
"""EIPs come from here: a network for documentation (RFC 5737), and where a raised quota outgrows it, half of the one
for benchmarks (RFC 2544). No packet to them ever leaves a machine that is set up by the book."""


class Eips(State):
    def allocate_eip(
        self, *, name: str | None = None, region: str | None = None, ip: str | IPv4Address | None = None
    ) -> Eip:
        """A public address of a region, bound to nothing yet: the lowest free one, or ``ip`` of those that there
        are."""
        where = self.region if region is None else self._check_region(region)
        if name is not None:
            check_name(self.profile, name, "EIP")
        used = sum(eip.region == where for eip in self.eips.values())
        self._check_quota("eips", used, "eip.quota", f"region {where}")
        taken = {eip.address for eip in self.eips.values()}
        free = (address for network in EIP_NETWORKS for address in network.hosts() if address not in taken)
        address = next(free, None) if ip is None else self._check_eip_address(ip, taken)
        if address is None:
            raise self.profile.refusal(
                QuotaExceeded,
                "eip.quota",
                f"all {len(taken)} public addresses that a lab has are EIPs already; release one",
                value=len(taken),
            )
        eip_id = self._ids.new("eip")
        self.eips[eip_id] = eip = Eip(eip_id, name or eip_id, where, address)
        return eip

    def _check_eip_address(self, ip: str | IPv4Address, taken: set[IPv4Address]) -> IPv4Address:
        address = parse_address(self.profile, ip, "address of an EIP")
        if not any(address in network for network in EIP_NETWORKS):
            raise self.profile.refusal(
                InvalidValue,
                "address.outside",
                f"address of an EIP: {address} is not of a lab's public addresses, "
                f"{' or '.join(map(str, EIP_NETWORKS))}; leave it out for a free one",
                value=str(address),
            )
        if address in taken:
            raise self.profile.refusal(
                AlreadyExists,
                "address.taken",
                f"address of an EIP: {address} is one already; leave it out for a free one",
                value=str(address),
            )
        return address

    def associate_eip(self, eip_id: str, target_id: str, private_ip: str | IPv4Address | None = None) -> Eip:
        """Bind an EIP to a NAT gateway, or to a private address of an ENI; of a CVM its primary ENI is meant.

        Without ``private_ip`` the primary address. Both are of one region.
        """
        eip = self._eip(eip_id)
        if eip.target_id is not None:
            raise self.profile.refusal(
                InUse,
                "eip.bound",
                f"EIP {eip.address} ({eip_id}) is bound to {eip.target_id}; disassociate it first",
                object=eip_id,
                value=eip.target_id,
            )
        if target_id in self.nat_gateways:
            eip = self._to_nat_gateway(eip, target_id, private_ip)
        else:
            eip = self._to_address(eip, self._eni_named(target_id), private_ip)
        self.eips[eip_id] = eip
        return eip

    def disassociate_eip(self, eip_id: str) -> Eip:
        """Refused where a NAT gateway's entries name the address."""
        eip = self._eip(eip_id)
        if eip.target_id is None:
            raise self.profile.refusal(
                InvalidValue, "eip.unbound", f"EIP {eip.address} ({eip_id}) is bound to nothing", object=eip_id
            )
        gateway = self.nat_gateways.get(eip.target_id)
        if gateway is not None:
            naming = [one.id for one in gateway.forwards if one.public == eip.address]
            naming += [one.id for one in gateway.entries if eip.address in one.addresses]
            if naming:
                raise self.profile.refusal(
                    InUse,
                    "eip.in_use",
                    f"EIP {eip.address} ({eip_id}): {', '.join(naming)} of NAT gateway {gateway.name} name it; "
                    "remove them first",
                    object=eip_id,
                    value=tuple(naming),
                )
        self.eips[eip_id] = eip = replace(eip, target_id=None, private=None)
        return eip

    def release_eip(self, eip_id: str) -> None:
        """Give an address back; refused while it is bound."""
        eip = self._eip(eip_id)
        if eip.target_id is not None:
            raise self.profile.refusal(
                InUse,
                "eip.release",
                f"EIP {eip.address} ({eip_id}) is bound to {eip.target_id}; disassociate it first",
                object=eip_id,
                value=eip.target_id,
            )
        del self.eips[eip_id]

    def _to_nat_gateway(self, eip: Eip, target_id: str, private_ip: object) -> Eip:
        gateway = self.nat_gateways[target_id]
        what = f"EIP {eip.address} ({eip.id})"
        if private_ip is not None:
            raise self.profile.refusal(
                InvalidValue,
                "eip.target",
                f"{what}: a NAT gateway has no private addresses; leave private_ip out",
                object=eip.id,
                value=str(private_ip),
            )
        self._check_same_region(eip, self._vpc(gateway.vpc_id).region, target_id)
        used = sum(other.target_id == target_id for other in self.eips.values())
        self._check_quota("eips_per_nat_gateway", used, "nat.eip_quota", f"NAT gateway {gateway.name} ({target_id})")
        return replace(eip, target_id=target_id)

    def _to_address(self, eip: Eip, eni: Eni, private_ip: str | IPv4Address | None) -> Eip:
        what = f"EIP {eip.address} ({eip.id})"
        private = eni.address if private_ip is None else parse_address(self.profile, private_ip, what)
        if private not in eni.private_addresses:
            raise self.profile.refusal(
                NotFound,
                "eip.private",
                f"{what}: ENI {eni.name} ({eni.id}) has no address {private}; it has "
                f"{', '.join(map(str, eni.private_addresses))}",
                object=eni.id,
                value=str(private),
            )
        self._check_same_region(eip, self._vpc(eni.vpc_id).region, eni.id)
        other = self._eip_of(eni.id, private)
        if other is not None:
            raise self.profile.refusal(
                InUse,
                "eip.private_bound",
                f"{what}: EIP {other.address} ({other.id}) stands for {private} of {eni.id} already; disassociate that "
                "one, or bind this one to another private address",
                object=eni.id,
                value=other.id,
            )
        return replace(eip, target_id=eni.id, private=private)

    def _eni_named(self, target_id: str) -> Eni:
        """An ENI, or a CVM's primary one."""
        if target_id in self.cvms:
            return next(eni for eni in self.enis.values() if eni.cvm_id == target_id and eni.primary)
        if target_id in self.enis:
            return self.enis[target_id]
        raise self.profile.refusal(
            NotFound,
            "eip.target",
            f"an EIP cannot be bound to {target_id!r}; give an ENI, a CVM or a NAT gateway",
            object=str(target_id),
            value=target_id,
        )

    def _check_same_region(self, eip: Eip, region: str, target_id: str) -> None:
        if eip.region != region:
            raise self.profile.refusal(
                InvalidValue,
                "eip.region",
                f"EIP {eip.address} ({eip.id}) is of region {eip.region}, {target_id} of {region}; allocate one there",
                object=eip.id,
                value=target_id,
            )

    def _eip_of(self, eni_id: str, private: IPv4Address) -> Eip | None:
        """The EIP that stands for an ENI's private address."""
        for eip in self.eips.values():
            if eip.target_id == eni_id and eip.private == private:
                return eip
        return None

    def _unbind_eips(self, target_id: str) -> None:
        """What an EIP is bound to goes; the EIP stays."""
        for eip in [eip for eip in self.eips.values() if eip.target_id == target_id]:
            self.eips[eip.id] = replace(eip, target_id=None, private=None)
