"""The life of a ``lab`` with two CVMs, one ping, one window, one search: against stock Mininet's start, ping, stop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import measure
from measure import Figures

from emulator.lab import Lab
from emulator.pytest_plugin import START_S

AT_MOST = 0.5
ROUNDS = 15
WARM_UP = 3

parts: dict[str, list[float]] = defaultdict(list)
"""Seconds of each step of our lab, a round each."""


@contextmanager
def step(name: str) -> Iterator[None]:
    begun = measure.now()
    yield
    parts[name].append(measure.now() - begun)


def life() -> None:
    with step("open"):
        lab = Lab(start=START_S)
    with step("vpc"):
        subnet = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24")
    with step("cvms"):
        a = subnet.run_instance("A", private_ip="10.16.0.22")
        b = subnet.run_instance("B", private_ip="10.16.0.40")
    with step("flow log"):
        topic = lab.logs.create_topic("accept")
        a.eni.create_flow_log("ping", topic=topic)
    with step("ping"):
        reply = a.ping(b)
    with step("window"):
        lab.clock.advance(minutes=15)
    with step("search"):
        rows = topic.search("10.16.0.40")
    with step("close"):
        lab.close()
    assert reply.received == 1
    assert [row["packets"] for row in rows if row["log-status"] == "OK"] == [1, 1]


def test_life_of_a_lab_with_two_cvms(figures: Figures) -> None:
    measure.want("unshare", "mnexec", "brctl", "ifconfig")
    with measure.apart("stock_mininet.py") as stock_mininet:

        def stock_life() -> float:
            times = stock_mininet.ask("2")
            return float(times["start"] + times["ping"] + times["stop"])

        measure.in_turns(WARM_UP, ours=lambda: measure.timed(life), stock=stock_life)
        parts.clear()
        runs = measure.in_turns(ROUNDS, ours=lambda: measure.timed(life), stock=stock_life)
    ratio = measure.ratio(runs["ours"], runs["stock"])
    figures.note(
        "life of a lab",
        ours_s=median(runs["ours"]),
        stock_s=median(runs["stock"]),
        ratio=ratio,
        steps_s={name: median(times) for name, times in parts.items()},
    )

    assert ratio <= AT_MOST
