"""What a VPC's ruleset needs for IPv6, as nftables text, added when the VPC gets an IPv6 block. Pure.

A packet of IPv6 leaves the chains of ruleset.py at their first rule and goes the same way through chains of its own,
whose sets and maps end in ``6``; the rules' chains and the marks are the same::

    early, prerouting, forward ── IPv6 ──► early6, six, forward6

Neighbour discovery and listener reports are to IPv6 what ARP is to IPv4: they end here, counted apart. Nobody answers,
for everyone's neighbours are fixed; whatever the router would say by itself is dropped where it is made.
"""

from __future__ import annotations

from emulator.fabric import fragments6, marks
from emulator.fabric.ruleset import PORTS, TABLE, by_state
from emulator.fabric.tally import tallied

DISCOVERY = "130-137, 143"
"""ICMPv6 types: multicast listeners (RFC 2710, RFC 3810), router and neighbour discovery (RFC 4861)."""


def base(nowhere_index: int, *, tally: bool = False) -> str:
    """The addition to a VPC's table; no packet of IPv6 was let in before. ``tally``: as in ruleset.py."""
    return tallied(_base(nowhere_index), "6") if tally else _base(nowhere_index)


def _base(nowhere_index: int) -> str:
    restore = ", ".join(f"{hops} : jump h{hops + 1}" for hops in range(1, 255))
    chains = "\n".join(f" chain h{hops} {{\n  ip6 hoplimit set {hops}\n }}" for hops in range(2, 256))
    maps = "\n".join(
        f" map {name}6_{side} {{\n  type iface_index : verdict\n }}"
        for name in ("sg", "acl", "acct")
        for side in ("out", "in")
    )
    rejected = f"meta mark & {marks.REJECT:#x} == {marks.REJECT:#x}"
    return f"""table {TABLE} {{
 set discovery_by {{
  type iface_index
  flags dynamic
 }}
 set owned6 {{
  type iface_index . ipv6_addr
 }}
{maps}
{chains}
 chain new6_out {{
  iif vmap @sg6_out
 }}
 chain new6_in {{
  oif vmap @sg6_in
 }}
 chain judge6_out {{
  ct state vmap {{ {by_state("out", "6")} }}
  {rejected} return
  iif vmap @acl6_out
 }}
 chain judge6_in {{
  oif vmap @acl6_in
  {rejected} return
  ct state vmap {{ {by_state("in", "6")} }}
 }}
 chain invalid6_out {{
  meta l4proto {{ {PORTS} }} @th,16,16 >= 0 goto new6_out
  meta l4proto 58 @th,32,16 >= 0 goto new6_out
  meta l4proto != {{ {PORTS}, 58 }} goto new6_out
  update @malformed_by {{ iif counter }} drop
 }}
 chain discovery {{
  meta mark != 0 drop
  update @discovery_by {{ iif counter }} drop
 }}
{fragments6.standing()}
 chain spoofed6 {{
  meta mark != 0 drop
  goto spoofed
 }}
 chain early6 {{
  exthdr frag exists goto fragment6
 }}
 chain forward6 {{
  oif {nowhere_index} goto nowhere
  meta mark & {marks.FRAGMENTED:#x} == {marks.FRAGMENTED:#x} goto whole6_in
  jump judge6_in
  oif vmap @acct6_in
  {rejected} drop
 }}
}}
flush chain {TABLE} six
table {TABLE} {{
 chain six {{
  meta pkttype set host
  icmpv6 type {{ {DISCOVERY} }} goto discovery
  iif . ip6 saddr != @owned6 goto spoofed6
  ip6 hoplimit vmap {{ 0 : jump expired, {restore} }}
  meta mark != 0 goto whole6_out
  jump judge6_out
  iif vmap @acct6_out
  {rejected} drop
 }}
}}
insert rule {TABLE} early meta nfproto ipv6 goto early6
insert rule {TABLE} forward meta nfproto ipv6 goto forward6
insert rule {TABLE} output meta nfproto ipv6 drop
"""
