"""Other rules, tried on what was recorded: which records would say something else.

Each ENI is judged by itself, by the reference verdict. What the records are about is taken as it is: where other rules
would stop a packet at its sender, that is told of the sender's record, and the receiver's is judged all the same. Only
answers are followed: where the connection that they belong to would not have begun, they would not be there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from emulator.cloud.account import Cloud
from emulator.cloud.model import Direction, Eni, NetworkAcl, Rule, SecurityGroup
from emulator.cloud.verdict import Judge, Judgement, Packet
from emulator.explain import packet_in
from emulator.logs.records import Record

_WAYS: dict[str, Direction] = {"out": "egress", "in": "ingress"}
_BACK = {"out": "in", "in": "out"}
_ACTIONS = {"allow": "ACCEPT", "deny": "REJECT"}


@dataclass(frozen=True)
class Changed:
    """A record that would say something else: ``action``, by ``rule``; None both where its packets answered a
    connection that would not have begun."""

    record: Record
    action: str | None
    rule: Rule | None

    def __str__(self) -> str:
        said = "would not be there" if self.action is None else f"{self.action} by {self.rule}"
        return f"{self.record.line}: {said}"


@dataclass(frozen=True)
class Replay:
    """What rules say of records.

    ``records``  those that were judged: of ENIs for which the rules hold or would hold
    ``changed``  those that would say something else than they do
    ``decided``  each of the rules, in order, with the records that it would have decided, answers included
    """

    records: tuple[Record, ...]
    changed: tuple[Changed, ...]
    decided: Mapping[Rule, tuple[Record, ...]]

    @property
    def unused(self) -> tuple[Rule, ...]:
        """Rules that decide nothing, those aside that came with the group or ACL."""
        return tuple(rule for rule, records in self.decided.items() if not records and not rule.default)


def replay(
    cloud: Cloud,
    records: Iterable[Record],
    rules_of: SecurityGroup | NetworkAcl,
    instead_of: SecurityGroup | NetworkAcl,
) -> Replay:
    """What ``rules_of`` would have said where ``instead_of`` holds now."""
    trial = copy.copy(cloud)
    if isinstance(instead_of, SecurityGroup):
        trial.groups = {**cloud.groups, instead_of.id: replace(instead_of, rules=rules_of.rules)}
    else:
        trial.acls = {**cloud.acls, instead_of.id: replace(instead_of, rules=rules_of.rules)}
    history = [
        (record, trial.enis[str(record.meta["eni_id"])], packet)
        for record in records
        if record.meta["eni_id"] in trial.enis and (packet := packet_in(record)) is not None
    ]
    history = [one for one in history if instead_of.id in (*one[1].groups, trial.subnets[one[1].subnet_id].acl_id)]
    # The kernel's word: packets that a rule of the other direction let through belong to a connection.
    told = cache(lambda vpc_id, number: cloud.rule_origin(vpc_id, number).rule.direction)
    answers = [
        told(str(one.meta["vpc_id"]), int(one.meta["rule"])) != _WAYS[one.meta["direction"]] for one, *_ in history
    ]
    begun = {
        (record.meta["eni_id"], record.meta["direction"], packet)
        for (record, _, packet), answer in zip(history, answers, strict=True)
        if record["action"] == "ACCEPT" and not answer
    }
    judge, changed = Judge(trial), []
    decided: dict[int, list[Record]] = {rule.number: [] for rule in rules_of.rules}
    for (record, eni, packet), said in zip(history, answers, strict=True):
        opening = eni.id, _BACK[record.meta["direction"]], _turned(packet)
        answer = said or (record["action"] == "REJECT" and opening in begun)
        judgements = _judgements(judge, eni, packet, record.meta["direction"], answer)
        for judgement in judgements:
            for step in judgement.steps:
                if step.rule is not None and step.rule.number in decided:
                    decided[step.rule.number].append(record)
        last = judgements[-1]
        if answer and len(judgements) == 1:
            changed.append(Changed(record, None, None))
        elif _ACTIONS[last.action] != record["action"]:
            changed.append(Changed(record, _ACTIONS[last.action], last.rule))
    return Replay(
        tuple(record for record, _, _ in history),
        tuple(changed),
        {rule: tuple(decided[rule.number]) for rule in rules_of.rules},
    )


def _judgements(judge: Judge, eni: Eni, packet: Packet, direction: str, answer: bool) -> list[Judgement]:
    """Of an answer first the packet that began its connection, and only that where it is denied."""
    if not answer:
        return [judge.at(eni, packet, _WAYS[direction])]
    opening = judge.at(eni, _turned(packet), _WAYS[_BACK[direction]])
    if opening.action == "deny":
        return [opening]
    return [opening, judge.at(eni, packet, _WAYS[direction], established=True)]


def _turned(packet: Packet) -> Packet:
    return Packet(packet.dst, packet.src, packet.protocol, packet.dst_port, packet.src_port)
