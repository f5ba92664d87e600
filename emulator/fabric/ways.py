"""What a VPC's ruleset has more where ways lead out of it, as nftables text. Pure.

::

    prerouting   (behind judgement and counting) a connection that came by a border is remembered in its label; its
                 replies get the border's number into the mark, by which they are routed
    forward      (behind judgement) what leaves by a link to the outside is counted by its ENI

Such a link is in the set of gates: what comes by it is no ENI's own and passes the check of sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emulator.fabric import marks
from emulator.fabric.ruleset import TABLE


def text(gates: Sequence[int], remembered: Mapping[int, int]) -> str:
    """The chains for these links; ``remembered`` maps those of borders to their numbers."""
    if not gates:
        return f"delete chain {TABLE} coming\ndelete chain {TABLE} leaving\n"
    every = ", ".join(map(str, gates))
    lines = [
        f"add chain {TABLE} coming {{ type filter hook prerouting priority 10; }}",
        f"add chain {TABLE} leaving {{ type filter hook forward priority 10; }}",
        f"flush chain {TABLE} coming",
        f"flush chain {TABLE} leaving",
        f"add rule {TABLE} leaving oif {{ {every} }} update @left_by {{ iif counter }}",
    ]
    lines += [f"add chain {TABLE} by{way}" for way in remembered.values()]
    lines += [f"flush chain {TABLE} by{way}" for way in remembered.values()]
    lines += [f"add rule {TABLE} by{way} ct state new ct label set {way}" for way in remembered.values()]
    come = [f"{index} : {f'goto by{remembered[index]}' if index in remembered else 'accept'}" for index in gates]
    lines.append(f"add rule {TABLE} coming iif vmap {{ {', '.join(come)} }}")
    lines.append(f"add rule {TABLE} coming ct direction original accept")
    lines += [
        f"add rule {TABLE} coming ct label {way} meta mark set meta mark | {marks.way(way):#x}"
        for way in remembered.values()
    ]
    return "\n".join(lines) + "\n"
