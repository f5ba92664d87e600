"""Machines on the lab's internet: whoever visits a cloud from outside, and whom it visits."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from emulator.cloud.addresses import parse_address
from emulator.cloud.beyond import InternetHost
from emulator.cloud.eips import EIP_NETWORKS
from emulator.cloud.names import check_name
from emulator.cloud.state import State
from emulator.errors import AlreadyExists, InvalidValue, QuotaExceeded

HOST_NETWORKS = (IPv4Network("198.51.100.0/24"), IPv4Network("192.0.2.0/24"), IPv4Network("198.19.0.0/16"))
"""Where hosts get their addresses: two networks for documentation (RFC 5737), then half of that for benchmarks."""

NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.168.0.0/16", "224.0.0.0/3",
        ),
    )
)  # fmt: skip
"""No machine on the internet has such an address (RFC 6890)."""


class Internet(State):
    def create_internet_host(
        self, *, name: str | None = None, region: str | None = None, ip: str | IPv4Address | None = None
    ) -> InternetHost:
        """A machine on the internet, in one of the provider's regions; ``ip`` may be any public address but an EIP's,
        without it the lowest free one of the networks for documentation."""
        where = self.region if region is None else self._check_region(region)
        if name is not None:
            check_name(self.profile, name, "internet host")
        address = self._lowest_free_host() if ip is None else self._check_host_address(ip)
        host_id = self._ids.new("internet_host")
        host = InternetHost(host_id, name or host_id, where, address)
        self.internet_hosts[host_id] = host
        return host

    def delete_internet_host(self, host_id: str) -> None:
        self._internet_host(host_id)
        del self.internet_hosts[host_id]

    def _check_host_address(self, ip: str | IPv4Address) -> IPv4Address:
        address = parse_address(self.profile, ip, "address of an internet host")
        if any(address in network for network in (*NOT_PUBLIC, *EIP_NETWORKS)):
            raise self.profile.refusal(
                InvalidValue,
                "host.address",
                f"address of an internet host: {address} is private, reserved, or of the EIPs' networks "
                f"({', '.join(map(str, EIP_NETWORKS))}); give another, like {HOST_NETWORKS[0][9]}",
                value=str(address),
            )
        taken = next((host for host in self.internet_hosts.values() if host.address == address), None)
        if taken is not None:
            raise self.profile.refusal(
                AlreadyExists,
                "address.taken",
                f"address of an internet host: {address} is {taken.name}'s ({taken.id}); leave it out for a free one",
                object=taken.id,
                value=str(address),
            )
        return address

    def _lowest_free_host(self) -> IPv4Address:
        taken = {host.address for host in self.internet_hosts.values()}
        free: Iterator[IPv4Address] = (one for network in HOST_NETWORKS for one in network.hosts() if one not in taken)
        address = next(free, None)
        if address is None:
            raise self.profile.refusal(
                QuotaExceeded, "host.quota", f"all {len(taken)} addresses of internet hosts are taken; delete one"
            )
        return address
