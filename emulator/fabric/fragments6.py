"""How the kernel counts fragments of IPv6 as they were on the wire: part of a VPC's ruleset. Pure text.

As fragments.py has it for IPv4, but a datagram that was put together no longer tells its identification, which stood in
the fragment header. So beside each piece, by what makes fragments one datagram (RFC 8200, 4.5: source, destination,
identification), stands what the first one says of the flow and what the last one says of the whole; pieces6.py joins
them with the flow tables, where datagrams made of fragments have a bit of their own in the mark.
"""

from __future__ import annotations

from emulator.fabric import marks
from emulator.fabric.fragments import MAP, spare_chain, uncounted

_EARLY = marks.FRAGMENTED | marks.PASSED | marks.IN
_PIECE = "iif . ip6 saddr . ip6 daddr . frag id"
_FIRST = f"{_PIECE} . meta l4proto . @th,0,32 . @th,32,16"
_LAST = f"{_PIECE} . @nh,32,32 . @nh,336,16"
"""With what IPv6's header has between flow label and addresses, the payload's length among it; the last 16 bits are the
fragment's offset where its header is the first behind IPv6's."""


def set_names(generation: int) -> tuple[str, str, str]:
    """The sets of pieces, of first and of last ones."""
    return f"pieces6_{generation}", f"firsts6_{generation}", f"lasts6_{generation}"


def standing() -> str:
    """Sets and chains of a VPC's table; its hooks send what is or was fragmented to ``fragment6``, ``whole6_out`` and
    ``whole6_in``."""
    lines = [
        f" chain fragment6 {{\n  update @fragments {{ iif counter }}\n  meta mark set {_EARLY:#x}\n"
        f"  meta mark vmap @{MAP}\n }}"
    ]
    for generation in (0, 1):
        pieces, firsts, lasts = set_names(generation)
        for name, key in ((pieces, _PIECE), (firsts, _FIRST), (lasts, _LAST)):
            lines.append(f" set {name} {{\n  typeof {key}\n  flags dynamic\n }}")
        lines.append(
            f" chain {spare_chain(pieces)} {{\n  {uncounted('iif')}\n }}\n"
            f" chain {pieces} {{\n" + "".join(f"  {rule}\n" for rule in rules(generation)) + " }"
        )
    for side, end in (("out", "iif"), ("in", "oif")):
        lines.append(
            f" chain whole6_{side} {{\n  meta mark set meta mark & {marks.RULE:#x}\n  jump judge6_{side}\n"
            f"  meta mark set meta mark | {marks.FRAGMENTED:#x}\n  {end} vmap @acct6_{side}\n"
            f"  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} drop\n }}"
        )
    return "\n".join(lines)


def rules(generation: int) -> list[str]:
    """By which a generation is filled with a packet of a fragment."""
    pieces, firsts, lasts = set_names(generation)
    return [
        f"frag frag-off 0 update @{firsts} {{ {_FIRST} }}",
        f"frag more-fragments 0 update @{lasts} {{ {_LAST} }}",
        f"update @{pieces} {{ {_PIECE} counter }} return",
        f"goto {spare_chain(pieces)}",
    ]


def jumps(generation: int) -> dict[int, str]:
    """The elements of MAP while a generation is filled."""
    return {_EARLY: set_names(generation)[0]}
