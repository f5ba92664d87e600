"""A guest asks the provider's own services, gets an answer, and its packets are recorded as the provider documents."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from dnslib import DNSRecord

from emulator.services import desk

pytestmark = pytest.mark.kernel


def question(cvm: Any, address: Any, port: int, asked: bytes, bound_s: float) -> tuple[bytes, tuple[str, int]]:
    with cvm.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(bound_s)
        asker.sendto(asked, (str(address), port))
        answer, sender = asker.recvfrom(2000)
        return answer, sender


def get(cvm: Any, address: Any, path: str, bound_s: float) -> tuple[int, str]:
    with cvm.socket() as asker:
        asker.settimeout(bound_s)
        asker.connect((str(address), 80))
        asker.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        told = b""
        while part := asker.recv(4096):
            told += part
    head, _, body = told.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_metadata_dns_and_time(build: Callable[..., Any], wire: Any, profile: str) -> None:
    site = build(profile)
    site.log(site.vpc)
    services = site.lab.profile.services

    assert get(site.a, services.metadata, "/latest/meta-data/instance-id", wire.BOUND_S) == (200, site.a.id)
    assert get(site.a, services.metadata, "/latest/meta-data/nope", wire.BOUND_S) == (404, "")
    for address in services.dns:
        answer, sender = question(site.a, address, 53, DNSRecord.question("B").pack(), wire.BOUND_S)
        assert (DNSRecord.parse(answer).short(), sender) == (site.b.ip, (str(address), 53))
    answer, _ = question(site.a, services.ntp[0], 123, b"\x23" + bytes(47), wire.BOUND_S)
    assert struct.unpack_from(">L", answer, 40)[0] - 2_208_988_800 == int(site.lab.clock.now)
    wire.drain()
    site.lab.audit().check()

    records = [record for record in site.records() if record["log-status"] == "OK"]
    told = {(record.meta["direction"], record["srcaddr"], record["srcport"]) for record in records}
    assert {(direction, address, port) for direction, address, port in told if direction == "in"} == {
        ("in", str(services.metadata), 80),
        *(("in", str(address), 53) for address in services.dns),
        ("in", str(services.ntp[0]), 123),
    }
    asked = {(record["dstaddr"], record["dstport"]) for record in records if record.meta["direction"] == "out"}
    assert asked == {(address, port) for direction, address, port in told if direction == "in"}
    assert {record["action"] for record in records} == {"ACCEPT"}


def test_rules_hold_for_services_too(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.a.eni)
    services = site.lab.profile.services
    site.vpc.default_security_group.deny("egress", protocol="udp", port=53, priority=0)
    with pytest.raises(TimeoutError):
        question(site.a, services.dns[0], 53, DNSRecord.question("B").pack(), 0.1)
    assert question(site.a, services.ntp[0], 123, b"\x23" + bytes(47), wire.BOUND_S)

    actions = {record["dstport"]: record["action"] for record in site.records() if record.meta["direction"] == "out"}
    assert actions == {53: "REJECT", 123: "ACCEPT"}


def test_alibabas_groups_let_every_cvm_ask_for_metadata(build: Callable[..., Any], wire: Any) -> None:
    site = build("alibaba")
    site.log(site.a.eni)
    group = site.vpc.create_security_group(type="enterprise")
    group.deny("egress", priority=1)
    site.a.eni.set_security_groups([group])
    services = site.lab.profile.services

    with pytest.raises(TimeoutError):
        question(site.a, services.dns[0], 53, DNSRecord.question("B").pack(), 0.1)
    assert get(site.a, services.metadata, "/latest/meta-data/mac", wire.BOUND_S) == (200, site.a.eni.mac)

    (record,) = (record for record in site.records() if record["dstaddr"] == str(services.metadata))
    assert str(site.lab.explain(record).rule) == f"allow egress all to {services.metadata}/32"


def test_an_address_of_a_service_has_no_other_port(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    services = site.lab.profile.services
    for address, port in ((services.metadata, 53), (services.dns[0], 123)):
        with pytest.raises(TimeoutError):
            question(site.a, address, port, DNSRecord.question("B").pack(), 0.1)
    assert question(site.a, services.dns[0], 53, DNSRecord.question("B").pack(), wire.BOUND_S)


def test_vpcs_of_equal_addresses_are_told_their_own(build: Callable[..., Any], wire: Any) -> None:
    one = build()
    other = one.lab.create_vpc("10.16.0.0/16", name="other")
    subnet = other.create_subnet("10.16.0.0/24")
    cvm = subnet.run_instance("A", private_ip=one.a.ip)
    metadata = one.lab.profile.services.metadata

    for asker in (one.a, cvm):
        assert get(asker, metadata, "/latest/meta-data/instance-id", wire.BOUND_S) == (200, asker.id)
    cvm.terminate()
    subnet.delete()
    other.delete()
    assert get(one.a, metadata, "/latest/meta-data/instance-id", wire.BOUND_S) == (200, one.a.id)


def test_a_guest_that_says_nothing_is_hung_up_on(
    build: Callable[..., Any], wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "PATIENCE_S", 0.2)
    site = build()
    services = site.lab.profile.services
    with site.a.socket() as silent:
        silent.settimeout(wire.BOUND_S)
        silent.connect((str(services.metadata), 80))
        silent.sendall(b"GET /latest")
        assert question(site.b, services.dns[0], 53, DNSRecord.question("A").pack(), wire.BOUND_S)
        assert silent.recv(100) == b""


def test_nothing_is_started_for_a_lab_without_guests_and_nothing_is_left_of_one_with(build: Callable[..., Any]) -> None:
    def threads() -> int:
        return sum(thread.name == "vpclab services" for thread in threading.enumerate())

    before = threads()
    site = build()
    assert threads() == before
    site.a.socket().close()
    assert threads() == before + 1
    site.lab.close()
    assert threads() == before
