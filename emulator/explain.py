"""Why a record says what it says: the rule that decided, from the kernel's own mark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.cloud.account import Cloud
from emulator.cloud.model import Rule


@dataclass(frozen=True)
class Explanation:
    """``stage`` is "security group" or "network ACL"; ``rule`` is None for NODATA and SKIPDATA, and
    where the lab that counted is gone."""

    action: str | None
    direction: str | None
    eni_id: str
    stage: str | None
    owner_id: str | None
    owner_name: str | None
    rule: Rule | None
    current: bool
    text: str

    def __str__(self) -> str:
        return self.text


def explain(cloud: Cloud | None, meta: Mapping[str, Any], action: str | None, status: str) -> Explanation:
    """``meta`` are a record's hidden columns; ``cloud`` is that of the lab that counted it, None where that is gone."""
    eni_id, direction, number = str(meta["eni_id"]), meta["direction"], meta["rule"]
    if number is None:
        why = {
            "NODATA": f"no packet passed {eni_id} in this window",
            "SKIPDATA": f"{meta['skipped']} packets at {eni_id} found no room in a kernel table in this window",
        }.get(status, f"{eni_id}: no rule is known for this record")
        return Explanation(action, direction, eni_id, None, None, None, None, False, why)
    if cloud is None:
        gone = f"{eni_id}: an earlier lab on this data folder counted this, and its rules went with it"
        return Explanation(action, direction, eni_id, None, None, None, None, False, gone)
    origin = cloud.rule_origin(str(meta["vpc_id"]), int(number))
    rule = origin.rule
    owner = f"{origin.stage} {origin.owner_id}" if origin.owner_id else f"no rule of its {origin.stage}s matched"
    if origin.owner_name and origin.owner_name != origin.owner_id:
        owner += f" ({origin.owner_name})"
    text = f"{action} of what {'left' if direction == 'out' else 'reached'} {eni_id}: {owner}"
    text += f", {'default rule' if rule.default else 'rule'}{rule.id and ' ' + rule.id}: {rule}"
    if (rule.direction == "egress") != (direction == "out"):
        text += "; the packet belongs to a connection that this rule let through the other way"
    if not origin.current:
        text += "; the rule has been removed since"
    return Explanation(
        action, direction, eni_id, origin.stage, origin.owner_id, origin.owner_name, rule, origin.current, text
    )
