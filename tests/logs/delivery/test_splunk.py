"""Delivery to Splunk's HTTP Event Collector: a receiver that refuses what it would refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.errors import InvalidValue
from emulator.logs.delivery import Splunk, TargetDown, TargetRefuses
from emulator.logs.delivery.target import Sender
from emulator.providers import profile
from scenarios.receivers import Reply
from tests.logs.delivery.stores import FLOW, IDLE, START_S, ScriptedSplunk, flows, shipment

Made = Callable[..., ScriptedSplunk]


def opened(store: ScriptedSplunk, **options: Any) -> Sender:
    return Splunk(store.url, **{"token": store.token, "timeout_s": 20, **options}).opened()


def taken(store: ScriptedSplunk) -> list[Any]:
    return [event["event"].get("dstport") for event in store.events]


def numbered(count: int) -> Any:
    return shipment(flows(*({"dstport": number} for number in range(count))))


def test_each_record_is_an_event_at_its_own_time(splunk: Made) -> None:
    store = splunk(indexes=("main", "network"))
    done = opened(store, index="network", sourcetype="tencent:vpcflow").send(shipment(flows({}, IDLE)))
    first, idle = store.events
    assert first == {
        "time": START_S + 300,
        "source": "accept",
        "sourcetype": "tencent:vpcflow",
        "index": "network",
        "event": FLOW,
    }
    assert idle["event"]["log-status"] == "NODATA"
    assert "packets" not in idle["event"]
    (request,) = store.requests
    assert request.headers["content-encoding"] == "gzip"
    assert done.size == int(request.headers["content-length"])


def test_the_tokens_index_where_none_is_named(splunk: Made) -> None:
    store = splunk(indexes=("network",))
    opened(store, source="vpc").send(numbered(1))
    assert [(event["index"], event["source"]) for event in store.events] == [("network", "vpc")]


def test_what_was_not_acknowledged_is_sent_again(splunk: Made) -> None:
    store = splunk()
    sender = opened(store)
    store.script.append("lost")
    with pytest.raises(TargetDown, match="closed before an answer"):
        sender.send(numbered(2))
    sender.send(numbered(2))
    assert taken(store) == [0, 1, 0, 1]


def test_events_that_splunk_does_not_take_are_told_and_the_rest_goes_on(splunk: Made) -> None:
    store = splunk()
    sender = opened(store)
    for number in (3, 1):
        store.script.append(Reply(400, {"text": "Invalid data format", "code": 6, "invalid-event-number": number}))
    done = sender.send(numbered(5))
    assert [(one.id, one.record["dstport"], one.message) for one in done.dead] == [
        ("7-3", 3, "HTTP 400 Invalid data format"),
        ("7-1", 1, "HTTP 400 Invalid data format"),
    ]
    assert taken(store) == [0, 2, 4]


def test_a_blank_event_is_refused_by_the_receiver_itself(splunk: Made) -> None:
    store = splunk()
    nothing = flows({}, dict.fromkeys(FLOW), {})
    done = opened(store).send(shipment(nothing))
    assert [(one.id, one.message) for one in done.dead] == [("7-1", "HTTP 400 Event field cannot be blank")]
    assert taken(store) == [443, 443]


def test_a_request_that_is_too_long_is_halved(splunk: Made) -> None:
    store = splunk()
    store.script.extend([Reply(413, "too long"), Reply(413, "too long")])
    opened(store).send(numbered(8))
    assert taken(store) == list(range(8))
    assert len(store.requests) == 4


def test_one_event_that_is_too_long_is_refused(splunk: Made) -> None:
    store = splunk()
    store.script.append(Reply(413, "too long"))
    (dead,) = opened(store).send(numbered(1)).dead
    assert (dead.message, store.events) == ("HTTP 413 too long", [])


def test_a_shipment_goes_on_where_it_stopped(splunk: Made) -> None:
    """Half of it was taken: the next try sends the other half."""
    store = splunk()
    sender = opened(store)
    store.script.extend([Reply(413, ""), "plain", Reply(503, {"text": "Server is busy", "code": 9})])
    with pytest.raises(TargetDown, match="HTTP 503: Server is busy"):
        sender.send(numbered(4))
    sender.send(numbered(4))
    assert taken(store) == [0, 1, 2, 3]


def test_events_are_delivered_once_they_are_indexed(splunk: Made) -> None:
    store = splunk(acknowledges=True, asked_in_vain=2)
    opened(store, acknowledged=True).send(numbered(3))
    assert taken(store) == [0, 1, 2]
    assert [request.path.rpartition("/")[2] for request in store.requests] == ["event", "ack", "ack", "ack"]


def test_events_that_are_not_indexed_are_waited_for_and_then_sent_again(
    splunk: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.logs.delivery.splunk.INDEXED_S", 0.0)
    monkeypatch.setattr("emulator.logs.delivery.splunk.TRIES", 2)
    store = splunk(acknowledges=True, asked_in_vain=3)
    sender = opened(store, acknowledged=True)
    for count in (1, 1, 2):  # the second look is the last; the third try sends anew
        with pytest.raises(TargetDown, match="taken, but not indexed within"):
            sender.send(numbered(1))
        assert len(store.events) == count
    sender.send(numbered(1))
    assert len(store.events) == 2


NO_ANSWERS: dict[str, Reply] = {
    "a page": Reply(200, "<html>Welcome</html>"),
    "no code": Reply(200, {}),
    "a code that is a list": Reply(400, {"code": [6]}),
    "a number that is text": Reply(400, {"code": 6, "invalid-event-number": "0"}),
    "a number that no event has": Reply(400, {"code": 6, "invalid-event-number": 2}),
}


@pytest.mark.parametrize("reply", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_of_splunks_is_not_taken_for_one(reply: Reply, splunk: Made) -> None:
    store = splunk()
    store.script.append(reply)
    with pytest.raises(TargetRefuses, match=rf"^http://127.*: HTTP {reply.status}: "):
        opened(store).send(numbered(2))


def test_what_says_nothing_of_acknowledgements(splunk: Made) -> None:
    store = splunk(acknowledges=True)
    store.script.extend(["plain", Reply(200, {"acks": None})])
    with pytest.raises(TargetRefuses, match="HTTP 200: "):
        opened(store, acknowledged=True).send(numbered(1))


REFUSES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "a wrong token": ({}, {"token": "other"}, "HTTP 403: Invalid token", "delivery.denied"),
    "no token": ({}, {"token": ""}, "HTTP 401: Invalid authorization", "delivery.denied"),
    "an index that the token may not write": ({}, {"index": "other"}, "HTTP 400: Incorrect index", "delivery.missing"),
    "a token that wants acknowledgement": (
        {"acknowledges": True},
        {},
        "HTTP 400: Data channel is missing",
        "delivery.internal",
    ),
    "a token without acknowledgement": ({}, {"acknowledged": True}, "acknowledged=True", "delivery.internal"),
}


@pytest.mark.parametrize(("server", "options", "said", "reason"), REFUSES.values(), ids=REFUSES)
def test_what_a_person_has_to_mend(
    server: dict[str, Any], options: dict[str, Any], said: str, reason: str, splunk: Made
) -> None:
    store = splunk(**server)
    with pytest.raises(TargetRefuses, match=said) as refuses:
        opened(store, **options).send(numbered(1))
    assert refuses.value.reason == reason


def test_a_disabled_token(splunk: Made) -> None:
    store = splunk()
    store.disabled = True
    with pytest.raises(TargetRefuses, match="HTTP 403: Token disabled"):
        opened(store).send(numbered(1))


def test_no_collector_at_this_address(elastic: Callable[..., Any]) -> None:
    store = elastic()
    with pytest.raises(TargetRefuses, match="HTTP 400: no handler found"):
        Splunk(store.url, token="x").opened().send(numbered(1))


BAD: dict[str, dict[str, Any]] = {
    "no url": {"url": "splunk.example:8088"},
    "no token": {"token": None},
    "a line break in the token": {"token": "wordofmouth\n"},
    "an index of no text": {"index": 7},
    "no sourcetype": {"sourcetype": None},
    "an empty source": {"source": ""},
    "no size": {"size": 0},
}


@pytest.mark.parametrize("options", BAD.values(), ids=BAD)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"^Splunk: (?!.*wordofmouth)"):
        Splunk(**{"url": "https://splunk.example:8088", "token": "t", **options}).check(profile("tencent"))


def test_the_token_is_not_shown() -> None:
    assert "wordofmouth" not in repr(Splunk("https://splunk.example:8088", token="wordofmouth"))
