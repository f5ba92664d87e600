"""400 CVMs with ENIs, default security group and routes, ready for packets: against stock Mininet's bare 400 hosts."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import Any

import measure
from measure import Figures

from emulator.lab import Lab

CVMS = int(os.environ.get("VPCLAB_BENCH_CVMS", "400"))
FASTER_UP, FASTER_DOWN = 9, 150
ROUNDS = 3
"""Of ours, before stock Mininet's one and again after it."""


def ours() -> dict[str, float]:
    measure.until_taken_down()
    begun = time.perf_counter()
    lab = Lab()
    subnet = lab.create_vpc("10.0.0.0/16").create_subnet("10.0.0.0/16")
    cvms = subnet.run_instances([f"h{number}" for number in range(CVMS)])
    ready = time.perf_counter()
    answered = cvms[0].ping(cvms[-1]).received
    pinged = time.perf_counter()
    lab.close()
    down = time.perf_counter()
    assert answered == 1
    return {"start": ready - begun, "stop": down - pinged}


def test_400_cvms_up_and_down(figures: Figures) -> None:
    measure.want("unshare", "mnexec", "brctl", "ifconfig")
    with measure.apart("stock_mininet.py") as stock_mininet:
        stock_mininet.ask("2")
        ours()
        runs = [ours() for _ in range(ROUNDS)]
        measure.until_taken_down()
        stock: dict[str, Any] = stock_mininet.ask(str(CVMS))
        runs += [ours() for _ in range(ROUNDS)]
    up, down = (median(run[name] for run in runs) for name in ("start", "stop"))
    figures.note(
        "up and down",
        cvms=CVMS,
        up_s=up,
        stock_up_s=stock["start"],
        times_faster_up=stock["start"] / up,
        down_s=down,
        stock_down_s=stock["stop"],
        times_faster_down=stock["stop"] / down,
    )

    assert stock["answered"]
    assert stock["start"] / up >= FASTER_UP
    assert stock["stop"] / down >= FASTER_DOWN
