"""What of the tenant's rules stands in one VPC's kernel: chains of rule lists, members of groups, and their changes.

Each list of security groups that some ENI is bound to has a chain for each direction and family, each ACL one for each
subnet, direction and family; maps lead there from the ENI's interface. A change is one transaction, after which no
chain is left that nobody uses. The families are IPv4 alone until the VPC gets an IPv6 block.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from emulator.cloud.account import Cloud
from emulator.cloud.model import Address, Direction, Eni, Rule
from emulator.errors import KernelRefused
from emulator.fabric import chains, netlink, ruleset
from emulator.fabric.clauses import Clause
from emulator.fabric.client import KeeperClient
from emulator.fabric.elements import Batch, owner_key
from emulator.fabric.families import IPV4, IPV6, Family

_DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")
_MANY = 50
"""Chains that one change rewrites: of more, what they say is written ahead, for an ordinary user's transaction is
bounded."""


@dataclass
class Written:
    """What of the tenant's rules stands in the kernel."""

    groups: dict[tuple[tuple[str, ...], Direction, Family], str] = field(default_factory=dict)  # chains of their lists
    acls: dict[tuple[str, str, Direction, Family], str] = field(default_factory=dict)  # chains of ACLs at subnets
    rules: dict[str, frozenset[int]] = field(default_factory=dict)  # of each of these chains
    parts: dict[str, dict[str, str]] = field(default_factory=dict)  # chains that each goes through, by what they say
    verdicts: set[int] = field(default_factory=set)  # rules that have a chain of their own
    members: dict[tuple[str, Family], frozenset[Address]] = field(default_factory=dict)  # of groups that rules name

    def copy(self) -> Written:
        return Written(
            dict(self.groups),
            dict(self.acls),
            dict(self.rules),
            dict(self.parts),
            set(self.verdicts),
            dict(self.members),
        )


class Standing:
    """The tenant's rules in the namespace of one VPC; reads the cloud, never changes it."""

    def __init__(self, keeper: KeeperClient, cloud: Cloud, vpc_id: str, ns: int, *, tally: bool = False) -> None:
        self._keeper, self._cloud, self._vpc_id, self._ns, self._tally = keeper, cloud, vpc_id, ns, tally
        self._chain_numbers = itertools.count(1)
        self.families: tuple[Family, ...] = (IPV4,)
        self.written = Written()

    # ENIs ----------------------------------------------------------------------------------------------

    def write_missing(self, groups: tuple[str, ...] | None, subnet_id: str) -> None:
        """Write the chains of a list of groups and of a subnet's ACL, as far as they are not there yet."""
        acl_id = self._acl_of(subnet_id)
        with self._noting():
            text = ""
            for direction, family in self._ways():
                if groups is not None and (groups, direction, family) not in self.written.groups:
                    text += self._group_chain(groups, direction, family)
                if acl_id is not None and (acl_id, subnet_id, direction, family) not in self.written.acls:
                    text += self._acl_chain(acl_id, subnet_id, direction, family)
            self._change(text and text + self._members())

    def admit(self, eni: Eni, index: int, batch: Batch) -> None:
        """Let an ENI's packets in, judged by its groups and its subnet's ACL, whose chains are written."""
        self.own(index, eni.addresses, batch)
        self._jump_to_groups(eni.groups, index, batch)
        self._jump_to_acl(eni.subnet_id, [index], batch)

    def own(self, index: int, addresses: Collection[Address], batch: Batch) -> None:
        """Packets with these source addresses are no forgeries where they come from that interface."""
        for family, keys in self._owner_keys(index, addresses):
            batch.add(f"owned{family.suffix}", keys)

    def disown(self, index: int, addresses: Collection[Address], batch: Batch) -> None:
        for family, keys in self._owner_keys(index, addresses):
            batch.delete(f"owned{family.suffix}", keys)

    def _owner_keys(self, index: int, addresses: Collection[Address]) -> Iterator[tuple[Family, list[bytes]]]:
        for family in self.families:
            yield family, [owner_key(index, address) for address in addresses if address.version == family.version]

    def dismiss(self, eni: Eni, index: int, what: str) -> None:
        """Take an ENI out of the ruleset."""
        batch = Batch()
        self.disown(index, eni.addresses, batch)
        for direction, family in self._ways():
            batch.delete_jumps(_map("sg", direction, family), [index])
            if self._acl_of(eni.subnet_id):
                batch.delete_jumps(_map("acl", direction, family), [index])
        self.run(batch, what)

    def add_ipv6(self, enis: Mapping[int, Eni]) -> None:
        """Judge IPv6, too, whose part of the ruleset is there; ``enis`` are those plugged in, by interface."""
        before, self.families = self.families, (IPV4, IPV6)
        try:
            batch = Batch()
            for index, eni in enis.items():
                self.write_missing(eni.groups, eni.subnet_id)
                self._jump_to_groups(eni.groups, index, batch, [IPV6])
                self._jump_to_acl(eni.subnet_id, [index], batch, [IPV6])
            self.run(batch, f"add IPv6 to {self._vpc_id}")
        except BaseException:
            self.families = before
            raise

    def run(self, batch: Batch, what: str, *further: netlink.Step) -> list[memoryview]:
        """Run a batch, and with it bring the members of groups up to date; the answers to it and to further steps."""
        with self._noting():
            for name, gone, come in self._member_changes():
                batch.delete(name, [address.packed for address in gone])
                batch.add(name, [address.packed for address in come])
            steps = [(self._ns, netlink.NETFILTER, batch.request())] if batch else []
            answers = self._keeper.netlink([*steps, *further]) if steps or further else []
            netlink.check(answers[: len(steps)], what)
        netlink.check(answers[len(steps) :], what)
        return answers

    # changes -------------------------------------------------------------------------------------------

    def members_changed(self) -> None:
        """An ENI that is attached to nothing came or went, or a change was taken back."""
        self.run(Batch(), "update members of security groups")

    def rules_changed(self, owner_ids: Collection[str], lists: Collection[tuple[str, ...]]) -> None:
        """Rules of security groups or ACLs came or went, or what they name changed: rewrite the chains they take part
        in, forget what nobody uses any more, in one transaction. ``lists`` are the lists of groups that ENIs are bound
        to."""
        with self._noting():
            text, unused = "", []
            reached = [key for key in self.written.groups if not set(key[0]).isdisjoint(owner_ids)]
            for of_groups in reached:
                if of_groups[0] in lists:
                    text += self._group_chain(*of_groups, apart=len(reached) > _MANY)
                else:
                    unused.append(self.written.groups.pop(of_groups))
            for of_acl in [key for key in self.written.acls if key[0] in owner_ids]:
                acl_id, subnet_id, _, _ = of_acl
                if subnet_id in self._cloud.subnets and acl_id == self._acl_of(subnet_id):
                    text += self._acl_chain(*of_acl)
                else:
                    unused.append(self.written.acls.pop(of_acl))
            self._change(text + self._members() + "".join(self._forget(unused)))

    def groups_changed(self, eni: Eni, index: int | None) -> None:
        """An ENI was bound to other groups; ``index`` is its interface, if it is plugged in."""
        batch = Batch()
        if index is not None:
            self.write_missing(eni.groups, eni.subnet_id)
            for way in self._ways():
                batch.delete_jumps(_map("sg", *way), [index])
            self._jump_to_groups(eni.groups, index, batch)
        self.run(batch, f"bind {eni.id} ({eni.name}) to groups")

    def acl_changed(self, subnet_id: str, before: str | None, indexes: Sequence[int]) -> None:
        """A subnet got another ACL, its first, or lost it; ``before`` is the one it had, ``indexes`` the interfaces
        in it."""
        self.write_missing(None, subnet_id)
        batch = Batch()
        if before is not None:
            for way in self._ways():
                batch.delete_jumps(_map("acl", *way), indexes)
        self._jump_to_acl(subnet_id, indexes, batch)
        self.run(batch, f"change the network ACL of {subnet_id}")

    # chains and sets -----------------------------------------------------------------------------------

    def _ways(self, families: Iterable[Family] | None = None) -> Iterator[tuple[Direction, Family]]:
        return itertools.product(_DIRECTIONS, self.families if families is None else families)

    def _jump_to_groups(
        self, groups: tuple[str, ...], index: int, batch: Batch, families: Iterable[Family] | None = None
    ) -> None:
        """The elements that send an ENI's packets to its groups' chains."""
        for direction, family in self._ways(families):
            batch.jump(_map("sg", direction, family), {index: self.written.groups[groups, direction, family]})

    def _jump_to_acl(
        self, subnet_id: str, indexes: Iterable[int], batch: Batch, families: Iterable[Family] | None = None
    ) -> None:
        """As for groups, for the ACL of a subnet, where it has one, and the ENIs in it."""
        acl_id = self._acl_of(subnet_id)
        if acl_id is not None:
            for direction, family in self._ways(families):
                chain = self.written.acls[acl_id, subnet_id, direction, family]
                batch.jump(_map("acl", direction, family), dict.fromkeys(indexes, chain))

    def _group_chain(
        self, groups: tuple[str, ...], direction: Direction, family: Family, *, apart: bool = False
    ) -> str:
        """(Re)write the chain of a list of groups, with the chains and sets that its rules use."""
        written = self.written
        name = written.groups.setdefault((groups, direction, family), f"g{next(self._chain_numbers)}")
        rules = self._cloud.group_rules(self._vpc_id, groups, direction)
        text = ""
        for rule in rules:
            peer = str(rule.peer)
            if peer in self._cloud.groups and (peer, family) not in written.members:
                written.members[peer, family] = frozenset()
                text += chains.declare_members(peer, family)
            if rule.number not in written.verdicts:
                written.verdicts.add(rule.number)
                text += chains.verdict_chain(rule)
        written.rules[name] = frozenset(rule.number for rule in rules)
        before = written.parts.get(name, {})
        clauses = self._clauses(rules, family)
        chain, parts = chains.group_chain(name, direction, clauses, before, self._fresh_chain, family, apart=apart)
        return text + chain + self._renew_parts(name, before, parts)

    def _acl_chain(self, acl_id: str, subnet_id: str, direction: Direction, family: Family) -> str:
        """(Re)write the chain of an ACL at a subnet, with the chains of its denying rules."""
        written = self.written
        name = written.acls.setdefault((acl_id, subnet_id, direction, family), f"l{next(self._chain_numbers)}")
        rules = self._cloud.acl_rules(acl_id, direction)
        denials = [rule for rule in rules if rule.action == "deny"]
        text = "".join(chains.denial_chain(rule) for rule in denials if rule.number not in written.verdicts)
        written.verdicts.update(rule.number for rule in denials)
        written.rules[name] = frozenset(rule.number for rule in denials)
        subnet = self._cloud.subnets[subnet_id]
        block = subnet.cidr if family is IPV4 else subnet.ipv6_cidr
        before, clauses = written.parts.get(name, {}), self._clauses(rules, family)
        chain, parts = chains.acl_chain(
            name, block, direction, clauses, before, self._fresh_chain, family, tally=self._tally
        )
        return text + chain + self._renew_parts(name, before, parts)

    def _clauses(self, rules: Iterable[Rule], family: Family) -> list[Clause]:
        return [clause for rule in rules for clause in chains.clauses(rule, self._cloud, family)]

    def _fresh_chain(self) -> str:
        return f"d{next(self._chain_numbers)}"

    def _renew_parts(self, name: str, before: Mapping[str, str], now: dict[str, str]) -> str:
        """Note the chains through which a chain goes now, and delete those of before that are among them no more."""
        self.written.parts[name] = now
        return ruleset.delete_chains([chain for content, chain in before.items() if content not in now])

    def _members(self) -> str:
        """What brings the members of groups up to date, sets that were only just declared among them."""
        return "".join(
            ruleset.delete_elements(members, gone) + ruleset.add_elements(members, come)
            for members, gone, come in self._member_changes()
        )

    def _member_changes(self) -> Iterator[tuple[str, list[Address], list[Address]]]:
        """(set, addresses that go, addresses that come) of groups that rules name, noted as written."""
        for (group_id, family), noted in self.written.members.items():
            members = self._cloud.group_members(group_id) if group_id in self._cloud.groups else ()
            present = frozenset(address for address in members if address.version == family.version)
            if present != noted:
                self.written.members[group_id, family] = present
                gone, come = sorted(noted - present, key=int), sorted(present - noted, key=int)
                yield chains.members_set(group_id, family), gone, come

    def _forget(self, chains: Iterable[str]) -> Iterator[str]:
        """Delete these chains, and those of rules that no chain goes to any more."""
        for name in chains:
            del self.written.rules[name]
            yield ruleset.delete_chains([name, *self.written.parts.pop(name).values()])
        for number in sorted(self.written.verdicts.difference(*self.written.rules.values())):
            self.written.verdicts.remove(number)
            yield ruleset.delete_chain(f"r{number}")

    # transactions --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Around one transaction: where it fails, what was noted as written is forgotten."""
        before = self.written.copy()
        try:
            yield
        except BaseException:
            self.written = before
            raise

    def _change(self, text: str) -> None:
        """Make a change in one transaction, after what is long and new was written ahead of it."""
        if len(text) > ruleset.MOST:
            fresh, text = ruleset.ahead(text)
            written = list[str]()
            try:
                for piece in ruleset.pieces(fresh):
                    self._keeper.nft(self._ns, piece)
                    written += piece.splitlines()
                self._keeper.nft(self._ns, text)
            except KernelRefused:
                with contextlib.suppress(KernelRefused):
                    self._keeper.nft(self._ns, ruleset.take_back(written))
                raise
        elif text:
            self._keeper.nft(self._ns, text)

    def _acl_of(self, subnet_id: str) -> str | None:
        return self._cloud.subnets[subnet_id].acl_id


def _map(kind: str, direction: Direction, family: Family) -> str:
    """The map from interfaces to chains of that kind."""
    return f"{kind}{family.suffix}_{ruleset.side(direction)}"
