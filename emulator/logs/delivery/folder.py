"""A folder of this machine: each object a file, written beside its name, flushed to disk, renamed."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emulator.cloud.profile import Profile
from emulator.logs.checkpoints import Shipped
from emulator.logs.delivery.files import FileSender, FileTarget
from emulator.logs.delivery.target import Sender, TargetDown, TargetRefuses

_FOR_A_PERSON = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "denied"),
    errno.ENOTDIR: "missing",
    errno.ENAMETOOLONG: "internal",
}
"""What no waiting mends; a full or failing disk may be better later."""


@dataclass(frozen=True)
class Folder(FileTarget):
    """Deliver to a folder, which is made where it is missing."""

    kind = "folder"
    path: str = field(kw_only=False)

    def __post_init__(self) -> None:
        """The path as it is meant here: a process that opens the topic later may stand somewhere else."""
        path = os.fspath(self.path) if isinstance(self.path, os.PathLike) else self.path
        if isinstance(path, str) and path:
            object.__setattr__(self, "path", os.path.abspath(path))

    def check(self, profile: Profile) -> None:
        super().check(profile)
        if not isinstance(self.path, str) or not self.path or "\0" in self.path:
            raise self.refused(profile, "path", "the path of a folder")

    def opened(self) -> Sender:
        return FolderSender(self)


class FolderSender(FileSender):
    target: Folder

    def put(self, name: str, data: bytes) -> None:
        path = Path(self.target.path) / name
        beside = path.with_name(f".{path.name}.writing")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(beside, "wb", buffering=0) as file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            beside.rename(path)
            _flush(path.parent, Path(self.target.path))
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            message = f"{self.target.path} cannot be written: {error.strerror}"
            if error.errno in _FOR_A_PERSON:
                raise TargetRefuses(
                    f"{message}; mend it and restart() the delivery", f"delivery.{_FOR_A_PERSON[error.errno]}"
                ) from None
            raise TargetDown(message) from None

    def remove(self, objects: Sequence[Shipped]) -> None:
        for one in objects:
            try:
                (Path(self.target.path) / one.name).unlink(missing_ok=True)
            except OSError as error:
                raise TargetDown(f"{one.name} cannot be removed: {error.strerror}") from None


def _flush(folder: Path, top: Path) -> None:
    """The names on disk, of the folder and of those above it that may be new."""
    for one in (folder, *folder.parents):
        handle = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if one == top.parent:
            return
