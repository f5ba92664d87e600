"""``sg`` and ``acl``: rules listed, added and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.cloud.names import nearest
from emulator.cloud.rules import PROTOCOLS
from emulator.resources import NetworkAcl, SecurityGroup
from emulator.shell.session import Session, WrongCommand, number, words

_ACTIONS, _DIRECTIONS = ("allow", "deny", "remove"), ("ingress", "egress")
_MOST_WORDS = 9


def sg(session: Session, rest: str) -> None:
    _rules(session, rest, "sg", "security group", session.lab.cloud.groups, SecurityGroup)


def acl(session: Session, rest: str) -> None:
    _rules(session, rest, "acl", "network ACL", session.lab.cloud.acls, NetworkAcl)


def _rules(session: Session, rest: str, command: str, what: str, table: Mapping[str, Any], kind: type[Any]) -> None:
    usage = (
        f"{command} NAME, {command} NAME allow|deny [ingress|egress] [PROTOCOL [PORT]] [from|to CIDR] [priority N], or "
        f"{command} NAME remove NUMBER"
    )
    found = words(rest, usage, 0, _MOST_WORDS)
    if not found:
        for one in table.values():
            session.say(f"{one.name} ({one.id}, {len(one.rules)} rules)")
        return
    name, *said = found
    ids = [one.id for one in table.values() if name in (one.id, one.name)]
    if len(ids) != 1:
        known = nearest(name, [one.name for one in table.values()])
        raise WrongCommand(
            f"{name!r} is {len(ids)} {what}s; use an id" if ids else f"there is no {what} {name!r}; {known}"
        )
    owner = kind(session.lab, ids[0])
    if said and said[0] not in _ACTIONS:
        raise WrongCommand(f"{said[0]!r}: {nearest(said[0], _ACTIONS)} Write {usage}")
    if said and said[0] == "remove":
        if len(said) != 2:
            raise WrongCommand(f"write {usage}")
        place = number(said[1], "rule", range(1, len(owner.rules) + 1))
        owner.remove(owner.rules[place - 1])
    elif said:
        getattr(owner, said[0])(_direction(said), **parts(said[1:], usage))
    for place, rule in enumerate(owner.rules, 1):
        session.say(f"{place:3}. {rule}")
    if not owner.rules:
        session.say(f"{what} {owner.name} has no rule")


def _direction(said: list[str]) -> str:
    return next((word for word in said if word in _DIRECTIONS), "ingress")


def parts(said: list[str], usage: str) -> dict[str, Any]:
    """What a rule is about: protocol and port where they stand, the rest behind its word."""
    parts: dict[str, Any] = {}
    rest = [word for word in said if word not in _DIRECTIONS]
    while rest:
        word = rest.pop(0)
        if word in ("from", "to", "priority"):
            if not rest:
                raise WrongCommand(f"nothing stands behind {word}; write {usage}")
            value = rest.pop(0)
            parts["priority" if word == "priority" else "cidr"] = int(value) if value.isdecimal() else value
        elif "protocol" not in parts and (word.lower() in PROTOCOLS or word.isdecimal()):
            parts["protocol"] = word.lower()
        elif "protocol" in parts and "port" not in parts and word[0].isdecimal():
            parts["port"] = word
        else:
            known = nearest(word, [*PROTOCOLS, *_DIRECTIONS, "from", "to", "priority"])
            raise WrongCommand(f"{word!r} is not understood; {known}")
    return parts
