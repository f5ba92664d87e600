"""Forwarding 60-byte UDP, 1,000 flows, both ENIs logged: against the same rules unlogged, and softflowd beside it.

VPCs of one lab, alike but for what watches them, take turns of some thousand packets. A packet's whole way is one call
of the sender into the kernel, so what it costs is processor time of this thread, which the rest of the machine disturbs
less than it disturbs the clock on the wall.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import softflow
import traffic
from measure import Figures

from emulator.lab import Lab
from emulator.pytest_plugin import START_S

AT_LEAST = 0.85
ROUNDS, PASSES = 200, 4
"""Turns, and how often each sends its 1,000 flows."""


def test_logging_misses_nothing_and_leaves_most_of_the_speed(figures: Figures, tmp_path: Path) -> None:
    with Lab(start=START_S) as lab, two_cvms(lab) as unlogged, two_cvms(lab) as logged, two_cvms(lab) as watched:
        topic = lab.logs.create_topic("all")
        logged.vpc.create_flow_log(topic=topic)
        compared = traffic.in_turns(ROUNDS, PASSES, without=unlogged, with_=logged)
        sent, arrived = logged.sender.sent, logged.arrived()
        lab.clock.advance(minutes=15)
        records = topic.search(f"dstport:{traffic.PORT}").arrow()
        accounted = [
            pc.sum(records.filter(pc.equal(records["interface-id"], cvm.eni.id))["packets"]).as_py()
            for cvm in (logged.sending, logged.receiving)
        ]
        beside = softflowd(lab, unlogged, watched, tmp_path)
    figures.note(
        "forwarding",
        ratio=compared.ratio,
        wall_ratio=compared.wall_ratio,
        unlogged_kpps=compared.kpps["without"],
        logged_kpps=compared.kpps["with_"],
        packets=sent,
        flows=records.num_rows // 2,
        unaccounted=2 * sent - sum(accounted),
        softflowd=beside,
    )

    assert arrived == sent
    assert accounted == [sent, sent]
    assert records.num_rows == 2 * 1000
    assert compared.ratio >= AT_LEAST


def two_cvms(lab: Lab) -> traffic.Path:
    vpc = lab.create_vpc("10.16.0.0/16")
    subnet = vpc.create_subnet("10.16.0.0/24")
    return traffic.path(lab, vpc, subnet.run_instance(), subnet.run_instance(), traffic.thousand_flows())


def softflowd(lab: Lab, alone: traffic.Path, watched: traffic.Path, folder: Path) -> dict[str, Any] | str:
    """What softflowd on the sender's interface costs and loses; a sentence where it cannot be had."""
    try:
        with softflow.watching(lab, watched, folder) as exporter:
            before = watched.sender.sent
            compared = traffic.in_turns(ROUNDS, PASSES, without=alone, with_=watched)
            sent = watched.sender.sent - before
            losses = exporter.losses(sent)
    except softflow.Missing as missing:
        return str(missing)
    return {"ratio": compared.ratio, "wall_ratio": compared.wall_ratio, "packets": sent, **losses}
