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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from emulator.cloud.account import Cloud
from emulator.cloud.model import Direction, Eni, Rule, Vpc
from emulator.errors import KeeperLost, KernelRefused, LabError
from emulator.fabric import connections, elements, netlink, ruleset
from emulator.fabric.accounts import Accounts
from emulator.fabric.client import KeeperClient
from emulator.fabric.decisions import Clause
from emulator.fabric.elements import Batch, owner_key
from emulator.fabric.links import VethLink

_DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")
_NOWHERE, _NOWHERE_PEER, _FIRST_ENI = 2, 3, 10
_BARRIER_TRIES = 2000
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


@dataclass
class Written:
    """What of the tenant's rules stands in the kernel."""

    groups: dict[tuple[tuple[str, ...], Direction], str] = field(default_factory=dict)  # chains of lists of groups
    acls: dict[tuple[str, str, Direction], str] = field(default_factory=dict)  # chains of ACLs at subnets
    rules: dict[str, frozenset[int]] = field(default_factory=dict)  # of each of these chains
    parts: dict[str, dict[str, str]] = field(default_factory=dict)  # chains that each goes through, by what they say
    verdicts: set[int] = field(default_factory=set)  # rules that have a chain of their own
    members: dict[str, frozenset[IPv4Address]] = field(default_factory=dict)  # of groups that rules name

    def copy(self) -> Written:
        return Written(
            dict(self.groups),
            dict(self.acls),
            dict(self.rules),
            dict(self.parts),
            set(self.verdicts),
            dict(self.members),
        )


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
        self._chain_numbers = itertools.count(1)
        self._written = Written()

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
                self._write_missing(plug.eni.groups, plug.eni.subnet_id)
                index, guest_index = next(self._indexes), (plug.eni.device or 0) + 2
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
                    self._dismiss(eni, place.index, what)
                back = [(self.ns, netlink.delete_link(place.index))]
                back.append((place.guest_ns, netlink.delete_source_rule(str(eni.address), _WAYS + (eni.device or 0))))
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
        requests = [
            (self.ns, netlink.delete_route(place.index, str(eni.address))),
            (self.ns, netlink.delete_link(place.index)),
        ]
        if eni.device:
            requests.append((place.guest_ns, netlink.delete_source_rule(str(eni.address), _WAYS + eni.device)))
        for number, (ns, request) in enumerate(requests):
            if number == 1 and before is not None:
                self.accounts.part(place.index, before, self.accounts.link_meter(place.index))
            try:
                netlink.send(self._keeper, [(ns, netlink.ROUTE, request)], what)
            except KernelRefused as refused:
                # A guest with NET_ADMIN can have deleted it.
                if refused.errno not in (errno.ENODEV, errno.ESRCH, errno.ENOENT):
                    raise
        self._dismiss(eni, place.index, what)
        self._forget_connections(eni, what)
        del self.attached[eni.id]

    def _forget_connections(self, eni: Eni, what: str) -> None:
        """Whoever gets the address next has no part in the connections of who had it.

        The kernel can delete by address since 6.7; before, entries stay until they time out.
        """
        for request in connections.forget_requests(eni.address):
            with contextlib.suppress(KernelRefused):
                netlink.send(self._keeper, [(self.ns, netlink.NETFILTER, request)], what)

    def _plug(self, places: Sequence[tuple[Eni, Attachment]]) -> None:
        """Admit ENIs to the ruleset and bring their links up, in one request."""
        what = "attach " + ", ".join(f"{eni.id} ({eni.name})" for eni, _ in places)
        batch, guests = Batch(), list[netlink.Step]()
        links = offloads = ups = lasts = b""
        for eni, place in places:
            self._admit(eni, place.index, batch)
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
            lasts += netlink.get_link(place.index) + netlink.add_neighbour(place.index, str(eni.address), eni.mac)
            lasts += netlink.add_route(place.index, str(eni.address))
        answers = self._run_with_members(
            batch,
            what,
            (self.ns, netlink.ROUTE, links),
            (self.ns, netlink.GENERIC, offloads),
            (self.ns, netlink.ROUTE, ups),
            *guests,
            (self.ns, netlink.ROUTE, lasts),
        )
        if not all(map(netlink.is_up, answers[4:])):
            for eni, place in places:
                self._await_up(eni, [(self.ns, place.index), (place.guest_ns, place.guest_index)])

    def _guest_end(self, eni: Eni, index: int) -> bytes:
        """What brings an ENI up in its CVM, and a look whether it is."""
        subnet = self._cloud.subnets[eni.subnet_id]
        requests = netlink.set_up(1) + netlink.add_address(index, str(eni.address), subnet.cidr.prefixlen)
        requests += netlink.be_quiet(index) + netlink.set_up(index)
        requests += self._way(eni) if eni.device else netlink.add_route(index, None, gateway=str(subnet.gateway))
        return requests + netlink.get_link(index)

    def _way(self, eni: Eni) -> bytes:
        """What leaves with an ENI's address leaves through this ENI."""
        device, gateway = eni.device or 0, str(self._cloud.subnets[eni.subnet_id].gateway)
        route = netlink.add_route(device + 2, None, gateway=gateway, table=_WAYS + device)
        return route + netlink.add_source_rule(str(eni.address), _WAYS + device)

    def _part_ways(self, guest_ns: int, what: str) -> None:
        """A CVM that gets another ENI: its first gets a way of its own, too. Rules make every packet 7 % dearer, so a
        CVM with one ENI has none."""
        for eni_id, place in self.attached.items():
            if (place.guest_ns, place.guest_index) == (guest_ns, 2):
                try:
                    way = self._way(self._cloud.enis[eni_id])
                    netlink.send(self._keeper, [(guest_ns, netlink.ROUTE, way)], what)
                except KernelRefused as refused:
                    if refused.errno != errno.EEXIST:  # from an ENI before
                        raise

    def _await_up(self, eni: Eni, ends: Iterable[tuple[int, int]]) -> None:
        """Wait until both ends pass packets: a veth's queue is enabled by deferred work that the last answer does not
        wait for."""
        for ns, index in ends:
            for _ in range(_BARRIER_TRIES):
                answer = netlink.send(
                    self._keeper, [(ns, netlink.ROUTE, netlink.get_link(index))], f"look at {eni.id}"
                )[0]
                if netlink.is_up(answer):
                    break
            else:
                raise LabError(f"{eni.id} ({eni.name}): its link was made but did not come up")

    # the ruleset -------------------------------------------------------------------------------------

    def _admit(self, eni: Eni, index: int, batch: Batch) -> None:
        """Let an ENI's packets in, judged by its groups and its subnet's ACL, whose chains are written."""
        batch.add("owned", [owner_key(index, eni.address)])
        self._jump_to_groups(eni.groups, index, batch)
        self._jump_to_acl(eni.subnet_id, [index], batch)

    def _dismiss(self, eni: Eni, index: int, what: str) -> None:
        """Take an ENI out of the ruleset."""
        batch = Batch().delete("owned", [owner_key(index, eni.address)])
        names = ("sg_out", "sg_in", "acl_out", "acl_in") if self._acl_of(eni.subnet_id) else ("sg_out", "sg_in")
        for name in names:
            batch.delete_jumps(name, [index])
        self._run_with_members(batch, what)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Around one transaction: where it fails, what was noted as written is forgotten."""
        before = self._written.copy()
        try:
            yield
        except BaseException:
            self._written = before
            raise

    def _run(self, text: str) -> None:
        """Make a change in one transaction, after what is long and new was written ahead of it."""
        if len(text) > ruleset.MOST:
            fresh, text = ruleset.ahead(text)
            written = list[str]()
            try:
                for piece in ruleset.pieces(fresh):
                    self._keeper.nft(self.ns, piece)
                    written += piece.splitlines()
                self._keeper.nft(self.ns, text)
            except KernelRefused:
                with contextlib.suppress(KernelRefused):
                    self._keeper.nft(self.ns, ruleset.take_back(written))
                raise
        elif text:
            self._keeper.nft(self.ns, text)

    def _run_with_members(self, batch: Batch, what: str, *further: netlink.Step) -> list[memoryview]:
        """Run a batch, and with it bring the members of groups up to date; the answers to it and to further steps."""
        with self._noting():
            for name, gone, come in self._member_changes():
                batch.delete(name, [address.packed for address in gone])
                batch.add(name, [address.packed for address in come])
            steps = [(self.ns, netlink.NETFILTER, batch.request())] if batch else []
            answers = self._keeper.netlink([*steps, *further]) if steps or further else []
            netlink.check(answers[: len(steps)], what)
        netlink.check(answers[len(steps) :], what)
        return answers

    def _acl_of(self, subnet_id: str) -> str | None:
        return self._cloud.subnets[subnet_id].acl_id

    def _write_missing(self, groups: tuple[str, ...] | None, subnet_id: str) -> None:
        """Write the chains of a list of groups and of a subnet's ACL, as far as they are not there yet."""
        acl_id = self._acl_of(subnet_id)
        with self._noting():
            text = ""
            for direction in _DIRECTIONS:
                if groups is not None and (groups, direction) not in self._written.groups:
                    text += self._group_chain(groups, direction)
                if acl_id is not None and (acl_id, subnet_id, direction) not in self._written.acls:
                    text += self._acl_chain(acl_id, subnet_id, direction)
            self._run(text)

    def _jump_to_groups(self, groups: tuple[str, ...], index: int, batch: Batch) -> None:
        """The elements that send an ENI's packets to its groups' chains."""
        for direction in _DIRECTIONS:
            batch.jump(f"sg_{ruleset.side(direction)}", {index: self._written.groups[groups, direction]})

    def _jump_to_acl(self, subnet_id: str, indexes: Iterable[int], batch: Batch) -> None:
        """As for groups, for the ACL of a subnet, where it has one, and the ENIs in it."""
        acl_id = self._acl_of(subnet_id)
        if acl_id is not None:
            for direction in _DIRECTIONS:
                chain = self._written.acls[acl_id, subnet_id, direction]
                batch.jump(f"acl_{ruleset.side(direction)}", dict.fromkeys(indexes, chain))

    def _group_chain(self, groups: tuple[str, ...], direction: Direction) -> str:
        """(Re)write the chain of a list of groups, with the chains and sets that its rules use."""
        written = self._written
        name = written.groups.setdefault((groups, direction), f"g{next(self._chain_numbers)}")
        rules = self._cloud.group_rules(self.vpc.id, groups, direction)
        text = ""
        for rule in rules:
            if rule.peer in self._cloud.groups and rule.peer not in written.members:
                written.members[str(rule.peer)] = frozenset()
                text += ruleset.declare_members(str(rule.peer))
            if rule.number not in written.verdicts:
                written.verdicts.add(rule.number)
                text += ruleset.verdict_chain(rule)
        written.rules[name] = frozenset(rule.number for rule in rules)
        for members, gone, come in self._member_changes():
            text += ruleset.delete_elements(members, gone) + ruleset.add_elements(members, come)
        before = written.parts.get(name, {})
        chain, parts = ruleset.group_chain(name, direction, self._clauses(rules), before, self._fresh_chain)
        return text + chain + self._renew_parts(name, before, parts)

    def _acl_chain(self, acl_id: str, subnet_id: str, direction: Direction) -> str:
        """(Re)write the chain of an ACL at a subnet, with the chains of its denying rules."""
        written = self._written
        name = written.acls.setdefault((acl_id, subnet_id, direction), f"l{next(self._chain_numbers)}")
        rules = self._cloud.acl_rules(acl_id, direction)
        denials = [rule for rule in rules if rule.action == "deny"]
        text = "".join(ruleset.denial_chain(rule) for rule in denials if rule.number not in written.verdicts)
        written.verdicts.update(rule.number for rule in denials)
        written.rules[name] = frozenset(rule.number for rule in denials)
        subnet = self._cloud.subnets[subnet_id]
        before = written.parts.get(name, {})
        chain, parts = ruleset.acl_chain(name, subnet.cidr, direction, self._clauses(rules), before, self._fresh_chain)
        return text + chain + self._renew_parts(name, before, parts)

    def _clauses(self, rules: Iterable[Rule]) -> list[Clause]:
        return [clause for rule in rules for clause in ruleset.clauses(rule, self._cloud)]

    def _fresh_chain(self) -> str:
        return f"d{next(self._chain_numbers)}"

    def _renew_parts(self, name: str, before: Mapping[str, str], now: dict[str, str]) -> str:
        """Note the chains through which a chain goes now, and delete those of before that are among them no more."""
        self._written.parts[name] = now
        return ruleset.delete_chains([chain for content, chain in before.items() if content not in now])

    def _member_changes(self) -> Iterator[tuple[str, list[IPv4Address], list[IPv4Address]]]:
        """(set, addresses that go, addresses that come) of groups that rules name, noted as written."""
        for group_id, noted in self._written.members.items():
            present = frozenset(self._cloud.group_members(group_id)) if group_id in self._cloud.groups else frozenset()
            if present != noted:
                self._written.members[group_id] = present
                yield ruleset.members_set(group_id), sorted(noted - present), sorted(present - noted)

    def members_changed(self) -> None:
        """An ENI that is attached to nothing came or went, or a change was taken back."""
        self._run_with_members(Batch(), "update members of security groups")

    def rules_changed(self, *owner_ids: str) -> None:
        """Rules of security groups or ACLs came or went, or what they name changed: rewrite the chains they take part
        in, forget what nobody uses any more, in one transaction."""
        lists = {self._cloud.enis[eni_id].groups for eni_id in self.attached}
        with self._noting():
            text, unused = "", []
            for groups, direction in [key for key in self._written.groups if not set(owner_ids).isdisjoint(key[0])]:
                if groups in lists:
                    text += self._group_chain(groups, direction)
                else:
                    unused.append(self._written.groups.pop((groups, direction)))
            for acl_id, subnet_id, direction in [key for key in self._written.acls if key[0] in owner_ids]:
                if subnet_id in self._cloud.subnets and acl_id == self._acl_of(subnet_id):
                    text += self._acl_chain(acl_id, subnet_id, direction)
                else:
                    unused.append(self._written.acls.pop((acl_id, subnet_id, direction)))
            self._run(text + "".join(self._forget(unused)))

    def _forget(self, chains: Iterable[str]) -> Iterator[str]:
        """Delete these chains, and those of rules that no chain goes to any more."""
        for name in chains:
            del self._written.rules[name]
            yield ruleset.delete_chains([name, *self._written.parts.pop(name).values()])
        for number in sorted(self._written.verdicts.difference(*self._written.rules.values())):
            self._written.verdicts.remove(number)
            yield ruleset.delete_chain(f"r{number}")

    def groups_changed(self, eni: Eni) -> None:
        """An ENI was bound to other groups."""
        place, batch = self.attached.get(eni.id), Batch()
        if place is not None:
            self._write_missing(eni.groups, eni.subnet_id)
            batch.delete_jumps("sg_out", [place.index]).delete_jumps("sg_in", [place.index])
            self._jump_to_groups(eni.groups, place.index, batch)
        self._run_with_members(batch, f"bind {eni.id} ({eni.name}) to groups")

    def acl_changed(self, subnet_id: str, before: str | None) -> None:
        """A subnet got another ACL, its first, or lost it; ``before`` is the one it had."""
        indexes = [
            place.index for eni_id, place in self.attached.items() if self._cloud.enis[eni_id].subnet_id == subnet_id
        ]
        self._write_missing(None, subnet_id)
        batch = Batch()
        if before is not None:
            batch.delete_jumps("acl_out", indexes).delete_jumps("acl_in", indexes)
        self._jump_to_acl(subnet_id, indexes, batch)
        self._run_with_members(batch, f"change the network ACL of {subnet_id}")

    # counters ----------------------------------------------------------------------------------------

    def counter(self, name: str) -> tuple[int, int]:
        """(packets, bytes) of a named counter of the ruleset: ``spoofed``, ``nowhere`` or ``foreign``."""
        step = (self.ns, netlink.NETFILTER, elements.counter_request(name))
        return elements.decode_counter(netlink.send(self._keeper, [step], f"read counter {name}")[0])

    def conntrack_drops(self) -> int:
        """Packets lost since the VPC was built because its connection table was full."""
        step = (self.ns, netlink.NETFILTER, connections.statistics_request())
        return connections.decode_drops(netlink.send(self._keeper, [step], "read connection statistics")[0])
