"""Taps: what passes the interfaces of a VPC, kept in the kernel's own queue until somebody asks.

An ordinary packet socket in the VPC's namespace sees each packet of a CVM before any rule does, and each packet to a
CVM behind all of them. Nobody reads it while packets pass, so it costs nearly nothing; a queue of an ordinary user has
room for some 500 small packets. A ring would hold more, but the kernel waits 15 ms for grace periods when it is made,
and as long again when it goes (measured on Linux 6.18).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterable
from typing import NamedTuple

from emulator.fabric.client import KeeperClient

MOST = 2_000
"""Frames that a tap keeps."""

_ETH_P_ALL, _SOL_PACKET, _STATISTICS = 3, 263, 6
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_QUEUE = 4 << 20
_LONGEST = 65_536


class Frame(NamedTuple):
    """One Ethernet frame at an interface of the VPC; ``sent``: the CVM sent it. ``time`` is wall time, seconds."""

    time: float
    interface: str
    sent: bool
    data: bytes


class Tap:
    """Open from here until :meth:`close`."""

    def __init__(self, keeper: KeeperClient, ns: int) -> None:
        self._socket = keeper.socket(ns, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)  # as much as the host allows
        self.frames: list[Frame] = []
        self.lost = 0
        """Frames that found no room."""

    def drain(self) -> None:
        """Take over what has passed so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, address = self._socket.recvmsg(_LONGEST, 64, socket.MSG_DONTWAIT)
                if len(self.frames) == MOST:
                    self.lost += 1
                    continue
                seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
                sent = address[2] != socket.PACKET_OUTGOING
                self.frames.append(Frame(seconds + nanoseconds / 1e9, address[0], sent, data))
        _, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))  # since last asked
        self.lost += dropped

    @staticmethod
    def close(taps: Iterable[Tap]) -> None:
        """End these; the kernel waits for a grace period for each, so nobody waits for that."""
        handles = [tap._socket for tap in taps]

        def close() -> None:
            for handle in handles:
                handle.close()

        threading.Thread(target=close, name="vpclab-taps").start()
