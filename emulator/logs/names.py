"""The names that providers allow for what holds logs, and for keys in them."""

from __future__ import annotations

import re

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue
from emulator.logs.records import TIME
from emulator.logs.refusal import refuse
from emulator.logs.store import FOREVER

DEFAULT_LOGSET = "default"
"""Where a topic goes whose logset (or project) is not said."""

_SLS_PROJECT = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_SLS_LOGSTORE = re.compile(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]")
_SLS_RULE = "3 to 63 lower-case letters, digits and - (in a Logstore's also _), a letter or digit at both ends"
_CLS_LOGSET = re.compile(r"[^|]{1,255}")
_CLS_TOPIC = re.compile(r"(?!cls_service_log$)[^|]{1,255}")
_CLS_RULE = "1 to 255 printable characters without |, and none that the service keeps for itself"


def check_names(name: object, logset: object, profile: Profile) -> None:
    """Refuse a topic's or a logset's name as the provider would (tencent.md §5.1, alibaba.md §2.2)."""
    if profile.provider == "alibaba":
        _check(name, "Logstore", _SLS_LOGSTORE, _SLS_RULE, "topic.name", profile)
    else:
        _check(name, "topic", _CLS_TOPIC, _CLS_RULE, "topic.name", profile)
    check_logset(logset, profile)


def check_logset(name: object, profile: Profile) -> None:
    """Refuse the name of a logset or project as the provider would."""
    if profile.provider == "alibaba":
        _check(name, "project", _SLS_PROJECT, _SLS_RULE, "logset.name", profile)
    else:
        _check(name, "logset", _CLS_LOGSET, _CLS_RULE, "logset.name", profile)


def _check(name: object, what: str, pattern: re.Pattern[str], rule: str, reason: str, profile: Profile) -> None:
    if not isinstance(name, str) or not name.isprintable() or not pattern.fullmatch(name):
        message = f"{name!r} cannot be the name of a {what}: {rule}"
        raise refuse(InvalidValue, profile, reason, message, value=name)


DAYS_MOST = 3_600
"""Days for which rows can be kept (tencent.md §5.1)."""


def check_days(days: object, profile: Profile, topic: str, topic_id: str = "") -> int:
    """How long rows are kept, None for ever, as the store has it."""
    if days is None:
        return FOREVER
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= DAYS_MOST:
        message = f"rows of {topic} are kept for 1 to {DAYS_MOST} days, or for ever (None), not {days!r}"
        raise refuse(InvalidValue, profile, "topic.days", message, object=topic_id or topic, value=days)
    return days


KEY_BYTES = 128
"""Longest key, as SLS has it."""


def wrong_with_key(key: object) -> str:
    """Why ``key`` can be none of a row and of no index; empty if it can."""
    if not isinstance(key, str) or not key:
        return "a key is text that is not empty"
    if key.startswith("_"):
        return f"keys that start with _ are the service's own ({TIME} is the one to write)"
    if not key.isprintable() or len(key.encode()) > KEY_BYTES:
        return f"a key is printable and at most {KEY_BYTES} bytes long"
    return ""
