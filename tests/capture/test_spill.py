"""Where the kernel has no counter for a new flow, its packets are in the records all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starved import starve

from emulator.fabric import elements, netlink, spill

pytestmark = pytest.mark.kernel

Counts = dict[tuple[int, str], tuple[int, int]]


def counted(records: list[Any]) -> Counts:
    found = [record for record in records if record["log-status"] != "NODATA"]
    return {(record["dstport"], record["action"]): (record["packets"], record["bytes"]) for record in found}


def test_flows_that_found_a_counter_and_flows_that_did_not_are_one_account(
    build: Callable[..., Any], wire: Any
) -> None:
    """Packets of several sizes, before and after the counters were gone, in a window that a cut divides; one ENI's
    are read while another's stay."""
    site = build()
    site.log(site.vpc)
    wire.deafen(site.b)
    only_9 = site.vpc.create_security_group()
    only_9.allow("ingress", protocol="udp", port=9)
    site.b.eni.set_security_groups([only_9])

    def send(*sizes: int) -> None:
        for size in sizes:
            wire.send(site.a, site.b.ip, 17, wire.udp(5000, 9, bytes(size)))
            wire.send(site.a, site.b.ip, 17, wire.udp(5000, 7, bytes(size)))

    send(0, 100, 100)
    starve(site.lab)
    send(100, 300)
    site.log(site.a.eni, topic=site.lab.logs.create_topic("later", logset="tests"))  # A's tables are cut, B's go on
    send(300)
    audit = site.lab.audit()
    sent = site.records(site.a.eni)
    received = site.records(site.b.eni)

    packets, size = 6, 6 * 28 + 0 + 3 * 100 + 2 * 300
    assert counted(sent) == {(9, "ACCEPT"): (packets, size), (7, "ACCEPT"): (packets, size)}
    assert counted(received) == {(9, "ACCEPT"): (packets, size), (7, "REJECT"): (packets, size)}
    assert audit.ok, audit.text


def test_what_was_read_is_gone_from_the_kernel(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    site.log(site.vpc)
    wire.deafen(site.b)
    starve(site.lab)
    for number in range(3):
        wire.send(site.a, site.b.ip, 17, wire.udp(5000, number + 1))
        assert counted(site.records(site.a.eni)).keys() == {(n + 1, "ACCEPT") for n in range(number + 1)}

    fabric = site.lab.fabric.vpcs[site.vpc.id]
    names = [name for name, _ in spill.sets(fabric.accounts.shapes)]
    steps = [(fabric.ns, netlink.NETFILTER, elements.dump_request(name)) for name in names]
    answers = netlink.send(site.lab.fabric.keeper, steps, "read what spilt")

    assert len(names) == 3
    assert [list(elements.decode_counts(answer)) for answer in answers] == [[]] * 3


def test_a_kernel_without_quotas_tells_what_it_skipped(
    build: Callable[..., Any], wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "declare", lambda present: "add rule inet vpc spill no such thing\n")
    site = build()
    site.log(site.vpc)
    wire.deafen(site.b)
    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 9))
    assert {record["log-status"] for record in site.records(site.a.eni)} == {"OK"}

    begun = site.lab.clock.now
    starve(site.lab)
    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 9))
    wire.send(site.a, site.b.ip, 17, wire.udp(5000, 8))
    audit = site.lab.audit()
    (skip,) = (record for record in site.records(site.a.eni) if record["end"] > begun)

    assert (skip["log-status"], skip.meta["skipped"]) == ("SKIPDATA", 2)
    assert audit.ok, audit.text
