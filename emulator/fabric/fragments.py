"""How the kernel counts fragments as they were on the wire: part of a VPC's ruleset. Pure text.

Connection tracking puts fragments together (priority -400) before any rule can judge, so flow tables count datagrams.
Beside them stands what was on the wire, by what makes fragments one datagram (RFC 791: source, destination, protocol,
identification), in two generations for each VPC that are cut together with the flow tables::

    pieces   each fragment, before they are put together
    wholes   each datagram made of fragments: its ENI, the mark that its ENI's flow table has it under, its ports

Only fragments pay for this: the first mark that a packet gets leads them through chains of their own. pieces.py joins
the two.
"""

from __future__ import annotations

from emulator.fabric import marks

MAP = "fragment_tables"
"""Which generation is filled; empty where no ENI is counted."""

PIECE = "@nh,72,8 . @nh,96,32 . @nh,128,32 . @nh,32,16"
WHOLE = "meta mark . @nh,72,8 . @nh,96,32 . @nh,128,32 . @th,0,32 . @th,32,16 . @nh,32,16"

_EARLY = marks.FRAGMENTED | marks.PASSED
_SIDES = {marks.FRAGMENTED: "out", marks.FRAGMENTED | marks.IN: "in"}
_SIDE = f"meta mark & {marks.FRAGMENTED | marks.IN:#x}"


def set_names(generation: int) -> tuple[str, str]:
    """The sets of pieces and of wholes."""
    return f"pieces{generation}", f"wholes{generation}"


def standing() -> str:
    """Sets, map and chains of a VPC's table; its hooks send fragments to ``fragment``, and datagrams that were made of
    them to ``forged``, ``whole_out`` or ``whole_in``."""
    lines = [
        " set uncounted_by {\n  type iface_index\n  flags dynamic\n  counter\n }",
        f" map {MAP} {{\n  type mark : verdict\n }}",
        f" chain fragment {{\n  meta nfproto != ipv4 return\n  update @fragments {{ iif counter }}\n"
        f"  meta mark set {_EARLY:#x}\n  meta mark vmap @{MAP}\n }}",
        f" chain forged {{\n  meta mark set {marks.FRAGMENTED:#x}\n  {_SIDE} vmap @{MAP}\n  drop\n }}",
    ]
    for generation in (0, 1):
        pieces, wholes = set_names(generation)
        lines.append(f" set {pieces} {{\n  typeof {PIECE}\n  flags dynamic\n }}")
        lines.append(f" set {wholes} {{\n  typeof iif . {WHOLE}\n  flags dynamic\n }}")
        lines.append(_counting(pieces, pieces, "iif", PIECE))
        lines += [
            _counting(f"{wholes}_{side}", wholes, end, f"{end} . {WHOLE}")
            for side, end in (("out", "iif"), ("in", "oif"))
        ]
    for side, end in (("out", "iif"), ("in", "oif")):
        lines.append(
            f" chain whole_{side} {{\n  meta mark set meta mark & {marks.RULE:#x}\n  jump judge_{side}\n"
            f"  meta mark set meta mark | {marks.FRAGMENTED:#x}\n  {end} vmap @acct_{side}\n  {_SIDE} vmap @{MAP}\n"
            f"  meta mark & {marks.REJECT:#x} == {marks.REJECT:#x} drop\n }}"
        )
    return "\n".join(lines)


def _counting(chain: str, name: str, end: str, key: str) -> str:
    spare = spare_chain(chain)
    return (
        f" chain {spare} {{\n  {uncounted(end)}\n }}\n"
        f" chain {chain} {{\n  update @{name} {{ {key} counter }} return\n  goto {spare}\n }}"
    )


def spare_chain(chain: str) -> str:
    """Where what found no counter goes on to, from the chain of a set (spare.py)."""
    return f"{chain}_spare"


def uncounted(end: str) -> str:
    """The statement for what is only told of, by the ENI at this end."""
    return f"update @uncounted_by {{ {end} counter }}"


def jumps(generation: int) -> dict[int, str]:
    """The elements of MAP while a generation is filled."""
    pieces, wholes = set_names(generation)
    return {_EARLY: pieces, **{mark: f"{wholes}_{side}" for mark, side in _SIDES.items()}}
