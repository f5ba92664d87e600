"""The parts of a rule, from what people write to what is judged: direction, action, protocol, ports, peer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from emulator.cloud.model import PORTS_PROTOCOLS, Action, Direction, Rule
from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue

Ports = tuple[tuple[int, int], ...]

PROTOCOLS: dict[str, int | None] = {"all": None, "icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmpv6": 58}
"""The providers' protocol words; None is any protocol. Numbers 0 to 255 are accepted beside them."""

LAST = 65_535
"""Priority shown for a provider's final rule, behind all that a tenant can write."""

FIRST = 0
"""Priority shown for a provider's rule before all that a tenant can write."""

_PORTS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def parse_direction(profile: Profile, direction: str) -> Direction:
    if direction == "ingress":
        return "ingress"
    if direction == "egress":
        return "egress"
    raise profile.refusal(
        InvalidValue, "rule.direction", f"direction {direction!r}: give 'ingress' or 'egress'", value=direction
    )


def parse_action(profile: Profile, action: str) -> Action:
    if action == "allow":
        return "allow"
    if action == "deny":
        return "deny"
    raise profile.refusal(InvalidValue, "rule.action", f"action {action!r}: give 'allow' or 'deny'", value=action)


def parse_protocol(profile: Profile, protocol: str | int | None) -> int | None:
    """An IANA number, or None for all."""
    if protocol is None:
        return None
    if isinstance(protocol, str):
        word = protocol.strip().lower()
        if word in PROTOCOLS:
            return PROTOCOLS[word]
        number = int(word) if re.fullmatch(r"[0-9]{1,3}", word) else -1
    else:
        number = protocol if isinstance(protocol, int) and not isinstance(protocol, bool) else -1
    if not 0 <= number <= 255:
        raise profile.refusal(
            InvalidValue,
            "rule.protocol",
            f"protocol {protocol!r}: give {', '.join(PROTOCOLS)} or a number from 0 to 255",
            value=protocol,
        )
    return number


def parse_ports(profile: Profile, port: str | int | None, protocol: int | None) -> Ports | None:
    """Inclusive ranges, ascending and apart from each other; None for all ports (``"all"``, None)."""
    if port is None or (isinstance(port, str) and port.strip().lower() == "all"):
        return None
    if protocol not in PORTS_PROTOCOLS:
        which = "all protocols together" if protocol is None else f"protocol {protocol}"
        raise profile.refusal(
            InvalidValue,
            "rule.port",
            f"port {port!r}: {which} has no ports; leave the port out, or say tcp or udp",
            value=port,
        )
    if isinstance(port, str):
        ranges = [_parse_range(profile, part.strip(), port) for part in port.split(",")]
    elif isinstance(port, int) and not isinstance(port, bool):
        ranges = [_check_range(profile, port, port, port)]
    else:
        raise _bad_port(profile, port, f"give a number, '80,443', '4000-4001' or 'all', not {type(port).__name__}")
    return merge_ranges(ranges)


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> Ports:
    """The same ports in ascending ranges with a gap between any two."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def renumber(rules: Iterable[Rule], first: int) -> tuple[Rule, ...]:
    """List-ordered rules with their positions, counted from ``first``, as priorities."""
    return tuple(
        rule if rule.priority == position else replace(rule, priority=position)
        for position, rule in enumerate(rules, start=first)
    )


def by_priority(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Rules of a pool in the order judged: smaller priority, then deny before allow, then the older."""
    return tuple(sorted(rules, key=lambda rule: (rule.priority, rule.action == "allow", rule.number)))


def _parse_range(profile: Profile, part: str, whole: str) -> tuple[int, int]:
    match = _PORTS.fullmatch(part)
    if match is None:
        raise _bad_port(profile, whole, "write it like 443, 4000-4001 or 80,443")
    low = int(match[1])
    return _check_range(profile, low, int(match[2]) if match[2] else low, whole)


def _check_range(profile: Profile, low: int, high: int, whole: str | int) -> tuple[int, int]:
    for port in (low, high):
        if not 1 <= port <= 65_535:
            raise _bad_port(profile, whole, f"{port} is no port, ports go from 1 to 65535")
    if low > high:
        raise _bad_port(profile, whole, f"the range {low}-{high} runs backwards, write {high}-{low}")
    return low, high


def _bad_port(profile: Profile, port: object, advice: str) -> InvalidValue:
    return profile.refusal(InvalidValue, "rule.port", f"port {port!r}: {advice}", value=port)
