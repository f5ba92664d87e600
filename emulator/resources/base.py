"""What every handle is: a lab and an id; and the flow logs that can be created on some of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from emulator.cloud import beyond, model
from emulator.errors import NotFound
from emulator.resources.ways import End

if TYPE_CHECKING:
    from emulator.lab import Lab
    from emulator.logs.topic import Topic
    from emulator.resources.machine import Machine

_M = TypeVar(
    "_M",
    bound="model.Vpc | model.Subnet | model.Cvm | model.Eni | model.SecurityGroup | model.NetworkAcl | "
    "model.Template | model.FlowLog | beyond.Outside",
)


class Resource(Generic[_M]):
    """Base of all handles: equal when they stand for the same object of the same lab."""

    _table = ""

    def __init__(self, lab: Lab, id: str) -> None:
        self._lab, self.id = lab, id

    @property
    def model(self) -> _M:
        """The object as frozen data; NotFound when it is gone."""
        cloud = self._lab.cloud
        table: Mapping[str, _M] = getattr(cloud, self._table)
        if self.id not in table:
            cloud.find(self.id)  # raises the provider's refusal
        return table[self.id]

    @property
    def name(self) -> str:
        return self.model.name

    def _here(self, named: object, kind: type[Resource[Any]]) -> str:
        """The id of an object of the same lab."""
        return id_in(self._lab, named, kind, f"{self.id} ({self.name})")

    def _all_here(self, named: object, kind: type[Resource[Any]]) -> list[str]:
        """The ids of several; a single one may stand for itself."""
        several = named if isinstance(named, Iterable) and not isinstance(named, str) else (named,)
        return [self._here(one, kind) for one in several]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and (other._lab, other.id) == (self._lab, self.id)

    def __hash__(self) -> int:
        return hash((id(self._lab), self.id))

    def __repr__(self) -> str:
        known = getattr(self._lab.cloud, self._table).get(self.id)
        return f"<{type(self).__name__} {self.id}{f' {known.name!r}' if known else ' (gone)'}>"


def id_in(lab: Lab, named: object, kind: type[Resource[Any]], wanted_by: str) -> str:
    """The id of an object of ``lab``, refused where it is none: one of another lab may have the id of one here."""
    if isinstance(named, kind) and named._lab is lab:
        return named.id
    what = "belongs to another lab" if isinstance(named, kind) else f"is no {kind.__name__}"
    raise lab.profile.refusal(
        NotFound, "object.missing", f"{wanted_by}: {named!r} {what}; give one of this lab", value=named
    )


class Addressed(Resource[_M], End):
    """What has an address that packets can be sent to."""

    @property
    @abstractmethod
    def ip(self) -> str:
        """The address as text; of several the primary one."""

    @property
    def ips(self) -> list[str]:
        """All its addresses."""
        return [self.ip]

    @property
    def ipv6_addresses(self) -> list[str]:
        """Its IPv6 addresses, where it has any."""
        return []

    @property
    def machine(self) -> Machine[Any] | None:
        """The CVM or host of the internet that answers there, if there is one."""
        return None


@dataclass(frozen=True)
class Delivery:
    """``state`` and, where there is more to say, ``message``; ``""`` where the provider says nothing."""

    state: str
    message: str = ""


class FlowLog(Resource[model.FlowLog]):
    """A flow log on an ENI, a subnet or a VPC."""

    _table = "flow_logs"

    def modify(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        interval_s: int | None = None,
    ) -> None:
        """Change what the provider lets one change; what is left out stays."""
        self._lab._change(
            lambda cloud: cloud.modify_flow_log(
                self.id, name=name, description=description, tags=tags, interval_s=interval_s
            ),
            touched=self._lab._covered,
        )

    def enable(self) -> None:
        """Record again, from this moment on."""
        self._lab._change(lambda cloud: cloud.set_flow_log_enabled(self.id, True), touched=self._lab._covered)

    def disable(self) -> None:
        """Record no more, from this moment on; what was seen until now is still published."""
        self._lab._change(lambda cloud: cloud.set_flow_log_enabled(self.id, False), touched=self._lab._covered)

    def delete(self) -> None:
        """Remove the flow log; what it saw until now is still published, its topic stays."""
        self._lab._change(lambda cloud: cloud.delete_flow_log(self.id), touched=self._lab._covered)

    @property
    def enabled(self) -> bool:
        return self.model.enabled

    @property
    def delivery(self) -> Delivery:
        """Whether its records arrive, in the provider's words (``CloudLogState``; ``FlowLogDeliverStatus``)."""
        reason = self._lab._delivery(self.model.topic_id)
        return Delivery(*self._lab.profile.delivery[reason])

    @property
    def topic(self) -> Topic:
        return self._lab.logs.get(self.model.topic_id)


class Loggable(Resource[_M]):
    """What a flow log can be created on."""

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
    ) -> FlowLog:
        """Record the traffic of this ENI, or of every ENI of this subnet or VPC, those created later included.

        ``traffic``: ALL, ACCEPT or REJECT in any case, or the provider's own word. ``interval_s``: the capture window,
        where the provider lets one choose. ``report`` turns on the flow-log index of a topic that has none. Refusals
        carry the provider's code.
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
        )
