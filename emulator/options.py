"""What a lab is opened with, checked before anything is made."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from emulator.cloud.profile import Profile
from emulator.errors import ClockError, LabError


def check_start(start: float | None) -> float:
    """Lab time to begin with; now where left out."""
    if start is None:
        return time.time()
    if (
        isinstance(start, bool) or not isinstance(start, int | float) or not 0 <= start < 2**33  # NaN is not
    ):
        raise ClockError(f"start={start!r}: lab time begins at a number of unix seconds between 0 and {2**33}")
    return float(start)


def check_quotas(profile: Profile, quotas: Mapping[str, int]) -> dict[str, int]:
    """Quotas over the profile's own."""
    for name, most in quotas.items():
        if name not in profile.quotas:
            raise LabError(f"quotas[{name!r}]: {profile.name} has no such quota; there are {', '.join(profile.quotas)}")
        if isinstance(most, bool) or not isinstance(most, int) or most < 0:
            raise LabError(f"quotas[{name!r}]={most!r}: give a whole number of {name}, 0 or more")
    return dict(quotas)


def data_folder(data: str | os.PathLike[str]) -> Path:
    """The folder, made where there is none."""
    if not isinstance(data, str | os.PathLike) or not os.fspath(data):
        raise LabError(f"data={data!r}: give the path of a folder")
    folder = Path(data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"data={str(folder)!r}: the folder cannot be made: {error.strerror}; give one that is writable"
        ) from error
    return folder.resolve()
