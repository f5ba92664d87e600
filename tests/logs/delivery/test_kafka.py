"""Delivery to Kafka: a real broker (Tansu), read back by librdkafka's consumer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from emulator.errors import InvalidValue, RequirementMissing
from emulator.logs.delivery import Kafka, TargetDown, TargetRefuses
from emulator.logs.delivery.kinds import defined, definition_of
from emulator.logs.delivery.target import Sender
from emulator.providers import profile
from tests.logs.delivery.stores import FLOW, IDLE, START_S, Broker, flows, shipment

ENIS = ("eni-a", "eni-b", "eni-c", "eni-d")


def opened(broker: Broker, **options: Any) -> Sender:
    return Kafka(broker.address, topic="vpcflow", timeout_s=20, **options).opened()


def many(count: int) -> Any:
    """Records of several ENIs, in turn."""
    return shipment(flows(*({"interface-id": ENIS[at % 4], "dstport": at} for at in range(count))))


def test_each_record_is_a_message(broker: Broker) -> None:
    broker.create("vpcflow", 1)
    sender = opened(broker)
    done = sender.send(shipment(flows({}, IDLE)))
    first, idle = broker.messages("vpcflow")
    assert json.loads(first.value()) == {**FLOW, "__time__": START_S + 300}
    assert json.loads(idle.value())["packets"] is None
    assert first.key() == b"eni-aaaa1111"
    assert dict(first.headers()) == {"topic": b"accept", "delivery": b"out", "id": b"7-0"}
    assert first.timestamp()[1] == 1000 * (START_S + 300)
    assert done.size == len(first.value()) + len(idle.value())
    sender.close()


def test_what_has_one_key_stays_in_order(broker: Broker) -> None:
    broker.create("vpcflow")
    sender = opened(broker)
    sender.send(many(400))
    sender.close()
    messages = broker.messages("vpcflow")
    assert len({one.partition() for one in messages}) > 1
    for number, eni in enumerate(ENIS):
        own = [one for one in messages if one.key() == eni.encode()]
        assert len({one.partition() for one in own}) == 1
        assert [json.loads(one.value())["dstport"] for one in own] == list(range(number, 400, 4))


@pytest.mark.parametrize(
    ("records", "key", "wanted"),
    [
        (flows({}), "dstaddr", b"10.16.0.40"),
        (flows({}), "dstport", b"443"),
        (flows(IDLE), "dstaddr", None),
        (pa.table({"note": ["x"], "__time__": [START_S]}), None, None),
        (pa.table({"ccnid": ["ccn-1"], "__time__": [START_S]}), None, b"ccn-1"),
    ],
    ids=["a chosen field", "a number", "a field without a value", "no flow records", "a CCN's"],
)
def test_keys(records: pa.Table, key: str | None, wanted: bytes | None, broker: Broker) -> None:
    broker.create("vpcflow", 1)
    sender = opened(broker, key=key)
    sender.send(shipment(records))
    sender.close()
    (message,) = broker.messages("vpcflow")
    assert message.key() == wanted


def test_a_key_that_no_record_has(broker: Broker) -> None:
    broker.create("vpcflow", 1)
    with pytest.raises(TargetRefuses, match="key='eni': the records have no eni: version"):
        opened(broker, key="eni").send(many(1))


def test_a_topic_that_is_missing_is_not_made(broker: Broker) -> None:
    sender = opened(broker)
    for _ in range(2):
        with pytest.raises(TargetRefuses, match=r"topic vpcflow: .*Unknown topic or partition") as refuses:
            sender.send(many(1))
        assert refuses.value.reason == "delivery.missing"
    broker.create("vpcflow", 1)
    sender.send(many(1))
    sender.close()
    assert len(broker.messages("vpcflow")) == 1


def test_a_broker_that_went_away_and_comes_back(broker: Broker) -> None:
    broker.create("vpcflow", 1)
    sender = Kafka(broker.address, topic="vpcflow", timeout_s=2.5).opened()
    sender.send(many(1))
    broker.stop()
    with pytest.raises(TargetDown, match=f"{broker.address}, topic vpcflow: .*refused$"):
        sender.send(many(2))
    broker.start()  # with nothing in its memory
    broker.create("vpcflow", 1)
    sender.send(many(2))
    sender.close()
    assert len(broker.messages("vpcflow")) == 2


def test_a_record_that_is_too_long_is_told_and_the_rest_goes_on(broker: Broker) -> None:
    broker.create("vpcflow", 1)
    sender = opened(broker)
    done = sender.send(shipment(flows({}, {"account-id": "9" * 1_500_000}, {})))
    sender.close()
    (dead,) = done.dead
    assert (dead.id, len(dead.record["account-id"])) == ("7-1", 1_500_000)
    assert "Message size too large" in dead.message
    assert [dict(one.headers())["id"] for one in broker.messages("vpcflow")] == [b"7-0", b"7-2"]


def test_a_setting_that_librdkafka_does_not_know() -> None:
    with pytest.raises(TargetRefuses, match='No such configuration property: "tls"'):
        Kafka("127.0.0.1:9092", topic="vpcflow", settings={"tls": "yes"}).opened().send(many(1))


BAD: dict[str, dict[str, Any]] = {
    "no time": {"timeout_s": 0},
    "no brokers": {"brokers": " "},
    "no name": {"topic": ""},
    "a name with a space": {"topic": "vpc flow"},
    "a name of dots": {"topic": ".."},
    "settings that are no text": {"settings": {"linger.ms": 5}},
}


@pytest.mark.parametrize("options", BAD.values(), ids=BAD)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"^Kafka: "):
        Kafka(**{"brokers": "kafka:9092", "topic": "vpcflow", **options}).check(profile("tencent"))


def test_passwords_among_the_settings_are_neither_shown_nor_kept() -> None:
    target = Kafka("kafka:9092", topic="vpcflow", settings={"ssl.key.password": "hush", "linger.ms": "5"})
    assert "hush" not in repr(target)
    kept, secrets, _ = defined(definition_of(target, []))
    assert (kept, secrets) == (replace(target, settings={"linger.ms": "5"}), ["settings['ssl.key.password']"])


def test_without_the_library_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)
    with pytest.raises(RequirementMissing, match=r"pip install 'vpclab\[delivery\]'"):
        Kafka("kafka:9092", topic="vpcflow").check(profile("tencent"))
