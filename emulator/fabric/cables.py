"""Links between routers: a veth pair without ARP whose ends share one MAC, so that no router asks for another's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emulator.errors import LabError
from emulator.fabric import netlink
from emulator.fabric.client import KeeperClient

_TRIES = 2000


@dataclass(frozen=True)
class End:
    """Where a link ends: its name and index in a namespace."""

    ns: int
    name: str
    index: int


@dataclass(frozen=True)
class Cable:
    one: End
    other: End

    @property
    def ends(self) -> tuple[End, End]:
        return self.one, self.other

    def lay(self, keeper: KeeperClient) -> None:
        """Make the link; packets pass when this returns."""
        one, other, what = self.one, self.other, f"join {self.one.name} and {self.other.name}"
        mac = f"02:fd:{one.index >> 24 & 255:02x}:{one.index >> 16 & 255:02x}:{one.index >> 8 & 255:02x}"
        mac += f":{one.index & 255:02x}"
        pair = netlink.new_veth(one.name, one.index, mac, other.name, other.index, mac, other.ns)
        netlink.send(keeper, [(one.ns, netlink.ROUTE, pair)], what)
        for end in self.ends:
            offloads = netlink.offloads_off(keeper, end.ns, end.index)
            up = netlink.be_quiet(end.index) + netlink.set_up(end.index, arp=False)
            netlink.send(keeper, [(end.ns, netlink.GENERIC, offloads), (end.ns, netlink.ROUTE, up)], what)
        await_up(keeper, [(end.ns, end.index) for end in self.ends], what)

    def cut(self, keeper: KeeperClient) -> None:
        """Delete the link, and with it the routes that led to it."""
        step = (self.one.ns, netlink.ROUTE, netlink.delete_link(self.one.index))
        netlink.send(keeper, [step], f"part {self.one.name} and {self.other.name}")


def await_up(keeper: KeeperClient, ends: Iterable[tuple[int, int]], what: str) -> None:
    """Wait until packets pass at these ends, (namespace, index): a veth's queue is enabled by deferred work that no
    answer waits for."""
    for ns, index in ends:
        for _ in range(_TRIES):
            if netlink.is_up(netlink.send(keeper, [(ns, netlink.ROUTE, netlink.get_link(index))], what)[0]):
                break
        else:
            raise LabError(f"{what}: the link was made but did not come up")
