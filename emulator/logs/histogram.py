"""How many records a search finds in each interval of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emulator.errors import InvalidValue
from emulator.logs.refusal import refuse
from emulator.logs.search import Asked, answered, question_of

if TYPE_CHECKING:
    from emulator.logs.limits import QueryLimits
    from emulator.logs.topic import Topic

MOST_BUCKETS = 100_000


@dataclass(frozen=True)
class Bucket:
    """Records with ``start`` <= time < ``end``, unix seconds."""

    start: int
    end: int
    count: int


def histogram(topic: Topic, wanted: Asked, interval_s: int, limits: QueryLimits | None) -> list[Bucket]:
    """A bucket for each multiple of ``interval_s`` in the time range, or from the first to the last that is found.

    Of a query with SQL the condition is counted, as the providers do.
    """
    if isinstance(interval_s, bool) or not isinstance(interval_s, int) or interval_s < 1:
        message = f"interval_s is a whole number of seconds, not {interval_s!r}"
        raise refuse(InvalidValue, topic.profile, "time.range", message, object=topic.id, value=interval_s)
    scan = topic.scan(wanted.low, wanted.high)
    question = replace(question_of(topic, wanted, scan, None), interval_s=interval_s)
    rows, _ = answered(topic, question, scan, limits)
    counts = {} if rows is None else dict(zip(rows["start"].to_pylist(), rows["count"].to_pylist(), strict=True))
    if not counts and (wanted.low is None or wanted.high is None):
        return []
    first = min(counts) if wanted.low is None else wanted.low - wanted.low % interval_s
    last = max(counts) if wanted.high is None else (wanted.high - 1) - (wanted.high - 1) % interval_s
    if (last - first) // interval_s >= MOST_BUCKETS:
        least = (last - first) // MOST_BUCKETS + 1
        many = f"{(last - first) // interval_s + 1} intervals of {interval_s} s"
        message = (
            f"{many}; at most {MOST_BUCKETS} are counted: give interval_s={least} or more, or a shorter time range"
        )
        raise refuse(InvalidValue, topic.profile, "time.range", message, object=topic.id, value=interval_s)
    return [Bucket(at, at + interval_s, counts.get(at, 0)) for at in range(first, last + 1, interval_s)]
