"""Which counted flows a provider writes no record of. Pure.

They are counted as any other, so the books balance with them; they are left out where records are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emulator.cloud.model import Network
from emulator.cloud.unrecorded import Unrecorded
from emulator.fabric.accounts import Flows, Harvest
from emulator.fabric.shapes6 import FLOW6

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def excluded(flows: Flows, kinds: Sequence[Unrecorded]) -> Mask:
    """True for each entry that is of one of these kinds."""
    found = np.zeros(len(flows), bool)
    for kind in kinds:
        found |= _is_of(flows, kind)
    return found


def for_records(harvest: Harvest, unrecorded: Sequence[Unrecorded], lost: int = 0) -> Harvest:
    """What records are made of, of both families; ``lost`` packets more found no room."""
    flows, flows6 = (_recorded(flows, unrecorded) for flows in (harvest.on_the_wire, harvest.on_the_wire6))
    return Harvest(flows, harvest.skipped + harvest.uncounted + lost, flows6=flows6)


def _recorded(flows: Flows, unrecorded: Sequence[Unrecorded]) -> Flows:
    found: Flows = flows[~excluded(flows, unrecorded)] if len(flows) else flows
    return found


def _is_of(flows: Flows, kind: Unrecorded) -> Mask:
    chosen = np.ones(len(flows), bool)
    if kind.protocol is not None:
        chosen &= flows["protocol"] == kind.protocol
    if kind.ports is not None:
        one, other = kind.ports
        there, back = flows["sport"] == one, flows["dport"] == one
        if other is not None:
            there, back = there & (flows["dport"] == other), back & (flows["sport"] == other)
        chosen &= there | back
    if kind.network is not None:
        chosen &= _within(flows, "saddr", kind.network) | _within(flows, "daddr", kind.network)
    return chosen


def _within(flows: Flows, side: str, network: Network) -> Mask:
    """True where that side's address is in the network; of one of IPv6 only the first 64 bits may be fixed."""
    if (flows.dtype == FLOW6) != (network.version == 6):
        return np.zeros(len(flows), bool)
    low, high = int(network.network_address), int(network.broadcast_address)
    if network.version == 6:
        side, low, high = side + "_net", low >> 64, high >> 64
    found: Mask = (flows[side] >= low) & (flows[side] <= high)
    return found
