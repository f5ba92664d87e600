"""A window with 65,535 flows on one ENI, from its end to searchable: against nft's own list of as many elements."""

from __future__ import annotations

from statistics import median

import measure
import traffic
from measure import Figures

from emulator.fabric.tables import CAPACITY
from emulator.lab import Lab
from emulator.pytest_plugin import START_S

AT_MOST = 0.2
ROUNDS = 5
SKIPPED = CAPACITY // 50
"""The kernel lets a table grow in the background: of 65,535 flows that begin within 0.2 s it skips some, and tells."""


def test_a_full_window_is_searchable_in_a_fraction_of_what_nft_takes_to_list_it(figures: Figures) -> None:
    measure.want("unshare", "nft")
    with Lab(start=START_S) as lab, measure.apart("nft_list.py", str(CAPACITY)) as nft, full(lab) as path:

        def window() -> float:
            topic = lab.logs.create_topic(f"window-{lab.clock.now:.0f}")
            log = path.sending.eni.create_flow_log(topic=topic)
            path.sender.send()
            begun = measure.now()
            lab.clock.advance(minutes=10)
            (found,) = topic.search("srcport:1")
            took = measure.now() - begun
            (counted,) = topic.search("log-status:OK | select count(*) as records, sum(packets) as packets")
            skipped = sum(record.meta["skipped"] for record in topic.search("log-status:SKIPDATA"))
            log.delete()
            assert found["packets"] == 1
            assert counted["packets"] + skipped == CAPACITY
            assert skipped <= SKIPPED
            return took

        def listed() -> float:
            answer = nft.ask()
            assert answer["elements"] == CAPACITY
            return float(answer["seconds"])

        measure.in_turns(1, ours=window, nft=listed)
        runs = measure.in_turns(ROUNDS, ours=window, nft=listed)
    ratio = measure.ratio(runs["ours"], runs["nft"])
    figures.note("full window", flows=CAPACITY, ours_s=median(runs["ours"]), nft_s=median(runs["nft"]), ratio=ratio)

    assert ratio <= AT_MOST


def full(lab: Lab) -> traffic.Path:
    """Two CVMs with as many flows between them as a flow table holds."""
    vpc = lab.create_vpc("10.16.0.0/16")
    subnet = vpc.create_subnet("10.16.0.0/24")
    flows = [(port, traffic.PORT) for port in range(1, CAPACITY + 1)]
    return traffic.path(lab, vpc, subnet.run_instance(), subnet.run_instance(), flows)
