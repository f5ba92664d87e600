"""Netlink messages for links, addresses, routes and neighbours: built here, carried by the keeper.

Each function returns one request as bytes, to be acknowledged. Requests to one namespace are joined and sent together;
:func:`send` checks the answers and names the request that the kernel refused. The messages are packed by hand, 3 µs
each, after linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h and fib_rules.h; the tests compare each with what
pyroute2 makes of the same request (60 µs; with it, 400 CVMs take a third longer).
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable, Sequence
from socket import AF_INET6, inet_aton, inet_pton

from emulator.errors import KernelRefused
from emulator.fabric import wire
from emulator.fabric.client import KeeperClient
from emulator.fabric.wire import ACK, CREATE, DUMP, EXCL, REQUEST, attribute, nested, number, string

ROUTE, NETFILTER, GENERIC = 0, 12, 16
"""Netlink protocols: NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC."""

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 16, 17, 18, 20, 21, 24, 25
_NEWNEIGH, _DELNEIGH, _NEWRULE, _DELRULE, _SETNEIGHTBL, _NEWSTATS, _GETSTATS = 28, 29, 32, 33, 67, 92, 94
_INET, _INET6, _IFF_UP, _IFF_NOARP, _OPERSTATE_UP = 2, 10, 0x1, 0x80, 6
_MAIN, _STATIC, _UNICAST, _ONLINK = 254, 4, 1, 4  # RT_TABLE_, RTPROT_, RTN_, RTNH_F_
_SCOPE_GLOBAL, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
_NUD_PERMANENT, _FR_ACT_TO_TBL, _CONTROLLER, _IFA_F_NODAD = 0x80, 1, 16, 0x02
_numbers = itertools.count(1)

Step = tuple[int, int, bytes]
"""(namespace, protocol, requests) of one keeper request."""


def _request(kind: int, body: bytes, options: int = 0) -> bytes:
    """A request under a number of its own, by which its acknowledgement is known."""
    return wire.message(kind, REQUEST | ACK | options, next(_numbers) & 0xFFFFFFFF, body)


def _link(index: int, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg."""
    return struct.pack("=BBHiLL", 0, 0, 0, index, flags, change)


def _name(name: str, mac: str) -> bytes:
    """IFLA_IFNAME and IFLA_ADDRESS."""
    return string(3, name) + attribute(1, _mac(mac))


def _mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def new_veth(name: str, index: int, mac: str, peer: str, peer_index: int, peer_mac: str, peer_ns: int) -> bytes:
    """A veth pair; the peer is born in the namespace behind the keeper's descriptor ``peer_ns``.

    One queue each: the kernel would else make one for each processor and take all but the first back again, which is a
    quarter of the time on two processors.
    """
    queues = number(31, 1) + number(32, 1)  # IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES
    other = _link(peer_index) + _name(peer, peer_mac) + queues + number(28, peer_ns)  # IFLA_NET_NS_FD
    info = string(1, "veth") + attribute(2, attribute(1, other))  # IFLA_INFO_KIND, _DATA > VETH_INFO_PEER
    linkinfo = attribute(18, info)
    return _request(_NEWLINK, _link(index) + _name(name, mac) + queues + linkinfo, CREATE | EXCL)


def set_up(index: int, *, arp: bool = True) -> bytes:
    """The link comes up; it takes packets from whatever source (rp_filter 0: a sysctl would take ten times as long)."""
    settings = attribute(_INET, attribute(1, number(8, 0)))  # AF_INET > IFLA_INET_CONF > IPV4_DEVCONF_RP_FILTER
    flags = _IFF_UP if arp else _IFF_UP | _IFF_NOARP
    return _request(_NEWLINK, _link(index, flags, _IFF_UP | _IFF_NOARP) + attribute(26, settings))  # IFLA_AF_SPEC


def be_quiet(index: int) -> bytes:
    """The link gets no IPv6 address of its own when it comes up, and so announces and solicits nothing (a sysctl before
    it is made would take ten times as long); nothing where the kernel has no IPv6."""
    if not os.path.exists("/proc/net/if_inet6"):
        return b""
    settings = attribute(_INET6, struct.pack("=HHBxxx", 5, 8, 1))  # IFLA_INET6_ADDR_GEN_MODE: none
    return _request(_NEWLINK, _link(index) + attribute(26, settings))  # IFLA_AF_SPEC


def delete_link(index: int) -> bytes:
    return _request(_DELLINK, _link(index))


def get_link(index: int) -> bytes:
    """Asking for a link also makes the kernel finish pending link-watch work, which is why it serves as a barrier."""
    return _request(_GETLINK, _link(index))


def get_statistics(index: int = 0) -> bytes:
    """Ask for a link's counters alone (IFLA_STATS_LINK_64), or for those of all links of the namespace."""
    body = struct.pack("=BBHLL", 0, 0, 0, index, 1)  # struct if_stats_msg
    return _request(_GETSTATS, body, 0 if index else DUMP)


def statistics(answer: memoryview) -> dict[int, tuple[int, ...]]:
    """Interface index → struct rtnl_link_stats64 of the links that an answer tells of."""
    found = {}
    for kind, _, at, end in wire.messages(answer):
        if kind == _NEWSTATS:
            index = int(struct.unpack_from("=L", answer, at + 4)[0])
            for name, first, behind in wire.attributes(answer, at + 12, end):
                if name == 1:  # IFLA_STATS_LINK_64
                    found[index] = struct.unpack_from(f"={(behind - first) // 8}Q", answer, first)
    return found


def _packed(address: str) -> tuple[int, bytes]:
    """An address with its family."""
    return (_INET6, inet_pton(AF_INET6, address)) if ":" in address else (_INET, inet_aton(address))


def add_address(index: int, address: str, prefix: int) -> bytes:
    """An address of the link; of IPv6 without asking first whether somebody has it."""
    return _request(_NEWADDR, _address(index, address, prefix), CREATE | EXCL)


def delete_address(index: int, address: str, prefix: int) -> bytes:
    return _request(_DELADDR, _address(index, address, prefix))


def _address(index: int, address: str, prefix: int) -> bytes:
    family, local = _packed(address)
    flags = _IFA_F_NODAD if family == _INET6 else 0
    head = struct.pack("=BBBBL", family, prefix, flags, 0, index)  # struct ifaddrmsg
    return head + attribute(2, local) + attribute(1, local)  # IFA_LOCAL, IFA_ADDRESS


def add_route(
    index: int, destination: str | None, *, gateway: str | None = None, table: int = _MAIN, ipv6: bool = False
) -> bytes:
    """A route to one host, or the default route where ``destination`` is None; a gateway is on the link.

    ``ipv6`` is needed only where no address tells it.
    """
    attributes, family, prefix = number(4, index), _INET6 if ipv6 else _INET, 0  # RTA_OIF
    if destination is not None:
        family, packed = _packed(destination)
        attributes, prefix = attributes + attribute(1, packed), 8 * len(packed)  # RTA_DST
    if gateway is not None:
        family, packed = _packed(gateway)
        attributes += attribute(5, packed)  # RTA_GATEWAY
    scope, flags = (_SCOPE_LINK, 0) if gateway is None else (_SCOPE_GLOBAL, _ONLINK)
    head = _route(family, prefix, table, _STATIC, scope, _UNICAST, flags)
    return _request(_NEWROUTE, head + attributes, CREATE | EXCL)


def delete_route(index: int, destination: str) -> bytes:
    """Take back the route to one host."""
    family, packed = _packed(destination)
    head = _route(family, 8 * len(packed), _MAIN, 0, _SCOPE_NOWHERE, 0, 0)
    return _request(_DELROUTE, head + number(4, index) + attribute(1, packed))


def _route(family: int, prefix: int, table: int, protocol: int, scope: int, kind: int, flags: int) -> bytes:
    """struct rtmsg."""
    return struct.pack("=BBBBBBBBL", family, prefix, 0, 0, table, protocol, scope, kind, flags)


def add_source_rule(address: str, table: int) -> bytes:
    """What leaves with this source address is routed by ``table``, which is also the rule's priority."""
    return _request(_NEWRULE, _source_rule(address, table), CREATE | EXCL)


def delete_source_rule(address: str, table: int) -> bytes:
    return _request(_DELRULE, _source_rule(address, table))


def _source_rule(address: str, table: int) -> bytes:
    family, packed = _packed(address)
    head = struct.pack("=BBBBBBBBL", family, 0, 8 * len(packed), 0, table, 0, 0, _FR_ACT_TO_TBL, 0)  # fib_rule_hdr
    attributes = attribute(2, packed) + number(6, table)  # FRA_SRC, FRA_PRIORITY
    return head + attributes + number(15, table)  # FRA_TABLE


def add_neighbour(index: int, address: str, mac: str) -> bytes:
    body = _neighbour(index, address) + attribute(2, _mac(mac))  # NDA_LLADDR
    return _request(_NEWNEIGH, body, CREATE | EXCL)


def delete_neighbour(index: int, address: str) -> bytes:
    return _request(_DELNEIGH, _neighbour(index, address))


def _neighbour(index: int, address: str) -> bytes:
    """struct ndmsg, NDA_DST."""
    family, packed = _packed(address)
    head = struct.pack("=BBHiHBB", family, 0, 0, index, _NUD_PERMANENT, 0, 0)
    return head + attribute(1, packed)


def answer_at_once(index: int) -> bytes:
    """Let proxy ARP answer without its random delay of up to 0.8 s (NDTPA_PROXY_DELAY in ms)."""
    parms = number(1, index) + attribute(13, struct.pack("=Q", 0))
    body = struct.pack("=BBH", _INET, 0, 0) + string(1, "arp_cache") + nested(6, parms)
    return _request(_SETNEIGHTBL, body)


_OFFLOADS = (
    "tx-checksum-ip-generic",
    "tx-checksum-sctp",
    "tx-scatter-gather",
    "tx-scatter-gather-fraglist",
    "rx-gro",
    "rx-checksum",
)
"""Without scatter-gather and checksums the kernel also gives up every kind of segmentation offload on the link."""

_BITS = b"".join(nested(1, string(2, name)) for name in _OFFLOADS)
_families: dict[str, int] = {}
"""Numbers of generic netlink families, the same in every namespace of a kernel."""


def _ethtool(keeper: KeeperClient, ns: int) -> int:
    """The number of the generic netlink family "ethtool", asked for once."""
    if "ethtool" not in _families:
        body = struct.pack("=BBH", 3, 1, 0) + string(2, "ethtool")  # CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME
        answer = send(keeper, [(ns, GENERIC, _request(_CONTROLLER, body))], "look up ethtool")[0]
        for kind, _, at, end in wire.messages(answer):
            for name, first, _ in wire.attributes(answer, at + 4, end) if kind == _CONTROLLER else ():
                if name == 1:  # CTRL_ATTR_FAMILY_ID
                    _families["ethtool"] = int(struct.unpack_from("=H", answer, first)[0])
    if "ethtool" not in _families:
        raise KernelRefused("the kernel has no ethtool netlink family", request="look up ethtool")
    return _families["ethtool"]


def offloads_off(keeper: KeeperClient, ns: int, index: int) -> bytes:
    """Switch off what would let one socket buffer stand for many packets of the wire (protocol GENERIC)."""
    header = nested(1, number(1, index) + number(3, 2))  # of ETHTOOL_A_HEADER: index, no verbose answer
    body = struct.pack("=BBH", 12, 1, 0) + header + nested(3, nested(3, _BITS))
    return _request(_ethtool(keeper, ns), body)


def send(keeper: KeeperClient, steps: Sequence[Step], what: str, *, settle: bool = False) -> list[memoryview]:
    """Send steps and raise :class:`KernelRefused`, naming ``what``, at the first request the kernel refused."""
    answers = keeper.netlink(steps, settle=settle)
    check(answers, what)
    return answers


def check(answers: Iterable[memoryview], what: str) -> None:
    """Raise :class:`KernelRefused`, naming ``what``, at the first answer in which the kernel refuses a request."""
    for answer in answers:
        for kind, _, at, _ in wire.messages(answer):
            refused = -struct.unpack_from("=i", answer, at)[0] if kind == wire.ERROR else 0
            if refused:
                raise KernelRefused(f"{what}: {os.strerror(refused)}", errno=refused, request=what)


def is_up(answer: memoryview) -> bool:
    """Whether the links are up that an answer tells of, if any."""
    return all(
        _operstate(answer, at + 16, end) == _OPERSTATE_UP
        for kind, _, at, end in wire.messages(answer)
        if kind == _NEWLINK
    )


def _operstate(answer: memoryview, at: int, end: int) -> int:
    """IFLA_OPERSTATE among a link's attributes."""
    return next((answer[first] for kind, first, _ in wire.attributes(answer, at, end) if kind == 16), 0)
