"""Frames as packets: the fields that rules and records are about, for all packets at once.

IP, its extension headers, ports, ICMP's numbers, TCP's flags, fragments, and what an ICMP error quotes. What is no IP,
or is cut off before its ports, is counted and left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulator.cloud.model import EXTENSION_HEADERS, PORTS_PROTOCOLS
from emulator.hindsight.frames import Frames

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ADDRESS = ("saddr_net", "saddr", "daddr_net", "daddr")

PACKET = np.dtype(
    [
        ("time", "f8"),
        ("version", "u1"),
        ("protocol", "u1"),
        *((name, "u8") for name in ADDRESS),
        ("sport", "u2"),
        ("dport", "u2"),
        ("bytes", "i8"),
        ("flags", "u1"),
        ("quoted", "i8"),
    ]
)
"""One packet. Addresses are 128 bits in two halves, of IPv4 the first is 0; of ICMP sport is the identifier, dport
``type << 8 | code``; ``flags`` are TCP's as on the wire; ``quoted`` is the place of the packet that an ICMP error
quotes among :attr:`Packets.quotes`, else -1."""

ICMP, ICMPV6, TCP = 1, 58, 6
NEIGHBOUR_DISCOVERY = (133, 137)
"""ICMPv6's types of it, first and last: no cloud records them, as it does not record ARP."""
ERRORS = {ICMP: (3, 4, 5, 11, 12), ICMPV6: (1, 2, 3, 4)}
"""ICMP types that quote the packet that they are about."""

_PORTS = np.isin(np.arange(256), sorted(PORTS_PROTOCOLS))
_EXTENSION = np.isin(np.arange(256), sorted(EXTENSION_HEADERS))
_VLANS = (0x8100, 0x88A8, 0x9100)
_ETHERTYPES = (0x0800, 0x86DD)
_ETHERTYPE_AT = {1: 12, 113: 14, 276: 0}
"""Where the frame of a link type says what is in it."""
_HEADER = {0: 4, 1: 14, 12: 0, 14: 0, 101: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
_MOST_HEADERS = 8
"""Extension headers and VLAN tags that are walked over."""


@dataclass(frozen=True)
class Packets:
    """``found`` as PACKET, in the order of the file; ``quotes`` the same, of packets that ICMP errors quote;
    ``remarks`` how many were left out, by the reason."""

    found: npt.NDArray[np.void]
    quotes: npt.NDArray[np.void]
    remarks: dict[str, int]


class _Bytes:
    """Big-endian numbers in a run of bytes, at many places at once."""

    def __init__(self, raw: npt.NDArray[np.uint8]) -> None:
        self._raw, self._last = raw, len(raw) - 1

    def __call__(self, at: Numbers, size: int) -> npt.NDArray[np.uint64]:
        value = np.zeros(len(at), np.uint64)
        for offset in range(size):
            value = value << np.uint64(8) | self._raw[np.minimum(at + offset, self._last)]
        return value

    def number(self, at: Numbers, size: int = 1) -> Numbers:
        return self(at, size).astype(np.int64)


def packets(frames: Frames) -> Packets:
    """The IP packets of a file."""
    read, remarks = _Bytes(frames.raw), dict[str, int]()
    starts, kinds = _network_layer(read, frames)
    known = np.isin(kinds, (4, 6)) & (read.number(starts) >> 4 == kinds) & (starts < frames.ends)
    _count(remarks, "no IP packets", ~known)
    times, starts, ends, kinds = (one[known] for one in (frames.times, starts, frames.ends, kinds))
    found, upper, limit, whole = _headers(read, times, starts, ends, kinds)
    _count(remarks, "cut off by the capture before their ports, or malformed", ~whole)
    found, upper, limit = found[whole], upper[whole], limit[whole]
    discovery = _is_discovery(found)
    _count(remarks, "neighbour discovery", discovery)
    found, upper, limit = found[~discovery], upper[~discovery], limit[~discovery]
    quotes = _quotes(read, found, upper, limit)
    return Packets(found, quotes, remarks)


def _count(remarks: dict[str, int], what: str, which: Mask) -> None:
    if which.any():
        remarks[what] = remarks.get(what, 0) + int(which.sum())


def _network_layer(read: _Bytes, frames: Frames) -> tuple[Numbers, Numbers]:
    """Where the IP header of each frame begins, and its version; 0 where there is none."""
    starts = frames.starts + _HEADER[frames.link_type]
    if frames.link_type not in _ETHERTYPE_AT:
        return starts, read.number(starts) >> 4
    kinds = read.number(frames.starts + _ETHERTYPE_AT[frames.link_type], 2)
    for _ in range(_MOST_HEADERS):
        tagged = np.isin(kinds, _VLANS)
        if not tagged.any():
            break
        kinds = np.where(tagged, read.number(starts + 2, 2), kinds)
        starts = starts + 4 * tagged
    four, six = (kinds == one for one in _ETHERTYPES)
    return starts, np.where(four, 4, np.where(six, 6, 0))


def _headers(
    read: _Bytes, times: npt.NDArray[np.float64], starts: Numbers, ends: Numbers, kinds: Numbers
) -> tuple[npt.NDArray[np.void], Numbers, Numbers, Mask]:
    """Packets whose IP headers begin at ``starts``, where what they carry begins and ends, and which are whole as far
    as their ports."""
    found = np.zeros(len(starts), PACKET)
    found["time"], found["version"], found["quoted"] = times, kinds, -1
    four = kinds == 4
    length = np.where(four, read.number(starts + 2, 2), read.number(starts + 4, 2) + 40)
    # An offloading sender leaves the length of what it has not cut yet at 0.
    length = np.where(length == np.where(four, 0, 40), ends - starts, length)
    head = np.where(four, (read.number(starts) & 15) * 4, 40)
    protocol = np.where(four, read.number(starts + 9), read.number(starts + 6))
    for name, at4, at6 in (("saddr", 12, 8), ("daddr", 16, 24)):
        found[name + "_net"] = np.where(four, 0, read(starts + at6, 8))
        found[name] = np.where(four, read(starts + at4, 4), read(starts + at6 + 8, 8))
    upper = starts + head
    pieces = np.where(four, read.number(starts + 6, 2) & 0x3FFF, 0)
    later, identity = pieces & 0x1FFF != 0, np.where(four, read.number(starts + 4, 2), 0)
    for _ in range(_MOST_HEADERS):
        extended = ~four & _EXTENSION[protocol] & ~later
        if not extended.any():
            break
        piece = extended & (protocol == 44)
        size = np.where(piece, 8, (read.number(upper + 1) + 1) * 8)
        pieces = np.where(piece, read.number(upper + 2, 2) & 0xFFF9, pieces)
        identity = np.where(piece, read.number(upper + 4, 4), identity)
        later |= piece & (pieces & 0xFFF8 != 0)
        protocol = np.where(extended, read.number(upper), protocol)
        upper = np.where(extended, upper + size, upper)
    found["protocol"], found["bytes"] = protocol, length
    limit = np.minimum(starts + length, ends)
    icmp = protocol == np.where(four, ICMP, ICMPV6)
    ports = _PORTS[protocol]
    needed = np.where(later, 0, np.where(ports, 4, np.where(icmp, 6, 0)))
    whole = (head >= 20) & (starts + head <= ends) & (length >= head) & (upper + needed <= limit)
    first = whole & ~later
    for name, of_ports, of_icmp in (("sport", 0, 4), ("dport", 2, 0)):
        number = read.number(upper + np.where(icmp, of_icmp, of_ports), 2)
        found[name] = np.where(first & (ports | icmp), number, 0)
    found["flags"] = np.where(first & (protocol == TCP) & (upper + 14 <= limit), read.number(upper + 13), 0)
    _give_pieces_ports(found, pieces != 0, later, identity)
    return found, upper, limit, whole


def _give_pieces_ports(found: npt.NDArray[np.void], pieces: Mask, later: Mask, identity: Numbers) -> None:
    """Later fragments are of the ports of the first one before them with the same identification."""
    if not later.any():
        return
    where = np.flatnonzero(pieces)
    ids, _ = identify(*(found[name][where] for name in ("version", "protocol", *ADDRESS)), identity[where])
    order = np.lexsort((where, ids))
    where, ids = where[order], ids[order]
    # Behind each piece stands the last first piece of its datagram; a later one without any keeps no ports.
    latest = np.maximum.accumulate(np.where(later[where], 0, np.arange(len(where))))
    same = ids[latest] == ids
    for name in ("sport", "dport", "flags"):
        found[name][where] = np.where(same & later[where], found[name][where[latest]], found[name][where])
    found["flags"][later] = 0


def _is_discovery(found: npt.NDArray[np.void]) -> Mask:
    kind = found["dport"] >> 8
    first, last = NEIGHBOUR_DISCOVERY
    chosen: Mask = (found["version"] == 6) & (found["protocol"] == ICMPV6) & (kind >= first) & (kind <= last)
    return chosen


def _quotes(read: _Bytes, found: npt.NDArray[np.void], upper: Numbers, limit: Numbers) -> npt.NDArray[np.void]:
    """The packets that ICMP errors quote; ``found`` is told which."""
    kind = found["dport"] >> 8
    errors = np.zeros(len(found), bool)
    for protocol, kinds in ERRORS.items():
        errors |= (found["protocol"] == protocol) & np.isin(kind, kinds)
    where = np.flatnonzero(errors)
    starts = upper[where] + 8
    quotes, _, _, whole = _headers(
        read, found["time"][where], starts, limit[where], found["version"][where].astype(np.int64)
    )
    whole &= (read.number(starts) >> 4) == found["version"][where]
    found["quoted"][where[whole]] = np.arange(int(whole.sum()))
    kept: npt.NDArray[np.void] = quotes[whole]
    return kept


def identify(*columns: npt.NDArray[Any]) -> tuple[Numbers, Numbers]:
    """A number for each combination of values, from 0, and the place where each is found first."""
    order = np.lexsort(columns)
    fresh = np.ones(len(order), bool)
    fresh[1:] = np.logical_or.reduce([column[order][1:] != column[order][:-1] for column in columns])
    ids = np.empty(len(order), np.int64)
    ids[order] = np.cumsum(fresh) - 1
    return ids, order[fresh]  # lexsort keeps the order of equals
