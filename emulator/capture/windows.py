"""Window arithmetic: capture windows are aligned to multiples of their length in lab time. Pure; times in whole unix
seconds."""

from __future__ import annotations

import math


def window_start(now_s: float, window_s: int) -> int:
    """The start of the window that holds ``now_s``; a window holds its start and not its end."""
    return math.floor(now_s / window_s) * window_s


def window_end(now_s: float, window_s: int) -> int:
    """The first window end after ``now_s``."""
    return window_start(now_s, window_s) + window_s


def ends_between(after_s: float, until_s: float, window_s: int) -> range:
    """All window ends e with ``after_s < e <= until_s``, in order."""
    first = window_end(after_s, window_s)
    return range(first, math.floor(until_s) + 1, window_s)
