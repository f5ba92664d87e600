"""Fragments of IPv6 as they were on the wire: how many packets and bytes more than its datagrams a flow was. Pure.

First pieces name the flow of all pieces with their identity (fragments6.py), last ones tell whether all are there.
What the pieces of a flow are more than its datagrams goes to the flow's entries by how many datagrams each has, at both
ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.cloud.model import PORTS_PROTOCOLS
from emulator.fabric import marks

_IDENTITY = 40
_SIDES = slice(4, 36)  # of an identity: both addresses, between interface and identification

PIECES6 = np.dtype([("identity", f"S{_IDENTITY}")])
FIRSTS6 = np.dtype(
    {
        "names": ["identity", "protocol", "one", "two", "three"],
        "formats": [f"S{_IDENTITY}", "u1", ">u2", ">u2", ">u2"],
        "offsets": [0, 40, 44, 46, 48],
        "itemsize": 52,
    }
)
LASTS6 = np.dtype(
    {
        "names": ["identity", "length", "next", "offset"],
        "formats": [f"S{_IDENTITY}", ">u2", "u1", ">u2"],
        "offsets": [0, 40, 42, 44],
        "itemsize": 48,
    }
)
"""Keys of the three sets; ``one`` to ``three`` are the first words of the upper header, ``length`` is the payload's."""

PATIENCE_S = 60
"""How long the kernel waits for the rest of a datagram (net.ipv6.ip6frag_time)."""

_HALVES = ("saddr_net", "saddr", "daddr_net", "daddr")
_FRAGMENT, _FRAGMENT_BYTES = 44, 8
"""The fragment header's number and length."""
_HEADERS = 40 + _FRAGMENT_BYTES

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class _Flows:
    """By flow, in the order of ``keys``: pieces, their bytes, and the datagrams that they are of."""

    keys: Array
    packets: Array
    bytes: Array
    datagrams: Array


class Matching6:
    """What the cuts of one VPC tell of flows in fragments; of the last but one it is kept, too, for what was on its
    way then. Pieces whose datagram is not complete wait for the others."""

    def __init__(self) -> None:
        self._known: list[_Flows] = []
        self._waiting: list[tuple[float, tuple[Array, Array, Array]]] = []  # since when: pieces, first and last ones

    def enter(self, pieces: Array, firsts: Array, lasts: Array, now_s: float) -> None:
        """Elements of one generation: ``key``, and of pieces ``packets`` and ``bytes``; ``now_s`` of a clock that never
        stands still."""
        fresh = plain(pieces, PIECES6), plain(firsts, FIRSTS6), plain(lasts, LASTS6)
        here = [*(one for one in self._waiting if one[0] > now_s - PATIENCE_S), (now_s, fresh)]
        pieces, firsts, lasts = (np.concatenate([cut[which] for _, cut in here]) for which in range(3))
        identities, place = np.unique(pieces["key"]["identity"], return_inverse=True)
        if not len(identities):
            return
        packets, sizes = (
            totals(place, pieces["packets"], len(identities)),
            totals(place, pieces["bytes"], len(identities)),
        )
        first, last = _places(firsts, identities), _places(lasts, identities)
        complete = (first >= 0) & (last >= 0)
        complete[complete] = _as_long(packets[complete], sizes[complete], lasts[last[complete]])
        chosen = np.flatnonzero(complete)
        keys, flow = np.unique(_of_firsts(firsts["key"][first[chosen]]), return_inverse=True)
        if len(keys):
            counts = (packets[chosen], sizes[chosen], np.ones(len(chosen), "i8"))
            self._known = [_Flows(keys, *(totals(flow, values, len(keys)) for values in counts)), *self._known[:1]]
        left = [(since, _without(cut, identities[complete])) for since, cut in here]
        self._waiting = [(since, cut) for since, cut in left if len(cut[0])]

    def beyond(self, flows: Array) -> Array:
        """Entries of FLOW6 for what was on the wire beyond those among ``flows`` that were put together."""
        found = _together(flows[(flows["mark"] & marks.FRAGMENTED) != 0])
        datagrams, sizes = found["packets"].copy(), found["bytes"].copy()
        found["packets"] = found["bytes"] = 0
        missing = np.ones(len(found), bool)
        for known in self._known if len(found) else ():
            keys = _of_flows(found)
            at = np.minimum(np.searchsorted(known.keys, keys), len(known.keys) - 1)
            hit = missing & (known.keys[at] == keys)
            at, missing = at[hit], missing & ~hit
            found["packets"][hit] = (known.packets[at] - known.datagrams[at]) * datagrams[hit] // known.datagrams[at]
            found["bytes"][hit] = known.bytes[at] * datagrams[hit] // known.datagrams[at] - sizes[hit]
        return found


def _together(flows: Array) -> Array:
    """Each flow once: what spilt is an entry for each length that its datagrams had."""
    names = [name for name in flows.dtype.names or () if name not in ("packets", "bytes", "flags")]
    _, first, place = np.unique(flows[names], return_index=True, return_inverse=True)
    found: Array = flows[first].copy()
    for name in ("packets", "bytes"):
        found[name] = totals(place, flows[name], len(first))
    return found


def totals(places: Array, values: Array, count: int) -> Array:
    """The sum of the values at each of so many places."""
    sums = np.zeros(count, "i8")
    np.add.at(sums, places, values)
    return sums


def plain(elements: Array, key: np.dtype[np.void]) -> Array:
    """Elements without what else a dump has."""
    counts = [name for name in ("packets", "bytes") if name in (elements.dtype.names or ())]
    found = np.zeros(len(elements), [("key", key), *((name, "i8") for name in counts)])
    for name in ("key", *counts):
        found[name] = elements[name]
    return found


def _without(cut: tuple[Array, Array, Array], identities: Array) -> tuple[Array, Array, Array]:
    pieces, firsts, lasts = (one[~np.isin(one["key"]["identity"], identities)] for one in cut)
    return pieces, firsts, lasts


def _places(ends: Array, identities: Array) -> Array:
    """For each identity the place of its first or last piece among ``ends``, -1 where there is none."""
    at = np.minimum(np.searchsorted(identities, ends["key"]["identity"]), len(identities) - 1)
    known = identities[at] == ends["key"]["identity"]
    found = np.full(len(identities), -1)
    found[at[known]] = np.flatnonzero(known)
    return found


def _as_long(packets: Array, sizes: Array, lasts: Array) -> Array:
    """Whether the pieces are as long together as their last one says; behind other headers it does not."""
    end = (lasts["key"]["offset"] & 0xFFF8).astype("i8") + lasts["key"]["length"] - _FRAGMENT_BYTES
    whole: Array = (lasts["key"]["next"] != _FRAGMENT) | (sizes - _HEADERS * packets == end)
    return whole


def _of_firsts(key: Array) -> Array:
    ends = np.frombuffer(np.ascontiguousarray(key["identity"]).tobytes(), "u1").reshape(-1, _IDENTITY)[:, _SIDES]
    ports, icmp = np.isin(key["protocol"], sorted(PORTS_PROTOCOLS)), key["protocol"] == 58
    sport = np.select([ports, icmp], [key["one"], key["three"]])
    return _keys(ends, key["protocol"], sport, np.select([ports, icmp], [key["two"], key["one"]]))


def _of_flows(flows: Array) -> Array:
    halves = np.stack([flows[name] for name in _HALVES], axis=1).astype(">u8")
    return _keys(halves.view("u1"), flows["protocol"], flows["sport"], flows["dport"])


def _keys(ends: Array, protocol: Array, sport: Array, dport: Array) -> Array:
    """5-tuples as strings of bytes, which numpy can sort."""
    words = np.stack([protocol, sport, dport], axis=1).astype(">u2").view("u1")
    keys: Array = np.ascontiguousarray(np.concatenate([ends, words], axis=1)).view("S38").ravel()
    return keys
