"""What a target is: the interface that each kind of delivery fills in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue
from emulator.logs.checkpoints import DeadLetter, Position, Shipped
from emulator.logs.records import HIDDEN, ROW, SEGMENT
from emulator.logs.refusal import refuse

LONGEST_S = 86_400
"""Of an interval."""

LONGEST_ANSWER_S = 600


class TargetDown(Exception):
    """The target cannot take it now; it is tried again, not before ``retry_after_s`` where the target says so."""

    def __init__(self, message: str, retry_after_s: float = 0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TargetRefuses(Exception):
    """The target will not take it until a person mends something; what and how, the message says.

    ``reason``  ours, of which the profile knows the provider's code: ``delivery.missing`` (bucket, folder, index),
                ``delivery.denied`` (keys, permission) or ``delivery.internal``
    """

    def __init__(self, message: str, reason: str = "delivery.internal") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Shipment:
    """Records that are delivered together; the same, row for row, however often they have to be sent.

    ``stored``  the rows in the order in which they were written, as the store has them
    ``at_s``    lab time at which they were shipped first
    ``first``   the place of the first row; with the topic's id it tells this shipment from every other
    """

    topic_id: str
    topic: str
    logset: str
    delivery: str
    stored: pa.Table
    at_s: float
    first: Position

    @property
    def records(self) -> pa.Table:
        """``__time__`` (unix seconds) and the fields, what has no value is null."""
        return visible(self.stored)

    @property
    def ids(self) -> pa.Array:
        """The id of each record, as ``Record.id`` has it: unique in the log service, the same at every try."""
        batch, row = (pc.cast(self.stored[name], pa.string()) for name in (SEGMENT, ROW))
        return pc.binary_join_element_wise(batch, row, "-").combine_chunks()

    def dead_letter(self, at: int, message: str) -> DeadLetter:
        """The record at this place, which the target will never take."""
        (record,) = self.records.slice(at, 1).to_pylist()
        return DeadLetter(self.ids[at].as_py(), self.at_s, message, record)


def visible(stored: pa.Table) -> pa.Table:
    return stored.select([name for name in stored.column_names if not name.startswith(HIDDEN)])


@dataclass(frozen=True)
class Sent:
    """What a shipment became: bytes that went out, the objects that hold it, where a target has such, and the records
    that it will never take."""

    size: int
    objects: Sequence[Shipped] = ()
    dead: Sequence[DeadLetter] = ()


class Sender(ABC):
    """A target that is being delivered to; called by one thread at a time."""

    @abstractmethod
    def send(self, shipment: Shipment) -> Sent:
        """Deliver all of it, and return when it is there for good, but for what it will never take (``Sent.dead``).

        :raises TargetDown: it did not arrive as a whole, for now
        :raises TargetRefuses: it never will as things are
        """

    def remove(self, objects: Sequence[Shipped]) -> None:
        """Remove objects whose time is over."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of connections; the next ``send`` may open others."""


def secret() -> Any:
    """A field that is never printed and never kept on disk; text, or None."""
    return field(default=None, repr=False, metadata={"secret": True})


@dataclass(frozen=True, kw_only=True)
class Target(ABC):
    """Where a delivery goes, as the user wants it.

    ``interval_s``  lab seconds that the oldest record waits at most; 0: none waits
    ``size``        bytes, as text, after which they wait no longer
    """

    kind: ClassVar[str]
    interval_s: float = 0
    size: int = 5 << 20

    def check(self, profile: Profile) -> None:
        """Refuse what cannot be, with the provider's code."""
        number = isinstance(self.interval_s, int | float) and not isinstance(self.interval_s, bool)
        if not (number and 0 <= self.interval_s <= LONGEST_S):
            raise self.refused(profile, "interval_s", f"lab seconds from 0 to {LONGEST_S}")
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 1:
            raise self.refused(profile, "size", "a number of bytes, at least 1")
        for one in fields(self):
            value = getattr(self, one.name)
            if one.metadata.get("secret") and not (value is None or (isinstance(value, str) and value.isprintable())):
                message = f"{type(self).__name__}: {one.name}: text without line breaks and other control characters"
                raise self.refused_as(profile, message)

    @abstractmethod
    def opened(self) -> Sender:
        """A sender, which connects when it first sends."""

    @property
    def lifetime_days(self) -> float | None:
        """Lab days after which delivered objects are removed; None: never."""
        return None

    def to_fields(self) -> dict[str, Any]:
        """What is kept on disk: everything but the secrets."""
        return {one.name: getattr(self, one.name) for one in fields(self) if not one.metadata.get("secret")}

    @property
    def secrets(self) -> list[str]:
        """The names of the secrets that it has."""
        return [one.name for one in fields(self) if one.metadata.get("secret") and getattr(self, one.name) is not None]

    def refused(self, profile: Profile, name: str, wanted: str) -> InvalidValue:
        value = getattr(self, name)
        return self.refused_as(profile, f"{type(self).__name__}: {name}={value!r}: {wanted}", value)

    def refused_as(self, profile: Profile, message: str, value: object = None) -> InvalidValue:
        """A refusal that shows no more than it says: of secrets, say."""
        return refuse(InvalidValue, profile, "delivery.setting", message, value=value)


@dataclass(frozen=True, kw_only=True)
class RemoteTarget(Target):
    """A target that is asked over the network.

    ``timeout_s``  wall time that an answer may take
    """

    size: int = 1 << 20  # what servers take in such a time
    timeout_s: float = 1.5

    def check(self, profile: Profile) -> None:
        super().check(profile)
        number = isinstance(self.timeout_s, int | float) and not isinstance(self.timeout_s, bool)
        if not (number and 0 < self.timeout_s <= LONGEST_ANSWER_S):
            raise self.refused(profile, "timeout_s", f"seconds, more than 0 and at most {LONGEST_ANSWER_S}")
