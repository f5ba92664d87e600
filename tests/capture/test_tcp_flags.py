"""TCP flags, OR-ed over a record's packets as Alibaba Cloud shows them, from the kernel's own tables."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest

from emulator.capture import schema
from emulator.fabric import marks, tables

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
TCP = 6


def shown(flags: int) -> int:
    """What one packet's flags add to a record (alibaba.md §1.1): ACK only together with SYN."""
    return flags & (FIN | SYN | RST | PSH | URG) | (ACK if flags & SYN and flags & ACK else 0)


def flags_of(records: list[Any]) -> dict[tuple[str, str, int, int], int | None]:
    """(ENI, direction, source port, destination port) → tcp-flags."""
    return {
        (record.meta["eni_id"], record["direction"], record["srcport"], record["dstport"]): record["tcp-flags"]
        for record in records
        if record["protocol"] == TCP
    }


@pytest.mark.kernel
def test_single_packets(build: Callable[..., Any], wire: Any) -> None:
    site = build("alibaba")
    wire.deafen(site.a, site.b)
    site.log(site.a.eni, site.b.eni)
    sent = {
        1001: [SYN],
        1002: [SYN | ACK],
        1003: [ACK],
        1004: [PSH | ACK, ACK, PSH | ACK],
        1005: [SYN, ACK, PSH | ACK, FIN | ACK],
        1006: [RST],
        1007: [SYN, RST | ACK],
        1008: [URG | ACK, 0x40 | SYN | 0x80],
        1009: [0],
    }
    for port, packets in sent.items():
        for flags in packets:
            wire.send(site.a, site.b.ip, TCP, wire.tcp(site.a.ip, site.b.ip, port, 80, flags))
    wire.send(site.a, site.b.ip, 17, wire.udp(1001, 80))
    records = site.records()

    wanted = {}
    for port, packets in sent.items():
        together = int(np.bitwise_or.reduce([shown(flags) for flags in packets]))
        wanted[site.a.eni.id, "out", port, 80] = wanted[site.b.eni.id, "in", port, 80] = together
    found = flags_of(records)
    assert {key: value for key, value in found.items() if key in wanted} == wanted
    assert wanted[site.a.eni.id, "out", 1005, 80] == FIN | SYN | PSH
    (datagram,) = (one for one in records if one["protocol"] == 17 and one["direction"] == "out")
    assert datagram["tcp-flags"] is None
    packets = {record["srcport"]: record["packets"] for record in records if record["direction"] == "out"}
    assert {port: packets[port] for port in sent if port != 1001} == {
        port: len(flags) for port, flags in sent.items() if port != 1001
    }, "flags count nothing twice"


@pytest.mark.kernel
def test_a_connection_as_captured(build: Callable[..., Any], wire: Any, tmp_path: Path) -> None:
    site = build("alibaba")
    site.log(site.a.eni, site.b.eni)
    closed = site.vpc.create_security_group("closed")
    closed.allow("egress")
    with site.b.eni.capture(tmp_path / "b.pcap"), site.b.socket() as ear, site.a.socket() as mouth:
        ear.settimeout(wire.BOUND_S)
        ear.bind((site.b.ip, 8000))
        ear.listen()
        mouth.connect((site.b.ip, 8000))
        peer, _ = ear.accept()
        with peer:
            mouth.sendall(b"x" * 5000)
            mouth.shutdown(socket.SHUT_WR)
            while peer.recv(10_000):
                pass
            peer.sendall(b"bye")
        assert mouth.recv(100) == b"bye"
        mouth.close()
        wire.drain()
    with site.a.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect((site.b.ip, 8001))  # nobody listens: a SYN, and RST-ACK from the CVM itself
    records = site.records()

    seen: dict[tuple[int, int], int] = defaultdict(int)
    with (tmp_path / "b.pcap").open("rb") as stream:
        for _, frame in dpkt.pcap.Reader(stream):
            ethernet = dpkt.ethernet.Ethernet(frame)
            if ethernet.type == dpkt.ethernet.ETH_TYPE_IP and ethernet.data.p == TCP:
                segment = ethernet.data.data
                seen[segment.sport, segment.dport] |= shown(segment.flags)
    found = flags_of(records)
    for (sport, dport), flags in seen.items():
        assert {value for key, value in found.items() if key[2:] == (sport, dport)} == {flags}
    assert {flags for (_, dport), flags in seen.items() if dport == 8000} == {SYN | PSH | FIN}
    assert {flags for (sport, _), flags in seen.items() if sport == 8000} == {SYN | ACK | PSH | FIN}
    assert {value for key, value in found.items() if key[2] == 8001} == {RST}


@pytest.mark.kernel
def test_a_flow_over_two_windows_has_the_flags_of_each(build: Callable[..., Any], wire: Any) -> None:
    site = build("alibaba")
    wire.deafen(site.b)
    site.log(site.a.eni)
    wire.send(site.a, site.b.ip, TCP, wire.tcp(site.a.ip, site.b.ip, 1000, 80, SYN))
    site.lab.clock.advance(seconds=site.lab.profile.window_s)
    wire.send(site.a, site.b.ip, TCP, wire.tcp(site.a.ip, site.b.ip, 1000, 80, PSH | ACK))
    site.lab.clock.advance(seconds=site.lab.profile.window_s)
    wire.send(site.a, site.b.ip, TCP, wire.tcp(site.a.ip, site.b.ip, 1000, 80, ACK))
    records = [record for record in site.records() if record["log-status"] == "OK"]

    assert [record["tcp-flags"] for record in sorted(records, key=lambda record: record["start"])] == [SYN, PSH, 0]


@pytest.mark.kernel
@pytest.mark.parametrize("profile", ["tencent", "alibaba-2019"])
def test_where_records_do_not_show_them_nothing_is_kept(build: Callable[..., Any], wire: Any, profile: str) -> None:
    site = build(profile)
    site.log(site.a.eni)
    wire.send(site.a, site.b.ip, TCP, wire.tcp(site.a.ip, site.b.ip, 1000, 80, SYN))
    records = site.records()

    assert not any("tcp-flags" in record for record in records)
    assert "_vpclab_tcp_flags" not in records[0].meta


def test_flags_are_of_the_flow_whatever_rule_let_it_pass() -> None:
    mine, other = 5, 6 | marks.IN
    entries = [
        (mine, TCP, 1, 2, 1000, 80, 3, 180, 0),
        (7, TCP, 1, 2, 1000, 80, 9, 400, 0),  # the same flow by another rule
        (mine, TCP, 1, 2, 1000, 80, 0, 0, SYN),
        (7, TCP, 1, 2, 1000, 80, 0, 0, PSH),
        (7, TCP, 1, 2, 1000, 80, 0, 0, FIN),
        (other, TCP, 1, 2, 1000, 80, 1, 60, 0),
        (mine, TCP, 9, 9, 1, 1, 0, 0, RST),  # its flow found no room
    ]
    merged = schema.merge([np.array(entries, tables.FLOW)])

    assert [(int(one["mark"]), int(one["packets"]), int(one["flags"])) for one in merged] == [
        (7, 12, SYN | PSH | FIN),
        (other, 1, 0),
    ]


def test_what_is_unknown_stays_unknown() -> None:
    entries = [(5, TCP, 1, 2, 1, 2, 1, 60, tables.UNKNOWN_FLAGS), (5, TCP, 1, 2, 1, 2, 0, 0, SYN)]
    (row,) = schema.records(schema.merge([np.array(entries, tables.FLOW)]), {}).to_pylist()

    assert row["tcp_flags"] is None
