"""Security groups and network ACLs of a document, with their rules."""

from __future__ import annotations

import re
from typing import Any

from emulator.cloud.model import NetworkAcl, Rule, SecurityGroup
from emulator.labfiles.builder import Builder, Wrong, called

RULE_KEYS = ("protocol", "port", "cidr", "priority", "source_port", "local_cidr")
"""Of a rule in a lab file: what ``add_rule`` takes by the same name."""

_A_NETWORK = re.compile(r"[0-9a-fA-F]*[:.].*|\d.*")
"""What is no name of a group or template, unless one has it."""


def build_rules(builder: Builder) -> None:
    """First all groups and ACLs, then their rules: groups refer to each other."""
    cloud = builder.cloud
    for name, one in builder.objects("security_group"):
        with builder.making("security_group", name, group=one.get("id")):
            if not one.get("default"):
                group = cloud.create_group(
                    builder.only("vpc", one),
                    name=called(name, one),
                    type=one.get("type"),
                    inner_access=one.get("inner_access"),
                )
                builder.made("security_group", name, group.id)
            elif ("security_group", name) not in builder.ids:
                builder.only("vpc", one)
                raise Wrong("it is the second default group of its VPC", "default")
            elif "inner_access" in one:
                cloud.set_inner_access(builder.ids["security_group", name], one["inner_access"])
    for name, one in builder.objects("network_acl"):
        with builder.making("network_acl", name, acl=one.get("id"), acl_rule=default_rule_ids(one)):
            acl = cloud.create_acl(builder.only("vpc", one), name=called(name, one), type=one.get("type"))
            builder.made("network_acl", name, acl.id)
    for kind in ("security_group", "network_acl"):
        for name, one in builder.objects(kind):
            if (kind, name) in builder.ids and "rules" in one:
                _write(builder, kind, name, one["rules"])


def default_rule_ids(owner: dict[str, Any]) -> list[str | None]:
    """The ids of the provider's own rules, where the owner lists them, in the order in which they are made."""
    ids = {rule.get("allow"): rule.get("id") for rule in owner.get("rules", ()) if rule.get("default")}
    return [ids.get("ingress"), ids.get("egress")]


def _write(builder: Builder, kind: str, name: str, rules: list[dict[str, Any]]) -> None:
    """The whole list of an owner. The provider's default rules stand at its end until their turn comes."""
    cloud, owner_id = builder.cloud, builder.ids[kind, name]
    owner: SecurityGroup | NetworkAcl = (cloud.groups if kind == "security_group" else cloud.acls)[owner_id]
    pooled = kind == "security_group" and cloud.profile.pooled_groups
    default: dict[str, Rule] = {rule.direction: rule for rule in owner.rules if rule.default}
    listed = {one.get("allow") for one in rules if one.get("default")}
    for direction, rule in default.items():
        if direction not in listed:
            cloud.remove_rule(owner_id, rule.id)
    first, positions = 0 if kind == "security_group" else 1, {"ingress": 0, "egress": 0}
    for number, one in enumerate(rules):
        ids = {"group_rule" if kind == "security_group" else "acl_rule": one.get("id")}
        with builder.making(kind, name, "rules", number, **ids):
            action, direction = _verdict(one)
            if one.get("default"):
                if action != "allow" or direction not in default:
                    raise Wrong(f"the provider has no default rule {action} {direction} there", "default")
                positions[direction] += 1
                continue
            said = {key: one[key] for key in RULE_KEYS if key in one}
            for key, kinds in (("cidr", ("security_group", "template")), ("port", ("template",))):
                if isinstance(said.get(key), str):
                    said[key] = _named(builder, kinds, said[key], key)
            if not pooled:
                if "priority" in said:
                    raise Wrong("rules are judged in the order in which they stand here; leave it out", "priority")
                said["priority"] = first + positions[direction]
            before = len(_owner(builder, owner_id).rules)
            cloud.add_rule(owner_id, direction, action, **said)
            positions[direction] += len(_owner(builder, owner_id).rules) - before


def _owner(builder: Builder, owner_id: str) -> SecurityGroup | NetworkAcl:
    return builder.cloud.groups.get(owner_id) or builder.cloud.acls[owner_id]


def _verdict(rule: dict[str, Any]) -> tuple[str, str]:
    said = [(action, rule[action]) for action in ("allow", "deny") if action in rule]
    if len(said) != 1:
        raise Wrong('write one of allow = "ingress", allow = "egress", deny = "ingress", deny = "egress"')
    return said[0]


def _named(builder: Builder, kinds: tuple[str, ...], word: str, key: str) -> str:
    """The id behind a name; a network, ports or ``all`` as they are."""
    known = any(word in builder.document.data.get(kind, {}) for kind in kinds)
    if not known and (_A_NETWORK.fullmatch(word) or (key == "port" and word == "all")):
        return word
    return builder.reference(kinds, word, key)
