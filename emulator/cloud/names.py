"""Names, descriptions and tags: what a provider accepts, and what may have been meant."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The end of a sentence: which of ``candidates`` may have been meant, or what there is."""
    known = sorted({candidate for candidate in candidates if candidate})
    close = get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if not known:
        return "there are none yet"
    return f"there are {', '.join(known[:8])}" + (f" and {len(known) - 8} more" if len(known) > 8 else "")


def check_name(profile: Profile, name: str, kind: str) -> str:
    """The name of anything but a flow log: any printable characters, up to the provider's length."""
    return _check_text(profile, name, f"name of a {kind}", (1, profile.name_length), "name.length", "name.characters")


def check_flow_log_name(profile: Profile, name: str) -> str:
    bounds = profile.flow_log_name_length
    _check_text(profile, name, "name of a flow log", bounds, "flow_log.name_length", "flow_log.name")
    if profile.flow_log_name_pattern and not re.fullmatch(profile.flow_log_name_pattern, name):
        raise profile.refusal(
            InvalidValue,
            "flow_log.name",
            f"name of a flow log {name!r}: begin with an English letter or a Chinese character and go on with letters, "
            "digits, '-' and '_'",
            value=name,
        )
    return name


def check_description(profile: Profile, description: str) -> str:
    """A flow log's description; the empty string is none."""
    if description == "":
        return description
    bounds, reason = profile.description_length, "flow_log.description"
    return _check_text(profile, description, "description of a flow log", bounds, reason, reason, lines=True)


def check_tags(profile: Profile, tags: Mapping[str, str] | None) -> dict[str, str]:
    """A copy of ``tags``; values may be empty, keys may not."""
    if tags is not None and not isinstance(tags, Mapping):
        raise profile.refusal(InvalidValue, "tag.key", f"tags {tags!r}: give a dict of key and value", value=tags)
    tags = dict(tags or {})
    if len(tags) > profile.tags_most:
        raise profile.refusal(
            InvalidValue, "tag.count", f"{len(tags)} tags: at most {profile.tags_most} on one object", value=len(tags)
        )
    for key, value in tags.items():
        _check_text(profile, key, "tag key", (1, profile.tag_key_length), "tag.key_length", "tag.key", prefixes=False)
        for prefix in profile.tag_key_prefixes_refused:
            if key.lower().startswith(prefix):
                raise profile.refusal(
                    InvalidValue, "tag.key", f"tag key {key!r}: it may not begin with {prefix!r}", value=key
                )
        if value != "":
            bounds = (0, profile.tag_value_length)
            _check_text(
                profile, value, f"value of tag {key!r}", bounds, "tag.value", "tag.value", prefixes=False, lines=True
            )
    return tags


def _check_text(
    profile: Profile,
    text: str,
    what: str,
    bounds: tuple[int, int],
    length_reason: str,
    characters_reason: str,
    *,
    prefixes: bool = True,
    lines: bool = False,
) -> str:
    if not isinstance(text, str):
        raise profile.refusal(
            InvalidValue, characters_reason, f"{what} {text!r}: give a string, not {type(text).__name__}", value=text
        )
    least, most = bounds
    if not least <= len(text) <= most:
        raise profile.refusal(
            InvalidValue,
            length_reason,
            f"{what} {_short(text)}: {len(text)} characters, not {least} to {most}",
            value=text,
        )
    for character in text:
        # Surrogates cannot be written as UTF-8, control characters break /etc/hosts and one-line records.
        if unicodedata.category(character) in {"Cc", "Cs"} and not (lines and character in "\t\n\r"):
            raise profile.refusal(
                InvalidValue, characters_reason, f"{what} {_short(text)}: take out {character!r}", value=text
            )
    for prefix in profile.name_prefixes_refused if prefixes else ():
        if text.lower().startswith(prefix):
            raise profile.refusal(
                InvalidValue, characters_reason, f"{what} {_short(text)}: it may not begin with {prefix}", value=text
            )
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 70 else text[:67] + "...")
