"""What passes in a lab between two moments, by flow: for who tells a story step by step."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from emulator.cloud.model import EXTENSION_HEADERS, PORTS_PROTOCOLS
from emulator.errors import LabError
from emulator.suites.taps import Frame, Tap
from emulator.watching import WATCHERS, Watcher

if TYPE_CHECKING:
    from emulator.lab import Lab

_WORDS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 58: "icmpv6"}
_IPV4, _IPV6 = 0x0800, 0x86DD
_Flow = tuple[str, str, str]


class Passing(Watcher):
    """Listens in every VPC of the labs that are opened while it watches."""

    def __init__(self) -> None:
        self._taps: dict[tuple[Lab, str], Tap] = {}

    def changed(self, lab: Lab) -> None:
        for vpc_id, fabric in lab.fabric.vpcs.items():
            if (lab, vpc_id) not in self._taps:
                with suppress(LabError):  # the change that is told of stands; the next tries again
                    self._taps[lab, vpc_id] = Tap(lab.fabric.keeper, fabric.ns)

    def leaving(self, lab: Lab, vpc_id: str) -> None:
        tap = self._taps.pop((lab, vpc_id), None)
        if tap is not None:
            Tap.close([tap])

    def take(self) -> tuple[list[dict[str, Any]], int]:
        """Flows since the last time, in the order of their first packets: how many packets were sent into the VPC and
        how many came out of it; and how many more frames found no room to be looked at."""
        frames: list[Frame] = []
        lost = 0
        for tap in self._taps.values():
            tap.drain()
            frames += tap.frames
            lost += tap.lost
            tap.frames, tap.lost = [], 0
        return flows(frames), lost


@contextmanager
def listening() -> Iterator[Passing]:
    """To the labs that are opened within the block."""
    passing = Passing()
    WATCHERS.append(passing)
    try:
        yield passing
    finally:
        WATCHERS.remove(passing)


def flows(frames: Iterable[Frame]) -> list[dict[str, Any]]:
    """IP packets by protocol, source and destination; ``sent`` and ``arrived`` are how many."""
    found: dict[_Flow, dict[str, Any]] = {}
    for frame in frames:
        flow = _flow(frame.data)
        if flow is not None:
            ends = dict(zip(("protocol", "source", "destination"), flow, strict=True))
            row = found.setdefault(flow, {**ends, "sent": 0, "arrived": 0})
            row["sent" if frame.sent else "arrived"] += 1
    return list(found.values())


def _flow(data: bytes) -> _Flow | None:
    """Protocol, source and destination of an Ethernet frame; later fragments have no ports."""
    (kind,) = struct.unpack_from(">H", data, 12)
    if kind == _IPV4:
        protocol, at, later = data[23], 14 + (data[14] & 15) * 4, struct.unpack_from(">H", data, 20)[0] & 0x1FFF
        ends = [ip_address(data[26:30]), ip_address(data[30:34])]
    elif kind == _IPV6:
        protocol, at, later = data[20], 54, 0
        ends = [ip_address(data[22:38]), ip_address(data[38:54])]
        while protocol in EXTENSION_HEADERS and len(data) >= at + 8:
            later |= struct.unpack_from(">H", data, at + 2)[0] >> 3 if protocol == 44 else 0
            protocol, at = data[at], at + (8 if protocol == 44 else 8 + data[at + 1] * 8)
    else:
        return None
    if protocol in PORTS_PROTOCOLS and not later and len(data) >= at + 4:
        ports = struct.unpack_from(">HH", data, at)
        named = [f"{end}:{port}" if kind == _IPV4 else f"[{end}]:{port}" for end, port in zip(ends, ports, strict=True)]
    else:
        named = [str(end) for end in ends]
    return _WORDS.get(protocol, str(protocol)), named[0], named[1]
