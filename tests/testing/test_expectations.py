"""Expectations of what passed in a lab: two ends, rules, windows, captures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import InvalidValue
from emulator.testing import ExpectationFailed, exactly, expect

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_a_ping_and_a_refusal(build: Callable[..., Any], profile: str, tmp_path: Path) -> None:
    site = build(profile)
    a, b, lab = site.a, site.b, site.lab
    closed = site.vpc.create_security_group("closed")
    pings = closed.allow("ingress", protocol="icmp")
    wall = closed.deny("ingress", protocol="udp", port=53)
    b.eni.set_security_groups([closed])
    site.log(site.web)
    capture = tmp_path / "b.pcap"
    with a.eni.capture(capture):
        a.ping(b, count=9)
        with a.socket(type=2) as mouth:
            mouth.sendto(b"?", (b.ip, 53))
            mouth.sendto(b"?", (b.ip, 53))
            mouth.sendto(b"?", (b.ip, 54))
    site.records()

    request = expect(a >> b).icmp().accept(packets=9, by=pings)
    reply = expect(b.eni >> a.ip).icmp().accept(packets=9, bytes=756)
    asked = expect(a >> b).udp(53).on(a.eni).accept(packets=2, bytes=58)
    stopped = expect(a >> b).udp(53).reject(packets=2, by=wall)
    expect(a >> b).udp(53).on(b.eni).within((lab.clock.now - 86_400, lab.clock.now)).reject(by=closed)
    by_default = expect(a >> b).udp(54).reject(packets=1, by=closed)
    left = expect(a >> b).udp(54).on(a.eni).accept()
    expect(b >> a).udp().never()
    exactly(request, reply, asked, stopped, by_default, left)

    with pytest.raises(ExpectationFailed, match="by rule"):
        expect(a >> b).udp(53).reject(by=pings)
    with pytest.raises(ExpectationFailed, match=f"by {site.vpc.default_security_group.id}"):
        expect(a >> b).udp(54).reject(by=site.vpc.default_security_group)
    with pytest.raises(ExpectationFailed) as caught:
        expect(a >> b).udp(53).accept(packets=2)
    text = str(caught.value)
    assert re.match(r"expected A >> B, udp, port 53: ACCEPT, 2 packets\n", text)
    assert f"counted at {a.eni.id}: ACCEPT 2 packets, 58 bytes, REJECT 0 packets, 0 bytes" in text
    assert f"counted at {b.eni.id}: ACCEPT 0 packets, 0 bytes, REJECT 2 packets, 58 bytes" in text
    assert f"captured at {a.eni.id}: {capture}" in text
    with pytest.raises(ExpectationFailed, match="unexpected") as caught:
        exactly(request, reply, asked, by_default, left)
    assert f"security group {closed.id} (closed), rule {wall.id}" in str(caught.value)


def test_why_there_is_no_record(build: Callable[..., Any], open_lab: Callable[..., Any]) -> None:
    site = build()
    a, b = site.a, site.b
    with pytest.raises(ExpectationFailed, match="the lab has no flow log"):
        expect(a >> b).accept()
    site.log(a.eni, traffic="REJECT")
    with pytest.raises(ExpectationFailed, match=r"no topic holds records at lab time .*lab.clock.advance"):
        expect(a >> b).accept()
    site.records()
    with pytest.raises(ExpectationFailed, match="record REJECT only"):
        expect(a >> b).never()
    other = open_lab()
    stranger = other.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24").run_instance()
    with pytest.raises(InvalidValue, match="two labs"):
        expect(a >> stranger)
