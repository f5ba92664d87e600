"""The entry point of ``vpclab``: Ctrl-C ends it in the same way at any instant, also while it is still being imported.

Python drops an interrupt that comes while an object is being finalised, and reports what finalisers of objects stumble
over that were never made whole because of one. Here the first comes again a moment later, the others are not told.
"""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130
AGAIN_S = 0.01
"""When an interrupt that was dropped comes again."""


def main() -> None:
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        elif not interrupted:
            sys.__unraisablehook__(what)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGALRM, interrupt)
        sys.unraisablehook = dropped
    try:
        from emulator.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
