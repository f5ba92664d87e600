"""Requests to stores that speak HTTP, and what becomes of a shipment by their answers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from emulator.cloud.profile import Profile
from emulator.logs.delivery.target import RemoteTarget, TargetDown, TargetRefuses

if TYPE_CHECKING:
    import urllib3

CONNECT_S = 0.5
"""Wall time."""

SHOWN = 300
"""Characters of an answer that a message repeats."""

DENIED = (401, 403)
BUSY = (408, 429)

URL_RULE = "http://… or https://… with a host, without user and password, ? and #"

LONGEST_S = 3600
"""A server that asks for a longer pause gets this one."""


@dataclass(frozen=True, kw_only=True)
class HttpTarget(RemoteTarget):
    """A store that speaks HTTP.

    ``url``      of the server, without user and password
    ``ca_file``  certificates that are trusted, where they are not the machine's
    """

    url: str = field(kw_only=False)
    ca_file: str | None = None

    def check(self, profile: Profile) -> None:
        super().check(profile)
        if not is_url(self.url):
            raise self.refused(profile, "url", URL_RULE)
        if self.ca_file is not None and not (isinstance(self.ca_file, str) and Path(self.ca_file).is_file()):
            raise self.refused(profile, "ca_file", "the path of a file with certificates")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    """What its JSON says; the text, where it is none."""

    size: int
    """Bytes that were sent."""


class Http:
    """One server, to which bodies go gzipped; nothing is retried here, for that is done in lab time."""

    def __init__(self, target: HttpTarget, headers: Mapping[str, str]) -> None:
        import urllib3

        self.url = target.url.rstrip("/")
        self._headers = {**headers, "content-encoding": "gzip"}
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_S, read=target.timeout_s),
            retries=False,
            maxsize=1,
            ca_certs=target.ca_file,
        )

    def post(self, path: str, body: bytes) -> Answer:
        """The answer, where it is one about the body.

        :raises TargetDown: no answer, or one of 408, 429 or 5xx
        :raises TargetRefuses: 401 or 403, or TLS does not come about
        """
        import gzip

        import urllib3

        sent = gzip.compress(body, compresslevel=1)
        try:
            reply = self._pool.request("POST", self.url + path, body=sent, headers=self._headers)
        except urllib3.exceptions.SSLError as error:
            raise TargetRefuses(f"{self.url}: {error}", "delivery.denied") from None
        except urllib3.exceptions.HTTPError as error:
            raise TargetDown(f"{self.url}: {_reason(error)}") from None
        answer = Answer(reply.status, _body(reply.data), len(sent))
        if answer.status in DENIED or answer.status in BUSY or answer.status >= 500:
            raise self.error(answer, _seconds(reply.headers.get("retry-after")))
        return answer

    def error(self, answer: Answer, retry_after_s: float = 0) -> TargetDown | TargetRefuses:
        """What an answer means for a shipment that is refused by it as a whole."""
        return error_of(answer.status, f"{self.url}: HTTP {answer.status}: {said(answer.body)}", retry_after_s)

    def close(self) -> None:
        self._pool.clear()


def error_of(status: int, message: str, retry_after_s: float = 0) -> TargetDown | TargetRefuses:
    """What an HTTP status means for a shipment: it may pass, or somebody has to mend it."""
    if status in BUSY or status >= 500:
        return TargetDown(message, retry_after_s)
    reasons = {**dict.fromkeys(DENIED, "delivery.denied"), 404: "delivery.missing"}
    return TargetRefuses(message, reasons.get(status, "delivery.internal"))


def said(body: Any) -> str:
    """An answer in a message: the reason that it gives, where it gives one."""
    for way in (("error", "reason"), ("text",)):
        found = body
        for key in way:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            return found[:SHOWN]
    return (body if isinstance(body, str) else json.dumps(body))[:SHOWN]


def is_url(url: object) -> bool:
    """Whether this is an address that a path may be put behind."""
    if not isinstance(url, str) or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        plain = "@" not in parts.netloc and not parts.query and not parts.fragment
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and plain
    except ValueError:
        return False


def _body(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "replace")


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    import urllib3

    match error:
        case urllib3.exceptions.NewConnectionError():
            return str(error).partition(": ")[2]
        case urllib3.exceptions.ConnectTimeoutError():
            return f"no connection within {CONNECT_S} s"
        case urllib3.exceptions.ReadTimeoutError():
            return "no answer in time"
        case urllib3.exceptions.ProtocolError():
            return "the connection was closed before an answer"
    return str(error)


def _seconds(retry_after: str | None) -> float:
    """Retry-After in seconds; a date is compared with wall time, which the server knows. 0 where nothing is said."""
    from email.utils import parsedate_to_datetime

    if retry_after is None or not retry_after.strip():
        return 0
    if retry_after.strip().isdecimal():
        return min(float(retry_after), LONGEST_S)
    try:
        return min(max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time()), LONGEST_S)
    except ValueError:
        return 0
