"""Lab time. A manual clock stands still until it is advanced; a running clock goes at ``speed`` times wall time
besides.

What happens by itself at lab times (window ends, publications) happens inside :meth:`Clock.advance`, in order, and is
complete when it returns; on a running clock a thread does the same when a moment comes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from emulator.errors import ClockError, LabClosed

LONGEST_ADVANCE_S = 366 * 86_400
"""An advance over more than a year is taken for a mistake."""

FASTEST = 1e6
"""Lab seconds for each second: a window of a minute then lasts 60 microseconds."""


class Clock:
    """``settle(now_s)`` brings the lab to a moment; ``next_event()`` is the next moment that wants it. Seconds, unix,
    lab time."""

    def __init__(
        self,
        start_s: float,
        *,
        speed: float | None = None,
        settle: Callable[[float], None],
        next_event: Callable[[], float | None],
        lock: threading.RLock,
    ) -> None:
        self._base_s, self._wall_s, self.speed = start_s, time.monotonic(), speed
        self._settle, self._next_event = settle, next_event
        self._changed = threading.Condition(lock)
        self._closed = False
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None
        """What ended a running clock's thread, if anything did."""
        if speed is not None:
            self._thread = threading.Thread(target=self._run, name="vpclab-clock", daemon=True)
            self._thread.start()

    @property
    def now(self) -> float:
        """Lab time in unix seconds."""
        if self.speed is None:
            return self._base_s
        return self._base_s + (time.monotonic() - self._wall_s) * self.speed

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move lab time forward; everything that falls due on the way has happened when this returns."""
        step = check_step(seconds, minutes, hours, days)
        with self._changed:
            if self._closed:
                raise LabClosed("the clock of a closed lab cannot be advanced; open a new lab")
            if self.failure is not None:
                raise ClockError(f"the running clock stopped: {self.failure}") from self.failure
            target = self.now + step
            self._settle(target)
            if self.speed is None:
                self._base_s = target
            else:
                self._base_s += step
            self._changed.notify_all()

    def wake(self) -> None:
        """Tell a running clock that its next event may have changed. The lab's lock is held."""
        self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        assert self.speed is not None
        with self._changed:
            while not self._closed:
                event = self._next_event()
                if event is None:
                    self._changed.wait()
                elif event <= self.now:
                    try:
                        self._settle(self.now)
                    except Exception as error:  # told to the next caller; a thread has nobody else to tell
                        self.failure = error
                        return
                else:
                    self._changed.wait(min((event - self.now) / self.speed, 3600.0))


def check_step(seconds: float, minutes: float, hours: float, days: float) -> float:
    """The sum in seconds, or ClockError: an advance is a finite, non-negative number of at most a year."""
    total = 0.0
    for name, value, unit in (
        ("seconds", seconds, 1),
        ("minutes", minutes, 60),
        ("hours", hours, 3600),
        ("days", days, 86_400),
    ):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ClockError(f"advance({name}={value!r}): a number is wanted")
        if value != value or abs(value) > LONGEST_ADVANCE_S:
            raise ClockError(
                f"advance({name}={value!r}): give a number of at most a year ({LONGEST_ADVANCE_S} s); advance in steps"
            )
        total += value * unit
    if total < 0:
        raise ClockError(f"advance by {total:g} s: lab time only moves forward")
    if total > LONGEST_ADVANCE_S:
        raise ClockError(
            f"advance by {total:g} s: more than a year at once ({LONGEST_ADVANCE_S} s) is refused; advance in steps"
        )
    return total


def check_speed(speed: float | None) -> float | None:
    """None for a manual clock, or a positive factor up to FASTEST."""
    if speed is None:
        return None
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed <= FASTEST:
        raise ClockError(
            f"speed={speed!r}: give lab seconds for each second of wall time, more than 0 and at most {FASTEST:g}, "
            "or None for a manual clock"
        )
    return float(speed)
