"""The same packets through a lab's kernel and through an import: whole records, line by line."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dpkt
import pytest

from emulator.capture import forms
from emulator.hindsight.recording import record
from emulator.traffic.packets import Mouth

pytestmark = pytest.mark.kernel

TCP, UDP, ICMP, ICMPV6, OSPF = 6, 17, 1, 58, 89
SYN, ACK, RST, FIN, PSH = 2, 16, 4, 1, 8
RAW_IP = 101

SITE = """
[vpc.demo]
cidr = "10.16.0.0/16"
ipv6_cidr = true
[subnet.web]
cidr = "10.16.0.0/24"
ipv6_cidr = true
[subnet.db]
cidr = "10.16.1.0/24"
ipv6_cidr = true
network_acl = "around-db"
[network_acl.around-db]
rules = [
  { deny = "ingress", protocol = "udp", port = "5000-5001" },
  { deny = "egress", protocol = "tcp", port = "1001" },
  { allow = "ingress" },
  { allow = "egress" },
]
[security_group.a]
rules = [
  { allow = "ingress", protocol = "udp", port = "1000-1002" },
  { allow = "ingress", protocol = "icmp", cidr = "10.16.1.0/24" },
  { deny = "egress", protocol = "udp", port = 5002 },
  { deny = "egress", protocol = "tcp", port = "22" },
  { allow = "egress" },
]
[security_group.rest]
rules = [
  { allow = "ingress", protocol = "tcp", port = "80,443" },
  { allow = "ingress", protocol = "udp", port = "5000-5003", cidr = "10.16.0.0/24" },
  { allow = "ingress", protocol = "icmp", cidr = "a" },
  { allow = "ingress", protocol = "icmpv6" },
  { allow = "ingress", protocol = 89 },
  { allow = "egress" },
]
[cvm.A]
subnet = "web"
ipv6 = true
security_groups = ["a"]
[cvm.B]
subnet = "web"
ipv6 = true
security_groups = ["rest"]
[cvm.C]
subnet = "db"
ipv6 = true
security_groups = ["rest"]
[topic.all]
[flow_log.of-a]
on = "A"
[flow_log.of-c]
on = "C"
"""


class Crafts:
    """Packets between CVMs, by hand."""

    def __init__(self, wire: Any, cvms: list[Any], dice: random.Random) -> None:
        self._wire, self._cvms, self._dice = wire, cvms, dice

    def some(self, count: int) -> Iterator[tuple[Any, bytes]]:
        """Who sends, and what."""
        kinds = [
            self._handshake,
            self._udp,
            self._udp,
            self._ping,
            self._error,
            self._fragments,
            self._rest,
            self._middle,
        ]
        for _ in range(count):
            one, other = self._dice.sample(self._cvms, 2)
            yield from self._dice.choice(kinds)(one, other)

    def _packet(self, one: Any, other: Any, protocol: int, payload: bytes, v6: bool = False) -> tuple[Any, bytes]:
        src, dst = (one.ipv6_addresses[0], other.ipv6_addresses[0]) if v6 else (one.ip, other.ip)
        return one, self._wire.packet(src, dst, protocol, payload)

    def _tcp(
        self, one: Any, other: Any, sport: int, dport: int, flags: int, v6: bool, seq: int = 0, ack: int = 0
    ) -> Any:
        ends = (one.ipv6_addresses[0], other.ipv6_addresses[0]) if v6 else (one.ip, other.ip)
        return self._packet(one, other, TCP, self._wire.tcp(*ends, sport, dport, flags, seq, ack), v6)

    def _handshake(self, one: Any, other: Any) -> Iterator[Any]:
        """As TCP goes, whether the cloud lets it or not; each connection once."""
        sport, v6 = self._dice.choice([1000, 1001]) + 10 * self._dice.randrange(3000), self._dice.random() < 0.3
        sport, dport = (
            self._dice.choice([sport, 1001 if self._dice.random() < 0.2 else sport]),
            self._dice.choice([80, 22, 443]),
        )
        yield self._tcp(one, other, sport, dport, SYN, v6, seq=100)
        if self._dice.random() < 0.3:
            yield self._tcp(other, one, dport, sport, RST | ACK, v6, seq=0, ack=101)
            return
        yield self._tcp(other, one, dport, sport, SYN | ACK, v6, seq=500, ack=101)
        yield self._tcp(one, other, sport, dport, ACK, v6, seq=101, ack=501)
        yield self._tcp(one, other, sport, dport, FIN | ACK, v6, seq=101, ack=501)
        yield self._tcp(other, one, dport, sport, FIN | ACK | PSH, v6, seq=501, ack=102)

    def _middle(self, one: Any, other: Any) -> Iterator[Any]:
        """A connection of which only later packets were seen."""
        sport = 2000 + self._dice.randrange(30_000)
        yield self._tcp(one, other, sport, 22, self._dice.choice([RST, FIN | ACK, SYN | ACK]), False)
        yield self._tcp(one, other, sport, 443, ACK, False, seq=1, ack=1)
        yield self._tcp(other, one, 443, sport, ACK, False, seq=1, ack=1)

    def _udp(self, one: Any, other: Any) -> Iterator[Any]:
        sport, dport = self._dice.randrange(1000, 1004), self._dice.randrange(5000, 5004)
        v6 = self._dice.random() < 0.3
        for _ in range(self._dice.randint(1, 3)):
            data = bytes(self._dice.randrange(100))
            yield self._packet(one, other, UDP, self._wire.udp(sport, dport, data), v6)
            if self._dice.random() < 0.5:
                yield self._packet(other, one, UDP, self._wire.udp(dport, sport, data), v6)

    def _ping(self, one: Any, other: Any) -> Iterator[Any]:
        ident = self._dice.randrange(3)
        asks, answers = self._dice.choice([(8, 0), (13, 14)])
        if self._dice.random() < 0.7:
            yield self._packet(one, other, ICMP, self._wire.icmp(asks, ident=ident))
        yield self._packet(other, one, ICMP, self._wire.icmp(answers, ident=ident))

    def _error(self, one: Any, other: Any) -> Iterator[Any]:
        """About a datagram that passed, and about one that never was."""
        sport = self._dice.randrange(1000, 1004)
        datagram = self._packet(one, other, UDP, self._wire.udp(sport, 5003))
        if self._dice.random() < 0.6:
            yield datagram
        quoted = dpkt.ip.IP(datagram[1])
        quoted.sum = 0
        yield self._packet(other, one, ICMP, self._wire.icmp(3, 3, data=bytes(quoted)))

    def _fragments(self, one: Any, other: Any) -> Iterator[Any]:
        ident, payload = self._dice.randrange(1, 65_536), self._wire.udp(1003, 5003, bytes(60))
        pieces = [(0x2000, payload[:24]), (0x2003, payload[24:48]), (6, payload[48:])]
        for offset, part in pieces:
            _, packet = self._packet(one, other, UDP, part)
            yield one, packet[:4] + struct.pack(">HH", ident, offset) + packet[8:]

    def _rest(self, one: Any, other: Any) -> Iterator[Any]:
        yield self._packet(one, other, OSPF, bytes(self._dice.randrange(40)))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_the_same_records(profile: str, seed: int, wire: Any, tmp_path: Path) -> None:
    from emulator.pytest_plugin import need_kernel

    need_kernel()
    found, told, window_s = both(profile, seed, wire, tmp_path)
    lines = sorted(forms.lines(told.records))
    end = 1_704_067_200 + 4 * window_s
    assert lines == sorted(one.line for one in found if one["end"] <= end)
    actions = {(one["action"], one["log-status"]) for one in told.records.to_pylist()}
    assert actions == {("ACCEPT", "OK"), ("REJECT", "OK"), (None, "NODATA")}
    assert any("would not have arrived" in remark for remark in told.remarks)


def both(profile: str, seed: int, wire: Any, folder: Path) -> tuple[Any, Any, int]:
    """The records of packets in a lab, what their capture is taken for, and the seconds of a window."""
    from emulator import Lab

    (folder / "site.toml").write_text(SITE)
    capture = folder / "all.pcap"
    with Lab.from_file(folder / "site.toml", profile=profile, start=1_704_067_200) as lab, ExitStack() as stack:
        lab.save(folder / "saved.toml")
        cvms = [lab.find(name) for name in "ABC"]
        wire.deafen(*cvms)
        mouths = {cvm: Mouth(cvm.socket) for cvm in cvms}
        for mouth in mouths.values():
            stack.callback(mouth.close)
        window_s = lab.profile.window_s
        with capture.open("wb") as file:
            writer = dpkt.pcap.Writer(file, linktype=RAW_IP, nano=seed == 1)
            crafts = Crafts(wire, cvms, random.Random(seed))
            for windows in (1, 2, 1):  # one of them idle
                for sender, packet in crafts.some(40):
                    mouths[sender].send(packet)
                    wire.drain()
                    writer.writepkt(packet, ts=lab.clock.now + 1)
                lab.clock.advance(seconds=windows * window_s)
        lab.audit().check()
        lab.clock.advance(seconds=lab.profile.delay_s)
        found = lab.logs.topic("all").search("*")
        a, c = cvms[0].ip, cvms[2].ip
        profile_data = lab.profile
    return found, record(capture, profile_data, [a, c], rules=folder / "saved.toml"), window_s
