"""Secondary private addresses of ENIs."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from emulator.cloud.addresses import claim_address, parse_address
from emulator.cloud.eips import Eips
from emulator.cloud.model import Eni
from emulator.errors import InUse, InvalidValue, NotFound


class SecondaryAddresses(Eips):
    def assign_address(self, eni_id: str, private_ip: str | IPv4Address | None = None) -> Eni:
        """One more private address for an ENI, of its subnet; without ``private_ip`` the lowest free one."""
        eni = self._eni(eni_id)
        most = "addresses_per_eni"
        self._check_quota(most, len(eni.private_addresses), "address.quota", f"ENI {eni.name} ({eni_id})")
        taken = {number for other in self.enis.values() if other.subnet_id == eni.subnet_id for number in other.numbers}
        address = claim_address(self.profile, self._subnet(eni.subnet_id), private_ip, taken)
        self.enis[eni_id] = eni = replace(eni, secondary=(*eni.secondary, address))
        return eni

    def unassign_address(self, eni_id: str, private_ip: str | IPv4Address) -> Eni:
        """Take a secondary address back; refused while an EIP stands for it."""
        eni = self._eni(eni_id)
        address = parse_address(self.profile, private_ip, f"address of ENI {eni.name}")
        if address == eni.address:
            raise self.profile.refusal(
                InvalidValue,
                "address.primary",
                f"ENI {eni.name} ({eni_id}): {address} is its primary address, which stays as long as the ENI",
                object=eni_id,
                value=str(address),
            )
        if address not in eni.secondary:
            raise self.profile.refusal(
                NotFound,
                "address.unassigned",
                f"ENI {eni.name} ({eni_id}) has no address {address}; "
                f"it has {', '.join(map(str, eni.private_addresses))}",
                object=eni_id,
                value=str(address),
            )
        bound = self._eip_of(eni_id, address)
        if bound is not None:
            raise self.profile.refusal(
                InUse,
                "address.in_use",
                f"ENI {eni.name} ({eni_id}): EIP {bound.address} ({bound.id}) stands for {address}; disassociate it "
                "first",
                object=eni_id,
                value=bound.id,
            )
        left = tuple(one for one in eni.secondary if one != address)
        self.enis[eni_id] = eni = replace(eni, secondary=left)
        return eni
