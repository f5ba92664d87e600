"""``lab.faults``: what goes wrong on order, in the states and with the recovery that the provider documents."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from emulator.errors import InvalidValue
from emulator.resources.base import id_in
from emulator.resources.machines import Eni

if TYPE_CHECKING:
    from emulator.capture.faults import PublishFault, Status
    from emulator.lab import Lab
    from emulator.logs.delivery.delivery import Delivery
    from emulator.logs.delivery.faults import TargetFault
    from emulator.logs.topic import Topic

STATUSES = frozenset(int(status) for status in HTTPStatus if status >= 400)
YEAR_S = 366 * 86_400


class Faults:
    """Faults for the next publishes, windows and deliveries of a lab; each is over when it has happened.

    A publish is what one window brings to one topic. Without ``topic`` the publishes of all topics count.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def late(self, publishes: int = 1, *, minutes: float = 10, topic: Topic | None = None) -> None:
        """The next publishes come so many minutes late."""
        self._order("late", publishes, minutes, topic)

    def duplicated(self, publishes: int = 1, *, topic: Topic | None = None) -> None:
        """The next publishes come twice, each record with another id."""
        self._order("duplicated", publishes, 0, topic)

    def reordered(self, publishes: int = 2, *, topic: Topic | None = None) -> None:
        """The next publishes come in reverse order, all when the last of them is due."""
        self._order("reordered", publishes, 0, topic)

    def cut(self, publishes: int = 1, *, minutes: float = 1, topic: Topic | None = None) -> None:
        """The next publishes are cut in the middle: one half of the records comes, the rest so many minutes later."""
        self._order("cut", publishes, minutes, topic)

    def nodata(self, eni: Eni, windows: int = 1) -> None:
        """The next windows of an ENI say NODATA, whatever passed."""
        self._window("NODATA", eni, windows)

    def skipdata(self, eni: Eni, windows: int = 1) -> None:
        """The next windows of an ENI lose all they counted and say SKIPDATA."""
        self._window("SKIPDATA", eni, windows)

    def target_answers(
        self,
        status: int = 500,
        *,
        requests: int | None = 1,
        retry_after_s: float = 0,
        delivery: Delivery | None = None,
    ) -> None:
        """Targets of deliveries answer the next requests with this HTTP status; None: until they are mended.

        408, 429 and 5xx are tried again in lab time, not before ``retry_after_s``. Any other 4xx leaves the delivery
        ``failed`` until its ``restart()``. Without ``delivery`` the requests of all count.
        """
        if isinstance(status, bool) or not isinstance(status, int) or status not in STATUSES:
            raise self._refused("status", status, "an HTTP status from 400 to 599 that has a name")
        if not _is_time(retry_after_s):
            raise self._refused("retry_after_s", retry_after_s, "lab seconds from 0 to a year")
        self._target("answer", requests, delivery, status=status, retry_after_s=retry_after_s)

    def target_hangs(self, *, requests: int | None = 1, delivery: Delivery | None = None) -> None:
        """Targets take nothing and answer nothing, so that the request is given up."""
        self._target("hang", requests, delivery)

    def target_closes(self, *, requests: int | None = 1, delivery: Delivery | None = None) -> None:
        """Targets take what comes and close the connection before they say so: it is sent again."""
        self._target("close", requests, delivery)

    def mend_targets(self, delivery: Delivery | None = None) -> None:
        """The target of this delivery works again, or those of all do."""
        self._lab._check_open()
        number = None if delivery is None else self._number(delivery)
        with self._lab._lock:
            self._lab.logs.deliveries.faults.mend(number)

    def withdraw_authorization(self) -> None:
        """The service may no longer write to the topics of the account: what falls due meanwhile never arrives."""
        self._lab._check_open()
        with self._lab._lock:
            self._lab._collector.faults.authorized = False

    def restore_authorization(self) -> None:
        """It may again; what falls due from now on arrives."""
        self._lab._check_open()
        with self._lab._lock:
            self._lab._collector.faults.authorized = True

    @property
    def authorized(self) -> bool:
        return self._lab._collector.faults.authorized

    def cancel(self) -> None:
        """No faults are left on order; publishes that wait for another to change places with come now."""
        self._lab._check_open()
        with self._lab._lock:
            self._lab._collector.faults.cancel(self._lab._append)
            self._lab.logs.deliveries.faults.mend()

    def __repr__(self) -> str:
        faults = self._lab._collector.faults
        orders = [f"{order.fault}: {order.left}" for order in faults.orders]
        orders += map(str, self._lab.logs.deliveries.faults.orders)
        orders += [f"{eni_id}: {' '.join(left)}" for eni_id, left in faults.windows.items() if left]
        return f"<Faults {', '.join([*orders, *([] if faults.authorized else ['unauthorized'])]) or 'none'}>"

    def _order(self, fault: PublishFault, publishes: int, minutes: float, topic: Topic | None) -> None:
        from emulator.capture.faults import Order

        self._lab._check_open()
        count = self._count("publishes", publishes)
        if not _is_time(minutes, unit_s=60):
            raise self._refused("minutes", minutes, "how long to put off: a number from 0 to a year")
        topic_id = None if topic is None else self._lab._topic("faults", topic).id
        with self._lab._lock:
            self._lab._collector.faults.orders.append(Order(fault, count, round(minutes * 60), topic_id))

    def _window(self, status: Status, eni: Eni, windows: int) -> None:
        self._lab._check_open()
        eni_id = id_in(self._lab, eni, Eni, f"faults.{status.lower()}")
        count = self._count("windows", windows)
        with self._lab._lock:
            self._lab._collector.faults.windows[eni_id] += [status] * count

    def _target(self, fault: TargetFault, requests: int | None, delivery: Delivery | None, **more: Any) -> None:
        from emulator.logs.delivery.faults import TargetOrder

        self._lab._check_open()
        count = None if requests is None else self._count("requests", requests)
        number = None if delivery is None else self._number(delivery)
        with self._lab._lock:
            self._lab.logs.deliveries.faults.orders.append(TargetOrder(fault, count, number, **more))

    def _number(self, delivery: Delivery) -> int:
        """The number of a delivery of this lab."""
        if not any(delivery in topic.deliveries for topic in self._lab.logs.topics()):
            raise self._refused("delivery", delivery, "one of this lab that was not deleted: topic.deliveries")
        return delivery.number

    def _count(self, name: str, value: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            raise self._refused(name, value, "a whole number from 1 to 1,000,000")
        return value

    def _refused(self, name: str, value: object, wanted: str) -> InvalidValue:
        message = f"faults: {name}={value!r}: {wanted}"
        return self._lab.profile.refusal(InvalidValue, "fault", message, value=value)


def _is_time(value: object, *, unit_s: int = 1) -> bool:
    """Whether this is a number of seconds, or of units of so many, from 0 to a year."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value * unit_s < YEAR_S
