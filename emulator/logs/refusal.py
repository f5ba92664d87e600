"""How this room refuses: our reason, and the code that the provider has for it."""

from __future__ import annotations

from typing import TypeVar

from emulator.cloud.profile import Profile
from emulator.errors import RequestRefused

Refused = TypeVar("Refused", bound=RequestRefused)


def refuse(
    kind: type[Refused], profile: Profile, reason: str, message: str, *, object: str = "", value: object = None
) -> Refused:
    """The exception to raise, with the profile's code for ``reason``."""
    return profile.refusal(kind, reason, message, object=object, value=value)
