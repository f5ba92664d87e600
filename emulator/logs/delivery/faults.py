"""What goes wrong on order at targets: they answer with an error, hang, or close the connection before they answer.

A fault takes the place of a request, whatever the kind of target: nothing has to listen, and nobody waits in wall time.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from emulator.logs.delivery.http import error_of
from emulator.logs.delivery.target import Sender, Sent, Shipment, TargetDown

TargetFault = Literal["answer", "hang", "close"]


@dataclass
class TargetOrder:
    """A fault for the next ``left`` requests, or until it is mended, of one delivery by its number, or of any.

    ``status``, ``retry_after_s``  of what answers
    """

    fault: TargetFault
    left: int | None
    delivery: int | None = None
    status: int = 500
    retry_after_s: float = 0

    def __str__(self) -> str:
        what = f"answer {self.status}" if self.fault == "answer" else self.fault
        return f"{what}: {'until mended' if self.left is None else self.left}"


class TargetFaults:
    """Orders, and the sending that they change."""

    def __init__(self) -> None:
        self.orders: list[TargetOrder] = []

    def send(self, delivery: int, sender: Sender, shipment: Shipment) -> Sent:
        """As ``sender.send``, unless it is ordered otherwise."""
        order = next((one for one in self.orders if one.delivery in (None, delivery)), None)
        if order is None:
            return sender.send(shipment)
        if order.left is not None:
            order.left -= 1
            if order.left == 0:
                self.orders.remove(order)
        match order.fault:
            case "answer":
                phrase = HTTPStatus(order.status).phrase
                raise error_of(order.status, f"HTTP {order.status}: {phrase}, on order", order.retry_after_s)
            case "hang":
                raise TargetDown("no answer in time, on order")
            case "close":
                sender.send(shipment)  # it has arrived, and nobody here knows
                raise TargetDown("the connection was closed before an answer, on order")

    def mend(self, delivery: int | None = None) -> None:
        """The target of this delivery works again; None: all do."""
        self.orders = [one for one in self.orders if delivery is not None and one.delivery != delivery]
