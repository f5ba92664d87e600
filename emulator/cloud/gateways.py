"""NAT gateways, and Alibaba's IPv4 gateway: the ways of a VPC to the internet beside the EIPs of its ENIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from emulator.cloud.addresses import parse_address, parse_network
from emulator.cloud.beyond import Eip, InternetGateway, NatGateway, PortForward, SnatEntry
from emulator.cloud.eips import Eips
from emulator.cloud.names import check_name
from emulator.cloud.routes import ANYWHERE, RouteTables
from emulator.cloud.rules import parse_protocol
from emulator.errors import AlreadyExists, InvalidValue, NotFound, Unsupported

_FORWARDED = (6, 17)


class Gateways(RouteTables, Eips):
    def create_internet_gateway(self, vpc_id: str, *, name: str | None = None) -> InternetGateway:
        """Alibaba: from now on only subnets with a route to it reach the internet by their EIPs. One for each VPC."""
        vpc = self._vpc(vpc_id)
        if not self.profile.internet_gateways:
            raise self.profile.refusal(
                Unsupported,
                "internet_gateway.unsupported",
                f"profile {self.profile.name} has no internet gateway: EIPs need none; leave it out",
                object=vpc_id,
            )
        if name is not None:
            check_name(self.profile, name, "internet gateway")
        there = next((one for one in self.internet_gateways.values() if one.vpc_id == vpc_id), None)
        if there is not None:
            raise self.profile.refusal(
                AlreadyExists,
                "internet_gateway.exists",
                f"VPC {vpc.name} has the internet gateway {there.name} ({there.id}) already; a VPC has one",
                object=vpc_id,
                value=there.id,
            )
        gateway_id = self._ids.new("internet_gateway")
        gateway = InternetGateway(gateway_id, name or gateway_id, vpc_id)
        self.internet_gateways[gateway_id] = gateway
        return gateway

    def delete_internet_gateway(self, gateway_id: str) -> None:
        gateway = self._internet_gateway(gateway_id)
        users = self._routes_to(gateway_id)
        self._refuse_in_use("internet_gateway.in_use", f"internet gateway {gateway.name}", gateway_id, users)
        del self.internet_gateways[gateway_id]

    def create_nat_gateway(self, vpc_id: str, *, name: str | None = None) -> NatGateway:
        """A NAT gateway without EIPs. Alibaba: a route to anywhere by it comes into the VPC's default route table, if
        none is there."""
        vpc = self._vpc(vpc_id)
        if name is not None:
            check_name(self.profile, name, "NAT gateway")
        used = sum(gateway.vpc_id == vpc_id for gateway in self.nat_gateways.values())
        self._check_quota("nat_gateways", used, "nat.quota", f"VPC {vpc.name}")
        gateway_id = self._ids.new("nat_gateway")
        gateway = NatGateway(gateway_id, name or gateway_id, vpc_id)
        self.nat_gateways[gateway_id] = gateway
        table = self.default_route_table(vpc_id)
        if self.profile.nat_routes_itself and all(route.cidr != ANYWHERE for route in table.routes):
            self.add_route(table.id, ANYWHERE, gateway_id)
        return gateway

    def delete_nat_gateway(self, gateway_id: str) -> None:
        """Refused while routes lead to it, or EIPs are bound to it."""
        gateway = self._nat_gateway(gateway_id)
        users = [f"EIP {eip.address}" for eip in self.eips_of(gateway_id)] + self._routes_to(gateway_id)
        self._refuse_in_use("nat.in_use", f"NAT gateway {gateway.name}", gateway_id, users)
        del self.nat_gateways[gateway_id]

    def eips_of(self, target_id: str) -> list[Eip]:
        """The EIPs bound to a NAT gateway or an ENI."""
        return [eip for eip in self.eips.values() if eip.target_id == target_id]

    def add_snat_entry(
        self, gateway_id: str, source: str | IPv4Network, eip_ids: Sequence[str] | None = None
    ) -> SnatEntry:
        """Let what comes from ``source`` (a subnet's id, or addresses of the VPC) out under these EIPs of the gateway,
        all of them where left out."""
        gateway = self._nat_gateway(gateway_id)
        what = f"SNAT entry of NAT gateway {gateway.name} ({gateway_id})"
        network = self._snat_source(gateway, source, what)
        if any(entry.source == network for entry in gateway.entries):
            raise self.profile.refusal(
                AlreadyExists,
                "nat.entry_exists",
                f"{what}: there is one for {network} already; remove that one first",
                object=gateway_id,
                value=str(network),
            )
        chosen = self.eips_of(gateway_id) if eip_ids is None else [self._eip(eip_id) for eip_id in eip_ids]
        for eip in chosen:
            self._check_bound_to(gateway, eip, what)
        if not chosen:
            raise self.profile.refusal(
                InvalidValue,
                "nat.no_eip",
                f"{what}: it has no EIP to go out under; associate one with the gateway first",
                object=gateway_id,
            )
        self._check_quota("snat_entries", len(gateway.entries), "nat.entry_quota", f"NAT gateway {gateway.name}")
        entry = SnatEntry(self._ids.new("snat_entry"), network, tuple(eip.address for eip in chosen))
        self.nat_gateways[gateway_id] = replace(gateway, entries=(*gateway.entries, entry))
        return entry

    def add_port_forward(
        self,
        gateway_id: str,
        protocol: str | int,
        eip_id: str,
        port: int,
        private_ip: str | IPv4Address,
        private_port: int | None = None,
    ) -> PortForward:
        """DNAT: what reaches the EIP at this TCP or UDP port goes to a private address of the VPC, at ``private_port``,
        the same one where left out."""
        gateway, eip = self._nat_gateway(gateway_id), self._eip(eip_id)
        what = f"port forwarding of NAT gateway {gateway.name} ({gateway_id})"
        number = parse_protocol(self.profile, protocol)
        if number not in _FORWARDED:
            raise self.profile.refusal(
                InvalidValue, "nat.protocol", f"{what}: protocol {protocol!r}; give tcp or udp", value=protocol
            )
        inner = port if private_port is None else private_port
        for one in (port, inner):
            if isinstance(one, bool) or not isinstance(one, int) or not 1 <= one <= 65_535:
                raise self.profile.refusal(
                    InvalidValue, "nat.port", f"{what}: port {one!r}; give a number from 1 to 65535", value=one
                )
        self._check_bound_to(gateway, eip, what)
        private = parse_address(self.profile, private_ip, what)
        vpc = self._vpc(gateway.vpc_id)
        if private not in vpc.cidr:
            raise self.profile.refusal(
                InvalidValue,
                "nat.private",
                f"{what}: {private} is not inside {vpc.cidr}, the block of VPC {vpc.name}",
                object=gateway_id,
                value=str(private),
            )
        if any((one.protocol, one.public, one.public_port) == (number, eip.address, port) for one in gateway.forwards):
            raise self.profile.refusal(
                AlreadyExists,
                "nat.forward_exists",
                f"{what}: {eip.address} port {port} is forwarded already; remove that one first",
                object=gateway_id,
                value=port,
            )
        self._check_quota("port_forwards", len(gateway.forwards), "nat.forward_quota", f"NAT gateway {gateway.name}")
        forward = PortForward(self._ids.new("port_forward"), number, eip.address, port, private, inner)
        self.nat_gateways[gateway_id] = replace(gateway, forwards=(*gateway.forwards, forward))
        return forward

    def remove_nat_entry(self, gateway_id: str, entry_id: str) -> None:
        """Take an SNAT entry or a port forwarding away."""
        gateway = self._nat_gateway(gateway_id)
        entries = tuple(one for one in gateway.entries if one.id != entry_id)
        forwards = tuple(one for one in gateway.forwards if one.id != entry_id)
        if (entries, forwards) == (gateway.entries, gateway.forwards):
            raise self.profile.refusal(
                NotFound,
                "nat.entry_missing",
                f"NAT gateway {gateway.name} ({gateway_id}) has no entry {entry_id!r}; see .snat_entries and "
                ".port_forwards",
                object=gateway_id,
                value=entry_id,
            )
        self.nat_gateways[gateway_id] = replace(gateway, entries=entries, forwards=forwards)

    def snat_of(self, gateway: NatGateway) -> tuple[tuple[IPv4Network, tuple[IPv4Address, ...]], ...]:
        """(source, public addresses) of a gateway, the longest mask first; where the provider needs no entries and none
        is there, everything goes out under all EIPs."""
        entries = sorted(gateway.entries, key=lambda entry: entry.source.prefixlen, reverse=True)
        found = [(entry.source, entry.addresses) for entry in entries]
        every = tuple(eip.address for eip in self.eips_of(gateway.id))
        if not found and every and not self.profile.snat_needs_entry:
            found.append((ANYWHERE, every))
        return tuple(found)

    def _snat_source(self, gateway: NatGateway, source: str | IPv4Network, what: str) -> IPv4Network:
        vpc = self._vpc(gateway.vpc_id)
        subnet = self.subnets.get(source) if isinstance(source, str) else None
        network = subnet.cidr if subnet is not None else parse_network(self.profile, source, what)
        if not network.subnet_of(vpc.cidr):
            raise self.profile.refusal(
                InvalidValue,
                "nat.source",
                f"{what}: {network} is not inside {vpc.cidr}, the block of VPC {vpc.name}",
                object=gateway.id,
                value=str(network),
            )
        return network

    def _check_bound_to(self, gateway: NatGateway, eip: Eip, what: str) -> None:
        if eip.target_id != gateway.id:
            raise self.profile.refusal(
                InvalidValue,
                "nat.eip",
                f"{what}: EIP {eip.address} ({eip.id}) is not bound to it; associate it with the gateway first",
                object=gateway.id,
                value=eip.id,
            )


def choosing_bits(addresses: Sequence[IPv4Address]) -> int:
    """The last bits of a private address by which a NAT gateway chooses among so many of its own."""
    return (1 << (len(addresses) - 1).bit_length()) - 1


def chosen(private: IPv4Address, addresses: Sequence[IPv4Address]) -> IPv4Address:
    """Which of its public addresses a NAT gateway gives to a private one, always the same."""
    return addresses[(int(private) & choosing_bits(addresses)) % len(addresses)]
