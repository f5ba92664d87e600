"""What the kernel tests share: labs of any kind, packets of which every byte is known, and two ways to count them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dpkt
import pytest
from hypothesis import settings

from emulator.capture.windows import window_end
from emulator.pytest_plugin import REQUIRE, need_kernel

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this one: --import-mode=importlib adds nothing

import nfdump
from projects import project, python_path  # noqa: F401  # fixtures

if TYPE_CHECKING:
    from emulator.lab import Lab
    from emulator.logs.records import Record
    from emulator.logs.topic import Topic
    from emulator.resources import Cvm, Eni, FlowLog, Subnet, Vpc

# No folder to write into is needed, and a busy machine fails no property.
settings.register_profile("vpclab", database=None, deadline=None)
settings.load_profile("vpclab")

START_S = 1_763_000_010
"""Where these labs' time begins: 30 s into a window of a minute, 210 s into one of five or of ten."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job in the background of a shell ignores interrupts, and so would the programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

BOUND_S = 20.0
"""What a test waits for at most; only a failure waits that long."""

ETH_P_IP = 0x0800
CANARY = b"vpclab canary"
HEAD = 20
"""Bytes of an IP header without options."""

Flow = tuple[str, int, str, int | None, str, int | None]
"""(direction at the ENI, protocol, source, port, destination, port); of ICMP the identifier and type << 8 | code."""


def need_program(program: str, package: str) -> str:
    """Where a program is; the test that needs it is skipped where it is missing, and fails where CI forbids to skip."""
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        lacking = f"{program} is not on this machine: apt-get install {package}"
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{lacking} ({REQUIRE}=1 forbids to skip)", pytrace=False)
        pytest.skip(lacking)
    return found


@contextmanager
def labs() -> Iterator[Callable[..., Lab]]:
    from emulator.lab import Lab

    need_kernel()
    with ExitStack() as stack:

        def make(profile: str = "tencent", *, start: float | None = START_S, **options: Any) -> Lab:
            return stack.enter_context(Lab(profile, start=start, **options))

        yield make


@pytest.fixture
def open_lab() -> Iterator[Callable[..., Lab]]:
    """Opens labs as ``Lab`` does, from START_S on, and closes them after the test."""
    with labs() as make:
        yield make


@pytest.fixture(scope="module")
def open_module_lab() -> Iterator[Callable[..., Lab]]:
    """The same for labs that the tests of a module share."""
    with labs() as make:
        yield make


@dataclass
class Site:
    """``web`` 10.16.0.0/24 with A .22 and B .40, ``db`` 10.16.1.0/24 with C .7, all in the VPC's default group."""

    lab: Lab
    vpc: Vpc
    web: Subnet
    db: Subnet
    a: Cvm
    b: Cvm
    c: Cvm
    topic: Topic

    def log(self, *resources: Any, topic: Topic | None = None, **wanted: Any) -> list[FlowLog]:
        """Flow logs on resources, into ``topic`` (the site's)."""
        return [resource.create_flow_log(topic=topic or self.topic, **wanted) for resource in resources]

    def records(self, eni: Eni | None = None, *, topic: Topic | None = None) -> list[Record]:
        """What is found (of one ENI) once the window that is open now is published."""
        profile = self.lab.profile
        self.lab.clock.advance(
            seconds=window_end(self.lab.clock.now, profile.window_s) + profile.delay_s - self.lab.clock.now
        )
        found = (topic or self.topic).search()
        return [record for record in found if eni is None or record.meta["eni_id"] == eni.id]


@pytest.fixture
def build(open_lab: Callable[..., Lab]) -> Callable[..., Site]:
    """Builds a site in a fresh lab; arguments are the lab's."""

    def make(profile: str = "tencent", **options: Any) -> Site:
        return site_in(open_lab(profile, **options))

    return make


@pytest.fixture(scope="session")
def furnished() -> Callable[[Lab], Site]:
    """Puts a site into a lab that is there."""
    return site_in


def site_in(lab: Lab) -> Site:
    vpc = lab.create_vpc("10.16.0.0/16", name="demo")
    web, db = vpc.create_subnet("10.16.0.0/24", name="web"), vpc.create_subnet("10.16.1.0/24", name="db")
    a, b = web.run_instance("A", private_ip="10.16.0.22"), web.run_instance("B", private_ip="10.16.0.40")
    c = db.run_instance("C", private_ip="10.16.1.7")
    return Site(lab, vpc, web, db, a, b, c, lab.logs.create_topic("flows", logset="test"))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ends(src: str, dst: str) -> bytes:
    family = socket.AF_INET6 if ":" in src else socket.AF_INET
    return socket.inet_pton(family, src) + socket.inet_pton(family, dst)


def pseudo(src: str, dst: str, protocol: int, payload: bytes) -> bytes:
    """What a checksum covers besides the payload."""
    return ends(src, dst) + struct.pack(">LL", len(payload), protocol)  # of IPv4 in fewer zeros, which is the same


class Wire:
    """Packets by hand, and what is on a wire."""

    HEAD, BOUND_S, START_S = HEAD, BOUND_S, START_S

    def __init__(self) -> None:
        self.aside: dict[Path, Counter[str]] = {}
        """Of captures that were read: packets that nfpcapd leaves out, by the reason (nfdump.EXCEPTIONS)."""

    # payloads of an IP packet --------------------------------------------------------------------------

    @staticmethod
    def udp(sport: int, dport: int, data: bytes = b"") -> bytes:
        """Without a checksum, which UDP allows."""
        return struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data

    @staticmethod
    def tcp(src: str, dst: str, sport: int, dport: int, flags: int = 2, seq: int = 0, ack: int = 0) -> bytes:
        """A bare header; ``flags``: 1 FIN, 2 SYN, 4 RST, 16 ACK."""
        head = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65_535, 0, 0)
        return head[:16] + struct.pack(">H", checksum(pseudo(src, dst, 6, head) + head)) + head[18:]

    @staticmethod
    def icmp(kind: int, code: int = 0, ident: int = 0, data: bytes = b"") -> bytes:
        head = struct.pack(">BBHHH", kind, code, 0, ident, 1) + data
        return head[:2] + struct.pack(">H", checksum(head)) + head[4:]

    # sending -------------------------------------------------------------------------------------------

    @staticmethod
    def packet(src: str, dst: str, protocol: int, payload: bytes = b"", ttl: int = 64) -> bytes:
        """An IP packet as IP_HDRINCL and IPV6_HDRINCL want it: the kernel fills in checksum and identification."""
        if ":" in src:
            return struct.pack(">LHBB", 6 << 28, len(payload), protocol, ttl) + ends(src, dst) + payload
        length = HEAD + len(payload)
        addresses = socket.inet_aton(src) + socket.inet_aton(dst)
        return struct.pack(">BBHHHBBH", 0x45, 0, length, 0, 0, ttl, protocol, 0) + addresses + payload

    def send(
        self,
        cvm: Cvm,
        dst: str,
        protocol: int,
        payload: bytes = b"",
        *,
        src: str | None = None,
        bind: str | None = None,
    ) -> int:
        """Send one packet and return its length once the lab has dealt with it; ``src`` may be forged, ``bind`` chooses
        an ENI of several by its address."""
        packet = self.packet(src or bind or cvm.ip, dst, protocol, payload)
        with closing(cvm.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
            if bind is not None:
                sender.bind((bind, 0))
            sender.sendto(packet, (dst, 0))
        self.drain()
        return len(packet)

    @staticmethod
    def drain() -> None:
        """Return when every packet that was sent before has gone through the kernel.

        veth and loopback share one queue a processor, first in first out: what comes back on loopback came after them.
        Several times, for a packet queues again at each hop.
        """
        allowed = os.sched_getaffinity(0)
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as canary:
            canary.bind(("127.0.0.1", 0))
            canary.settimeout(BOUND_S)
            try:
                for processor in allowed:
                    os.sched_setaffinity(0, {processor})
                    for _ in range(4):
                        canary.sendto(b"canary", canary.getsockname())
                        canary.recv(16)
            finally:
                os.sched_setaffinity(0, allowed)

    @staticmethod
    def deafen(*cvms: Cvm) -> None:
        """From here on these CVMs answer nothing by themselves: their own firewall drops what reaches them."""
        for cvm in cvms:
            deaf = "table inet deaf {\n chain input {\n  type filter hook input priority 0; policy drop;\n }\n}\n"
            cvm.run(["nft", "-f", "-"], input=deaf, net_admin=True, check=True)

    @contextmanager
    def listening(self, cvm: Cvm, protocol: int) -> Iterator[Callable[[], list[bytes]]]:
        """Every IP packet of a protocol that reaches a CVM; what is yielded returns those so far, each once.

        That none came is told between two canaries, which the CVM sends to itself and which are heard as well.
        """
        with (
            closing(cvm.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))) as ear,
            closing(cvm.socket(socket.AF_INET, socket.SOCK_DGRAM)) as canary,
        ):
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

            def heard() -> list[bytes]:
                self.drain()
                sing()
                packets, canaries = [], 0
                while True:
                    try:
                        packet, sender = ear.recvfrom(65_536, socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        break
                    if sender[2] == socket.PACKET_OUTGOING:
                        continue
                    if packet.endswith(CANARY):  # or an error about it
                        canaries += packet[9] == socket.IPPROTO_UDP
                    elif packet[9] == protocol:
                        packets.append(packet)
                assert canaries == 2, "what reached the CVM was not heard"
                sing()
                return packets

            def sing() -> None:
                canary.sendto(CANARY, ("127.0.0.1", 9))

            sing()
            yield heard

    # counting ------------------------------------------------------------------------------------------

    def captured(self, path: Path, eni: Eni) -> tuple[Counter[Flow], Counter[Flow]]:
        """Packets and bytes (IP total lengths) of a capture at an ENI, read by dpkt; nfpcapd agrees."""
        packets: Counter[Flow] = Counter()
        sizes: Counter[Flow] = Counter()
        with path.open("rb") as stream:
            for _, frame in dpkt.pcap.Reader(stream):
                ethernet = dpkt.ethernet.Ethernet(frame)
                if ethernet.type != dpkt.ethernet.ETH_TYPE_IP:
                    continue
                ip = ethernet.data
                payload = frame[14 + ip.hl * 4 : 14 + ip.len]
                one: int | None = None
                two: int | None = None
                if ip.p in (6, 17, 33, 132, 136):
                    one, two = struct.unpack_from(">HH", payload)
                elif ip.p == 1:
                    two, _, one = struct.unpack_from(">HHH", payload)
                direction = "out" if ethernet.src == bytes.fromhex(eni.mac.replace(":", "")) else "in"
                flow = direction, ip.p, socket.inet_ntoa(ip.src), one, socket.inet_ntoa(ip.dst), two
                packets[flow] += 1
                sizes[flow] += ip.len
        need_program("nfpcapd", "nfdump")
        expected, self.aside[path] = nfdump.comparable((flow[1:], packets[flow], sizes[flow]) for flow in packets)
        (metered,) = nfdump.metered([path])
        assert metered == expected, f"of {path} nfpcapd says something else than dpkt"
        return packets, sizes

    @staticmethod
    def flow(record: Record) -> Flow:
        """The flow of a record in Tencent's form."""
        ends = (record[name] for name in ("srcaddr", "srcport", "dstaddr", "dstport"))
        return (record.meta["direction"], record["protocol"], *ends)

    def recorded(self, records: Iterable[Record], eni: Eni | None = None) -> tuple[Counter[Flow], Counter[Flow]]:
        """Packets and bytes of records (of one ENI), whatever their action; remarks left out."""
        packets: Counter[Flow] = Counter()
        sizes: Counter[Flow] = Counter()
        for record in records:
            if record["log-status"] == "OK" and (eni is None or record.meta["eni_id"] == eni.id):
                packets[self.flow(record)] += record["packets"]
                sizes[self.flow(record)] += record["bytes"]
        return packets, sizes


@pytest.fixture(scope="session", name="need_program")
def _need_program() -> Callable[[str, str], str]:
    return need_program


@pytest.fixture(scope="session")
def wire() -> Wire:
    return Wire()
