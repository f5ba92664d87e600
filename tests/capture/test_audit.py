"""Double entry: what was counted equals what the kernel's links counted by themselves, and lab.audit() cries if not."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from emulator import AuditFailed
from emulator.audit import Audit
from emulator.fabric import tables
from emulator.fabric.accounts import Accounts
from emulator.fabric.elements import Batch

pytestmark = pytest.mark.kernel

NOBODY = "10.16.0.99"


def eni(audit: Audit, cvm: Any) -> Any:
    (found,) = (one for one in audit.enis if one.eni_id == cvm.eni.id)
    return found


def flood(wire: Any, cvm: Any, dst: str, count: int, payload: bytes = b"x" * 20) -> None:
    packet = bytearray(wire.packet(cvm.ip, dst, 17, wire.udp(0, 9, payload)))
    with closing(cvm.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
        sender.connect((dst, 0))
        for number in range(count):
            struct.pack_into(">H", packet, wire.HEAD, number % 60_000 + 1)
            sender.send(packet)


# books that balance ------------------------------------------------------------------------------------


def test_a_lab_where_nothing_is_logged_has_no_books(build: Callable[..., Any]) -> None:
    site = build()
    site.a.ping(site.b, count=1)

    audit = site.lab.audit()

    assert audit.ok
    assert (
        str(audit) == "the books balance: 0 ENIs, 0 windows, 0 packets out, 0 in, 3 ENIs without a flow log not counted"
    )


def test_ping_and_arp(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    site.a.ping(site.b, count=3)
    wire.drain()

    audit = site.lab.audit().check()

    a, b = eni(audit, site.a), eni(audit, site.b)
    assert (a.taken, a.accepted_out, a.handed, a.accepted_in) == (3, 3, 3, 3)
    assert (b.taken, b.accepted_out, b.handed, b.accepted_in) == (3, 3, 3, 3)
    assert a.arp_in == a.arp_out >= 1
    assert str(audit) == "the books balance: 3 ENIs, 1 windows, 6 packets out, 6 in"


def test_rejects_by_group_and_acl_at_both_ends(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    group = site.vpc.default_security_group
    group.deny("egress", protocol="udp", port=53, priority=0)
    group.deny("ingress", protocol="udp", port=54, priority=0)
    acl = site.vpc.create_network_acl()
    acl.allow("ingress")
    acl.deny("egress", protocol="udp", port=55)
    acl.allow("egress")
    acl.associate(site.web)
    wire.deafen(site.c)
    for port in (53, 54, 55, 56, 56):
        wire.send(site.a, site.c.ip, 17, wire.udp(5000, port))

    audit = site.lab.audit().check()

    a, c = eni(audit, site.a), eni(audit, site.c)
    assert (a.taken, a.accepted_out, a.rejected_out) == (5, 3, 2)
    assert (c.handed, c.accepted_in, c.rejected_in) == (2, 2, 1)


def test_forged_sources_and_addresses_that_nobody_has(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    for src in (site.c.ip, "192.0.2.1"):
        wire.send(site.a, site.b.ip, 17, wire.udp(1, 2, b"forged"), src=src)
    for dst in (NOBODY, "203.0.113.9", "224.0.0.1", "255.255.255.255"):
        with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.sendto(wire.packet(site.a.ip, dst, 17, wire.udp(1, 2)), (dst, 0))
    wire.drain()

    audit = site.lab.audit().check()

    assert (eni(audit, site.a).spoofed, eni(audit, site.a).accepted_out, eni(audit, site.b).spoofed) == (2, 4, 0)
    assert audit.spoofed == 2
    assert "2 spoofed and dropped" in str(audit)


def test_a_ttl_that_has_run_out(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    wire.deafen(site.b)
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
        for ttl in (0, 1, 255):
            sender.sendto(wire.packet(site.a.ip, site.b.ip, 17, wire.udp(1, 2), ttl), (site.b.ip, 0))
    wire.drain()

    site.lab.audit().check()


@pytest.mark.parametrize("size", [1472, 1473, 4000, 30_000])
def test_fragments(build: Callable[..., Any], wire: Any, size: int) -> None:
    site = build()
    site.log(site.vpc)
    wire.deafen(site.b)
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        for _ in range(5):
            sender.sendto(b"x" * size, (site.b.ip, 9))
    wire.drain()

    site.lab.audit().check()


def test_a_fragment_whose_others_never_come(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    fragment = bytearray(wire.packet(site.a.ip, site.b.ip, 17, wire.udp(1, 2, b"x" * 64)))
    struct.pack_into(">H", fragment, 6, 0x2000)
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
        sender.sendto(fragment, (site.b.ip, 0))
    wire.drain()

    site.lab.audit().check()


def test_more_flows_than_the_tables_hold(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    wire.deafen(site.b)
    site.vpc.default_security_group.deny("ingress", protocol="udp", port=10, priority=0)
    packet = bytearray(wire.packet(site.a.ip, site.b.ip, 17, wire.udp(0, 9)))
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
        sender.connect((site.b.ip, 0))
        for number in range(70_000):
            struct.pack_into(">HH", packet, wire.HEAD, number % 35_000 + 1, 9 + number // 35_000)
            sender.send(packet)
    wire.drain()

    audit = site.lab.audit().check()

    a, b = eni(audit, site.a), eni(audit, site.b)
    assert (a.taken, a.accepted_out + a.skipped_out) == (70_000, 70_000)
    assert a.skipped_out > 0
    assert b.skipped_in > 0
    assert b.accepted_in + b.rejected_in + b.skipped_in == 70_000


def test_windows_follow_on_each_other(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    for _ in range(3):
        site.a.ping(site.c, count=1)
        site.lab.clock.advance(minutes=5)

    assert site.lab.audit().check().windows == 4


def test_the_audit_changes_no_record(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    for _ in range(3):
        wire.send(site.a, site.b.ip, 47, b"x" * 30)
        assert site.lab.audit().ok

    assert [record["packets"] for record in site.records(site.b.eni) if record["protocol"] == 47] == [3]


def test_what_was_sent_before_a_flow_log_is_in_no_book(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    wire.deafen(site.b)
    wire.send(site.a, site.b.ip, 17, wire.udp(1, 2))
    site.log(site.a.eni)
    wire.send(site.a, site.b.ip, 17, wire.udp(1, 2))
    site.log(site.b.eni)
    wire.send(site.a, site.b.ip, 17, wire.udp(1, 2))
    assert [one.taken for one in site.lab.audit().check().enis] == [2, 0]

    site.lab.clock.advance(minutes=5)
    wire.send(site.a, site.b.ip, 17, wire.udp(1, 2))
    audit = site.lab.audit().check()
    assert [(one.taken, one.accepted_in) for one in audit.enis] == [(3, 0), (0, 2)]
    assert audit.unlogged == 1


def test_enis_that_come_and_go(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    (log,) = site.log(site.vpc)
    with closing(site.a.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:

        def send() -> None:
            sender.sendto(b"hello", (NOBODY, 9))
            wire.drain()

        send()
        new = site.web.run_instance(name="D", private_ip=NOBODY)
        send()
        site.lab.audit().check()
        new.terminate()
        send()
        site.lab.audit().check()
        site.lab.clock.advance(minutes=5)
        send()
        log.delete()
        send()

    audit = site.lab.audit().check()
    assert eni(audit, site.a).accepted_out >= 4
    assert audit.unlogged == 3


def test_labs_with_windows_of_several_lengths(build: Callable[..., Any]) -> None:
    site = build("alibaba")
    site.a.eni.create_flow_log(topic=site.topic, interval_s=60)
    site.b.eni.create_flow_log(topic=site.topic, interval_s=600)
    for _ in range(12):
        site.a.ping(site.b, count=1)
        site.lab.clock.advance(minutes=1)

    site.lab.audit().check()


def test_traffic_that_goes_on_while_it_is_audited(build: Callable[..., Any]) -> None:
    site = build()
    site.log(site.vpc)
    with site.a.popen(["ping", "-q", "-i", "0.002", site.b.ip]) as ping:
        for _ in range(20):
            site.lab.audit().check()
            site.lab.clock.advance(seconds=60)
        ping.kill()

    site.lab.audit().check()


# books that do not --------------------------------------------------------------------------------------


def test_a_counter_that_is_falsified(build: Callable[..., Any], wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site, decode = build(), tables.decode
    site.log(site.vpc)
    wire.deafen(site.b)
    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 53))
    site.lab.audit().check()
    site.lab.clock.advance(minutes=5)

    def falsified(*args: Any) -> Any:
        flows = decode(*args)
        flows["packets"][(flows["dport"] == 53) & ((flows["mark"] & 0x1_0000) != 0)] += 1
        return flows

    monkeypatch.setattr(tables, "decode", falsified)
    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 53))
    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 54))
    audit = site.lab.audit()

    assert not audit.ok
    assert [one.eni_id for one in audit.enis if not one.ok] == [site.b.eni.id]
    at_b, between = audit.failures
    window = "window 2025-11-13 02:15:00 to 02:20:00"
    assert site.b.eni.id in at_b
    assert window in at_b
    assert "handed over 3 packets" in at_b
    assert "4 packets" in at_b
    assert between.startswith(f"{window}: {site.a.ip}:5000 -> {site.b.ip}:53 protocol 17: 1 packets")
    with pytest.raises(AuditFailed, match="do not balance") as failed:
        audit.check()
    assert failed.value.audit is audit


def test_bytes_that_are_falsified(build: Callable[..., Any], wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site, decode = build(), tables.decode
    site.log(site.a.eni)

    def falsified(*args: Any) -> Any:
        flows = decode(*args)
        flows["bytes"] += 1
        return flows

    monkeypatch.setattr(tables, "decode", falsified)
    wire.send(site.a, NOBODY, 17, wire.udp(5000, 53))

    (failure,) = site.lab.audit().failures
    assert "took in 1 packets, 28 bytes; counted were 1 packets, 29 bytes" in failure


def test_a_port_that_is_falsified(build: Callable[..., Any], wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the books between two ENIs can tell."""
    site, decode = build(), tables.decode
    site.log(site.vpc)
    wire.deafen(site.b)

    def falsified(*args: Any) -> Any:
        flows = decode(*args)
        flows["dport"][(flows["mark"] & 0x1_0000) != 0] += 1
        return flows

    monkeypatch.setattr(tables, "decode", falsified)
    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 53))

    audit = site.lab.audit()
    assert len(audit.failures) == 2
    assert all(one.ok for one in audit.enis)
    assert any(f"{site.a.ip}:5000 -> {site.b.ip}:53 protocol 17" in failure for failure in audit.failures)


def test_a_windows_dump_that_is_dropped(build: Callable[..., Any], wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site, read = build(), Accounts._read
    site.log(site.vpc)
    wire.deafen(site.b)

    def emptied(*args: Any) -> Any:
        return {index: replace(harvest, flows=harvest.flows[:0]) for index, harvest in read(*args).items()}

    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 53))
    with monkeypatch.context() as patched:
        patched.setattr(Accounts, "_read", emptied)
        site.lab.clock.advance(minutes=5)
    for _ in range(3):
        wire.send(site.a, site.b.ip, 17, wire.udp(5000, 53))
        site.lab.clock.advance(minutes=5)

    audit = site.lab.audit()

    assert len(audit.failures) == 2, "out at A, in at B; both dumps being gone, they agree with each other"
    assert all("window 2025-11-13 02:10:00 to 02:15:00" in failure for failure in audit.failures)


@pytest.mark.parametrize("name", ["acct_out", "acct_in"])
def test_a_rule_that_is_skipped(build: Callable[..., Any], wire: Any, name: str) -> None:
    """Accounting of one ENI is taken out of the ruleset behind the lab's back."""
    site = build()
    site.log(site.vpc)
    wire.deafen(site.b)
    cvm = site.a if name == "acct_out" else site.b
    fabric = site.lab.fabric.vpcs[site.vpc.id]
    index = fabric.attached[cvm.eni.id].index
    fabric.accounts._send(Batch().delete_jumps(name, [index]), settle=True)
    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 53))
    fabric.accounts._send(Batch().jump(name, {index: tables.chain_name(index, 0)}), settle=True)

    audit = site.lab.audit()

    assert [one.eni_id for one in audit.enis if not one.ok] == [cvm.eni.id]
    assert f"{site.a.ip}:5000 -> {site.b.ip}:53 protocol 17: 1 packets, 28 bytes" in audit.text


def test_a_reject_that_is_not_counted(build: Callable[..., Any], wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No link shows what was rejected on its way to it: the sender's books do."""
    site, decode = build(), tables.decode
    site.log(site.vpc)
    site.vpc.default_security_group.deny("ingress", protocol="udp", port=53, priority=0)

    def forgetful(*args: Any) -> Any:
        flows = decode(*args)
        return flows[(flows["mark"] & 0x2_0000) == 0]

    monkeypatch.setattr(tables, "decode", forgetful)
    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 53))

    (failure,) = site.lab.audit().failures
    assert f"{site.a.ip}:5000 -> {site.b.ip}:53 protocol 17: 1 packets, 28 bytes accepted at" in failure
