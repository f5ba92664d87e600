"""What goes wrong on order: publishes that come late, twice, in another order or in pieces, windows that saw nothing or
had no room, and a service that may no longer write.

A publish is what one window brings to one topic: an entry of the spool. What is put off stays in the spool, on disk
where there is a folder, so that a kill while a fault is on loses nothing: the next lab publishes it plainly.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from emulator.capture.ledger import Ledger, Part
from emulator.capture.spool import Entry, Spool
from emulator.errors import NotFound
from emulator.fabric.accounts import Harvest

PublishFault = Literal["late", "duplicated", "reordered", "cut"]
Status = Literal["NODATA", "SKIPDATA"]

Append = Callable[[str, str, pa.Table, str, int], None]
"""``append(topic_id, form, table, key, due_s)`` returns when the topic has it for good."""


@dataclass
class Order:
    """A fault for the next ``left`` publishes, into ``topic_id`` or any; ``by_s`` is how long what is put off waits."""

    fault: PublishFault
    left: int
    by_s: int
    topic_id: str | None


class Faults:
    """Orders, and the publication that they change. The lab's lock is held around it."""

    def __init__(self, spool: Spool) -> None:
        self.orders: list[Order] = []
        self.windows: dict[str, list[Status]] = defaultdict(list)
        self.authorized = True
        self._spool = spool
        self._put_off: set[str] = set()  # keys of what was late or cut already
        self._held: dict[int, list[Entry]] = {}  # by order, until so many came that they can change places

    def publish(self, now_s: float, append: Append) -> None:
        """Hand over what has fallen due, each entry once unless it is ordered otherwise."""
        while due := self._spool.due(now_s):
            for entry in due:
                self._publish(entry, append)

    def cancel(self, append: Append) -> None:
        """No more faults; what was held back is published."""
        self.orders.clear()
        self.windows.clear()
        for held in self._held.values():
            for entry in held:
                self._publish(entry, append)
        self._held.clear()

    def ordered(self, topic_id: str) -> int:
        """For how many publishes of a topic there are orders."""
        return sum(order.left for order in self.orders if order.topic_id in (None, topic_id))

    def seen(self, window: Sequence[Ledger]) -> list[Ledger]:
        """A window of one ENI as it is to be told: what was counted is gone where that was ordered."""
        status = self._next_status(window[0].eni_id)
        if status is None:
            return list(window)
        packets = sum(int(part.harvest.flows["packets"].sum()) for ledger in window for part in ledger.parts)
        told = [replace(ledger, parts=[_empty(part) for part in ledger.parts]) for ledger in window]
        if status == "SKIPDATA" and told[0].parts:
            logs = frozenset[str]().union(*(part.flow_logs for ledger in told for part in ledger.parts))
            flows = told[0].parts[0].harvest.flows
            told[0].parts.append(Part(Harvest(flows, max(1, packets)), logs))
        return told

    def statuses(self, eni_id: str, windows: int) -> list[str]:
        """Of windows in which no packet passed."""
        return [self._next_status(eni_id) or "NODATA" for _ in range(windows)] if eni_id in self.windows else []

    def _next_status(self, eni_id: str) -> Status | None:
        left = self.windows.get(eni_id)
        return left.pop(0) if left else None

    def _publish(self, entry: Entry, append: Append) -> None:
        if not self.authorized:
            self._spool.done(entry)  # the service may not write: it is gone, as at the provider
            return
        order = None if entry.key in self._put_off else self._order(entry)
        if order is None:
            self._give(entry, append)
            return
        order.left -= 1
        if order.left == 0:
            self.orders.remove(order)
        match order.fault:
            case "late":
                self._again(entry, order.by_s)
            case "duplicated":
                self._append(replace(entry, key=f"{entry.key}-again"), append)
                self._give(entry, append)
            case "cut" if entry.table.num_rows == 1:
                self._again(entry, order.by_s)
            case "cut":
                first, rest = self._spool.split(entry, entry.table.num_rows // 2, entry.due_s + order.by_s)
                self._put_off.add(rest.key)
                self._give(first, append)
            case "reordered":
                held = self._held.setdefault(id(order), [])
                held.append(entry)
                self._spool.hold(entry)
                if order.left == 0:
                    for one in reversed(self._held.pop(id(order))):
                        self._give(one, append)

    def _order(self, entry: Entry) -> Order | None:
        return next((order for order in self.orders if order.topic_id in (None, entry.topic_id)), None)

    def _again(self, entry: Entry, by_s: int) -> None:
        """Put it off; it is in the spool under its new time before it leaves it under the old one."""
        self._put_off.add(entry.key)
        self._spool.put(entry.due_s + by_s, entry.topic_id, entry.form, entry.table, entry.key)
        self._spool.done(entry)

    def _give(self, entry: Entry, append: Append) -> None:
        self._append(entry, append)
        self._spool.done(entry)
        self._put_off.discard(entry.key)

    def _append(self, entry: Entry, append: Append) -> None:
        # Who deletes the topic of a flow log wants no records: it goes on, and they are gone as the topic is.
        with contextlib.suppress(NotFound):
            append(entry.topic_id, entry.form, entry.table, entry.key, entry.due_s)


def _empty(part: Part) -> Part:
    return Part(Harvest(part.harvest.flows[:0], 0), part.flow_logs)
