"""Mininet's links and interfaces over netlink: a veth pair is one message, and nothing runs ``ifconfig``."""

from __future__ import annotations

from typing import Any

from emulator.errors import Unsupported
from emulator.fabric import netlink
from emulator.fabric.nodes import NamespaceNode
from emulator.fabric.stock import Intf, Link


class VethIntf(Intf):  # type: ignore[misc]
    """One end of a veth pair; ``index`` is the kernel's in the node's namespace."""

    index: int = 0

    def config(self, **_params: Any) -> dict[str, Any]:
        """Configured by the link that made it."""
        return {}

    def updateIP(self) -> str | None:
        return self.ip  # type: ignore[no-any-return]

    def updateMAC(self) -> str | None:
        return self.mac  # type: ignore[no-any-return]

    def updateAddr(self) -> tuple[str | None, str | None]:
        return self.ip, self.mac

    def isUp(self, setUp: bool = False) -> bool:
        answer = netlink.send(
            self.node.keeper, [(self.node.ns, netlink.ROUTE, netlink.get_link(self.index))], f"look at {self}"
        )
        return netlink.is_up(answer[0])

    def _fixed(self, *_args: Any, **_kwargs: Any) -> None:
        raise Unsupported(
            f"{self.node}-{self}: an ENI's addresses belong to its VPC; change them through the lab",
            code="UnsupportedOperation",
            reason="eni.fixed",
            object=str(self),
        )

    setIP = setMAC = rename = _fixed

    def delete(self) -> None:
        if self.node is not None:
            self.node.delIntf(self)
        self.link = None


class VethLink(Link):  # type: ignore[misc]
    """A veth pair from ``node1`` (the VPC) to ``node2`` (the CVM), made by the requests that the caller adds to."""

    def __init__(
        self,
        node1: NamespaceNode,
        node2: NamespaceNode,
        *,
        intfName1: str,
        intfName2: str,
        addr1: str,
        addr2: str,
        index1: int,
        index2: int,
        port2: int | None = None,
        ip2: str | None = None,
        prefix2: int = 32,
        **_params: Any,
    ) -> None:
        self.intf1 = VethIntf(intfName1, node=node1, port=index1, link=self, mac=addr1, moveIntfFn=_stay)
        self.intf2 = VethIntf(intfName2, node=node2, port=port2, link=self, mac=addr2, moveIntfFn=_stay)
        self.intf1.index, self.intf2.index = index1, index2
        self.intf2.ip, self.intf2.prefixLen = ip2, prefix2

    def request(self) -> bytes:
        """The netlink request, to be sent in ``node1``'s namespace, that makes the pair."""
        one, two = self.intf1, self.intf2
        return netlink.new_veth(one.name, one.index, one.mac, two.name, two.index, two.mac, two.node.ns)

    def status(self) -> str:
        return "(OK OK)" if self.intf1.isUp() and self.intf2.isUp() else "(DOWN)"

    def delete(self) -> None:
        """Forget the interfaces; the fabric deletes the pair."""
        self.intf1.delete()
        self.intf2.delete()

    stop = delete


def _stay(_name: str, _node: object) -> None:
    """A veth end is born where it belongs."""
