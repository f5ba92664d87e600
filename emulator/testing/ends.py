"""The two ends of a way, as records show them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

from emulator.resources import Addressed, Eni
from emulator.resources.ways import End
from emulator.testing.refusal import refused


def holder(end: End | str) -> Callable[[Any], bool]:
    """Whether an address is the end's."""
    if isinstance(end, str):
        try:
            network = ip_network(end)
        except ValueError as error:
            raise refused(f"{end!r} is no address and no network: {error}", end) from None
        return lambda address: address is not None and ip_address(address) in network
    if isinstance(end, Addressed):
        return {*end.ips, *end.ipv6_addresses}.__contains__
    raise refused(f"{end!r} is no end of a way: give a CVM, an ENI, an address or a network", end)


def only(end: End | str) -> str | None:
    """The end's address where it has but one."""
    if isinstance(end, Addressed):
        known = [*end.ips, *end.ipv6_addresses]
        return known[0] if len(known) == 1 else None
    network = ip_network(str(end))
    return str(network.network_address) if network.num_addresses == 1 else None


def eni_id(eni: Eni | str | None) -> str:
    return eni.id if isinstance(eni, Eni) else str(eni)
