"""EIPs: public addresses of the account."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from emulator.cloud import beyond
from emulator.resources.base import Addressed
from emulator.resources.machines import Cvm, Eni

if TYPE_CHECKING:
    from emulator.resources.gateways import NatGateway


class Eip(Addressed[beyond.Eip]):
    """An elastic public address."""

    _table = "eips"

    @property
    def ip(self) -> str:
        """The public address as text."""
        return str(self.model.address)

    @property
    def private_ip(self) -> str | None:
        """The private address it stands for; None where it is bound to nothing, or to a NAT gateway."""
        private = self.model.private
        return None if private is None else str(private)

    @property
    def machine(self) -> Cvm | None:
        target = self.model.target_id
        return Eni(self._lab, target).cvm if target in self._lab.cloud.enis else None

    def associate(self, target: Cvm | Eni | NatGateway, private_ip: str | IPv4Address | None = None) -> None:
        """Bind it to a private address of an ENI (of a CVM's primary ENI; the primary address where left out), or to a
        NAT gateway."""
        from emulator.resources.gateways import NatGateway

        kind = next((kind for kind in (Cvm, Eni, NatGateway) if isinstance(target, kind)), Eni)
        target_id = self._here(target, kind)
        self._lab._change(lambda cloud: cloud.associate_eip(self.id, target_id, private_ip))

    def disassociate(self) -> None:
        """Bind it to nothing; connections by it end."""
        self._lab._change(lambda cloud: cloud.disassociate_eip(self.id))

    def release(self) -> None:
        """Give the address back; it must be bound to nothing."""
        self._lab._change(lambda cloud: cloud.release_eip(self.id))
