"""IPv6 through a lab's public names: addresses that come and go, rules about them, and what is told of it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dpkt
import pytest
from starved import starve

from emulator import InvalidValue
from emulator.testing import expect

pytestmark = pytest.mark.kernel

ICMPV6, UNREACHABLE_PORT = 58, 1 << 8 | 4
IPV6_HDRINCL = 36  # linux/in6.h


@pytest.fixture
def dual(build: Callable[..., Any]) -> Callable[..., Any]:
    """A site in which VPC and subnets have IPv6 blocks, and A, B and C an address each."""

    def make(profile: str = "tencent") -> Any:
        site = build(profile)
        site.vpc.assign_ipv6_cidr("2001:db8:0:1600::/56")
        for cvm, subnet in ((site.a, site.web), (site.b, site.web), (site.c, site.db)):
            if subnet.ipv6_cidr is None:
                subnet.assign_ipv6_cidr()
            cvm.eni.assign_ipv6_addresses()
        return site

    return make


def reaches(one: Any, other: Any) -> bool:
    return bool(one.ping(other, ipv6=True, wait_s=10).received)


def misses(one: Any, other: Any) -> bool:
    return not one.ping(other, ipv6=True, wait_s=0.3).received


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_a_vpc_gets_ipv6_while_it_is_logged(dual: Any, build: Any, profile: str) -> None:
    """Flow logs, an ACL and groups that were there before hold for it, too; both families are in one ledger."""
    site = build(profile)
    site.log(site.vpc)
    acl = site.vpc.create_network_acl()
    acl.allow("ingress")
    acl.allow("egress")
    acl.associate(site.web)
    assert site.a.ping(site.c).received == 1
    site.vpc.assign_ipv6_cidr()
    for subnet in (site.web, site.db):
        subnet.assign_ipv6_cidr()
    for cvm in (site.a, site.c):
        cvm.eni.assign_ipv6_addresses()

    assert reaches(site.a, site.c)
    acl.deny("ingress", cidr=site.db.ipv6_cidr, priority=1)
    assert misses(site.a, site.c)
    site.lab.audit().check()

    found = site.records()
    protocols = {record["protocol"] for record in found if record["log-status"] == "OK"}
    assert protocols == {1, ICMPV6}
    refused = [record for record in found if record["action"] == "REJECT"]
    assert {record["srcaddr"] for record in refused} == {site.c.ipv6_addresses[0]}
    assert "network ACL" in site.lab.explain(refused[0]).text
    expect(site.a >> site.c).icmpv6().on(site.a.eni).accept(packets=2)
    quiet = [record.meta["eni_id"] for record in found if record["log-status"] == "NODATA"]
    assert quiet == [site.b.eni.id], "it spoke neither"


def test_an_open_port_serves_both_families(dual: Any) -> None:
    site = dual()
    addresses = [site.b.ip, site.b.ipv6_addresses[0]]
    with site.b.listen(22), site.b.listen(53, protocol="udp") as ear:
        assert [site.a.scan(address, [22]) for address in addresses] == [{22: "open"}] * 2
        for address in addresses:
            site.a.udp(address, 53, wait_s=0.01)
        seen = [ear.socket.recvfrom(9)[1][0].removeprefix("::ffff:") for _ in addresses]
    assert seen == [site.a.ip, site.a.ipv6_addresses[0]]
    assert site.a.tcp(site.b, 443).outcome == "answered"


def test_addresses_come_and_go_while_packets_pass(dual: Any) -> None:
    site = dual()
    site.log(site.vpc)
    friends, guarded = site.vpc.create_security_group("friends"), site.vpc.create_security_group("guarded")
    friends.allow("egress")
    friends.allow("ingress")
    guarded.allow("ingress", protocol="icmpv6", cidr=friends)
    site.a.eni.set_security_groups([friends])
    site.c.eni.set_security_groups([guarded])
    first = site.a.ipv6_addresses[0]

    more = site.a.eni.assign_ipv6_addresses(["2001:db8:0:1600::77", "2001:db8:0:1600:5::"])
    assert site.a.ipv6_addresses == [first, *more]
    for address in site.a.ipv6_addresses:
        command = ["ping", "-n", "-c", "1", "-W", "10", "-I", address, site.c.ipv6_addresses[0]]
        assert site.a.run(command).returncode == 0, "a member's new address is a member"
    assert f"{more[0]} A" in site.b.run(["cat", "/etc/hosts"]).stdout
    site.a.eni.unassign_ipv6_addresses([first, "2001:0DB8:0:1600::0077"])
    assert site.a.ipv6_addresses == [more[1]]
    assert reaches(site.a, site.c)
    assert site.b.ping(first, wait_s=0.2).received == 0
    assert more[0] not in site.b.run(["cat", "/etc/hosts"]).stdout
    site.b.eni.assign_ipv6_addresses([first])
    assert misses(site.b, site.c), "who gets an address later is no member for that"
    site.lab.audit().check()

    sources = {record["srcaddr"] for record in site.records(site.c.eni) if record["protocol"] == ICMPV6}
    assert sources >= {first, *more}


def test_several_enis_each_with_its_way(dual: Any) -> None:
    site = dual()
    site.log(site.vpc)
    spare = site.db.create_eni("spare", ipv6=True)
    spare.attach(site.a)
    (address,) = spare.ipv6_addresses

    assert site.a.ipv6_addresses == [site.a.eni.ipv6_addresses[0], address]
    assert reaches(site.c, spare)
    late = spare.assign_ipv6_addresses()[0]
    assert site.b.ping(late).received == 1
    spare.detach()
    assert site.b.ping(late, wait_s=0.2).received == 0
    assert reaches(site.a, site.b)
    site.lab.audit().check()

    went = {(record["srcaddr"], record["dstaddr"]) for record in site.records(spare) if record["protocol"] == ICMPV6}
    assert went >= {(address, site.c.ipv6_addresses[0]), (late, site.b.ipv6_addresses[0])}


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_errors_belong_to_what_they_are_about(dual: Any, wire: Any, profile: str) -> None:
    """A lets nothing in; what C's kernel says to a closed port passes by the state of A's own datagram."""
    site = dual(profile)
    site.log(site.a.eni)
    closed = site.vpc.create_security_group()
    closed.allow("egress")
    site.a.eni.set_security_groups([closed])
    site.c.eni.security_groups[0].allow("ingress", cidr="::/0")
    with closing(site.a.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sender:
        sender.connect((site.c.ipv6_addresses[0], 9))
        sender.send(b"anybody?")
        wire.drain()
        with pytest.raises(ConnectionRefusedError):
            sender.send(b"anybody?")

    (error,) = [record for record in site.records() if record["protocol"] == ICMPV6]
    assert (error["action"], error["packets"], error["bytes"]) == ("ACCEPT", 1, 40 + 8 + 40 + 8 + 8)
    assert error["dstport"] == (None if profile == "alibaba" else UNREACHABLE_PORT)


def test_a_connection_goes_on_when_its_rule_goes(dual: Any) -> None:
    site = dual()
    guard = site.vpc.create_security_group()
    rule = guard.allow("ingress", protocol="tcp", port=80, cidr="2001:db8:0:1600::/64")
    site.c.eni.set_security_groups([guard])
    with closing(site.c.socket(socket.AF_INET6)) as ear, closing(site.a.socket(socket.AF_INET6)) as caller:
        ear.bind(("::", 80))
        ear.listen()
        caller.connect((site.c.ipv6_addresses[0], 80))
        with closing(ear.accept()[0]) as answerer:
            guard.remove(rule)
            caller.sendall(b"still there?")
            assert answerer.recv(99) == b"still there?"
            with closing(site.b.socket(socket.AF_INET6)) as late:
                late.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    late.connect((site.c.ipv6_addresses[0], 80))


def test_what_is_refused_changes_nothing(dual: Any) -> None:
    site = dual()
    before = site.a.ipv6_addresses
    with pytest.raises(InvalidValue, match="not inside"):
        site.a.eni.assign_ipv6_addresses(["2001:db8:0:1600::55", "2001:db8::1"])
    plain = site.vpc.create_subnet("10.16.9.0/24").run_instance("plain")
    with pytest.raises(InvalidValue, match="has no IPv6 address; an ENI gets one by assign_ipv6_addresses"):
        site.a.ping(plain, ipv6=True)

    assert site.a.ipv6_addresses == before
    assert reaches(site.a, site.b)
    assert plain.run(["ping", "-c", "1", before[0]]).returncode != 0


@pytest.mark.parametrize("kind", ["tencent", "alibaba", "alibaba starved"])
def test_fragments_are_recorded_as_they_were_on_the_wire(dual: Any, wire: Any, tmp_path: Path, kind: str) -> None:
    """Those of datagrams and of a ping; a piece whose others never come is in the audit alone."""
    profile, *starved = kind.split()
    site = dual(profile)
    site.log(site.vpc)
    if starved:
        starve(site.lab)
    target = site.c.ipv6_addresses[0]
    wire.deafen(site.b)
    with site.a.eni.capture(tmp_path / "a.pcap"), site.c.eni.capture(tmp_path / "c.pcap"):
        with closing(site.a.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sender:
            sender.bind(("::", 5000))
            for size in (100, 1452, 1453, 4000, 9000, 4000):
                sender.sendto(b"x" * size, (target, 9))
                wire.drain()
        assert site.a.run(["ping", "-n", "-c", "2", "-s", "3000", target]).returncode == 0
    lonely = struct.pack(">BBHL", 17, 0, 1, 77) + struct.pack(">HHHH", 5000, 9, 2000, 0) + b"x" * 1000
    with closing(site.a.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        packet = wire.packet(site.a.ipv6_addresses[0], target, 44, lonely)
        sender.sendto(packet, (target, 0))
    wire.drain()
    site.lab.audit().check()

    records = [record for record in site.records() if record["log-status"] == "OK"]
    for cvm, name in ((site.a, "a.pcap"), (site.c, "c.pcap")):
        with (tmp_path / name).open("rb") as stream:
            sizes = [len(frame) - 14 for _, frame in dpkt.pcap.Reader(stream)]
        mine = [record for record in records if record.meta["eni_id"] == cvm.eni.id]
        assert sum(record["packets"] for record in mine) == len(sizes)
        assert sum(record["bytes"] for record in mine) == sum(sizes)
        (datagrams,) = [record for record in mine if record["protocol"] == 17]
        assert (datagrams["srcport"], datagrams["dstport"]) == (5000, 9)
        assert datagrams["packets"] == 1 + 1 + 2 + 3 + 7 + 3
    found = site.topic.search(f'dstaddr:"{target}"')
    assert [record.id for record in found] == [record.id for record in records if record["dstaddr"] == target]


def test_a_vpc_without_ipv6_takes_none_and_the_audit_knows(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.a.eni, site.b.eni)
    router = site.lab.fabric.vpcs[site.vpc.id].attached[site.a.eni.id].link.intf1.MAC()
    head = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in (router, site.a.eni.mac)) + b"\x86\xdd"
    with closing(site.a.socket(socket.AF_PACKET, socket.SOCK_RAW)) as link:
        link.bind(("eth0", 0))
        for _ in range(3):
            link.send(head + wire.packet("2001:db8::1", "2001:db8::2", 17, wire.udp(1, 2)))
    wire.drain()
    assert site.a.ping(site.b).received == 1

    assert site.lab.audit().check().malformed == 3
    assert {record["protocol"] for record in site.records()} == {1}
