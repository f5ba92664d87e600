"""The time of the lab, by SNTP (RFC 4330)."""

from __future__ import annotations

import struct

_SINCE_1900_S = 2_208_988_800
_SERVER, _CLIENT, _STRATUM, _PRECISION = 4, 3, 1, -20
_LENGTH = 48


def answer(now_s: float, asked: bytes) -> bytes | None:
    """The answer to one message; None to what is no question of a client."""
    if len(asked) < _LENGTH or asked[0] & 7 != _CLIENT:
        return None
    version = asked[0] & 0x38
    stamp = struct.pack(">Q", int((now_s + _SINCE_1900_S) * 2**32) & 0xFFFF_FFFF_FFFF_FFFF)
    head = struct.pack(">BBbbLL4s", version | _SERVER, _STRATUM, asked[2], _PRECISION, 0, 0, b"LAB\0")
    return head + stamp + asked[40:48] + stamp + stamp
