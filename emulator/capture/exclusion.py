"""Which counted flows a provider writes no record of. Pure.

They are counted as any other, so the books balance with them; they are left out where records are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emulator.cloud.unrecorded import Unrecorded
from emulator.fabric.accounts import Flows

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def excluded(flows: Flows, kinds: Sequence[Unrecorded]) -> Mask:
    """True for each entry that is of one of these kinds."""
    found = np.zeros(len(flows), bool)
    for kind in kinds:
        found |= _is_of(flows, kind)
    return found


def recorded(flows: Flows, unrecorded: Sequence[Unrecorded]) -> Flows:
    """The entries that records are made of."""
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
        low, high = int(kind.network.network_address), int(kind.network.broadcast_address)
        ends = [(flows[name] >= low) & (flows[name] <= high) for name in ("saddr", "daddr")]
        chosen &= ends[0] | ends[1]
    return chosen
