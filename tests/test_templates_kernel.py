"""Prefix lists and parameter templates in the kernel: rules follow them before the call that changes them returns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from emulator.errors import InUse, KernelRefused, NotFound

pytestmark = pytest.mark.kernel

TCP, UDP, ICMP = 6, 17, 1


@pytest.fixture
def passes(wire: Any) -> Callable[..., bool]:
    """Whether a packet of a flow that was never seen arrives."""
    sports = itertools.count(20_000)

    def ask(src: Any, dst: Any, protocol: int = UDP, port: int = 53) -> bool:
        sport = next(sports)
        payload = wire.udp(sport, port) if protocol == UDP else wire.icmp(8, ident=sport)
        if protocol == TCP:
            payload = wire.tcp(src.ip, dst.ip, sport, port)
        with wire.listening(dst, protocol) as heard:
            wire.send(src, dst.ip, protocol, payload)
            return payload in [packet[wire.HEAD :] for packet in heard()]

    return ask


def guarded(site: Any) -> Any:
    """A group of its own for C, without rules; A and B may send."""
    guard = site.vpc.create_security_group("guard")
    site.c.eni.set_security_groups([guard])
    return guard


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
@pytest.mark.parametrize("rules_before", [0, 20], ids=["a short list", "a long list"])
def test_addresses_come_and_go(
    build: Callable[..., Any], passes: Callable[..., bool], profile: str, rules_before: int
) -> None:
    site = build(profile)
    create = site.lab.create_address_template if profile == "tencent" else site.lab.create_prefix_list
    listed = create("friends", entries=["10.99.0.0/24", site.a.ip])
    guard = guarded(site)
    for port in range(rules_before):
        guard.deny("ingress", protocol="tcp", port=port + 1)
    rule = guard.allow("ingress", cidr=listed)

    assert (passes(site.a, site.c), passes(site.b, site.c)) == (True, False)
    listed.add(site.b.ip)
    assert (passes(site.a, site.c), passes(site.b, site.c)) == (True, True)
    listed.remove(site.a.ip, "10.99.0.0/24")
    assert (passes(site.a, site.c), passes(site.b, site.c)) == (False, True)
    with pytest.raises(InUse):
        listed.delete()
    guard.remove(rule)
    listed.delete()
    with pytest.raises(NotFound):
        listed.entries  # noqa: B018


def test_services_and_groups_of_templates(build: Callable[..., Any], passes: Callable[..., bool]) -> None:
    site = build()
    lab, guard = site.lab, guarded(site)
    names = lab.create_service_template("names", entries=["UDP:53", "TCP:53"])
    web = lab.create_service_template("web", entries=["TCP:80,443"])
    service = lab.create_service_group("all", templates=[names, web])
    one, two = (lab.create_address_template(entries=[cvm.ip]) for cvm in (site.a, site.b))
    rule = guard.allow("ingress", port=service, cidr=lab.create_address_group(templates=[one]))
    group = lab.find(rule.peer)

    packets = [(UDP, 53), (TCP, 443), (UDP, 443), (ICMP, 0), (TCP, 8080)]
    assert [passes(site.a, site.c, *packet) for packet in packets] == [True, True, False, False, False]
    web.add("TCP:8000-8100", "ICMP")
    assert [passes(site.a, site.c, *packet) for packet in packets] == [True, True, False, True, True]
    service.remove(names)
    assert [passes(site.a, site.c, *packet) for packet in packets] == [False, True, False, True, True]
    assert not passes(site.b, site.c, TCP, 80)
    group.add(two)
    assert passes(site.b, site.c, TCP, 80)
    site.log(site.c.eni)
    passes(site.b, site.c, TCP, 80)
    (record,) = [record for record in site.records() if record["dstport"] == 80]
    assert lab.explain(record).rule == rule


@pytest.mark.parametrize("rules_before", [0, 20], ids=["a short list", "a long list"])
def test_ports_come_and_go(build: Callable[..., Any], passes: Callable[..., bool], rules_before: int) -> None:
    site = build("alibaba")
    listed, guard = site.lab.create_port_list("web", entries=["443", "8000-8100"], max_entries=4), guarded(site)
    for port in range(rules_before):
        guard.deny("ingress", protocol="tcp", port=port + 1)
    rule = guard.allow("ingress", protocol="tcp", port=listed)

    packets = [(TCP, 443), (TCP, 8100), (TCP, 8101), (UDP, 443)]
    assert [passes(site.a, site.c, *packet) for packet in packets] == [True, True, False, False]
    listed.add("8101")
    assert [passes(site.a, site.c, *packet) for packet in packets] == [True, True, True, False]
    listed.remove("443", "8000-8100", "8101")
    assert not any(passes(site.a, site.c, *packet) for packet in packets)
    listed.add("443")
    site.log(site.c.eni)
    assert passes(site.a, site.c, TCP, 443)
    (record,) = [record for record in site.records() if record["dstport"] == 443]
    assert site.lab.explain(record).rule == rule
    with pytest.raises(InUse):
        listed.delete()
    guard.remove(rule)
    listed.delete()


def test_a_list_serves_rules_in_two_vpcs_and_a_refusal_of_one_kernel_leaves_both_as_they_were(
    build: Callable[..., Any], passes: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build()
    listed, guard = site.lab.create_address_template(entries=["10.99.0.1"]), guarded(site)
    guard.allow("ingress", cidr=listed)
    other = site.lab.create_vpc("10.16.0.0/16")
    subnet = other.create_subnet("10.16.0.0/24")
    theirs = other.create_security_group()
    theirs.allow("ingress", cidr=listed)
    d, e = (subnet.run_instance(ip, private_ip=ip) for ip in (site.a.ip, "10.16.0.77"))
    e.eni.set_security_groups([theirs])
    listed.add(site.a.ip)
    assert (passes(site.a, site.c), passes(d, e)) == (True, True)
    listed.remove(site.a.ip)
    assert (passes(site.a, site.c), passes(d, e)) == (False, False)

    second = site.lab.fabric.vpcs[other.id]
    with monkeypatch.context() as broken:

        def refuse(text: str) -> None:
            raise KernelRefused("no room")

        broken.setattr(second.standing, "_change", refuse)
        with pytest.raises(KernelRefused):
            listed.add(site.a.ip)
    assert listed.entries == ("10.99.0.1",)
    assert (passes(site.a, site.c), passes(d, e)) == (False, False)
