"""The ruleset of what joins VPCs, a peering or a CCN, as nftables text. Pure.

Fragments are put together here, for that the chain ``whole`` asks for connection tracking: they count as the datagram.
Each joint is a namespace with a link to each of its VPCs. Between two regions a cap may hold, each way: what is over it
is dropped. The table has the name and the maps that flow tables expect (accounts.py), so that a CCN's flow log is
counted as an ENI's is: what comes from a VPC before the cap, what goes to one behind it. A packet's mark says from
which region to which it goes::

    31 ..... 18  17       16     15 ..... 8   7 ..... 0
    unused       REJECT   IN     to region    from region       regions numbered from 1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emulator.fabric import marks
from emulator.fabric.ruleset import TABLE

BURST_S = 0.1
"""A cap lets through at once what it lets through in a second and so many more: nftables adds the second, the least
unit of a limit in bytes (nft_limit.c: ``tokens_max = unit * (rate + burst) / rate``)."""

_LEAST_BURST = 3000


@dataclass(frozen=True)
class Lane:
    """From one region to another, or within one: the links that lead in and out, and the cap in Mbit/s."""

    come: tuple[int, ...]
    go: tuple[int, ...]
    source: int
    destination: int
    cap_mbps: float | None


def base() -> str:
    """The table before its first lane. Nothing is sent by the joint itself but that a TTL has run out."""
    return f"""table {TABLE} {{
 counter dropped {{
 }}
 map acct_out {{
  type iface_index : verdict
 }}
 map acct_in {{
  type iface_index : verdict
 }}
 chain lanes {{
 }}
 chain whole {{
  type filter hook prerouting priority 0
  ip ttl < 2 counter name dropped
  ct state new return
 }}
 chain forward {{
  type filter hook forward priority 0
  jump lanes
  iif vmap @acct_out
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} counter name dropped drop
  meta mark set meta mark | {marks.IN:#x}
  oif vmap @acct_in
 }}
}}
"""


def lanes(lanes: Iterable[Lane], links: Iterable[int]) -> str:
    """(Re)write the lanes in one transaction; what goes back where it came from is dropped."""
    text = f"flush chain {TABLE} lanes\n"
    text += "".join(f"add rule {TABLE} lanes iif {index} oif {index} drop\n" for index in links)
    return text + "".join(map(_lane, lanes))


def _lane(lane: Lane) -> str:
    """A chain for the two regions, which stays when nothing leads there any more."""
    name, mark = f"lane_{lane.source}_{lane.destination}", lane.source | lane.destination << 8
    text = f"add chain {TABLE} {name}\nflush chain {TABLE} {name}\nadd rule {TABLE} {name} meta mark set {mark:#x}\n"
    if lane.cap_mbps is not None:
        rate = max(1, round(lane.cap_mbps * 125_000))
        burst = max(_LEAST_BURST, round(rate * BURST_S))
        over = f"limit rate over {rate} bytes/second burst {burst} bytes meta mark set {mark | marks.REJECT:#x}"
        text += f"add rule {TABLE} {name} {over}\n"
    come, go = (", ".join(map(str, indexes)) for indexes in (lane.come, lane.go))
    return text + f"add rule {TABLE} lanes iif {{ {come} }} oif {{ {go} }} jump {name}\n"


def regions(mark: int) -> tuple[int, int]:
    """The numbers of the regions that a mark tells: from, to."""
    return mark & 0xFF, mark >> 8 & 0xFF


def numbered(regions: Iterable[str]) -> Mapping[str, int]:
    """Regions by name with their numbers, the same in every lab of a provider."""
    return {name: number for number, name in enumerate(regions, 1)}
