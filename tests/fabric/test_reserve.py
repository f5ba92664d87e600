"""The reserve of counters for new flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.errors import KernelRefused
from emulator.fabric import elements, netlink, reserve
from emulator.fabric.client import KeeperClient

pytestmark = pytest.mark.kernel


def test_every_second_counter_is_left_and_it_is_made_once(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build()
    keeper, made = site.lab.fabric.keeper, []
    reserve._kept.discard(keeper)
    make = KeeperClient.make_namespaces

    def noted(self: KeeperClient, count: int, tag: str, *more: Any) -> list[int]:
        made.extend(spaces := make(self, count, tag, *more))
        return spaces

    monkeypatch.setattr(KeeperClient, "make_namespaces", noted)
    site.log(site.a.eni)
    site.log(site.b.eni)

    (ns,) = made
    (answer,) = keeper.netlink([(ns, netlink.NETFILTER, elements.dump_request("reserve"))])
    counts = [packets for _, packets, _ in elements.decode_counts(answer)]
    assert counts == [0] * reserve.FLOWS, "each has a counter"
    keeper.drop([ns])


def test_a_kernel_that_refuses_it_is_one_without(build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    site = build()
    reserve._kept.discard(site.lab.fabric.keeper)

    def refuse(*_: object) -> None:
        raise KernelRefused("no", errno=95, request="netns")

    monkeypatch.setattr(KeeperClient, "make_namespaces", refuse)
    site.log(site.a.eni)
    site.a.ping(site.b, count=2)
    assert sum(record["packets"] for record in site.records() if record["log-status"] == "OK") == 4
