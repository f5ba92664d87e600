"""Scenarios: short stories on real packets that end in records. A new one is a module and a line in ``GROUPS``."""

from __future__ import annotations

from scenarios import (
    audit_delivery,
    bandwidth_hog,
    baseline,
    beacon,
    bottleneck,
    broadcast_storm,
    cross_region,
    elk_and_splunk,
    exfiltration,
    format_change,
    host_sweep,
    icmp_accepted_reply_rejected,
    internet_and_nat,
    ipv6,
    known_threat,
    late_delivery,
    multi_eni,
    nodata,
    ping,
    policy_optimisation,
    port_scan,
    rule_change_mid_window,
    skipdata,
    spoofing,
    ssh_accepted_rdp_rejected,
    ssh_brute_force,
    traffic_cost,
    uncommon_protocol,
    unreachable_acl,
    unreachable_security_group,
    user_regions,
    vpc_wide,
)
from scenarios.story import Outcome, Scenario, Story, Teller, tell

__all__ = ["GROUPS", "SCENARIOS", "Outcome", "Scenario", "Story", "Teller", "tell"]

GROUPS: dict[str, tuple[Scenario, ...]] = {
    "from the documentation": (
        ping.SCENARIO,
        icmp_accepted_reply_rejected.SCENARIO,
        ssh_accepted_rdp_rejected.SCENARIO,
        vpc_wide.SCENARIO,
        unreachable_security_group.SCENARIO,
        unreachable_acl.SCENARIO,
        cross_region.SCENARIO,
        bandwidth_hog.SCENARIO,
        baseline.SCENARIO,
        bottleneck.SCENARIO,
        user_regions.SCENARIO,
        traffic_cost.SCENARIO,
        policy_optimisation.SCENARIO,
        broadcast_storm.SCENARIO,
        host_sweep.SCENARIO,
        known_threat.SCENARIO,
        uncommon_protocol.SCENARIO,
        audit_delivery.SCENARIO,
        elk_and_splunk.SCENARIO,
    ),
    "attacks": (
        port_scan.SCENARIO,
        ssh_brute_force.SCENARIO,
        beacon.SCENARIO,
        exfiltration.SCENARIO,
        spoofing.SCENARIO,
    ),
    "traps": (
        nodata.SCENARIO,
        skipdata.SCENARIO,
        late_delivery.SCENARIO,
        rule_change_mid_window.SCENARIO,
        internet_and_nat.SCENARIO,
        multi_eni.SCENARIO,
        ipv6.SCENARIO,
        format_change.SCENARIO,
    ),
}
"""Every scenario, in the order in which a newcomer should meet them."""

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for group in GROUPS.values() for scenario in group}
"""The same by name."""
