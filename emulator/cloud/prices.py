"""What a provider charges for, as data: each price with where it stands and of what day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Metered = Literal["collected", "written", "indexed", "read", "stored_days", "indexed_days"]


@dataclass(frozen=True)
class Price:
    """One line of a bill, in USD for a GB (2**30 bytes), or for a GB that lies there for a day.

    ``of``      what is metered
    ``share``   what of it is billed: logs are compressed on their way
    ``free_gb`` of a month
    ``tiers``   (up to how many GB, price); the last has no end, None. Empty: no price was found, the line has no amount
    """

    item: str
    of: Metered
    tiers: tuple[tuple[float | None, float], ...]
    source: str
    date: str
    share: float = 1.0
    free_gb: float = 0.0

    @property
    def unit(self) -> str:
        return "GB-day" if self.of.endswith("_days") else "GB"

    def amount(self, billed: float) -> float | None:
        """USD for so many units; None where no price was found."""
        if not self.tiers:
            return None
        total, below = 0.0, 0.0
        for bound, price in self.tiers:
            above = billed if bound is None else min(billed, bound)
            total += max(0.0, above - below) * price
            below = above
        return total
