"""Captures: everything that passes at the CVM's end of an ENI, both ways, as a pcap file.

The kernel writes frames into a ring that is mapped into this process (AF_PACKET, TPACKET_V2, frames of one size); a
thread lays an array over the ring and writes whole runs of frames at once. ``tcpdump`` cannot do this for an ordinary
user: it insists on changing its groups, which a user namespace forbids.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
import struct
import threading
import traceback
import warnings
from os import PathLike
from types import TracebackType

import numpy as np

from emulator.errors import GuestError
from emulator.fabric.client import KeeperClient

_SOL_PACKET, _VERSION, _RX_RING, _STATISTICS, _V2 = 263, 10, 5, 6, 1
_ETH_P_ALL, _ETH_P_8021Q = 3, 0x8100
_FRAME, _BLOCK, _BLOCKS = 2048, 1 << 18, 256
_FRAMES = _BLOCK * _BLOCKS // _FRAME
_FOR_USER, _VLAN_VALID, _VLAN_TPID_VALID = 1, 0x10, 0x40
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
        ("vlan_tci", "u2"),
        ("vlan_tpid", "u2"),
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
        self._failure: Exception | None = None

    def __enter__(self) -> Capture:
        with contextlib.ExitStack() as opened:
            try:
                self._socket = opened.enter_context(self._keeper.socket(self._ns, socket.AF_PACKET, socket.SOCK_RAW, 0))
                self._socket.setsockopt(_SOL_PACKET, _VERSION, _V2)
                ring = struct.pack("=IIII", _BLOCK, _BLOCKS, _FRAME, _FRAMES)
                self._socket.setsockopt(_SOL_PACKET, _RX_RING, ring)
                self._map = opened.enter_context(mmap.mmap(self._socket.fileno(), _BLOCK * _BLOCKS))
                self._socket.bind((self._interface, _ETH_P_ALL))
                self._end, self._tell = os.pipe()
                opened.callback(os.close, self._end)
            except OSError as error:
                raise GuestError(f"cannot capture at {self._title}: {error.strerror}") from error
            opened.callback(self._stop)
            try:
                self._file = opened.enter_context(open(self.path, "wb", buffering=0))
                self._write(memoryview(_FILE_HEADER))
            except OSError as error:
                raise GuestError(f"capture at {self._title}: cannot write {self.path}: {error.strerror}") from error
            self._bytes = np.frombuffer(self._map, np.uint8).reshape(_FRAMES, _FRAME)
            slot = np.dtype({"names": ["h"], "formats": [_HEADER], "itemsize": _FRAME})
            self._headers = np.frombuffer(self._map, slot)["h"]
            self._thread = threading.Thread(target=self._run, name=f"vpclab-capture-{self._interface}", daemon=True)
            self._thread.start()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop()
        self._thread.join()
        statistics = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8)
        _, self.lost = struct.unpack("=II", statistics)
        del self._headers, self._bytes
        self._opened.close()
        if self._failure is not None and error is None:
            why = getattr(self._failure, "strerror", None) or repr(self._failure)
            raise GuestError(
                f"capture at {self._title}: cannot write {self.path}: {why}; it holds {self.packets} packets"
            ) from self._failure
        if self.lost:
            warnings.warn(
                f"capture at {self._title}: {self.lost} packets are missing in {self.path}", CaptureLoss, stacklevel=2
            )

    def _stop(self) -> None:
        if self._tell >= 0:
            os.close(self._tell)
            self._tell = -1

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        ended = False
        try:
            while True:
                if not self._take() and ended:
                    return
                if ended:
                    continue
                for one, events in poll.poll():
                    ended |= one == self._end
                    if events & select.POLLERR:  # the ENI was detached; until it is read, this wakes at once for ever
                        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except Exception as error:  # told when the block ends; a thread has nobody else to tell
            traceback.clear_frames(error.__traceback__)  # their arrays lie in the ring, which must be closed
            self._failure = error

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[self._file.write(data) :]

    def _take(self) -> int:
        """Write the frames that are ready behind the last one, as far as the ring's end; how many."""
        status = self._headers["status"][self._next : self._next + _MOST_AT_ONCE]
        waiting = np.flatnonzero(status & _FOR_USER == 0)
        count = int(waiting[0]) if len(waiting) else len(status)
        if count == 0:
            return 0
        frames = slice(self._next, self._next + count)
        headers = self._headers[frames]
        regular = (headers["mac"] == headers["mac"][0]).all() and not (headers["status"] & _VLAN_VALID).any()
        self._write((self._records if regular else self._odd_records)(headers, self._bytes[frames]))
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

    @staticmethod
    def _odd_records(
        headers: np.ndarray[tuple[int], np.dtype[np.void]], frames: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    ) -> memoryview:
        """As ``_records``, for frames that begin anywhere and whose VLAN tag the kernel has put aside."""
        records = bytearray()
        for header, frame in zip(headers, frames, strict=True):
            start, kept = int(header["mac"]), int(header["kept"])
            data = frame[start : start + kept].tobytes()
            if header["status"] & _VLAN_VALID:
                kind = int(header["vlan_tpid"]) if header["status"] & _VLAN_TPID_VALID else _ETH_P_8021Q
                data = data[:12] + struct.pack("!HH", kind, int(header["vlan_tci"])) + data[12:]
            length = int(header["length"]) + len(data) - kept
            records += struct.pack("=IIII", header["seconds"], header["nanoseconds"], len(data), length) + data
        return memoryview(records)
