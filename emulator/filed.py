"""What a lab has to do with lab files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import Self

    from emulator.lab import Lab


class Filed:
    """The part of ``Lab`` that is read from a file, and written into one."""

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        profile: str | None = None,
        start: float | None = None,
        speed: float | None = None,
        data: str | os.PathLike[str] | None = None,
    ) -> Self:
        """The lab that a TOML file describes (docs/lab-files.md), open; what is given here counts in place of what the
        file says.

        Under another profile than the file's its ids are left out, which have the form of that one.

        :raises LabFileError: with file and line of each thing that is wrong; nothing was opened
        """
        from emulator.labfiles.opening import open_lab

        return cast("Self", open_lab(cast("type[Lab]", cls), path, profile, start=start, speed=speed, data=data))

    def save(self, path: str | os.PathLike[str], *, data: str | os.PathLike[str] | None = None) -> None:
        """Write a lab file that opens to an equal lab: objects with their ids, rules, topics, lab time.

        With ``data``, a new folder beside the file or below, the records that are published go there and are in the lab
        that is opened. Not in it: what guests are doing, and windows that are open.
        """
        from emulator.labfiles.opening import save_lab

        lab = cast("Lab", self)
        lab._check_open()
        with lab._lock:
            save_lab(lab, path, data)
