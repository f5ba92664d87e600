"""Windows against nfpcapd and nfdump: captures, cut at the windows' bounds, hold by flow what the records say."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import nfdump
import pytest

pytestmark = pytest.mark.kernel

WINDOWS = 5
UDP, ICMP = 17, 1
OTHERS = (2, 47, 50, 51, 89, 112, 132, 136, 253)
"""Protocols that are sent as packets by hand: GRE is what nfpcapd leaves out."""


@contextmanager
def tcp_connection(client: Any, server: Any) -> Iterator[Callable[[], None]]:
    """An open connection; what is yielded sends a few kilobytes over it and waits for the answer."""
    with closing(server.socket()) as ear, closing(client.socket()) as caller:
        ear.bind((server.ip, 443))
        ear.listen()
        caller.settimeout(20)

        def serve() -> None:
            connection, _ = ear.accept()
            with closing(connection):
                while data := connection.recv(65_536):
                    connection.sendall(data[: len(data) // 10 + 1])

        thread = threading.Thread(target=serve)
        thread.start()
        caller.connect((server.ip, 443))

        def talk() -> None:
            caller.sendall(b"x" * 5_000)
            caller.recv(65_536)

        yield talk
        caller.shutdown(socket.SHUT_WR)
        thread.join(20)


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_each_window_holds_what_its_slice_of_the_capture_holds(
    build: Callable[..., Any], need_program: Callable[[str, str], str], wire: Any, tmp_path: Path, profile: str
) -> None:
    """Flows of every kind that live through several windows, some refused, and a window in which nothing happens."""
    need_program("nfpcapd", "nfdump")
    site, dice, bounds_ns = build(profile), random.Random(profile), list[int]()
    lab, cvms = site.lab, [site.a, site.b, site.c]
    window_s = 300 if profile == "tencent" else 60
    site.log(site.vpc, **({} if profile == "tencent" else {"interval_s": 60}))
    group = site.vpc.default_security_group
    if profile == "alibaba":
        group.allow("ingress", priority=2)
    group.deny("ingress", protocol="udp", port=53, priority=1)
    with ExitStack() as open_:
        for cvm in cvms:
            open_.enter_context(cvm.eni.capture(tmp_path / f"{cvm.name}.pcap"))
        mouths = {
            cvm: open_.enter_context(closing(cvm.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)))
            for cvm in cvms
        }
        begun = lab.clock.now // window_s * window_s
        with tcp_connection(site.a, site.c) as talk:
            for window in range(WINDOWS):
                for _ in range(0 if window == 2 else 60):
                    src, dst = dice.sample(cvms, 2)
                    protocol = dice.choice([UDP, UDP, ICMP, *OTHERS])
                    payload = b"x" * dice.randrange(8, 400)
                    if protocol in (UDP, 132, 136):
                        payload = wire.udp(dice.choice([1000, 2000]), dice.choice([53, 9]), payload)
                    elif protocol == ICMP:
                        payload = wire.icmp(8, ident=dice.randrange(3), data=payload)
                    mouths[src].sendto(wire.packet(src.ip, dst.ip, protocol, payload), (dst.ip, 0))
                if window != 2:
                    talk()
                    site.a.ping(site.b, count=2)
                wire.drain()
                bounds_ns.append(time.time_ns())
                lab.clock.advance(seconds=window_s)
        wire.drain()
    records = site.records()

    slices = {cvm: nfdump.cut(tmp_path / f"{cvm.name}.pcap", bounds_ns) for cvm in cvms}
    metered = iter(nfdump.metered(path for paths in slices.values() for path in paths))
    aside, told, total = Counter[str](), 0, 0
    for cvm, paths in slices.items():
        for number in range(len(paths)):
            expected, left_out = nfdump.comparable(passed(records, cvm, begun + number * window_s))
            counted = next(metered)
            if profile == "alibaba":
                counted, expected = untyped(counted), untyped(expected)
            assert counted == expected, (cvm.name, number)
            aside += left_out
            told += len(expected)
            total += sum(packets for packets, _ in expected.values())
    assert set(aside) == {"tunnel"}
    assert told > 200
    assert total > 10 * aside["tunnel"] > 0


def passed(records: list[Any], cvm: Any, start: int) -> Iterator[nfdump.Counted]:
    """What a window's records say has passed the CVM's end of its ENI."""
    for record in records:
        meta = record.meta
        there = record["log-status"] == "OK" and (meta["eni_id"], record["start"]) == (cvm.eni.id, start)
        if there and (meta["direction"], record["action"]) != ("in", "REJECT"):
            ends = (record[name] for name in ("protocol", "srcaddr", "srcport", "dstaddr", "dstport"))
            yield tuple(ends), record["packets"], record["bytes"]


def untyped(flows: dict[nfdump.Flow, tuple[int, int]]) -> dict[nfdump.Flow, tuple[int, int]]:
    """All ICMP between two addresses in one direction is one flow to Alibaba."""
    return nfdump.comparable(
        ((protocol, src, sport, dst, 0 if protocol == ICMP else dport), *counts)
        for (protocol, src, sport, dst, dport), counts in flows.items()
    )[0]
