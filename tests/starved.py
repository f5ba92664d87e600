"""VPCs in which no new flow finds a counter, as on a machine whose per-CPU memory others used up for a moment."""

from __future__ import annotations

from emulator.fabric import fragments, fragments6, tables
from emulator.fabric.ruleset import TABLE
from emulator.lab import Lab


def starve(lab: Lab) -> None:
    """Take away the rules by which the tables of the lab's ENIs and the sets of fragments count, so that every packet
    goes on as one that found no room."""
    for fabric in lab.fabric.vpcs.values():
        accounts = fabric.accounts
        for index in accounts.generations:
            declared = tables.declare(index, accounts.shapes).splitlines()
            rules = [line for line in declared if line.startswith("add rule ") and " counter }" not in line]
            flushed = dict.fromkeys(f"flush chain {TABLE} {line.split()[4]}" for line in rules)
            lab.fabric.keeper.nft(fabric.ns, "\n".join([*flushed, *rules]) + "\n")
        for generation in (0, 1):
            pieces, wholes = fragments.set_names(generation)
            chains = {chain: [f"goto {fragments.spare_chain(chain)}"] for chain in _chains(pieces, wholes)}
            if accounts.ipv6:
                of_ipv6 = [rule for rule in fragments6.rules(generation) if " counter }" not in rule]
                chains[fragments6.set_names(generation)[0]] = of_ipv6
            for chain, left in chains.items():
                told = [f"flush chain {TABLE} {chain}", *(f"add rule {TABLE} {chain} {rule}" for rule in left)]
                lab.fabric.keeper.nft(fabric.ns, "\n".join(told) + "\n")


def without_spares(lab: Lab) -> None:
    """Have fragments that find no counter told of and no more, as on a kernel without quotas."""
    for fabric in lab.fabric.vpcs.values():
        for generation in (0, 1):
            for chain in _chains(*fragments.set_names(generation)):
                name = f"{TABLE} {fragments.spare_chain(chain)}"
                rule = fragments.uncounted("oif" if chain.endswith("_in") else "iif")
                lab.fabric.keeper.nft(fabric.ns, f"flush chain {name}\nadd rule {name} {rule}\n")


def _chains(pieces: str, wholes: str) -> list[str]:
    return [pieces, f"{wholes}_out", f"{wholes}_in"]
