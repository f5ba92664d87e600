"""One delivery: a topic's records, in order, to one target, with the states that a user sees.

::

    running ──TargetDown──► retrying ──it worked──► running
       │ ▲                     │
       │ └─────restart()────── failed ◄── TargetRefuses
       └──stop()──► paused ──restart()──► running

Each step is durable before the next: the plan (which rows, when), the shipment at the target, the position behind it.
"""

from __future__ import annotations

import collections
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from emulator.errors import InvalidValue, LabError, NotFound
from emulator.logs.checkpoints import DeadLetter, Plan, Position, Shipped, StoredDelivery
from emulator.logs.delivery import pending
from emulator.logs.delivery.kinds import definition_of
from emulator.logs.delivery.target import Sender, Shipment, Target, TargetDown, TargetRefuses, visible
from emulator.logs.meter import measured
from emulator.logs.refusal import refuse

if TYPE_CHECKING:
    from emulator.logs.service import LogService
    from emulator.logs.topic import Topic

State = Literal["running", "retrying", "failed", "paused"]

RETRIES_S = (1, 2, 5, 15, 30, 60)
"""Lab seconds before the next try, where the provider does not say; the last again and again."""

PATIENCE_S = 2.0
"""Wall time that a target which does not answer may cost in one step of the clock."""


@dataclass(frozen=True)
class Lag:
    """What was written and not delivered: ``records``, of all flow logs, and for how long the oldest has waited."""

    records: int
    seconds: float


class Delivery:
    """What ``topic.deliver`` gives. Thread-safe.

    ``error``  what the target said last, None where all is well
    ``code``   the provider's code for it
    """

    def __init__(
        self,
        service: LogService,
        topic: Topic,
        stored: StoredDelivery,
        target: Target,
        flow_logs: Sequence[str],
        *,
        waits: bool,
        now_s: float = -math.inf,
    ) -> None:
        """``waits``: there may be rows from its position on, which have waited long enough.

        ``now_s`` is when it begins; left out, with the first step of the clock.
        """
        self.name = stored.name
        self.topic = topic
        self.target = target
        self.flow_logs = tuple(flow_logs)
        self.number = stored.number
        self.error: str | None = None
        self.code: str | None = None
        self._service = service
        self._stored = stored
        self._sender: Sender | None = None
        self._shipment: Shipment | None = None
        self._lock = threading.RLock()
        self._state: State = "paused" if stored.paused else "running"
        self._arrivals: collections.deque[tuple[float, int]] = collections.deque()
        self._waiting_s: float | None = -math.inf if waits else None
        self._waiting = 0
        self._tries = 0
        self._retry_s: float | None = None
        self._now_s = now_s
        self._spent_s = 0.0
        self._lacks: Sequence[str] = ()
        self._deleted = False

    def __repr__(self) -> str:
        return f"<Delivery {self.name} of {self.topic.logset}/{self.topic.name}, {self.state}>"

    @property
    def id(self) -> str:
        return f"{self.topic.id}/{self.name}"

    @property
    def state(self) -> State:
        return self._state

    @property
    def records(self) -> int:
        """How many were delivered so far."""
        return self._known().records

    @property
    def size(self) -> int:
        """Bytes that went out so far."""
        return self._known().size

    @property
    def checkpoint(self) -> tuple[int, int]:
        """The batch, and the row in it, before which everything is delivered."""
        position = self._known().position
        return position.batch, position.row

    @property
    def retry_at(self) -> float | None:
        """Lab time of the next try, where the last one failed."""
        return self._retry_s if self._state == "retrying" else None

    @property
    def lag(self) -> Lag:
        """How far it is behind what was written."""
        with self._lock:
            self._check_there()
            stored = self._known()
            records = pending.count(self._service.store, self.topic.number, stored.position)
            since = stored.plan.at_s if stored.plan else self._oldest()
            waits = 0.0 if since is None or not math.isfinite(since) else max(0.0, self._service.now() - since)
            return Lag(records, waits if records else 0.0)

    @property
    def objects(self) -> list[Shipped]:
        """The objects that hold what was delivered, as long as their lifetime is not over; files and buckets only."""
        self._check_there()
        return self._service.store.checkpoints.shipped(self.number)

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Records that the target will never take, each with what it said; they are kept as long as the delivery."""
        self._check_there()
        return self._service.store.checkpoints.dead_letters(self.number)

    def stop(self) -> None:
        """Deliver nothing until :meth:`restart`; what is written meanwhile waits, whatever the topic's retention."""
        checkpoints = self._service.writable().checkpoints
        with self._lock:
            self._check_there()
            checkpoints.pause(self.number, True)
            self._state, self._retry_s = "paused", None
            self._let_go()

    def restart(self, to: Target | None = None) -> None:
        """Go on where it stood, at the next step of the clock; ``to`` replaces the target, with other keys say."""
        store = self._service.writable()
        with self._lock:
            self._check_there()
            if to is not None:
                self._check_target(to)
                store.checkpoints.define(self.number, definition_of(to, self.flow_logs))
                self.target, self._lacks = to, ()
            elif self._lacks:
                message = f"{self.name}: {_not_kept(self._lacks)}"
                raise refuse(InvalidValue, self.topic.profile, "delivery.setting", message, object=self.name)
            store.checkpoints.pause(self.number, False)
            self._state, self.error, self.code = "running", None, None
            self._tries, self._retry_s = 0, None
            self._waiting_s = -math.inf
            self._let_go()
        self._service.wake()

    def delete(self) -> None:
        """Deliver nothing more; what was delivered stays where it is."""
        self._service.deliveries.remove(self)

    def wait_for(self, secrets: Sequence[str]) -> None:
        """The target came from disk, where these are not kept."""
        self._lacks, self.error = secrets, _not_kept(secrets)
        self.code, self._state = self.topic.profile.code("delivery.denied"), "failed"

    def share(self, stored: StoredDelivery) -> None:
        """It is kept so by now: by another process, which delivers."""
        with self._lock:
            self._stored, self._state = stored, "paused" if stored.paused else "running"

    def _known(self) -> StoredDelivery:
        if self._service.read_only:
            self._reload()
        return self._stored

    # the shipping loop -------------------------------------------------------------------------------

    def arrived(self, at_s: float, size: int) -> None:
        """So many bytes were written to the topic."""
        self._arrivals.append((at_s, size))

    def next_moment(self) -> float | None:
        """Lab time of what it does next by itself."""
        if self._state in ("paused", "failed"):
            return None
        if self._retry_s is not None:
            return self._retry_s
        if self._stored.plan is not None:
            return max(self._stored.plan.at_s, self._now_s)
        since = self._oldest()
        if since is None:
            return None
        full = self._waiting + sum(size for _, size in list(self._arrivals)) >= self.target.size
        return max(since if full else since + self.target.interval_s, self._now_s)

    def settle(self, now_s: float) -> None:
        """Do what is due by ``now_s``, each at its own time."""
        with self._lock:
            if self._now_s == -math.inf:
                self._now_s = now_s
            while (moment := self.next_moment()) is not None and moment <= now_s:
                if self._retry_s is not None and self._spent_s > PATIENCE_S:
                    self._retry_s = now_s + self._backoff_s()
                    break
                self._now_s = max(self._now_s, moment)
                began = time.monotonic()
                self._try(moment)
                if self._retry_s is not None:
                    self._spent_s += time.monotonic() - began
            self._now_s = max(self._now_s, now_s)
            self._expire(now_s)

    def settled(self) -> None:
        """The step of the clock is over: the target has the patience of another."""
        self._spent_s = 0.0

    def remove(self) -> None:
        """For good, once what is under way has ended."""
        with self._lock:
            self._check_there()
            self._service.writable().checkpoints.remove(self.number)
            self.close(deleted=True)

    def close(self, *, deleted: bool = False) -> None:
        with self._lock:
            self._state, self._deleted = "paused", deleted
            self._let_go()

    def _oldest(self) -> float | None:
        if self._waiting_s is not None:
            return self._waiting_s
        return self._arrivals[0][0] if self._arrivals else None

    def _try(self, moment: float) -> None:
        try:
            self._ship(moment)
        except TargetDown as down:
            self._put_off(moment, str(down), down.retry_after_s)
        except LabError as broken:  # the store's own disk
            self._put_off(moment, str(broken))
        except TargetRefuses as refusal:
            self._fail(str(refusal), refusal.reason)
        except Exception as error:  # whatever a target's library lets out: the clock goes on, and it is told
            self._fail(f"{type(error).__name__}: {error}", "delivery.internal")
        else:
            self._state, self.error, self.code = "running", None, None
            self._tries, self._retry_s = 0, None

    def _ship(self, moment: float) -> None:
        checkpoints = self._service.writable().checkpoints
        shipment = self._shipment
        if shipment is None:
            shipment = self._shipment = self._planned(moment)
        plan = self._stored.plan
        if shipment is None or plan is None:
            return
        if self._sender is None:
            self._sender = self.target.opened()
        sent = self._service.deliveries.faults.send(self.number, self._sender, shipment)
        records = shipment.stored.num_rows - len(sent.dead)
        checkpoints.move(self.number, plan.until, records, sent.size, sent.objects, sent.dead)
        self._reload()
        self._shipment = None

    def _planned(self, moment: float) -> Shipment | None:
        """The next shipment, which is on disk as a plan; None where nothing is to be sent."""
        checkpoints = self._service.writable().checkpoints
        plan, position = self._stored.plan, self._stored.position
        self._drain()
        stored = pending.rows(self._service.store, self.topic.number, position, plan.until if plan else None)
        chosen = pending.of_flow_logs(stored, self.flow_logs)
        if plan is None:
            if stored.num_rows == 0:
                self._waiting_s, self._waiting = None, 0
                return None
            chosen, until = self._cut(stored, chosen, moment)
            if chosen.num_rows:
                plan = Plan(until, moment)
                checkpoints.plan(self.number, plan)
        else:
            until = plan.until
        if chosen.num_rows == 0:
            checkpoints.move(self.number, until, 0, 0, ())
            self._reload()
            return None
        self._reload()
        assert plan is not None
        first = pending.first_of(chosen)
        return Shipment(self.topic.id, self.topic.name, self.topic.logset, self.name, chosen, plan.at_s, first)

    def _cut(self, stored: pa.Table, chosen: pa.Table, moment: float) -> tuple[pa.Table, Position]:
        """As much as a shipment may have, and the position behind it."""
        size = measured(visible(chosen), None, collected=False).written
        if size > self.target.size:
            chosen = chosen.slice(0, max(1, chosen.num_rows * self.target.size // size))
            self._waiting = max(0, self._waiting - self.target.size)
            if self._waiting_s is not None and self._waiting_s + self.target.interval_s > moment:
                self._waiting_s = moment
            return chosen, pending.end_of(chosen)
        end = pending.end_of(stored)
        if stored.num_rows < pending.ROWS_MOST:
            self._waiting_s, self._waiting = None, 0
            end = Position(end.batch + 1)  # a batch is there as a whole
        return chosen, end

    def _drain(self) -> None:
        while self._arrivals:
            at_s, size = self._arrivals.popleft()
            self._waiting += size
            if self._waiting_s is None:
                self._waiting_s = at_s

    def _put_off(self, moment: float, error: str, least_s: float = 0) -> None:
        self.error, self.code = error, self.topic.profile.code("delivery.internal")
        self._tries += 1
        limits = self.topic.profile.shipping.get(self.target.kind)
        if limits is not None and limits.gives_up and self._tries > len(limits.retries_s):
            self._fail(f"{error}; it was tried {self._tries} times, restart() tries again", "delivery.internal")
        else:
            self._state, self._retry_s = "retrying", moment + max(least_s, self._backoff_s())

    def _backoff_s(self) -> float:
        limits = self.topic.profile.shipping.get(self.target.kind)
        waits = RETRIES_S if limits is None else limits.retries_s
        return waits[min(self._tries, len(waits)) - 1]

    def _fail(self, error: str, reason: str) -> None:
        self.error, self.code = error, self.topic.profile.code(reason)
        self._state, self._retry_s = "failed", None
        self._let_go()

    def _expire(self, now_s: float) -> None:
        """Remove objects that are older than the target keeps them."""
        days = self.target.lifetime_days
        reached = self._state in ("running", "paused") and not self._deleted and not self._lacks
        if days is None or not reached or self._spent_s > PATIENCE_S:
            return
        began = time.monotonic()
        try:
            over = self._service.store.checkpoints.shipped(self.number, now_s - days * 86_400)
            if over:
                if self._sender is None:
                    self._sender = self.target.opened()
                self._sender.remove(over)
                self._service.writable().checkpoints.forget(self.number, over)
                self.error, self.code = None, None
        except Exception as error:  # whatever it is: the clock goes on, and they are removed at a later step
            self.error = f"objects whose time is over are still there: {error}"
            self.code = self.topic.profile.code("delivery.internal")
            self._spent_s += time.monotonic() - began

    def _check_there(self) -> None:
        if self._deleted:
            raise self._gone()

    def _gone(self) -> NotFound:
        return refuse(NotFound, self.topic.profile, "delivery.gone", f"{self.name} was deleted", object=self.name)

    def _check_target(self, to: object) -> None:
        if not isinstance(to, Target):
            message = f"{self.name}: to={to!r} is no target; give a Folder(...), say"
            raise refuse(InvalidValue, self.topic.profile, "delivery.setting", message, value=to)
        to.check(self.topic.profile)

    def _let_go(self) -> None:
        self._shipment = None
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def _reload(self) -> None:
        found = [one for one in self._service.store.checkpoints.all() if one.number == self.number]
        if not found:
            raise self._gone()
        self._stored = found[0]


def _not_kept(secrets: Sequence[str]) -> str:
    return f"{', '.join(secrets)} are not kept on disk: restart(to=…) with them"
