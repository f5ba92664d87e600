"""The entry point of ``vpclab``: Ctrl-C ends it in the same way while it is still being imported."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    try:
        from emulator.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
