"""VPCs joined with each other: peerings, and CCNs (Tencent's Cloud Connect Network, Alibaba's CEN)."""

from __future__ import annotations

import math
from dataclasses import replace

from emulator.cloud.beyond import Ccn, Peering
from emulator.cloud.names import check_name
from emulator.cloud.routes import RouteTables
from emulator.errors import AlreadyExists, InvalidValue, NotFound

MOST_MBPS = 100_000.0


class Joins(RouteTables):
    def create_peering(
        self, vpc_id: str, peer_vpc_id: str, *, name: str | None = None, bandwidth_mbps: float | None = None
    ) -> Peering:
        """Join two VPCs of one region or of two; each needs a route to the other. Accepted at once: the account is the
        same."""
        one, other = self._vpc(vpc_id), self._vpc(peer_vpc_id)
        what = f"peering of VPC {one.name} ({vpc_id}) with {other.name} ({peer_vpc_id})"
        if vpc_id == peer_vpc_id:
            raise self.profile.refusal(
                InvalidValue, "peering.itself", f"{what}: give another VPC", object=vpc_id, value=peer_vpc_id
            )
        if name is not None:
            check_name(self.profile, name, "peering")
        for there in self.peerings.values():
            if {there.vpc_id, there.peer_vpc_id} == {vpc_id, peer_vpc_id}:
                raise self.profile.refusal(
                    AlreadyExists,
                    "peering.exists",
                    f"{what}: they are joined by {there.name} ({there.id}) already",
                    object=there.id,
                    value=peer_vpc_id,
                )
        if self.profile.peering_overlap_refused and one.cidr.overlaps(other.cidr):
            raise self.profile.refusal(
                InvalidValue,
                "peering.overlap",
                f"{what}: their blocks {one.cidr} and {other.cidr} overlap; give VPCs whose blocks do not",
                object=vpc_id,
                value=peer_vpc_id,
            )
        cap = None if bandwidth_mbps is None else self._check_bandwidth(bandwidth_mbps, what)
        for vpc in (one, other):
            used = sum(vpc.id in (there.vpc_id, there.peer_vpc_id) for there in self.peerings.values())
            self._check_quota("peerings", used, "peering.quota", f"VPC {vpc.name}")
        peering_id = self._ids.new("peering")
        peering = Peering(peering_id, name or peering_id, vpc_id, peer_vpc_id, cap)
        self.peerings[peering_id] = peering
        return peering

    def set_peering_bandwidth(self, peering_id: str, bandwidth_mbps: float | None) -> Peering:
        peering = self._peering(peering_id)
        cap = None if bandwidth_mbps is None else self._check_bandwidth(bandwidth_mbps, f"peering {peering.name}")
        self.peerings[peering_id] = peering = replace(peering, bandwidth_mbps=cap)
        return peering

    def delete_peering(self, peering_id: str) -> None:
        """Refused while routes lead to it."""
        peering = self._peering(peering_id)
        users = self._routes_to(peering_id)
        self._refuse_in_use("peering.in_use", f"peering {peering.name}", peering_id, users)
        del self.peerings[peering_id]

    def create_ccn(self, *, name: str | None = None) -> Ccn:
        if name is not None:
            check_name(self.profile, name, "CCN")
        self._check_quota("ccns", len(self.ccns), "ccn.quota", "the account")
        ccn_id = self._ids.new("ccn")
        self.ccns[ccn_id] = ccn = Ccn(ccn_id, name or ccn_id)
        return ccn

    def attach_vpc(self, ccn_id: str, vpc_id: str) -> Ccn:
        """Join a VPC to all others of the CCN; their route tables learn the way. A block that overlaps another one's,
        or a route that is there already, is not learned: what came first stays."""
        ccn, vpc = self._ccn(ccn_id), self._vpc(vpc_id)
        holder = next((one for one in self.ccns.values() if vpc_id in one.vpcs), None)
        if holder is not None:
            raise self.profile.refusal(
                AlreadyExists,
                "ccn.attached",
                f"VPC {vpc.name} ({vpc_id}) is in CCN {holder.name} ({holder.id}) already; detach it there first",
                object=vpc_id,
                value=holder.id,
            )
        self._check_quota("ccn_vpcs", len(ccn.vpcs), "ccn.vpc_quota", f"CCN {ccn.name}")
        self.ccns[ccn_id] = ccn = replace(ccn, vpcs={**ccn.vpcs, vpc_id: self._ids.new("ccn_attachment")})
        self._teach(ccn)
        return ccn

    def detach_vpc(self, ccn_id: str, vpc_id: str) -> Ccn:
        """Refused while routes of the VPC's own lead to the CCN."""
        ccn = self._ccn(ccn_id)
        if vpc_id not in ccn.vpcs:
            raise self.profile.refusal(
                NotFound,
                "ccn.not_attached",
                f"VPC {vpc_id} is not in CCN {ccn.name} ({ccn_id})",
                object=ccn_id,
                value=vpc_id,
            )
        tables = [table for table in self.route_tables.values() if table.vpc_id == vpc_id]
        users = [
            f"route {table.name} {route.cidr}"
            for table in tables
            for route in table.routes
            if route.target_id == ccn_id and not route.learned
        ]
        self._refuse_in_use("ccn.in_use", f"CCN {ccn.name}", ccn_id, users)
        for table in tables:
            kept = tuple(route for route in table.routes if not (route.learned and route.target_id == ccn_id))
            self.route_tables[table.id] = replace(table, routes=kept)
        left = {one: attachment for one, attachment in ccn.vpcs.items() if one != vpc_id}
        self.ccns[ccn_id] = ccn = replace(ccn, vpcs=left)
        self._teach(ccn)
        return ccn

    def set_ccn_bandwidth(self, ccn_id: str, one: str, other: str, mbps: float | None) -> Ccn:
        """Cap what passes between two regions, each way; None takes the cap away. Within a region there is none."""
        ccn = self._ccn(ccn_id)
        first, second = sorted((self._check_region(one), self._check_region(other)))
        what = f"bandwidth of CCN {ccn.name} ({ccn_id}) between {first} and {second}"
        if first == second:
            raise self.profile.refusal(
                InvalidValue, "ccn.regions", f"{what}: give two regions", object=ccn_id, value=one
            )
        caps = {(a, b): cap for a, b, cap in ccn.caps}
        caps.pop((first, second), None)
        if mbps is not None:
            caps[first, second] = self._check_bandwidth(mbps, what)
        self.ccns[ccn_id] = ccn = replace(ccn, caps=tuple((a, b, cap) for (a, b), cap in caps.items()))
        return ccn

    def delete_ccn(self, ccn_id: str) -> None:
        """Refused while VPCs are attached, or a flow log is on it."""
        ccn = self._ccn(ccn_id)
        users = [f"VPC {self.vpcs[vpc_id].name}" for vpc_id in ccn.vpcs]
        self._refuse_in_use("ccn.in_use", f"CCN {ccn.name}", ccn_id, users)
        logs = [f"flow log {log.name}" for log in self.flow_logs.values() if log.resource_id == ccn_id]
        self._refuse_in_use("ccn.flow_log", f"CCN {ccn.name}", ccn_id, logs)
        del self.ccns[ccn_id]

    def _check_bandwidth(self, mbps: float, what: str) -> float:
        number = isinstance(mbps, int | float) and not isinstance(mbps, bool) and math.isfinite(mbps)
        if not number or not 0 < mbps <= MOST_MBPS:
            raise self.profile.refusal(
                InvalidValue,
                "bandwidth.range",
                f"{what}: {mbps!r} Mbit/s; give a number above 0, at most {MOST_MBPS:,.0f}",
                value=mbps,
            )
        return float(mbps)
