"""Scenarios: short stories on real packets that end in records. A new one is a module and a line in ``SCENARIOS``."""

from __future__ import annotations

from scenarios import (
    icmp_accepted_reply_rejected,
    ping,
    port_scan,
    ssh_accepted_rdp_rejected,
    vpc_wide,
)
from scenarios.story import Outcome, Scenario, Story, Teller, tell

__all__ = ["SCENARIOS", "Outcome", "Scenario", "Story", "Teller", "tell"]

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        ping.SCENARIO,
        icmp_accepted_reply_rejected.SCENARIO,
        ssh_accepted_rdp_rejected.SCENARIO,
        vpc_wide.SCENARIO,
        port_scan.SCENARIO,
    )
}
"""Every scenario by its name, in the order in which a newcomer should meet them."""
