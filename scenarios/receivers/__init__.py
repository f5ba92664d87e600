"""Servers on loopback that take records as Elasticsearch and Splunk do, for stories and tests without either.

They refuse what the real ones refuse, with their codes, as far as a sender of logs can meet it, and keep in memory
what they took.
"""

from __future__ import annotations

from scenarios.receivers.elasticsearch import Elasticsearch
from scenarios.receivers.server import Receiver, Reply, Request
from scenarios.receivers.splunk import Splunk

__all__ = ["Elasticsearch", "Receiver", "Reply", "Request", "Splunk"]
