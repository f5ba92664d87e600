"""What one query of a stranger may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QueryLimits:
    """``topic.search(..., limits=QueryLimits())`` answers as for a stranger: in a process of its own, within these.

    ``seconds``  until it is answered
    ``memory``   bytes, over what the process and the rows need anyway
    ``rows``, ``answer_bytes``  of its answer; the default is what Tencent sends at most
    """

    seconds: float = 30.0
    memory: int = 1 << 30
    rows: int = 100_000
    answer_bytes: int = 49 << 20
