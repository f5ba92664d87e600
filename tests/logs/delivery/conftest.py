"""A log service whose lab time the test moves, and targets that do as they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from emulator.logs import LogService, Topic
from emulator.logs.delivery import Sender, Sent, Shipment, Target, TargetDown, TargetRefuses
from emulator.logs.delivery.kinds import KINDS
from emulator.providers import profile as profile_named
from tests.logs.delivery.stores import Broker, ScriptedElasticsearch, ScriptedSplunk

START = 1_700_000_000.0


@dataclass
class Bench:
    """A log service and its clock."""

    service: LogService
    now_s: float = START

    def advance(self, seconds: float) -> None:
        self.service.deliver(self.now_s + seconds)
        self.now_s += seconds
        self.service.expire()


@dataclass(frozen=True, kw_only=True)
class Told(Target):
    """A target that keeps what it got, and answers what it is told to; errors are raised one after the other."""

    kind = "told"
    got: list[Shipment] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def opened(self) -> Sender:
        return _Sender(self)

    def to_fields(self) -> dict[str, Any]:
        return {"interval_s": self.interval_s, "size": self.size}

    @property
    def numbers(self) -> list[int]:
        return [number for one in self.got for number in one.records["n"].to_pylist()]


class _Sender(Sender):
    def __init__(self, target: Told) -> None:
        self.target = target

    def send(self, shipment: Shipment) -> Sent:
        if self.target.errors:
            raise self.target.errors.pop(0)
        self.target.got.append(shipment)
        return Sent(shipment.stored.nbytes)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> type[Told]:
    monkeypatch.setitem(KINDS, "told", Told)
    return Told


@pytest.fixture(params=["memory", "folder"])
def bench(request: pytest.FixtureRequest, bench_on: Callable[..., Bench], tmp_path: Path) -> Bench:
    return bench_on(tmp_path / "data" if request.param == "folder" else None)


@pytest.fixture
def bench_on() -> Iterator[Callable[..., Bench]]:
    """Opens a folder, or memory, as often as it is called."""
    made: list[LogService] = []

    def make(folder: Path | None, name: str = "tencent", now_s: float = START) -> Bench:
        bench: Bench
        service = LogService(profile=profile_named(name), now=lambda: bench.now_s, folder=folder)
        made.append(service)
        bench = Bench(service, now_s)
        return bench

    yield make
    for service in made:
        service.close()


@pytest.fixture
def topic(bench: Bench) -> Topic:
    return bench.service.create_topic("app", index={"n": "long", "text": "text"})


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"n": number, "text": f"row {number}"} for number in numbers]


def numbers_in(folder: Path) -> list[int]:
    """Of all Parquet files there, by their names' order."""
    return [n for path in sorted(folder.rglob("*.parquet")) for n in pq.read_table(path)["n"].to_pylist()]


@pytest.fixture
def elastic() -> Iterator[Callable[..., ScriptedElasticsearch]]:
    yield from _made(ScriptedElasticsearch)


@pytest.fixture
def splunk() -> Iterator[Callable[..., ScriptedSplunk]]:
    yield from _made(ScriptedSplunk)


def _made(kind: type[Any]) -> Iterator[Callable[..., Any]]:
    made = []

    def make(**options: Any) -> Any:
        made.append(kind(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.stop()


__all__ = ["START", "Bench", "TargetDown", "TargetRefuses", "Told", "numbered", "numbers_in"]
