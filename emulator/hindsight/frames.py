"""The frames of a capture file, as one run of bytes with the place and time of each.

pcapng is read by dpkt. pcap, which is a header of 16 bytes before each frame, is read where it lies: dpkt takes half a
second for 100,000 packets, this a tenth of it, and knows where a file is cut off.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from emulator.errors import LabError, RequirementMissing

LINK_TYPES = {
    0: "BSD loopback",
    1: "Ethernet",
    12: "raw IP",
    14: "raw IP",
    101: "raw IP",
    108: "OpenBSD loopback",
    113: "Linux cooked",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked v2",
}
"""Link types (LINKTYPE_ of tcpdump.org) in which IP packets are found."""

SLACK = 256
"""Bytes behind the last frame, so that a header that was cut off can be looked at as any."""

_MAGIC = {"d4c3b2a1": ("<", 1e6), "4d3cb2a1": ("<", 1e9), "a1b2c3d4": (">", 1e6), "a1b23c4d": (">", 1e9)}
"""The first bytes of a pcap file: its byte order, and the fractions of a second."""
_FILE_HEADER, _HEADER = 24, 16
_LINK_TYPE = 0x0FFF_FFFF
"""Above it stand bits about a frame check sequence."""
_LONGEST_FRAME = 1 << 24
"""What says that it is longer is none."""


@dataclass(frozen=True)
class Frames:
    """``times`` in unix seconds; ``starts`` and ``ends`` point into ``raw``. ``cut`` where the file ends within a
    frame, which is left out."""

    link_type: int
    times: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    raw: npt.NDArray[np.uint8]
    cut: bool


def read(path: str | os.PathLike[str]) -> Frames:
    """The frames of a pcap or pcapng file.

    :raises LabError: it is no such file, has no frame, or is of a link type in which we find no IP packets
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            magic = _MAGIC.get(file.read(4).hex())
            file.seek(0)
            found = _read_pcapng(file, name) if magic is None else _read_pcap(file.read(), *magic)
    except OSError as error:
        raise LabError(f"{name} cannot be read: {error.strerror}") from error
    if found.link_type not in LINK_TYPES:
        known = ", ".join(f"{what} ({one})" for one, what in LINK_TYPES.items())
        raise LabError(f"{name} is of link type {found.link_type}; IP packets are found in {known}")
    if not len(found.times):
        raise LabError(f"{name} has no packet" + (": it is cut off in the first" if found.cut else ""))
    return found


def _read_pcap(data: bytes, order: str, fractions: float) -> Frames:
    kept_at, places, at = struct.Struct(order + "I"), list[int](), _FILE_HEADER
    link_type = struct.unpack_from(order + "I", data.ljust(_FILE_HEADER, b"\0"), 20)[0] & _LINK_TYPE
    while at + _HEADER <= len(data):
        (kept,) = kept_at.unpack_from(data, at + 8)
        if kept > _LONGEST_FRAME or at + _HEADER + kept > len(data):
            break
        places.append(at)
        at += _HEADER + kept
    raw = np.frombuffer(data + bytes(SLACK), np.uint8)
    headers = np.array(places, np.int64)
    fields = raw[headers[:, None] + np.arange(_HEADER)].view(order + "u4").reshape(-1, 4)
    starts = headers + _HEADER
    times = fields[:, 0] + fields[:, 1] / fractions
    return Frames(link_type, times, starts, starts + fields[:, 2], raw, at != len(data))


def _read_pcapng(file: BinaryIO, name: str) -> Frames:
    try:
        import dpkt
    except ImportError:
        raise RequirementMissing(f"{name} is no pcap; for pcapng", way_out="pip install 'vpclab[pcapng]'") from None
    times, frames, cut = list[float](), list[bytes](), False
    try:
        reader = dpkt.pcapng.Reader(file)
    except (dpkt.UnpackError, ValueError, struct.error) as error:
        raise LabError(f"{name} is no capture file, neither pcap nor pcapng: {error}") from None
    try:
        for time, frame in reader:
            times.append(float(time))
            frames.append(frame)
    except (dpkt.UnpackError, ValueError, struct.error):
        cut = True
    ends = np.cumsum(np.fromiter(map(len, frames), np.int64, len(frames)))
    starts = ends - np.fromiter(map(len, frames), np.int64, len(frames))
    raw = np.frombuffer(b"".join([*frames, bytes(SLACK)]), np.uint8)
    return Frames(int(reader.datalink()), np.array(times), starts, ends, raw, cut)
