"""The bill: what the meter counted, at the provider's prices, line by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from emulator.cloud.prices import Price
from emulator.logs import LogService
from emulator.logs.bill import GB, bill_of
from emulator.logs.store import Usage
from emulator.providers import PROFILES
from emulator.providers import profile as profile_named

HALF_INDEXED = Usage(
    collected=8 * GB, written=16 * GB, stored=16 * GB, indexed=8 * GB, read=10 * GB, byte_days=160 * GB
)

BILLS = {
    "tencent": {
        "collection of flow logs": (8, 0),
        "write traffic": (4, 0.128),
        "index traffic": (8, 0.496),
        "log storage": (40, 0.096),
        "index storage": (80, 0.192),
        "search and analysis": (10, 0),
        "dashboards": (10, 0),
    },
    "alibaba": {
        "generation of flow logs": (3, 1.11),
        "write traffic": (3.2, 0.144),
        "index traffic": (8, None),
        "log storage": (32, None),
        "index storage": (80, None),
        "read traffic": (2, 0.09),
    },
}
BILLS["tencent-2020"] = {**BILLS["tencent"], "search and analysis": (10, 0.32)}
BILLS["alibaba-2019"] = {**BILLS["alibaba"], "generation of flow logs": (8, 0)}


@pytest.mark.parametrize("name", PROFILES)
def test_the_lines_of_a_bill(name: str) -> None:
    bill = bill_of(profile_named(name).prices, [HALF_INDEXED])
    lines = {line.price.item: (round(line.billed, 9), line.usd and round(line.usd, 9)) for line in bill}
    assert lines == BILLS[name]
    assert bill.usd == pytest.approx(sum(usd or 0 for _, usd in BILLS[name].values()))
    assert all(line.price.source and line.price.date for line in bill)
    *told, total = str(bill).splitlines()
    assert (len(told), "without 3 lines that have no price" in total) == (len(lines), name.startswith("alibaba"))


def test_a_line_tells_how_it_was_computed() -> None:
    told = str(bill_of(profile_named("tencent").prices, [HALF_INDEXED])).splitlines()
    assert told[1].startswith("write traffic: 16.000000 GB, 25% of it billed, 0.032 USD for a GB: 0.128000 USD (")
    assert told[-1] == "total: 0.912000 USD"
    generation = str(bill_of(profile_named("alibaba").prices, [HALF_INDEXED])[0])
    assert generation.startswith("generation of flow logs: 8.000000 GB, 5 GB free: 1.110000 USD (")


@pytest.mark.parametrize(
    ("billed", "usd"),
    [(0, 0), (1, 0.37), (10_240, 3788.8), (10_241, 3788.985), (30_720, 7577.6), (51_201, 9093.157)],
)
def test_what_gets_cheaper(billed: float, usd: float) -> None:
    generation = profile_named("alibaba").prices[0]
    assert generation.amount(billed) == pytest.approx(usd)


def test_a_price_that_was_not_found_is_no_zero() -> None:
    assert Price("storage", "stored_days", (), "nowhere", "2026").amount(5) is None


def test_topics_are_billed_together(service_of: Callable[..., LogService], tencent: Any) -> None:
    service = service_of(tencent)
    one, other = (service.create_topic(name, index={"a": "text"}) for name in ("one", "other"))
    one.append(pa.table({"__time__": [1], "a": ["x"]}), key="k")
    other.write([{"a": "xyz"}])
    sizes = [6, 8]
    assert [topic.usage.written for topic in (one, other)] == sizes
    collected, written, *_ = service.bill
    assert (collected.quantity * GB, written.quantity * GB) == (sizes[0], sum(sizes))
    assert one.bill[1].quantity * GB == sizes[0]


def test_storage_is_billed_by_the_day(tencent: Any) -> None:
    now = [1_700_000_000.0]
    with LogService(profile=tencent, now=lambda: now[0]) as service:
        topic = service.create_topic("kept", retention_days=2)
        topic.write([{"a": "xyz"}])
        for days in (0.5, 1.0, 1.5, 2.0):
            now[0] = 1_700_000_000 + days * 86_400
            assert topic.usage.byte_days == pytest.approx(8 * days)
        now[0] += 10
        service.expire()
        now[0] += 86_400
        assert topic.usage.stored == 0
        assert topic.usage.byte_days == pytest.approx(16, rel=1e-3)
