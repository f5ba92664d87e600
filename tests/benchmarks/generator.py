"""Flow records without packets, by the million: what the collector hands to a topic, made from a seed.

A day of a VPC: 200 ENIs in windows of five minutes; few talkers make most of the traffic (Zipf), clients come from
ephemeral ports to a handful of services, one flow in ten is refused. Only the log store is measured with these: every
record of a lab comes from a packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from emulator.capture import forms, schema

START_S = 1_704_067_200
WINDOW_S = 300
WINDOWS = 288
"""A day of them."""
ENIS = 200
PEERS = 20_000
SERVICES = np.array([443, 80, 53, 22, 3306, 6379, 8080, 9092, 123, 25])


def windows(records: int, form: str = "tencent", *, days: float = 1, seed: int = 1) -> Iterator[pa.Table]:
    """``records`` records as topics take them, a table for each window, oldest first."""
    random = np.random.default_rng(seed)
    enis = np.array([f"eni-{number:08x}" for number in random.integers(1 << 32, size=ENIS)])
    own = (10 << 24) + (16 << 16) + random.choice(1 << 16, ENIS, replace=False).astype("u4")
    peers = random.integers(1 << 24, 223 << 24, PEERS, dtype="u4")
    count = round(WINDOWS * days)
    bounds = np.linspace(0, records, count + 1).astype(int)
    for window, size in enumerate(np.diff(bounds)):
        yield forms.stored(form, _window(random, int(size), START_S + window * WINDOW_S, enis, own, peers))


def _window(random: np.random.Generator, size: int, start: int, enis: Any, own: Any, peers: Any) -> pa.Table:
    eni = np.sort(random.zipf(1.3, size) % ENIS)
    peer = random.zipf(1.2, size) % PEERS
    sent = random.random(size) < 0.5
    service = SERVICES[np.minimum(random.zipf(1.6, size) - 1, len(SERVICES) - 1)]
    port = random.integers(32_768, 61_000, size)
    protocol = np.where(np.isin(service, (53, 123)), 17, 6)
    refused = random.random(size) < 0.1
    packets = np.where(refused, random.integers(1, 4, size), random.geometric(0.05, size))
    columns = {
        "direction": _either(sent, "out", "in"),
        "ip_version": pa.repeat(pa.scalar(4, pa.int32()), size),
        "protocol": pa.array(protocol.astype("i4")),
        "srcaddr": schema.dotted(np.where(sent, own[eni], peers[peer])),
        "dstaddr": schema.dotted(np.where(sent, peers[peer], own[eni])),
        "srcport": pa.array(np.where(sent, service, port).astype("i4")),
        "dstport": pa.array(np.where(sent, port, service).astype("i4")),
        "packets": pa.array(packets),
        "bytes": pa.array(packets * random.integers(40, 1500, size)),
        "action": _either(refused, "REJECT", "ACCEPT"),
        "rule": pa.array((random.zipf(2, size) % 50).astype("i4")),
        "eni_id": pa.array(enis[eni]),
        "cvm_id": pa.array(np.char.replace(enis, "eni", "ins")[eni]),
        "log_status": pa.repeat("OK", size),
    }
    constants = {
        "lab": "lab-generated",
        "flow_log_id": "fl-2edhcclz",
        "account_id": "1251762227",
        "region": "ap-guangzhou",
        "vpc_id": "vpc-pq9vxykj",
        "subnet_id": "subnet-76r802pg",
        "start": start,
        "end": start + WINDOW_S,
    }
    arrays = [
        columns.get(field.name, pa.repeat(pa.scalar(constants.get(field.name), field.type), size))
        for field in schema.RECORD
    ]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, schema.RECORD, strict=True)], schema=schema.RECORD
    )


def _either(condition: Any, yes: str, no: str) -> pa.Array:
    return pa.array([no, yes]).take(pa.array(condition.astype("i1")))
