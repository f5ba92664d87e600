"""More flows than the kernel's tables hold: nothing is lost in silence, every packet is in a record or in SKIPDATA."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.fabric import netlink, tables, wire

pytestmark = pytest.mark.kernel

NOBODY = "10.16.0.99"
CONNTRACK_MAX = Path("/proc/sys/net/netfilter/nf_conntrack_max")


def flood(wire: Any, cvm: Any, dst: str, count: int) -> None:
    """One UDP packet of 28 bytes for each of so many flows."""
    packet = bytearray(wire.packet(cvm.ip, dst, 17, wire.udp(0, 0)))
    with closing(cvm.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
        sender.connect((dst, 0))
        for number in range(count):
            struct.pack_into(">HH", packet, wire.HEAD, number % 50_000 + 1, number // 50_000 + 1)
            sender.send(packet)
    wire.drain()


def test_what_finds_no_room_is_counted_to_the_packet(build: Callable[..., Any], wire: Any) -> None:
    site, sent = build(), 80_000
    site.log(site.a.eni, site.b.eni)

    flood(wire, site.a, NOBODY, sent)
    wire.send(site.a, NOBODY, 47, b"x" * 30)
    wire.send(site.a, NOBODY, 1, wire.icmp(8))
    site.lab.clock.advance(minutes=7)

    (udp,) = site.topic.search("protocol:17 | select count(*) as n, sum(packets) as packets, sum(bytes) as bytes")
    others = site.topic.search("NOT protocol:17")
    (skip,) = (record for record in others if record["log-status"] == "SKIPDATA")
    (idle,) = (record for record in others if record["log-status"] == "NODATA")
    counted = {record["protocol"]: record["packets"] for record in others if record["log-status"] == "OK"}
    assert udp["n"] == tables.CAPACITY
    assert udp["bytes"] == 28 * tables.CAPACITY
    assert udp["packets"] + skip.meta["skipped"] == sent
    assert (skip["log-status"], skip["packets"], skip["srcaddr"], skip["action"]) == ("SKIPDATA", None, None, None)
    assert f"{skip.meta['skipped']} packets" in str(site.lab.explain(skip))
    assert counted == {1: 1, 47: 1}, "other shapes have tables of their own"
    assert (idle["log-status"], idle.meta["eni_id"]) == ("NODATA", site.b.eni.id)


def test_the_window_behind_a_full_one_is_as_ever(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.a.eni)
    flood(wire, site.a, NOBODY, tables.CAPACITY + 1)
    site.lab.clock.advance(seconds=90)

    wire.send(site.a, NOBODY, 17, wire.udp(7, 7))
    wire.send(site.a, NOBODY, 17, wire.udp(1, 1))
    site.lab.clock.advance(minutes=10)

    later = site.topic.search(start=wire.START_S + 300)
    assert [(record["log-status"], record["dstport"]) for record in later] == [("OK", 1), ("OK", 7)]


def connections(count: int) -> list[bytes]:
    """Requests that enter assured connections into the connection table (nfnetlink_conntrack.h), in sendable pieces."""

    def attribute(kind: int, *parts: bytes) -> bytes:
        data = b"".join(parts)
        return (
            struct.pack("=HH", 4 + len(data), kind | (0x8000 if len(parts) > 1 else 0))
            + data
            + b"\0" * (-len(data) % 4)
        )

    def tuple_of(kind: int, src: bytes, dst: bytes) -> bytes:
        ports = attribute(2, attribute(1, b"\x11"), attribute(2, b"\xaa\xaa"), attribute(3, b"\xbb\xbb"))
        return attribute(kind, attribute(1, attribute(1, src), attribute(2, dst)), ports)

    one, two = b"\x0a\x10\xee\x01", b"\x0a\x10\xee\x02"
    body = struct.pack("=BBH", 2, 0, 0) + tuple_of(1, one, two) + tuple_of(2, two, one)
    body += attribute(3, struct.pack(">L", 0xE)) + attribute(7, struct.pack(">L", 600))
    head = struct.pack("=LHHLL", 16 + len(body), 1 << 8, wire.REQUEST | wire.CREATE, 1, 0)
    template = np.frombuffer(head + body, "u1")
    text = template.tobytes()
    requests = np.tile(template, (count, 1))
    numbers = np.arange(count)
    for marker, values in ((b"\xaa\xaa", numbers % 60_000 + 1), (b"\xbb\xbb", numbers // 60_000 + 1)):
        first = text.index(marker)
        for at in (first, text.index(b"\xbb\xbb" if marker == b"\xaa\xaa" else b"\xaa\xaa", len(text) // 2)):
            requests[:, at] = values >> 8
            requests[:, at + 1] = values & 0xFF
    step = 150_000 // len(template)
    requests[step - 1 :: step, 6] |= wire.ACK
    requests[-1, 6] |= wire.ACK
    return [requests[at : at + step].tobytes() for at in range(0, count, step)]


@pytest.mark.skipif(
    not CONNTRACK_MAX.exists() or int(CONNTRACK_MAX.read_text()) > 300_000,
    reason="the connection table of this machine is too large to fill in a test",
)
def test_what_a_full_connection_table_costs_is_counted_to_the_packet(build: Callable[..., Any], wire: Any) -> None:
    site, sent = build(), 500
    most = int(CONNTRACK_MAX.read_text())
    fabric = site.lab.fabric.vpcs[site.vpc.id]
    site.log(site.a.eni)
    wire.send(site.a, site.b.ip, 47, b"before")
    assert fabric.conntrack_drops() == 0

    steps = [(fabric.ns, netlink.NETFILTER, piece) for piece in connections(most + 10)]
    site.lab.fabric.keeper.netlink(steps)
    flood(wire, site.a, NOBODY, sent)
    with wire.listening(site.b, 47) as heard:
        wire.send(site.a, site.b.ip, 47, b"known connections go on")
        assert len(heard()) == 1
    drops = fabric.conntrack_drops()
    records = site.records()

    assert 0 < drops <= sent, "connections that end meanwhile make room again"
    skips = [record.meta["skipped"] for record in records if record["log-status"] == "SKIPDATA"]
    assert skips == [drops]
    assert drops + sum(record["packets"] for record in records if record["dstaddr"] == NOBODY) == sent
    assert [record["packets"] for record in records if record["protocol"] == 47] == [2]
    assert "found no room in a kernel table" in str(site.lab.explain(records[-1]))

    before = site.lab.clock.now
    wire.send(site.a, site.b.ip, 47, b"still known")
    later = [record for record in site.records() if record["end"] > before]
    assert {record["log-status"] for record in later} == {"OK"}, "drops are told once"


def test_drops_of_a_time_without_flow_logs_are_not_told_later(
    build: Callable[..., Any], wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build()
    fabric = site.lab.fabric.vpcs[site.vpc.id]
    drops = 0
    monkeypatch.setattr(fabric, "conntrack_drops", lambda: drops)
    (log,) = site.log(site.a.eni)
    drops = 5
    log.disable()
    drops = 105
    log.enable()
    drops = 112

    (skip,) = site.records()

    assert (skip["log-status"], skip.meta["skipped"]) == ("SKIPDATA", 12)
