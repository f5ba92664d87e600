"""The names that providers allow for what holds logs."""

from __future__ import annotations

import re

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue
from emulator.logs.refusal import refuse

DEFAULT_LOGSET = "default"
"""Where a topic goes whose logset (or project) is not said."""

_SLS_PROJECT = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_SLS_LOGSTORE = re.compile(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]")
_SLS_RULE = "3 to 63 lower-case letters, digits and - (in a Logstore's also _), a letter or digit at both ends"
_CLS_LOGSET = re.compile(r"[^|]{1,255}", re.DOTALL)
_CLS_TOPIC = re.compile(r"(?!cls_service_log$)[^|]{1,255}", re.DOTALL)
_CLS_RULE = "1 to 255 characters without |, and none that the service keeps for itself"


def check_names(name: object, logset: object, profile: Profile) -> None:
    """Refuse a topic's or a logset's name as the provider would (tencent.md §5.1, alibaba.md §2.2)."""
    if profile.provider == "alibaba":
        rules = ("Logstore", _SLS_LOGSTORE), ("project", _SLS_PROJECT)
        rule = _SLS_RULE
    else:
        rules = ("topic", _CLS_TOPIC), ("logset", _CLS_LOGSET)
        rule = _CLS_RULE
    for (what, pattern), value, reason in zip(rules, (name, logset), ("topic.name", "logset.name"), strict=True):
        if not isinstance(value, str) or not pattern.fullmatch(value):
            message = f"{value!r} cannot be the name of a {what}: {rule}"
            raise refuse(InvalidValue, profile, reason, message, value=value)
