"""One VPC in the kernel: a routed namespace, its ENIs, its ruleset, its flow tables.

::

    CVM namespace            VPC namespace
    eth0 10.16.0.22/24 ───── eni-xxxxxxxx   route 10.16.0.22/32, neighbour fixed, proxy ARP
    eth0 10.16.0.40/24 ───── eni-yyyyyyyy   route 10.16.0.40/32
                             nowhere        default route: an address that nobody has is sent, judged, counted, then
                             dropped

There is no bridge: a cloud's VPC is a routed fabric, and so connection tracking sees every packet in plain inet hooks.
Interface indexes are never used twice in the life of a VPC, so that nothing old can stand for something new.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from emulator.cloud.account import Cloud
from emulator.cloud.model import Eni, Vpc
from emulator.errors import KeeperLost, KernelRefused
from emulator.fabric import connections, elements, netlink, ruleset
from emulator.fabric.accounts import Accounts
from emulator.fabric.cables import await_up
from emulator.fabric.client import KeeperClient
from emulator.fabric.elements import Batch, owner_key, service_key
from emulator.fabric.links import VethLink
from emulator.fabric.standing import Standing

_LOOPBACK, _NOWHERE, _NOWHERE_PEER, _FIRST_ENI = 1, 2, 3, 10
_ETH0 = 2
"""Index of a CVM's first ENI there; the others follow."""
_AT_ONCE = 16
"""ENIs of one request: the kernel answers all of it before the first answer is read, into 200 KB."""
_WAYS = 100
"""Routing tables of a CVM's ENIs begin with this number."""

QUIET = {
    "net/ipv6/conf/default/disable_ipv6?": 1,  # before the first link is made; writing "all" takes twice as long
}
"""Every namespace of a lab: nothing is sent that nobody asked for."""

ROUTER = {
    "net/ipv4/ip_forward": 1,
    **QUIET,
    "net/ipv4/conf/all/rp_filter": 0,  # no packet is judged but by the ruleset; what a CVM has is set with its links
    "net/ipv4/conf/all/send_redirects": 0,
    "net/ipv4/conf/default/send_redirects": 0,
    "net/ipv4/conf/all/accept_redirects": 0,
    "net/ipv4/conf/default/proxy_arp": 1,
    "net/ipv4/conf/default/arp_ignore": 0,
}
"""Of the VPC's namespace; links copy the settings of ``default`` when they are made."""


@dataclass(frozen=True)
class Attachment:
    """An ENI's place in the kernel: its index in the VPC's namespace and at the CVM, and the CVM's namespace."""

    index: int
    guest_ns: int
    guest_index: int
    link: VethLink


@dataclass(frozen=True)
class Plug:
    """An ENI to be plugged into the CVM whose namespace this is; ``make_link`` gets both interface indexes."""

    eni: Eni
    guest_ns: int
    make_link: Callable[[int, int], VethLink]


class VpcFabric:
    """The runtime of one VPC; reads the cloud, never changes it."""

    def __init__(self, keeper: KeeperClient, cloud: Cloud, vpc: Vpc, ns: int) -> None:
        self._keeper, self._cloud, self.vpc, self.ns = keeper, cloud, vpc, ns
        self.attached: dict[str, Attachment] = {}
        self.plugged: set[int] = set()
        """Indexes of links that exist."""
        self.nowhere = _NOWHERE
        self.accounts = Accounts(keeper, ns, tcp_flags=cloud.profile.tcp_flags)
        self._indexes = itertools.count(_FIRST_ENI)
        self.standing = Standing(keeper, cloud, vpc.id, ns)

    def build(self) -> None:
        """Make the namespace a router with an empty ruleset."""
        requests = (
            netlink.new_veth(
                ruleset.NOWHERE, _NOWHERE, "02:00:00:00:00:01", "nobody", _NOWHERE_PEER, "02:00:00:00:00:02", self.ns
            )
            + netlink.set_up(_NOWHERE, arp=False)
            + netlink.add_route(_NOWHERE, None)
        )
        netlink.send(self._keeper, [(self.ns, netlink.ROUTE, requests)], f"build VPC {self.vpc.id}")
        self._keeper.nft(self.ns, ruleset.base(_NOWHERE))

    # ENIs --------------------------------------------------------------------------------------------

    def attach(self, plugs: Sequence[Plug], admitted: Callable[[], object] = lambda: None) -> None:
        """Plug ENIs into their CVMs, all or none; they forward when this returns.

        ``admitted`` is called before any packet can pass: who counts begins there.
        """
        places: list[tuple[Eni, Attachment]] = []
        try:
            for plug in plugs:
                self.standing.write_missing(plug.eni.groups, plug.eni.subnet_id)
                index, guest_index = next(self._indexes), (plug.eni.device or 0) + _ETH0
                place = Attachment(index, plug.guest_ns, guest_index, plug.make_link(index, guest_index))
                self.attached[plug.eni.id] = place
                places.append((plug.eni, place))
            admitted()
            for at in range(0, len(places), _AT_ONCE):
                self._plug(places[at : at + _AT_ONCE])
        except BaseException:
            for eni, place in places:
                del self.attached[eni.id]
                what = f"take back {eni.id} ({eni.name})"
                with contextlib.suppress(KernelRefused, KeeperLost):
                    self.standing.dismiss(eni, place.index, what)
                back = [(self.ns, netlink.delete_link(place.index))]
                rules = [netlink.delete_source_rule(str(one), _WAYS + (eni.device or 0)) for one in eni.addresses]
                back += [(place.guest_ns, rule) for rule in rules]
                for ns, request in back:
                    with contextlib.suppress(KernelRefused, KeeperLost):
                        netlink.send(self._keeper, [(ns, netlink.ROUTE, request)], what)
            raise

    def detach(self, eni: Eni) -> None:
        """Unplug an ENI: first its route, so that nothing is counted that the link then drops. What failed may be tried
        again.

        Its flow tables, if open, stay until they are closed.
        """
        place, what = self.attached[eni.id], f"detach {eni.id} ({eni.name})"
        before = self.accounts.link_meter(place.index) if place.index in self.accounts.generations else None
        for address in eni.addresses:
            self._take_back(self.ns, netlink.delete_route(place.index, str(address)), what)
        if before is not None:
            self.accounts.part(place.index, before, self.accounts.link_meter(place.index))
        self._take_back(self.ns, netlink.delete_link(place.index), what)
        if eni.device:
            for address in eni.addresses:
                self._take_back(place.guest_ns, netlink.delete_source_rule(str(address), _WAYS + eni.device), what)
        self.standing.dismiss(eni, place.index, what)
        self._forget_connections(eni.addresses, what)
        del self.attached[eni.id]

    def assign(self, eni: Eni, address: IPv4Address) -> None:
        """An attached ENI has one more address; packets pass to and from it when this returns."""
        place, what = self.attached[eni.id], f"assign {address} to {eni.id} ({eni.name})"
        guest = netlink.add_address(place.guest_index, str(address), 32)
        if self._has_ways(place.guest_ns):
            guest += netlink.add_source_rule(str(address), _WAYS + (eni.device or 0))
        lead = self._toward(eni, place.index, address)
        batch = Batch().add("owned", [owner_key(place.index, address)])
        self.standing.run(batch, what, (place.guest_ns, netlink.ROUTE, guest), (self.ns, netlink.ROUTE, lead))

    def unassign(self, eni: Eni, address: IPv4Address) -> None:
        """An attached ENI has lost an address. What failed may be tried again."""
        place, what = self.attached[eni.id], f"take {address} from {eni.id} ({eni.name})"
        self._take_back(self.ns, netlink.delete_route(place.index, str(address)), what)
        self._take_back(self.ns, netlink.delete_neighbour(place.index, str(address)), what)
        if self._has_ways(place.guest_ns):
            rule = netlink.delete_source_rule(str(address), _WAYS + (eni.device or 0))
            self._take_back(place.guest_ns, rule, what)
        self._take_back(place.guest_ns, netlink.delete_address(place.guest_index, str(address), 32), what)
        self.standing.run(Batch().delete("owned", [owner_key(place.index, address)]), what)
        self._forget_connections([address], what)

    def _has_ways(self, guest_ns: int) -> bool:
        """Whether a CVM's ENIs have ways of their own."""
        return any(place.guest_ns == guest_ns and place.guest_index > _ETH0 for place in self.attached.values())

    def _take_back(self, ns: int, request: bytes, what: str) -> None:
        """Delete something that a guest with NET_ADMIN can have deleted already."""
        try:
            netlink.send(self._keeper, [(ns, netlink.ROUTE, request)], what)
        except KernelRefused as refused:
            if refused.errno not in (errno.ENODEV, errno.ESRCH, errno.ENOENT):
                raise

    def _forget_connections(self, addresses: Iterable[IPv4Address], what: str) -> None:
        """Whoever gets an address next has no part in the connections of who had it.

        The kernel can delete by address since 6.7; before, entries stay until they time out.
        """
        for request in (one for address in addresses for one in connections.forget_requests(address)):
            with contextlib.suppress(KernelRefused):
                netlink.send(self._keeper, [(self.ns, netlink.NETFILTER, request)], what)

    def _plug(self, places: Sequence[tuple[Eni, Attachment]]) -> None:
        """Admit ENIs to the ruleset and bring their links up, in one request."""
        what = "attach " + ", ".join(f"{eni.id} ({eni.name})" for eni, _ in places)
        batch, guests = Batch(), list[netlink.Step]()
        links = offloads = ups = lasts = b""
        for eni, place in places:
            self.standing.admit(eni, place.index, batch)
            self.plugged.add(place.index)
            if eni.device:
                self._part_ways(place.guest_ns, what)
            links += place.link.request()
            offloads += netlink.offloads_off(self._keeper, self.ns, place.index)
            ups += netlink.answer_at_once(place.index) + netlink.set_up(place.index)
            guest_offloads = netlink.offloads_off(self._keeper, self.ns, place.guest_index)
            guests.append((place.guest_ns, netlink.GENERIC, guest_offloads))
            guests.append((place.guest_ns, netlink.ROUTE, self._guest_end(eni, place.guest_index)))
            # The route comes when both ends are up: what is sent before goes nowhere, not into a link that drops it.
            lasts += netlink.get_link(place.index)
            for address in eni.addresses:
                lasts += self._toward(eni, place.index, address)
        answers = self.standing.run(
            batch,
            what,
            (self.ns, netlink.ROUTE, links),
            (self.ns, netlink.GENERIC, offloads),
            (self.ns, netlink.ROUTE, ups),
            *guests,
            (self.ns, netlink.ROUTE, lasts),
        )
        if not all(map(netlink.is_up, answers[4:])):
            ends = [(self.ns, place.index) for _, place in places]
            await_up(self._keeper, [*ends, *((place.guest_ns, place.guest_index) for _, place in places)], what)

    def _guest_end(self, eni: Eni, index: int) -> bytes:
        """What brings an ENI up in its CVM, and a look whether it is."""
        subnet = self._cloud.subnets[eni.subnet_id]
        requests = netlink.set_up(1) + netlink.add_address(index, str(eni.address), subnet.cidr.prefixlen)
        requests += b"".join(netlink.add_address(index, str(address), 32) for address in eni.secondary)
        requests += netlink.be_quiet(index) + netlink.set_up(index)
        requests += self._way(eni) if eni.device else netlink.add_route(index, None, gateway=str(subnet.gateway))
        return requests + netlink.get_link(index)

    def _way(self, eni: Eni) -> bytes:
        """What leaves with an ENI's address leaves through this ENI."""
        device, gateway = eni.device or 0, str(self._cloud.subnets[eni.subnet_id].gateway)
        route = netlink.add_route(device + _ETH0, None, gateway=gateway, table=_WAYS + device)
        rules = (netlink.add_source_rule(str(address), _WAYS + device) for address in eni.addresses)
        return route + b"".join(rules)

    def _toward(self, eni: Eni, index: int, address: IPv4Address) -> bytes:
        """What leads to an address of an ENI."""
        return netlink.add_neighbour(index, str(address), eni.mac) + netlink.add_route(index, str(address))

    def _part_ways(self, guest_ns: int, what: str) -> None:
        """A CVM that gets another ENI: its first gets a way of its own, too. Rules make every packet 7 % dearer, so a
        CVM with one ENI has none."""
        for eni_id, place in self.attached.items():
            if (place.guest_ns, place.guest_index) == (guest_ns, _ETH0):
                try:
                    way = self._way(self._cloud.enis[eni_id])
                    netlink.send(self._keeper, [(guest_ns, netlink.ROUTE, way)], what)
                except KernelRefused as refused:
                    if refused.errno != errno.EEXIST:  # from an ENI before
                        raise

    # the ruleset -------------------------------------------------------------------------------------

    def members_changed(self) -> None:
        """An ENI that is attached to nothing came or went, or a change was taken back."""
        self.standing.members_changed()

    def rules_changed(self, *owner_ids: str) -> None:
        """Rules of security groups or ACLs came or went, or what they name changed."""
        self.standing.rules_changed(owner_ids, {self._cloud.enis[eni_id].groups for eni_id in self.attached})

    def groups_changed(self, eni: Eni) -> None:
        """An ENI was bound to other groups."""
        place = self.attached.get(eni.id)
        self.standing.groups_changed(eni, None if place is None else place.index)

    def acl_changed(self, subnet_id: str, before: str | None) -> None:
        """A subnet got another ACL, its first, or lost it; ``before`` is the one it had."""
        places = [place for eni_id, place in self.attached.items() if self._cloud.enis[eni_id].subnet_id == subnet_id]
        self.standing.acl_changed(subnet_id, before, [place.index for place in places])

    def open_doors(self) -> None:
        """Let guests reach the provider's services: their addresses are this namespace's own."""
        services = self._cloud.profile.services
        requests = netlink.set_up(_LOOPBACK)
        requests += b"".join(netlink.add_address(_LOOPBACK, str(one), 32) for one in services.addresses)
        batch = Batch().add("services", [service_key(*door) for door in services.doors])
        steps = [(self.ns, netlink.ROUTE, requests), (self.ns, netlink.NETFILTER, batch.request())]
        netlink.send(self._keeper, steps, f"open the services of VPC {self.vpc.id}")

    # counters ----------------------------------------------------------------------------------------

    def counter(self, name: str) -> tuple[int, int]:
        """(packets, bytes) of a named counter of the ruleset: ``spoofed``, ``nowhere`` or ``foreign``."""
        step = (self.ns, netlink.NETFILTER, elements.counter_request(name))
        return elements.decode_counter(netlink.send(self._keeper, [step], f"read counter {name}")[0])

    def conntrack_drops(self) -> int:
        """Packets lost since the VPC was built because its connection table was full."""
        step = (self.ns, netlink.NETFILTER, connections.statistics_request())
        return connections.decode_drops(netlink.send(self._keeper, [step], "read connection statistics")[0])
