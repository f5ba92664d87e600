"""Who writes a folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from emulator.errors import LabError

_held: set[int] = set()


def hold(folder: Path) -> int:
    """A descriptor that holds the folder's lock.

    :raises LabError: somebody holds it; says who
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        _held.add(descriptor)
        return descriptor
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        who = "this process" if holder == str(os.getpid()) else f"process {holder or '(unknown)'}"
        raise LabError(f"{folder} is in use by {who}; one lab at a time writes a folder, others may read it") from None
    except BaseException:
        os.close(descriptor)
        raise


def release(lock: int) -> None:
    """Give the folder up, also for a child that was forked a moment ago and has not closed its own descriptor yet."""
    fcntl.flock(lock, fcntl.LOCK_UN)
    let_go_of(lock)


def let_go_of(lock: int) -> None:
    """Close a descriptor of :func:`hold`; another process that shares it keeps the lock."""
    _held.discard(lock)
    os.close(lock)


def _forked() -> None:
    """A child shares the locks by their descriptors, and must not outlive its parent with them."""
    for lock in list(_held):
        let_go_of(lock)


os.register_at_fork(after_in_child=_forked)
