"""``lab.faults``: what goes wrong on order, in the states and with the recovery that the provider documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.errors import InvalidValue
from emulator.resources.base import id_in
from emulator.resources.machines import Eni

if TYPE_CHECKING:
    from emulator.capture.faults import PublishFault, Status
    from emulator.lab import Lab
    from emulator.logs.topic import Topic


class Faults:
    """Faults for the next publishes and windows of a lab; each is over when it has happened.

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

    def __repr__(self) -> str:
        faults = self._lab._collector.faults
        orders = [f"{order.fault}: {order.left}" for order in faults.orders]
        orders += [f"{eni_id}: {' '.join(left)}" for eni_id, left in faults.windows.items() if left]
        return f"<Faults {', '.join([*orders, *([] if faults.authorized else ['unauthorized'])]) or 'none'}>"

    def _order(self, fault: PublishFault, publishes: int, minutes: float, topic: Topic | None) -> None:
        from emulator.capture.faults import Order

        self._lab._check_open()
        count = self._count("publishes", publishes)
        good = isinstance(minutes, int | float) and not isinstance(minutes, bool) and 0 <= minutes < 366 * 24 * 60
        if not good:
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

    def _count(self, name: str, value: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            raise self._refused(name, value, "a whole number from 1 to 1,000,000")
        return value

    def _refused(self, name: str, value: object, wanted: str) -> InvalidValue:
        message = f"faults: {name}={value!r}: {wanted}"
        return self._lab.profile.refusal(InvalidValue, "fault", message, value=value)
