"""``Lab``: one emulated cloud account, and the only place that ties the rooms together.

::

    Python, SDK, CLI ──► Lab ──► cloud/     what is asked for, checked
                          ├────► fabric/    made real by the kernel
                          ├────► capture/   counted, by window
                          └────► logs/      kept and found
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any, TypeVar

from emulator import audit, resources
from emulator.accountwide import AccountWide
from emulator.clock import Clock, check_speed
from emulator.cloud import model
from emulator.cloud.account import Cloud
from emulator.cloud.state import Snapshot
from emulator.errors import InvalidValue, LabClosed, LabError, NotFound, RequestRefused
from emulator.explain import Explanation, explain, explain_packet, packet_in, packet_of
from emulator.filed import Filed
from emulator.options import check_quotas, check_start, data_folder
from emulator.providers import profile as find_profile
from emulator.traffic.ears import Ears
from emulator.watching import WATCHERS

if TYPE_CHECKING:
    import pyarrow as pa

    from emulator.fabric.net import CloudNet
    from emulator.fabric.vpc import VpcFabric
    from emulator.logs.topic import Topic

_T = TypeVar("_T")
_numbers = itertools.count(1)
LABS: weakref.WeakSet[Lab] = weakref.WeakSet()
"""The labs of this process that someone still holds, closed ones included: failing assertions ask them why."""


class Lab(AccountWide, Filed):
    """One emulated cloud account in a private sandbox, open from here until :meth:`close` or the end of its ``with``
    block.

    ``profile``  the cloud: ``tencent``, ``tencent-2020``, ``alibaba``, ``alibaba-2019``
    ``region``   default region of VPCs; the profile's where left out
    ``start``    lab time to begin with, unix seconds; now where left out
    ``speed``    None: the clock stands still until ``clock.advance``; a number: lab seconds for each second of wall
    time
    ``data``     a folder that keeps topics and unpublished records; in memory where left out
    ``quotas``   most of a kind, over the profile's own: ``{"flow_logs": 20}``
    ``spark``    the address of a Spark cluster that answers ``topic.search(..., engine="spark")``

    Raises RequirementMissing where the machine lacks what a lab needs, with the way out.
    """

    def __init__(
        self,
        profile: str = "tencent",
        *,
        region: str | None = None,
        start: float | None = None,
        speed: float | None = None,
        data: str | os.PathLike[str] | None = None,
        quotas: Mapping[str, int] | None = None,
        spark: str | None = None,
    ) -> None:
        self._closed, self._entered = True, False
        self.profile = find_profile(profile)
        start_s = check_start(start)
        speed = check_speed(speed)
        more = check_quotas(self.profile, quotas or {})
        # What follows needs Linux, numpy and Arrow; a lab that is refused for its arguments has not paid for them.
        with warnings.catch_warnings():
            # Mininet imports distutils, which is deprecated: tests that are run with -W error could open no lab.
            warnings.simplefilter("ignore")
            from emulator.capture import recovery
            from emulator.capture.collector import Collector
            from emulator.capture.spool import Spool
            from emulator.fabric.client import keeper
            from emulator.fabric.fabric import Fabric
            from emulator.logs.service import LogService
            from emulator.services.desk import Desk

        self._tag = f"lab-{os.getpid()}-{next(_numbers)}-{time.time_ns():x}"
        self._lock = threading.RLock()
        self.cloud = Cloud(self.profile, region=region)
        self.cloud.quotas.update(more)
        self._folder = folder = None if data is None else data_folder(data)
        self.logs = LogService(profile=self.profile, now=lambda: self.clock.now, folder=folder)
        try:
            self.logs.cluster = spark
            tally = any(watcher.tally for watcher in WATCHERS)
            self.fabric = Fabric(keeper(), self.cloud, self._tag, tally=tally)
            spool = Spool(None if folder is None else folder / "spool")
            if folder is not None:
                recovery.recover(folder, spool, self.profile)
                self.fabric.keeper.linger(self._tag, folder, recovery.LINGER_S)
            self._collector = Collector(self.cloud, self.fabric, spool, self._tag, folder)
            self.fabric.admitted = lambda eni_ids: self._collector.follow(self.clock.now, eni_ids)
            self.fabric.withdrawn = self._collector.forget
            self._desk = Desk(self.cloud, lambda: self.clock.now, self.fabric.open_doors)
            self.fabric.vacated = self._leave
            with self._lock:  # a running clock's thread waits until there is a lab
                self.clock = Clock(
                    start_s, speed=speed, settle=self._settle, next_event=self._next_event, lock=self._lock
                )
                self.logs.wake = self._wake
                self._settle(start_s)
        except BaseException:
            self.logs.close()
            raise
        self.captures: list[tuple[str, str]] = []
        """ENI and file of each capture that was begun."""
        self.ears = Ears()
        self._closed = False
        LABS.add(self)

    @property
    def faults(self) -> resources.Faults:
        """What goes wrong on order: ``lab.faults.late()``, ``.duplicated()``, ``.skipdata(eni)``."""
        return resources.Faults(self)

    @property
    def net(self) -> CloudNet:
        """The lab as a Mininet network: ``net.get("A").cmd("ip a")``, ``pingAll``, ``CLI(lab.net)``."""
        return self.fabric.net

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def quotas(self) -> dict[str, int]:
        """Most of a kind in one region; may be changed."""
        return self.cloud.quotas

    # opening and closing -----------------------------------------------------------------------------

    def __enter__(self) -> Lab:
        self._check_open()
        if self._entered:
            raise LabError("this lab is already entered; open another Lab for a second one")
        self._entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._close(error)

    def close(self) -> None:
        """End all guests, drop all namespaces, close the log store. Closing twice is no error."""
        self._close(None)

    def _close(self, error: BaseException | None) -> None:
        if self._closed:
            return
        try:
            for watcher in WATCHERS:
                watcher.closing(self, error)
                for vpc_id in self.fabric.vpcs:
                    watcher.leaving(self, vpc_id)
        finally:
            self._take_down()

    def _leave(self, vpc_id: str) -> None:
        for watcher in WATCHERS:
            watcher.leaving(self, vpc_id)
        self._desk.leave(vpc_id)

    def _take_down(self) -> None:
        self._closed = True
        try:
            self.clock.close()
        finally:
            try:
                with self._lock:
                    self.ears.close_all()
                    self._collector.close()
                    self._desk.close()
                    self.fabric.close()
            finally:
                self.logs.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    def __repr__(self) -> str:
        return f"<Lab {self.profile.name} {'closed' if self._closed else f'{len(self.cloud.cvms)} CVMs'}>"

    def _check_open(self) -> None:
        if self._closed:
            raise LabClosed("this lab is closed; open a new one with Lab()")

    # what a user asks for ----------------------------------------------------------------------------

    def create_vpc(
        self,
        cidr: str | IPv4Network,
        *,
        name: str | None = None,
        region: str | None = None,
        ipv6_cidr: bool | str | IPv6Network | None = None,
    ) -> resources.Vpc:
        """A VPC with its default security group and an empty routed network.

        ``ipv6_cidr``: a /56, or True for the next of the provider's; left out, the VPC carries IPv4 alone.
        """
        vpc = self._change(
            lambda cloud: cloud.create_vpc(cidr, name=name, region=region, ipv6_cidr=ipv6_cidr),
            then=self.fabric.add_vpc,
            undo=lambda made: self.fabric.remove_vpc(made.id),
        )
        return resources.Vpc(self, vpc.id)

    def find(self, name_or_id: str) -> resources.Resource[Any]:
        """Any object of the account: by id always, by name where only one has it."""
        self._check_open()
        found = self.cloud.find(name_or_id)
        return resources.HANDLES[type(found)](self, found.id)

    def describe_flow_logs(self, **filters: Any) -> tuple[list[resources.FlowLog], int]:
        """Flow logs that match all filters, and how many there are before paging.

        Filters: ``ids name region resource_type resource_id vpc_id traffic topic_id tags enabled``; ``tags`` maps a key
        to a value or to None for any; ``offset`` and ``limit`` page through them, oldest first.
        """
        self._check_open()
        with self._lock:
            found, total = self.cloud.describe_flow_logs(**filters)
        return [resources.FlowLog(self, log.id) for log in found], total

    def explain(self, record: Any) -> Explanation:
        """Which rule, in which group or ACL, made a record say what it says; ``record`` comes from a topic's search.

        Or a packet (:class:`emulator.Packet`, or scapy's): what would become of it if it began a connection now.
        ``.in_full`` tells the whole walk through the rules at both ENIs, ``.walk`` and ``.other_side`` as data. Rules
        live as long as their lab: of a record that an earlier lab left in the data folder, none is named.
        """
        packet = packet_of(record)
        if packet is not None:
            self._check_open()
            with self._lock:
                return explain_packet(self.cloud, packet)
        meta = self._meta_of(record)
        known = self.cloud if meta["lab"] == self._tag else None
        with self._lock:
            # A CEN's records have neither action nor status: what passed, passed.
            status = record.get("log-status", "OK")
            return explain(known, meta, record.get("action"), status, packet_in(record))

    def _meta_of(self, record: Any) -> Mapping[str, Any]:
        """What is known of a flow record beyond its fields; of anything else it is said what is wanted."""
        meta: Mapping[str, Any] = getattr(record, "meta", None) or {}
        if "rule" not in meta or (meta["lab"] != self._tag and self._folder is None):
            raise NotFound(
                f"this is no flow record of this lab: {str(record)[:120]}; give one that topic.search returned",
                code=self.profile.code("record.missing"),
                reason="record.missing",
                value=record,
            )
        return meta

    def audit(self) -> audit.Audit:
        """Double entry over all that was counted so far: each ENI's records against its link's own counters, and what
        one ENI sent against what another got.

        Exact where traffic is quiet, that is where no packet passes while the tables are read; packets under way are
        waited for, for half a second at most. Where traffic goes on all the time, so many as may be under way can
        differ. ENIs without a flow log have no books. Reads the open windows; their records stay as they are.
        """
        self._check_open()
        with self._lock:
            return audit.audit(self._collector, self.cloud, sum(len(vpc.attached) for vpc in self.fabric.vpcs.values()))

    # how a change is made ----------------------------------------------------------------------------

    def _change(
        self,
        apply: Callable[[Cloud], _T],
        realise: Callable[[VpcFabric, _T], object] | None = None,
        vpc_id: str | None = None,
        *,
        then: Callable[[_T], object] | None = None,
        touched: Callable[[_T], Iterable[str]] = lambda _: (),
        undo: Callable[[_T], object] | None = None,
    ) -> _T:
        """Change the cloud, then the kernel, then what is counted; a refusal leaves nothing changed.

        ``realise`` gets the fabric of ``vpc_id``; ``touched`` names the ENIs that flow logs may cover from now on or no
        longer; ``undo`` takes back what the kernel did where counting is refused (without it the change stands then).
        """
        self._check_open()
        with self._lock:
            self._check_open()
            saved = self.cloud.snapshot()
            try:
                result = apply(self.cloud)
                if realise is not None and vpc_id is not None:
                    realise(self.fabric.vpcs[vpc_id], result)
                if then is not None:
                    then(result)
                self.fabric.beyond.follow()
            except BaseException as error:
                self._take_back(saved, error)
                raise
            try:
                self._collector.follow(self.clock.now, touched(result))
            except BaseException as error:
                if undo is not None:
                    with contextlib.suppress(LabError):
                        undo(result)
                if undo is not None or (realise is None and then is None):
                    self._take_back(saved, error)
                raise
            self.clock.wake()
            for watcher in WATCHERS:
                watcher.changed(self)
            return result

    def _take_back(self, saved: Snapshot, error: BaseException) -> None:
        """The cloud as it was, and where the kernel may have begun to follow, that too."""
        self.cloud.restore(saved)
        if isinstance(error, RequestRefused):
            return  # the cloud refuses before it changes anything
        for fabric in self.fabric.vpcs.values():
            with contextlib.suppress(LabError):
                fabric.members_changed()
        with contextlib.suppress(LabError):
            self.fabric.beyond.follow()
        with contextlib.suppress(LabError):
            self._collector.follow(self.clock.now)

    def _run_instances(
        self,
        subnet_id: str,
        names: Sequence[str | None],
        *,
        private_ip: str | IPv4Address | None = None,
        ipv6: bool | str | IPv6Address | None = None,
        groups: Sequence[str] | None,
        instance_type: str | None,
    ) -> list[resources.Cvm]:
        def apply(cloud: Cloud) -> list[tuple[model.Cvm, model.Eni]]:
            return [
                cloud.create_cvm(
                    subnet_id, name=name, private_ip=private_ip, ipv6=ipv6, groups=groups, instance_type=instance_type
                )
                for name in names
            ]

        def undo(made: list[tuple[model.Cvm, model.Eni]]) -> None:
            for cvm, eni in made:
                self.fabric.remove_cvm(cvm, [eni])

        made = self._change(
            apply,
            then=self.fabric.add_cvms,
            touched=lambda made: [eni.id for _, eni in made],
            undo=undo,
        )
        return [resources.Cvm(self, cvm.id) for cvm, _ in made]

    def _terminate(self, cvm_id: str) -> None:
        cvm = resources.Cvm(self, cvm_id).model
        self.ears.close_all(cvm_id)
        enis = [eni for eni in self.cloud.enis.values() if eni.cvm_id == cvm_id]
        self._change(
            lambda cloud: cloud.delete_cvm(cvm_id),
            then=lambda _: self.fabric.remove_cvm(cvm, enis),
            touched=lambda _: [eni.id for eni in enis],
        )

    def _attach(self, eni_id: str, cvm_id: str) -> None:
        self._change(
            lambda cloud: cloud.attach_eni(eni_id, cvm_id),
            then=lambda eni: self.fabric.attach([eni]),
            touched=lambda _: [eni_id],
            undo=self.fabric.detach,
        )

    def _detach(self, eni_id: str) -> None:
        before = resources.Eni(self, eni_id).model
        self._change(
            lambda cloud: cloud.detach_eni(eni_id),
            then=lambda _: self.fabric.detach(before),
            touched=lambda _: [eni_id],
        )

    def _delete_vpc(self, vpc_id: str) -> None:
        self._change(lambda cloud: cloud.delete_vpc(vpc_id), then=lambda _: self.fabric.remove_vpc(vpc_id))

    def _create_flow_log(
        self, resource_id: str, *, topic: Topic | str, report: bool, **wanted: Any
    ) -> resources.FlowLog:
        self._check_open()
        found = self._topic(resource_id, topic)
        now_s = math.floor(self.clock.now)
        log = self._change(
            lambda cloud: cloud.create_flow_log(resource_id, topic_id=found.id, now_s=now_s, **wanted),
            touched=self._covered,
        )
        if report and found.index is None:
            self._enable_report(found, of_ccn=log.resource_type == "ccn")
        return resources.FlowLog(self, log.id)

    def _enable_report(self, topic: Topic, *, of_ccn: bool) -> None:
        """The provider's flow-log index and report of a topic that has none."""
        from emulator.capture.forms import index_keys

        form = self.profile.ccn_form if of_ccn else self.profile.record_form
        topic.enable_index(index_keys(form), report=True)

    def _furnish(self, build: Callable[[Cloud], object]) -> None:
        """Let ``build`` fill the cloud of a lab that has nothing yet, then the kernel follow, all or nothing."""
        self._change(build, then=lambda _: self.fabric.furnish(), touched=lambda _: list(self.cloud.enis))

    def _topic(self, resource_id: str, topic: Topic | str) -> Topic:
        """The topic of this lab that a flow log is to write to."""
        topic_id = topic if isinstance(topic, str) else getattr(topic, "id", None)
        if not isinstance(topic_id, str) or not topic_id:
            raise self.profile.refusal(
                InvalidValue,
                "flow_log.topic",
                f"flow log on {resource_id}: topic={topic!r}; give a topic of lab.logs, or its id",
                object=resource_id,
                value=topic,
            )
        found = self.logs.get(topic_id)
        if found is not topic and not isinstance(topic, str):
            raise self.profile.refusal(
                NotFound,
                "topic.missing",
                f"flow log on {resource_id}: {topic!r} is a topic of another lab, or one that was deleted; give one of "
                "this lab.logs",
                object=resource_id,
                value=topic_id,
            )
        return found

    def _covered(self, log: model.FlowLog | None) -> Iterable[str]:
        """The ENIs on a flow log's resource; all of the account where the log is gone."""
        for eni in list(self.cloud.enis.values()):
            if log is None or log.resource_id in (eni.id, eni.subnet_id, eni.vpc_id):
                yield eni.id

    def _delivery(self, topic_id: str) -> str:
        """What becomes of records for this topic, as ``Profile.delivery`` names it."""
        with self._lock:
            if not self._collector.faults.authorized:
                return "unauthorized"
            if any(topic.id == topic_id for topic in self.logs.topics()):
                return "ok"
            project, _, _ = topic_id.rpartition("/")
            return "topic" if project in self.logs.logsets() else "project"

    # time --------------------------------------------------------------------------------------------

    def _settle(self, now_s: float) -> None:
        """Close the windows that end by ``now_s``, publish what is due; the lock is held by the clock."""
        self._collector.close_windows(now_s)
        self._collector.publish(now_s, self._append)
        self.logs.deliver(now_s)
        self.logs.expire(now_s)

    def _next_event(self) -> float | None:
        moments = (self._collector.next_event(), self.logs.deliveries.next_moment())
        return min((moment for moment in moments if moment is not None), default=None)

    def _wake(self) -> None:
        """What a running clock waits for may come sooner."""
        if self.clock.speed is not None:
            with self._lock:
                self.clock.wake()

    def _append(self, topic_id: str, form: str, table: pa.Table, key: str, due_s: int) -> None:
        from emulator.capture import forms
        from emulator.deciders import deciders

        self.logs.deliver(due_s, goes_on=True)  # what falls due before comes before
        self.logs.get(topic_id).append(forms.stored(form, table, deciders(self.cloud, self._tag, table)), key=key)
