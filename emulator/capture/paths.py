"""By which way packets left, for forms that tell it: what the routes say at a window's end. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pyarrow as pa

from emulator.cloud.account import Cloud
from emulator.cloud.departures import Departure, Path, departures
from emulator.cloud.model import Eni
from emulator.fabric import marks
from emulator.fabric.accounts import Flows
from emulator.fabric.shapes6 import FLOW6

_PATHS: tuple[Path, ...] = get_args(Path)
_WORDS = pa.array([*_PATHS, None])

PathsOf = Callable[[Flows], pa.Array]
"""The path of each entry as text, None for what came in."""


def unknown(flows: Flows) -> pa.Array:
    """Where nobody knows the routes any more."""
    return pa.nulls(len(flows), pa.string())


def paths_of(cloud: Cloud, eni: Eni) -> PathsOf:
    """The paths of what an ENI sends. IPv6 stays within the VPC."""
    ways = [(int(private), departures(cloud, eni, private)) for private in eni.private_addresses]

    def paths(flows: Flows) -> pa.Array:
        chosen = np.full(len(flows), _PATHS.index("vpc"), "i1")
        if flows.dtype != FLOW6:
            for private, found in ways:
                mine = flows["saddr"] == private
                for one in reversed(found):  # the longest mask last: it counts
                    chosen[mine & _within(flows, one)] = _PATHS.index(one.path)
        chosen[flows["mark"] & marks.IN != 0] = len(_PATHS)
        return _WORDS.take(pa.array(chosen))

    return paths


def _within(flows: Flows, way: Departure) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    low, high = int(way.network.network_address), int(way.network.broadcast_address)
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]] = (flows["daddr"] >= low) & (flows["daddr"] <= high)
    return inside
