"""Hand-packed netlink requests, each compared with what pyroute2's message classes make of the same fields."""

from __future__ import annotations

import struct
from ipaddress import IPv4Network
from typing import Any

import pytest
from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ifstatsmsg import ifstatsmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.ndtmsg import ndtmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from emulator.fabric import connections, netlink
from emulator.fabric.routing import NetworkRoute, TableRule

MAC, PEER_MAC = "02:fe:00:00:00:0a", "52:54:00:12:34:56"
CVM, GATEWAY = "10.16.0.22", "10.16.0.1"
CVM6, GATEWAY6 = "2001:db8::16", "fe80::1"
REQUEST, DUMP, ACKNOWLEDGED, MADE = 0x1, 0x300, 0x5, 0x605
"""NLM_F_REQUEST, NLM_F_DUMP; NLM_F_REQUEST | NLM_F_ACK; with it NLM_F_CREATE | NLM_F_EXCL."""
NO_ADDRESS = 1  # IN6_ADDR_GEN_MODE_NONE
NESTED = 0x8000  # which pyroute2 does not say
UNICAST, LINK, NOWHERE, ON_LINK, NO_DAD = 1, 253, 255, 4, 2


def encoded(message: Any, kind: int, options: int, /, *attrs: tuple[str, Any], **fields: Any) -> bytes:
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attrs)
    message["header"]["type"], message["header"]["flags"] = kind, options
    message.encode()
    return bytes(message.data)


def veth_pair() -> bytes:
    def end(name: str, mac: str) -> list[tuple[str, Any]]:
        queues = [("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1)]
        return [("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), *queues]

    peer = {"index": 13, "attrs": [*end("eth11", PEER_MAC), ("IFLA_NET_NS_FD", 70_000)]}
    info = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})]
    return encoded(ifinfmsg(), 16, MADE, *end("eni-abcdefgh", MAC), ("IFLA_LINKINFO", {"attrs": info}), index=1000)


def link_up(flags: int) -> bytes:
    """With IFLA_AF_SPEC > AF_INET > IFLA_INET_CONF > IPV4_DEVCONF_RP_FILTER 0, which pyroute2 cannot write."""
    plain = encoded(ifinfmsg(), 16, ACKNOWLEDGED, index=7, flags=flags, change=0x81)
    settings = struct.pack("=HHHHHHHHL", 20, 26, 16, 2, 12, 1, 8, 8, 0)
    return struct.pack("=L", len(plain) + len(settings)) + plain[4:] + settings


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(
            netlink.new_veth("eni-abcdefgh", 1000, MAC, "eth11", 13, PEER_MAC, 70_000), veth_pair(), id="veth pair"
        ),
        pytest.param(netlink.set_up(7), link_up(0x01), id="link up"),
        pytest.param(netlink.set_up(7, arp=False), link_up(0x81), id="link up without ARP"),
        pytest.param(netlink.delete_link(7), encoded(ifinfmsg(), 17, ACKNOWLEDGED, index=7), id="no link"),
        pytest.param(netlink.get_link(7), encoded(ifinfmsg(), 18, ACKNOWLEDGED, index=7), id="look at a link"),
        pytest.param(
            netlink.add_address(2, CVM, 24),
            encoded(ifaddrmsg(), 20, MADE, ("IFA_LOCAL", CVM), ("IFA_ADDRESS", CVM), family=2, prefixlen=24, index=2),
            id="address",
        ),
        pytest.param(
            netlink.add_route(10, CVM),
            encoded(
                *(rtmsg(), 24, MADE, ("RTA_OIF", 10), ("RTA_DST", CVM)),
                family=2,
                dst_len=32,
                table=254,
                proto=4,
                scope=LINK,
                type=UNICAST,
            ),
            id="route to a host",
        ),
        pytest.param(
            netlink.add_route(10, None),
            encoded(
                *(rtmsg(), 24, MADE, ("RTA_OIF", 10)),
                family=2,
                table=254,
                proto=4,
                scope=LINK,
                type=UNICAST,
            ),
            id="route to everywhere",
        ),
        pytest.param(
            netlink.add_route(3, None, gateway=GATEWAY, table=101),
            encoded(
                *(rtmsg(), 24, MADE, ("RTA_OIF", 3), ("RTA_GATEWAY", GATEWAY)),
                family=2,
                table=101,
                proto=4,
                type=UNICAST,
                flags=ON_LINK,
            ),
            id="route over a gateway",
        ),
        pytest.param(
            netlink.delete_route(10, CVM),
            encoded(
                *(rtmsg(), 25, ACKNOWLEDGED, ("RTA_OIF", 10), ("RTA_DST", CVM)),
                family=2,
                dst_len=32,
                table=254,
                scope=NOWHERE,
            ),
            id="no route",
        ),
        pytest.param(
            netlink.add_source_rule(CVM, 101),
            encoded(
                *(fibmsg(), 32, MADE, ("FRA_SRC", CVM), ("FRA_PRIORITY", 101), ("FRA_TABLE", 101)),
                family=2,
                src_len=32,
                table=101,
                action=1,
            ),
            id="rule by source",
        ),
        pytest.param(
            netlink.delete_source_rule(CVM, 101),
            encoded(
                *(fibmsg(), 33, ACKNOWLEDGED, ("FRA_SRC", CVM), ("FRA_PRIORITY", 101), ("FRA_TABLE", 101)),
                family=2,
                src_len=32,
                table=101,
                action=1,
            ),
            id="no rule by source",
        ),
        pytest.param(
            netlink.add_neighbour(10, CVM, MAC),
            encoded(ndmsg(), 28, MADE, ("NDA_DST", CVM), ("NDA_LLADDR", MAC), family=2, ifindex=10, state=0x80),
            id="neighbour",
        ),
        pytest.param(
            netlink.delete_neighbour(10, CVM),
            encoded(ndmsg(), 29, ACKNOWLEDGED, ("NDA_DST", CVM), family=2, ifindex=10, state=0x80),
            id="no neighbour",
        ),
        pytest.param(
            netlink.add_address(2, CVM6, 128),
            encoded(
                *(ifaddrmsg(), 20, MADE, ("IFA_LOCAL", CVM6), ("IFA_ADDRESS", CVM6)),
                family=10,
                prefixlen=128,
                flags=NO_DAD,
                index=2,
            ),
            id="address of IPv6",
        ),
        pytest.param(
            netlink.add_route(10, CVM6),
            encoded(
                *(rtmsg(), 24, MADE, ("RTA_OIF", 10), ("RTA_DST", CVM6)),
                family=10,
                dst_len=128,
                table=254,
                proto=4,
                scope=LINK,
                type=UNICAST,
            ),
            id="route to a host of IPv6",
        ),
        pytest.param(
            netlink.add_route(10, None, ipv6=True),
            encoded(*(rtmsg(), 24, MADE, ("RTA_OIF", 10)), family=10, table=254, proto=4, scope=LINK, type=UNICAST),
            id="route to all of IPv6",
        ),
        pytest.param(
            netlink.add_route(3, None, gateway=GATEWAY6, table=101),
            encoded(
                *(rtmsg(), 24, MADE, ("RTA_OIF", 3), ("RTA_GATEWAY", GATEWAY6)),
                family=10,
                table=101,
                proto=4,
                type=UNICAST,
                flags=ON_LINK,
            ),
            id="route over a gateway of IPv6",
        ),
        pytest.param(
            netlink.delete_route(10, CVM6),
            encoded(
                *(rtmsg(), 25, ACKNOWLEDGED, ("RTA_OIF", 10), ("RTA_DST", CVM6)),
                family=10,
                dst_len=128,
                table=254,
                scope=NOWHERE,
            ),
            id="no route of IPv6",
        ),
        pytest.param(
            netlink.add_source_rule(CVM6, 101),
            encoded(
                *(fibmsg(), 32, MADE, ("FRA_SRC", CVM6), ("FRA_PRIORITY", 101), ("FRA_TABLE", 101)),
                family=10,
                src_len=128,
                table=101,
                action=1,
            ),
            id="rule by source of IPv6",
        ),
        pytest.param(
            netlink.add_neighbour(10, CVM6, MAC),
            encoded(ndmsg(), 28, MADE, ("NDA_DST", CVM6), ("NDA_LLADDR", MAC), family=10, ifindex=10, state=0x80),
            id="neighbour of IPv6",
        ),
        pytest.param(
            netlink.delete_address(2, CVM, 32),
            encoded(
                *(ifaddrmsg(), 21, ACKNOWLEDGED, ("IFA_LOCAL", CVM), ("IFA_ADDRESS", CVM)),
                family=2,
                prefixlen=32,
                index=2,
            ),
            id="no address",
        ),
        pytest.param(
            NetworkRoute(IPv4Network("10.1.0.0/16"), 10, 1001).add(),
            encoded(
                *(rtmsg(), 24, MADE, ("RTA_TABLE", 1001), ("RTA_DST", "10.1.0.0"), ("RTA_OIF", 10)),
                *[("RTA_GATEWAY", "169.254.0.1")],
                family=2,
                dst_len=16,
                proto=4,
                type=UNICAST,
                flags=ON_LINK,
            ),
            id="route to a network",
        ),
        pytest.param(
            NetworkRoute(IPv4Network("0.0.0.0/0"), None).delete(),
            encoded(
                *(rtmsg(), 25, ACKNOWLEDGED, ("RTA_TABLE", 254), ("RTA_DST", "0.0.0.0")), family=2, proto=4, type=6
            ),
            id="no black hole",
        ),
        pytest.param(
            TableRule(30, 1001, source=IPv4Network("10.1.0.0/16"), without_default=True).add(),
            encoded(
                *(fibmsg(), 32, MADE, ("FRA_PRIORITY", 30), ("FRA_TABLE", 1001), ("FRA_SRC", "10.1.0.0")),
                ("FRA_SUPPRESS_PREFIXLEN", 0),
                family=2,
                src_len=16,
                action=1,
            ),
            id="rule by a network",
        ),
        pytest.param(
            TableRule(5, 1001, come_by="out0", mark=(0x1000_0000, 0xF000_0000)).delete(),
            encoded(
                *(fibmsg(), 33, ACKNOWLEDGED, ("FRA_PRIORITY", 5), ("FRA_TABLE", 1001), ("FRA_IIFNAME", "out0")),
                *[("FRA_FWMARK", 0x1000_0000), ("FRA_FWMASK", 0xF000_0000)],
                family=2,
                action=1,
            ),
            id="no rule by mark",
        ),
        pytest.param(
            netlink.get_statistics(7),
            encoded(ifstatsmsg(), 94, ACKNOWLEDGED, ifindex=7, filter_mask=1),
            id="a link's counters",
        ),
        pytest.param(
            netlink.get_statistics(),
            encoded(ifstatsmsg(), 94, ACKNOWLEDGED | DUMP, filter_mask=1),
            id="counters of all links",
        ),
        pytest.param(
            netlink.be_quiet(7),
            encoded(
                ifinfmsg(),
                16,
                ACKNOWLEDGED,
                ("IFLA_AF_SPEC", {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", NO_ADDRESS)]})]}),
                index=7,
            ),
            id="no address by itself",
        ),
        pytest.param(
            netlink.answer_at_once(7),
            encoded(
                *(ndtmsg(), 67, ACKNOWLEDGED, ("NDTA_NAME", "arp_cache")),
                ("NDTA_PARMS", {"attrs": [("NDTPA_IFINDEX", 7), ("NDTPA_PROXY_DELAY", 0)]}),
                family=2,
            ).replace(struct.pack("=HH", 24, 6), struct.pack("=HH", 24, 6 | NESTED)),
            id="no delay of proxy ARP",
        ),
        pytest.param(
            connections.statistics_request(),
            encoded(nfct_msg(), 1 << 8 | 4, REQUEST | DUMP),
            id="statistics of connections",
        ),
    ],
)
def test_the_same_bytes_as_pyroute2_but_for_the_number(made: bytes, expected: bytes) -> None:
    assert (made[:8] + made[12:]).hex(" ", 4) == (expected[:8] + expected[12:]).hex(" ", 4)


def test_every_request_has_a_number_of_its_own() -> None:
    numbers = [struct.unpack_from("=L", netlink.set_up(2), 8)[0] for _ in range(5)]

    assert len(set(numbers)) == 5
