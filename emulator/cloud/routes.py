"""Route tables: where a subnet's packets go that stay not inside the VPC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from emulator.cloud.addresses import parse_network
from emulator.cloud.beyond import Ccn, InternetGateway, NatGateway, Peering, Route, RouteTable
from emulator.cloud.model import Subnet, Vpc
from emulator.cloud.names import check_name
from emulator.cloud.state import State
from emulator.errors import AlreadyExists, InUse, InvalidValue, NotFound, Unsupported

ANYWHERE = IPv4Network("0.0.0.0/0")


class RouteTables(State):
    def create_route_table(self, vpc_id: str, *, name: str | None = None) -> RouteTable:
        """A route table without routes of the tenant's; what the VPC's CCNs taught is in it."""
        vpc = self._vpc(vpc_id)
        if name is not None:
            check_name(self.profile, name, "route table")
        there = [table for table in self.route_tables.values() if table.vpc_id == vpc_id]
        self._check_quota("route_tables", len(there), "route_table.quota", f"VPC {vpc.name}")
        table = self._new_route_table(vpc_id, name)
        self._teach_again(vpc_id)
        return self.route_tables[table.id]

    def default_route_table(self, vpc_id: str) -> RouteTable:
        """The one that a VPC is born with."""
        return next(table for table in self.route_tables.values() if table.vpc_id == vpc_id and table.default)

    def route_table_of(self, subnet: Subnet) -> RouteTable:
        """The route table that holds for a subnet."""
        if subnet.route_table_id is not None:
            return self.route_tables[subnet.route_table_id]
        return self.default_route_table(subnet.vpc_id)

    def add_route(self, route_table_id: str, cidr: str | IPv4Network, target_id: str) -> Route:
        """Send what goes to ``cidr`` to a NAT gateway, internet gateway or peering of this VPC, or a CCN it is in."""
        table = self._route_table(route_table_id)
        vpc = self._vpc(table.vpc_id)
        network = parse_network(self.profile, cidr, f"route of {table.name}")
        what = f"route of {table.name} ({route_table_id}) to {network}"
        if network.subnet_of(vpc.cidr):
            raise self.profile.refusal(
                InvalidValue,
                "route.local",
                f"{what}: it is inside {vpc.cidr}, the block of VPC {vpc.name}, which needs no route",
                object=route_table_id,
                value=str(network),
            )
        there = next((route for route in table.routes if route.cidr == network), None)
        if there is not None:
            raise self.profile.refusal(
                AlreadyExists,
                "route.exists",
                f"{what}: there is one already, by {there.target_id}; "
                + ("it came with the CCN, detach the VPC first" if there.learned else "remove that one first"),
                object=route_table_id,
                value=str(network),
            )
        target = self._route_target(table, target_id, what)
        if isinstance(target, Peering) and self.profile.peer_routes_inside:
            peer = self._vpc(target.peer_vpc_id if target.vpc_id == vpc.id else target.vpc_id)
            if not network.subnet_of(peer.cidr):
                raise self.profile.refusal(
                    InvalidValue,
                    "route.peer",
                    f"{what}: it is not inside {peer.cidr}, the block of the peer, VPC {peer.name}",
                    object=route_table_id,
                    value=str(network),
                )
        written = sum(not route.learned for route in table.routes)
        self._check_quota("routes", written, "route.quota", f"route table {table.name}")
        route = Route(network, target_id)
        self.route_tables[route_table_id] = replace(table, routes=(*table.routes, route))
        return route

    def remove_route(self, route_table_id: str, cidr: str | IPv4Network) -> Route:
        """Take a route away that the tenant wrote; what a CCN teaches may come in its place."""
        table = self._route_table(route_table_id)
        network = parse_network(self.profile, cidr, f"route of {table.name}")
        route = next((route for route in table.routes if route.cidr == network), None)
        if route is None:
            raise self.profile.refusal(
                NotFound,
                "route.missing",
                f"route table {table.name} ({route_table_id}) has no route to {network}; it has "
                + (", ".join(str(one.cidr) for one in table.routes) or "none"),
                object=route_table_id,
                value=str(network),
            )
        if route.learned:
            raise self.profile.refusal(
                Unsupported,
                "route.learned",
                f"route of {table.name} to {network}: it came with {route.target_id}; detach the VPC from it instead",
                object=route_table_id,
                value=str(network),
            )
        self.route_tables[route_table_id] = replace(
            table, routes=tuple(one for one in table.routes if one.cidr != network)
        )
        self._teach_again(table.vpc_id)
        return route

    def associate_route_table(self, route_table_id: str, subnet_id: str) -> Subnet:
        """Let a route table hold for a subnet of its VPC, in place of the one it had."""
        table, subnet = self._route_table(route_table_id), self._subnet(subnet_id)
        if table.vpc_id != subnet.vpc_id:
            raise self.profile.refusal(
                InvalidValue,
                "route_table.vpc",
                f"route table {table.name} is in VPC {table.vpc_id}, subnet {subnet.name} in {subnet.vpc_id}; "
                "create a route table in the subnet's VPC",
                object=route_table_id,
                value=subnet_id,
            )
        self.subnets[subnet_id] = subnet = replace(subnet, route_table_id=None if table.default else table.id)
        return subnet

    def disassociate_route_table(self, route_table_id: str, subnet_id: str) -> Subnet:
        """Back to the VPC's default route table."""
        table, subnet = self._route_table(route_table_id), self._subnet(subnet_id)
        if table.default or subnet.route_table_id != table.id:
            raise self.profile.refusal(
                InvalidValue,
                "route_table.association",
                f"{subnet.id} ({subnet.name}) is not associated with {table.id}, or that is the default route table, "
                "from which no subnet can be taken; associate it with another",
                object=route_table_id,
                value=subnet_id,
            )
        self.subnets[subnet_id] = subnet = replace(subnet, route_table_id=None)
        return subnet

    def delete_route_table(self, route_table_id: str) -> None:
        """Not the default one, and refused while a subnet is associated."""
        table = self._route_table(route_table_id)
        users = [subnet.name for subnet in self.subnets.values() if subnet.route_table_id == route_table_id]
        if table.default or users:
            raise self.profile.refusal(
                InUse,
                "route_table.in_use",
                f"route table {table.name} ({route_table_id}) "
                + ("is the VPC's default and goes with it" if table.default else f"serves subnet {', '.join(users)}")
                + ("" if table.default else "; disassociate it first"),
                object=route_table_id,
                value=tuple(users),
            )
        del self.route_tables[route_table_id]

    def _teach(self, ccn: Ccn) -> None:
        """Let the route tables of a CCN's VPCs know each other's blocks, in the order attached."""
        for vpc_id in ccn.vpcs:
            vpc, known = self.vpcs[vpc_id], list[Vpc]()
            for other in (self.vpcs[one] for one in ccn.vpcs if one != vpc_id):
                if not any(other.cidr.overlaps(there.cidr) for there in (vpc, *known)):
                    known.append(other)
            for table in [table for table in self.route_tables.values() if table.vpc_id == vpc_id]:
                own = tuple(route for route in table.routes if not (route.learned and route.target_id == ccn.id))
                taken = {route.cidr for route in own}
                learned = (Route(other.cidr, ccn.id, learned=True) for other in known if other.cidr not in taken)
                self.route_tables[table.id] = replace(table, routes=(*own, *learned))

    def _teach_again(self, vpc_id: str) -> None:
        """What the VPC's CCN teaches depends on the routes that are there."""
        for ccn in [ccn for ccn in self.ccns.values() if vpc_id in ccn.vpcs]:
            self._teach(ccn)

    def _new_route_table(self, vpc_id: str, name: str | None, *, default: bool = False) -> RouteTable:
        table_id = self._ids.new("route_table")
        table = RouteTable(table_id, name or table_id, vpc_id, default)
        self.route_tables[table_id] = table
        return table

    def _route_target(
        self, table: RouteTable, target_id: str, what: str
    ) -> NatGateway | InternetGateway | Peering | Ccn:
        for target in (self.nat_gateways.get(target_id), self.internet_gateways.get(target_id)):
            if target is not None and target.vpc_id == table.vpc_id:
                return target
        peering = self.peerings.get(target_id)
        if peering is not None and table.vpc_id in (peering.vpc_id, peering.peer_vpc_id):
            return peering
        ccn = self.ccns.get(target_id)
        if ccn is not None and table.vpc_id in ccn.vpcs:
            return ccn
        raise self.profile.refusal(
            InvalidValue,
            "route.target",
            f"{what}: {target_id!r} leads nowhere from VPC {table.vpc_id}; give a gateway or peering of this VPC",
            object=table.id,
            value=target_id,
        )

    def _routes_to(self, target_id: str) -> list[str]:
        """The tenant's routes that lead somewhere, in words."""
        return [
            f"route {table.name} {route.cidr}"
            for table in self.route_tables.values()
            for route in table.routes
            if route.target_id == target_id and not route.learned
        ]

    def _refuse_in_use(self, reason: str, thing: str, target_id: str, users: Iterable[str]) -> None:
        named = list(users)
        if named:
            raise self.profile.refusal(
                InUse,
                reason,
                f"{thing} ({target_id}) is still used by {', '.join(named[:5])}"
                + (f" and {len(named) - 5} more" if len(named) > 5 else "")
                + "; remove that first",
                object=target_id,
                value=tuple(named),
            )

    def _in_vpc(self, vpc_id: str) -> list[str]:
        """What of the tables of this module and of gateways stands in a VPC, in words."""
        tables: dict[str, Mapping[str, Any]] = {
            "route table": {key: one for key, one in self.route_tables.items() if not one.default},
            "NAT gateway": self.nat_gateways,
            "internet gateway": self.internet_gateways,
        }
        found = [
            f"{kind} {one.name}" for kind, table in tables.items() for one in table.values() if one.vpc_id == vpc_id
        ]
        found += [f"peering {one.name}" for one in self.peerings.values() if vpc_id in (one.vpc_id, one.peer_vpc_id)]
        return found + [f"CCN {one.name}" for one in self.ccns.values() if vpc_id in one.vpcs]
