"""Captures: everything that passes at the CVM's end of an ENI, both ways, as a pcap file.

The kernel writes frames into a ring that is mapped into this process (AF_PACKET, TPACKET_V2, frames of one size); a
thread lays an array over the ring and writes whole runs of frames at once. ``tcpdump`` cannot do this for an ordinary
user: it insists on changing its groups, which a user namespace forbids.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import threading
import warnings
from os import PathLike
from types import TracebackType

import numpy as np

from emulator.errors import GuestError
from emulator.fabric.client import KeeperClient

_SOL_PACKET, _VERSION, _RX_RING, _STATISTICS, _V2 = 263, 10, 5, 6, 1
_ETH_P_ALL = 3
_FRAME, _BLOCK, _BLOCKS = 2048, 1 << 18, 256
_FRAMES = _BLOCK * _BLOCKS // _FRAME
_FOR_USER = 1
_MOST_AT_ONCE = 8192

_HEADER = np.dtype(
    [
        ("status", "u4"),
        ("length", "u4"),
        ("kept", "u4"),
        ("mac", "u2"),
        ("net", "u2"),
        ("seconds", "u4"),
        ("nanoseconds", "u4"),
    ]
)
"""The beginning of struct tpacket2_hdr (linux/if_packet.h)."""

_FILE_HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
"""pcap 2.4 with nanoseconds, link type Ethernet."""


class CaptureLoss(UserWarning):
    """The kernel could not keep every frame of a capture."""


class Capture:
    """A running capture, for a ``with`` block; ``packets`` and ``lost`` are final when the block has ended.

    Times in the file are wall time. A loss is also warned about, as CaptureLoss.
    """

    def __init__(self, keeper: KeeperClient, ns: int, index: int, path: str | PathLike[str], title: str) -> None:
        self._keeper, self._ns, self._interface, self._title = keeper, ns, f"eth{index - 2}", title
        self.path = os.fspath(path)
        self.packets = 0
        self.lost = 0
        self._next = 0
        self._failure: OSError | None = None

    def __enter__(self) -> Capture:
        try:
            self._file = open(self.path, "wb", buffering=0)
        except OSError as error:
            raise GuestError(f"capture at {self._title}: cannot write {self.path}: {error.strerror}") from error
        try:
            self._file.write(_FILE_HEADER)
            self._socket = self._keeper.socket(self._ns, socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.setsockopt(_SOL_PACKET, _VERSION, _V2)
            ring = struct.pack("=IIII", _BLOCK, _BLOCKS, _FRAME, _FRAMES)
            self._socket.setsockopt(_SOL_PACKET, _RX_RING, ring)
            self._map = mmap.mmap(self._socket.fileno(), _BLOCK * _BLOCKS)
            self._socket.bind((self._interface, _ETH_P_ALL))
        except BaseException:
            self._file.close()
            raise
        self._bytes = np.frombuffer(self._map, np.uint8).reshape(_FRAMES, _FRAME)
        self._headers = np.frombuffer(self._map, np.dtype([("h", _HEADER), ("rest", f"V{_FRAME - _HEADER.itemsize}")]))[
            "h"
        ]
        self._end, self._tell = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"vpclab-capture-{self._interface}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._tell)
        self._thread.join()
        os.close(self._end)
        statistics = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8)
        _, self.lost = struct.unpack("=II", statistics)
        del self._headers, self._bytes
        self._socket.close()
        self._map.close()
        self._file.close()
        if self._failure is not None and error is None:
            raise GuestError(
                f"capture at {self._title}: cannot write {self.path}: {self._failure.strerror}; "
                f"it holds {self.packets} packets"
            ) from self._failure
        if self.lost:
            warnings.warn(
                f"capture at {self._title}: {self.lost} packets are missing in {self.path}", CaptureLoss, stacklevel=2
            )

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        ended = False
        try:
            while True:
                if not self._take() and ended:
                    return
                if not ended:
                    ended = any(one == self._end for one, _ in poll.poll())
        except OSError as error:
            self._failure = error

    def _take(self) -> int:
        """Write the frames that are ready behind the last one, as far as the ring's end; how many."""
        status = self._headers["status"][self._next : self._next + _MOST_AT_ONCE]
        waiting = np.flatnonzero(status & _FOR_USER == 0)
        count = int(waiting[0]) if len(waiting) else len(status)
        if count == 0:
            return 0
        frames = slice(self._next, self._next + count)
        self._file.write(self._records(self._headers[frames], self._bytes[frames]))
        self._headers["status"][frames] = 0
        self._next = (self._next + count) % _FRAMES
        self.packets += count
        return count

    @staticmethod
    def _records(
        headers: np.ndarray[tuple[int], np.dtype[np.void]], frames: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    ) -> memoryview:
        """Frames as pcap records, one after the other."""
        longest, start = int(headers["kept"].max()), int(headers["mac"][0])
        records = np.empty((len(headers), 16 + longest), np.uint8)
        fields = np.stack([headers["seconds"], headers["nanoseconds"], headers["kept"], headers["length"]], axis=1)
        records[:, :16] = np.ascontiguousarray(fields, "u4").view(np.uint8)
        records[:, 16:] = frames[:, start : start + longest]
        used = np.arange(16 + longest) < 16 + headers["kept"][:, None]
        return memoryview(records[used])  # type: ignore[arg-type]
