"""Sail, a Spark Connect server on loopback: a local cluster with two workers, until its standard input ends."""

from __future__ import annotations

import os
import sys

os.environ.update(
    SAIL_MODE="local-cluster",
    SAIL_CLUSTER__WORKER_INITIAL_COUNT="2",
    SAIL_CLUSTER__WORKER_MAX_COUNT="2",
    RUST_LOG="off",
)

from pysail.spark import SparkConnectServer

server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
print(server.listening_address[1], flush=True)
sys.stdin.read()
os._exit(0)  # sessions that were left open hold nothing
