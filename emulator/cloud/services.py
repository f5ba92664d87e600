"""Where a provider's own services answer in every VPC, and what its metadata tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

UDP, TCP = 17, 6
METADATA_PORT, DNS_PORT, NTP_PORT = 80, 53, 123


@dataclass(frozen=True)
class Services:
    """``names`` are of the services themselves, as the provider's DNS resolves them.

    ``facts`` maps paths below ``latest/meta-data/`` to facts of a CVM (see ``services/metadata.py``); in ``eni_facts``
    ``{mac}`` and ``{address}`` stand for those of each of its ENIs.
    """

    metadata: IPv4Address
    dns: tuple[IPv4Address, ...]
    ntp: tuple[IPv4Address, ...]
    names: Mapping[str, IPv4Address]
    facts: Mapping[str, str]
    eni_facts: Mapping[str, str]

    @property
    def doors(self) -> tuple[tuple[IPv4Address, int, int], ...]:
        """Address, protocol and port of each."""
        return (
            (self.metadata, TCP, METADATA_PORT),
            *((address, UDP, DNS_PORT) for address in self.dns),
            *((address, UDP, NTP_PORT) for address in self.ntp),
        )

    @property
    def addresses(self) -> tuple[IPv4Address, ...]:
        return (self.metadata, *self.dns, *self.ntp)
