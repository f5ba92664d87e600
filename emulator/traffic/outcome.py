"""What became of traffic: how many packets, of how many bytes, went out and came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IP, UDP, TCP = 20, 8, 20
"""Bytes of the headers without options."""

TCP_OPTIONS, SYN_OPTIONS = 12, 20
"""Bytes of what Linux adds by default: time stamps; with SYN also MSS, selective acknowledgement, window scale."""

Verdict = Literal["answered", "refused", "silent"]


@dataclass(frozen=True)
class Tally:
    """Packets and their bytes (IP total lengths), as records count them."""

    packets: int = 0
    bytes: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.packets + other.packets, self.bytes + other.bytes)

    def __sub__(self, other: Tally) -> Tally:
        return Tally(self.packets - other.packets, self.bytes - other.bytes)


@dataclass(frozen=True)
class Exchange:
    """``outcome``: "answered", "refused" by the other end, or "silent" where nothing came back; ``sent`` and
    ``received`` are those of the end that began, None where a program at the other end decides on them; ``data`` is
    what it was told.

    ``retransmitted`` packets, sent again because the machine was too busy, are not among those ``sent``.
    """

    outcome: Verdict
    sent: Tally | None
    received: Tally | None
    data: bytes = b""
    retransmitted: int = 0


SYN = Tally(1, IP + TCP + SYN_OPTIONS)
ACK = Tally(1, IP + TCP + TCP_OPTIONS)
RST = Tally(1, IP + TCP)
"""In answer to a SYN: without options."""


def segment(size: int) -> Tally:
    """A TCP segment with so many bytes of data."""
    return ACK + Tally(0, size)


def datagram(size: int) -> Tally:
    """A UDP datagram with so many bytes of data."""
    return Tally(1, IP + UDP + size)
