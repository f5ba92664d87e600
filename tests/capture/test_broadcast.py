"""A broadcast is recorded at its sender, and where the subnet has broadcast on, at every other ENI of the subnet."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from emulator.errors import RequestRefused

pytestmark = pytest.mark.kernel

UDP = 17
SUBNET, EVERYBODY = "10.16.0.255", "255.255.255.255"


def shout(wire: Any, cvm: Any, *addresses: str, size: int = 3) -> None:
    with closing(cvm.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.bind((cvm.ip, 5000))
        for address in addresses:
            sender.sendto(b"x" * size, (address, 9))
    wire.drain()


def told(records: list[Any]) -> set[tuple[Any, ...]]:
    names = ("dstaddr", "packets", "bytes", "action")
    return {
        (record.meta["eni_id"], record.meta["direction"], *(record[name] for name in names))
        for record in records
        if record["protocol"] == UDP
    }


@pytest.mark.parametrize("size", [3, 4000])
def test_every_other_eni_of_the_subnet_gets_a_copy(build: Callable[..., Any], wire: Any, size: int) -> None:
    site = build()
    site.log(site.vpc)
    site.web.set_broadcast(True)
    d = site.web.run_instance("D")
    wire.deafen(site.b, d)
    with closing(d.socket(socket.AF_INET, socket.SOCK_DGRAM)) as ear, wire.listening(site.c, UDP) as elsewhere:
        ear.bind(("", 10))
        shout(wire, site.a, SUBNET, EVERYBODY, size=size)
        assert elsewhere() == []
    site.lab.audit().check()

    counts = (1, 31) if size == 3 else (3, 4068)
    expected = {
        (eni_id, direction, address, *counts, "ACCEPT")
        for address in (SUBNET, EVERYBODY)
        for eni_id, direction in ((site.a.eni.id, "out"), (site.b.eni.id, "in"), (d.eni.id, "in"))
    }
    records = site.records()
    assert told(records) == expected
    sent = next(record for record in records if record.meta["direction"] == "out" and record["dstaddr"] == SUBNET)
    heard_by = [look.eni_id for look in site.lab.explain(sent).other_side]
    assert sorted(heard_by) == sorted([site.b.eni.id, d.eni.id])


def test_a_program_hears_it(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.web.set_broadcast(True)
    with closing(site.b.socket(socket.AF_INET, socket.SOCK_DGRAM)) as ear:
        ear.settimeout(wire.BOUND_S)
        ear.bind(("", 9))
        shout(wire, site.a, SUBNET)
        assert ear.recvfrom(99) == (b"xxx", (site.a.ip, 5000))


def test_who_hears_it_follows_what_changes(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    site.web.set_broadcast(True)
    d = site.web.run_instance("D")
    wire.deafen(site.b)
    d.terminate()
    shout(wire, site.a, SUBNET)
    site.web.set_broadcast(False)
    shout(wire, site.a, SUBNET)
    site.lab.audit().check()

    a, b = site.a.eni.id, site.b.eni.id
    assert told(site.records()) == {(a, "out", SUBNET, 2, 62, "ACCEPT"), (b, "in", SUBNET, 1, 31, "ACCEPT")}


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_rules_hold(build: Callable[..., Any], wire: Any, direction: str) -> None:
    site = build()
    site.log(site.vpc)
    site.web.set_broadcast(True)
    site.vpc.default_security_group.deny(direction, protocol="udp", port=9, priority=0)
    with wire.listening(site.b, UDP) as heard:
        shout(wire, site.a, SUBNET)
        assert heard() == []
    site.lab.audit().check()

    sent = {(site.a.eni.id, "out", SUBNET, 1, 31, "REJECT" if direction == "egress" else "ACCEPT")}
    arrived = {(site.b.eni.id, "in", SUBNET, 1, 31, "REJECT")}
    assert told(site.records()) == (sent if direction == "egress" else sent | arrived)


def test_subnets_do_not_hear_each_other(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    site.web.set_broadcast(True)
    site.db.set_broadcast(True)
    shout(wire, site.a, "10.16.1.255")
    shout(wire, site.c, "10.16.1.255", EVERYBODY)
    site.lab.audit().check()

    assert {row[0] for row in told(site.records())} == {site.a.eni.id, site.c.eni.id}


def test_it_is_off_by_default_and_not_to_be_had_at_alibaba(build: Callable[..., Any], wire: Any) -> None:
    site = build("alibaba")
    with pytest.raises(RequestRefused, match="have no broadcast") as refused:
        site.web.set_broadcast(True)
    assert refused.value.code == "OperationUnsupported.Broadcast"
    with pytest.raises(RequestRefused, match="have no broadcast"):
        site.vpc.create_subnet("10.16.2.0/24", broadcast=True)
    site.web.set_broadcast(False)
    assert not site.web.model.broadcast
