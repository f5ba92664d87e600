"""The entry point of ``vpclab``: Ctrl-C ends it in the same way at any instant, also while it is still being imported.

Python drops an interrupt that comes while an object is being finalised, and reports what finalisers of objects stumble
over that were never made whole because of one. Here the first comes again a moment later, the others are not told.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType
from typing import Protocol

INTERRUPTED = 130
AGAIN_S = 0.01
"""When an interrupt that was dropped comes again."""


class _Dropped(Protocol):
    """What ``sys.unraisablehook`` is told."""

    @property
    def exc_type(self) -> type[BaseException]: ...
    @property
    def exc_value(self) -> BaseException | None: ...
    @property
    def exc_traceback(self) -> TracebackType | None: ...
    @property
    def err_msg(self) -> str | None: ...
    @property
    def object(self) -> object: ...


def main() -> None:
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    def dropped(what: _Dropped) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        elif not interrupted:
            sys.__unraisablehook__(what)  # type: ignore[arg-type]

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGALRM, interrupt)
        sys.unraisablehook = dropped
    try:
        from emulator.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
