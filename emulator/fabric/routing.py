"""Routes to networks and rules that choose a routing table, as netlink messages. Pure.

After linux/rtnetlink.h and fib_rules.h. Links between routers have no ARP and one MAC at both ends, so every router is
reached by the same address NEXT, which is nobody's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from emulator.fabric import wire
from emulator.fabric.wire import ACK, CREATE, EXCL, REQUEST, attribute, number, string

MAIN = 254
NEXT = IPv4Address("169.254.0.1")
"""The router at the other end of a link."""

_NEWROUTE, _DELROUTE, _NEWRULE, _DELRULE, _INET = 24, 25, 32, 33, 2
_STATIC, _UNICAST, _BLACKHOLE, _ONLINK, _TO_TABLE = 4, 1, 6, 4, 1  # RTPROT_, RTN_, RTN_, RTNH_F_, FR_ACT_


@dataclass(frozen=True)
class NetworkRoute:
    """To ``network`` by the link with this index; dropped in silence where that is None."""

    network: IPv4Network
    index: int | None
    table: int = MAIN

    def add(self) -> bytes:
        return self._request(_NEWROUTE, CREATE | EXCL)

    def delete(self) -> bytes:
        return self._request(_DELROUTE, 0)

    def _request(self, kind: int, flags: int) -> bytes:
        what, on = (_BLACKHOLE, 0) if self.index is None else (_UNICAST, _ONLINK)
        body = struct.pack("=BBBBBBBBL", _INET, self.network.prefixlen, 0, 0, 0, _STATIC, 0, what, on)
        body += number(15, self.table) + attribute(1, self.network.network_address.packed)  # RTA_TABLE, RTA_DST
        if self.index is not None:
            body += number(4, self.index) + attribute(5, NEXT.packed)  # RTA_OIF, RTA_GATEWAY
        return wire.message(kind, REQUEST | ACK | flags, 1, body)


@dataclass(frozen=True)
class TableRule:
    """Packets from ``source``, by the link named ``come_by``, or with ``mark`` are routed by ``table``; its default
    route is passed over where ``without_default``."""

    priority: int
    table: int
    source: IPv4Network | None = None
    come_by: str = ""
    mark: tuple[int, int] | None = None  # value and mask
    without_default: bool = False

    def add(self) -> bytes:
        return self._request(_NEWRULE, CREATE | EXCL)

    def delete(self) -> bytes:
        return self._request(_DELRULE, 0)

    def _request(self, kind: int, flags: int) -> bytes:
        length = 0 if self.source is None else self.source.prefixlen
        body = struct.pack("=BBBBBBBBL", _INET, 0, length, 0, 0, 0, 0, _TO_TABLE, 0)
        body += number(6, self.priority) + number(15, self.table)  # FRA_PRIORITY, FRA_TABLE
        if self.source is not None:
            body += attribute(2, self.source.network_address.packed)  # FRA_SRC
        if self.come_by:
            body += string(3, self.come_by)  # FRA_IIFNAME
        if self.mark is not None:
            body += number(10, self.mark[0]) + number(16, self.mark[1])  # FRA_FWMARK, FRA_FWMASK
        if self.without_default:
            body += number(14, 0)  # FRA_SUPPRESS_PREFIXLEN
        return wire.message(kind, REQUEST | ACK | flags, 1, body)
