"""How far each delivery of a store has come: kept with the rows, so that a kill leaves both or neither.

A delivery's position is the first row that it has not delivered. What it is about to deliver is planned before: a plan
ends at a row, so whoever finishes it after a kill delivers the very same rows. A position is moved in one transaction
with what was noted of the objects that hold the rows before it, and of the rows that the target will never take.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol


@dataclass(frozen=True, order=True)
class Position:
    """A row by its batch and its place in it; rows are in this order as they were written."""

    batch: int = 0
    row: int = 0


@dataclass(frozen=True)
class Plan:
    """The rows from a delivery's position to ``until``, which is not among them, as one shipment at ``at_s``."""

    until: Position
    at_s: float


@dataclass(frozen=True)
class Shipped:
    """An object that holds delivered records: its name at the target, lab time, and how much it is."""

    name: str
    at_s: float
    records: int
    size: int


@dataclass(frozen=True)
class DeadLetter:
    """A record that a target will never take, and why.

    ``id``      as ``Record.id`` has it
    ``record``  ``__time__`` and the fields, as they were to be delivered
    """

    id: str
    at_s: float
    message: str
    record: dict[str, Any]


@dataclass(frozen=True)
class StoredDelivery:
    """``definition`` is what was asked for, in JSON; ``records`` and ``size`` are what was delivered so far."""

    number: int
    topic: int
    name: str
    definition: str
    position: Position
    plan: Plan | None = None
    paused: bool = False
    records: int = 0
    size: int = 0


class Checkpoints(Protocol):
    """Every change is durable when its call returns. Thread-safe."""

    def all(self) -> list[StoredDelivery]: ...

    def add(self, topic: int, name: str, definition: str, position: Position) -> StoredDelivery: ...

    def define(self, delivery: int, definition: str) -> None: ...

    def pause(self, delivery: int, paused: bool) -> None: ...

    def plan(self, delivery: int, plan: Plan) -> None: ...

    def move(
        self,
        delivery: int,
        to: Position,
        records: int,
        size: int,
        shipped: Sequence[Shipped],
        dead: Sequence[DeadLetter] = (),
    ) -> None:
        """Everything before ``to`` is delivered, or among the dead letters; there is no plan any more."""

    def remove(self, delivery: int) -> None: ...

    def held(self, topic: int) -> Position | None:
        """The first row that some delivery has yet to deliver; None where there is no delivery."""

    def shipped(self, delivery: int, until_s: float = math.inf) -> list[Shipped]:
        """Objects that were delivered, by ``until_s`` at the latest, and have not been forgotten, oldest first."""

    def forget(self, delivery: int, shipped: Sequence[Shipped]) -> None: ...

    def dead_letters(self, delivery: int) -> list[DeadLetter]:
        """In the order in which they were to be delivered."""


_COLUMNS = "number, topic, name, definition, batch, row, plan_batch, plan_row, plan_s, paused, records, size"


class FolderCheckpoints:
    """Those of a folder, in its manifest; ``transaction`` opens one, where the folder may be written."""

    def __init__(
        self,
        read: Callable[..., list[tuple[Any, ...]]],
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]] | None = None,
    ) -> None:
        self._read = read
        self._transaction = transaction

    def all(self) -> list[StoredDelivery]:
        return [_stored(row) for row in self._read(f"SELECT {_COLUMNS} FROM deliveries ORDER BY number")]

    def add(self, topic: int, name: str, definition: str, position: Position) -> StoredDelivery:
        with self._changed() as changed:
            added = changed.execute(
                "INSERT INTO deliveries (topic, name, definition, batch, row) VALUES (?, ?, ?, ?, ?)",
                (topic, name, definition, position.batch, position.row),
            )
        assert added.lastrowid is not None
        return StoredDelivery(added.lastrowid, topic, name, definition, position)

    def define(self, delivery: int, definition: str) -> None:
        self._set(delivery, "definition = ?", definition)

    def pause(self, delivery: int, paused: bool) -> None:
        self._set(delivery, "paused = ?", paused)

    def plan(self, delivery: int, plan: Plan) -> None:
        values = (plan.until.batch, plan.until.row, plan.at_s)
        self._set(delivery, "plan_batch = ?, plan_row = ?, plan_s = ?", *values)

    def move(
        self,
        delivery: int,
        to: Position,
        records: int,
        size: int,
        shipped: Sequence[Shipped],
        dead: Sequence[DeadLetter] = (),
    ) -> None:
        with self._changed() as changed:
            changed.execute(
                "UPDATE deliveries SET batch = ?, row = ?, plan_batch = NULL, plan_row = NULL, plan_s = NULL,"
                " records = records + ?, size = size + ? WHERE number = ?",
                (to.batch, to.row, records, size, delivery),
            )
            changed.executemany(
                "INSERT OR REPLACE INTO shipped VALUES (?, ?, ?, ?, ?)",
                [(delivery, one.name, one.at_s, one.records, one.size) for one in shipped],
            )
            changed.executemany(
                "INSERT INTO dead_letters (delivery, id, at_s, message, record) VALUES (?, ?, ?, ?, ?)",
                [(delivery, one.id, one.at_s, one.message, json.dumps(one.record)) for one in dead],
            )

    def remove(self, delivery: int) -> None:
        with self._changed() as changed:
            changed.execute("DELETE FROM shipped WHERE delivery = ?", (delivery,))
            changed.execute("DELETE FROM dead_letters WHERE delivery = ?", (delivery,))
            changed.execute("DELETE FROM deliveries WHERE number = ?", (delivery,))

    def held(self, topic: int) -> Position | None:
        found = self._read("SELECT batch, row FROM deliveries WHERE topic = ? ORDER BY batch, row LIMIT 1", topic)
        return Position(*found[0]) if found else None

    def shipped(self, delivery: int, until_s: float = math.inf) -> list[Shipped]:
        wanted = "SELECT name, at_s, records, size FROM shipped WHERE delivery = ? AND at_s <= ? ORDER BY at_s, name"
        rows = self._read(wanted, delivery, until_s)
        return [Shipped(*row) for row in rows]

    def forget(self, delivery: int, shipped: Sequence[Shipped]) -> None:
        with self._changed() as changed:
            names = [(delivery, one.name) for one in shipped]
            changed.executemany("DELETE FROM shipped WHERE delivery = ? AND name = ?", names)

    def dead_letters(self, delivery: int) -> list[DeadLetter]:
        rows = self._read(
            "SELECT id, at_s, message, record FROM dead_letters WHERE delivery = ? ORDER BY number", delivery
        )
        return [DeadLetter(identity, at_s, message, json.loads(record)) for identity, at_s, message, record in rows]

    def _set(self, delivery: int, what: str, *values: object) -> None:
        with self._changed() as changed:
            changed.execute(f"UPDATE deliveries SET {what} WHERE number = ?", (*values, delivery))

    def _changed(self) -> AbstractContextManager[sqlite3.Connection]:
        assert self._transaction is not None  # who only reads is refused by the log service
        return self._transaction()


def _stored(row: tuple[Any, ...]) -> StoredDelivery:
    number, topic, name, definition, batch, at, plan_batch, plan_row, plan_s, paused, records, size = row
    plan = None if plan_batch is None else Plan(Position(plan_batch, plan_row), plan_s)
    return StoredDelivery(number, topic, name, definition, Position(batch, at), plan, bool(paused), records, size)


class MemoryCheckpoints:
    """Those of a store in memory, gone with it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stored: dict[int, StoredDelivery] = {}
        self._shipped: dict[int, dict[str, Shipped]] = {}
        self._dead: dict[int, list[DeadLetter]] = {}
        self._numbers = count(1)

    def all(self) -> list[StoredDelivery]:
        with self._lock:
            return list(self._stored.values())

    def add(self, topic: int, name: str, definition: str, position: Position) -> StoredDelivery:
        with self._lock:
            stored = StoredDelivery(next(self._numbers), topic, name, definition, position)
            self._stored[stored.number], self._shipped[stored.number], self._dead[stored.number] = stored, {}, []
            return stored

    def define(self, delivery: int, definition: str) -> None:
        self._set(delivery, definition=definition)

    def pause(self, delivery: int, paused: bool) -> None:
        self._set(delivery, paused=paused)

    def plan(self, delivery: int, plan: Plan) -> None:
        self._set(delivery, plan=plan)

    def move(
        self,
        delivery: int,
        to: Position,
        records: int,
        size: int,
        shipped: Sequence[Shipped],
        dead: Sequence[DeadLetter] = (),
    ) -> None:
        with self._lock:
            now = self._stored[delivery]
            self._set(delivery, position=to, plan=None, records=now.records + records, size=now.size + size)
            self._shipped[delivery].update({one.name: one for one in shipped})
            self._dead[delivery] += dead

    def remove(self, delivery: int) -> None:
        with self._lock:
            del self._stored[delivery], self._shipped[delivery], self._dead[delivery]

    def held(self, topic: int) -> Position | None:
        with self._lock:
            return min((one.position for one in self._stored.values() if one.topic == topic), default=None)

    def shipped(self, delivery: int, until_s: float = math.inf) -> list[Shipped]:
        with self._lock:
            return [one for one in self._shipped[delivery].values() if one.at_s <= until_s]

    def forget(self, delivery: int, shipped: Sequence[Shipped]) -> None:
        with self._lock:
            for one in shipped:
                self._shipped[delivery].pop(one.name, None)

    def dead_letters(self, delivery: int) -> list[DeadLetter]:
        with self._lock:
            return list(self._dead[delivery])

    def _set(self, delivery: int, **values: Any) -> None:
        with self._lock:
            self._stored[delivery] = replace(self._stored[delivery], **values)
