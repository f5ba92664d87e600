"""What differs between clouds, as data: one ``Profile`` per variant of a provider, in a registry you can read."""

from __future__ import annotations

from emulator.cloud.names import nearest
from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue
from emulator.providers.alibaba import ALIBABA, ALIBABA_2019
from emulator.providers.tencent import TENCENT, TENCENT_2020

PROFILES: dict[str, Profile] = {
    "tencent": TENCENT,
    "tencent-2020": TENCENT_2020,
    "alibaba": ALIBABA,
    "alibaba-2019": ALIBABA_2019,
}
"""Every profile that ``Lab(profile=name)`` takes."""


def profile(name: str) -> Profile:
    """The profile of that name; ``InvalidValue`` names the nearest where there is none."""
    try:
        return PROFILES[name]
    except (KeyError, TypeError):
        raise InvalidValue(
            f"no profile is called {name!r}; {nearest(str(name), PROFILES)}",
            code="InvalidParameterValue",
            reason="profile.unknown",
            value=name,
        ) from None
