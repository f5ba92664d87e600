"""All deliveries of a log service."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from emulator.errors import AlreadyExists, InvalidValue
from emulator.logs.checkpoints import Position
from emulator.logs.delivery.delivery import Delivery
from emulator.logs.delivery.faults import TargetFaults
from emulator.logs.delivery.kinds import KINDS, defined, definition_of
from emulator.logs.delivery.target import Target
from emulator.logs.meter import measured
from emulator.logs.refusal import refuse

if TYPE_CHECKING:
    from emulator.logs.service import LogService
    from emulator.logs.topic import Topic

Start = Literal["now", "earliest"]

NAME_LENGTH = 255
"""Most characters of a delivery's name (tencent.md §7)."""


class Deliveries:
    """Made when the service first needs it; what an earlier process asked for goes on."""

    def __init__(self, service: LogService) -> None:
        self._service = service
        self._lock = threading.RLock()
        self._all: dict[int, Delivery] = {}
        self._now_s = -math.inf
        self.faults = TargetFaults()
        for topic in service.topics():
            self._share(topic)

    def _share(self, topic: Topic) -> None:
        """The deliveries of a topic as they are kept by now, by another process where this one only reads."""
        kept = {
            stored.number: stored for stored in self._service.store.checkpoints.all() if stored.topic == topic.number
        }
        for delivery in [one for one in self._all.values() if one.topic is topic and one.number not in kept]:
            self._all.pop(delivery.number).close(deleted=True)
        for number, stored in kept.items():
            if number in self._all:
                self._all[number].share(stored)
                continue
            target, secrets, flow_logs = defined(stored.definition)
            delivery = self._all[number] = Delivery(self._service, topic, stored, target, flow_logs, waits=True)
            if secrets and not self._service.read_only:
                delivery.wait_for(secrets)

    def of(self, topic: Topic) -> list[Delivery]:
        with self._lock:
            if self._service.read_only:
                self._share(topic)
            return [delivery for delivery in self._all.values() if delivery.topic is topic]

    def add(
        self, topic: Topic, to: Target, name: str | None, flow_logs: Iterable[object] | None, start: Start
    ) -> Delivery:
        """The topic's lock is held: what is written from now on is behind its start."""
        profile = topic.profile
        if not isinstance(to, Target):
            message = f"{topic.name}: deliver(to={to!r}): no target; there are {', '.join(sorted(_names()))}"
            raise refuse(InvalidValue, profile, "delivery.setting", message, object=topic.id, value=to)
        to.check(profile)
        if start not in ("now", "earliest"):
            message = f"{topic.name}: deliver(start={start!r}): 'now' or 'earliest'"
            raise refuse(InvalidValue, profile, "delivery.setting", message, object=topic.id, value=start)
        wanted = [] if flow_logs is None else self._flow_logs(topic, flow_logs)
        with self._lock:
            store = self._service.writable()
            name = self._name(topic, to, name)
            position = Position()
            if start == "now":
                position = Position(store.scan(topic.number, None, None, expired=True).highest + 1)
            stored = store.checkpoints.add(topic.number, name, definition_of(to, wanted), position)
            now_s = max(self._service.now(), self._now_s)
            delivery = Delivery(self._service, topic, stored, to, wanted, waits=start == "earliest", now_s=now_s)
            self._all[stored.number] = delivery
            return delivery

    def remove(self, delivery: Delivery) -> None:
        delivery.remove()  # may wait for what is under way, while others write
        with self._lock:
            self._all.pop(delivery.number, None)

    def forget(self, topic: Topic) -> None:
        """The topic is gone, with what is kept of its deliveries."""
        with self._lock:
            gone = [delivery for delivery in self._all.values() if delivery.topic is topic]
            for delivery in gone:
                del self._all[delivery.number]
        for delivery in gone:
            delivery.close(deleted=True)

    def arrived(self, topic: Topic, rows: pa.Table) -> None:
        """These were written to the topic."""
        with self._lock:
            if there := self.of(topic):
                at_s = max(self._service.now(), self._now_s)
                size = measured(rows, None, collected=False).written
                for delivery in there:
                    delivery.arrived(at_s, size)

    def next_moment(self) -> float | None:
        """Lab time of what one of them does next by itself."""
        with self._lock:
            moments = [moment for one in self._all.values() if (moment := one.next_moment()) is not None]
        return min(moments, default=None)

    def settle(self, now_s: float, *, goes_on: bool = False) -> None:
        """Deliver what is due by then; ``goes_on``: it is not yet the end of a step of the clock."""
        with self._lock:
            deliveries = list(self._all.values())
        for delivery in deliveries:
            delivery.settle(now_s)
            if not goes_on:
                delivery.settled()
        with self._lock:
            self._now_s = max(self._now_s, now_s)

    def close(self) -> None:
        for delivery in list(self._all.values()):
            delivery.close()

    def _name(self, topic: Topic, to: Target, name: str | None) -> str:
        taken = {delivery.name for delivery in self.of(topic)}
        if name is None:
            numbers = range(1, len(taken) + 2)
            return next(free for number in numbers if (free := f"{to.kind}-{number}") not in taken)
        if not isinstance(name, str) or not 1 <= len(name) <= NAME_LENGTH or not name.isprintable():
            message = f"{topic.name}: deliver(name={name!r}): 1 to {NAME_LENGTH} characters that are printable"
            raise refuse(InvalidValue, topic.profile, "delivery.name", message, object=topic.id, value=name)
        if name in taken:
            message = f"{topic.name} has a delivery {name} already"
            raise refuse(AlreadyExists, topic.profile, "delivery.duplicate", message, object=topic.id, value=name)
        return name

    def _flow_logs(self, topic: Topic, wanted: Iterable[object]) -> list[str]:
        if isinstance(wanted, str) or not isinstance(wanted, Iterable) or not (logs := list(wanted)):
            message = f"{topic.name}: deliver(flow_logs={wanted!r}): a list of flow logs or of their ids; None for all"
            raise refuse(InvalidValue, topic.profile, "delivery.setting", message, object=topic.id, value=wanted)
        return [self._flow_log(topic, one) for one in logs]

    def _flow_log(self, topic: Topic, wanted: object) -> str:
        found = wanted if isinstance(wanted, str) else getattr(wanted, "id", None)
        if not isinstance(found, str) or not found:
            message = f"{topic.name}: deliver(flow_logs=…): {wanted!r} is no flow log, nor the id of one"
            raise refuse(InvalidValue, topic.profile, "delivery.setting", message, object=topic.id, value=wanted)
        return found


def _names() -> list[str]:
    return [target.__name__ for target in KINDS.values()]
