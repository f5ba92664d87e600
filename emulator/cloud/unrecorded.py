"""Packets of which a provider writes no record, although they pass and are judged like any other."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.cloud.model import Network


@dataclass(frozen=True)
class Unrecorded:
    """One kind of them; None means any. ``ports`` are those of the two ends, in either order; ``network`` has either
    address."""

    protocol: int | None = None
    ports: tuple[int, int | None] | None = None
    network: Network | None = None
