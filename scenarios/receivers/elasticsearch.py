"""Elasticsearch as a sender of logs meets it: the bulk API, mappings, data streams, and a search that reads back.

Refusals and their texts are those of version 8 (elastic.co: "Bulk API", "Data streams", "Dynamic field mapping").
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from scenarios.receivers.server import Receiver, Reply, Request

Json = dict[str, Any]

CONTENT_TYPES = ("application/x-ndjson", "application/json", "application/vnd.elasticsearch+")
INT64 = 1 << 63
DATA_STREAMS = "logs-"
"""A stock Elasticsearch takes what begins so, and has two hyphens, for data streams."""

LARGEST_BODY = 100 << 20
"""Elasticsearch's ``http.max_content_length``."""


class Elasticsearch(Receiver):
    """A cluster of one node.

    ``api_key``       what requests must carry as ``ApiKey`` or as the password of any user; None lets everybody in
    ``fields``        types of fields by name: ``ip``, ``long``, ``date``, ``keyword``; others by their first value
    ``auto_create``   whether an index that is missing is made
    ``largest_body``  in bytes
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        fields: Mapping[str, str] | None = None,
        auto_create: bool = True,
        largest_body: int = LARGEST_BODY,
    ) -> None:
        self.indices: dict[str, dict[str, Json]] = {}
        """Documents by index or data stream and id, in the order in which they came."""
        self._mappings: dict[str, dict[str, str]] = {}
        self._fields = dict(fields or {})
        self._api_key, self._auto_create, self._largest_body = api_key, auto_create, largest_body
        super().__init__()

    def answer(self, request: Request) -> Reply | None:
        reply = self._answer(request)
        # The official clients talk to nobody who does not say this.
        return Reply(reply.status, reply.body, {"X-Elastic-Product": "Elasticsearch", **reply.headers})

    def _answer(self, request: Request) -> Reply:
        if not self._let_in(request.headers.get("authorization", "")):
            return refusal(401, "security_exception", f"unable to authenticate for REST request [{request.path}]")
        *index, action = request.path.strip("/").split("/")
        match action:
            case "_bulk" if request.method in ("POST", "PUT"):
                with self.lock:
                    return self._bulk(request, index[0] if index else None)
            case "_search" | "_count" if index:
                with self.lock:
                    return self._found(index[0], action, request)
            case "":
                return Reply(200, {"name": "node", "version": {"number": "8.17.0"}, "tagline": "You Know, for Search"})
        return refusal(400, "illegal_argument_exception", f"no handler found for uri [{request.path}]")

    def _let_in(self, authorization: str) -> bool:
        if self._api_key is None:
            return True
        scheme, _, word = authorization.partition(" ")
        if scheme == "Basic":
            return base64.b64decode(word).decode().partition(":")[2] == self._api_key
        return (scheme, word) == ("ApiKey", self._api_key)

    def _bulk(self, request: Request, index: str | None) -> Reply:
        if not request.headers.get("content-type", "").startswith(CONTENT_TYPES):
            return refusal(406, "media_type_header_exception", "Invalid media-type value on header [Content-Type]")
        if len(request.body) > self._largest_body:
            return Reply(413, {})
        if not request.body.endswith(b"\n"):
            text = "The bulk request must be terminated by a newline [\\n]"
            return refusal(400, "illegal_argument_exception", text)
        lines = request.body.split(b"\n")[:-1]
        actions: list[tuple[str, str, str | None, bytes]] = []
        for number in range(0, len(lines), 2):
            try:
                ((operation, where),) = json.loads(lines[number]).items()
                actions.append((operation, where.get("_index", index), where.get("_id"), lines[number + 1]))
                if operation not in ("create", "index"):
                    raise ValueError(operation)
            except (ValueError, IndexError, AttributeError):
                text = f"Malformed action/metadata line [{number + 1}], expected START_OBJECT"
                return refusal(400, "illegal_argument_exception", text)
        items = [{action[0]: self._item(*action)} for action in actions]
        errors = any("error" in item[operation] for item in items for operation in item)
        return Reply(200, {"took": 1, "errors": errors, "items": items})

    def _item(self, operation: str, index: str, name: str | None, line: bytes) -> Json:
        name = name or f"auto-{sum(map(len, self.indices.values()))}"
        found = {"_index": index, "_id": name}
        if index not in self.indices and not self._auto_create:
            return {**found, **failed(404, "index_not_found_exception", f"no such index [{index}]")}
        if index != index.lower() or index.startswith(("-", "_", "+")):
            return {**found, **failed(400, "invalid_index_name_exception", f"Invalid index name [{index}]")}
        stream = index.startswith(DATA_STREAMS) and index.count("-") >= 2
        if stream and operation != "create":
            text = "only write ops with an op_type of create are allowed in data streams"
            return {**found, **failed(400, "illegal_argument_exception", text)}
        documents = self.indices.setdefault(index, {})
        if operation == "create" and name in documents:
            text = f"[{name}]: version conflict, document already exists (current version [1])"
            return {**found, **failed(409, "version_conflict_engine_exception", text)}
        mapping = self._mappings.setdefault(index, {})
        try:
            document = json.loads(line)
            if stream and "@timestamp" not in document:
                raise ValueError("data stream timestamp field [@timestamp] is missing")
            learnt = {field: self._check(field, value, mapping) for field, value in flat(document)}
        except (ValueError, AttributeError) as error:
            return {**found, **failed(400, "document_parsing_exception", str(error))}
        mapping.update(learnt)
        documents[name] = document
        return {**found, "status": 201, "result": "created"}

    def _check(self, field: str, value: object, mapping: Mapping[str, str]) -> str:
        """The type of a field, after a look at whether ``value`` is of it."""
        kind = self._fields.get(field) or mapping.get(field) or type_of(field, value)
        for one in value if isinstance(value, list) else [value]:
            try:
                CHECKS[kind](one)
            except (ValueError, TypeError):
                raise ValueError(f"failed to parse field [{field}] of type [{kind}]: [{one}]") from None
        return kind

    def _found(self, index: str, action: str, request: Request) -> Reply:
        if index not in self.indices:
            return refusal(404, "index_not_found_exception", f"no such index [{index}]")
        documents = self.indices[index]
        if action == "_count":
            return Reply(200, {"count": len(documents)})
        asked = json.loads(request.body or b"{}")
        size = int(asked.get("size", request.query.get("size", 10)))
        hits = [{"_index": index, "_id": name, "_source": one} for name, one in list(documents.items())[:size]]
        return Reply(200, {"hits": {"total": {"value": len(documents), "relation": "eq"}, "hits": hits}})


def flat(document: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """The fields of a document by their whole names; what is null is no field."""
    fields: list[tuple[str, Any]] = []
    for name, value in document.items():
        if isinstance(value, dict):
            fields += flat(value, f"{before}{name}.")
        elif value is not None:
            fields.append((before + name, value))
    return fields


def type_of(field: str, value: object) -> str:
    """Dynamic mapping, with the two rules of ``ecs@mappings`` that flow logs meet."""
    if field == "@timestamp" or field in ("event.start", "event.end"):
        return "date"
    if field.endswith(".ip"):
        return "ip"
    return {bool: "boolean", int: "long", float: "float"}.get(type(value), "keyword")


def _long(value: object) -> None:
    if isinstance(value, bool) or not -INT64 <= int(str(value)) < INT64:
        raise ValueError(value)


def _date(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        datetime.fromisoformat(str(value))


def _boolean(value: object) -> None:
    if value not in (True, False, "true", "false", ""):
        raise ValueError(value)


CHECKS: dict[str, Callable[[Any], object]] = {
    "boolean": _boolean,
    "date": _date,
    "float": float,
    "ip": ip_address,
    "keyword": str,
    "long": _long,
}
"""Raise for what is not of the type."""


def failed(status: int, kind: str, reason: str) -> Json:
    return {"status": status, "error": {"type": kind, "reason": reason}}


def refusal(status: int, kind: str, reason: str) -> Reply:
    """A whole request is refused."""
    error = {"type": kind, "reason": reason}
    return Reply(status, {"error": {"root_cause": [error], **error}, "status": status})
