"""The ruleset of one VPC as nftables text. Pure: no kernel, no state.

One table judges and counts for all ENIs of a VPC. What differs by ENI stands in maps from interface to verdict, so a
packet's way is equally long with 2 ENIs and with 400::

    prerouting   who sent it?  @owned          forged source: counted, dropped; DHCP has none yet
                 restore the TTL that routing will take away
                 judge_out ── ct state ─┬─ new: @sg_out → the chain of the ENI's group list → a rule's chain sets the
                 mark
                                        └─ established: the mark comes from the connection
                           └─ @acl_out → the chain of the subnet's ACL
                 @acct_out → update the ENI's flow tables        REJECT in the mark: drop
    forward      to "nowhere": an address that nobody has
                 judge_in, @acct_in, drop: the same at the other end, the ACL first

The chains of the tenant's rules are written by chains.py, an ENI's flow tables and the chains that count into them
(``a…``) by tables.py, and what IPv6 needs by ruleset6.py, where the VPC has any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from emulator.cloud.model import PORTS_PROTOCOLS, Direction
from emulator.fabric import fragments, marks
from emulator.fabric.tally import declared, tallied

TABLE = "inet vpc"
NOWHERE = "nowhere"
PORTS = ", ".join(str(number) for number in sorted(PORTS_PROTOCOLS))
_SIDES = {"egress": "out", "ingress": "in"}


def base(nowhere_index: int, *, tally: bool = False) -> str:
    """The table before its first ENI. ``tally``: with a count of each rule's decisions (tally.py)."""
    return tallied(_base(nowhere_index, declared())) if tally else _base(nowhere_index)


def _base(nowhere_index: int, more: str = "") -> str:
    restore = ", ".join(f"{ttl} : jump t{ttl + 1}" for ttl in range(1, 255))
    chains = "\n".join(f" chain t{ttl} {{\n  ip ttl set {ttl}\n }}" for ttl in range(2, 256))
    return f"""table {TABLE} {{
{more} counter spoofed {{
 }}
 counter nowhere {{
 }}
 counter foreign {{
 }}
 set spoofed_by {{
  type iface_index
  flags dynamic
 }}
 set nowhere_by {{
  type iface_index
  flags dynamic
 }}
 set expired_by {{
  type iface_index
  flags dynamic
 }}
 set fragments {{
  type iface_index
  flags dynamic
 }}
 set gates {{
  type iface_index
 }}
 set left_by {{
  type iface_index
  flags dynamic
 }}
 set malformed_by {{
  type iface_index
  flags dynamic
 }}
 set options_by {{
  type iface_index
  flags dynamic
 }}
 set services {{
  type ipv4_addr . inet_proto . inet_service
 }}
 set owned {{
  type iface_index . ipv4_addr
 }}
 map sg_out {{
  type iface_index : verdict
 }}
 map sg_in {{
  type iface_index : verdict
 }}
 map acl_out {{
  type iface_index : verdict
 }}
 map acl_in {{
  type iface_index : verdict
 }}
 map acct_out {{
  type iface_index : verdict
 }}
 map acct_in {{
  type iface_index : verdict
 }}
{chains}
 chain six {{
  counter name foreign drop
 }}
 chain expired {{
  update @expired_by {{ iif counter }}
 }}
 chain new_out {{
  iif vmap @sg_out
 }}
 chain new_in {{
  oif vmap @sg_in
 }}
 chain original_out {{
  meta mark set ct mark & {marks.RULE:#x}
 }}
 chain reply_out {{
  meta mark set ct mark >> 16
 }}
 chain original_in {{
  meta mark set ct mark >> 16 | {marks.IN:#x}
 }}
 chain reply_in {{
  meta mark set ct mark & {marks.RULE:#x} | {marks.IN:#x}
 }}
 chain known_out {{
  ct direction vmap {{ original : goto original_out, reply : goto reply_out }}
 }}
 chain known_in {{
  ct direction vmap {{ original : goto original_in, reply : goto reply_in }}
 }}
 chain invalid_out {{
  meta l4proto {{ {PORTS} }} @th,16,16 >= 0 goto new_out
  meta l4proto 1 @th,32,16 >= 0 goto new_out
  meta l4proto != {{ {PORTS}, 1 }} goto new_out
  update @malformed_by {{ iif counter }} drop
 }}
 chain judge_out {{
  ct state vmap {{ {by_state("out")} }}
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} return
  iif vmap @acl_out
 }}
 chain judge_in {{
  oif vmap @acl_in
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} return
  ct state vmap {{ {by_state("in")} }}
 }}
{fragments.standing()}
 chain unowned {{
  iif @gates return
  ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 return
  goto spoofed
 }}
 chain spoofed {{
  meta mark != 0 goto forged
  update @spoofed_by {{ iif counter }}
  counter name spoofed drop
 }}
 chain served {{
  jump judge_in
  oif vmap @acct_in
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} drop
  accept
 }}
 chain served_whole {{
  jump whole_in
  accept
 }}
 chain nowhere {{
  update @nowhere_by {{ iif counter }}
  counter name nowhere drop
 }}
 chain early {{
  type filter hook prerouting priority -450
  @nh,48,16 & 0x3fff != 0 goto fragment
 }}
 chain prerouting {{
  type filter hook prerouting priority 0
  meta nfproto ipv6 goto six
  meta pkttype set host
  @nh,0,8 != 0x45 update @options_by {{ iif counter }}
  iif . ip saddr != @owned jump unowned
  ip ttl vmap {{ 0 : jump expired, {restore} }}
  meta mark != 0 goto whole_out
  jump judge_out
  iif vmap @acct_out
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} drop
 }}
 chain forward {{
  type filter hook forward priority 0
  oif {nowhere_index} goto nowhere
  meta mark & {marks.FRAGMENTED:#x} == {marks.FRAGMENTED:#x} goto whole_in
  jump judge_in
  oif vmap @acct_in
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} drop
 }}
 chain input {{
  type filter hook input priority 0; policy drop;
  ip daddr . meta l4proto . th dport @services accept
 }}
 chain output {{
  type filter hook output priority 0; policy drop;
  meta mark & {marks.FRAGMENTED:#x} == {marks.FRAGMENTED:#x} goto served_whole
  meta mark != 0 goto served
  ip saddr . meta l4proto . th sport @services goto served
 }}
}}
table arp {TABLE.split()[1]} {{
 set arp_in {{
  type iface_index
  flags dynamic
 }}
 set arp_out {{
  type iface_index
  flags dynamic
 }}
 chain input {{
  type filter hook input priority 0
  update @arp_in {{ iif counter }}
 }}
 chain output {{
  type filter hook output priority 0
  update @arp_out {{ oif counter }}
 }}
}}
"""


def by_state(side: str, suffix: str = "") -> str:
    """Known connections pass by their state; what conntrack calls invalid is judged by the rules like a new one, unless
    its ports cannot be read."""
    known = [f"{state} : jump known_{side}" for state in ("established", "related")]
    invalid = f"invalid : jump {'invalid' if side == 'out' else 'new'}{suffix}_{side}"
    return ", ".join([*known, invalid, *(f"{state} : jump new{suffix}_{side}" for state in ("new", "untracked"))])


MOST = 40_000
"""Characters of one transaction. The kernel takes 425 KB of netlink messages from an ordinary user; nftables makes so
many of some 80,000 characters."""


def pieces(statements: Iterable[str]) -> Iterator[str]:
    """Statements, each of which ends its line, put together to transactions that are not too long."""
    piece, length = list[str](), 0
    for statement in statements:
        if piece and length + len(statement) > MOST:
            yield "".join(piece)
            piece, length = [], 0
        piece.append(statement)
        length += len(statement)
    if piece:
        yield "".join(piece)


def ahead(text: str) -> tuple[list[str], str]:
    """What of a change can be written before it, because nothing leads there yet: new chains and sets with their rules;
    and the rest, which makes the change at once."""
    lines = text.splitlines(keepends=True)
    rewritten = {line.split()[4] for line in lines if line.startswith("flush chain ")}

    def new(line: str) -> bool:
        words = line.split(maxsplit=5)
        return words[0] == "add" and words[1] in ("chain", "set", "rule") and words[4] not in rewritten

    return [line for line in lines if new(line)], "".join(line for line in lines if not new(line))


def take_back(lines: Iterable[str]) -> str:
    """Delete the chains and sets that these lines added."""
    added = [line.split(maxsplit=5) for line in lines]
    chains = [words[4] for words in added if words[1] == "chain"]
    sets = [f"delete set {TABLE} {words[4]}\n" for words in added if words[1] == "set"]
    return delete_chains(chains) + "".join(sets)


def delete_chain(name: str) -> str:
    """Delete a chain that nothing jumps to any more."""
    return f"delete chain {TABLE} {name}\n"


def delete_chains(names: Sequence[str]) -> str:
    """Delete chains that go to each other and that nothing else goes to any more."""
    flushed = "".join(f"flush chain {TABLE} {name}\n" for name in names)
    return flushed + "".join(map(delete_chain, names))


def side(direction: Direction) -> str:
    """``out`` for egress, ``in`` for ingress: the ending of maps and chains."""
    return _SIDES[direction]


def add_elements(name: str, elements: Iterable[object]) -> str:
    """Elements of a set."""
    body = ", ".join(str(key) for key in elements)
    return f"add element {TABLE} {name} {{ {body} }}\n" if body else ""


def delete_elements(name: str, keys: Iterable[object]) -> str:
    body = ", ".join(str(key) for key in keys)
    return f"delete element {TABLE} {name} {{ {body} }}\n" if body else ""
