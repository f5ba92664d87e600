"""Netlink messages for links, addresses, routes and neighbours: built by pyroute2, carried by the keeper.

Each function returns one request as bytes, to be acknowledged. Requests to one namespace are joined and sent together;
:func:`send` checks the answers and names the request that the kernel refused.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, ParamSpec

from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from emulator.errors import KernelRefused
from emulator.fabric.client import KeeperClient

ROUTE, NETFILTER, GENERIC = 0, 12, 16
"""Netlink protocols: NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC."""

REQUEST, ACK, DUMP, CREATE, EXCL = 0x1, 0x4, 0x300, 0x400, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
DUMP_INTERRUPTED = 0x10

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE, _NEWNEIGH, _NEWRULE = 16, 17, 18, 20, 24, 28, 32
_IFF_UP, _IFF_NOARP = 0x1, 0x80
_OPERSTATE_UP = 6
_numbers = itertools.count(1)
_P = ParamSpec("_P")

Step = tuple[int, int, bytes]
"""(namespace, protocol, requests) of one keeper request."""


def _encode(message: Any, kind: int, options: int = CREATE | EXCL, /, **fields: Any) -> bytes:
    for name, value in fields.items():
        message[name] = value
    header = message["header"]
    header["type"], header["flags"] = kind, REQUEST | ACK | options
    message.encode()
    return _numbered(bytes(message.data))


def _numbered(message: bytes) -> bytes:
    """A request under a number of its own, by which its acknowledgement is known."""
    return message[:8] + struct.pack("=L", next(_numbers) & 0xFFFFFFFF) + message[12:]


def _remembered(make: Callable[_P, bytes]) -> Callable[_P, bytes]:
    """Requests that are equal for many ENIs are encoded once; each gets a number of its own."""
    remembered = lru_cache(maxsize=4096)(make)

    @wraps(make)
    def request(*args: _P.args, **kwargs: _P.kwargs) -> bytes:
        return _numbered(remembered(*args, **kwargs))  # type: ignore[arg-type]  # all of them are hashable

    return request


def new_veth(name: str, index: int, mac: str, peer: str, peer_index: int, peer_mac: str, peer_ns: int) -> bytes:
    """A veth pair; the peer is born in the namespace behind the keeper's descriptor ``peer_ns``."""
    data = {
        "index": peer_index,
        "attrs": [("IFLA_IFNAME", peer), ("IFLA_ADDRESS", peer_mac), ("IFLA_NET_NS_FD", peer_ns)],
    }
    info = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", data)]})]
    attrs = [("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), ("IFLA_LINKINFO", {"attrs": info})]
    return _encode(ifinfmsg(), _NEWLINK, index=index, attrs=attrs)


@_remembered
def set_up(index: int, *, arp: bool = True) -> bytes:
    flags = _IFF_UP if arp else _IFF_UP | _IFF_NOARP
    return _encode(ifinfmsg(), _NEWLINK, 0, index=index, flags=flags, change=_IFF_UP | _IFF_NOARP)


def delete_link(index: int) -> bytes:
    return _encode(ifinfmsg(), _DELLINK, 0, index=index)


@_remembered
def get_link(index: int) -> bytes:
    """Asking for a link also makes the kernel finish pending link-watch work, which is why it serves as a barrier."""
    return _encode(ifinfmsg(), _GETLINK, 0, index=index)


def add_address(index: int, address: str, prefix: int) -> bytes:
    attrs = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
    return _encode(ifaddrmsg(), _NEWADDR, family=2, prefixlen=prefix, index=index, attrs=attrs)


@_remembered
def add_route(index: int, destination: str | None, *, gateway: str | None = None, table: int = 254) -> bytes:
    """A route to one host, or the default route where ``destination`` is None; a gateway is on the link."""
    attrs: list[tuple[str, Any]] = [("RTA_OIF", index)]
    if destination is not None:
        attrs.append(("RTA_DST", destination))
    if gateway is not None:
        attrs.append(("RTA_GATEWAY", gateway))
    return _encode(
        rtmsg(),
        _NEWROUTE,
        family=2,
        dst_len=0 if destination is None else 32,
        table=table,
        proto=4,
        scope=0 if gateway else 253,
        type=1,
        flags=4 if gateway else 0,
        attrs=attrs,
    )


def add_source_rule(address: str, table: int) -> bytes:
    """What leaves with this source address is routed by ``table``."""
    attrs = [("FRA_SRC", address), ("FRA_TABLE", table)]
    return _encode(fibmsg(), _NEWRULE, family=2, src_len=32, table=table, action=1, attrs=attrs)


def add_neighbour(index: int, address: str, mac: str) -> bytes:
    attrs = [("NDA_DST", address), ("NDA_LLADDR", mac)]
    return _encode(ndmsg(), _NEWNEIGH, family=2, ifindex=index, state=0x80, attrs=attrs)


def answer_at_once(index: int) -> bytes:
    """Let proxy ARP answer without its random delay of up to 0.8 s (RTM_SETNEIGHTBL, NDTPA_PROXY_DELAY in ms)."""
    parms = _attribute(1, struct.pack("=L", index)) + _attribute(13, struct.pack("=Q", 0))
    body = struct.pack("=BBH", 2, 0, 0) + _attribute(1, b"arp_cache\0") + _attribute(6 | 0x8000, parms)
    return struct.pack("=LHHLL", 16 + len(body), 67, REQUEST | ACK, next(_numbers) & 0xFFFFFFFF, 0) + body


_OFFLOADS = (
    "tx-checksum-ip-generic",
    "tx-checksum-sctp",
    "tx-scatter-gather",
    "tx-scatter-gather-fraglist",
    "rx-gro",
    "rx-checksum",
)
"""Without scatter-gather and checksums the kernel also gives up every kind of segmentation offload on the link."""


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


@lru_cache(maxsize=4)
def _ethtool_family(keeper: KeeperClient, ns: int) -> int:
    """The number of the generic netlink family "ethtool", the same in every namespace of one kernel."""
    body = struct.pack("=BBH", 3, 1, 0) + _attribute(2, b"ethtool\0")
    header = struct.pack("=LHHLL", 16 + len(body), 16, REQUEST | ACK, 1, 0)
    answer = send(keeper, [(ns, GENERIC, header + body)], "look up ethtool")[0]
    at = 20
    while at < len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == 1:
            return int(struct.unpack_from("=H", answer, at + 4)[0])
        at += (length + 3) & ~3
    raise KernelRefused("the kernel has no ethtool netlink family", request="look up ethtool")


def offloads_off(keeper: KeeperClient, ns: int, index: int) -> bytes:
    """Switch off what would let one socket buffer stand for many packets of the wire (protocol GENERIC)."""
    bits = b"".join(_attribute(1 | 0x8000, _attribute(2, name.encode() + b"\0")) for name in _OFFLOADS)
    header = _attribute(1 | 0x8000, _attribute(1, struct.pack("=L", index)) + _attribute(3, struct.pack("=L", 2)))
    body = struct.pack("=BBH", 12, 1, 0) + header + _attribute(3 | 0x8000, _attribute(3 | 0x8000, bits))
    family = _ethtool_family(keeper, ns)
    return struct.pack("=LHHLL", 16 + len(body), family, REQUEST | ACK, next(_numbers) & 0xFFFFFFFF, 0) + body


def send(keeper: KeeperClient, steps: Sequence[Step], what: str, *, settle: bool = False) -> list[memoryview]:
    """Send steps and raise :class:`KernelRefused`, naming ``what``, at the first request the kernel refused."""
    answers = keeper.netlink(steps, settle=settle)
    for answer in answers:
        at = 0
        while at < len(answer):
            length, kind = struct.unpack_from("=LH", answer, at)
            if kind == NLMSG_ERROR:
                number = -struct.unpack_from("=i", answer, at + 16)[0]
                if number:
                    raise KernelRefused(f"{what}: {os.strerror(number)}", errno=number, request=what)
            at += (length + 3) & ~3
    return answers


def operstate(answer: memoryview) -> int:
    """IFLA_OPERSTATE of the answer to :func:`get_link`; 6 is up."""
    at, end = 32, struct.unpack_from("=L", answer, 0)[0]
    while at < end:
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == 16:
            return int(answer[at + 4])
        at += (length + 3) & ~3
    return 0


def is_up(answer: memoryview) -> bool:
    return operstate(answer) == _OPERSTATE_UP
