"""Peerings and CCNs: VPCs joined with each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from emulator.cloud import beyond
from emulator.resources.base import FlowLog, Loggable, Resource

if TYPE_CHECKING:
    from emulator.logs.topic import Topic
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


class Ccn(Loggable[beyond.Ccn]):
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

    def create_flow_log(
        self,
        name: str | None = None,
        *,
        topic: Topic | str,
        traffic: str = "ALL",
        interval_s: int | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        report: bool = True,
        region: str | None = None,
    ) -> FlowLog:
        """Record what leaves and enters a region, the lab's own where left out. Tencent: what passes to and from other
        regions, REJECT where a cap dropped it. Alibaba: what passes the attachments of the region's VPCs, "in" to the
        CEN and "out" of it. Other arguments as for an ENI's flow log.
        """
        return self._lab._create_flow_log(
            self.id,
            topic=topic,
            report=report,
            name=name,
            traffic=traffic,
            interval_s=interval_s,
            tags=tags,
            description=description,
            region=region,
        )

    def delete(self) -> None:
        """No VPC may be attached, and no flow log be on it."""
        self._lab._change(lambda cloud: cloud.delete_ccn(self.id))
