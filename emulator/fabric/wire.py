"""The form of netlink messages: headers and attributes, packed and walked. After linux/netlink.h."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

from emulator.errors import KernelRefused

REQUEST, ACK, DUMP, CREATE, EXCL = 0x1, 0x4, 0x300, 0x400, 0x200
"""Flags of a request."""

DUMP_INTERRUPTED = 0x10
"""Flag of an answer: what was dumped has changed meanwhile."""

ERROR = 2
"""The type of a message that acknowledges a request or refuses it."""

NESTED = 0x8000
"""Flag of an attribute's type: attributes are in it."""

_HEADER, _ATTRIBUTE = 16, 4
_TYPE = 0x3FFF  # without NESTED and NLA_F_NET_BYTEORDER


def message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    """A message; ``number`` is what its answer is known by."""
    return struct.pack("=LHHLL", _HEADER + len(body), kind, flags, number, 0) + body


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", _ATTRIBUTE + len(data), kind) + data + b"\0" * (-len(data) % 4)


def nested(kind: int, attributes: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | NESTED, attributes)


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits in the machine's order."""
    return struct.pack("=HHL", 8, kind, value)


def string(kind: int, text: str) -> bytes:
    """An attribute of text, ended by a zero byte."""
    return attribute(kind, text.encode() + b"\0")


def messages(data: bytes | memoryview) -> Iterator[tuple[int, int, int, int]]:
    """(type, flags, first byte behind the header, end) of each message; raises KernelRefused where one is cut off."""
    at = 0
    while at < len(data):
        length = kind = flags = 0
        if at + _HEADER <= len(data):
            length, kind, flags = struct.unpack_from("=LHH", data, at)
        if length < _HEADER or at + length > len(data):
            raise KernelRefused(f"netlink messages are cut off after {at} bytes", errno=errno.EINVAL, request="netlink")
        yield kind, flags, at + _HEADER, at + length
        at += (length + 3) & ~3


def attributes(data: bytes | memoryview, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, first byte, end) of each attribute between two places; what is cut off is left out."""
    while at + _ATTRIBUTE <= end:
        length, kind = struct.unpack_from("=HH", data, at)
        if length < _ATTRIBUTE:
            return
        yield kind & _TYPE, at + _ATTRIBUTE, at + length
        at += (length + 3) & ~3
