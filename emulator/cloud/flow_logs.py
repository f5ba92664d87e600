"""Flow logs: what is recorded, for which ENIs, into which topic."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from emulator.cloud.model import Eni, FlowLog, ResourceType, Traffic
from emulator.cloud.names import check_description, check_flow_log_name, check_tags, nearest
from emulator.cloud.state import State
from emulator.errors import AlreadyExists, InvalidValue, NotFound, Unsupported

_TRAFFIC: dict[str, Traffic] = {"ALL": "ALL", "ACCEPT": "ACCEPT", "REJECT": "REJECT"}


def family(instance_type: str) -> str:
    """``ecs.sn1ne.large`` → ``sn1ne``, ``S5.MEDIUM2`` → ``S5``."""
    first, _, rest = instance_type.partition(".")
    return rest.partition(".")[0] if first == "ecs" and rest else first


class FlowLogs(State):
    def create_flow_log(
        self,
        resource_id: str,
        *,
        topic_id: str,
        now_s: int,
        name: str | None = None,
        traffic: str = "ALL",
        interval_s: int | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        vpc_id: str | None = None,
        region: str | None = None,
    ) -> FlowLog:
        """Record what passes at an ENI, or at all ENIs of a subnet or VPC, those created later too; or on a CCN what
        leaves and enters ``region``, the account's own where left out.

        ``traffic`` is ALL, ACCEPT or REJECT in any case, or Allow or Drop; ``interval_s`` one of the profile's windows;
        ``vpc_id``, where given, must be the resource's VPC. Whether the topic exists is the caller's to check. Without
        ``name`` the log is named by its id. Tencent refuses a name that is taken in the region, Alibaba does not.
        """
        resource_type, resource_vpc = self._resource(resource_id)
        if vpc_id is not None and vpc_id != resource_vpc:
            self._vpc(vpc_id)
            there = f"in VPC {resource_vpc}" if resource_vpc else "in no VPC"
            raise self.profile.refusal(
                InvalidValue,
                "flow_log.vpc",
                f"flow log on {resource_id}: it is {there}, not in {vpc_id}",
                object=resource_id,
                value=vpc_id,
            )
        region = self._log_region(resource_id, resource_vpc, region)
        if name is not None:
            self._check_name(name, region)
        kind = self._check_traffic(traffic)
        if resource_type == "ccn" and self.profile.ccn_by_attachment and kind != "ALL":
            raise self.profile.refusal(
                Unsupported,
                "flow_log.traffic",
                f"flow log on {resource_id}: of a CCN {self.profile.name} records all traffic; leave traffic out",
                object=resource_id,
                value=traffic,
            )
        interval = self._check_interval(interval_s, resource_type)
        checked = check_tags(self.profile, tags)
        check_description(self.profile, description)
        if not isinstance(topic_id, str) or not topic_id:
            raise self.profile.refusal(
                InvalidValue,
                "flow_log.topic",
                f"flow log on {resource_id}: it needs a topic to write to; create one and give its id",
                object=resource_id,
                value=topic_id,
            )
        self._check_resource(resource_id, resource_type, region)
        used = sum(log.region == region for log in self.flow_logs.values())
        self._check_quota("flow_logs", used, "flow_log.quota", f"region {region}")
        flow_log_id = self._ids.new("flow_log")
        log = FlowLog(
            flow_log_id,
            name or flow_log_id,
            region,
            resource_vpc,
            resource_type,
            resource_id,
            kind,
            topic_id,
            interval,
            now_s,
            description,
            checked,
        )
        self.flow_logs[flow_log_id] = log
        return log

    def modify_flow_log(
        self,
        flow_log_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        interval_s: int | None = None,
    ) -> FlowLog:
        """Change what may change; None leaves it, ``""`` takes a description away, ``{}`` all tags."""
        log = self._flow_log(flow_log_id)
        if name is not None and name != log.name:
            self._check_name(name, log.region)
            log = replace(log, name=name)
        if description is not None:
            log = replace(log, description=check_description(self.profile, description))
        if tags is not None:
            log = replace(log, tags=check_tags(self.profile, tags))
        if interval_s is not None:
            log = replace(log, interval_s=self._check_interval(interval_s, log.resource_type))
        self.flow_logs[flow_log_id] = log
        return log

    def set_flow_log_enabled(self, flow_log_id: str, enabled: bool) -> FlowLog:
        """Start or stop recording; doing it twice is no mistake. Tencent does not let one switch those on CCNs."""
        log = self._flow_log(flow_log_id)
        if log.resource_type == "ccn" and not self.profile.ccn_logs_switched:
            raise self.profile.refusal(
                Unsupported,
                "flow_log.switch",
                f"flow log {log.name} ({log.id}) is on a CCN: it cannot be switched; delete it, and create it again",
                object=log.id,
                value=enabled,
            )
        self.flow_logs[flow_log_id] = log = replace(log, enabled=enabled)
        return log

    def delete_flow_log(self, flow_log_id: str) -> None:
        """Its topic and what it recorded stay."""
        self._flow_log(flow_log_id)
        del self.flow_logs[flow_log_id]

    def describe_flow_logs(
        self,
        *,
        ids: Collection[str] | None = None,
        name: str | None = None,
        region: str | None = None,
        resource_type: ResourceType | None = None,
        resource_id: str | None = None,
        vpc_id: str | None = None,
        traffic: str | None = None,
        topic_id: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        enabled: bool | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> tuple[list[FlowLog], int]:
        """One page of the flow logs that meet every filter, the oldest first, and how many there are in all.

        A filter that is None is none; an unknown id finds nothing. ``tags``: key → value, or None for any value.
        """
        for bound, number in (("offset", offset), ("limit", limit)):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
                raise self.profile.refusal(
                    InvalidValue, "page.range", f"{bound} {number!r}: give a whole number from 0", value=number
                )
        wanted = {
            "name": name,
            "region": region,
            "resource_type": resource_type,
            "resource_id": resource_id,
            "vpc_id": vpc_id,
            "traffic": None if traffic is None else self._check_traffic(traffic),
            "topic_id": topic_id,
            "enabled": enabled,
        }
        found = [
            log
            for log in self.flow_logs.values()
            if (ids is None or log.id in ids)
            and all(value is None or getattr(log, field) == value for field, value in wanted.items())
            and all(key in log.tags and value in (None, log.tags[key]) for key, value in (tags or {}).items())
        ]
        return found[offset : None if limit is None else offset + limit], len(found)

    def flow_logs_covering(self, eni_id: str) -> tuple[FlowLog, ...]:
        """The enabled flow logs on this ENI, its subnet and its VPC; none for an ENI that is attached to nothing.

        Nor for one of an instance family that the provider cannot capture.
        """
        eni = self._eni(eni_id)
        if eni.cvm_id is None or self._refused_family(eni) is not None:
            return ()
        places = (eni.id, eni.subnet_id, eni.vpc_id)
        return tuple(log for log in self.flow_logs.values() if log.enabled and log.resource_id in places)

    def window_of(self, eni_id: str) -> int:
        """Length in seconds of the ENI's capture window: the shortest of the flow logs that cover it.

        (Alibaba: of overlapping intervals the smallest holds for all. Elsewhere all are equal.)
        """
        return min((log.interval_s for log in self.flow_logs_covering(eni_id)), default=self.profile.window_s)

    def _resource(self, resource_id: str) -> tuple[ResourceType, str]:
        """Kind and VPC of what a flow log is to be on; a CCN is in none."""
        if eni := self.enis.get(resource_id):
            return "eni", eni.vpc_id
        if subnet := self.subnets.get(resource_id):
            return "subnet", subnet.vpc_id
        if vpc := self.vpcs.get(resource_id):
            return "vpc", vpc.id
        if resource_id in self.cvms:
            enis = [eni.id for eni in self.enis.values() if eni.cvm_id == resource_id]
            raise self.profile.refusal(
                InvalidValue,
                "flow_log.resource_type",
                f"flow log on CVM {resource_id}: create it on an ENI of it, {' or '.join(enis)}, on a subnet or a VPC",
                object=resource_id,
                value=resource_id,
            )
        if resource_id in self.ccns:
            return "ccn", ""
        known = [*self.enis, *self.subnets, *self.vpcs, *self.ccns]
        raise self.profile.refusal(
            NotFound,
            "flow_log.resource",
            f"flow log on {resource_id!r}: no such ENI, subnet or VPC, and no CCN; {nearest(str(resource_id), known)}",
            object=str(resource_id),
            value=resource_id,
        )

    def _log_region(self, resource_id: str, vpc_id: str, region: str | None) -> str:
        """Of a CCN's flow log it may be chosen; of others it is the VPC's."""
        if not vpc_id:
            return self.region if region is None else self._check_region(region)
        its = self.vpcs[vpc_id].region
        if region not in (None, its):
            raise self.profile.refusal(
                InvalidValue,
                "flow_log.region",
                f"flow log on {resource_id}: it is in region {its}, not in {region}; leave region out",
                object=resource_id,
                value=region,
            )
        return its

    def _check_resource(self, resource_id: str, resource_type: ResourceType, region: str) -> None:
        """Whether the provider logs this kind of thing, this very thing, and one more time."""
        if resource_type not in self.profile.resource_types:
            allowed = " or ".join(sorted(self.profile.resource_types))
            raise self.profile.refusal(
                Unsupported,
                "flow_log.resource_type",
                f"flow log on {resource_type} {resource_id}: profile {self.profile.name} logs {allowed} only",
                object=resource_id,
                value=resource_type,
            )
        there = (log for log in self.flow_logs.values() if (log.resource_id, log.region) == (resource_id, region))
        existing = next(there, None)
        if existing and self.profile.one_per_resource:
            raise self.profile.refusal(
                AlreadyExists,
                "flow_log.exists",
                f"flow log on {resource_id}: {existing.name} ({existing.id}) is there already, one is all it may have; "
                "delete that one first",
                object=resource_id,
                value=existing.id,
            )
        eni = self.enis.get(resource_id)
        if eni and eni.cvm_id is None and self.profile.idle_eni_refused:
            raise self.profile.refusal(
                Unsupported,
                "flow_log.idle_eni",
                f"flow log on ENI {eni.name} ({eni.id}): it is attached to no CVM; attach it first",
                object=resource_id,
            )
        if eni and (refused := self._refused_family(eni)):
            raise self.profile.refusal(
                Unsupported,
                "flow_log.family",
                f"flow log on ENI {eni.name} ({eni.id}): instance family {refused} cannot be logged; use one like "
                f"{self.profile.default_instance_type}",
                object=resource_id,
                value=refused,
            )

    def _refused_family(self, eni: Eni) -> str | None:
        if eni.cvm_id is None:
            return None
        its = family(self.cvms[eni.cvm_id].instance_type)
        return its if its in self.profile.refused_families else None

    def _check_name(self, name: str, region: str) -> None:
        check_flow_log_name(self.profile, name)
        if not self.profile.unique_flow_log_names:
            return
        for log in self.flow_logs.values():
            if log.name == name and log.region == region:
                raise self.profile.refusal(
                    AlreadyExists,
                    "flow_log.name_taken",
                    f"flow log {name!r}: {log.id} in region {region} has this name; choose another",
                    object=log.id,
                    value=name,
                )

    def _check_traffic(self, traffic: str) -> Traffic:
        word = self.profile.traffic_words.get(traffic.strip().upper(), "") if isinstance(traffic, str) else ""
        if word not in _TRAFFIC:
            raise self.profile.refusal(
                InvalidValue,
                "flow_log.traffic",
                f"traffic {traffic!r}: give {', '.join(_TRAFFIC)} or the provider's own word for it",
                value=traffic,
            )
        return _TRAFFIC[word]

    def _check_interval(self, interval_s: int | None, resource_type: ResourceType) -> int:
        """The interval that was chosen, or the one that holds where none was."""
        of_ccn = resource_type == "ccn"
        if interval_s is None:
            return self.profile.ccn_windows_s[0] if of_ccn else self.profile.window_s
        allowed = self.profile.ccn_windows_s if of_ccn else self.profile.windows_s
        if isinstance(interval_s, bool) or not isinstance(interval_s, int) or interval_s not in allowed:
            raise self.profile.refusal(
                InvalidValue,
                "flow_log.interval",
                f"interval_s {interval_s!r}: profile {self.profile.name} has {', '.join(map(str, allowed))} seconds"
                + (", which cannot be chosen" if len(allowed) == 1 else ""),
                value=interval_s,
            )
        return interval_s
