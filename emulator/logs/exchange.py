"""What a worker and its caller say to each other over their socket."""

from __future__ import annotations

import array
import socket
import struct

LENGTHS = struct.Struct("<II")
"""What an answer begins with: the lengths of its header and of its table."""

READY = b"!"
"""What a worker says when it is there."""

_LENGTH = struct.Struct("<Q")


def send(channel: socket.socket, payload: bytes, descriptors: list[int]) -> None:
    """A request, with its length before it."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    channel.sendmsg([_LENGTH.pack(len(payload))], rights)
    channel.sendall(payload)


def receive(channel: socket.socket) -> tuple[bytes, list[int]] | None:
    """A request with its descriptors; None when the caller is gone."""
    first, ancillary, _, _ = channel.recvmsg(_LENGTH.size, socket.CMSG_LEN(4))
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data)
    size = read(channel, _LENGTH.size - len(first)) if first else None
    payload = None if size is None else read(channel, _LENGTH.unpack(first + size)[0])
    return None if payload is None else (payload, list(descriptors))


def read(channel: socket.socket, size: int) -> bytes | None:
    """Exactly this many bytes; None when the other side is gone."""
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(min(size - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
