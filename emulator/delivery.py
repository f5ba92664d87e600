"""Where a topic's records can go: the targets that ``topic.deliver(to=...)`` takes, and what it gives."""

from emulator.logs.delivery import (
    S3,
    Cos,
    DeadLetter,
    Delivery,
    Elasticsearch,
    Folder,
    Kafka,
    Oss,
    Splunk,
)

__all__ = ["S3", "Cos", "DeadLetter", "Delivery", "Elasticsearch", "Folder", "Kafka", "Oss", "Splunk"]
