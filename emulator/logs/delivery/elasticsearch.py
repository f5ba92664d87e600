"""Elasticsearch, by its bulk API: a document for each record, under an id that makes it one however often it is sent.

::

    POST /_bulk      {"create": {"_index": "logs-vpcflow-default", "_id": "5f0c9a1e…"}}
                     {"@timestamp": "2024-01-01T00:05:00Z", "srcaddr": "10.16.0.22", …}

A record that is there already is answered 409 and done. One that Elasticsearch cannot take (400, a field of another
type in the mapping) is kept as a dead letter, and the rest goes on. OpenSearch has the same API.
"""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from emulator.cloud.profile import Profile
from emulator.logs.checkpoints import DeadLetter
from emulator.logs.delivery.documents import FIELDS, Fields, as_json, document
from emulator.logs.delivery.formats import joined
from emulator.logs.delivery.http import Http, HttpTarget, error_of
from emulator.logs.delivery.target import (
    Sender,
    Sent,
    Shipment,
    secret,
)
from emulator.logs.engine import ENGINE
from emulator.logs.records import HIDDEN, TIME
from emulator.logs.scan import ROWS, quoted

BULK = "/_bulk?filter_path=errors,items.*.status,items.*.error"
NDJSON = "application/x-ndjson"

MISNAMED = "invalid_index_name_exception"
"""The one 400 that is no fault of a document."""

NAME_RULE = re.compile(r"(?!\.{1,2}$)[^-_+A-Z\\/*?\"<>| ,#:\0][^A-Z\\/*?\"<>| ,#:\0]{0,254}")
"""An index's name (elastic.co: "Create index")."""

_LAB, _ID = HIDDEN + "lab", HIDDEN + "id"
_DAYS = (datetime.datetime(2024, 1, 1), datetime.datetime(2024, 12, 31, 23, 59, 59))
"""That show what an index's name may become."""


@dataclass(frozen=True, kw_only=True)
class Elasticsearch(HttpTarget):
    """Deliver to an Elasticsearch, one document a record.

    ``url``       of the cluster: ``https://elk.example:9200``
    ``index``     index or data stream; strftime's directives stand for the record's own time in UTC:
                  ``logs-vpcflow-%Y.%m.%d``. It is made by Elasticsearch, which may have a template for it
    ``fields``    ``provider``: the record's own names; ``ecs``: those of the Elastic Common Schema
    ``api_key``   encoded; or ``user`` and ``password``
    ``ca_file``   certificates that are trusted, where they are not the machine's
    ``timeout_s`` wall time that an answer may take
    """

    kind = "elasticsearch"
    index: str = "logs-vpcflow-default"
    fields: Fields = "provider"
    user: str | None = None
    api_key: str | None = secret()
    password: str | None = secret()

    def check(self, profile: Profile) -> None:
        super().check(profile)
        index = self.index if isinstance(self.index, str) and self.index.isprintable() else ""
        if not all(NAME_RULE.fullmatch(day.strftime(index)) for day in _DAYS):
            rule = (
                "lower case, at most 255 characters, not . or .., not - _ or + in front, "
                'none of \\ / * ? " < > | , # : or space'
            )
            raise self.refused(profile, "index", rule)
        if self.fields not in FIELDS:
            raise self.refused(profile, "fields", f"one of {', '.join(FIELDS)}")
        if self.password is not None and self.user is None:
            raise self.refused(profile, "user", "who the password is of")

    def opened(self) -> Sender:
        return ElasticsearchSender(self)


class ElasticsearchSender(Sender):
    def __init__(self, target: Elasticsearch) -> None:
        self.target = target
        headers = {"content-type": NDJSON, "accept": "application/json"}
        if target.api_key is not None:
            headers["authorization"] = f"ApiKey {target.api_key}"
        elif target.user is not None:
            word = base64.b64encode(f"{target.user}:{target.password or ''}".encode()).decode()
            headers["authorization"] = f"Basic {word}"
        self._http = Http(target, headers)

    def send(self, shipment: Shipment) -> Sent:
        lines = actions(shipment, self.target)
        size, items = self._bulk(lines)
        return Sent(size, dead=_dead(shipment, items, self.target))

    def _bulk(self, lines: pa.ChunkedArray) -> tuple[int, list[dict[str, Any]]]:
        """Bytes that went out, and what became of each line; none of it where all are there."""
        answer = self._http.post(BULK, joined(lines))
        if answer.status == 413:
            return self._halved(lines)
        if answer.status != 200 or not isinstance(answer.body, dict):
            raise self._http.error(answer)
        if answer.body.get("errors") is False:
            return answer.size, [{"status": 201}] * len(lines)
        items = _items(answer.body)
        if len(items) != len(lines):
            raise self._http.error(answer)
        return answer.size, items

    def _halved(self, lines: pa.ChunkedArray) -> tuple[int, list[dict[str, Any]]]:
        """Elasticsearch takes no request as long as this."""
        half = len(lines) // 2
        if not half:
            return 0, [{"status": 413, "error": {"type": "http 413", "reason": "longer than a request may be"}}]
        (size, items), (more, others) = self._bulk(lines[:half]), self._bulk(lines[half:])
        return size + more, items + others

    def close(self) -> None:
        self._http.close()


def actions(shipment: Shipment, target: Elasticsearch) -> pa.ChunkedArray:
    """For each record its two lines of a bulk request, without the last newline.

    The id is a digest of the record's place, its lab and its document: the same at every try, and another for a record
    of another lab.
    """
    records = shipment.records
    stamp = {"@timestamp": f"TRY(strftime(make_timestamp({quoted(TIME)} * 1000000), '%Y-%m-%dT%H:%M:%SZ'))"}
    text = as_json({**stamp, **document(records, target.fields)})
    rows = records.append_column(_ID, pc.binary_join_element_wise(shipment.topic_id, shipment.ids, "/"))
    if _LAB in shipment.stored.column_names:
        rows = rows.append_column(_LAB, shipment.stored[_LAB])
    lab = quoted(_LAB) if _LAB in rows.column_names else "''"
    rows = rows.append_column(HIDDEN + "index", _indices(records[TIME], target.index))
    line = (
        f"""'{{"create":{{"_index":"' || {quoted(HIDDEN + "index")} || '","_id":"' """
        f"""|| md5(concat_ws('/', {quoted(_ID)}, {lab}, document)) || '"}}}}' || chr(10) || document"""
    )
    return ENGINE.table(rows, f'SELECT {line} AS line FROM (SELECT *, {text} AS document FROM "{ROWS}")', [])["line"]


def _indices(times: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    """The index of each record."""
    unique = pc.unique(times)
    names = [datetime.datetime.fromtimestamp(one, datetime.UTC).strftime(pattern) for one in unique.to_pylist()]
    return pa.array(names).take(pc.index_in(times, unique).combine_chunks())


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What became of each line; nothing where the answer is none of Elasticsearch's."""
    items = body.get("items")
    found = [item.get("create") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [
        item
        for item in found
        if isinstance(item, dict) and isinstance(item.get("status"), int) and isinstance(item.get("error", {}), dict)
    ]


def _dead(shipment: Shipment, items: Sequence[dict[str, Any]], target: Elasticsearch) -> list[DeadLetter]:
    """The records that Elasticsearch will never take.

    :raises TargetDown: it was too busy for some; those that are there already are no trouble at the next try
    :raises TargetRefuses: some were refused for what is no fault of theirs
    """
    dead = []
    for at, item in enumerate(items):
        status, error = item["status"], item.get("error", {})
        if status in (200, 201, 409):
            continue
        kind = error.get("type")
        message = f"{kind}: {error.get('reason')}"
        if status not in (400, 413) or kind == MISNAMED:
            raise error_of(status, f"{target.url}: HTTP {status} for some records: {message}")
        dead.append(shipment.dead_letter(at, f"HTTP {status} {message}"))
    return dead
