"""Everything outside the VPCs in the kernel: routers to the internet and between VPCs, and the internet itself.

What must stand there follows from the cloud (plans.py); :meth:`Beyond.follow` makes the kernel so, whatever stood there
before. A lab that has nothing outside its VPCs has none of it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from ipaddress import IPv4Network

from emulator.cloud.account import Cloud
from emulator.errors import LabError
from emulator.fabric import borders, marks, plans, transits, ways
from emulator.fabric.accounts import Accounts
from emulator.fabric.cables import Cable, End
from emulator.fabric.client import KeeperClient
from emulator.fabric.elements import Batch, counter_request, decode_counter, index_key
from emulator.fabric.netlink import NETFILTER, send
from emulator.fabric.plans import INTERNET, Plan, VpcPlan
from emulator.fabric.routers import Router
from emulator.fabric.routing import MAIN, NetworkRoute, TableRule
from emulator.fabric.visitors import Visitors
from emulator.fabric.vpc import QUIET, VpcFabric

_FIRST_PORT = 1 << 20
"""Indexes of links to the outside begin here, far behind those of ENIs."""

_ROUTER = {
    "net/ipv4/ip_forward": 1,
    **QUIET,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/all/send_redirects": 0,
    "net/ipv4/conf/default/send_redirects": 0,
    "net/ipv4/icmp_ratelimit": 0,  # a traceroute hears from every hop
}
_LIBERAL = {"net/netfilter/nf_conntrack_tcp_be_liberal?": 1}
"""A border translates every packet of a connection, also one outside its window."""


class Beyond:
    def __init__(
        self, keeper: KeeperClient, cloud: Cloud, tag: str, vpcs: Mapping[str, VpcFabric], visitors: Visitors
    ) -> None:
        self._keeper, self._cloud, self._tag, self._vpcs, self.visitors = keeper, cloud, tag, vpcs, visitors
        self.accounts: dict[str, Accounts] = {}
        """Of peerings and CCNs."""
        self._routers: dict[str, Router] = {}  # a VPC's by its id, as far as it has a way out
        self._cables: dict[tuple[str, str], Cable] = {}
        self._indexes, self._hops = itertools.count(_FIRST_PORT), borders.HOPS.hosts()
        self._dropped = 0  # by joints that are gone
        self._numbers: dict[str, int] = {}  # of borders, in the marks of replies

    def follow(self) -> None:
        """Make the kernel what the cloud wants; where it refuses, the next call goes on from there."""
        plan = plans.plan(self._cloud)
        if not (plan.vpcs or plan.joints or self._cloud.internet_hosts or self._routers):
            return
        for name in [name for name, one in self._routers.items() if one.hop is None and name not in self._vpcs]:
            del self._routers[name]  # a VPC that is gone took its namespace along
        wanted = self._cables_of(plan)
        self._build(plan)
        for ends in wanted:
            if ends not in self._cables:
                self._lay(*ends)
        for vpc_id in self._vpcs:
            if vpc_id in self._routers:
                self._lead_vpc(vpc_id, plan.vpcs.get(vpc_id, VpcPlan()))
        self._lead_outside(plan)
        self._tear_down(plan, wanted)
        self.visitors.name(list(self._cloud.internet_hosts.values()))

    def ports(self, joint: str) -> dict[str, int]:
        """The VPCs at a peering or CCN → the index of the link there."""
        router = self._routers.get(joint)
        return {} if router is None else {vpc_id: port.index for vpc_id, port in router.ports.items()}

    def dropped(self) -> int:
        """Packets that peerings and CCNs dropped so far, those that are gone included."""
        return self._dropped + sum(map(self._dropped_by, self.accounts))

    def _dropped_by(self, joint: str) -> int:
        step = (self._routers[joint].ns, NETFILTER, counter_request("dropped"))
        return decode_counter(send(self._keeper, [step], f"read what {joint} dropped")[0])[0]

    # what stands -------------------------------------------------------------------------------------

    def _cables_of(self, plan: Plan) -> list[tuple[str, str]]:
        cables = [(vpc_id, gate) for vpc_id, there in plan.vpcs.items() for gate in there.gates]
        cables += [(INTERNET, border) for border in plan.borders]
        return cables + [(INTERNET, host_id) for host_id in self._cloud.internet_hosts]

    def _build(self, plan: Plan) -> None:
        """The routers and machines that are not there yet."""
        names = [*plan.borders, *plan.joints]
        if plan.borders or self._cloud.internet_hosts:
            names.append(INTERNET)
        for name in names:
            if name not in self._routers:
                self._routers[name] = self._router(name, joint=name in plan.joints)
        for vpc_id in plan.vpcs:
            if vpc_id not in self._routers:
                self._routers[vpc_id] = router = Router(vpc_id, self._vpcs[vpc_id].ns)
                router.open(self._keeper)
        for host in self._cloud.internet_hosts.values():
            if host.id not in self.visitors.known:
                self.visitors.add(host)

    def _router(self, name: str, *, joint: bool) -> Router:
        """A new one, whole or not at all."""
        (ns,) = self._keeper.make_namespaces(1, self._tag, _ROUTER)
        try:
            router = Router(name, ns, next(self._hops))
            router.open(self._keeper)
            if joint:
                self._keeper.nft(ns, transits.base())
                self.accounts[name] = Accounts(self._keeper, ns, in_vpc=False)
        except BaseException:
            self._keeper.drop([ns])
            raise
        return router

    def _lay(self, one: str, other: str) -> None:
        host = self._cloud.internet_hosts.get(other)
        near = self._free_end(one)
        far = self._free_end(other) if host is None else self.visitors.end(other)
        cable = Cable(near, far)
        try:
            cable.lay(self._keeper)
            if host is not None:
                self.visitors.plugged(host)
        except BaseException:
            with contextlib.suppress(LabError):
                cable.cut(self._keeper)
            raise
        self._cables[one, other] = cable
        self._routers[one].ports[other] = near
        if host is None:
            self._routers[other].ports[one] = far

    def _free_end(self, name: str) -> End:
        index = next(self._indexes)
        return End(self._routers[name].ns, f"out{index - _FIRST_PORT}", index)

    def _tear_down(self, plan: Plan, wanted: list[tuple[str, str]]) -> None:
        """What nobody wants any more."""
        for ends in [ends for ends in self._cables if ends not in wanted]:
            self._cables[ends].cut(self._keeper)
            del self._cables[ends]
            for name, neighbour in (ends, ends[::-1]):
                if name in self._routers:
                    self._routers[name].ports.pop(neighbour, None)
        stay = {*plan.borders, *plan.joints, *self._vpcs}
        if plan.borders or self._cloud.internet_hosts:
            stay.add(INTERNET)
        for name in [name for name in self._routers if name not in stay]:
            if name in self.accounts:
                self._dropped += self._dropped_by(name)
            self._keeper.drop([self._routers[name].ns])
            del self._routers[name]
            self.accounts.pop(name, None)
            self._numbers.pop(name, None)
        for host_id in [host_id for host_id in self.visitors.known if host_id not in self._cloud.internet_hosts]:
            self.visitors.remove(host_id)

    # where packets go --------------------------------------------------------------------------------

    def _lead_vpc(self, vpc_id: str, there: VpcPlan) -> None:
        """Rules, routes and the ruleset's part for ways out of one VPC."""
        router, fabric = self._routers[vpc_id], self._vpcs[vpc_id]
        numbers = {border: number for border in there.remembered if (number := self._number(vpc_id, border))}
        indexes = {gate: router.ports[gate].index for gate in there.gates}
        rules = {
            TableRule(
                choice.priority,
                router.table(choice.table) if choice.table else MAIN,
                choice.source,
                router.ports[choice.gate].name if choice.gate else "",
                without_default=choice.specific,
            )
            for choice in there.choices
        }
        rules |= {
            TableRule(plans.REMEMBERED, router.table(gate), mark=(marks.way(number), marks.WAY_MASK))
            for gate, number in numbers.items()
        }
        routes = {
            NetworkRoute(
                way.network,
                fabric.nowhere if way.gate == plans.NOWHERE else indexes[way.gate],
                router.table(way.table) if way.table else MAIN,
            )
            for way in there.ways
        }
        text = ways.text(list(indexes.values()), {indexes[gate]: number for gate, number in numbers.items()})
        if router.written or there.gates:
            router.write(self._keeper, text)
        self._admit(router, set(indexes.values()))
        router.lead(self._keeper, routes, rules)

    def _admit(self, router: Router, indexes: set[int]) -> None:
        """Let what comes by these links pass the check of sources, and nothing else that is no ENI's."""
        batch = Batch()
        batch.delete("gates", [index_key(index) for index in router.admitted - indexes])
        batch.add("gates", [index_key(index) for index in indexes - router.admitted])
        if batch:
            send(self._keeper, [(router.ns, NETFILTER, batch.request())], f"open the ways of {router.name}")
            router.admitted = indexes

    def _number(self, vpc_id: str, border: str) -> int | None:
        """A border's number, unique among those of its VPC as long as it stands; None where there are too many."""
        if border not in self._numbers:
            used = {self._numbers.get(name) for name in self._routers[vpc_id].ports}
            number = next((number for number in range(1, marks.WAYS + 1) if number not in used), None)
            if number is None:
                return None  # replies by this one follow the routes
            self._numbers[border] = number
        return self._numbers[border]

    def _lead_outside(self, plan: Plan) -> None:
        for border, vpc_id in plan.borders.items():
            self._lead_border(border, vpc_id)
        for joint, vpc_ids in plan.joints.items():
            self._lead_joint(joint, vpc_ids)
        if INTERNET in self._routers:
            ports = self._routers[INTERNET].ports
            routes = {NetworkRoute(plans.ANYWHERE, None)}
            for border, vpc_id in plan.borders.items():
                public = plans.public_addresses(self._cloud, border, vpc_id)
                routes.update(NetworkRoute(IPv4Network(address), ports[border].index) for address in public)
            for host in self._cloud.internet_hosts.values():
                routes.add(NetworkRoute(IPv4Network(host.address), ports[host.id].index))
            self._routers[INTERNET].lead(self._keeper, routes)

    def _lead_border(self, border: str, vpc_id: str) -> None:
        """The EIPs' border of a VPC, or a NAT gateway."""
        router, block = self._routers[border], self._cloud.vpcs[vpc_id].cidr
        inner, outer = router.ports[vpc_id].index, router.ports[INTERNET].index
        assert router.hop is not None  # no VPC's namespace
        gateway = self._cloud.nat_gateways.get(border)
        fresh = not router.written
        if gateway is None:
            bound = plans.eips_of_vpc(self._cloud, vpc_id)
            text = borders.eips(inner, outer, block, router.hop, bound)
        else:
            snat = self._cloud.snat_of(gateway)
            text = borders.nat_gateway(inner, outer, block, router.hop, snat, gateway.forwards)
        router.write(self._keeper, text)
        if fresh:
            self._keeper.sysctl(router.ns, _LIBERAL)
        router.lead(self._keeper, {NetworkRoute(plans.ANYWHERE, outer), NetworkRoute(block, inner)})

    def _lead_joint(self, joint: str, vpc_ids: tuple[str, ...]) -> None:
        """A peering or CCN: each VPC's block by its link; of blocks that overlap the first counts."""
        router, routes, taken = self._routers[joint], {NetworkRoute(plans.ANYWHERE, None)}, list[IPv4Network]()
        for vpc_id in vpc_ids:
            block = self._cloud.vpcs[vpc_id].cidr
            if not any(block.overlaps(other) for other in taken):
                taken.append(block)
                routes.add(NetworkRoute(block, router.ports[vpc_id].index))
        links = {vpc_id: router.ports[vpc_id].index for vpc_id in vpc_ids}
        router.write(self._keeper, transits.lanes(plans.lanes(self._cloud, joint, links), links.values()))
        router.lead(self._keeper, routes)
