"""Every kind of IPv6 packet has records at its sender and receiver, or is absent for a reason that the audit knows.

As test_kinds_of_packets.py has it for IPv4; of each kind a capture at both ends, read by dpkt, says the same.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dpkt
import pytest
from starved import starve

pytestmark = pytest.mark.kernel

BLOCK = "2001:db8:0:1600::/56"
A, B, NOBODY = "2001:db8:0:1600::1", "2001:db8:0:1600::2", "2001:db8:0:1600::99"
TCP, UDP, GRE, ICMPV6, NOTHING = 6, 17, 47, 58, 59
HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION = 0, 43, 51, 60
BOTH, SENDER, NONE = "both", "sender", "none"
LINK, IPV6 = "the router's", 0x86DD

Ports = tuple[int | None, int | None]


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)


def ip(protocol: int, payload: bytes, *, src: str = A, dst: str = B, hops: int = 64, **wrong: Any) -> bytes:
    """A packet with a right header but for ``wrong``: ``version`` or ``length``."""
    words = wrong.get("version", 6) << 28 | 0x12345
    return (
        struct.pack(">LHBB", words, wrong.get("length", len(payload)), protocol, hops)
        + packed(src)
        + packed(dst)
        + payload
    )


def sealed(protocol: int, payload: bytes, at: int, src: str, dst: str) -> bytes:
    """The payload with its checksum, which lies ``at`` there."""
    pseudo = packed(src) + packed(dst) + struct.pack(">LL", len(payload), protocol)
    return payload[:at] + struct.pack(">H", dpkt.in_cksum(pseudo + payload)) + payload[at + 2 :]


def datagram(data: bytes = b"data", *, ports: tuple[int, int] = (5000, 9), src: str = A, dst: str = B) -> bytes:
    return sealed(UDP, struct.pack(">HHHH", *ports, 8 + len(data), 0) + data, 6, src, dst)


def udp(data: bytes = b"data", *, src: str = A, dst: str = B, hops: int = 64, **wrong: Any) -> bytes:
    return ip(UDP, datagram(data, src=src, dst=dst), src=src, dst=dst, hops=hops, **wrong)


def segment(flags: int, src: str = A, dst: str = B) -> bytes:
    return sealed(TCP, struct.pack(">HHIIBBHHH", 5000, 80, 0, 0, 5 << 4, flags, 65_535, 0, 0), 16, src, dst)


def icmpv6(kind: int, code: int = 0, ident: int = 0, data: bytes = b"", *, dst: str = B, hops: int = 64) -> bytes:
    message = struct.pack(">BBHHH", kind, code, 0, ident, 1) + data
    return ip(ICMPV6, sealed(ICMPV6, message, 2, A, dst), dst=dst, hops=hops)


def extension(upper: int, size: int = 8, kind: int = 1) -> bytes:
    """A header of options that are padding."""
    return bytes([upper, size // 8 - 1, kind, size - 4]) + bytes(size - 4)


def routing(upper: int) -> bytes:
    """A header of a kind that nobody uses any more, without a way left to go."""
    return bytes([upper, 0, 0, 0, 0, 0, 0, 0])


def authentication(upper: int) -> bytes:
    return bytes([upper, 4, 0, 0]) + struct.pack(">LL", 1, 1) + bytes(12)


@dataclass(frozen=True)
class Kind:
    """``packets`` are all of one flow; ``seen``: where it has records, everywhere or by provider."""

    packets: tuple[bytes, ...]
    protocol: int = UDP
    ports: Ports = (5000, 9)
    seen: str | dict[str, str] = BOTH
    dst: str = B
    src: str = A
    mac: str = LINK


def numbered(protocol: int, *packets: bytes) -> Kind:
    return Kind(packets, protocol, (None, None))


CHAIN = extension(ROUTING) + routing(DESTINATION) + extension(UDP, 16)
EMBEDDED = ip(UDP, datagram(src=B, dst=A, ports=(9, 5000)), src=B, dst=A)
LISTENERS = ip(
    HOP_BY_HOP,
    bytes([ICMPV6, 0, 5, 2, 0, 0, 1, 0]) + sealed(ICMPV6, b"\x8f\0\0\0\0\0\0\0", 2, "::", "ff02::16"),
    src="::",
    dst="ff02::16",
    hops=1,
)

KINDS = {
    "UDP": Kind((udp(),)),
    "UDP without data": Kind((udp(b""),)),
    "UDP as long as the link": Kind((udp(b"x" * 1452),)),
    "half-open": Kind((ip(TCP, segment(2)),) * 2, TCP, (5000, 80)),
    "TCP with every flag": Kind((ip(TCP, segment(0x3F)),), TCP, (5000, 80)),
    "echo": Kind((icmpv6(128, 0, 7),), ICMPV6, (7, 128 << 8)),
    "an answer to no question": Kind((icmpv6(129, 0, 7),), ICMPV6, (7, 129 << 8)),
    "too big, of no flow": Kind((icmpv6(2, 0, 0, EMBEDDED),), ICMPV6, (0, 2 << 8)),
    "unreachable, of no flow": Kind((icmpv6(1, 4, 0, EMBEDDED),), ICMPV6, (0, 1 << 8 | 4)),
    "a kind of ICMPv6 that nobody knows": Kind((icmpv6(200, 1, 7),), ICMPV6, (7, 200 << 8 | 1)),
    "SCTP": Kind((ip(132, struct.pack(">HH", 5000, 9) + b"\0" * 20),), 132),
    "UDP-Lite": Kind((ip(136, struct.pack(">HH", 5000, 9) + b"\0\0\0\0data"),), 136),
    "GRE": numbered(GRE, ip(GRE, b"\0\0\x08\0" + b"x" * 30)),
    "ESP": numbered(50, ip(50, b"\0\0\0\1" + b"x" * 40)),
    "ICMP of IPv4": numbered(1, ip(1, b"\x08\0\xf7\xff\0\0\0\0")),
    "AH": numbered(AUTHENTICATION, ip(AUTHENTICATION, authentication(UDP) + datagram())),
    "IPv6 in IPv6": numbered(41, ip(41, udp())),
    "nothing": numbered(NOTHING, ip(NOTHING, b"")),
    "protocol 255": numbered(255, ip(255, b"x")),
    # extension headers, all of them with UDP behind them
    "hop-by-hop options": Kind((ip(HOP_BY_HOP, extension(UDP) + datagram()),)),
    "destination options": Kind((ip(DESTINATION, extension(UDP, 24) + datagram()),)),
    "a routing header": Kind((ip(ROUTING, routing(UDP) + datagram()),)),
    "a chain of them": Kind((ip(HOP_BY_HOP, CHAIN + datagram()),)),
    "TCP behind a chain": Kind((ip(DESTINATION, extension(TCP) + segment(2)),), TCP, (5000, 80)),
    "ICMPv6 behind a header": Kind(
        (ip(DESTINATION, extension(ICMPV6) + icmpv6(128, 0, 7)[40:]),), ICMPV6, (7, 128 << 8)
    ),
    # where to
    "to oneself": Kind((udp(dst=A),), dst=A),
    "to an address that nobody has": Kind((udp(dst=NOBODY),), dst=NOBODY, seen=SENDER),
    "to an address outside": Kind((udp(dst="2001:db8:ffff::9"),), dst="2001:db8:ffff::9", seen=SENDER),
    "to the gateway": Kind((udp(dst="fe80::1"),), dst="fe80::1", seen=SENDER),
    "to a group": Kind(
        (udp(dst="ff05::9"),), dst="ff05::9", mac="33:33:00:00:00:09", seen={"tencent": SENDER, "alibaba": NONE}
    ),
    "to all on the link": Kind(
        (udp(dst="ff02::1"),), dst="ff02::1", mac="33:33:00:00:00:01", seen={"tencent": SENDER, "alibaba": NONE}
    ),
    # hop limit
    "hop limit 1": Kind((udp(hops=1),)),
    "hop limit 255": Kind((udp(hops=255),)),
    "hop limit 0": Kind((udp(hops=0),), seen=SENDER),
    # what never is recorded
    "who has B": Kind((icmpv6(135, 0, 0, packed(B), hops=255),), seen=NONE),
    "I have A": Kind((icmpv6(136, 0, 0, packed(A), hops=255),), seen=NONE),
    "is there a router": Kind((icmpv6(133, dst="ff02::2", hops=255),), seen=NONE, mac="33:33:00:00:00:02"),
    "I am a router": Kind((icmpv6(134, 0, 0, bytes(8), hops=255),), seen=NONE),
    "listeners": Kind((LISTENERS,), seen=NONE, mac="33:33:00:00:00:16"),
    "a forged source": Kind((udp(src=NOBODY),), seen=NONE),
    "no source": Kind((udp(src="::"),), seen=NONE),
    "UDP that ends before its ports": Kind((ip(UDP, b"\0\1\0"),), seen=NONE),
    "TCP that ends before its ports": Kind((ip(TCP, b""),), seen=NONE),
    "ICMPv6 that ends before its identifier": Kind((ip(ICMPV6, b"\x80\0\0\0"),), seen=NONE),
    "a header that ends too early": Kind((ip(DESTINATION, bytes([UDP, 9, 0, 0])),), seen=NONE),
    "version 4 in an IPv6 frame": Kind((udp(version=4),), seen=NONE),
    "longer than its frame": Kind((udp(length=200),), seen=NONE),
    "half a header": Kind((udp()[:20],), seen=NONE),
    "hop-by-hop options that make no sense": Kind((ip(HOP_BY_HOP, bytes([UDP, 0, 0x80, 99]) + bytes(4)),), seen=NONE),
    "another machine's frame": Kind((udp(),), mac="02:00:00:00:99:99", seen=NONE),
}

DISCOVERY = {"who has B", "I have A", "is there a router", "I am a router", "listeners"}
MALFORMED = {name for name in KINDS if "ends" in name}
DAMAGED = {
    "version 4 in an IPv6 frame",
    "longer than its frame",
    "half a header",
    "hop-by-hop options that make no sense",
}

Row = tuple[Any, ...]


def flow(kind: Kind, profile: str) -> Row:
    ports = (None, None) if kind.protocol == ICMPV6 and profile == "alibaba" else kind.ports
    return kind.src, ports[0], kind.dst, ports[1], kind.protocol


def seen(kind: Kind, profile: str) -> str:
    return kind.seen if isinstance(kind.seen, str) else kind.seen[profile]


def expected(kinds: list[Kind], profile: str, enis: dict[str, str]) -> dict[Row, tuple[int, int]]:
    """(ENI, direction, flow) → packets and bytes of records."""
    counts: Counter[Row] = Counter()
    sizes: Counter[Row] = Counter()
    for kind in kinds:
        ends = {NONE: [], SENDER: [(kind.src, "out")], BOTH: [(kind.src, "out"), (kind.dst, "in")]}[seen(kind, profile)]
        for address, direction in ends:
            row = enis[address], direction, *flow(kind, profile)
            counts[row] += len(kind.packets)
            sizes[row] += sum(map(len, kind.packets))
    return {row: (counts[row], sizes[row]) for row in counts}


def captured(path: Path, eni: Any, profile: str) -> dict[Row, tuple[int, int]]:
    """The same of a capture, by dpkt."""
    counts: Counter[Row] = Counter()
    sizes: Counter[Row] = Counter()
    with path.open("rb") as stream:
        for _, frame in dpkt.pcap.Reader(stream):
            ethernet = dpkt.ethernet.Ethernet(frame)
            assert ethernet.type == IPV6
            ip6, one, two = ethernet.data, None, None
            upper, protocol = bytes(ip6.data), getattr(ip6, "p", ip6.nxt)
            if ip6.nxt == AUTHENTICATION:  # dpkt looks behind it, the kernel and IPv4 do not
                protocol = AUTHENTICATION
            elif protocol in (TCP, UDP, 132, 136):
                one, two = struct.unpack_from(">HH", upper)
            elif protocol == ICMPV6 and profile != "alibaba":
                two, _, one = struct.unpack_from(">HHH", upper)
            direction = "out" if ethernet.src == bytes.fromhex(eni.mac.replace(":", "")) else "in"
            src, dst = (socket.inet_ntop(socket.AF_INET6, address) for address in (ip6.src, ip6.dst))
            row = eni.id, direction, src, one, dst, two, protocol
            counts[row] += 1
            sizes[row] += 40 + ip6.plen
    return {row: (counts[row], sizes[row]) for row in counts}


@dataclass(frozen=True)
class Place:
    lab: Any
    topic: Any
    a: Any
    b: Any

    @property
    def profile(self) -> str:
        return str(self.lab.profile.name)

    @property
    def enis(self) -> dict[str, str]:
        return {A: self.a.eni.id, B: self.b.eni.id}

    def send(self, kinds: list[Kind]) -> None:
        (place,) = (
            vpc.attached[self.a.eni.id] for vpc in self.lab.fabric.vpcs.values() if self.a.eni.id in vpc.attached
        )
        router = place.link.intf1.MAC()
        with closing(self.a.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) as sender:
            sender.bind(("eth0", 0))
            for kind in kinds:
                ends = [router if kind.mac is LINK else kind.mac, self.a.eni.mac]
                head = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in ends) + struct.pack(">H", IPV6)
                for packet in kind.packets:
                    sender.send(head + packet)

    def rows(self, since: float) -> dict[Row, tuple[int, int]]:
        names = ("srcaddr", "srcport", "dstaddr", "dstport", "protocol")
        self.lab.clock.advance(minutes=15)
        return {
            (record.meta["eni_id"], record.meta["direction"], *(record[name] for name in names)): (
                record["packets"],
                record["bytes"],
            )
            for record in self.topic.search()
            if record["end"] > since and record["log-status"] == "OK"
        }


@pytest.fixture(scope="module", params=["tencent", "alibaba", "alibaba starved"])
def place(request: pytest.FixtureRequest, open_module_lab: Callable[..., Any], wire: Any) -> Place:
    profile, *starved = request.param.split()
    lab = open_module_lab(profile)
    vpc = lab.create_vpc("10.16.0.0/16", ipv6_cidr=BLOCK)
    topic = lab.logs.create_topic("flows", logset="test")
    vpc.create_flow_log(topic=topic)
    subnet = vpc.create_subnet("10.16.0.0/24", ipv6_cidr=True)
    a, b = subnet.run_instances(["A", "B"], ipv6=True)
    b.run(
        ["nft", "-f", "-"],
        input="table ip6 deaf { chain input { type filter hook input priority 0; policy drop; }; }",
        net_admin=True,
        check=True,
    )
    if starved:
        starve(lab)
    return Place(lab, topic, a, b)


def test_what_is_recorded_is_what_was_captured(place: Place, wire: Any, tmp_path: Path) -> None:
    """All kinds that have records at both ends."""
    kinds = [kind for kind in KINDS.values() if kind.seen == BOTH and kind.dst == B]
    since, pcaps = place.lab.clock.now, {cvm: tmp_path / f"{cvm.name}.pcap" for cvm in (place.a, place.b)}
    with ExitStack() as stack:
        for cvm, path in pcaps.items():
            stack.enter_context(cvm.eni.capture(path))
        place.send(kinds)
        wire.drain()
    place.lab.audit().check()

    rows = place.rows(since)

    assert rows == expected(kinds, place.profile, place.enis)
    seen_there: dict[Row, tuple[int, int]] = {}
    for cvm, path in pcaps.items():
        seen_there |= captured(path, cvm.eni, place.profile)
    assert rows == seen_there


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.seen != BOTH or kind.dst != B])
def test_a_kind_of_packet_has_its_records_and_no_others(place: Place, wire: Any, name: str) -> None:
    since, before, canary = place.lab.clock.now, place.lab.audit(), Kind((udp(hops=7),))
    place.send([canary, KINDS[name], canary])
    wire.drain()
    audit = place.lab.audit().check()

    assert place.rows(since) == expected([canary, KINDS[name], canary], place.profile, place.enis)
    (a, *_), (a_before, *_) = audit.enis, before.enis
    assert a.discovery - a_before.discovery == (name in DISCOVERY)
    assert a.spoofed - a_before.spoofed == (name in ("a forged source", "no source"))
    assert a.malformed - a_before.malformed == (name in MALFORMED)
    assert audit.malformed - before.malformed == (name in MALFORMED | DAMAGED)


def test_nothing_is_said_that_nobody_asked_for(open_lab: Callable[..., Any], wire: Any, tmp_path: Path) -> None:
    """No neighbour is asked for and no group announced, from when an ENI is made to when it answers its first ping, and
    not by a CVM that comes in another's place either."""
    lab = open_lab()
    vpc = lab.create_vpc("10.16.0.0/16", ipv6_cidr=True)
    vpc.create_flow_log(topic=lab.logs.create_topic("flows", logset="test"))
    subnet = vpc.create_subnet("10.16.0.0/24", ipv6_cidr=True)
    a, b = subnet.run_instances(["A", "B"], ipv6=True)
    with b.eni.capture(tmp_path / "b.pcap"):
        assert a.ping(b, count=3, ipv6=True).received == 3
    assert len(captured(tmp_path / "b.pcap", b.eni, "alibaba")) == 2
    for number in range(3):
        b.terminate()
        b = subnet.run_instance(f"B{number}", ipv6=True)
        assert a.ping(b, ipv6=True).received == 1
    assert [eni.discovery for eni in lab.audit().check().enis] == [0] * 5
