"""Changes that reach many lists of rules at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.testing import expect

LISTS = 60


@pytest.mark.kernel
def test_one_group_in_many_lists_changes_at_once(open_lab: Callable[..., Any]) -> None:
    """What their chains say is written ahead, and they only lead there; then they say it themselves again."""
    lab = open_lab(quotas={"groups": LISTS + 20})
    vpc = lab.create_vpc("10.16.0.0/16")
    subnet = vpc.create_subnet("10.16.0.0/22")
    shared = vpc.create_security_group("shared")
    shared.allow("egress")
    for port in range(1, 13):
        shared.allow("ingress", protocol="tcp", port=port, cidr=vpc.create_security_group(f"peer {port}"))
    cvms = []
    for number in range(LISTS):
        own = vpc.create_security_group(f"own {number}")
        own.deny("ingress", protocol="tcp", port=9, cidr="192.0.2.0/24")
        cvms.append(subnet.run_instance(f"C{number}", security_groups=[own, shared]))
    subnet.create_flow_log(topic=lab.logs.create_topic("t"))
    first, last = cvms[0], cvms[-1]

    assert first.ping(last, wait_s=0.05).received == 0
    opened = shared.allow("ingress", protocol="icmp")
    assert first.ping(last).received == last.ping(first).received == 1
    shared.remove(opened)
    assert first.ping(last, wait_s=0.05).received == 0
    lab.clock.advance(minutes=10)

    expect(first >> last).icmp().on(last.eni).accept(packets=2)  # one is a reply
    expect(first >> last).icmp().on(last.eni).reject(packets=2)
