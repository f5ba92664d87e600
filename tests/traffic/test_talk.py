"""What a CVM sends of its own accord: as many packets and bytes as it says, in the records of both ends."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from emulator.errors import GuestError, InvalidValue
from emulator.testing import exactly, expect
from emulator.traffic.outcome import Tally

pytestmark = pytest.mark.kernel


def test_both_ends_record_what_was_sent(build: Callable[..., Any], tmp_path: Path) -> None:
    site = build()
    a, b = site.a, site.b
    site.log(site.web)
    page = a.http(b, body=b"hello")
    assert page.data.endswith(b"\r\n\r\nhello")
    name = a.dns(b, "www.example.com", "192.0.2.80")
    assert name.data.endswith(bytes([192, 0, 2, 80]))
    spoken = [
        (80, 6, page),
        (53, 17, name),
        (443, 6, a.tcp(b, 443)),
        (444, 6, a.tcp(b.eni, 444, bytes=100_000, answer=3_000)),
        (445, 6, a.tcp(b.ip, 445)),
        (500, 17, a.udp(b, 500, bytes=1_000, packets=7)),
        (501, 17, a.udp(b, 501, bytes=0, packets=2, answer=40)),
    ]
    flooded = a.flood(b, 9, rate=100_000, seconds=0.003)
    with b.listen(22), b.listen(514, protocol="udp"), b.listen(7, protocol="udp"):
        ports = a.scan(b, [22, 23])
        a.udp(b.ip, 514, bytes=3, wait_s=0.01)
        udp = IP(src=a.ip, dst=b.ip) / UDP(sport=7, dport=7) / b"made"
        sent = a.send([udp, bytes(IP(src=a.ip, dst=b.ip, proto=99) / b"raw")])
    pcap = tmp_path / "old.pcap"
    wrpcap(str(pcap), [Ether() / IP(src="10.9.9.9", dst="10.9.9.8") / TCP(sport=1, dport=2, flags="R")] * 3)
    replayed = a.replay(pcap, addresses={"10.9.9.9": a.ip, "10.9.9.8": b.ip})
    site.records()

    told = []
    for port, protocol, exchange in spoken:
        for eni in (a.eni, b.eni):
            there, back = (expect(way).on(eni) for way in (a >> b, b >> a))
            out = there.protocol(protocol, port).accept(packets=exchange.sent.packets, bytes=exchange.sent.bytes)
            told.append(out)
            if exchange.received.packets:
                count = {"packets": exchange.received.packets, "bytes": exchange.received.bytes}
                told.append(back.protocol(protocol, source=port).accept(**count))
    assert (flooded, sent, replayed) == (Tally(300, 18_000), Tally(2, 55), Tally(3, 120))
    assert ports == {22: "open", 23: "closed"}
    told += [
        expect(a >> b).udp(9).accept(packets=300, bytes=18_000),
        expect(a >> b).tcp(22).accept(packets=3),  # SYN, ACK, RST
        expect(b >> a).tcp(source=22).accept(packets=1),
        expect(a >> b).tcp(23).accept(packets=1),
        expect(b >> a).tcp(source=23).accept(packets=1),
        expect(a >> b).udp(514).accept(packets=1, bytes=31),
        expect(a >> b).udp(7).accept(packets=1, bytes=32),
        expect(a >> b).protocol(99).accept(packets=1, bytes=23),
        expect(b >> a).icmp().accept(packets=1),  # B knows no such protocol
        expect(a >> b).tcp(2).accept(packets=3, bytes=120),
    ]
    exactly(*told)


def test_what_is_stopped_is_silent(build: Callable[..., Any]) -> None:
    site = build()
    a, b = site.a, site.b
    b.eni.set_security_groups([site.vpc.create_security_group("shut")])
    site.log(b.eni)

    assert a.tcp(b, 22, wait_s=0.05).outcome == "silent"
    asked = a.udp(b, 53, packets=3, wait_s=0.05)
    assert (asked.outcome, asked.sent, asked.received) == ("silent", Tally(3, 87), Tally())
    assert a.scan(b, [80, 81], wait_s=0.05) == {80: "filtered", 81: "filtered"}
    site.records()

    exactly(
        expect(a >> b).tcp(22).reject(packets=1),
        expect(a >> b).udp(53).reject(packets=3),
        expect(a >> b).tcp(80).reject(packets=1),
        expect(a >> b).tcp(81).reject(packets=1),
    )


def test_a_conversation_over_several_windows(build: Callable[..., Any]) -> None:
    """Each window has the packets that passed in it; together they are those of the same said at once."""
    site = build()
    a, b, window_s = site.a, site.b, site.lab.profile.window_s
    site.log(a.eni, b.eni)
    said = []
    with a.connect(b, 22) as open_connection:
        for size, answer in ((3_000, 10), (0, 1_449)):
            said.append(open_connection.say(size, answer=answer))
            site.lab.clock.advance(seconds=window_s)
    site.records()

    assert [(one.sent.packets, one.received.packets) for one in said] == [(4, 4), (2, 2)]
    windows = [(site.lab.clock.now // window_s - back) * window_s for back in (4, 3, 2)]
    for eni in (a.eni, b.eni):
        for start, there, back in zip(windows, (6, 2, 2), (5, 2, 2), strict=True):
            for way, packets in ((a >> b, there), (b >> a, back)):
                expect(way).tcp().on(eni).within((start, start + window_s)).accept(packets=packets)
    assert open_connection.sent == Tally(10, sum(one.sent.bytes for one in said) + 60 + 3 * 52)
    assert open_connection.received == Tally(9, sum(one.received.bytes for one in said) + 60 + 2 * 52)
    exactly(*(expect(way).tcp().accept() for way in (a >> b, b >> a)))


def test_a_conversation_that_is_stopped(build: Callable[..., Any]) -> None:
    """By an ACL, which knows no connections; or by the end of a machine."""
    site = build()
    a, c = site.a, site.c
    shut = site.vpc.create_network_acl("shut")
    with a.connect(c, 22, wait_s=0.02) as stopped:
        shut.associate(site.db)
        said = stopped.say(10)
    assert (said.outcome, said.sent, said.received, stopped.broken) == ("silent", None, None, True)
    with pytest.raises(GuestError, match="port 22: it says nothing"):
        a.connect(c, 22, wait_s=0.02)
    shut.disassociate(site.db)
    b_ends = a.connect(site.b, 22)
    site.b.terminate()
    assert (b_ends.closed, stopped.closed) == (True, True)
    b_ends.close()


def test_an_open_port_goes_with_its_cvm(build: Callable[..., Any]) -> None:
    site = build()
    a, b = site.a, site.b
    ear = b.listen(80)
    assert a.tcp(b.ip, 80).outcome == "answered"
    ear.close()
    assert a.tcp(b.ip, 80).outcome == "refused"
    taken = b.socket()
    taken.bind(("", 81))
    with taken, pytest.raises(GuestError, match=r"port 81 of .* is taken"):
        a.tcp(b, 81)
    late = b.listen(82)
    b.terminate()
    assert late.socket.fileno() == -1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param(lambda a, b, _: a.tcp(b, 0), "port=0: give a whole number from 1 to 65535", id="port 0"),
        pytest.param(lambda a, b, _: a.udp(b, 53, bytes=65_508), "from 0 to 65507", id="too much for a datagram"),
        pytest.param(lambda a, b, _: a.udp(b, 53, packets=True), "packets=True", id="no number"),
        pytest.param(lambda a, b, _: a.tcp("B", 80), "'B': give a machine, an ENI, an EIP", id="no address"),
        pytest.param(
            lambda a, b, _: a.connect(b.ip, 80), "give a machine of the lab, an ENI or an EIP", id="an address"
        ),
        pytest.param(lambda a, b, _: a.flood(b, rate=0, seconds=1), "above 0", id="no rate"),
        pytest.param(lambda a, b, _: b.listen(80, protocol="sctp"), "give tcp or udp", id="no such protocol"),
        pytest.param(lambda a, b, _: a.send(b"GET /"), "no IP packet", id="no packet"),
        pytest.param(lambda a, b, _: a.send(ICMP()), "no IP packet", id="no IP layer"),
        pytest.param(lambda a, b, f: a.replay(f / "gone.pcap"), "no capture that can be read", id="no file"),
        pytest.param(lambda a, b, f: a.replay(f / "text.pcap"), "no capture that can be read", id="no capture"),
        pytest.param(lambda a, b, f: a.replay(f / "cut.pcap"), "packet 2 is cut off, 20 of 28", id="cut off"),
        pytest.param(lambda a, b, f: a.replay(f / "other.pcap"), "its sources are 10.9.9.9", id="of others"),
        pytest.param(lambda a, b, f: a.replay(f / "other.pcap", addresses={"x": "y"}), "'x'", id="no addresses"),
    ],
)
def test_refused(site: Any, files: Path, wrong: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        wrong(site.a, site.b, files)


@pytest.fixture(scope="module")
def site(open_module_lab: Callable[..., Any], furnished: Callable[..., Any]) -> Any:
    return furnished(open_module_lab())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures")
    packet = bytes(IP(src="10.9.9.9", dst="10.9.9.8") / UDP(sport=1, dport=2))
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)
    whole = struct.pack("=IIII", 0, 0, len(packet), len(packet)) + packet
    (folder / "other.pcap").write_bytes(head + whole)
    (folder / "cut.pcap").write_bytes(head + whole + whole[:-8])
    (folder / "text.pcap").write_text("no capture, but long enough to be looked at")
    return folder
