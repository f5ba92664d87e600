"""What becomes of each packet: the reference verdict, asked once for each flow, and held against who began what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import numpy.typing as npt

from emulator.cloud.account import Cloud
from emulator.cloud.model import Address, Eni
from emulator.cloud.verdict import Judge, Judgement, Packet
from emulator.fabric import marks
from emulator.hindsight import connections
from emulator.hindsight.packets import ADDRESS, ICMP, ICMPV6, Mask, Numbers, Packets, identify

LOST = -1
"""In place of a mark: the packet does not get there."""
_NOWHERE = -2
"""No ENI is there, so nobody judges."""


@dataclass(frozen=True)
class Judged:
    """For each packet of a VPC the mark that it would carry (fabric/marks.py) where it leaves ``source`` and where it
    arrives at ``destination``; those are places among the ENIs, -1 where none of them has the address."""

    source: Numbers
    destination: Numbers
    marks_out: Numbers
    marks_in: Numbers


def judge(cloud: Cloud, packets: Packets, enis: Sequence[Eni]) -> Judged:
    """Judge packets between or at these ENIs of one VPC, in the order in which they were captured."""
    found = packets.found
    source, destination = (_owners(found, side, enis) for side in ("saddr", "daddr"))
    icmp = np.isin(found["protocol"], (ICMP, ICMPV6))
    ports = [np.where(icmp, 0, found[name]) for name in ("sport", "dport")]
    flows, firsts = identify(found["version"], found["protocol"], *(found[name] for name in ADDRESS), *ports)
    concerned = (source[firsts] >= 0) | (destination[firsts] >= 0)
    asked, vpc_id = Judge(cloud), enis[0].vpc_id
    fresh, ongoing = _Table(len(firsts)), _Table(len(firsts))
    stateless = any(subnet.acl_id for subnet in cloud.subnets.values() if subnet.vpc_id == vpc_id)
    if not stateless:  # then whatever belongs to a connection passes
        ongoing.out[source[firsts] >= 0], ongoing.inward[destination[firsts] >= 0] = 0, marks.IN
    for flow, packet in zip(np.flatnonzero(concerned).tolist(), _packets(found[firsts[concerned]]), strict=True):
        for table, known in ((fresh, False), (ongoing, True)) if stateless else ((fresh, False),):
            verdict = asked.verdict(packet, known, vpc_id=vpc_id)
            table.put(flow, verdict.at_source, verdict.at_destination)
    ids, quoted_ids = connections.connection_ids(packets)
    opens = connections.may_begin(found) & fresh.delivered[flows] & concerned[flows]
    first = connections.openers(ids, opens, int(max(ids.max(initial=-1), quoted_ids.max(initial=-1))) + 1)
    error = found["quoted"] >= 0
    ids[error] = quoted_ids[found["quoted"][error]]  # an error belongs to the connection that it is about
    opener = first[ids]
    established: Mask = np.asarray(opener < np.arange(len(found)))
    marks_out = np.where(established, ongoing.out[flows], fresh.out[flows])
    marks_in = np.where(established, ongoing.inward[flows], fresh.inward[flows])
    _name_rules(found, flows, fresh, established, opener, marks_out, marks_in)
    return Judged(source, destination, marks_out, marks_in)


def _name_rules(
    found: npt.NDArray[np.void],
    flows: Numbers,
    fresh: _Table,
    established: Mask,
    opener: Numbers,
    marks_out: Numbers,
    marks_in: Numbers,
) -> None:
    """Packets of a connection carry the rule that let it in or out at the ENI where they are counted."""
    where = np.flatnonzero(established)
    began = flows[opener[where]]
    same_way = np.ones(len(where), bool)
    for name in ("saddr_net", "saddr"):
        same_way &= found[name][where] == found[name][opener[where]]
    for marks_there, here, back in ((marks_out, fresh.out, fresh.inward), (marks_in, fresh.inward, fresh.out)):
        rules = np.where(same_way, here[began], back[began])
        named = (marks_there[where] >= 0) & (marks_there[where] & marks.RULE == 0) & (rules >= 0)
        marks_there[where[named]] |= rules[named] & marks.RULE


class _Table:
    """By flow: the mark at its source and at its destination, and whether it is let through all the way."""

    def __init__(self, flows: int) -> None:
        self.out = np.full(flows, _NOWHERE, np.int64)
        self.inward = np.full(flows, _NOWHERE, np.int64)
        self.delivered = np.zeros(flows, bool)

    def put(self, flow: int, at_source: Judgement | None, at_destination: Judgement | None) -> None:
        out, inward = _mark(at_source, 0), _mark(at_destination, marks.IN)
        lost = out >= 0 and out & marks.REJECT != 0
        self.out[flow], self.inward[flow] = out, LOST if lost else inward
        self.delivered[flow] = not lost and (inward < 0 or inward & marks.REJECT == 0)


def _mark(judgement: Judgement | None, direction: int) -> int:
    if judgement is None:
        return _NOWHERE
    step = judgement.decisive
    rule = 0 if step.rule is None else step.rule.number
    return direction | rule | (marks.REJECT if step.action == "deny" else 0)


def _packets(found: npt.NDArray[np.void]) -> Iterator[Packet]:
    names = ("version", *ADDRESS, "protocol", "sport", "dport")
    for version, *ends, protocol, sport, dport in zip(*(found[name].tolist() for name in names), strict=True):
        src, dst = (address_of(version, high, low) for high, low in (ends[:2], ends[2:]))
        yield Packet(src, dst, protocol, sport, dport)


def address_of(version: int, high: int, low: int) -> Address:
    """An address from its two halves."""
    return IPv4Address(low) if version == 4 else IPv6Address(high << 64 | low)


def _owners(found: npt.NDArray[np.void], side: str, enis: Iterable[Eni]) -> Numbers:
    """By packet the place of the ENI that has this address, -1 where none has."""
    owners = np.full(len(found), -1, np.int64)
    for place, eni in enumerate(enis):
        for address in eni.addresses:
            number = int(address)
            mine = (found["version"] == address.version) & (found[side] == number & (1 << 64) - 1)
            owners[mine & (found[side + "_net"] == number >> 64)] = place
    return owners
