"""A log service in memory for each provider, and flow records as the collector hands them over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from emulator.cloud.profile import Profile
from emulator.logs import LogService, Topic, flow_index
from emulator.providers import profile as profile_named

NOW = 1_700_000_000

FLOW_SCHEMA = pa.schema(
    [
        ("version", pa.int64()),
        ("interface-id", pa.string()),
        ("srcaddr", pa.string()),
        ("dstaddr", pa.string()),
        ("srcport", pa.int64()),
        ("dstport", pa.int64()),
        ("packets", pa.int64()),
        ("bytes", pa.int64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("action", pa.string()),
        ("log-status", pa.string()),
        ("_vpclab_rule", pa.int64()),
        ("__time__", pa.int64()),
    ]
)

FLOWS = [
    ("eni-aaaa1111", "10.16.0.22", "10.16.0.40", 512, 2048, 9, 756, 0, "ACCEPT", "OK", 3),
    ("eni-aaaa1111", "10.16.0.40", "10.16.0.22", 512, 0, 9, 756, 0, "REJECT", "OK", 4),
    ("eni-bbbb2222", "2001:db8::1", "10.16.0.4", 40000, 443, 100, 150_000, 0, "ACCEPT", "OK", 5),
    ("eni-bbbb2222", None, None, None, None, None, None, 300, None, "NODATA", None),
    ("eni-aaaa1111", "10.16.0.22", "10.16.0.40", 40001, 22, 1, 60, 300, "REJECT", "OK", 6),
]


def flow_table(flows: list[tuple[Any, ...]] = FLOWS) -> pa.Table:
    """Flow records in two windows of 300 s; time is the window's end."""
    rows = [(2, *flow[:7], NOW + flow[7], NOW + flow[7] + 300, *flow[8:], NOW + flow[7] + 300) for flow in flows]
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(FLOW_SCHEMA.names, columns, strict=True)), FLOW_SCHEMA)


def flows_of(service: LogService) -> Topic:
    """A topic with flow records, indexed."""
    topic = service.create_topic("accept", logset="demo")
    topic.enable_index(flow_index(FLOW_SCHEMA), report=True)
    topic.append(flow_table(), key="w1")
    return topic


@pytest.fixture(params=["tencent", "alibaba"])
def profile(request: pytest.FixtureRequest) -> Profile:
    return profile_named(request.param)


@pytest.fixture
def tencent() -> Profile:
    return profile_named("tencent")


@pytest.fixture
def alibaba() -> Profile:
    return profile_named("alibaba")


@pytest.fixture
def service_of(tmp_path: Path) -> Iterator[Callable[..., LogService]]:
    """Makes log services, and closes them while ``tmp_path`` is still there: compaction may be at it."""
    made: list[LogService] = []

    def make(profile: Profile, **options: Any) -> LogService:
        made.append(LogService(profile=profile, now=lambda: float(NOW), **options))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a log service may keep its rows."""
    return tmp_path / "data" / "logs"


@pytest.fixture
def opened(service_of: Callable[..., LogService], tencent: Profile, folder: Path) -> Callable[[], LogService]:
    """Opens a log service of Tencent's in the folder, as often as it is called."""
    return lambda: service_of(tencent, folder=folder)


@pytest.fixture
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of any size are written as large ones are: each becomes a segment at once."""
    monkeypatch.setattr("emulator.logs.journal.BATCH_BYTES", 0)


@pytest.fixture
def stuck_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the journal stays there."""
    monkeypatch.setattr("emulator.logs.folder.FolderStore.flush", lambda *_: None)


@pytest.fixture
def service(service_of: Callable[..., LogService], profile: Profile) -> LogService:
    return service_of(profile)


@pytest.fixture(scope="session")
def flows_in() -> Callable[[Path, str], tuple[LogService, Topic]]:
    """Makes a log service in a folder, by the name of a profile, and in it a topic with the same records."""

    def make(folder: Path, profile: str) -> tuple[LogService, Topic]:
        service = LogService(profile=profile_named(profile), now=lambda: float(NOW), folder=folder)
        return service, flows_of(service)

    return make


@pytest.fixture
def flows(service_of: Callable[..., LogService], tencent: Profile) -> Topic:
    """Tencent's flow records, indexed."""
    return flows_of(service_of(tencent))


@pytest.fixture
def sls_flows(service_of: Callable[..., LogService], alibaba: Profile) -> Topic:
    """The same records in a Logstore, to be asked in SLS."""
    return flows_of(service_of(alibaba))
