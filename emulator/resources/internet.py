"""The lab's internet and the machines on it. Nothing ever leaves the machine that the lab runs on."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from emulator.cloud import beyond
from emulator.resources.machine import Machine

if TYPE_CHECKING:
    from emulator.fabric.nodes import CvmHost
    from emulator.lab import Lab


class Internet:
    """``lab.internet``: whoever visits the cloud from outside, and whom it visits."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def host(
        self, name: str | None = None, *, region: str | None = None, ip: str | IPv4Address | None = None
    ) -> InternetHost:
        """A new machine on the internet, in a region of the provider's; it reaches EIPs and other hosts.

        ``ip`` may be any public address; without it the host gets one of the networks for documentation.
        """
        host = self._lab._change(lambda cloud: cloud.create_internet_host(name=name, region=region, ip=ip))
        return InternetHost(self._lab, host.id)

    @property
    def hosts(self) -> list[InternetHost]:
        return [InternetHost(self._lab, host_id) for host_id in self._lab.cloud.internet_hosts]

    def __repr__(self) -> str:
        return f"<Internet with {len(self._lab.cloud.internet_hosts)} hosts>"


class InternetHost(Machine[beyond.InternetHost]):
    """A machine on the internet; runs, pings and listens as a CVM does."""

    _table = "internet_hosts"

    @property
    def ip(self) -> str:
        """Its public address."""
        return str(self.model.address)

    @property
    def region(self) -> str:
        return self.model.region

    def delete(self) -> None:
        """End it and what runs there."""
        self._lab.ears.close_all(self.id)
        self._lab._change(lambda cloud: cloud.delete_internet_host(self.id))

    def _node(self) -> CvmHost:
        self._lab._check_open()
        return self._lab.fabric.beyond.visitors.machine(self.model.id)
