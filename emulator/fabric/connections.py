"""Connection tracking of a namespace as netlink messages: what it lost, and what it shall forget. Pure.

After linux/netfilter/nfnetlink_conntrack.h; all requests have the protocol NETFILTER.
"""

from __future__ import annotations

import struct

from emulator.cloud.model import Address
from emulator.fabric import wire
from emulator.fabric.wire import ACK, DUMP, REQUEST, attribute, nested, number

_CTNETLINK, _DELETE, _GET_STATS_CPU, _INET, _INET6 = 1, 2, 4, 2, 10


def statistics_request() -> bytes:
    """Ask for the statistics of each processor."""
    return wire.message(_CTNETLINK << 8 | _GET_STATS_CPU, REQUEST | DUMP, 1, struct.pack("=BBH", 0, 0, 0))


def decode_drops(answer: memoryview) -> int:
    """Packets dropped because the connection table, or a chain of it, was full, over all processors."""
    drops = 0
    for kind, _, at, end in wire.messages(answer):
        if kind >> 8 == _CTNETLINK:
            attributes = wire.attributes(answer, at + 4, end)
            found = {name: struct.unpack_from(">L", answer, first)[0] for name, first, _ in attributes}
            drops += found.get(10, 0) + found.get(15, 0)  # CTA_STATS_DROP, CTA_STATS_CHAIN_TOOLONG
    return drops


def forget_requests(address: Address) -> list[bytes]:
    """Delete the connections from and to an address: two requests (CTA_FILTER by one address)."""
    requests = []
    family, source = (_INET, 1) if address.version == 4 else (_INET6, 3)  # CTA_IP_V4_SRC, CTA_IP_V6_SRC
    for kind, flag in ((source, 1), (source + 1, 2)):  # the destination is the next; the filter's bits for them
        original = nested(1, nested(1, attribute(kind, address.packed)))  # CTA_TUPLE_ORIG > CTA_TUPLE_IP
        only = nested(25, number(1, flag) + number(2, 0))  # CTA_FILTER > CTA_FILTER_ORIG_FLAGS, _REPLY_FLAGS
        body = struct.pack("=BBH", family, 1, 0) + original + only
        requests.append(wire.message(_CTNETLINK << 8 | _DELETE, REQUEST | ACK, 1, body))
    return requests
