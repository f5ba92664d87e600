"""Delivery to Elasticsearch: a receiver that refuses what it would refuse, read back by the official client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import elasticsearch
import pytest

from emulator.errors import InvalidValue
from emulator.logs.delivery import Elasticsearch, Sent, Shipment, TargetDown, TargetRefuses
from emulator.providers import profile
from scenarios.receivers import Reply
from tests.logs.delivery.stores import FLOW, IDLE, ScriptedElasticsearch, flows, shipment

INDEX = "logs-vpcflow-default"
Made = Callable[..., ScriptedElasticsearch]


def sent(store: ScriptedElasticsearch, shipped: Shipment, **options: Any) -> Sent:
    sender = Elasticsearch(store.url, **{"timeout_s": 20, **options}).opened()
    try:
        return sender.send(shipped)
    finally:
        sender.close()


def read_back(store: ScriptedElasticsearch, index: str = INDEX) -> list[dict[str, Any]]:
    with elasticsearch.Elasticsearch(store.url) as client:
        return [hit["_source"] for hit in client.search(index=index, size=1000)["hits"]["hits"]]


def test_each_record_is_a_document(elastic: Made) -> None:
    store = elastic()
    done = sent(store, shipment(flows({}, {"action": "REJECT"}, IDLE)))
    first, second, idle = read_back(store)
    assert first == {"@timestamp": "2024-01-01T00:05:00Z", **FLOW}
    assert second == {"@timestamp": "2024-01-01T00:06:00Z", **FLOW, "action": "REJECT"}
    assert idle["log-status"] == "NODATA"
    assert "packets" not in idle
    request = store.requests[0]
    assert request.headers["content-encoding"] == "gzip"
    assert done == Sent(int(request.headers["content-length"]), dead=[])


def test_what_is_sent_again_is_there_once(elastic: Made) -> None:
    store = elastic()
    shipped = shipment(flows({}, {}, {}))  # three records that say the same
    store.script.append("lost")
    with pytest.raises(TargetDown, match="closed before an answer"):
        sent(store, shipped)
    assert len(read_back(store)) == 3
    assert sent(store, shipped).dead == []
    assert len(read_back(store)) == 3


@pytest.mark.parametrize(
    "other",
    [{"batch": 8}, {"lab": "lab-2"}, {"topic_id": "another"}],
    ids=["of another batch", "of another lab", "of another topic"],
)
def test_another_record_is_another_document(other: dict[str, Any], elastic: Made) -> None:
    store = elastic()
    sent(store, shipment(flows({})))
    sent(store, shipment(flows({}), **other))
    assert len(read_back(store)) == 2


def test_indices_are_named_by_the_records_own_time(elastic: Made) -> None:
    store = elastic()
    records = flows({}, {})
    records = records.set_column(records.num_columns - 1, "__time__", [[1_704_153_599, 1_704_153_600]])
    sent(store, shipment(records), index="vpcflow-%Y.%m.%d")
    assert {name: len(there) for name, there in store.indices.items()} == {
        "vpcflow-2024.01.01": 1,
        "vpcflow-2024.01.02": 1,
    }


def test_a_record_that_does_not_fit_the_mapping_is_told_and_the_rest_goes_on(elastic: Made) -> None:
    store = elastic(fields={"srcaddr": "ip"})
    done = sent(store, shipment(flows({}, {"srcaddr": "nowhere"}, {})))
    (dead,) = done.dead
    assert dead.id == "7-1"
    assert dead.record["srcaddr"] == "nowhere"
    assert dead.message == (
        "HTTP 400 document_parsing_exception: failed to parse field [srcaddr] of type [ip]: [nowhere]"
    )
    assert len(read_back(store)) == 2


def busy(*statuses: int) -> Reply:
    """Elasticsearch's answer where some of the items were too many for it."""
    error = {"type": "es_rejected_execution_exception", "reason": "rejected execution"}
    items = [{"create": {"status": status, **({"error": error} if status >= 400 else {})}} for status in statuses]
    return Reply(200, {"errors": True, "items": items})


DOWN: dict[str, tuple[Reply | None, str, float]] = {
    "429 of some records": (busy(201, 429, 201), "HTTP 429 for some records: es_rejected_execution_exception", 0),
    "429 of all": (Reply(429, {}, {"retry-after": "17"}), "HTTP 429", 17.0),
    "500": (Reply(500, {"error": {"type": "x", "reason": "no idea"}}), "HTTP 500: no idea", 0),
    "503": (Reply(503, "no master"), "HTTP 503: no master", 0),
    "the connection is closed": (None, "closed before an answer", 0),
}


@pytest.mark.parametrize(("reply", "said", "after_s"), DOWN.values(), ids=DOWN)
def test_what_may_pass_is_tried_again(reply: Reply | None, said: str, after_s: float, elastic: Made) -> None:
    store = elastic()
    store.script.append(reply)
    with pytest.raises(TargetDown, match=said) as down:
        sent(store, shipment(flows({}, {}, {})))
    assert down.value.retry_after_s == after_s
    assert sent(store, shipment(flows({}, {}, {}))).dead == []
    assert len(read_back(store)) == 3


def test_nobody_there_is_down() -> None:
    sender = Elasticsearch("http://127.0.0.1:1").opened()
    with pytest.raises(TargetDown, match=r"127\.0\.0\.1:1: .*refused"):
        sender.send(shipment(flows({})))


def test_a_server_without_tls_is_for_a_person(elastic: Made) -> None:
    sender = Elasticsearch(elastic().url.replace("http:", "https:")).opened()
    with pytest.raises(TargetRefuses, match="SSL") as refuses:
        sender.send(shipment(flows({})))
    assert refuses.value.reason == "delivery.denied"


def test_a_pause_that_a_server_asks_for_has_an_end(elastic: Made) -> None:
    store = elastic()
    pauses = {"5": 5, "99999999": 3600, "soon": 0, "Fri, 01 Jan 2100 00:00:00 GMT": 3600, " ": 0}
    for said, wanted in pauses.items():
        store.script.append(Reply(503, {}, {"retry-after": said}))
        with pytest.raises(TargetDown) as down:
            sent(store, shipment(flows({})))
        assert down.value.retry_after_s == wanted


def test_a_server_that_hangs_is_down(elastic: Made) -> None:
    store = elastic()
    with store.lock, pytest.raises(TargetDown, match="no answer in time"):
        sent(store, shipment(flows({})), timeout_s=0.05)


NO_ANSWERS: dict[str, Any] = {
    "a page": "<html>Welcome</html>",
    "no object": ["errors"],
    "no word of errors": {"errors": None},
    "no items": {"errors": True},
    "fewer items than records": {"errors": True, "items": [{"create": {"status": 201}}]},
    "items of another request": {"errors": True, "items": [{"index": {"status": 201}}] * 2},
    "items without a status": {"errors": True, "items": [{"create": {}}] * 2},
    "an error that is text": {"errors": True, "items": [{"create": {"status": 400, "error": "x"}}] * 2},
}


@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_of_elasticsearchs_is_not_taken_for_one(body: Any, elastic: Made) -> None:
    store = elastic()
    store.script.append(Reply(200, body))
    with pytest.raises(TargetRefuses, match=r"^http://127.*: HTTP 200: "):
        sent(store, shipment(flows({}, {})))


def test_a_redirection_is_not_followed(elastic: Made) -> None:
    store, elsewhere = elastic(), elastic()
    store.script.append(Reply(307, {}, {"location": elsewhere.url + "/_bulk"}))
    with pytest.raises(TargetRefuses, match="HTTP 307"):
        sent(store, shipment(flows({})))
    assert elsewhere.requests == []


REFUSES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "no key": ({"api_key": "k"}, {}, "HTTP 401: unable to authenticate", "delivery.denied"),
    "a wrong key": ({"api_key": "k"}, {"api_key": "other"}, "HTTP 401", "delivery.denied"),
    "a wrong password": ({"api_key": "k"}, {"user": "elastic", "password": "x"}, "HTTP 401", "delivery.denied"),
    "an index that nobody made": (
        {"auto_create": False},
        {},
        "HTTP 404 .*: no such index",
        "delivery.missing",
    ),
}


@pytest.mark.parametrize(("server", "options", "said", "reason"), REFUSES.values(), ids=REFUSES)
def test_what_a_person_has_to_mend(
    server: dict[str, Any], options: dict[str, Any], said: str, reason: str, elastic: Made
) -> None:
    store = elastic(**server)
    with pytest.raises(TargetRefuses, match=said) as refuses:
        sent(store, shipment(flows({})), **options)
    assert refuses.value.reason == reason
    assert not any(store.indices.values())


def test_no_elasticsearch_at_all(splunk: Callable[..., Any]) -> None:
    with pytest.raises(TargetRefuses, match="HTTP 401: Token is required"):
        sent(splunk(token="x"), shipment(flows({})))


@pytest.mark.parametrize(
    "options",
    [{"api_key": "k"}, {"user": "elastic", "password": "k"}],
    ids=["an API key", "a password"],
)
def test_who_may(options: dict[str, str], elastic: Made) -> None:
    store = elastic(api_key="k")
    sent(store, shipment(flows({})), **options)
    assert len(store.indices[INDEX]) == 1
    assert "'k'" not in repr(Elasticsearch(store.url, **options))


def test_a_request_that_is_too_long_is_halved(elastic: Made) -> None:
    store = elastic(largest_body=1_500)
    done = sent(store, shipment(flows({}, {"account-id": "9" * 2_000}, {}, {}, {})))
    (dead,) = done.dead
    assert (dead.id, dead.message) == ("7-1", "HTTP 413 http 413: longer than a request may be")
    assert len(store.indices[INDEX]) == 4
    assert [len(request.body) > 1_500 for request in store.requests] == [True, True, False, True, False]


BAD: dict[str, dict[str, Any]] = {
    "no url": {"url": "elk.example"},
    "a password in the url": {"url": "http://me:word@elk.example"},
    "a question in the url": {"url": "http://elk.example/?pretty"},
    "a line break in the key": {"api_key": "key\n"},
    "a key of no text": {"api_key": 7},
    "an index of dots": {"index": ".."},
    "an index that is no Unicode": {"index": "a\ud800"},
    "no http": {"url": "ftp://elk.example"},
    "certificates that are not there": {"ca_file": "/nowhere"},
    "no time": {"timeout_s": 0},
    "no port": {"url": "http://elk.example:99999"},
    "an index in upper case": {"index": "VPC"},
    "an index that becomes upper case": {"index": "vpc-%b"},
    "an index with a comma": {"index": "a,b"},
    "an index that begins with a hyphen": {"index": "-a"},
    "no index": {"index": ""},
    "an index of no text": {"index": 7},
    "fields that nobody knows": {"fields": "ocsf"},
    "a password of nobody": {"password": "x"},
    "a negative interval": {"interval_s": -1},
}


@pytest.mark.parametrize("options", BAD.values(), ids=BAD)
@pytest.mark.parametrize("provider", ["tencent", "alibaba"])
def test_settings_that_make_no_sense_are_refused(provider: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"^Elasticsearch: (?!.*key\n)"):
        Elasticsearch(**{"url": "https://elk.example", **options}).check(profile(provider))
