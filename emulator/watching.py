"""Who looks on at the labs of this process: rule coverage and the evidence of failed tests.

A lab asks ``WATCHERS`` when it is opened, and tells them of its changes and its end. They raise nothing: a change that
they are told of stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.lab import Lab


class Watcher:
    """Looks on at labs; ``tally``: their kernels are to count how often each rule decides."""

    tally = False

    def changed(self, lab: Lab) -> None:
        """A change that somebody asked for holds now, in the thread of who asked."""

    def leaving(self, lab: Lab, vpc_id: str) -> None:
        """A VPC goes, of its own or with its lab; what the kernel holds of it can be read for the last time."""

    def closing(self, lab: Lab, error: BaseException | None) -> None:
        """The lab goes, before any of it did; ``error`` is what ended its ``with`` block."""


WATCHERS: list[Watcher] = []
"""Those of this process, in the order in which they came."""
