"""Every kind of packet has a record at its sender and its receiver, or is absent for a reason that the audit knows.

The frames are written here, byte by byte: much of this no socket would send. B answers nothing; what C answers stands
in a table of its own.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import dpkt
import pytest
from dpkt.icmp import ICMP as Icmp
from dpkt.tcp import TCP as Tcp
from dpkt.udp import UDP as Udp
from starved import starve

pytestmark = pytest.mark.kernel

A, B, C, NOBODY, GATEWAY = "10.16.0.22", "10.16.0.40", "10.16.1.7", "10.16.0.99", "10.16.0.1"
BOTH, SENDER, NONE = "both", "sender", "none"
TCP, UDP, ICMP = 6, 17, 1
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2  # linux/in.h
LINK, BROADCAST, IPV4 = "the router's", "ff:ff:ff:ff:ff:ff", 0x0800

Ports = tuple[int | None, int | None]


def ip(
    protocol: int, payload: bytes, *, dst: str = B, src: str = A, options: bytes = b"", ttl: int = 64, **wrong: Any
) -> bytes:
    """A packet with a right header but for ``wrong``: ``version``, ``words``, ``length`` or ``checksum``."""
    words = wrong.get("words", 5 + len(options) // 4)
    length = wrong.get("length", 20 + len(options) + len(payload))
    head = struct.pack(">BBHHHBBH", wrong.get("version", 4) << 4 | words, 0, length, 0x1234, 0x4000, ttl, protocol, 0)
    head += socket.inet_aton(src) + socket.inet_aton(dst) + options
    checksum = wrong.get("checksum", dpkt.in_cksum(head))
    return head[:10] + struct.pack(">H", checksum) + head[12:] + payload


def udp(data: bytes = b"data", *, dst: str = B, ports: tuple[int, int] = (5000, 9), **more: Any) -> bytes:
    return ip(UDP, bytes(Udp(sport=ports[0], dport=ports[1], ulen=8 + len(data), data=data)), dst=dst, **more)


def tcp(flags: int, *, dst: str = B, port: int = 80) -> bytes:
    return ip(TCP, bytes(Tcp(sport=5000, dport=port, flags=flags)), dst=dst)


def icmp(type: int, code: int, ident: int, data: bytes = b"", *, dst: str = B) -> bytes:
    return ip(ICMP, bytes(Icmp(type=type, code=code, data=struct.pack(">HH", ident, 1) + data)), dst=dst)


@dataclass(frozen=True)
class Kind:
    """``packets`` are IP packets or what stands in place of one; all are of one flow. ``seen``: where it has records,
    everywhere or by provider; ``size``: its bytes, where they are not those of the packets."""

    packets: Sequence[bytes]
    protocol: int = UDP
    ports: Ports = (5000, 9)
    seen: str | dict[str, str] = BOTH
    dst: str = B
    mac: str = LINK
    padding: int = 0
    ethertype: int = IPV4
    src: str = A
    tag: bytes = b""


def numbered(protocol: int, payload: bytes) -> Kind:
    return Kind([ip(protocol, payload)], protocol, (None, None))


SYN = tcp(2)
EMBEDDED = ip(UDP, bytes(Udp(sport=9, dport=5000)), src=B, dst=A)
"""A packet that B never sent, as an error quotes it."""

KINDS = {
    # TCP
    "half-open": Kind([SYN], TCP, (5000, 80)),
    "a SYN sent again": Kind([SYN] * 3, TCP, (5000, 80)),
    "RST": Kind([tcp(4)], TCP, (5000, 80)),
    "a FIN of no connection": Kind([tcp(17)], TCP, (5000, 80)),
    "TCP with every flag": Kind([tcp(0x3F)], TCP, (5000, 80)),
    "TCP without a flag": Kind([tcp(0)], TCP, (5000, 80)),
    "TCP, header cut off behind the ports": Kind([ip(TCP, b"\x13\x88\0\x50abc")], TCP, (5000, 80)),
    # UDP
    "UDP without data": Kind([udp(b"")]),
    "UDP, port 0": Kind([udp(ports=(0, 0))], ports=(0, 0)),
    "UDP as long as the link": Kind([udp(b"x" * 1472)]),
    "UDP, checksum wrong": Kind([ip(UDP, struct.pack(">HHHH", 5000, 9, 12, 0xDEAD) + b"data")]),
    "UDP, length wrong": Kind([ip(UDP, struct.pack(">HHHH", 5000, 9, 999, 0) + b"data")]),
    # ICMP: identifier, type << 8 | code
    "echo": Kind([icmp(8, 0, 7)], ICMP, (7, 8 << 8)),
    "an answer to no question": Kind([icmp(0, 0, 7)], ICMP, (7, 0)),
    "unreachable, of no flow": Kind([icmp(3, 3, 0, EMBEDDED)], ICMP, (0, 3 << 8 | 3)),
    "fragmentation needed, of no flow": Kind([icmp(3, 4, 0, EMBEDDED)], ICMP, (0, 3 << 8 | 4)),
    "ICMP, checksum wrong": Kind([ip(ICMP, b"\x08\0\xde\xad\0\x07\0\x01")], ICMP, (7, 8 << 8)),
    # other protocols
    "SCTP": Kind([ip(132, struct.pack(">HH", 5000, 9) + b"\0" * 20)], 132),
    "DCCP": Kind([ip(33, struct.pack(">HH", 5000, 9) + b"\0" * 20)], 33),
    "UDP-Lite": Kind([ip(136, struct.pack(">HH", 5000, 9) + b"\0\0\0\0data")], 136),
    "GRE": numbered(47, b"\0\0\x08\0" + b"x" * 30),
    "ESP": numbered(50, b"\0\0\0\1" + b"x" * 40),
    "AH": numbered(51, b"x" * 24),
    "IP in IP": numbered(4, udp()),
    "IPv6 in IPv4": numbered(41, b"\x60" + b"\0" * 39),
    "IGMP": numbered(2, b"\x16\0\0\0\0\0\0\0"),
    "a number without a name": numbered(199, b"x"),
    "protocol 0": numbered(0, b"x"),
    "protocol 255 without a payload": numbered(255, b""),
    # where to
    "to the gateway": Kind([udp(dst=GATEWAY)], dst=GATEWAY, seen=SENDER),
    "to oneself": Kind([udp(dst=A)], dst=A),
    "to an address that nobody has": Kind([udp(dst=NOBODY)], dst=NOBODY, seen=SENDER),
    "to an address outside": Kind([udp(dst="203.0.113.9")], dst="203.0.113.9", seen=SENDER),
    "to the loopback network": Kind([udp(dst="127.0.0.1")], dst="127.0.0.1", seen=SENDER),
    "to no address": Kind([udp(dst="0.0.0.0")], dst="0.0.0.0", seen=SENDER),
    "to the subnet's broadcast address": Kind([udp(dst="10.16.0.255")], dst="10.16.0.255", mac=BROADCAST, seen=SENDER),
    "to everybody here": Kind([udp(dst="255.255.255.255")], dst="255.255.255.255", mac=BROADCAST, seen=SENDER),
    "to a group of the link": Kind(
        [udp(dst="224.0.0.251")],
        dst="224.0.0.251",
        mac="01:00:5e:00:00:fb",
        seen={"tencent": SENDER, "alibaba": NONE},
    ),
    "to a group": Kind(
        [udp(dst="239.1.2.3")], dst="239.1.2.3", mac="01:00:5e:01:02:03", seen={"tencent": SENDER, "alibaba": NONE}
    ),
    "to one address in a broadcast frame": Kind([udp()], mac=BROADCAST),
    # DHCP, and what Windows asks for
    "DHCP, before there is an address": Kind(
        [udp(src="0.0.0.0", dst="255.255.255.255", ports=(68, 67))],
        ports=(68, 67),
        src="0.0.0.0",
        dst="255.255.255.255",
        mac=BROADCAST,
        seen={"tencent": NONE, "alibaba": SENDER},
    ),
    "DHCP, to renew an address": Kind(
        [udp(ports=(68, 67), dst=NOBODY)], ports=(68, 67), dst=NOBODY, seen={"tencent": NONE, "alibaba": SENDER}
    ),
    "activation of Windows": Kind(
        [tcp(2, dst="169.254.0.51", port=1688)],
        TCP,
        (5000, 1688),
        dst="169.254.0.51",
        seen={"tencent": NONE, "alibaba": SENDER},
    ),
    "port 1688 of a CVM": Kind([tcp(2, port=1688)], TCP, (5000, 1688)),
    "UDP from port 68 to another": Kind([udp(ports=(68, 9))], ports=(68, 9)),
    # time to live, options, frames
    "TTL 1": Kind([udp(ttl=1)]),
    "TTL 255": Kind([udp(ttl=255)]),
    "TTL 0": Kind([udp(ttl=0)], seen=SENDER),
    "options that do nothing": Kind([udp(options=b"\x01\x01\x01\0")]),
    "record route": Kind([udp(options=bytes([7, 7, 4, 0, 0, 0, 0, 0]))]),
    "source route": Kind([udp(options=bytes([131, 7, 4, 10, 16, 1, 7, 0]))], seen=SENDER),
    "options that make no sense": Kind([udp(options=bytes([7, 39, 4, 1, 1, 1, 1, 0]))], seen=SENDER),
    "a padded frame": Kind([udp()], padding=14),
    # what never is recorded
    "version 6 in an IPv4 frame": Kind([udp(version=6)], seen=NONE),
    "a header of four words": Kind([udp(words=4)], seen=NONE),
    "header checksum wrong": Kind([udp(checksum=0xDEAD)], seen=NONE),
    "longer than its frame": Kind([udp(length=200)], seen=NONE),
    "shorter than its header": Kind([udp(length=12)], seen=NONE),
    "half a header": Kind([udp()[:10]], seen=NONE),
    "an empty frame": Kind([b""], seen=NONE),
    "UDP that ends before its ports": Kind([ip(UDP, b"\0\1\0")], seen=NONE),
    "TCP that ends before its ports": Kind([ip(TCP, b"")], seen=NONE),
    "ICMP that ends before its identifier": Kind([ip(ICMP, b"\x08\0\0\0")], seen=NONE),
    "a forged source": Kind([udp(src="10.16.0.23")], seen=NONE),
    "no source, but no DHCP either": Kind([udp(src="0.0.0.0")], seen=NONE),
    "another machine's frame": Kind([udp()], mac="02:00:00:00:99:99", seen=NONE),
    "a frame of no known protocol": Kind([b"x" * 46], ethertype=0x88B5, seen=NONE),
    "a VLAN's frame": Kind([udp()], ethertype=0x8100, tag=b"\0\5\x08\0", seen=NONE),
    "ARP": Kind(
        [struct.pack(">HHBBH", 1, IPV4, 6, 4, 1) + bytes(6) + socket.inet_aton(A) + bytes(6) + socket.inet_aton(B)],
        ethertype=0x0806,
        mac=BROADCAST,
        seen=NONE,
    ),
}


Row = tuple[Any, ...]


def flow(kind: Kind, profile: str) -> Row:
    """The addresses, ports and protocol of its records; Alibaba's have no ports for ICMP."""
    ports = (None, None) if kind.protocol == ICMP and profile == "alibaba" else kind.ports
    return kind.src, ports[0], kind.dst, ports[1], kind.protocol


def seen(kind: Kind, profile: str) -> str:
    return kind.seen if isinstance(kind.seen, str) else kind.seen[profile]


def windows(profile: str) -> list[list[str]]:
    """Kinds that can be told apart by their flow share a window; those that no record tells of have one of their
    own."""
    found: list[list[str]] = [[]]
    taken: list[set[Row]] = [set()]
    for name, kind in KINDS.items():
        key, place = flow(kind, profile), 0
        if seen(kind, profile) is not NONE:
            place = next((n for n, keys in enumerate(taken) if n and key not in keys), len(taken))
        if place == len(taken):
            found.append([])
            taken.append(set())
        found[place].append(name)
        taken[place].add(key)
    return found


@dataclass(frozen=True)
class Story:
    """What came of all kinds under one profile: the rows of each kind's window, and the ids of A's and B's ENIs."""

    profile: str
    rows: dict[str, set[Row]]
    enis: dict[str, str]
    audits: dict[str, Any]

    def expected(self, name: str) -> set[Row]:
        kind = KINDS[name]
        counts = (len(kind.packets), sum(map(len, kind.packets)), "ACCEPT")
        rows = {(self.enis[A], "out", *flow(kind, self.profile), *counts)}
        if kind.dst in self.enis:
            rows.add((self.enis[kind.dst], "in", *flow(kind, self.profile), *counts))
        return {NONE: set(), SENDER: {row for row in rows if row[1] == "out"}, BOTH: rows}[seen(kind, self.profile)]


def send(site: Any, names: Sequence[str]) -> None:
    place = site.lab.fabric.vpcs[site.vpc.id].attached[site.a.eni.id]
    router, own = place.link.intf1.MAC(), site.a.eni.mac
    with closing(site.a.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) as sender:
        sender.bind(("eth0", 0))
        for kind in (KINDS[name] for name in names):
            ends = [router if kind.mac is LINK else kind.mac, own]
            head = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in ends) + struct.pack(">H", kind.ethertype)
            for packet in kind.packets:
                sender.send(head + kind.tag + packet + b"\0" * kind.padding)


@pytest.fixture(scope="module", params=["tencent", "alibaba", "alibaba starved"])
def story(request: pytest.FixtureRequest, open_module_lab: Callable[..., Any], furnished: Any, wire: Any) -> Story:
    profile, *starved = request.param.split()
    site = furnished(open_module_lab(profile))
    site.log(site.vpc)
    if starved:
        starve(site.lab)
    wire.deafen(site.b)
    names = ("srcaddr", "srcport", "dstaddr", "dstport", "protocol", "packets", "bytes", "action")
    rows, audits = {}, {}
    for window in windows(profile):
        begun = site.lab.clock.now
        send(site, window)
        wire.drain()
        audit = site.lab.audit()
        found = {
            (record.meta["eni_id"], record.meta["direction"], *(record[name] for name in names))
            for record in site.records()
            if record["end"] > begun and record["log-status"] != "NODATA"
        }
        rows |= dict.fromkeys(window, found)
        audits |= dict.fromkeys(window, audit)
    return Story(profile, rows, {A: site.a.eni.id, B: site.b.eni.id}, audits)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_packet_has_its_records_and_no_others(story: Story, name: str) -> None:
    key = flow(KINDS[name], story.profile)
    assert {row for row in story.rows[name] if row[2:7] == key} == story.expected(name)


def test_nothing_else_is_recorded(story: Story) -> None:
    for window in windows(story.profile):
        assert story.rows[window[0]] == set().union(*map(story.expected, window))


def test_what_has_no_record_is_in_the_books(story: Story) -> None:
    """They balance after each window, and name what was left out."""
    assert {name: audit.text for name, audit in story.audits.items() if not audit.ok} == {}
    audit = story.audits[windows(story.profile)[-1][0]]
    (a,) = (eni for eni in audit.enis if eni.eni_id == story.enis[A])
    assert (a.excluded_out, a.spoofed, a.malformed) == ({"tencent": 3, "alibaba": 2}[story.profile], 2, 3)
    assert audit.malformed == 11, "ten of no record, and the options that make no sense"


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_answers_belong_to_what_they_answer(build: Callable[..., Any], wire: Any, profile: str) -> None:
    """A lets nothing in: a reset, an echo's reply and an error about a datagram pass by the state of its own flows."""
    site = build(profile)
    site.log(site.vpc)
    closed = site.vpc.create_security_group()
    closed.allow("egress")
    site.a.eni.set_security_groups([closed])
    site.c.eni.security_groups[0].allow("ingress")
    flows = {
        "closed port": (ip(TCP, wire.tcp(A, C, 5000, 80), dst=C), (TCP, 80, 5000, 40)),
        "nobody listens": (udp(dst=C), (ICMP, 0, 3 << 8 | 3, 28 + 32)),
        "echo": (icmp(8, 0, 7, dst=C), (ICMP, 7, 0, 28)),
    }
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
        for packet, _ in flows.values():
            sender.sendto(packet, (C, 0))
            wire.drain()
    site.lab.audit().check()

    back = [record for record in site.records() if record["srcaddr"] == C]

    assert {record["action"] for record in back} == {"ACCEPT"}
    names = ("protocol", "srcport", "dstport", "bytes")
    expected = {answer for _, answer in flows.values()}
    if profile == "alibaba":
        expected = {(TCP, 80, 5000, 40), (ICMP, None, None, 28 + 28 + 32)}
    for cvm, direction in ((site.c, "out"), (site.a, "in")):
        mine = [record for record in back if record.meta["eni_id"] == cvm.eni.id]
        assert {record.meta["direction"] for record in mine} == {direction}
        assert {tuple(record[name] for name in names) for record in mine} == expected


def test_what_never_leaves_the_cvm_has_no_record(build: Callable[..., Any], wire: Any) -> None:
    """To itself it speaks over its loopback, and what may not be cut up and is too long for the link is refused."""
    site = build()
    site.log(site.a.eni)
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        sender.sendto(b"to myself", (site.a.ip, 9))
        with pytest.raises(OSError, match="Message too long"):
            sender.sendto(b"x" * 1473, (site.b.ip, 9))
    wire.drain()

    assert [record["log-status"] for record in site.records()] == ["NODATA"]
