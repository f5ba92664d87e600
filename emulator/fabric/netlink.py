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
from collections.abc import Iterable, Iterator, Sequence
from socket import inet_aton

from emulator.errors import KernelRefused
from emulator.fabric.client import KeeperClient

ROUTE, NETFILTER, GENERIC = 0, 12, 16
"""Netlink protocols: NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC."""

REQUEST, ACK, DUMP, CREATE, EXCL = 0x1, 0x4, 0x300, 0x400, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
DUMP_INTERRUPTED = 0x10

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE, _DELROUTE, _NEWNEIGH, _NEWRULE = 16, 17, 18, 20, 24, 25, 28, 32
_DELRULE, _SETNEIGHTBL, _NEWSTATS, _GETSTATS = 33, 67, 92, 94
_INET, _INET6, _IFF_UP, _IFF_NOARP, _OPERSTATE_UP = 2, 10, 0x1, 0x80, 6
_MAIN, _STATIC, _UNICAST, _ONLINK = 254, 4, 1, 4  # RT_TABLE_, RTPROT_, RTN_, RTNH_F_
_SCOPE_GLOBAL, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
_NUD_PERMANENT, _FR_ACT_TO_TBL = 0x80, 1
_numbers = itertools.count(1)

Step = tuple[int, int, bytes]
"""(namespace, protocol, requests) of one keeper request."""


def _request(kind: int, body: bytes, options: int = 0) -> bytes:
    """A request under a number of its own, by which its acknowledgement is known."""
    flags = REQUEST | ACK | options
    return struct.pack("=LHHLL", 16 + len(body), kind, flags, next(_numbers) & 0xFFFFFFFF, 0) + body


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _number(kind: int, value: int) -> bytes:
    return struct.pack("=HHL", 8, kind, value)


def _link(index: int, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg."""
    return struct.pack("=BBHiLL", 0, 0, 0, index, flags, change)


def _name(name: str, mac: str) -> bytes:
    """IFLA_IFNAME and IFLA_ADDRESS."""
    return _attribute(3, name.encode() + b"\0") + _attribute(1, _mac(mac))


def _mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def new_veth(name: str, index: int, mac: str, peer: str, peer_index: int, peer_mac: str, peer_ns: int) -> bytes:
    """A veth pair; the peer is born in the namespace behind the keeper's descriptor ``peer_ns``.

    One queue each: the kernel would else make one for each processor and take all but the first back again, which is a
    quarter of the time on two processors.
    """
    queues = _number(31, 1) + _number(32, 1)  # IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES
    other = _link(peer_index) + _name(peer, peer_mac) + queues + _number(28, peer_ns)  # IFLA_NET_NS_FD
    info = _attribute(1, b"veth\0") + _attribute(2, _attribute(1, other))  # IFLA_INFO_KIND, _DATA > VETH_INFO_PEER
    linkinfo = _attribute(18, info)
    return _request(_NEWLINK, _link(index) + _name(name, mac) + queues + linkinfo, CREATE | EXCL)


def set_up(index: int, *, arp: bool = True) -> bytes:
    """The link comes up; it takes packets from whatever source (rp_filter 0: a sysctl would take ten times as long)."""
    settings = _attribute(_INET, _attribute(1, _number(8, 0)))  # AF_INET > IFLA_INET_CONF > IPV4_DEVCONF_RP_FILTER
    flags = _IFF_UP if arp else _IFF_UP | _IFF_NOARP
    return _request(_NEWLINK, _link(index, flags, _IFF_UP | _IFF_NOARP) + _attribute(26, settings))  # IFLA_AF_SPEC


def be_quiet(index: int) -> bytes:
    """The link gets no IPv6 address of its own when it comes up, and so announces and solicits nothing (a sysctl before
    it is made would take ten times as long); nothing where the kernel has no IPv6."""
    if not os.path.exists("/proc/net/if_inet6"):
        return b""
    settings = _attribute(_INET6, struct.pack("=HHBxxx", 5, 8, 1))  # IFLA_INET6_ADDR_GEN_MODE: none
    return _request(_NEWLINK, _link(index) + _attribute(26, settings))  # IFLA_AF_SPEC


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
    for kind, message in messages(answer):
        if kind == _NEWSTATS:
            length, attribute = struct.unpack_from("=HH", message, 28)
            if attribute == 1:  # IFLA_STATS_LINK_64
                index = int(struct.unpack_from("=L", message, 20)[0])
                found[index] = struct.unpack_from(f"={(length - 4) // 8}Q", message, 32)
    return found


def add_address(index: int, address: str, prefix: int) -> bytes:
    local = inet_aton(address)
    attributes = _attribute(2, local) + _attribute(1, local)  # IFA_LOCAL, IFA_ADDRESS
    return _request(_NEWADDR, struct.pack("=BBBBL", _INET, prefix, 0, 0, index) + attributes, CREATE | EXCL)


def add_route(index: int, destination: str | None, *, gateway: str | None = None, table: int = _MAIN) -> bytes:
    """A route to one host, or the default route where ``destination`` is None; a gateway is on the link."""
    attributes = _number(4, index)  # RTA_OIF
    if destination is not None:
        attributes += _attribute(1, inet_aton(destination))  # RTA_DST
    if gateway is not None:
        attributes += _attribute(5, inet_aton(gateway))  # RTA_GATEWAY
    scope, flags = (_SCOPE_LINK, 0) if gateway is None else (_SCOPE_GLOBAL, _ONLINK)
    head = _route(0 if destination is None else 32, table, _STATIC, scope, _UNICAST, flags)
    return _request(_NEWROUTE, head + attributes, CREATE | EXCL)


def delete_route(index: int, destination: str) -> bytes:
    """Take back the route to one host."""
    head = _route(32, _MAIN, 0, _SCOPE_NOWHERE, 0, 0)
    return _request(_DELROUTE, head + _number(4, index) + _attribute(1, inet_aton(destination)))


def _route(prefix: int, table: int, protocol: int, scope: int, kind: int, flags: int) -> bytes:
    """struct rtmsg."""
    return struct.pack("=BBBBBBBBL", _INET, prefix, 0, 0, table, protocol, scope, kind, flags)


def add_source_rule(address: str, table: int) -> bytes:
    """What leaves with this source address is routed by ``table``, which is also the rule's priority."""
    return _request(_NEWRULE, _source_rule(address, table), CREATE | EXCL)


def delete_source_rule(address: str, table: int) -> bytes:
    return _request(_DELRULE, _source_rule(address, table))


def _source_rule(address: str, table: int) -> bytes:
    head = struct.pack("=BBBBBBBBL", _INET, 0, 32, 0, table, 0, 0, _FR_ACT_TO_TBL, 0)  # struct fib_rule_hdr
    attributes = _attribute(2, inet_aton(address)) + _number(6, table)  # FRA_SRC, FRA_PRIORITY
    return head + attributes + _number(15, table)  # FRA_TABLE


def add_neighbour(index: int, address: str, mac: str) -> bytes:
    head = struct.pack("=BBHiHBB", _INET, 0, 0, index, _NUD_PERMANENT, 0, 0)  # struct ndmsg
    attributes = _attribute(1, inet_aton(address)) + _attribute(2, _mac(mac))  # NDA_DST, NDA_LLADDR
    return _request(_NEWNEIGH, head + attributes, CREATE | EXCL)


def answer_at_once(index: int) -> bytes:
    """Let proxy ARP answer without its random delay of up to 0.8 s (NDTPA_PROXY_DELAY in ms)."""
    parms = _number(1, index) + _attribute(13, struct.pack("=Q", 0))
    body = struct.pack("=BBH", _INET, 0, 0) + _attribute(1, b"arp_cache\0") + _attribute(6 | 0x8000, parms)
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

_NESTED = 0x8000
_BITS = b"".join(_attribute(1 | _NESTED, _attribute(2, name.encode() + b"\0")) for name in _OFFLOADS)
_families: dict[str, int] = {}
"""Numbers of generic netlink families, the same in every namespace of a kernel."""


def _ethtool(keeper: KeeperClient, ns: int) -> int:
    """The number of the generic netlink family "ethtool", asked for once."""
    if "ethtool" not in _families:
        body = struct.pack("=BBH", 3, 1, 0) + _attribute(2, b"ethtool\0")  # CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME
        answer = send(keeper, [(ns, GENERIC, _request(16, body))], "look up ethtool")[0]
        at = 20
        while at < len(answer):
            length, kind = struct.unpack_from("=HH", answer, at)
            if kind == 1:
                _families["ethtool"] = int(struct.unpack_from("=H", answer, at + 4)[0])
            at += (length + 3) & ~3
    if "ethtool" not in _families:
        raise KernelRefused("the kernel has no ethtool netlink family", request="look up ethtool")
    return _families["ethtool"]


def offloads_off(keeper: KeeperClient, ns: int, index: int) -> bytes:
    """Switch off what would let one socket buffer stand for many packets of the wire (protocol GENERIC)."""
    header = _attribute(1 | _NESTED, _number(1, index) + _number(3, 2))  # of ETHTOOL_A_HEADER: index, no verbose answer
    body = struct.pack("=BBH", 12, 1, 0) + header + _attribute(3 | _NESTED, _attribute(3 | _NESTED, _BITS))
    return _request(_ethtool(keeper, ns), body)


def send(keeper: KeeperClient, steps: Sequence[Step], what: str, *, settle: bool = False) -> list[memoryview]:
    """Send steps and raise :class:`KernelRefused`, naming ``what``, at the first request the kernel refused."""
    answers = keeper.netlink(steps, settle=settle)
    check(answers, what)
    return answers


def check(answers: Iterable[memoryview], what: str) -> None:
    """Raise :class:`KernelRefused`, naming ``what``, at the first answer in which the kernel refuses a request."""
    for answer in answers:
        for kind, message in messages(answer):
            if kind == NLMSG_ERROR:
                number = -struct.unpack_from("=i", message, 16)[0]
                if number:
                    raise KernelRefused(f"{what}: {os.strerror(number)}", errno=number, request=what)


def messages(answer: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(type, message with its header) of each message of an answer."""
    at = 0
    while at < len(answer):
        length, kind = struct.unpack_from("=LH", answer, at)
        yield kind, answer[at : at + length]
        at += (length + 3) & ~3


def is_up(answer: memoryview) -> bool:
    """Whether the links are up that an answer tells of, if any."""
    return all(_operstate(message) == _OPERSTATE_UP for kind, message in messages(answer) if kind == _NEWLINK)


def _operstate(link: memoryview) -> int:
    at = 32
    while at < len(link):
        length, kind = struct.unpack_from("=HH", link, at)
        if kind == 16:  # IFLA_OPERSTATE
            return link[at + 4]
        at += (length + 3) & ~3
    return 0
