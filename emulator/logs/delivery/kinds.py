"""The kinds of targets that there are, and how what was asked for is kept on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence

from emulator.logs.delivery.buckets import S3, Cos, Oss
from emulator.logs.delivery.elasticsearch import Elasticsearch
from emulator.logs.delivery.folder import Folder
from emulator.logs.delivery.kafka import Kafka
from emulator.logs.delivery.splunk import Splunk
from emulator.logs.delivery.target import Target

KINDS: dict[str, type[Target]] = {
    target.kind: target for target in (Folder, Cos, Oss, S3, Elasticsearch, Splunk, Kafka)
}


def definition_of(target: Target, flow_logs: Sequence[str]) -> str:
    """What is kept of a delivery: no secrets, only which there are."""
    told = {"kind": target.kind, "target": target.to_fields(), "secrets": target.secrets, "flow_logs": list(flow_logs)}
    return json.dumps(told)


def defined(definition: str) -> tuple[Target, list[str], list[str]]:
    """The target, without its secrets; the names of these; the flow logs."""
    told = json.loads(definition)
    return KINDS[told["kind"]](**told["target"]), told["secrets"], told["flow_logs"]
