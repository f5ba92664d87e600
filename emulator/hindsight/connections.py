"""Who began each connection, as connection tracking sees it: for all packets at once.

A connection begins with the first packet that may begin one and is let through; what comes behind it, either way,
belongs to it, and so does an ICMP error about it. It never ends: that a cloud forgets idle connections after a while is
not judged here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emulator.hindsight.packets import ADDRESS, ICMP, ICMPV6, PACKET, TCP, Mask, Numbers, Packets, identify

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_QUERIES = {ICMP: {8: 0, 13: 14, 15: 16, 17: 18}, ICMPV6: {128: 129}}
"""ICMP types that ask → those that answer, which are one connection (nf_conntrack)."""


def connection_ids(packets: Packets) -> tuple[Numbers, Numbers]:
    """The connection of each packet, the same both ways, and that of each quoted packet."""
    every = np.concatenate([packets.found, packets.quotes])
    sport, dport = every["sport"].astype(np.int64), every["dport"].astype(np.int64)
    one, other = (every["saddr_net"], every["saddr"]), (every["daddr_net"], every["daddr"])
    turned = (one[0] > other[0]) | ((one[0] == other[0]) & (one[1] > other[1]))
    turned |= (one[0] == other[0]) & (one[1] == other[1]) & (sport > dport)
    icmp = np.isin(every["protocol"], (ICMP, ICMPV6))
    turned &= ~icmp  # whoever asks is the first, for the other may ask under the same identifier
    for protocol, answers in _QUERIES.items():
        for asks, answer in answers.items():
            answering = (every["protocol"] == protocol) & (dport >> 8 == answer)
            dport = np.where(answering, asks << 8, dport)
            turned |= answering
    opposite = dict(zip(ADDRESS, (*ADDRESS[2:], *ADDRESS[:2]), strict=True))
    ends = [np.where(turned, every[opposite[name]], every[name]) for name in ADDRESS]
    swapped = turned & ~icmp  # the identifier and the question are of both ways
    ports = [np.where(swapped, dport, sport), np.where(swapped, sport, dport)]
    ids, _ = identify(every["version"], every["protocol"], *ends, *ports)
    return ids[: len(packets.found)], ids[len(packets.found) :]


def may_begin(found: npt.NDArray[np.void]) -> Mask:
    """Whether connection tracking takes a packet for the first of a connection: any but TCP's that only go on with
    one, and ICMP that asks nothing."""
    assert found.dtype == PACKET
    flags = found["flags"] & (_FIN | _SYN | _RST | _ACK)
    tcp, kind = found["protocol"] == TCP, found["dport"] >> 8
    begins: Mask = ~tcp | (flags == _SYN) | (flags == _ACK)
    for protocol, answers in _QUERIES.items():
        begins &= (found["protocol"] != protocol) | np.isin(kind, list(answers))
    return begins


def openers(ids: Numbers, opens: Mask, count: int) -> Numbers:
    """By connection, of ``count``, the place of the packet that opens it; behind all places where none does."""
    first = np.full(count, len(ids), np.int64)
    where = np.flatnonzero(opens)
    np.minimum.at(first, ids[where], where)
    return first
