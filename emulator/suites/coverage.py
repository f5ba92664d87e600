"""Rule coverage: which rules of all labs of a test run decided a packet, and which never did.

How often is the kernel's own count (fabric/tally.py), of every ENI, logged or not. A rule is the line of the test that
made it together with what it says and where it stands, so one that a fixture makes for fifty tests is one rule here.

=========  ====================================================================================================
never      no packet was decided by it
one way    of a security group's rule that allows: packets went its own way, and no reply came back over the
           connections that it let through
both ways  of such a rule: replies came, too (or an ICMP error), which the connection's state lets pass
decided    of a rule that denies, and of one of a network ACL: these know no replies
=========  ====================================================================================================
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from emulator.watching import Watcher

if TYPE_CHECKING:
    from emulator.cloud.model import Rule
    from emulator.lab import Lab

Status = Literal["never", "one way", "both ways", "decided"]
_OURS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
"""The folder of the package: a rule is made where the first frame outside of it is."""


@dataclass(frozen=True)
class RuleMade:
    """A rule as a test wrote it. ``place`` is ``file:line`` below the run's folder; ``default``: it came by itself with
    a group, an ACL or a VPC that was made there."""

    place: str
    stage: str
    owner: str
    rule: str
    allows: bool
    default: bool


@dataclass(frozen=True)
class Hits:
    """``packets`` that the rule decided its own way, ``replies`` over its connections; ``labs`` that had it."""

    packets: int = 0
    replies: int = 0
    labs: int = 0

    def __add__(self, other: Hits) -> Hits:
        return Hits(self.packets + other.packets, self.replies + other.replies, self.labs + other.labs)


@dataclass
class _Vpc:
    """What is known of an open VPC's rules, by their number; ``last`` is the last number that was looked at."""

    rules: dict[int, Rule] = field(default_factory=dict)
    made: dict[int, RuleMade] = field(default_factory=dict)
    last: int = 0


def status(made: RuleMade, hits: Hits) -> Status:
    if not hits.packets and not hits.replies:
        return "never"
    if not made.allows or made.stage == "network ACL":
        return "decided"
    return "both ways" if hits.packets and hits.replies else "one way"


class Coverage(Watcher):
    """Collects what the labs of this process tell, and what other processes told."""

    tally = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = os.fspath(folder)
        self.rules: dict[RuleMade, Hits] = {}
        self.unread = 0
        """VPCs whose kernel could not be read at their end, as after a kill of the keeper."""
        self._made: WeakKeyDictionary[Lab, dict[str, _Vpc]] = WeakKeyDictionary()

    # what labs tell --------------------------------------------------------------------------------

    def changed(self, lab: Lab) -> None:
        vpcs = self._made.setdefault(lab, {})
        place = None
        for vpc_id in lab.cloud.vpcs:
            vpc = vpcs.setdefault(vpc_id, _Vpc())
            fresh = lab.cloud.rule_numbers(vpc_id)[vpc.last :]
            for number in fresh:
                origin = lab.cloud.rule_origin(vpc_id, number)
                if not origin.current:
                    continue  # the request that made it was refused, or replaced it at once
                place = place or self._place()
                rule, owner = origin.rule, origin.owner_name or origin.owner_id or "-"
                made = RuleMade(place, origin.stage, owner, str(rule), rule.action == "allow", rule.default)
                vpc.rules[number], vpc.made[number] = rule, made
            vpc.last += len(fresh)

    def leaving(self, lab: Lab, vpc_id: str) -> None:
        from emulator.errors import LabError
        from emulator.fabric.tally import Decided, by_rule

        vpc = self._made.get(lab, {}).pop(vpc_id, None)
        if vpc is None:
            return
        decided: Mapping[int, Decided] = {}
        try:
            decided = by_rule(lab.fabric.vpcs[vpc_id].decided(), vpc.rules)
        except LabError:
            self.unread += 1
        for number, one in vpc.made.items():
            counted = decided.get(number, Decided())
            self._add(one, Hits(counted.own, counted.back, 1))

    # what is made of it ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Read the labs that nobody has closed."""
        for lab, vpcs in list(self._made.items()):
            for vpc_id in list(vpcs):
                self.leaving(lab, vpc_id)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        rows = [
            {**asdict(made), **asdict(hits), "status": status(made, hits)} for made, hits in sorted_rules(self.rules)
        ]
        tenants = [row for row in rows if not row["default"]]
        counts = {
            word: sum(row["status"] == word for row in tenants) for word in ("both ways", "one way", "decided", "never")
        }
        return {"percent": self.percent, "counts": counts, "unread_vpcs": self.unread, "rules": rows}

    def merge(self, told: Mapping[str, Any]) -> None:
        """Add what another process collected, as its ``to_json`` told."""
        self.unread += told["unread_vpcs"]
        for row in told["rules"]:
            made = RuleMade(**{name: row[name] for name in RuleMade.__dataclass_fields__})
            self._add(made, Hits(row["packets"], row["replies"], row["labs"]))

    @property
    def percent(self) -> float:
        """Of the rules that tests wrote, those that decided something; 100 where they wrote none."""
        found = [status(made, hits) != "never" for made, hits in self.rules.items() if not made.default]
        return 100 * sum(found) / len(found) if found else 100.0

    def _add(self, made: RuleMade, hits: Hits) -> None:
        self.rules[made] = self.rules.get(made, Hits()) + hits

    def _place(self) -> str:
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
            frame = frame.f_back
        path = frame.f_code.co_filename
        inside = path.startswith(os.path.join(self._folder, ""))
        return f"{os.path.relpath(path, self._folder) if inside else path}:{frame.f_lineno}"


def sorted_rules(rules: Mapping[RuleMade, Hits]) -> Iterable[tuple[RuleMade, Hits]]:
    """By the place where they were made; what came by itself last."""

    def place(item: tuple[RuleMade, Hits]) -> tuple[Any, ...]:
        made = item[0]
        file, _, line = made.place.rpartition(":")
        return made.default, file, int(line), made.stage, made.owner, made.rule, made.allows

    return sorted(rules.items(), key=place)
