"""What nfpcapd and nfdump, which nobody here wrote, count in a capture: an oracle for the records and for our reading.

They tell the packets of a flow by protocol, addresses and ports, of ICMP by type and code. What they see otherwise than
a flow log is set aside before the comparison, by name, and counted.
"""

from __future__ import annotations

import re
import struct
import subprocess
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

Flow = tuple[int, str, int, str, int]
"""(protocol, source, port, destination, port); of ICMP 0 and type << 8 | code, 0 where there are no ports."""

Counted = tuple[tuple[int, str, int | None, str, int | None], int, int]
"""A flow as records and captures tell it, its packets and bytes."""

EXCEPTIONS = {
    "tunnel": "IP in IP and GRE: it unwraps them and counts what is inside; a flow log counts the outer packet",
    "ICMPv6 in IPv4": "it passes over it; to a flow log it is a protocol number like any other",
}
"""What the meter leaves out, and why."""

TUNNELS = frozenset({4, 41, 47})
WITHOUT_PORTS = frozenset({33, 132, 136})
"""Protocols whose ports it does not show: DCCP, SCTP, UDP-Lite."""

ICMP = (1, 58)
MOST_FLOWS = 65_536
TIMEOUT_S = 60
_FILE_HEAD, _PACKET_HEAD = 24, struct.Struct("=IIII")  # of a pcap with nanoseconds
_FORMAT = "fmt:%pr,%sa,%sp,%da,%dp,%pkt,%byt"


def cut(capture: Path, bounds_ns: Sequence[int]) -> list[Path]:
    """A capture in slices at these wall times, each a capture of its own beside it: one more than bounds."""
    data = capture.read_bytes()
    slices = [bytearray(data[:_FILE_HEAD]) for _ in range(len(bounds_ns) + 1)]
    at = _FILE_HEAD
    while at < len(data):
        seconds, nanoseconds, kept, _ = _PACKET_HEAD.unpack_from(data, at)
        end = at + _PACKET_HEAD.size + kept
        slices[bisect(bounds_ns, seconds * 10**9 + nanoseconds)] += data[at:end]
        at = end
    paths = [capture.with_suffix(f".{number}.pcap") for number in range(len(slices))]
    for path, content in zip(paths, slices, strict=True):
        path.write_bytes(content)
    return paths


def metered(captures: Iterable[Path]) -> list[dict[Flow, tuple[int, int]]]:
    """Packets and bytes (IP total lengths) of each flow of each capture; a whole capture is one slice of time.

    A flow is written where it expires, so a slice has to be a capture of its own (:func:`cut`).
    """
    with TemporaryDirectory() as scratch:
        running = []
        for number, capture in enumerate(captures):
            folder = Path(scratch, str(number))
            folder.mkdir()
            # Not -w, which is something else before 1.7; with its usual cache it fills 160 MB first.
            command = ["nfpcapd", "-B", str(MOST_FLOWS), "-r", str(capture), "-l", str(folder)]
            running.append((folder, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)))
        for _, process in running:
            said, _ = process.communicate(timeout=TIMEOUT_S)
            if process.returncode:
                raise RuntimeError(f"nfpcapd ended with {process.returncode}: {said.decode(errors='replace')}")
        return [_flows(folder) for folder, _ in running]


def _flows(folder: Path) -> dict[Flow, tuple[int, int]]:
    command = ["nfdump", "-R", str(folder), "-q", "-N", "-6", "-o", _FORMAT]
    said = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout
    packets: Counter[Flow] = Counter()
    sizes: Counter[Flow] = Counter()
    for line in said.splitlines():
        if line.count(",") == _FORMAT.count(","):
            protocol, src, sport, dst, dport, count, size = (part.strip() for part in line.split(","))
            flow = int(protocol), str(ip_address(src)), int(sport), str(ip_address(dst)), _port(dport)
            packets[flow] += int(count)
            sizes[flow] += int(size)
    return {flow: (packets[flow], sizes[flow]) for flow in packets}


def _port(shown: str) -> int:
    """A port, or ICMP's type and code as it shows them: ``8.0``."""
    kind = re.fullmatch(r"(\d+)\.(\d+)", shown)
    return int(kind[1]) << 8 | int(kind[2]) if kind else int(shown)


def comparable(flows: Iterable[Counted]) -> tuple[dict[Flow, tuple[int, int]], Counter[str]]:
    """What the meter would say of these, and how many packets of what it leaves out were set aside."""
    packets: Counter[Flow] = Counter()
    sizes: Counter[Flow] = Counter()
    aside: Counter[str] = Counter()
    for (protocol, src, sport, dst, dport), count, size in flows:
        if protocol in TUNNELS or (protocol == 58 and "." in src):
            aside["tunnel" if protocol in TUNNELS else "ICMPv6 in IPv4"] += count
            continue
        ports = (0 if protocol in ICMP else sport or 0, dport or 0)
        one, two = (0, 0) if protocol in WITHOUT_PORTS else ports
        packets[protocol, src, one, dst, two] += count
        sizes[protocol, src, one, dst, two] += size
    return {flow: (packets[flow], sizes[flow]) for flow in packets}, aside
