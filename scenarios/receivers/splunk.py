"""Splunk's HTTP Event Collector as a sender of logs meets it: events, tokens, indexes, acknowledgements.

Codes and texts are those of Splunk's "Troubleshoot HTTP Event Collector".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from scenarios.receivers.server import Receiver, Reply, Request

Json = dict[str, Any]

COLLECTORS = ("/services/collector", "/services/collector/event", "/services/collector/event/1.0")
KEYS = {"time", "host", "source", "sourcetype", "index", "event", "fields"}
SPACE = re.compile(r"\s*")


class Splunk(Receiver):
    """An indexer with one token.

    ``token``           the token
    ``indexes``         the indexes that the token may write to, the first where an event names none
    ``acknowledges``    whether the token is one with indexer acknowledgement
    ``asked_in_vain``   how often it says that events are not indexed yet, before it says that they are
    """

    def __init__(
        self,
        *,
        token: str = "00000000-0000-0000-0000-000000000000",
        indexes: Sequence[str] = ("main",),
        acknowledges: bool = False,
        asked_in_vain: int = 0,
    ) -> None:
        self.token, self.indexes = token, tuple(indexes)
        self.events: list[Json] = []
        """Events as they came, in order, each with its index."""
        self.disabled = False
        self._acknowledges, self._asked_in_vain = acknowledges, asked_in_vain
        self._acks: dict[str, int] = {}
        super().__init__()

    def answer(self, request: Request) -> Reply | None:
        with self.lock:
            return self._let_in(request) or self._answer(request)

    def _let_in(self, request: Request) -> Reply | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return said(401, 2, "Token is required")
        if scheme != "Splunk" or not token:
            return said(401, 3, "Invalid authorization")
        if token != self.token:
            return said(403, 4, "Invalid token")
        return said(403, 1, "Token disabled") if self.disabled else None

    def _answer(self, request: Request) -> Reply:
        if request.path == "/services/collector/health":
            return said(200, 17, "HEC is healthy")
        channel = request.query.get("channel") or request.headers.get("x-splunk-request-channel")
        if self._acknowledges and not channel:
            return said(400, 10, "Data channel is missing")
        if request.path == "/services/collector/ack":
            return self._acknowledged(str(channel), request)
        if request.path not in COLLECTORS:
            return Reply(404, {"text": "The requested URL was not found on this server.", "code": 404})
        events: list[Json] = []
        try:
            for event in objects(request.body.decode()):
                refused = self._look(event)
                if refused:
                    return refusal(*refused, len(events))
                events.append({"index": self.indexes[0], **event})
        except (ValueError, AttributeError):
            return refusal(6, "Invalid data format", len(events))
        if not events:
            return said(400, 5, "No data")
        self.events += events
        if not self._acknowledges:
            return said(200, 0, "Success")
        self._acks[str(channel)] = self._acks.get(str(channel), -1) + 1
        return said(200, 0, "Success", ackId=self._acks[str(channel)])

    def _look(self, event: Json) -> tuple[int, str] | None:
        """Why an event is refused."""
        if "event" not in event:
            return 12, "Event field is required"
        if event["event"] in (None, "", {}):
            return 13, "Event field cannot be blank"
        if event.get("index", self.indexes[0]) not in self.indexes:
            return 7, "Incorrect index"
        if set(event) - KEYS:
            return 6, "Invalid data format"
        float(event.get("time", 0))
        return None

    def _acknowledged(self, channel: str, request: Request) -> Reply:
        if not self._acknowledges:
            return said(400, 14, "ACK is disabled")
        self._asked_in_vain -= 1
        known = self._acks.get(channel, -1) if self._asked_in_vain < 0 else -1
        return Reply(200, {"acks": {str(one): one <= known for one in json.loads(request.body)["acks"]}})


def objects(text: str) -> Iterator[Json]:
    """JSON objects one behind the other, with or without space between them."""
    decoder, text = json.JSONDecoder(), text.strip()
    at = 0
    while at < len(text):
        found, at = decoder.raw_decode(text, at)
        yield found
        at = SPACE.match(text, at).end()  # type: ignore[union-attr]


def refusal(code: int, text: str, number: int) -> Reply:
    """The whole request is refused, for its event of this number, from 0."""
    return Reply(400, {"text": text, "code": code, "invalid-event-number": number})


def said(status: int, code: int, text: str, **more: object) -> Reply:
    return Reply(status, {"text": text, "code": code, **more})
