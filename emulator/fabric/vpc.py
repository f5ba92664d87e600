"""One VPC in the kernel: a routed namespace, its ENIs, its ruleset, its flow tables.

::

    CVM namespace            VPC namespace
    eth0 10.16.0.22/24 ───── eni-xxxxxxxx   route 10.16.0.22/32, neighbour fixed, proxy ARP
    eth0 10.16.0.40/24 ───── eni-yyyyyyyy   route 10.16.0.40/32
         2001:db8::28/128                   route 2001:db8::28/128, from the CVM by way of fe80::1
                             nowhere        default route: an address that nobody has is sent, judged, counted, then
                             dropped

There is no bridge: a cloud's VPC is a routed fabric, and so connection tracking sees every packet in plain inet hooks.
Interface indexes are never used twice in the life of a VPC, so that nothing old can stand for something new.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from emulator.cloud.account import Cloud
from emulator.cloud.model import Address, Eni, Vpc
from emulator.errors import KeeperLost, KernelRefused, RequirementMissing
from emulator.fabric import broadcasts, connections, elements, netlink, ruleset, ruleset6, tally
from emulator.fabric.accounts import Accounts
from emulator.fabric.cables import await_up
from emulator.fabric.client import KeeperClient
from emulator.fabric.elements import Batch, service_key
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

ROUTER_IPV6 = {
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv6/conf/default/addr_gen_mode": 1,  # no address of its own, and so nothing to say
    "net/ipv6/conf/all/addr_gen_mode": 1,
    "net/ipv6/conf/default/disable_ipv6": 0,
    "net/ipv6/conf/all/disable_ipv6": 0,
}
"""Of the same namespace, from when the VPC has an IPv6 block; ``all`` is for the links that are there already."""

_GATEWAY_IPV6 = "fe80::1"
"""What CVMs' routes of IPv6 lead over; their link to the VPC is its fixed neighbour."""

_HUSH = """table ip6 hush {
 chain output {
  type filter hook output priority 0
  ip6 saddr :: drop
 }
}
"""
"""Of a CVM with IPv6 addresses. Nothing else keeps the kernel from reporting the multicast groups that it joins for
them; it has no link-local address, so the reports have none."""


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
    """The runtime of one VPC; reads the cloud, never changes it. ``tally``: count how often each rule decides."""

    def __init__(self, keeper: KeeperClient, cloud: Cloud, vpc: Vpc, ns: int, *, tally: bool = False) -> None:
        self._keeper, self._cloud, self.vpc, self.ns, self._tally = keeper, cloud, vpc, ns, tally
        self.attached: dict[str, Attachment] = {}
        self.plugged: set[int] = set()
        """Indexes of links that exist."""
        self.nowhere = _NOWHERE
        self._broadcasts = False  # whether any subnet has them
        self.accounts = Accounts(keeper, ns, tcp_flags=cloud.profile.tcp_flags)
        self._indexes = itertools.count(_FIRST_ENI)
        self._ipv6_written = False
        self._hushed: set[int] = set()  # namespaces of CVMs that have had IPv6 addresses
        self.standing = Standing(keeper, cloud, vpc.id, ns, tally=tally)

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
        self._keeper.nft(self.ns, ruleset.base(_NOWHERE, tally=self._tally))
        if self.vpc.ipv6_cidr is not None:
            self.add_ipv6()

    def add_ipv6(self) -> None:
        """Route, judge and count IPv6, too. What failed may be tried again."""
        what = f"add IPv6 to VPC {self.vpc.id}"
        if not self._ipv6_written:
            self._keeper.nft(self.ns, ruleset6.base(_NOWHERE, tally=self._tally))
            self._ipv6_written = True
        try:
            self._keeper.sysctl(self.ns, ROUTER_IPV6)
        except KernelRefused as refused:
            if refused.errno != errno.ENOENT:
                raise
            raise RequirementMissing(
                f"{what}: this kernel has no IPv6", way_out="boot without ipv6.disable=1"
            ) from None
        self._send(self.ns, netlink.add_route(_NOWHERE, None, ipv6=True), what, errno.EEXIST)
        self.standing.add_ipv6({place.index: self._cloud.enis[eni_id] for eni_id, place in self.attached.items()})
        self.accounts.add_ipv6()

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
            self.broadcasts_changed()
        except BaseException:
            for eni, place in places:
                self._leave(eni.id)
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
        self._leave(eni.id)
        self.broadcasts_changed()

    def broadcasts_changed(self) -> None:
        """Have the ENIs that are attached now, in subnets with broadcast on, hear what one of them sends to all."""
        subnets: dict[IPv4Address, list[broadcasts.Member]] = {}
        for eni_id, place in self.attached.items():
            eni = self._cloud.enis.get(eni_id)  # one of several that go may be gone there already
            if eni is not None and self._cloud.subnets[eni.subnet_id].broadcast:
                member = place.index, place.link.intf1.name, eni.address
                subnets.setdefault(self._cloud.subnets[eni.subnet_id].cidr.broadcast_address, []).append(member)
        if subnets or self._broadcasts:
            self._keeper.nft(self.ns, broadcasts.text(subnets))
            self._broadcasts = bool(subnets)

    def assign(self, eni: Eni, addresses: Sequence[Address]) -> None:
        """An attached ENI has these addresses, too; packets pass to and from them when this returns."""
        place, what = self.attached[eni.id], f"assign {', '.join(map(str, addresses))} to {eni.id} ({eni.name})"
        if any(address.version == 6 for address in addresses):
            self._hush(place.guest_ns)
            self._send(place.guest_ns, self._ipv6_gateway(place), what, errno.EEXIST)  # from an address before
        guest, lead, batch = b"", b"", Batch()
        for address in addresses:
            guest += netlink.add_address(place.guest_index, str(address), address.max_prefixlen)
            if self._has_ways(place.guest_ns):
                guest += netlink.add_source_rule(str(address), _WAYS + (eni.device or 0))
            lead += self._toward(eni, place.index, address)
        self.standing.own(place.index, addresses, batch)
        try:
            self.standing.run(batch, what, (place.guest_ns, netlink.ROUTE, guest), (self.ns, netlink.ROUTE, lead))
        except BaseException:
            with contextlib.suppress(KernelRefused, KeeperLost):
                self.unassign(eni, addresses)
            raise

    def unassign(self, eni: Eni, addresses: Sequence[Address]) -> None:
        """An attached ENI has lost these addresses. What failed may be tried again."""
        place, what = self.attached[eni.id], f"take {', '.join(map(str, addresses))} from {eni.id} ({eni.name})"
        for address in addresses:
            self._take_back(self.ns, netlink.delete_route(place.index, str(address)), what)
            self._take_back(self.ns, netlink.delete_neighbour(place.index, str(address)), what)
            if self._has_ways(place.guest_ns):
                rule = netlink.delete_source_rule(str(address), _WAYS + (eni.device or 0))
                self._take_back(place.guest_ns, rule, what)
            gone = netlink.delete_address(place.guest_index, str(address), address.max_prefixlen)
            self._take_back(place.guest_ns, gone, what)
        batch = Batch()
        self.standing.disown(place.index, addresses, batch)
        self.standing.run(batch, what)
        self._forget_connections(addresses, what)

    def _leave(self, eni_id: str) -> None:
        """An ENI is attached no more; with a CVM's first one its namespace goes, whose descriptor another may get."""
        place = self.attached.pop(eni_id)
        if place.guest_index == _ETH0:
            self._hushed.discard(place.guest_ns)

    def _hush(self, guest_ns: int) -> None:
        if guest_ns not in self._hushed:
            self._keeper.nft(guest_ns, _HUSH)
            self._hushed.add(guest_ns)

    def _has_ways(self, guest_ns: int) -> bool:
        """Whether a CVM's ENIs have ways of their own."""
        return any(place.guest_ns == guest_ns and place.guest_index > _ETH0 for place in self.attached.values())

    def _take_back(self, ns: int, request: bytes, what: str) -> None:
        """Delete something that a guest with NET_ADMIN can have deleted already."""
        self._send(ns, request, what, errno.ENODEV, errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL)

    def _send(self, ns: int, request: bytes, what: str, *suffered: int) -> None:
        """Send a request that may be refused for one of these reasons."""
        try:
            netlink.send(self._keeper, [(ns, netlink.ROUTE, request)], what)
        except KernelRefused as refused:
            if refused.errno not in suffered:
                raise

    def _forget_connections(self, addresses: Iterable[Address], what: str) -> None:
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
            if eni.ipv6_addresses:
                self._hush(place.guest_ns)
            links += place.link.request()
            offloads += netlink.offloads_off(self._keeper, self.ns, place.index)
            ups += netlink.answer_at_once(place.index) + netlink.set_up(place.index)
            guest_offloads = netlink.offloads_off(self._keeper, self.ns, place.guest_index)
            guests.append((place.guest_ns, netlink.GENERIC, guest_offloads))
            guests.append((place.guest_ns, netlink.ROUTE, self._guest_end(eni, place)))
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

    def _guest_end(self, eni: Eni, place: Attachment) -> bytes:
        """What brings an ENI up in its CVM, and a look whether it is."""
        subnet, index = self._cloud.subnets[eni.subnet_id], place.guest_index
        requests = netlink.set_up(1) + netlink.add_address(index, str(eni.address), subnet.cidr.prefixlen)
        requests += netlink.be_quiet(index)
        requests += b"".join(netlink.add_address(index, str(one), one.max_prefixlen) for one in eni.addresses[1:])
        requests += netlink.set_up(index)
        if eni.ipv6_addresses:
            requests += self._ipv6_gateway(place)
        requests += self._way(eni) if eni.device else netlink.add_route(index, None, gateway=str(subnet.gateway))
        return requests + netlink.get_link(index)

    def _ipv6_gateway(self, place: Attachment) -> bytes:
        """The neighbour that an ENI's IPv6 packets go to, and the ways there: its own, and by the first a CVM's."""
        index = place.guest_index
        way = netlink.add_neighbour(index, _GATEWAY_IPV6, place.link.intf1.mac)
        way += netlink.add_route(index, None, gateway=_GATEWAY_IPV6, table=_WAYS + index - _ETH0)
        return way if index > _ETH0 else way + netlink.add_route(index, None, gateway=_GATEWAY_IPV6)

    def _way(self, eni: Eni) -> bytes:
        """What leaves with an ENI's address leaves through this ENI."""
        device, gateway = eni.device or 0, str(self._cloud.subnets[eni.subnet_id].gateway)
        route = netlink.add_route(device + _ETH0, None, gateway=gateway, table=_WAYS + device)
        rules = (netlink.add_source_rule(str(address), _WAYS + device) for address in eni.addresses)
        return route + b"".join(rules)

    def _toward(self, eni: Eni, index: int, address: Address) -> bytes:
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

    def decided(self) -> dict[int, int]:
        """Mark → packets that a rule decided so, since the VPC was built; only with a tally."""
        step = (self.ns, netlink.NETFILTER, elements.dump_request(tally.SET))
        (answer,) = netlink.send(self._keeper, [step], "read which rules decided")
        return {int.from_bytes(key, sys.byteorder): packets for key, packets, _ in elements.decode_counts(answer)}

    def conntrack_drops(self) -> int:
        """Packets lost since the VPC was built because its connection table was full."""
        step = (self.ns, netlink.NETFILTER, connections.statistics_request())
        return connections.decode_drops(netlink.send(self._keeper, [step], "read connection statistics")[0])
