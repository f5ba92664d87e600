"""The objects of one account, found by id or name, with quotas, a snapshot and the way back to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from emulator.cloud.beyond import (
    Ccn,
    Eip,
    InternetGateway,
    InternetHost,
    NatGateway,
    Outside,
    Peering,
    RouteTable,
)
from emulator.cloud.ids import Ids
from emulator.cloud.model import Cvm, Eni, FlowLog, NetworkAcl, Rule, SecurityGroup, Subnet, Template, Vpc
from emulator.cloud.names import nearest
from emulator.cloud.numbers import RuleNumbers
from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue, NotFound, QuotaExceeded, Unsupported

Thing = Vpc | Subnet | Cvm | Eni | SecurityGroup | NetworkAcl | Template | FlowLog | Outside
_T = TypeVar("_T", bound=Thing)


@dataclass(frozen=True)
class Snapshot:
    """All tables of a ``State`` at one moment; ids and rule numbers given since stay given."""

    tables: tuple[Mapping[str, object], ...]


class State:
    """What every room of the account builds on. Tables are id → frozen object, in the order of creation."""

    def __init__(self, profile: Profile, *, region: str | None = None, seed: int = 0) -> None:
        self.profile = profile
        self.region = self._check_region(profile.default_region if region is None else region)
        self.vpcs: dict[str, Vpc] = {}
        self.subnets: dict[str, Subnet] = {}
        self.cvms: dict[str, Cvm] = {}
        self.enis: dict[str, Eni] = {}
        self.groups: dict[str, SecurityGroup] = {}
        self.acls: dict[str, NetworkAcl] = {}
        self.templates: dict[str, Template] = {}
        self.flow_logs: dict[str, FlowLog] = {}
        self.route_tables: dict[str, RouteTable] = {}
        self.eips: dict[str, Eip] = {}
        self.internet_gateways: dict[str, InternetGateway] = {}
        self.nat_gateways: dict[str, NatGateway] = {}
        self.peerings: dict[str, Peering] = {}
        self.ccns: dict[str, Ccn] = {}
        self.internet_hosts: dict[str, InternetHost] = {}
        self.quotas = dict(profile.quotas)
        self._implied: dict[str, tuple[Rule, ...]] = {}
        """The provider's rules that no tenant can see or remove, by the id of their VPC, group or ACL."""
        self._ids = Ids(profile, seed)
        self._numbers = RuleNumbers()

    def snapshot(self) -> Snapshot:
        return Snapshot(tuple(table.copy() for table in self._tables()))

    def restore(self, snapshot: Snapshot) -> None:
        """Back to ``snapshot``, in place: who holds a table sees the change."""
        for table, saved in zip(self._tables(), snapshot.tables, strict=True):
            table.clear()
            table.update(saved)

    def reserve_ids(self, ids: Iterable[str]) -> None:
        """Give these ids and MACs to nobody but by :meth:`prescribe_ids`."""
        self._ids.reserve(ids)

    def prescribe_ids(self, ids: Mapping[str, Sequence[str | None]]) -> None:
        """The next objects of each of these kinds get these ids (None: any), and the next ENIs these ``mac``."""
        self._ids.prescribe(ids)

    def find(self, name_or_id: str) -> Thing:
        """Any object: by its id always, by its name where only one has it."""
        for table in self._things():
            if isinstance(name_or_id, str) and name_or_id in table:
                return table[name_or_id]
        named = [thing for table in self._things() for thing in table.values() if thing.name == name_or_id]
        if len(named) == 1:
            return named[0]
        if named:
            raise self.profile.refusal(
                InvalidValue,
                "name.ambiguous",
                f"{name_or_id!r} is the name of {', '.join(thing.id for thing in named)}; use the id",
                object=named[0].id,
                value=name_or_id,
            )
        known = (word for table in self._things() for thing in table.values() for word in (thing.name, thing.id))
        raise self.profile.refusal(
            NotFound,
            "object.missing",
            f"nothing is called {name_or_id!r}; {nearest(str(name_or_id), known)}",
            value=name_or_id,
        )

    def _things(self) -> Iterator[Mapping[str, Thing]]:
        yield from (self.vpcs, self.subnets, self.cvms, self.enis, self.groups, self.acls)
        yield from (self.templates, self.flow_logs, self.route_tables, self.eips, self.internet_gateways)
        yield from (self.nat_gateways, self.peerings, self.ccns, self.internet_hosts)

    def _tables(self) -> tuple[dict[str, object], ...]:
        tables = (*self._things(), self._implied)
        return tables  # type: ignore[return-value]  # noqa: RET504 - dict is invariant; a table goes back into itself

    def _drop_flow_logs(self, resource_id: str) -> None:
        for log in [log for log in self.flow_logs.values() if log.resource_id == resource_id]:
            del self.flow_logs[log.id]

    def _vpc(self, vpc_id: str) -> Vpc:
        return self._lookup(self.vpcs, vpc_id, "VPC", "vpc.missing")

    def _subnet(self, subnet_id: str) -> Subnet:
        return self._lookup(self.subnets, subnet_id, "subnet", "subnet.missing")

    def _cvm(self, cvm_id: str) -> Cvm:
        return self._lookup(self.cvms, cvm_id, "CVM", "cvm.missing")

    def _eni(self, eni_id: str) -> Eni:
        return self._lookup(self.enis, eni_id, "ENI", "eni.missing")

    def _group(self, group_id: str) -> SecurityGroup:
        return self._lookup(self.groups, group_id, "security group", "group.missing")

    def _acl(self, acl_id: str) -> NetworkAcl:
        return self._lookup(self.acls, acl_id, "network ACL", "acl.missing")

    def _route_table(self, route_table_id: str) -> RouteTable:
        return self._lookup(self.route_tables, route_table_id, "route table", "route_table.missing")

    def _eip(self, eip_id: str) -> Eip:
        return self._lookup(self.eips, eip_id, "EIP", "eip.missing")

    def _nat_gateway(self, nat_gateway_id: str) -> NatGateway:
        return self._lookup(self.nat_gateways, nat_gateway_id, "NAT gateway", "nat.missing")

    def _internet_gateway(self, gateway_id: str) -> InternetGateway:
        return self._lookup(self.internet_gateways, gateway_id, "internet gateway", "internet_gateway.missing")

    def _peering(self, peering_id: str) -> Peering:
        return self._lookup(self.peerings, peering_id, "peering", "peering.missing")

    def _ccn(self, ccn_id: str) -> Ccn:
        return self._lookup(self.ccns, ccn_id, "CCN", "ccn.missing")

    def _internet_host(self, host_id: str) -> InternetHost:
        return self._lookup(self.internet_hosts, host_id, "internet host", "host.missing")

    def _flow_log(self, flow_log_id: str) -> FlowLog:
        return self._lookup(self.flow_logs, flow_log_id, "flow log", "flow_log.missing")

    def _lookup(self, table: dict[str, _T], id: str, what: str, reason: str) -> _T:
        thing = table.get(id)
        if thing is None:
            raise self.profile.refusal(
                NotFound, reason, f"no {what} has the id {id!r}; {nearest(str(id), table)}", object=str(id), value=id
            )
        return thing

    def _check_region(self, region: str) -> str:
        if region not in self.profile.regions:
            raise self.profile.refusal(
                Unsupported,
                "region.unknown",
                f"profile {self.profile.name} has no region {region!r}; {nearest(str(region), self.profile.regions)}",
                value=region,
            )
        return region

    def _check_quota(self, quota: str, used: int, reason: str, where: str) -> None:
        """Refuse one more where ``used`` of ``quota`` are there already; a quota that is not listed has no end."""
        most = self.quotas.get(quota)
        if most is not None and used >= most:
            raise self.profile.refusal(
                QuotaExceeded,
                reason,
                f"{where} has {used} {quota.replace('_', ' ')} and may have {most}; "
                f"delete one, or raise quotas[{quota!r}]",
                value=used + 1,
            )
