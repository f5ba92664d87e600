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
        amount = "no price found" if self.usd is None else f"{self.usd:.6f} USD"
        return (
            f"{self.price.item}: {self.billed:.6f} {self.price.unit}, {amount} ({self.price.source}, {self.price.date})"
        )


class Bill(list[Line]):
    """The lines of a bill."""

    @property
    def usd(self) -> float:
        """The sum of the lines that have a price."""
        return sum(line.usd for line in self if line.usd is not None)

    def __str__(self) -> str:
        return "\n".join([*map(str, self), f"total: {self.usd:.6f} USD"])


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
