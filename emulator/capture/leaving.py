"""What leaves a VPC in the books: each ENI's packets to outside, and those between VPCs that are joined. Pure.

::

    ACCEPT at A, out, to outside the VPC's block  =  left (counted behind all judgement) + nowhere + lost on the way
    ACCEPT at A, out, to B in a joined VPC        =  ACCEPT + REJECT at B, in + dropped between the VPCs

The second is looked at for ENIs that were counted before their first packet, since all of it is in the books then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import numpy as np

from emulator.capture import tuples
from emulator.cloud.model import Address
from emulator.fabric import marks
from emulator.fabric.accounts import Flows, counted
from emulator.fabric.meters import NONE, Count, Meter
from emulator.fabric.tables import FLOW

if TYPE_CHECKING:
    from emulator.capture.books import EniBooks, VpcBooks

_NOT_ROUTED = tuple(map(IPv4Network, ("0.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))
"""Multicast, broadcast and what no router leads on: this need not leave."""


@dataclass
class Leaving:
    """What one ENI sent out of its VPC's block: all of it, and what a router would lead on; ``services`` are addresses
    of the provider's that answer within the VPC."""

    block: IPv4Network
    services: tuple[IPv4Address, ...] = ()
    every: Count = NONE
    routed: Count = NONE

    def enter(self, flows: Flows) -> None:
        out = flows[(flows["mark"] & (marks.IN | marks.REJECT)) == 0]
        out = out[~_within(out["daddr"], self.block)]
        if not len(out):
            return
        self.every += counted(out)
        for network in (*_NOT_ROUTED, *map(IPv4Network, self.services)):
            out = out[~_within(out["daddr"], network)]
        self.routed += counted(out)

    def differences(self, meter: Meter, skipped: int, dropped: int, slack: int) -> list[str]:
        """Against what the ENI's meters say that left; ``skipped`` of its packets are not among its flows, and
        ``dropped`` the VPC lost."""
        left = meter.left.packets
        lost = meter.nowhere.packets + meter.expired.packets + meter.options.packets + dropped
        if left <= self.every.packets + skipped + slack and self.routed.packets - left <= lost + slack:
            return []
        return [f"leaving: {meter.left} left the VPC; accepted to outside of {self.block} were {self.routed}"]


@dataclass
class Abroad:
    """Flows of a VPC whose other end is outside its block, cumulated by 5-tuple."""

    block: IPv4Network
    sent: Flows = field(default_factory=lambda: np.empty(0, FLOW))
    got: Flows = field(default_factory=lambda: np.empty(0, FLOW))

    def enter(self, flows: Flows) -> None:
        sent, got = tuples.sent_and_got([flows], FLOW)
        sent, got = sent[~_within(sent["daddr"], self.block)], got[~_within(got["saddr"], self.block)]
        nothing = np.empty(0, FLOW)
        if len(sent):
            self.sent = tuples.difference(sent, nothing, self.sent)
        if len(got):
            self.got = tuples.difference(got, nothing, self.got)


def between_vpcs(books: Mapping[str, VpcBooks], joined: Collection[tuple[str, str]], dropped: int) -> Iterator[str]:
    """Of VPCs that are joined, what one's ENIs sent to the other's and those did not get, beyond what was dropped on
    the way; a line for each 5-tuple."""
    differences, may_lose, may_find = list[Flows](), dropped, 0
    owners: dict[Address, str] = {}
    for one, other in joined:
        if one not in books or other not in books or books[one].block.overlaps(books[other].block):
            continue
        here, there = _whole(books[one]), _whole(books[other])
        owners |= here | there
        ends = [*here, *there]
        sent = tuples.between(books[one].abroad.sent, ends)
        got = tuples.between(books[other].abroad.got, ends)
        differences.append(tuples.difference(sent, got, np.empty(0, FLOW)))
        for eni in books[one].all:
            may_lose += sum(one.packets for one in (eni.meter.nowhere, eni.meter.expired, eni.meter.options))
            may_find += eni.skipped.packets
        may_lose += sum(eni.skipped.packets for eni in books[other].all) + books[other].dropped + books[one].dropped
    found = np.concatenate(differences) if differences else np.empty(0, FLOW)
    lost = int(found["packets"][found["packets"] > 0].sum())
    surplus = -int(found["packets"][found["packets"] < 0].sum())
    if lost > may_lose or surplus > may_find:
        yield from (tuples.told(flow, owners) for flow in found)


def _whole(books: VpcBooks) -> dict[Address, str]:
    """Addresses of the ENIs that have been counted since before their first packet."""
    whole = (eni for eni in books.enis.values() if _from_birth(eni))
    return {address: eni.eni_id for eni in whole for address in eni.addresses}


def _from_birth(eni: EniBooks) -> bool:
    then = eni.opened[1]
    return (then.taken - then.arp_in - then.discovery).packets == 0 == (then.handed - then.arp_out).packets


def _within(
    numbers: np.ndarray[tuple[int], np.dtype[np.uint32]], network: IPv4Network
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    low, high = int(network.network_address), int(network.broadcast_address)
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]] = (numbers >= low) & (numbers <= high)
    return inside
