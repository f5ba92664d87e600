"""Rule numbers: what the kernel carries in packet marks, and the way back from a number to its rule.

A number belongs to one rule of one VPC for ever, so that a record made an hour ago still leads to the rule that
decided it, removed or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from emulator.cloud.model import Rule

Stage = Literal["security group", "network ACL"]

MOST = 65_535
"""Numbers of a VPC: one half of a 32-bit connection mark, without 0."""


@dataclass(frozen=True)
class RuleOrigin:
    """Where a rule stands or stood; ``current`` is False once it was removed.

    ``owner_id`` and ``owner_name`` are empty for the rule that ends the judgement of every ENI's groups, which belongs
    to no group.
    """

    rule: Rule
    stage: Stage
    owner_id: str
    owner_name: str
    current: bool


class RuleNumbers:
    """Gives out the numbers of every VPC, each once, and keeps who got them."""

    def __init__(self) -> None:
        self._given: dict[str, list[RuleOrigin]] = {}

    def left(self, vpc_id: str) -> int:
        return MOST - self.given(vpc_id)

    def give(
        self, vpc_id: str, make: Callable[[int], Rule], stage: Stage, owner_id: str = "", owner_name: str = ""
    ) -> Rule:
        """The rule that ``make`` builds from the next number; the caller saw to it that one is left."""
        given = self._given.setdefault(vpc_id, [])
        rule = make(len(given) + 1)
        given.append(RuleOrigin(rule, stage, owner_id, owner_name, current=True))
        return rule

    def given(self, vpc_id: str) -> int:
        """How many numbers of a VPC were given so far: the last of them."""
        return len(self._given.get(vpc_id, ()))

    def origin(self, vpc_id: str, number: int) -> RuleOrigin | None:
        """As it was when the number was given."""
        given = self._given.get(vpc_id, [])
        return given[number - 1] if 1 <= number <= len(given) else None
