"""Flows of either family compared by 5-tuple: what one end counted against what the other did. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np

from emulator.cloud.model import Address
from emulator.fabric import marks
from emulator.fabric.accounts import Flows
from emulator.fabric.meters import NONE, Count
from emulator.fabric.shapes6 import FLOW6, tuple_fields
from emulator.fabric.tables import FLOW

DTYPES = (FLOW, FLOW6)
"""Flows of IPv4 and of IPv6."""

_FACTORS = (
    *(0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xFF51AFD7ED558CCD),
    *(0xC4CEB9FE1A85EC53, 0x94D049BB133111EB),
)


def between(flows: Flows, known: Collection[Address]) -> Flows:
    """Those of which both ends are among these addresses."""
    if flows.dtype == FLOW6:
        wanted = _packed(known)
    else:
        wanted = np.array(sorted(int(address) for address in known if address.version == 4), "u4")
    chosen: Flows = flows[np.isin(_ends(flows, "saddr"), wanted) & np.isin(_ends(flows, "daddr"), wanted)]
    return chosen


def _packed(addresses: Iterable[Address]) -> np.ndarray[Any, Any]:
    """IPv6 addresses as strings of 16 bytes, which numpy can look up."""
    return np.array([address.packed for address in addresses if address.version == 6], "S16")


def _ends(flows: Flows, side: str) -> np.ndarray[Any, Any]:
    if flows.dtype != FLOW6:
        return flows[side].copy()
    halves = np.stack([flows[side + "_net"], flows[side]], axis=1).astype(">u8")
    return halves.view("S16").ravel()


def sent_and_got(flows: Sequence[Flows], dtype: np.dtype[np.void]) -> tuple[Flows, Flows]:
    """What was accepted where it left, and what was counted where it arrived."""
    every = np.concatenate(flows) if flows else np.empty(0, dtype)
    inward = (every["mark"] & marks.IN) != 0
    return every[~inward & ((every["mark"] & marks.REJECT) == 0)], every[inward]


def _hash(flows: Flows) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """A number for each 5-tuple."""
    number = np.zeros(len(flows), np.uint64)
    for name, factor in zip(tuple_fields(flows.dtype), _FACTORS, strict=False):
        number = (number ^ flows[name].astype(np.uint64)) * np.uint64(factor)
        number ^= number >> np.uint64(29)
    return number


def checksum(flows: Flows) -> tuple[int, int]:
    """Equal for equal packets and bytes of equal 5-tuples, however they are spread over entries."""
    number = _hash(flows)
    packets, sizes = flows["packets"].astype(np.uint64), flows["bytes"].astype(np.uint64)
    return int((number * packets).sum()), int((number * sizes).sum())


def difference(ours: Flows, theirs: Flows, carried: Flows) -> Flows:
    """One entry for each 5-tuple that differs: packets and bytes of ours and carried, less theirs."""
    every = np.concatenate([ours, carried, theirs])
    sign = np.ones(len(every), "i8")
    sign[len(ours) + len(carried) :] = -1
    _, first, place = np.unique(_hash(every), return_index=True, return_inverse=True)
    found: Flows = every[first].copy()
    for name in ("packets", "bytes"):
        totals = np.zeros(len(found), "i8")
        np.add.at(totals, place, every[name] * sign)
        found[name] = totals
    different: Flows = found[(found["packets"] != 0) | (found["bytes"] != 0)]
    return different


def key(flow: np.void) -> tuple[int, ...]:
    """Its 5-tuple."""
    return tuple(int(flow[name]) for name in tuple_fields(flow.dtype))


def told(flow: np.void, owners: Mapping[Address, str]) -> str:
    """A difference in words; ``owners`` are the ENIs that have the addresses."""
    saddr, daddr = _address(flow, "saddr"), _address(flow, "daddr")
    ports = [int(flow[name]) for name in ("sport", "dport")]
    left, right = (f"[{end}]" if end.version == 6 else str(end) for end in (saddr, daddr))
    ends = f"{left}:{ports[0]} -> {right}:{ports[1]} protocol {flow['protocol']}"
    sender, receiver = owners.get(saddr, ""), owners.get(daddr, "")
    more = Count(int(flow["packets"]), int(flow["bytes"]))
    if more.packets < 0 or (not more.packets and more.bytes < 0):
        return f"{ends}: {NONE - more} counted at {receiver} that {sender} did not send"
    return f"{ends}: {more} accepted at {sender} and not counted at {receiver}"


def _address(flow: np.void, side: str) -> Address:
    if flow.dtype != FLOW6:
        return IPv4Address(int(flow[side]))
    return IPv6Address(int(flow[side + "_net"]) << 64 | int(flow[side]))
