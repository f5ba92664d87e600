"""A namespace that forwards between networks: its links, routes and rules, kept as somebody wants them."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from emulator.fabric import netlink
from emulator.fabric.cables import End
from emulator.fabric.client import KeeperClient
from emulator.fabric.routing import NetworkRoute, TableRule


@dataclass
class Router:
    """``hop`` is its own address, None in a VPC's namespace; ``ports`` are the ends of its links by the neighbour's
    name, ``written`` what of its ruleset is there, ``admitted`` a VPC's links to the outside whose packets it takes."""

    name: str
    ns: int
    hop: IPv4Address | None = None
    ports: dict[str, End] = field(default_factory=dict)
    written: str = ""
    admitted: set[int] = field(default_factory=set)
    _routes: set[NetworkRoute] = field(default_factory=set)
    _rules: set[TableRule] = field(default_factory=set)
    _tables: dict[str, int] = field(default_factory=dict)

    def table(self, name: str) -> int:
        """The number of a routing table, the same for a name as long as the router stands."""
        return self._tables.setdefault(name, 1000 + len(self._tables))

    def open(self, keeper: KeeperClient) -> None:
        """Give it its own address. Without any, not even that of its loopback, the kernel takes no next router."""
        up = netlink.set_up(1)
        if self.hop is not None:
            up += netlink.add_address(1, str(self.hop), 32)
        netlink.send(keeper, [(self.ns, netlink.ROUTE, up)], f"build {self.name}")

    def lead(self, keeper: KeeperClient, routes: Set[NetworkRoute], rules: Set[TableRule] = frozenset()) -> None:
        """Have these routes and rules and no others of this kind; where the kernel refuses, what it took is known."""
        for route in self._routes - routes:
            self._send(keeper, route.delete())
            self._routes.remove(route)
        for rule in self._rules - rules:
            self._send(keeper, rule.delete())
            self._rules.remove(rule)
        for rule in sorted(rules - self._rules, key=lambda rule: rule.priority):
            self._send(keeper, rule.add())
            self._rules.add(rule)
        for route in routes - self._routes:
            self._send(keeper, route.add())
            self._routes.add(route)

    def write(self, keeper: KeeperClient, text: str) -> None:
        """Have this ruleset."""
        if text != self.written:
            keeper.nft(self.ns, text)
            self.written = text

    def _send(self, keeper: KeeperClient, request: bytes) -> None:
        netlink.send(keeper, [(self.ns, netlink.ROUTE, request)], f"route in {self.name}")
