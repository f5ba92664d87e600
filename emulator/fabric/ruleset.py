"""The ruleset of one VPC as nftables text. Pure: no kernel, no state.

One table judges and counts for all ENIs of a VPC. What differs by ENI stands in maps from interface to verdict, so a
packet's way is equally long with 2 ENIs and with 400::

    prerouting   who sent it?  @owned          forged source: counted, dropped
                 restore the TTL that routing will take away
                 judge_out ── ct state ─┬─ new: @sg_out → the chain of the ENI's group list → a rule's chain sets the
                 mark
                                        └─ established: the mark comes from the connection
                           └─ @acl_out → the chain of the subnet's ACL
                 @acct_out → update the ENI's flow tables        REJECT in the mark: drop
    forward      to "nowhere": an address that nobody has
                 judge_in, @acct_in, drop: the same at the other end, the ACL first

Chains named ``g…`` belong to a list of security groups, ``l…`` to an ACL at a subnet, ``r…`` to a rule, ``a…`` to an
ENI's accounting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emulator.cloud.model import Direction, Rule
from emulator.fabric import marks

TABLE = "inet vpc"
NOWHERE = "nowhere"
_SIDES = {"egress": "out", "ingress": "in"}


def base(nowhere_index: int) -> str:
    """The table before its first ENI."""
    restore = ", ".join(f"{ttl} : jump t{ttl + 1}" for ttl in range(1, 255))
    chains = "\n".join(f" chain t{ttl} {{\n  ip ttl set {ttl}\n }}" for ttl in range(2, 256))
    return f"""table {TABLE} {{
 counter spoofed {{
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
 chain judge_out {{
  ct state vmap {{ {_by_state("out")} }}
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} return
  iif vmap @acl_out
 }}
 chain judge_in {{
  oif vmap @acl_in
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} return
  ct state vmap {{ {_by_state("in")} }}
 }}
 chain spoofed {{
  update @spoofed_by {{ iif counter }}
  counter name spoofed drop
 }}
 chain nowhere {{
  update @nowhere_by {{ iif counter }}
  counter name nowhere drop
 }}
 chain early {{
  type filter hook prerouting priority -450
  @nh,48,16 & 0x3fff != 0 update @fragments {{ iif counter }}
 }}
 chain prerouting {{
  type filter hook prerouting priority 0
  meta nfproto ipv6 counter name foreign drop
  iif . ip saddr != @owned goto spoofed
  ip ttl vmap {{ 0 : jump expired, {restore} }}
  jump judge_out
  iif vmap @acct_out
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} drop
 }}
 chain forward {{
  type filter hook forward priority 0
  oif {nowhere_index} goto nowhere
  jump judge_in
  oif vmap @acct_in
  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} drop
 }}
 chain input {{
  type filter hook input priority 0; policy drop;
 }}
 chain output {{
  type filter hook output priority 0; policy drop;
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


def _by_state(side: str) -> str:
    """Known connections pass by their state; what conntrack calls invalid is judged by the rules like a new one."""
    known = [f"{state} : jump known_{side}" for state in ("established", "related")]
    return ", ".join([*known, *(f"{state} : jump new_{side}" for state in ("new", "invalid", "untracked"))])


def verdict_chain(rule: Rule) -> str:
    """The chain of a security group's rule: it writes the verdict into the mark, an acceptance into the connection
    too."""
    mark = rule.number | (marks.IN if rule.direction == "ingress" else 0)
    if rule.action == "deny":
        return denial_chain(rule)
    keep, put = (0xFFFF, rule.number << 16) if rule.direction == "ingress" else (0xFFFF0000, rule.number)
    return (
        f"add chain {TABLE} r{rule.number}\nadd rule {TABLE} r{rule.number} "
        f"meta mark set {mark:#x} ct mark set ct mark & {keep:#x} | {put:#x}\n"
    )


def denial_chain(rule: Rule) -> str:
    """The chain of a denying rule. Of ACLs there is no other: one that allows leaves the mark as it is."""
    mark = rule.number | marks.REJECT | (marks.IN if rule.direction == "ingress" else 0)
    return f"add chain {TABLE} r{rule.number}\nadd rule {TABLE} r{rule.number} meta mark set {mark:#x}\n"


def match(rule: Rule) -> str:
    """What a packet must look like for a rule, as nftables expressions; empty for any packet.

    A group as peer stands for the set ``m_<group>`` of its members' addresses.
    """
    parts = []
    if rule.protocol is not None:
        parts.append(f"meta l4proto {rule.protocol}")
    if rule.peer is not None:
        side = "saddr" if rule.direction == "ingress" else "daddr"
        peer = f"@{members_set(rule.peer)}" if isinstance(rule.peer, str) else str(rule.peer)
        parts.append(f"ip {side} {peer}")
    if rule.ports is not None:
        ports = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in rule.ports)
        parts.append(f"th dport {{ {ports} }}")
    return " ".join(parts)


def members_set(group_id: str) -> str:
    return "m_" + group_id.replace("-", "_")


def declare_members(group_id: str) -> str:
    """The set of a group's member addresses, empty."""
    return f"add set {TABLE} {members_set(group_id)} {{ type ipv4_addr; }}\n"


def delete_chain(name: str) -> str:
    """Delete a chain that nothing jumps to any more."""
    return f"delete chain {TABLE} {name}\n"


def group_chain(name: str, rules: Sequence[Rule]) -> str:
    """(Re)write the chain of one list of security groups for one direction: first match decides."""
    lines = [f"add chain {TABLE} {name}", f"flush chain {TABLE} {name}"]
    lines += [f"add rule {TABLE} {name} {match(rule)} goto r{rule.number}" for rule in rules]
    return "\n".join(lines) + "\n"


def acl_chain(name: str, subnet: object, direction: Direction, rules: Sequence[Rule]) -> str:
    """(Re)write the chain of an ACL at one subnet and direction; traffic within the subnet passes by."""
    other = "saddr" if direction == "ingress" else "daddr"
    lines = [
        f"add chain {TABLE} {name}",
        f"flush chain {TABLE} {name}",
        f"add rule {TABLE} {name} ip {other} {subnet} return",
    ]
    lines += [
        f"add rule {TABLE} {name} {match(rule)} " + ("return" if rule.action == "allow" else f"goto r{rule.number}")
        for rule in rules
    ]
    return "\n".join(lines) + "\n"


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
