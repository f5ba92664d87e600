"""Machines on the lab's internet: a namespace each, as a CVM's, with one address and no rules around it."""

from __future__ import annotations

from ipaddress import IPv4Network

from emulator.cloud.beyond import InternetHost
from emulator.errors import LabError
from emulator.fabric import netlink
from emulator.fabric.cables import End
from emulator.fabric.client import KeeperClient
from emulator.fabric.net import CloudNet
from emulator.fabric.nodes import CvmHost, hostname
from emulator.fabric.routing import NetworkRoute
from emulator.fabric.vpc import QUIET

_ETH0 = 2
_ANYWHERE = IPv4Network("0.0.0.0/0")


class Visitors:
    def __init__(self, keeper: KeeperClient, net: CloudNet, tag: str) -> None:
        self._keeper, self._net, self._tag = keeper, net, tag
        self._nodes: dict[str, CvmHost] = {}
        self._hosts: list[InternetHost] = []

    @property
    def known(self) -> list[str]:
        """Ids of those that have a machine."""
        return list(self._nodes)

    def machine(self, host_id: str) -> CvmHost:
        try:
            return self._nodes[host_id]
        except KeyError:
            raise LabError(f"{host_id} has no machine in this lab: it was deleted, or the lab was closed") from None

    def end(self, host_id: str) -> End:
        """Where its link is to be plugged in."""
        return End(self._nodes[host_id].ns, "eth0", _ETH0)

    def add(self, host: InternetHost) -> None:
        """Its namespace, without a link."""
        (ns,) = self._keeper.make_namespaces(1, self._tag, QUIET)
        self._nodes[host.id] = self._net.addHost(
            host.name,
            id=host.id,
            keeper=self._keeper,
            ns=ns,
            hostname=hostname(host.name, "host"),
            hosts=self._hosts_file,
        )

    def plugged(self, host: InternetHost) -> None:
        """Its link is there: its address, and everything else by that link."""
        address = netlink.set_up(1) + netlink.add_address(_ETH0, str(host.address), 32)
        everything = NetworkRoute(_ANYWHERE, _ETH0).add()
        step = (self._nodes[host.id].ns, netlink.ROUTE, address + everything)
        netlink.send(self._keeper, [step], f"start {host.id} ({host.name})")

    def remove(self, host_id: str) -> None:
        node = self._nodes[host_id]
        self._net.forget(node)
        self._keeper.drop([node.ns])
        del self._nodes[host_id]

    def name(self, hosts: list[InternetHost]) -> None:
        """Let all know each other's names."""
        if hosts != self._hosts:
            self._hosts = hosts
            self._hosts_file()

    def _hosts_file(self) -> str:
        lines = ["127.0.0.1 localhost"]
        lines += [f"{host.address} {hostname(host.name, host.id)} {host.id}" for host in self._hosts]
        return self._keeper.file(f"{self._tag}/internet/hosts", ("\n".join(lines) + "\n").encode())
