"""COS, OSS and S3 against SeaweedFS's gateway, which checks keys; read back by pyarrow, DuckDB and obstore."""

from __future__ import annotations

import gzip
import io
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from emulator.errors import InvalidValue, Unsupported
from emulator.logs import Topic
from emulator.logs.delivery import S3, Cos, Oss, TargetDown, TargetRefuses
from emulator.pytest_plugin import need_kernel
from scenarios import SCENARIOS, tell
from scenarios.receivers import Reply
from tests.logs.delivery import seaweed
from tests.logs.delivery.conftest import START, Bench, numbered
from tests.logs.delivery.stores import ScriptedElasticsearch, flows, shipment

BUCKET = "audit-1250000000"


@pytest.fixture
def bucket(server: seaweed.Seaweed) -> Iterator[seaweed.Seaweed]:
    server.make_bucket(BUCKET)
    yield server
    server.remove_bucket(BUCKET)


def topic_of(bench: Bench) -> Topic:
    return bench.service.create_topic("app")


READ: dict[tuple[str, str], Callable[[bytes], list[int]]] = {
    ("json", "none"): lambda data: [json.loads(line)["n"] for line in data.splitlines()],
    ("json", "gzip"): lambda data: [json.loads(line)["n"] for line in gzip.decompress(data).splitlines()],
    ("csv", "gzip"): lambda data: pa.csv.read_csv(io.BytesIO(gzip.decompress(data)))["n"].to_pylist(),
    ("parquet", "snappy"): lambda data: pq.read_table(io.BytesIO(data))["n"].to_pylist(),
    ("parquet", "zstd"): lambda data: pq.read_table(io.BytesIO(data))["n"].to_pylist(),
    ("orc", "gzip"): lambda data: pyarrow.orc.read_table(io.BytesIO(data))["n"].to_pylist(),
    ("line", "none"): lambda data: [int(line.split()[0]) for line in data.splitlines()],
}


def test_records_become_objects_that_others_read(
    bucket: seaweed.Seaweed, bench_on: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_on(None)
    topic = topic_of(bench)
    for form, compression in READ:
        target = S3(
            BUCKET,
            endpoint=bucket.endpoint,
            format=form,  # type: ignore[arg-type]
            compression=compression,  # type: ignore[arg-type]
            prefix=f"{form}/{compression}/dt=%Y-%m-%d/",
            **bucket.keys,
        )
        topic.deliver(target, name=f"{form} {compression}")
    topic.write(numbered(1, 2))
    topic.write(numbered(3))
    with monkeypatch.context() as other:
        other.setenv("AWS_SESSION_TOKEN", "of keys that somebody has in the environment")
        other.setenv("AWS_SKIP_SIGNATURE", "true")
        bench.advance(300)
    assert [(one.error, one.records) for one in topic.deliveries] == [(None, 3)] * len(READ)
    objects = bucket.objects(BUCKET)
    assert len(objects) == len(READ)
    for name, data in objects.items():
        form, compression, day, _ = name.split("/")
        assert day == "dt=2023-11-14"
        assert READ[form, compression](data) == [1, 2, 3]
    (name,) = (name for name in objects if name.startswith("parquet/zstd"))
    host = bucket.endpoint.removeprefix("http://")
    files = pyarrow.fs.S3FileSystem(
        access_key=seaweed.ACCESS_KEY, secret_key=seaweed.SECRET_KEY, endpoint_override=host, scheme="http", region="x"
    )
    table = pq.read_table(f"{BUCKET}/{name}", filesystem=files)
    assert table.schema.names[:3] == ["__time__", "n", "text"]
    (tmp_path / "object.parquet").write_bytes(objects[name])
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT sum(n), min(text), min(__time__) FROM '{tmp_path}/object.parquet'")
        assert found.fetchall() == [(6, "row 1", START)]


def test_lifecycle_wrong_keys_no_bucket(server: seaweed.Seaweed, bench_on: Callable[..., Bench]) -> None:
    bench = bench_on(None)
    topic = topic_of(bench)
    target = Cos(BUCKET, endpoint=server.endpoint, prefix="audit/", expire_days=7, **server.keys)
    delivery = topic.deliver(target)
    topic.write(numbered(1))
    bench.advance(300)
    assert (delivery.state, delivery.code) == ("failed", "10001"), delivery.error
    assert delivery.error is not None
    assert delivery.error.startswith(f"bucket {BUCKET}: NoSuchBucket: ")
    server.make_bucket(BUCKET)
    try:
        delivery.restart(to=replace(target, secret_key="not the one"))
        bench.advance(0)
        assert (delivery.state, delivery.code) == ("failed", "10002")
        assert delivery.error.startswith(f"bucket {BUCKET}: SignatureDoesNotMatch: ")
        delivery.restart(to=replace(target, access_key="nobody"))
        bench.advance(0)
        assert delivery.error.startswith(f"bucket {BUCKET}: InvalidAccessKeyId: ")
        assert server.objects(BUCKET) == {}
        delivery.restart(to=target)
        bench.advance(0)
        assert (delivery.state, delivery.records, len(server.objects(BUCKET))) == ("running", 1, 1)
        bench.advance(6 * 86_400)
        topic.write(numbered(2))
        bench.advance(86_400)
        (left,) = server.objects(BUCKET).values()
        assert (json.loads(left)["n"], [one.records for one in delivery.objects]) == (2, [1])
    finally:
        server.remove_bucket(BUCKET)


@pytest.mark.kernel
@pytest.mark.parametrize(("name", "account"), [("tencent", BUCKET), ("alibaba", "audit")])
def test_a_story_of_an_audit(name: str, account: str, server: seaweed.Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    need_kernel()
    monkeypatch.setenv("VPCLAB_BUCKETS", server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.SECRET_KEY)
    server.make_bucket(account)
    try:
        assert tell(SCENARIOS["audit-delivery"], name).failure is None
        assert server.objects(account) == {}, "three years are over"
    finally:
        server.remove_bucket(account)


def test_nobody_listens(bench_on: Callable[..., Bench]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        bench = bench_on(None, "alibaba")
        topic = topic_of(bench)
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        delivery = topic.deliver(Oss("audit", endpoint=endpoint, access_key="a", secret_key="b"))
        topic.write(numbered(1))
        bench.advance(300)
        assert (delivery.state, delivery.code, delivery.retry_at) == ("retrying", "InternalServerError", START + 1_200)
        assert delivery.error == "bucket audit: Connection refused"
        bench.advance(86_400)
        assert delivery.state == "failed", "after 15, 30 and 60 minutes"
        assert "tried 4 times" in str(delivery.error)


KEYS = {"access_key": "a", "secret_key": "b"}
ANSWERS: dict[str, tuple[Reply | None, str]] = {
    "500": (Reply(500, "no idea"), '500 Internal Server Error: "no idea"'),
    "429": (Reply(429, "slow down"), '429 Too Many Requests: "slow down"'),
    "a redirection": (Reply(307, {}, {"location": "http://127.0.0.1:1"}), "307 Temporary Redirect: "),
    "the connection is closed": (None, "the connection was closed before an answer"),
    "no answer of a store": (
        Reply(200, "welcome"),
        "Generic S3 error: Unable to extract metadata from headers: ETag Header missing from response",
    ),
}


@pytest.mark.parametrize(("reply", "said"), ANSWERS.values(), ids=ANSWERS)
def test_what_may_pass_is_tried_again(
    reply: Reply | None, said: str, elastic: Callable[..., ScriptedElasticsearch]
) -> None:
    store = elastic()
    store.script.append(reply)
    with pytest.raises(TargetDown) as down:
        S3("audit", endpoint=store.url, timeout_s=20, **KEYS).opened().send(shipment(flows({})))
    assert str(down.value) == f"bucket audit: {said}"
    assert [request.method for request in store.requests] == ["PUT"]


@pytest.mark.parametrize(("status", "said"), [(400, "400 Bad Request: "), (301, "Received redirect without")])
def test_what_the_store_will_not_take(status: int, said: str, elastic: Callable[..., ScriptedElasticsearch]) -> None:
    store = elastic()
    store.script.append(Reply(status, "no"))
    with pytest.raises(TargetRefuses, match=rf"^bucket audit: {said}.*; restart\(to=…\)"):
        S3("audit", endpoint=store.url, timeout_s=20, **KEYS).opened().send(shipment(flows({})))


def test_a_store_that_hangs_is_down(elastic: Callable[..., ScriptedElasticsearch]) -> None:
    store = elastic()
    with store.lock, pytest.raises(TargetDown, match="bucket audit: no answer in time"):
        S3("audit", endpoint=store.url, timeout_s=0.05, **KEYS).opened().send(shipment(flows({})))


REFUSED: dict[str, tuple[str, Callable[[], S3], type[Exception], str]] = {
    "no keys": ("tencent", lambda: S3("abc"), InvalidValue, "access_key is missing"),
    "no secret": ("tencent", lambda: S3("abc", access_key="a"), InvalidValue, "secret_key is missing"),
    "line break": ("tencent", lambda: S3("abc", **{**KEYS, "access_key": "a\n"}), InvalidValue, "without line breaks"),
    "no ascii": ("tencent", lambda: S3("abc", **{**KEYS, "access_key": "ä"}), InvalidValue, "not ASCII"),
    "nowhere": ("tencent", lambda: S3("abc", region="a\n", **KEYS), InvalidValue, "letters, digits"),
    "user": ("tencent", lambda: S3("abc", endpoint="http://a:b@c", **KEYS), InvalidValue, "without user"),
    "bucket": ("tencent", lambda: S3("a", **KEYS), InvalidValue, "3 to 63"),
    "endpoint": ("tencent", lambda: S3("abc", endpoint="10.0.0.1", **KEYS), InvalidValue, "http://… or"),
    "waits": ("tencent", lambda: S3("abc", timeout_s=0, **KEYS), InvalidValue, "seconds, at most 600"),
    "another's": ("tencent", lambda: Oss("abc", **KEYS), Unsupported, "tencent delivers to cos"),
    "cos at alibaba": ("alibaba", lambda: Cos("abc-1250000000", **KEYS), Unsupported, "alibaba delivers to oss"),
    "account": ("tencent", lambda: Cos("abc", **KEYS), InvalidValue, "name-1250000000"),
    "soon": ("tencent", lambda: Cos(BUCKET, interval_s=60, **KEYS), InvalidValue, "from 300 to 900"),
    "large": ("alibaba", lambda: Oss("abc", size=1 << 30, **KEYS), InvalidValue, "from 5242880 to 268435456"),
    "orc": ("tencent", lambda: Cos(BUCKET, format="orc", **KEYS), InvalidValue, "one of csv, json, parquet"),
    "line": ("tencent", lambda: Cos(BUCKET, format="line", **KEYS), InvalidValue, "one of csv, json, parquet"),
    "zstd": ("tencent", lambda: Cos(BUCKET, compression="zstd", **KEYS), InvalidValue, "one of gzip, none, snappy"),
    "prefix": ("tencent", lambda: Cos(BUCKET, prefix="ä/%Y", **KEYS), InvalidValue, "at most 256 letters"),
    "region": ("tencent", lambda: Cos(BUCKET, region="cn-hangzhou", **KEYS), InvalidValue, "a region of tencent"),
}


@pytest.mark.parametrize(("name", "target", "kind", "said"), REFUSED.values(), ids=REFUSED)
def test_what_the_provider_does_not_take_is_refused(
    name: str, target: Callable[[], S3], kind: type[Exception], said: str, bench_on: Callable[..., Bench]
) -> None:
    with pytest.raises(kind, match=said):
        topic_of(bench_on(None, name)).deliver(target())


def test_keys_are_neither_shown_nor_kept(bench_on: Callable[..., Bench], tmp_path: Path) -> None:
    bench = bench_on(tmp_path / "data")
    target = S3("abc", access_key="the id", secret_key="the key", endpoint="http://127.0.0.1:1")
    assert "the" not in repr(target)
    topic_of(bench).deliver(target)
    bench.service.close()
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or b"the key" not in path.read_bytes()
    (delivery,) = bench_on(tmp_path / "data").service.topic("app").deliveries
    assert (delivery.state, delivery.error) == (
        "failed",
        "access_key, secret_key are not kept on disk: restart(to=…) with them",
    )
    with pytest.raises(InvalidValue, match="access_key, secret_key are not kept on disk"):
        delivery.restart()
    assert delivery.state == "failed"
    delivery.restart(to=target)
    assert delivery.state == "running"


def test_a_provider_s_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("obstore.store.S3Store", lambda bucket, **options: asked.append(options))
    for target in (Cos("audit-1250000000", **KEYS), Oss("audit", region="cn-beijing", **KEYS), S3("audit", **KEYS)):
        target.opened()._store()  # type: ignore[attr-defined]
    assert [(one["config"].get("endpoint"), one["config"]["virtual_hosted_style_request"]) for one in asked] == [
        ("https://audit-1250000000.cos.ap-guangzhou.myqcloud.com", True),
        ("https://audit.oss-cn-beijing.aliyuncs.com", True),
        (None, False),
    ]
