"""``lab.net``: the Mininet network whose hosts are the lab's CVMs and whose switches are its VPCs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from emulator.errors import InvalidValue, LabError, NotFound
from emulator.fabric.links import VethIntf, VethLink
from emulator.fabric.nodes import CvmHost, NamespaceNode, VpcRouter
from emulator.fabric.stock import Link, Mininet, Node, error

_LOST_AFTER_S = "1"
"""Everything is on one machine; Mininet's own pingAll waits ten seconds for each answer that does not come."""


class CloudNet(Mininet):  # type: ignore[misc]
    """Mininet's network over namespaces that the keeper holds.

    Names need not be unique in a cloud: a node is found by its id always and by its name where only one has it.
    Nodes and links come and go with CVMs, ENIs and VPCs; ``stop`` is left to the lab.
    """

    def __init__(self) -> None:
        # Not Mininet.__init__: it writes sysctls of the host and insists on root.
        self.topo, self.switch, self.host, self.controller = None, VpcRouter, CvmHost, None
        self.link, self.intf, self.ipBase = VethLink, VethIntf, "10.0.0.0/8"
        self.hosts: list[CvmHost] = []
        self.switches: list[VpcRouter] = []
        self.controllers: list[Node] = []
        self.links: list[Link] = []
        self.nameToNode: dict[str, Node] = {}  # by id
        self.terms: list[object] = []
        self.inNamespace, self.listenPort, self.waitConn = True, None, False
        self.autoStaticArp = self.autoSetMacs = self.autoPinCpus = self.xterms = self.cleanup = False
        self.built = True

    def build(self) -> None:
        """Everything is built as it is asked for."""

    start = stop = build

    def addHost(self, name: str, cls: type | None = None, **params: Any) -> CvmHost:
        if "ns" not in params:
            raise LabError(f"host {name!r}: CVMs come from the cloud; use subnet.run_instance({name!r})")
        node = (cls or CvmHost)(name, **params)
        self.hosts.append(node)
        self.nameToNode[node.id] = node
        return node  # type: ignore[no-any-return]

    def addSwitch(self, name: str, cls: type | None = None, **params: Any) -> VpcRouter:
        if "ns" not in params:
            raise LabError(f"switch {name!r}: VPCs come from the cloud; use lab.create_vpc(cidr, name={name!r})")
        node = (cls or VpcRouter)(name, **params)
        self.switches.append(node)
        self.nameToNode[node.id] = node
        return node  # type: ignore[no-any-return]

    def addLink(self, node1: Node, node2: Node, **params: Any) -> VethLink:
        if "index1" not in params:
            raise LabError("links come with ENIs; use subnet.create_eni() and eni.attach(cvm)")
        link = VethLink(node1, node2, **params)
        self.links.append(link)
        return link

    def addController(self, name: object = "c0", *_args: Any, **_params: Any) -> Node:
        raise LabError(f"controller {name!r}: a VPC routes by itself; its rules are security groups and network ACLs")

    def addNAT(self, name: str = "nat0", *_args: Any, **_params: Any) -> Node:
        raise LabError(f"NAT {name!r}: a lab has no way to the host's network")

    def ping(self, hosts: list[Node] | None = None, timeout: str | None = None) -> Any:
        """Ping between all of these hosts, waiting a second for each answer, or ``timeout`` seconds."""
        return super().ping(hosts, timeout or _LOST_AFTER_S)

    def forget(self, node: NamespaceNode) -> None:
        """End what runs at a node and take it out; for the fabric, which drops its namespace."""
        node.retire()
        (self.hosts if node in self.hosts else self.switches).remove(node)
        del self.nameToNode[node.id]

    def unlink(self, link: Link) -> None:
        """Take a link out; for the fabric, which deletes the veth pair."""
        link.delete()
        self.links.remove(link)

    def delNode(self, node: Node, nodes: list[Node] | None = None) -> None:
        raise LabError(f"{node}: CVMs and VPCs go through the cloud; use cvm.terminate() or vpc.delete()")

    def __delitem__(self, key: str) -> None:
        self.delNode(self[key])

    def delLink(self, link: Link) -> None:
        raise LabError(f"{link}: links go with ENIs; use eni.detach() or cvm.terminate()")

    def configLinkStatus(self, src: str, dst: str, status: str) -> None:
        """Mininet's CLI calls this and wants no exceptions."""
        error(f"{src}-{dst}: the link of an ENI is up while it is attached; use eni.detach() and eni.attach(cvm)\n")

    def _names(self) -> Counter[str]:
        return Counter(node.name for node in self.nameToNode.values())

    def __iter__(self) -> Iterator[str]:
        """Names where they are unique, ids elsewhere."""
        names = self._names()
        for node in (*self.hosts, *self.switches):
            yield node.name if names[node.name] == 1 else node.id

    def __contains__(self, item: object) -> bool:
        return item in self.nameToNode or self._names().get(str(item), 0) == 1

    def __getitem__(self, key: str) -> Node:
        if key in self.nameToNode:
            return self.nameToNode[key]
        found = [node for node in self.nameToNode.values() if node.name == key]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(node.id for node in found)
            raise InvalidValue(
                f"{len(found)} nodes have the name {key!r}; ask for one by id: {ids}",
                code="InvalidParameterValue",
                reason="name.ambiguous",
                value=key,
            )
        known = ", ".join(sorted(self)) or "none"
        raise NotFound(
            f"no node {key!r} in this network; there are: {known}",
            code="ResourceNotFound",
            reason="node.missing",
            value=key,
        )

    def getNodeByName(self, *args: str) -> Any:
        return self[args[0]] if len(args) == 1 else [self[name] for name in args]

    def get(self, *args: str) -> Any:
        return self.getNodeByName(*args)
