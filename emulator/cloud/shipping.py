"""What a provider allows of deliveries to its own object store, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shipping:
    """Both bounds of a range are allowed.

    ``interval_s``, ``size``  how long records wait at most, and bytes of an object
    ``prefix``          pattern of what names may begin with, its directives filled in; ``prefix_rule`` in words
    ``bucket``          pattern of bucket names; ``bucket_rule`` in words
    ``formats``, ``compressions``  that there are
    ``retries_s``       before the next try of what failed; ``gives_up``: after the last one it is left to a person
    """

    interval_s: tuple[int, int]
    size: tuple[int, int]
    prefix: str
    prefix_rule: str
    bucket: str
    bucket_rule: str
    formats: frozenset[str]
    compressions: frozenset[str]
    retries_s: tuple[int, ...]
    gives_up: bool = False
