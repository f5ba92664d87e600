"""What a record says is what was on the wire: packets, bytes and verdict by flow, at both ends."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

ECHO, TIMESTAMP = 8, 13

PACKETS = {
    "udp without data": (17, "udp", b""),
    "udp of a byte": (17, "udp", b"1"),
    "udp as long as the link": (17, "udp", b"x" * 1472),
    "tcp syn": (6, "tcp", 2),
    "tcp out of the blue": (6, "tcp", 16),
    "tcp rst": (6, "tcp", 4),
    "icmp echo": (1, "icmp", (ECHO, 0)),
    "icmp timestamp": (1, "icmp", (TIMESTAMP, 0)),
    "icmp echo reply to nothing": (1, "icmp", (0, 0)),
    "icmp of an unknown type": (1, "icmp", (42, 7)),
    "sctp": (132, "ports", b"\0" * 20),
    "dccp": (33, "ports", b"\0" * 20),
    "udp-lite": (136, "ports", b"\0\0\0\0data"),
    "gre": (47, "bytes", b"\0\0\x08\0" + b"x" * 30),
    "esp": (50, "bytes", b"\0\0\0\1" + b"x" * 40),
    "ah": (51, "bytes", b"x" * 24),
    "igmp": (2, "bytes", b"\x16\0\0\0\0\0\0\0"),
    "ip in ip": (4, "bytes", b"x" * 20),
    "ospf": (89, "bytes", b"x" * 24),
    "vrrp": (112, "bytes", b""),
    "icmpv6 in IPv4": (58, "bytes", b"\x80\0\0\0"),
    "hop-by-hop": (0, "bytes", b"12"),
    "experimental": (253, "bytes", b"x" * 1480),
    "reserved": (255, "bytes", b"x"),
}


def payload(wire: Any, src: str, dst: str, kind: str, detail: Any, sport: int, dport: int) -> bytes:
    if kind == "udp":
        return wire.udp(sport, dport, detail)
    if kind == "tcp":
        return wire.tcp(src, dst, sport, dport, detail)
    if kind == "icmp":
        return wire.icmp(*detail, ident=sport, data=b"x" * 48)
    if kind == "ports":
        return sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + detail
    return detail


def test_every_protocol_is_counted_at_both_ends(build: Callable[..., Any], wire: Any, tmp_path: Path) -> None:
    site = build()
    site.log(site.vpc)
    a, b, expected = site.a, site.b, {}
    with (
        a.eni.capture(tmp_path / "a.pcap"),
        b.eni.capture(tmp_path / "b.pcap"),
        closing(a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender,
    ):
        for number, (protocol, kind, detail) in enumerate(PACKETS.values()):
            data = payload(wire, a.ip, b.ip, kind, detail, 40_000 + number, 7)
            for _ in range(3):
                sender.sendto(wire.packet(a.ip, b.ip, protocol, data), (b.ip, 0))
            wire.drain()
            ports = (None, None) if kind == "bytes" else (40_000 + number, 7)
            if kind == "icmp":
                ports = (40_000 + number, detail[0] << 8 | detail[1])
            expected["out", protocol, a.ip, ports[0], b.ip, ports[1]] = 3, 3 * (wire.HEAD + len(data))

    records = site.records()

    assert all(record["action"] == "ACCEPT" for record in records if record["log-status"] == "OK")
    at_a, at_b = wire.recorded(records, a.eni), wire.recorded(records, b.eni)
    assert at_a == wire.captured(tmp_path / "a.pcap", a.eni)
    assert at_b == wire.captured(tmp_path / "b.pcap", b.eni)
    assert wire.aside[tmp_path / "a.pcap"] == {"tunnel": 6, "ICMPv6 in IPv4": 3}, "nfpcapd counted all others"
    sent = {flow: (at_a[0][flow], at_a[1][flow]) for flow in at_a[0] if flow[0] == "out"}
    assert sent == expected, "A sends nothing that this test did not send"
    for flow, counts in expected.items():
        assert (at_b[0]["in", *flow[1:]], at_b[1]["in", *flow[1:]]) == counts


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_a_tcp_connection_by_real_sockets(build: Callable[..., Any], wire: Any, tmp_path: Path, profile: str) -> None:
    site = build(profile)
    site.log(site.a.eni, site.b.eni)
    a, b = site.a, site.b
    with (
        a.eni.capture(tmp_path / "a.pcap"),
        b.eni.capture(tmp_path / "b.pcap"),
        closing(b.socket()) as server,
        closing(a.socket()) as client,
    ):
        b.eni.security_groups[0].allow("ingress", protocol="tcp", port=443)
        server.bind((b.ip, 443))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with closing(connection):
                while data := connection.recv(65_536):
                    connection.sendall(data[: len(data) // 10])

        thread = threading.Thread(target=serve)
        thread.start()
        client.settimeout(wire.BOUND_S)
        client.connect((b.ip, 443))
        client.sendall(b"x" * 300_000)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):
            pass
        thread.join(wire.BOUND_S)
        wire.drain()

    records = site.records()

    for cvm in (a, b):
        found = wire.recorded(records, cvm.eni)
        assert found == wire.captured(tmp_path / f"{cvm.name.lower()}.pcap", cvm.eni)
        assert {flow[0] for flow in found[0]} == {"in", "out"}
        assert sum(found[1].values()) > 330_000
    assert {record["action"] for record in records} == {"ACCEPT"}
    assert len(records) == 4


def test_one_packet_is_a_record_at_each_end(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)

    length = wire.send(site.a, site.c.ip, 17, wire.udp(5000, 53, b"question"))
    records = [record for record in site.records() if record["protocol"] == 17]

    flow = (17, site.a.ip, 5000, site.c.ip, 53)
    assert {(record.meta["eni_id"], wire.flow(record), record["packets"], record["bytes"]) for record in records} == {
        (site.a.eni.id, ("out", *flow), 1, length),
        (site.c.eni.id, ("in", *flow), 1, length),
    }


def test_a_reject_at_the_sender_is_seen_there_alone(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.a.eni, site.c.eni)
    rule = site.vpc.default_security_group.deny("egress", protocol="udp", port=53, priority=0)

    with wire.listening(site.c, 17) as heard:
        wire.send(site.a, site.c.ip, 17, wire.udp(5000, 53))
        assert heard() == []
    at_a, at_c = site.records()

    assert (wire.flow(at_a), at_a["action"], at_a["packets"]) == (
        ("out", 17, site.a.ip, 5000, site.c.ip, 53),
        "REJECT",
        1,
    )
    assert site.lab.explain(at_a).rule == rule
    assert (at_c.meta["eni_id"], at_c["log-status"]) == (site.c.eni.id, "NODATA")


def test_a_reject_at_the_receiver_is_accepted_at_the_sender(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.a.eni, site.c.eni)
    rule = site.vpc.default_security_group.deny("ingress", protocol="udp", port=53, priority=0)

    with wire.listening(site.c, 17) as heard:
        length = wire.send(site.a, site.c.ip, 17, wire.udp(5000, 53))
        assert heard() == []
    at_a, at_c = site.records()

    flow = (17, site.a.ip, 5000, site.c.ip, 53)
    assert (wire.flow(at_a), at_a["action"], at_a["packets"], at_a["bytes"]) == (("out", *flow), "ACCEPT", 1, length)
    assert (wire.flow(at_c), at_c["action"], at_c["packets"], at_c["bytes"]) == (("in", *flow), "REJECT", 1, length)
    assert site.lab.explain(at_c).rule == rule
    assert site.lab.explain(at_a).rule != rule


@pytest.mark.parametrize("seed", range(3))
def test_a_random_mix_is_recorded_as_captured(build: Callable[..., Any], wire: Any, tmp_path: Path, seed: int) -> None:
    """Some of it is rejected: a capture at the CVM sees what leaves before it is judged, what enters after."""
    site = build()
    dice = random.Random(seed)
    site.log(site.vpc)
    group = site.vpc.default_security_group
    for direction in ("ingress", "egress"):
        for _ in range(3):
            low = dice.randrange(1, 60_000)
            group.deny(direction, protocol=dice.choice(["tcp", "udp"]), port=f"{low}-{low + 5000}", priority=0)
        group.deny(direction, protocol=dice.choice([47, 50, 132]), priority=0)
    cvms = [site.a, site.b, site.c]
    with (
        site.a.eni.capture(tmp_path / "A.pcap"),
        site.b.eni.capture(tmp_path / "B.pcap"),
        site.c.eni.capture(tmp_path / "C.pcap"),
    ):
        senders = {cvm: cvm.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) for cvm in cvms}
        for _ in range(600):
            src, dst = dice.sample(cvms, 2)
            protocol, kind, detail = dice.choice(list(PACKETS.values()))
            sport, dport = dice.choice([1000, 2000, 3000]), dice.choice([22, 53, 443, dice.randrange(1, 65_536)])
            data = payload(wire, src.ip, dst.ip, kind, detail, sport, dport)
            senders[src].sendto(wire.packet(src.ip, dst.ip, protocol, data), (dst.ip, 0))
        wire.drain()
        for sender in senders.values():
            sender.close()

    records = site.records()

    actions = set()
    for cvm in cvms:
        arrived = [record for record in records if (record.meta["direction"], record["action"]) != ("in", "REJECT")]
        assert wire.recorded(arrived, cvm.eni) == wire.captured(tmp_path / f"{cvm.name}.pcap", cvm.eni)
        actions |= {(record.meta["direction"], record["action"]) for record in records}
    assert actions == {("in", "ACCEPT"), ("in", "REJECT"), ("out", "ACCEPT"), ("out", "REJECT")}
    keys = [(record.meta["eni_id"], wire.flow(record), record["action"]) for record in records]
    assert len(keys) == len(set(keys)), "one record for each ENI, flow and action"


def test_a_forged_source_is_dropped_before_it_is_counted(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    fabric = site.lab.fabric.vpcs[site.vpc.id]

    with wire.listening(site.b, 17) as heard:
        length = wire.send(site.a, site.b.ip, 17, wire.udp(1, 2, b"forged"), src=site.c.ip)
        wire.send(site.a, site.b.ip, 17, wire.udp(1, 3, b"forged"), src="192.0.2.1")
        assert heard() == []
        wire.send(site.a, site.b.ip, 17, wire.udp(1, 4, b"honest"))
        assert [packet[28:] for packet in heard()] == [b"honest"]

    assert fabric.counter("spoofed") == (2, 2 * length)
    flows = {wire.flow(record) for record in site.records() if record["protocol"] == 17}
    assert {flow[5] for flow in flows} == {4}


def test_an_address_that_nobody_has_is_counted_where_it_was_sent(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.a.eni)
    fabric = site.lab.fabric.vpcs[site.vpc.id]

    for address in ("10.16.0.99", "10.16.200.1", "203.0.113.9"):
        wire.send(site.a, address, 17, wire.udp(1, 2))
    records = site.records()

    assert [(record["dstaddr"], record["action"], record["packets"]) for record in records] == [
        ("10.16.0.99", "ACCEPT", 1),
        ("10.16.200.1", "ACCEPT", 1),
        ("203.0.113.9", "ACCEPT", 1),
    ]
    assert fabric.counter("nowhere")[0] == 3


@pytest.mark.parametrize("protocol", [2, 47, 50, 103, 132, 253])
def test_a_raw_socket_of_any_protocol(build: Callable[..., Any], wire: Any, protocol: int) -> None:
    """The kernel writes the IP header here."""
    site = build()
    site.log(site.a.eni, site.b.eni)
    wire.deafen(site.b)

    with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, protocol)) as sender:
        for size in (4, 100, 1480):
            sender.sendto(b"\0" * size, (site.b.ip, 0))
    wire.drain()
    records = site.records()

    told = {(record.meta["direction"], record["protocol"], record["packets"], record["bytes"]) for record in records}
    assert told == {(direction, protocol, 3, 60 + 1584) for direction in ("out", "in")}


def test_datagrams_of_ordinary_sockets(build: Callable[..., Any], wire: Any, tmp_path: Path) -> None:
    site, sizes = build("alibaba"), (0, 1, 2, 512, 1471, 1472)
    site.log(site.a.eni, site.b.eni)
    with (
        site.a.eni.capture(tmp_path / "a.pcap"),
        closing(site.b.socket(socket.AF_INET, socket.SOCK_DGRAM)) as echo,
        closing(site.a.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client,
    ):
        echo.bind((site.b.ip, 7))
        for one in (echo, client):
            one.settimeout(wire.BOUND_S)
        for size in sizes:
            client.sendto(b"x" * size, (site.b.ip, 7))
            data, sender = echo.recvfrom(2000)
            echo.sendto(data, sender)
            assert len(client.recv(2000)) == size
        wire.drain()

    records = site.records()

    for eni in (site.a.eni, site.b.eni):
        packets, total = wire.recorded(records, eni)
        assert set(packets.values()) == {len(sizes)}
        assert set(total.values()) == {sum(sizes) + 28 * len(sizes)}
        assert len(packets) == 2
    assert wire.recorded(records, site.a.eni) == wire.captured(tmp_path / "a.pcap", site.a.eni)


def test_what_goes_to_many_is_counted_where_it_was_sent(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    addresses = ("224.0.0.1", "239.1.2.3", "255.255.255.255", "10.16.0.255")
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.bind((site.a.ip, 5000))
        for address in addresses:
            sender.sendto(b"all", (address, 9))
    wire.drain()
    records = site.records()

    sent = {record["dstaddr"]: record["packets"] for record in records if record.meta["direction"] == "out"}
    assert sent == dict.fromkeys(addresses, 1)
    assert {record["log-status"] for record in records if record.meta["eni_id"] != site.a.eni.id} == {"NODATA"}


def test_one_flow_accepted_and_rejected_in_one_window_is_two_records(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.b.eni)
    group = site.vpc.default_security_group
    for packets in (3, 4):
        for _ in range(packets):
            wire.send(site.a, site.b.ip, 17, wire.udp(5000, 53))
        group.deny("ingress", protocol="udp", priority=0) if packets == 3 else None
    records = [record for record in site.records() if record["protocol"] == 17]

    assert {record["action"]: record["packets"] for record in records} == {"ACCEPT": 3, "REJECT": 4}
    assert len({wire.flow(record) for record in records}) == 1


def test_one_flow_by_two_rules_is_one_record_and_names_the_rule_of_most_packets(
    build: Callable[..., Any], wire: Any
) -> None:
    site = build()
    site.log(site.b.eni)
    rules = []
    for packets in (2, 5, 3):
        rules.append(
            site.vpc.default_security_group.allow("ingress", protocol="udp", port=f"53-{60 + packets}", priority=0)
        )
        for _ in range(packets):
            wire.send(site.a, site.b.ip, 17, wire.udp(5000, 53))
    (record,) = (record for record in site.records() if record["protocol"] == 17)

    assert (record["packets"], record["bytes"]) == (10, 280)
    assert site.lab.explain(record).rule.id == rules[1].id
