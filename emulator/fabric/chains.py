"""The tenant's rules as chains of nftables text. Pure: no kernel, no state.

A list of rules becomes a chain (``g…`` of security groups, ``l…`` of an ACL at a subnet), with chains for the decisions
on the way through a long one (``d…``, see decisions.py) and one for each rule that decides (``r…``), which writes the
rule's number into the packet's mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from emulator.cloud.account import Cloud
from emulator.cloud.model import Direction, Network, Rule
from emulator.cloud.templates import Service
from emulator.fabric import marks, tally
from emulator.fabric.clauses import Clause, Interval
from emulator.fabric.decisions import Branch, Line, Steps, Tree, decide
from emulator.fabric.families import IPV4, Family
from emulator.fabric.races import Heat, Lane, Race
from emulator.fabric.ruleset import TABLE

_SHORT_TABLE = 5
"""Addresses that are compared one by one: a thousand maps without a name take nft a third of a second."""


def verdict_chain(rule: Rule) -> str:
    """The chain of a security group's rule: it writes the verdict into the mark, an acceptance into the connection
    too."""
    mark = rule.number | (marks.IN if rule.direction == "ingress" else 0)
    if rule.action == "deny":
        return denial_chain(rule)
    keep, put = (0xFFFF, rule.number << 16) if rule.direction == "ingress" else (0xFFFF0000, rule.number)
    return (
        f"add chain {TABLE} r{rule.number}\nadd rule {TABLE} r{rule.number} "
        f"meta mark set {mark:#x} ct mark set ct mark & {keep:#x} | {put:#x}\n"
    )


def denial_chain(rule: Rule) -> str:
    """The chain of a denying rule. Of ACLs there is no other: one that allows leaves the mark as it is."""
    mark = rule.number | marks.REJECT | (marks.IN if rule.direction == "ingress" else 0)
    return f"add chain {TABLE} r{rule.number}\nadd rule {TABLE} r{rule.number} meta mark set {mark:#x}\n"


def clauses(rule: Rule, cloud: Cloud | None = None, family: Family = IPV4) -> Iterator[Clause]:
    """What packets of a family a rule is about, as the decisions want it; ``cloud`` knows the templates that it
    names."""
    networks = [network for network in (rule.peer, rule.local) if network is not None and not isinstance(network, str)]
    if any(network.version != family.version for network in networks):
        return
    services: Iterable[Service] = [(rule.protocol, rule.ports)]
    if rule.service is not None and cloud is not None:
        services = cloud.services_of(rule.service, rule.protocol)
    for protocol, ports in services:
        clause = partial(Clause, rule, protocol, ports, source_ports=rule.source_ports, local=_ends(rule.local))
        if not isinstance(rule.peer, str):
            yield clause(addresses=_ends(rule.peer))
        elif cloud is not None and rule.peer in cloud.templates:
            for first, last in cloud.addresses_of(rule.peer):
                if first.version == family.version:
                    everyone = int(last) - int(first) == 2**family.bits - 1
                    yield clause(addresses=None if everyone else (int(first), int(last)))
        else:
            yield clause(members=rule.peer)


def _ends(network: Network | None) -> Interval | None:
    """First and last address; None where all are meant."""
    if network is None or network.prefixlen == 0:
        return None
    return int(network.network_address), int(network.broadcast_address)


def match(clause: Clause, family: Family = IPV4, *, decided: bool = False) -> str:
    """What a packet must look like, as nftables expressions, each with a space behind it; empty for any packet.

    A group as peer stands for the set ``m_<group>`` of its members' addresses. ``decided``: protocol and port are known
    to be right.
    """
    parts = []
    if clause.protocol is not None and not decided:
        parts.append(f"meta l4proto {clause.protocol} ")
    if clause.members is not None:
        parts.append(f"{family.word} {_other_side(clause.rule)} @{members_set(clause.members, family)} ")
    elif clause.addresses is not None:
        parts.append(f"{family.word} {_other_side(clause.rule)} {_addresses(family, *clause.addresses)} ")
    if clause.local is not None:
        parts.append(f"{family.word} {_this_side(clause.rule)} {_addresses(family, *clause.local)} ")
    if clause.source_ports is not None:
        parts.append(f"th sport {_intervals(clause.source_ports)} ")
    if clause.ports is not None and not decided:
        parts.append(f"th dport {_intervals(clause.ports)} ")
    return "".join(parts)


def _other_side(rule: Rule) -> str:
    return "saddr" if rule.direction == "ingress" else "daddr"


def _this_side(rule: Rule) -> str:
    return "daddr" if rule.direction == "ingress" else "saddr"


def _intervals(intervals: Iterable[Interval]) -> str:
    return "{ " + ", ".join(_interval(*interval) for interval in intervals) + " }"


def _interval(low: object, high: object) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _addresses(family: Family, low: int, high: int) -> str:
    size = high - low + 1
    if size > 1 and size & (size - 1) == 0 and low % size == 0:
        return f"{family.address(low)}/{family.bits + 1 - size.bit_length()}"
    return _interval(family.address(low), family.address(high))


class Writing:
    """The chain of a list of rules in the making, and the chains that it goes through.

    ``kept`` are such chains by what they say, from when the list was last written: one that says the same still stands.
    ``chains`` are all that are wanted now; ``fresh`` names new ones.
    """

    def __init__(
        self, name: str, direction: Direction, kept: Mapping[str, str], fresh: Callable[[], str], family: Family
    ) -> None:
        self._name, self._kept, self._fresh, self._family = name, kept, fresh, family
        self._in = direction == "ingress"
        self.chains: dict[str, str] = {}
        self._rules: list[str] = []
        self._renewed: dict[str, list[str]] = {}
        """Chains that keep their names whatever they say, for many others lead there."""
        self._steps_written: dict[int, str] = {}

    def text(self, *, apart: bool = False) -> str:
        """``apart``: what the chain says stands in another one, and the chain only leads there."""
        if apart:
            self._rules = [f"goto {self._chain(self._rules)}"]
        new = {
            chain: content.splitlines()
            for content, chain in self.chains.items()
            if content not in self._kept and chain not in self._renewed
        }
        renewed = {self._name: self._rules, **self._renewed}
        lines = [f"add chain {TABLE} {name}\n" for name in (*renewed, *new)]
        standing = {self._name, *self._kept.values()}
        lines += [f"flush chain {TABLE} {name}\n" for name in renewed if name in standing]
        lines += [
            _rule(chain, statement) for chain, said in (*new.items(), *reversed(renewed.items())) for statement in said
        ]
        return "".join(lines)

    def add(self, statement: str) -> None:
        self._rules.append(statement)

    def decide(self, clauses: Sequence[Clause]) -> None:
        """Go to the first of these clauses that matches."""
        parts = decide(clauses, races=self.races)
        for number, part in enumerate(parts):
            if isinstance(part, Race):
                self._race(part, last=number + 1 == len(parts))
            elif isinstance(part, Line):
                self._rules += [match(clause, self._family) + self.verdict(clause.rule) for clause in part.clauses]
            else:
                self._tree(part, last=number + 1 == len(parts))

    races = True
    """Whether the mark is free while these rules are looked for."""

    def verdict(self, rule: Rule) -> str:
        return f"goto r{rule.number}"

    def inner_verdict(self, rule: Rule) -> str:
        """The verdict in a chain that this one jumps to, which comes back; ``decided`` tells then."""
        return self.verdict(rule)

    def decided(self) -> str:
        """The statement after a jump that lets nothing pass that was decided."""
        return f"meta mark & {marks.IN:#x} == {marks.IN:#x} return" if self._in else "meta mark != 0 return"

    def _tree(self, tree: Tree, *, last: bool) -> None:
        self._steps_written.clear()
        how, verdict = ("goto", self.verdict) if last else ("jump", self.inner_verdict)
        protocols = [(str(number), self._branch(branch, how, verdict)) for number, branch in tree.protocols.items()]
        protocols = [(protocol, target) for protocol, target in protocols if target]
        if protocols:
            self.add(f"meta l4proto {_vmap(protocols)}")
            if any(target.startswith("jump") for _, target in protocols):
                self.add(self.decided())
        self._rules += self._steps(tree.other, self.verdict)

    def _branch(self, branch: Branch, how: str, verdict: Callable[[Rule], str]) -> str:
        """Where a protocol's packets go; empty where nothing is said about them."""
        if not branch.ports:
            return self._target(branch.other, how, self.verdict, verdict)
        ports = [
            (_interval(low, high), self._target(steps, "goto", verdict, verdict)) for low, high, steps in branch.ports
        ]
        statements = [f"th dport {_vmap((key, target or 'return') for key, target in ports)}"]
        return f"{how} {self._chain([*statements, *self._steps(branch.other, verdict)])}"

    def _target(self, steps: Steps, how: str, verdict: Callable[[Rule], str], inner: Callable[[Rule], str]) -> str:
        """A verdict that leads to these steps, empty where there are none."""
        if not steps.steps:
            return ""
        first = steps.steps[0]
        if isinstance(first, Clause) and first.anyone:
            return verdict(first.rule)
        if id(steps) not in self._steps_written:
            self._steps_written[id(steps)] = self._chain(self._steps(steps, inner))
        return f"{how} {self._steps_written[id(steps)]}"

    def _steps(self, steps: Steps, verdict: Callable[[Rule], str]) -> list[str]:
        statements = []
        for step in steps.steps:
            if isinstance(step, Clause):
                statements.append(match(step, self._family, decided=True) + verdict(step.rule))
                continue
            side = f"{self._family.word} {_other_side(step.entries[0][2])}"
            entries = [(_addresses(self._family, low, high), verdict(rule)) for low, high, rule in step.entries]
            if len(entries) < _SHORT_TABLE:
                statements += [f"{side} {key} {target}" for key, target in entries]
            else:
                statements.append(f"{side} {_vmap(entries)}")
        return statements

    def _race(self, race: Race, *, last: bool) -> None:
        how = "goto" if last else "jump"
        winners = self._chain([f"winners {len(self._renewed)}"])
        verdicts = _vmap((f"{rank:#x}", self.verdict(rule)) for rank, rule in race.rules.items())
        self._renewed[winners] = [f"meta mark {verdicts}", "meta mark set 0"]
        heats = [(str(number), f"{how} {self._heat(race, heat, winners)}") for number, heat in race.protocols.items()]
        if heats:
            self.add(f"meta l4proto {_vmap(heats)}")
            if not last:
                self.add(self.decided())
        self.add(f"{how} {self._heat(race, race.other, winners)}")
        if not last:
            self.add(self.decided())

    def _heat(self, race: Race, heat: Heat, winners: str) -> str:
        """The chain of a protocol."""
        statements = [f"meta mark set {heat.start:#x}"]
        if heat.table:
            entries = ", ".join(f"{_addresses(self._family, low, high)} : {rank:#x}" for low, high, rank in heat.table)
            statements.append(f"meta mark set {self._side(race)} map {{ {entries} }}")
        statements += self._lower(heat.tests)
        if heat.ports:
            lanes = [
                (_interval(low, high), f"goto {self._lane(race, lane, winners)}") for low, high, lane in heat.ports
            ]
            statements.append(f"th dport {_vmap(lanes)}")
        return self._chain([*statements, f"goto {winners}"])

    def _lane(self, race: Race, lane: Lane, winners: str) -> str:
        """The chain of an interval of ports."""
        statements = self._lower(lane.tests)
        if lane.table:
            decided = [
                (_addresses(self._family, low, high), f"goto {self._chain(self._unless_lower(race, rank, winners))}")
                for low, high, rank in lane.table
            ]
            statements.append(f"{self._side(race)} {_vmap(decided)}")
        last = [f"goto {winners}"] if lane.anyone is None else self._unless_lower(race, lane.anyone, winners)
        return self._chain([*statements, *last])

    def _lower(self, tests: Iterable[tuple[int, Clause]]) -> list[str]:
        return [
            f"meta mark > {rank:#x} {match(clause, self._family, decided=True)}meta mark set {rank:#x}"
            for rank, clause in tests
        ]

    def _unless_lower(self, race: Race, rank: int, winners: str) -> list[str]:
        return [f"meta mark < {rank:#x} goto {winners}", self.verdict(race.rules[rank])]

    def _side(self, race: Race) -> str:
        return f"{self._family.word} {_other_side(next(iter(race.rules.values())))}"

    def _chain(self, statements: Iterable[str]) -> str:
        """A chain that says this."""
        content = "\n".join(statements)
        if content not in self.chains:
            self.chains[content] = self._kept.get(content) or self._fresh()
        return self.chains[content]


class AclWriting(Writing):
    """Of an ACL: a packet that is allowed keeps its mark, but for a bit on its way back from a jump.

    ``tally``: the rule that allows it is counted by its number, for the mark will not tell.
    """

    races = False
    tally = False

    def verdict(self, rule: Rule) -> str:
        if rule.action == "deny":
            return super().verdict(rule)
        return f"goto {self._chain([tally.allowed(rule)])}" if self.tally else "return"

    def inner_verdict(self, rule: Rule) -> str:
        if rule.action == "deny":
            return super().verdict(rule)
        counted = [tally.allowed(rule)] if self.tally else []
        return f"goto {self._chain([*counted, f'meta mark set meta mark | {marks.PASSED:#x}'])}"

    def decided(self) -> str:
        done = self._chain([f"meta mark set meta mark & {0xFFFF_FFFF ^ marks.PASSED:#x}"])
        return f"meta mark & {marks.PASSED | marks.REJECT:#x} != 0 goto {done}"


def _rule(chain: str, statement: str) -> str:
    return f"add rule {TABLE} {chain} {statement}\n"


def _vmap(entries: Iterable[tuple[str, str]]) -> str:
    return "vmap { " + ", ".join(f"{key} : {verdict}" for key, verdict in entries) + " }"


def members_set(group_id: str, family: Family = IPV4) -> str:
    return f"m{family.suffix}_" + group_id.replace("-", "_")


def declare_members(group_id: str, family: Family) -> str:
    """The set of a group's member addresses of a family, empty."""
    return f"add set {TABLE} {members_set(group_id, family)} {{ type {family.address_type}; }}\n"


def group_chain(
    name: str,
    direction: Direction,
    clauses: Sequence[Clause],
    kept: Mapping[str, str],
    fresh: Callable[[], str],
    family: Family = IPV4,
    *,
    apart: bool = False,
) -> tuple[str, dict[str, str]]:
    """(Re)write the chain of one list of security groups for one direction: first match decides. Also the chains that
    it goes through, by what they say; ``kept`` are those of before, ``fresh`` names new ones.

    ``apart``: it says everything in one of these, which can be written ahead, and itself only leads there.
    """
    writing = Writing(name, direction, kept, fresh, family)
    writing.decide(clauses)
    return writing.text(apart=apart), writing.chains


def acl_chain(
    name: str,
    subnet: Network | None,
    direction: Direction,
    clauses: Sequence[Clause],
    kept: Mapping[str, str],
    fresh: Callable[[], str],
    family: Family = IPV4,
    *,
    tally: bool = False,
) -> tuple[str, dict[str, str]]:
    """The same of an ACL at one subnet and direction; traffic within the subnet's block of the family, if it has one,
    passes by. ``tally``: what its rules allow is counted."""
    writing = AclWriting(name, direction, kept, fresh, family)
    writing.tally = tally
    if subnet is not None:
        writing.add(f"{family.word} {'saddr' if direction == 'ingress' else 'daddr'} {subnet} return")
    writing.decide(clauses)
    return writing.text(), writing.chains
