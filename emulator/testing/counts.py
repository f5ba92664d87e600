"""How many: exact numbers and ranges, and those that no record can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.testing.refusal import refused

_SMALLEST_HEADER = 20
"""Bytes of an IPv4 header: no packet has fewer."""


@dataclass(frozen=True)
class Count:
    """A number from ``low`` to ``high``, both included; None where there is no bound."""

    low: int | None = None
    high: int | None = None

    def __contains__(self, number: int) -> bool:
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)

    def __str__(self) -> str:
        if self.low == self.high:
            return str(self.low)
        if self.high is None:
            return f"at least {self.low}"
        return f"at most {self.high}" if self.low is None else f"{self.low} to {self.high}"


def at_least(low: int) -> Count:
    return Count(low)


def at_most(high: int) -> Count:
    return Count(None, high)


def between(low: int, high: int) -> Count:
    """From ``low`` to ``high``, both included."""
    return Count(low, high)


def counted(name: str, wanted: int | Count | None) -> Count:
    if wanted is None:
        return Count()
    count = wanted if isinstance(wanted, Count) else Count(wanted, wanted)
    for bound in (count.low, count.high):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise refused(f"{name}={wanted!r}: give a whole number, at_least, at_most or between", wanted)
    if (count.high is not None and count.high < 1) or (
        count.low is not None and count.high is not None and count.low > count.high
    ):
        raise refused(f"{name}={count}: no record has so many; where there is to be none say never()", wanted)
    return count


def check_possible(counts: Mapping[str, Count]) -> None:
    fewest, most = counts["packets"].low, counts["bytes"].high
    if fewest is not None and most is not None and most < fewest * _SMALLEST_HEADER:
        raise refused(
            f"packets={counts['packets']}, bytes={counts['bytes']}: can never hold, an IP packet has "
            f"{_SMALLEST_HEADER} bytes at least",
            most,
        )
