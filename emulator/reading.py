"""The log topics of a data folder, read without a lab: also while a lab in another process writes them."""

from __future__ import annotations

import os
from pathlib import Path

from emulator.errors import LabError
from emulator.logs.service import LogService
from emulator.providers import profile as find_profile


def read_logs(data: str | os.PathLike[str], profile: str = "tencent") -> LogService:
    """The topics in a lab's data folder, as they are whenever they are asked; they cannot be changed.

    :raises LabError: there are none, or what is there is of another layout
    """
    found = find_profile(profile)
    if not isinstance(data, str | os.PathLike) or not (Path(data) / "manifest.sqlite").exists():
        raise LabError(f"there are no logs in {str(data)!r}: give a lab's data folder, as in Lab(data=...)")
    return LogService(profile=found, now=lambda: 0.0, folder=Path(data).resolve(), read_only=True)
