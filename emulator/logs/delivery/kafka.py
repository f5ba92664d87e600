"""Kafka, by librdkafka: a message for each record, keyed so that order holds where it matters.

::

    key    the ENI that the record is of, or another field; all of one key are in one partition, in order
    value  the record as JSON, as the provider's own shipping to Kafka has it
    headers  topic, delivery, id

The producer is idempotent and waits for all replicas, so librdkafka's own retries double nothing. A shipment whose end
was not known is sent again: its messages carry the same ids.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from emulator.cloud.profile import Profile
from emulator.errors import RequirementMissing
from emulator.logs.delivery.formats import json_lines
from emulator.logs.delivery.pending import ROWS_MOST
from emulator.logs.delivery.target import RemoteTarget, Sender, Sent, Shipment, TargetDown, TargetRefuses, secret
from emulator.logs.records import TIME

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer

KEYS = ("interface-id", "eni-id", "ccnid", "cen-id")
"""By which flow records are keyed, the first that there is."""

NAME_RULE = re.compile(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}")
"""A Kafka topic's name."""

_OF_A_RECORD = frozenset({"MSG_SIZE_TOO_LARGE", "INVALID_RECORD"})
_MISSING = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"})
_DENIED = frozenset(
    {"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "SASL_AUTHENTICATION_FAILED", "_AUTHENTICATION"}
)

_TOO_SLOW = frozenset({"_MSG_TIMED_OUT", "_TIMED_OUT", "_TRANSPORT"})
"""What librdkafka says of messages, by the names of its errors."""

_SECRET = re.compile(r"password|passphrase|secret|pem$|oauthbearer\.config")
"""Names of librdkafka's settings that are nobody else's business."""

_AFTER = re.compile(r" \(after .*")
"""librdkafka's statistics behind a reason."""

_SILENT = logging.getLogger("vpclab.kafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


@dataclass(frozen=True, kw_only=True)
class Kafka(RemoteTarget):
    """Deliver to a Kafka topic, which must be there, one message a record.

    ``brokers``   to begin with: ``kafka-1.example:9092,kafka-2.example:9092``
    ``topic``     of Kafka
    ``key``       the field that messages are keyed by; None: the ENI's, or the CCN's
    ``user``, ``password``  for SASL
    ``timeout_s``  wall time that a shipment's acknowledgement may take
    ``settings``  librdkafka's own, over ours: ``{"security.protocol": "ssl"}``; passwords among them are secrets, too
    """

    kind = "kafka"
    brokers: str = field(kw_only=False)
    topic: str
    key: str | None = None
    user: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    password: str | None = secret()

    def check(self, profile: Profile) -> None:
        super().check(profile)
        if not isinstance(self.brokers, str) or not self.brokers.strip():
            raise self.refused(profile, "brokers", "host:port, several with commas between")
        if not isinstance(self.topic, str) or not NAME_RULE.fullmatch(self.topic):
            raise self.refused(profile, "topic", "1 to 249 letters, digits, . _ or -")
        if not isinstance(self.settings, Mapping) or not all(
            isinstance(one, str) for pair in self.settings.items() for one in pair
        ):
            raise self.refused(profile, "settings", "names and values as text")
        try:
            import confluent_kafka  # noqa: F401
        except ImportError:
            raise RequirementMissing(
                "delivery to Kafka needs confluent-kafka", way_out="pip install 'vpclab[delivery]'"
            ) from None

    def opened(self) -> Sender:
        return KafkaSender(self)

    def to_fields(self) -> dict[str, Any]:
        told = {name: value for name, value in self.settings.items() if not _SECRET.search(name)}
        return {**super().to_fields(), "settings": told}

    @property
    def secrets(self) -> list[str]:
        return [*super().secrets, *(f"settings[{name!r}]" for name in self.settings if _SECRET.search(name))]


class KafkaSender(Sender):
    def __init__(self, target: Kafka) -> None:
        self.target = target
        self._said: KafkaError | None = None
        self._producer: Producer | None = None

    def send(self, shipment: Shipment) -> Sent:
        if self._producer is None:
            self._producer = self._opened()
        try:
            return self._sent(self._producer, shipment)
        except BaseException:
            self.close()  # what is queued must not go out behind the back of the next try
            raise

    def _opened(self) -> Producer:
        from confluent_kafka import KafkaException, Producer

        target = self.target
        sasl = {} if target.user is None else {"sasl.username": target.user, "sasl.password": target.password or ""}
        protocol = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN"} if sasl else {}
        settings: dict[str, Any] = {
            "bootstrap.servers": target.brokers,
            "client.id": "vpclab",
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "queue.buffering.max.messages": ROWS_MOST,
            "message.timeout.ms": round(target.timeout_s * 1000),
            "socket.connection.setup.timeout.ms": 1000,
            "allow.auto.create.topics": False,
            **protocol,
            **sasl,
            **target.settings,
            "error_cb": self._note,
        }
        self._said = None
        try:
            producer = Producer(settings, logger=_SILENT)
        except KafkaException as error:
            raise TargetRefuses(f"{target.brokers}: {error.args[0].str()}") from None
        try:
            found = producer.list_topics(target.topic, timeout=target.timeout_s).topics[target.topic]
        except KafkaException as error:
            producer.poll(0)  # for what it has to note
            raise self._told(error.args[0]) from None
        if found.error is not None:
            raise self._told(found.error)
        return producer

    def _sent(self, producer: Producer, shipment: Shipment) -> Sent:
        from confluent_kafka import KafkaException

        records = shipment.records
        keys, values = self._keys(records), json_lines(records).to_pylist()
        about: dict[str, str | bytes | None] = {"topic": shipment.topic, "delivery": shipment.delivery}
        failed: list[tuple[int, KafkaError]] = []
        rows = zip(values, keys, shipment.ids.to_pylist(), records[TIME].to_pylist(), strict=True)
        for at, (value, key, identity, time_s) in enumerate(rows):

            def delivered(error: KafkaError | None, _: object, at: int = at) -> None:
                if error is not None:
                    failed.append((at, error))

            about["id"] = identity
            try:
                producer.produce(
                    self.target.topic, value, key, headers=about, timestamp=time_s * 1000, on_delivery=delivered
                )
            except KafkaException as error:  # it is longer than librdkafka sends
                failed.append((at, error.args[0]))
        unknown = producer.flush(self.target.timeout_s + 0.5)
        grave = [error for _, error in failed if error.name() not in _OF_A_RECORD]
        if grave or unknown:
            raise self._told(grave[0] if grave else None)
        return Sent(sum(map(len, values)), dead=[shipment.dead_letter(at, error.str()) for at, error in sorted(failed)])

    def _keys(self, records: pa.Table) -> list[str | None]:
        name = self.target.key or next((key for key in KEYS if key in records.column_names), None)
        if name is None:
            return [None] * records.num_rows
        if name not in records.column_names:
            raise TargetRefuses(f"key={name!r}: the records have no {name}: {', '.join(records.column_names)}")
        keys: list[str | None] = pc.cast(records[name], pa.string()).to_pylist()
        return keys

    def _note(self, error: KafkaError) -> None:
        """librdkafka tells what is wrong with connections here, and of messages only that they took too long."""
        if self._said is None or error.name() != "_ALL_BROKERS_DOWN":
            self._said = error

    def _told(self, error: KafkaError | None) -> TargetDown | TargetRefuses:
        if error is None or error.name() in _TOO_SLOW:
            error = self._said or error
        if error is None:
            return TargetDown(f"{self.target.brokers}: no acknowledgement in time")
        message = f"{self.target.brokers}, topic {self.target.topic}: {_AFTER.sub('', error.str())}"
        if error.name() in _MISSING:
            return TargetRefuses(message, "delivery.missing")
        if error.name() in _DENIED:
            return TargetRefuses(message, "delivery.denied")
        return TargetDown(message)

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(0)
