"""Route tables and the gateways that they lead to."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from emulator.cloud import beyond
from emulator.resources.addresses import Eip
from emulator.resources.base import Resource

if TYPE_CHECKING:
    from emulator.resources.networks import Subnet


class InternetGateway(Resource[beyond.InternetGateway]):
    """Alibaba's IPv4 gateway."""

    _table = "internet_gateways"

    def delete(self) -> None:
        """Without it every EIP works by itself again."""
        self._lab._change(lambda cloud: cloud.delete_internet_gateway(self.id))


class NatGateway(Resource[beyond.NatGateway]):
    """A NAT gateway: subnets whose route table leads to it reach the internet under its EIPs."""

    _table = "nat_gateways"

    @property
    def eips(self) -> list[Eip]:
        """The EIPs bound to it, in the order allocated."""
        self.model  # noqa: B018 - a gateway that is gone says so
        return [Eip(self._lab, eip.id) for eip in self._lab.cloud.eips_of(self.id)]

    @property
    def snat_entries(self) -> tuple[beyond.SnatEntry, ...]:
        return self.model.entries

    @property
    def port_forwards(self) -> tuple[beyond.PortForward, ...]:
        return self.model.forwards

    def add_snat(self, source: Subnet | str | IPv4Network, eips: Iterable[Eip] | Eip | None = None) -> beyond.SnatEntry:
        """Let what comes from ``source``, a subnet or addresses of the VPC, out under these EIPs, all of the gateway's
        where left out. Alibaba's gateway lets nothing out without; Tencent's needs none."""
        from emulator.resources.networks import Subnet

        addresses = self._here(source, Subnet) if isinstance(source, Resource) else source
        chosen = None if eips is None else self._all_here(eips, Eip)
        return self._lab._change(lambda cloud: cloud.add_snat_entry(self.id, addresses, chosen))

    def forward_port(
        self, protocol: str | int, eip: Eip, port: int, private_ip: str | IPv4Address, private_port: int | None = None
    ) -> beyond.PortForward:
        """DNAT: what reaches this EIP of the gateway at a TCP or UDP port goes to a private address, at the same port
        where ``private_port`` is left out."""
        eip_id = self._here(eip, Eip)
        return self._lab._change(
            lambda cloud: cloud.add_port_forward(self.id, protocol, eip_id, port, private_ip, private_port)
        )

    def remove(self, entry: beyond.SnatEntry | beyond.PortForward | str) -> None:
        """Take an SNAT entry or a port forwarding away."""
        entry_id = entry if isinstance(entry, str) else str(getattr(entry, "id", entry))
        self._lab._change(lambda cloud: cloud.remove_nat_entry(self.id, entry_id))

    def delete(self) -> None:
        """No route may lead to it, and no EIP be bound to it."""
        self._lab._change(lambda cloud: cloud.delete_nat_gateway(self.id))


class RouteTable(Resource[beyond.RouteTable]):
    """Where the packets of its subnets go that leave the VPC."""

    _table = "route_tables"

    @property
    def routes(self) -> tuple[beyond.Route, ...]:
        return self.model.routes

    def add_route(self, cidr: str | IPv4Network, target: Resource[Any]) -> beyond.Route:
        """Send what goes to ``cidr`` to a NAT gateway, internet gateway or peering of this VPC, or a CCN that it is
        in."""
        target_id = self._here(target, Resource)
        return self._lab._change(lambda cloud: cloud.add_route(self.id, cidr, target_id))

    def remove_route(self, cidr: str | IPv4Network) -> None:
        """Take a route away that was added here."""
        self._lab._change(lambda cloud: cloud.remove_route(self.id, cidr))

    def associate(self, subnet: Subnet) -> None:
        """Let it hold for a subnet, in place of the one it had."""
        from emulator.resources.networks import Subnet

        subnet_id = self._here(subnet, Subnet)
        self._lab._change(lambda cloud: cloud.associate_route_table(self.id, subnet_id))

    def disassociate(self, subnet: Subnet) -> None:
        """Let the VPC's default route table hold for the subnet again."""
        from emulator.resources.networks import Subnet

        subnet_id = self._here(subnet, Subnet)
        self._lab._change(lambda cloud: cloud.disassociate_route_table(self.id, subnet_id))

    def delete(self) -> None:
        """Not the default one, and no subnet may be associated."""
        self._lab._change(lambda cloud: cloud.delete_route_table(self.id))
