"""What a topic would cost at the provider, line by line, by what its meter counted.

Requests, partitions and shards are not metered. What is free in a month and what gets cheaper is taken for one month.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emulator.cloud.prices import Price
from emulator.logs.store import Usage

GB = 1 << 30


@dataclass(frozen=True)
class Line:
    """``quantity`` as metered and ``billed`` of it, in the price's unit; ``usd`` is None where no price was found."""

    price: Price
    quantity: float
    billed: float
    usd: float | None

    def __str__(self) -> str:
        price, unit = self.price, self.price.unit
        parts = [f"{self.quantity:.6f} {unit}"]
        if price.share < 1:
            parts.append(f"{price.share:.0%} of it billed")
        if price.free_gb:
            parts.append(f"{price.free_gb:g} GB free")
        if len(price.tiers) == 1:
            parts.append(f"{price.tiers[0][1]:g} USD for a {unit}")
        amount = "no price found" if self.usd is None else f"{self.usd:.6f} USD"
        return f"{price.item}: {', '.join(parts)}: {amount} ({price.source}, {price.date})"


class Bill(list[Line]):
    """The lines of a bill."""

    @property
    def usd(self) -> float:
        """The sum of the lines that have a price."""
        return sum(line.usd for line in self if line.usd is not None)

    def __str__(self) -> str:
        missing = sum(line.usd is None for line in self)
        total = f"total: {self.usd:.6f} USD" + (f", without {missing} lines that have no price" if missing else "")
        return "\n".join([*map(str, self), total])


def bill_of(prices: Sequence[Price], usages: Iterable[Usage]) -> Bill:
    """The bill for one or several topics."""
    metered = dict.fromkeys(("collected", "written", "indexed", "read", "stored_days", "indexed_days"), 0.0)
    for usage in usages:
        share = usage.indexed / usage.written if usage.written else 0.0
        metered["collected"] += usage.collected
        metered["written"] += usage.written
        metered["indexed"] += usage.indexed
        metered["read"] += usage.read
        metered["stored_days"] += usage.byte_days
        metered["indexed_days"] += usage.byte_days * share
    bill = Bill()
    for price in prices:
        quantity = metered[price.of] / GB
        billed = max(0.0, quantity * price.share - price.free_gb)
        bill.append(Line(price, quantity, billed, price.amount(billed)))
    return bill
