"""The fabric of a lab: its VPCs and CVMs as namespaces, and ``net``, the Mininet network that shows them.

Everything here follows the cloud: a method is called after the cloud has accepted a request, and either the kernel
realises it whole or the method raises and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from emulator.cloud.account import Cloud
from emulator.cloud.model import Address, Cvm, Eni, Vpc
from emulator.errors import KeeperLost, LabError
from emulator.fabric.beyond import Beyond
from emulator.fabric.client import KeeperClient
from emulator.fabric.links import VethLink
from emulator.fabric.net import CloudNet
from emulator.fabric.nodes import CvmHost, hostname
from emulator.fabric.visitors import Visitors
from emulator.fabric.vpc import ROUTER, Plug, VpcFabric


class Fabric:
    """Holds the kernel side of one lab; ``tag`` names the lab at the keeper. ``tally``: its VPCs count how often each
    rule decides."""

    def __init__(self, keeper: KeeperClient, cloud: Cloud, tag: str, *, tally: bool = False) -> None:
        self.keeper, self.cloud, self.tag, self._tally = keeper, cloud, tag, tally
        self.net = CloudNet()
        self.vpcs: dict[str, VpcFabric] = {}
        self.beyond = Beyond(keeper, cloud, tag, self.vpcs, Visitors(keeper, self.net, tag))
        self._cvms: dict[str, CvmHost] = {}
        self._hosts_files: dict[str, str] = {}
        self._writing_hosts = threading.Lock()
        self.admitted: Callable[[Sequence[str]], object] = lambda eni_ids: None
        """Called with ENIs' ids before their first packets can pass."""
        self.withdrawn: Callable[[str], object] = lambda eni_id: None
        """Called when such an ENI could not be plugged in after all."""
        self.vacated: Callable[[str], object] = lambda vpc_id: None
        """Called with a VPC's id before its namespace goes."""

    def close(self) -> None:
        """End all guests and drop all namespaces; the kernel takes back what was in them."""
        with contextlib.suppress(KeeperLost):  # then they are gone
            if self.keeper.alive:
                # By tag: an interrupted request may have made one that nobody here knows of.
                self.keeper.drop(ns for ns, tag in self.keeper.spaces().items() if tag == self.tag)
        for node in (*self.net.hosts, *self.net.switches):
            node.retire(dropped=True)

    # VPCs --------------------------------------------------------------------------------------------

    def add_vpc(self, vpc: Vpc) -> None:
        (ns,) = self.keeper.make_namespaces(1, self.tag, ROUTER)
        fabric = VpcFabric(self.keeper, self.cloud, vpc, ns, tally=self._tally)
        try:
            fabric.build()
        except BaseException:
            self._drop(ns)
            raise
        self.vpcs[vpc.id] = fabric
        self.net.addSwitch(vpc.name, id=vpc.id, **self._node(ns, vpc.id, vpc.name))

    def remove_vpc(self, vpc_id: str) -> None:
        self.vacated(vpc_id)
        fabric = self.vpcs.pop(vpc_id)
        self.net.forget(self.net[vpc_id])
        self._drop(fabric.ns)

    def open_doors(self, vpc_id: str) -> Callable[[int, int], socket.socket]:
        """Let the guests of a VPC reach the provider's services; what opens sockets for these, by family and type."""
        fabric = self.vpcs[vpc_id]
        fabric.open_doors()
        return lambda family, kind: self.keeper.socket(fabric.ns, family, kind)

    def furnish(self) -> None:
        """Everything that the cloud has, in a fabric that has nothing yet."""
        for vpc in self.cloud.vpcs.values():
            self.add_vpc(vpc)
            here = [eni for eni in self.cloud.enis.values() if eni.vpc_id == vpc.id and eni.cvm_id is not None]
            made = [(self.cloud.cvms[str(eni.cvm_id)], eni) for eni in here if eni.primary]
            more = [eni for eni in here if not eni.primary]
            if made:
                self.add_cvms(made)
            if more:
                self.attach(more)

    # CVMs and ENIs -----------------------------------------------------------------------------------

    def add_cvms(self, made: Sequence[tuple[Cvm, Eni]]) -> None:
        """Namespaces of CVMs of one VPC, each with its primary ENI, forwarding when this returns."""
        spaces = self.keeper.make_namespaces(len(made), self.tag)
        try:
            for (cvm, _), ns in zip(made, spaces, strict=True):
                params = self._node(ns, cvm.vpc_id, cvm.name or cvm.id)
                self._cvms[cvm.id] = self.net.addHost(cvm.name, id=cvm.id, **params)
            self.attach([eni for _, eni in made])
            self._write_hosts(made[0][0].vpc_id)
        except BaseException:
            for cvm, eni in made:
                if eni.id in self.vpcs[eni.vpc_id].attached:
                    with contextlib.suppress(LabError):
                        self.withdrawn(eni.id)
                        self.detach(eni)
                node = self._cvms.pop(cvm.id, None)
                if node is not None:
                    self.net.forget(node)
            self.keeper.drop(spaces)
            raise

    def remove_cvm(self, cvm: Cvm, enis: list[Eni]) -> None:
        """End a CVM; ``enis`` are those attached to it. What failed half-way may be tried again."""
        node = self._cvms[cvm.id]
        node.retire()
        for eni in enis:
            if eni.id in self.vpcs[eni.vpc_id].attached:
                self.detach(eni)
        self._drop(node.ns)
        self.net.forget(node)
        del self._cvms[cvm.id]
        self._write_hosts(cvm.vpc_id)

    def attach(self, enis: Sequence[Eni]) -> None:
        """Plug ENIs of one VPC into their CVMs, all or none."""
        fabric = self.vpcs[enis[0].vpc_id]
        links: list[VethLink] = []

        def plug(eni: Eni) -> Plug:
            node = self.cvm(str(eni.cvm_id))

            def make_link(index: int, guest_index: int) -> VethLink:
                links.append(self._link(eni, node, index, guest_index))
                return links[-1]

            return Plug(eni, node.ns, make_link)

        try:
            fabric.attach([plug(eni) for eni in enis], lambda: self.admitted([eni.id for eni in enis]))
        except BaseException:
            for eni in enis:
                with contextlib.suppress(LabError):
                    self.withdrawn(eni.id)
            for link in links:
                self.net.unlink(link)
            raise

    def _link(self, eni: Eni, node: CvmHost, index: int, guest_index: int) -> VethLink:
        return self.net.addLink(
            self.net[eni.vpc_id],
            node,
            intfName1=interface_name(eni.id),
            intfName2=f"eth{eni.device}",
            addr1=f"02:fe:00:00:{index >> 8 & 0xFF:02x}:{index & 0xFF:02x}",
            addr2=eni.mac,
            index1=index,
            index2=guest_index,
            port2=eni.device,
            ip2=str(eni.address),
            prefix2=self.cloud.subnets[eni.subnet_id].cidr.prefixlen,
        )

    def detach(self, eni: Eni) -> None:
        """Unplug an ENI, given as it was when attached."""
        place = self.vpcs[eni.vpc_id].attached[eni.id]
        self.vpcs[eni.vpc_id].detach(eni)
        self.net.unlink(place.link)

    def assign(self, eni: Eni, addresses: Sequence[Address]) -> None:
        """An ENI has these addresses, too."""
        fabric = self.vpcs[eni.vpc_id]
        if eni.id in fabric.attached:
            fabric.assign(eni, addresses)
        else:
            fabric.members_changed()
        self._write_hosts(eni.vpc_id)

    def unassign(self, eni: Eni, addresses: Sequence[Address]) -> None:
        """An ENI, given as it was, has lost these addresses."""
        fabric = self.vpcs[eni.vpc_id]
        if eni.id in fabric.attached:
            fabric.unassign(eni, addresses)
        else:
            fabric.members_changed()
        self._write_hosts(eni.vpc_id)

    def cvm(self, cvm_id: str) -> CvmHost:
        """The Mininet node of a CVM."""
        try:
            return self._cvms[cvm_id]
        except KeyError:
            raise LabError(f"{cvm_id} has no machine in this lab: it was terminated, or the lab was closed") from None

    # parts -------------------------------------------------------------------------------------------

    def _drop(self, ns: int) -> None:
        self.keeper.drop([ns])

    def _node(self, ns: int, vpc_id: str, name: str) -> dict[str, Any]:
        host = hostname(name, "cvm")
        return {"keeper": self.keeper, "ns": ns, "hostname": host, "hosts": lambda: self._hosts_file(vpc_id)}

    def _hosts_file(self, vpc_id: str) -> str:
        """The path of the VPC's hosts file in the keeper's folder; written from then on."""
        with self._writing_hosts:  # sandboxes are started by any thread
            if vpc_id not in self._hosts_files:
                self._hosts_files[vpc_id] = self._hosts(vpc_id)
            return self._hosts_files[vpc_id]

    def _write_hosts(self, vpc_id: str) -> None:
        with self._writing_hosts:
            if vpc_id in self._hosts_files:
                self._hosts_files[vpc_id] = self._hosts(vpc_id)

    def _hosts(self, vpc_id: str) -> str:
        lines = ["127.0.0.1 localhost"]
        for eni in list(self.cloud.enis.values()):
            if eni.vpc_id == vpc_id and eni.primary and eni.cvm_id in self.cloud.cvms:
                names = (self.cloud.cvms[eni.cvm_id].name, eni.cvm_id)
                known = list(filter(None, map(hostname, names)))
                lines += [" ".join([str(address), *known]) for address in (eni.address, *eni.ipv6_addresses)]
        content = "\n".join(lines) + "\n"
        return self.keeper.file(f"{self.tag}/{vpc_id}/hosts", content.encode())


def interface_name(eni_id: str) -> str:
    """The name of an ENI's end in the VPC's namespace: its id where that fits into the kernel's 15 characters."""
    return eni_id if len(eni_id) <= 15 else f"eni-{eni_id[-11:]}"
