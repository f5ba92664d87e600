"""How often each rule of a VPC decided, for rule coverage: part of the ruleset where somebody asks for it. Pure.

The flow tables know the rule of what they count, but only of ENIs under a flow log, and of a network ACL only the rules
that deny. With a tally every judgement ends by counting the mark that it gave, of every ENI, and an ACL's rule that
allows counts its own number::

    judge_out, judge_in   ── jump ──► what they say otherwise; then the mark → @decided

The set has one element for each rule, direction and verdict, so it is never full: rules have 65,535 numbers, and those
of a VPC that decide are few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.cloud.model import Rule
from emulator.fabric import marks

SET = "decided"
_DECISION = marks.RULE | marks.IN | marks.REJECT


def declared() -> str:
    """The set, as part of a table."""
    return f" set {SET} {{\n  type mark\n  flags dynamic\n }}\n"


def tallied(text: str, suffix: str = "") -> str:
    """A ruleset whose judgements are counted; ``suffix`` is that of its chains' family."""
    for side in ("out", "in"):
        # What leaves by a gate keeps the mark of its way out.
        only = f"meta mark & {marks.IN:#x} == {marks.IN if side == 'in' else 0:#x} "
        name = f" chain judge{suffix}_{side} {{\n"
        counting = f"{name}  jump judgement{suffix}_{side}\n  {only}{_count(f'meta mark & {_DECISION:#x}')}\n }}\n"
        text = text.replace(name, f"{counting} chain judgement{suffix}_{side} {{\n")
    return text


def allowed(rule: Rule) -> str:
    """Count a rule of a network ACL."""
    number = rule.number | (marks.IN if rule.direction == "ingress" else 0)
    return _count(f"meta mark & 0 | {number:#x}")


def _count(key: str) -> str:
    return f"update @{SET} {{ {key} counter }}"


@dataclass(frozen=True)
class Decided:
    """Packets that a rule decided: ``own`` went the rule's own way, ``back`` were replies over its connections.

    A datagram in fragments is one packet.
    """

    own: int = 0
    back: int = 0

    def __add__(self, other: Decided) -> Decided:
        return Decided(self.own + other.own, self.back + other.back)


def by_rule(counts: Mapping[int, int], rules: Mapping[int, Rule]) -> dict[int, Decided]:
    """What the set counted, mark → packets, by the number of the rule."""
    found: dict[int, Decided] = {}
    for mark, packets in counts.items():
        rule = rules.get(mark & marks.RULE)
        if rule is not None:
            own = bool(mark & marks.IN) == (rule.direction == "ingress")
            one = Decided(packets, 0) if own else Decided(0, packets)
            found[rule.number] = found.get(rule.number, Decided()) + one
    return found
