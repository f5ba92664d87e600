"""CVMs and their ENIs: where packets come from and go to."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from os import PathLike, fspath
from typing import TYPE_CHECKING

from emulator.cloud import model
from emulator.errors import GuestError
from emulator.fabric.pcap import Capture
from emulator.resources.base import Addressed, Loggable
from emulator.resources.machine import Machine
from emulator.resources.rules import SecurityGroup

if TYPE_CHECKING:
    from emulator.fabric.nodes import CvmHost


class Eni(Addressed[model.Eni], Loggable[model.Eni]):
    """An elastic network interface: its addresses, its security groups, at a CVM or detached."""

    _table = "enis"

    @property
    def ip(self) -> str:
        """Its primary private address as text."""
        return str(self.model.address)

    @property
    def ips(self) -> list[str]:
        """All its private addresses, the primary one first."""
        return [str(address) for address in self.model.private_addresses]

    @property
    def ipv6_addresses(self) -> list[str]:
        """Its IPv6 addresses as text, in the order assigned."""
        return [str(address) for address in self.model.ipv6_addresses]

    def assign_private_ip(self, private_ip: str | IPv4Address | None = None) -> str:
        """One more private address of its subnet, the lowest free one where left out; its CVM has it at once."""
        eni = self._lab._change(
            lambda cloud: cloud.assign_address(self.id, private_ip),
            then=lambda eni: self._lab.fabric.assign(eni, eni.secondary[-1:]),
            touched=lambda _: [self.id],
        )
        return str(eni.secondary[-1])

    def unassign_private_ip(self, private_ip: str | IPv4Address) -> None:
        """Take a secondary address back."""
        before = self.model
        self._lab._change(
            lambda cloud: cloud.unassign_address(self.id, private_ip),
            then=lambda eni: self._lab.fabric.unassign(before, [*set(before.secondary).difference(eni.secondary)]),
            touched=lambda _: [self.id],
        )

    def assign_ipv6_addresses(self, addresses: int | Sequence[str | IPv6Address] = 1) -> list[str]:
        """More IPv6 addresses of its subnet, that many or these; its CVM has them at once."""
        held = len(self.model.ipv6_addresses)
        eni = self._lab._change(
            lambda cloud: cloud.assign_ipv6_addresses(self.id, addresses),
            then=lambda eni: self._lab.fabric.assign(eni, eni.ipv6_addresses[held:]),
            touched=lambda _: [self.id],
        )
        return [str(address) for address in eni.ipv6_addresses[held:]]

    def unassign_ipv6_addresses(self, addresses: Sequence[str | IPv6Address]) -> None:
        """Take IPv6 addresses back."""
        before = self.model
        self._lab._change(
            lambda cloud: cloud.unassign_ipv6_addresses(self.id, addresses),
            then=lambda eni: self._lab.fabric.unassign(
                before, [address for address in before.ipv6_addresses if address not in eni.ipv6_addresses]
            ),
            touched=lambda _: [self.id],
        )

    @property
    def mac(self) -> str:
        return self.model.mac

    @property
    def cvm(self) -> Cvm | None:
        cvm_id = self.model.cvm_id
        return None if cvm_id is None else Cvm(self._lab, cvm_id)

    @property
    def machine(self) -> Cvm | None:
        return self.cvm

    @property
    def security_groups(self) -> list[SecurityGroup]:
        return [SecurityGroup(self._lab, group_id) for group_id in self.model.groups]

    def set_security_groups(self, groups: Sequence[SecurityGroup]) -> None:
        """Bind the ENI to these groups, in this order."""
        bound = self._all_here(groups, SecurityGroup)
        self._lab._change(
            lambda cloud: cloud.set_groups(self.id, bound),
            lambda fabric, eni: fabric.groups_changed(eni),
            self.model.vpc_id,
        )

    def attach(self, cvm: Cvm) -> None:
        """Plug it into a running CVM, as the next free ethN."""
        self._lab._attach(self.id, self._here(cvm, Cvm))

    def detach(self) -> None:
        """Unplug it; a CVM's primary ENI cannot be."""
        self._lab._detach(self.id)

    def delete(self) -> None:
        """Delete a detached ENI, and the flow logs on it."""
        self._lab._change(
            lambda cloud: cloud.delete_eni(self.id), lambda fabric, _: fabric.members_changed(), self.model.vpc_id
        )

    def capture(self, path: str | PathLike[str]) -> Capture:
        """Everything that passes at the CVM's end, both ways, into a pcap file, for a ``with`` block; complete when it
        ends."""
        self._lab._check_open()
        eni = self.model
        if eni.cvm_id is None:
            raise GuestError(f"{self.id} ({self.name}) is detached: attach it to a CVM before capturing there")
        node = self._lab.fabric.cvm(eni.cvm_id)
        self._lab.captures.append((self.id, fspath(path)))
        return Capture(node.keeper, node.ns, (eni.device or 0) + 2, path, f"{self.id} ({self.name})")


class Cvm(Machine[model.Cvm]):
    """A CVM: a network namespace with a sandbox around what runs in it."""

    _table = "cvms"

    @property
    def eni(self) -> Eni:
        """Its primary ENI."""
        return self.enis[0]

    @property
    def enis(self) -> list[Eni]:
        """Its ENIs by device number."""
        self.model  # noqa: B018 - a CVM that is gone says so
        found = [eni for eni in self._lab.cloud.enis.values() if eni.cvm_id == self.id]
        return [Eni(self._lab, eni.id) for eni in sorted(found, key=lambda eni: eni.device or 0)]

    @property
    def ip(self) -> str:
        """The address of its primary ENI."""
        return self.eni.ip

    @property
    def ips(self) -> list[str]:
        """The private addresses of all its ENIs."""
        return [ip for eni in self.enis for ip in eni.ips]

    @property
    def ipv6_addresses(self) -> list[str]:
        """The IPv6 addresses of all its ENIs, those of the primary one first."""
        return [address for eni in self.enis for address in eni.ipv6_addresses]

    def _node(self) -> CvmHost:
        """Its machine, to which the provider's services answer from now on; a closed lab and a CVM that is gone say
        so."""
        self._lab._check_open()
        node = self._lab.fabric.cvm(self.model.id)
        self._lab._desk.attend(self.model.vpc_id)
        return node

    def terminate(self) -> None:
        """End the CVM: its processes and its primary ENI go, other ENIs are detached."""
        self._lab._terminate(self.id)
