"""Splunk, by its HTTP Event Collector: an event for each record, at the record's own time.

::

    POST /services/collector/event    {"time": 1704067500, "event": {"srcaddr": …}, "sourcetype": …}{"time": …
    POST /services/collector/ack      {"acks": [7]}      where the token wants indexer acknowledgement

Splunk knows no ids: what was under way when something broke may be there twice. An event that it cannot take is kept
as a dead letter, and the rest goes on.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass

import pyarrow as pa

from emulator.cloud.profile import Profile
from emulator.logs.checkpoints import DeadLetter, Position
from emulator.logs.delivery.documents import as_json, as_object, document
from emulator.logs.delivery.formats import joined
from emulator.logs.delivery.http import Answer, Http, HttpTarget, error_of, said
from emulator.logs.delivery.target import (
    Sender,
    Sent,
    Shipment,
    TargetDown,
    TargetRefuses,
    secret,
)
from emulator.logs.engine import ENGINE
from emulator.logs.records import TIME
from emulator.logs.scan import ROWS, quoted

EVENTS = "/services/collector/event"
ACKS = "/services/collector/ack"

SIZE = 1 << 19
"""Splunk Cloud takes a megabyte at once; an event is longer than its record."""

OF_AN_EVENT = frozenset({6, 12, 13})
"""Codes that name one event as the culprit: invalid data format, no event field, a blank one."""

WRONG_INDEX = 7

INDEXED_S, ASK_S = 1.0, 0.05
"""Wall time for which one try waits until events are indexed, and between two looks."""

TRIES = 9
"""So often it is looked whether events are indexed before they are sent again: with the pauses between tries about the
five minutes that Splunk advises to wait."""


@dataclass(frozen=True, kw_only=True)
class Splunk(HttpTarget):
    """Deliver to a Splunk, one event a record.

    ``url``           of the HTTP Event Collector: ``https://splunk.example:8088``
    ``token``         of the collector
    ``index``         None: the token's
    ``source``        None: the topic's name
    ``acknowledged``  for a token with indexer acknowledgement: an event is delivered once it is indexed
    ``ca_file``       certificates that are trusted, where they are not the machine's
    ``timeout_s``     wall time that an answer may take
    """

    kind = "splunk"
    size: int = SIZE
    token: str | None = secret()
    index: str | None = None
    sourcetype: str = "vpcflow"
    source: str | None = None
    acknowledged: bool = False

    def check(self, profile: Profile) -> None:
        super().check(profile)
        if not self.token:
            raise self.refused_as(profile, "Splunk: token is missing; the collector lets nobody in without one")
        for name in ("index", "source", "sourcetype"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value) and (value is not None or name == "sourcetype"):
                raise self.refused(profile, name, "text")

    def opened(self) -> Sender:
        return SplunkSender(self)


@dataclass
class Progress:
    """How far a shipment has come whose end is not known yet: a try goes on where the one before stopped."""

    first: Position
    left: list[int]
    """Places of records that Splunk has not taken."""

    dead: list[DeadLetter]
    acks: list[int]
    size: int = 0
    looks: int = 0


class SplunkSender(Sender):
    def __init__(self, target: Splunk) -> None:
        self.target = target
        headers = {"content-type": "application/json", "authorization": f"Splunk {target.token}"}
        if target.acknowledged:
            headers["x-splunk-request-channel"] = str(uuid.uuid4())
        self._http = Http(target, headers)
        self._progress: Progress | None = None

    def send(self, shipment: Shipment) -> Sent:
        progress = self._progress
        if progress is None or progress.first != shipment.first:
            progress = self._progress = Progress(shipment.first, list(range(shipment.stored.num_rows)), [], [])
        if progress.left:
            lines = events(shipment, self.target)
            while progress.left:
                self._post(shipment, lines, progress, len(progress.left))
        if progress.acks:
            self._indexed(progress)
        self._progress = None
        return Sent(progress.size, dead=progress.dead)

    def _post(self, shipment: Shipment, lines: pa.ChunkedArray, progress: Progress, most: int) -> None:
        """Send the first of what is left, or find out which of it is refused."""
        places = progress.left[:most]
        answer = self._http.post(EVENTS, joined(lines.take(pa.array(places))))
        code, number = _read(answer)
        if answer.status == 413 and most > 1:
            self._post(shipment, lines, progress, most // 2)
        elif answer.status == 413:
            self._refuse(shipment, progress, 0, answer)
        elif code in OF_AN_EVENT and 0 <= number < most:
            # What is before it is sent again: that Splunk has taken it, its documents do not say.
            self._refuse(shipment, progress, number, answer)
        elif code != 0:
            raise self._error(answer)
        else:
            if self.target.acknowledged:
                if "ackId" not in answer.body:
                    message = f"{self._http.url}: the token has no indexer acknowledgement: leave acknowledged=True out"
                    raise TargetRefuses(message)
                progress.acks.append(answer.body["ackId"])
            del progress.left[: len(places)]
            progress.size += answer.size

    def _error(self, answer: Answer) -> TargetDown | TargetRefuses:
        if _read(answer)[0] == WRONG_INDEX:
            return error_of(404, f"{self._http.url}: HTTP {answer.status}: {said(answer.body)}")
        return self._http.error(answer)

    def _refuse(self, shipment: Shipment, progress: Progress, number: int, answer: Answer) -> None:
        at = progress.left.pop(number)
        progress.dead.append(shipment.dead_letter(at, f"HTTP {answer.status} {said(answer.body)}"))

    def _indexed(self, progress: Progress) -> None:
        """Wait until all that was taken is indexed.

        :raises TargetDown: it is not yet; the next try looks again
        """
        progress.looks += 1
        until = time.monotonic() + INDEXED_S
        while progress.acks:
            answer = self._http.post(ACKS, json.dumps({"acks": progress.acks}).encode())
            told = answer.body.get("acks") if isinstance(answer.body, dict) else None
            if answer.status != 200 or not isinstance(told, dict):
                raise self._error(answer)
            progress.acks = [ack for ack in progress.acks if not told.get(str(ack))]
            if progress.acks and time.monotonic() > until:
                if progress.looks >= TRIES:
                    self._progress = None
                raise TargetDown(f"{self._http.url}: taken, but not indexed within {INDEXED_S} s")
            if progress.acks:
                time.sleep(ASK_S)

    def close(self) -> None:
        self._http.close()


def _read(answer: Answer) -> tuple[int, int]:
    """Splunk's code, and the number of the event that it is about; -1 for what an answer does not say."""
    body = answer.body if isinstance(answer.body, dict) else {}
    code, number = (body.get(name) for name in ("code", "invalid-event-number"))
    return code if isinstance(code, int) else -1, number if isinstance(number, int) else -1


def events(shipment: Shipment, target: Splunk) -> pa.ChunkedArray:
    """Each record as an event."""
    said = {"source": target.source or shipment.topic, "sourcetype": target.sourcetype, "index": target.index}
    texts = [value for value in said.values() if value is not None]
    records = shipment.records
    event = as_json(
        {
            "time": quoted(TIME),
            **{name: "CAST(? AS VARCHAR)" for name, value in said.items() if value is not None},
            "event": as_object(document(records, "provider")),
        }
    )
    return ENGINE.table(records, f'SELECT {event} AS line FROM "{ROWS}"', texts)["line"]
