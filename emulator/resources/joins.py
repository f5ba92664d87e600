"""Peerings and CCNs: VPCs joined with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.cloud import beyond
from emulator.resources.base import Resource

if TYPE_CHECKING:
    from emulator.resources.networks import Vpc


class Peering(Resource[beyond.Peering]):
    """Two VPCs joined; each reaches the other by a route to the peering."""

    _table = "peerings"

    def set_bandwidth(self, mbps: float | None) -> None:
        """Cap what passes, each way, in Mbit/s; what is over it is dropped. None: no cap."""
        self._lab._change(lambda cloud: cloud.set_peering_bandwidth(self.id, mbps))

    def delete(self) -> None:
        """No route may lead to it."""
        self._lab._change(lambda cloud: cloud.delete_peering(self.id))


class Ccn(Resource[beyond.Ccn]):
    """VPCs of any regions joined: Tencent's Cloud Connect Network, Alibaba's Cloud Enterprise Network."""

    _table = "ccns"

    @property
    def vpcs(self) -> list[Vpc]:
        """In the order attached."""
        from emulator.resources.networks import Vpc

        return [Vpc(self._lab, vpc_id) for vpc_id in self.model.vpcs]

    def attach(self, vpc: Vpc) -> None:
        """Join a VPC to the others; their route tables learn the way at once."""
        from emulator.resources.networks import Vpc

        vpc_id = self._here(vpc, Vpc)
        self._lab._change(lambda cloud: cloud.attach_vpc(self.id, vpc_id))

    def detach(self, vpc: Vpc) -> None:
        """Part a VPC from the others."""
        from emulator.resources.networks import Vpc

        vpc_id = self._here(vpc, Vpc)
        self._lab._change(lambda cloud: cloud.detach_vpc(self.id, vpc_id))

    def set_bandwidth(self, region: str, other: str, mbps: float | None) -> None:
        """Cap what passes between two regions, each way, in Mbit/s; what is over it is dropped. None: no cap."""
        self._lab._change(lambda cloud: cloud.set_ccn_bandwidth(self.id, region, other, mbps))

    def delete(self) -> None:
        """No VPC may be attached."""
        self._lab._change(lambda cloud: cloud.delete_ccn(self.id))
