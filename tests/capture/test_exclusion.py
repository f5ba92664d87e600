"""Which flows no record is made of."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import numpy as np
import pytest

from emulator.capture.exclusion import excluded, for_records
from emulator.cloud.unrecorded import Unrecorded
from emulator.fabric.accounts import Harvest
from emulator.fabric.shapes6 import FLOW6
from emulator.fabric.tables import FLOW

DHCP = Unrecorded(protocol=17, ports=(67, 68))
ACTIVATION = Unrecorded(protocol=6, ports=(1688, None), network=IPv4Network("169.254.0.0/16"))
MULTICAST = Unrecorded(network=IPv4Network("224.0.0.0/4"))
HERE, THERE, SERVICE, GROUP = "10.16.0.22", "10.16.0.40", "169.254.0.51", "239.255.255.255"


@pytest.mark.parametrize(
    ("kinds", "flow", "expected"),
    [
        pytest.param([DHCP], (17, HERE, 68, THERE, 67), True, id="there"),
        pytest.param([DHCP], (17, THERE, 67, HERE, 68), True, id="and back"),
        pytest.param([DHCP], (17, HERE, 68, THERE, 68), False, id="one port is not enough"),
        pytest.param([DHCP], (6, HERE, 68, THERE, 67), False, id="another protocol"),
        pytest.param([ACTIVATION], (6, HERE, 5000, SERVICE, 1688), True, id="one port and network"),
        pytest.param([ACTIVATION], (6, SERVICE, 1688, HERE, 5000), True, id="its answer"),
        pytest.param([ACTIVATION], (6, HERE, 5000, THERE, 1688), False, id="another network"),
        pytest.param([MULTICAST], (2, HERE, 0, GROUP, 0), True, id="a network alone"),
        pytest.param([MULTICAST], (2, HERE, 0, "240.0.0.0", 0), False, id="behind it"),
        pytest.param([DHCP, MULTICAST], (2, HERE, 0, GROUP, 0), True, id="any of several"),
        pytest.param([], (17, HERE, 68, THERE, 67), False, id="nothing"),
        pytest.param([Unrecorded()], (1, HERE, 0, THERE, 0), True, id="everything"),
    ],
)
def test_a_flow(kinds: list[Unrecorded], flow: tuple[int, str, int, str, int], expected: bool) -> None:
    protocol, saddr, sport, daddr, dport = flow
    flows = np.zeros(1, FLOW)
    flows["protocol"], flows["sport"], flows["dport"] = protocol, sport, dport
    flows["saddr"], flows["daddr"] = int(IPv4Address(saddr)), int(IPv4Address(daddr))

    assert excluded(flows, kinds).tolist() == [expected]
    assert len(for_records(Harvest(flows, 0), kinds).flows) == 1 - expected


def test_multicast_of_ipv6_is_told_by_its_first_bits() -> None:
    kinds = [MULTICAST, Unrecorded(network=IPv6Network("ff00::/8"))]
    ends = [(0xFF02 << 48, 0x1), (0x2001_0DB8 << 32, 0x1), (0xFE80 << 48, 0xFF00 << 48)]
    flows6 = np.array([(0, 17, 0x2001_0DB8 << 32, 5, *end, 1, 2, 1, 48, 0) for end in ends], FLOW6)

    assert excluded(flows6, kinds).tolist() == [True, False, False]
    kept = for_records(Harvest(np.empty(0, FLOW), 3, flows6=flows6), kinds, lost=2)
    assert (len(kept.flows6), kept.skipped) == (2, 5)
