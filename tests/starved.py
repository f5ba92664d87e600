"""VPCs in which no new flow finds a counter, as on a machine whose per-CPU memory others used up for a moment."""

from __future__ import annotations

from emulator.fabric import tables
from emulator.fabric.ruleset import TABLE
from emulator.lab import Lab


def starve(lab: Lab) -> None:
    """Take away the rules by which the tables of the lab's ENIs count, so that every packet goes on as one that found
    no room."""
    for fabric in lab.fabric.vpcs.values():
        accounts = fabric.accounts
        for index in accounts.generations:
            declared = tables.declare(index, accounts.shapes).splitlines()
            rules = [line for line in declared if line.startswith("add rule ") and " counter }" not in line]
            flushed = dict.fromkeys(f"flush chain {TABLE} {line.split()[4]}" for line in rules)
            lab.fabric.keeper.nft(fabric.ns, "\n".join([*flushed, *rules]) + "\n")
