"""Faults on order at targets: the state, the provider's code, what is said, and the way back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulator.logs.delivery.faults import TargetOrder
from tests.logs.delivery.conftest import START, Bench, Told, numbered

Codes = dict[str, str | None]
INTERNAL: Codes = {"tencent": "10003", "alibaba": "InternalServerError"}
DENIED: Codes = {"tencent": "10002", "alibaba": "AccessDenied"}
MISSING: Codes = {"tencent": "10001", "alibaba": "NoSuchBucket"}

PASSING: dict[str, tuple[TargetOrder, str, float, list[int]]] = {
    "500": (TargetOrder("answer", 1), "HTTP 500: Internal Server Error, on order", 1, [1, 2]),
    "503": (TargetOrder("answer", 1, status=503), "HTTP 503: Service Unavailable, on order", 1, [1, 2]),
    "429": (TargetOrder("answer", 1, status=429), "HTTP 429: Too Many Requests, on order", 1, [1, 2]),
    "429 that says when": (
        TargetOrder("answer", 1, status=429, retry_after_s=90),
        "HTTP 429: Too Many Requests, on order",
        90,
        [1, 2],
    ),
    "it hangs": (TargetOrder("hang", 1), "no answer in time, on order", 1, [1, 2]),
    "it closes": (TargetOrder("close", 1), "the connection was closed before an answer, on order", 1, [1, 2, 1, 2]),
}
PROVIDERS = pytest.mark.parametrize("provider", ["tencent", "alibaba"])


@PROVIDERS
@pytest.mark.parametrize(("order", "said", "after_s", "numbers"), PASSING.values(), ids=PASSING)
def test_what_passes_is_tried_again(
    provider: str,
    order: TargetOrder,
    said: str,
    after_s: float,
    numbers: list[int],
    bench_on: Callable[..., Bench],
    told: type[Told],
) -> None:
    bench = bench_on(None, provider)
    topic = bench.service.create_topic("app", index={"n": "long"})
    target = told()
    delivery = topic.deliver(target)
    topic.write(numbered(1, 2))
    bench.service.deliveries.faults.orders.append(TargetOrder(**vars(order)))
    bench.advance(0)
    assert (delivery.state, delivery.error, delivery.code) == ("retrying", said, INTERNAL[provider])
    assert (delivery.retry_at, delivery.records, delivery.lag.records) == (START + after_s, 0, 2)
    bench.advance(after_s - 0.5)
    assert delivery.state == "retrying"
    bench.advance(0.5)
    assert (delivery.state, delivery.error, delivery.code, delivery.records) == ("running", None, None, 2)
    assert target.numbers == numbers


@PROVIDERS
@pytest.mark.parametrize(("status", "codes"), [(401, DENIED), (403, DENIED), (404, MISSING), (400, INTERNAL)], ids=str)
def test_what_somebody_has_to_mend(
    provider: str, status: int, codes: Codes, bench_on: Callable[..., Bench], told: type[Told]
) -> None:
    bench = bench_on(None, provider)
    topic = bench.service.create_topic("app", index={"n": "long"})
    target = told()
    delivery = topic.deliver(target)
    topic.write(numbered(1))
    faults = bench.service.deliveries.faults
    faults.orders.append(TargetOrder("answer", None, status=status))
    bench.advance(0)
    assert (delivery.state, delivery.code, delivery.retry_at) == ("failed", codes[provider], None)
    topic.write(numbered(2))
    bench.advance(3600)
    delivery.restart()
    bench.advance(1)
    assert (delivery.state, target.numbers) == ("failed", [])
    faults.mend()
    delivery.restart()
    bench.advance(1)
    assert (delivery.state, target.numbers) == ("running", [1, 2])


def test_until_it_is_mended(bench: Bench, told: type[Told]) -> None:
    topic = bench.service.create_topic("app", index={"n": "long"})
    broken, whole = told(), told()
    delivery = topic.deliver(broken)
    topic.deliver(whole)
    faults = bench.service.deliveries.faults
    faults.orders.append(TargetOrder("hang", None, delivery.number))
    topic.write(numbered(1))
    bench.advance(3600)
    assert (delivery.state, broken.numbers, whole.numbers) == ("retrying", [], [1])
    assert delivery.retry_at is not None
    faults.mend(delivery.number + 1)
    bench.advance(60)
    assert broken.numbers == []
    faults.mend(delivery.number)
    bench.advance(60)
    assert (delivery.state, broken.numbers) == ("running", [1])


def test_faults_come_one_after_the_other(bench: Bench, told: type[Told]) -> None:
    topic = bench.service.create_topic("app", index={"n": "long"})
    target = told()
    delivery = topic.deliver(target)
    bench.service.deliveries.faults.orders += [TargetOrder("hang", 2), TargetOrder("answer", 1)]
    topic.write(numbered(1))
    said = []
    for seconds in (0, 1, 2, 5):
        bench.advance(seconds)
        said.append(delivery.error)
    assert [text and text.partition(" ")[0] for text in said] == ["no", "no", "HTTP", None]
    assert bench.service.deliveries.faults.orders == []
