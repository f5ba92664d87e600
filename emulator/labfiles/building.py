"""A document made into a ``Cloud``, object by object, by the requests that anybody makes: so each is checked as any is.

Names refer. What is refused is noted with its place, and what refers to it left out in silence, so that one run tells
everything that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.cloud.names import nearest
from emulator.cloud.templates import GROUPS_OF
from emulator.labfiles.beyond import build_beyond
from emulator.labfiles.builder import Builder, Wrong, called
from emulator.labfiles.rules import build_rules, default_rule_ids


def build(builder: Builder) -> None:
    """Build everything.

    :raises LabFileError: telling of every problem
    """
    builder.reserve_ids()
    for part in (_templates, _vpcs, build_rules, _subnets, _machines, build_beyond, _flow_logs):
        part(builder)
    if builder.problems:
        raise builder.document.refuse(builder.problems)


def _templates(builder: Builder) -> None:
    for groups in (False, True):
        for name, one in builder.objects("template"):
            kind = one["kind"]
            if (kind in GROUPS_OF) != groups:
                continue
            with builder.making("template", name, **{kind: one.get("id")}):
                entries = one["entries"]
                if groups:
                    entries = [
                        builder.reference("template", entry, "entries", index) for index, entry in enumerate(entries)
                    ]
                made = builder.cloud.create_template(
                    kind, entries, name=called(name, one), max_entries=one.get("max_entries")
                )
                builder.made("template", name, made.id)


def _vpcs(builder: Builder) -> None:
    for name, one in builder.objects("vpc"):
        group = _default_of(builder, "security_group", name)
        table = _default_of(builder, "route_table", name)
        with builder.making(
            "vpc",
            name,
            vpc=one.get("id"),
            group=group and group[1].get("id"),
            group_rule=group and default_rule_ids(group[1]),
            route_table=table and table[1].get("id"),
        ):
            vpc = builder.cloud.create_vpc(
                one["cidr"], name=called(name, one), region=one.get("region"), ipv6_cidr=one.get("ipv6_cidr")
            )
            builder.made("vpc", name, vpc.id)
            if group is not None:
                builder.made("security_group", group[0], vpc.default_group_id)
            if table is not None:
                builder.made("route_table", table[0], builder.cloud.default_route_table(vpc.id).id)


def _default_of(builder: Builder, kind: str, vpc: str) -> tuple[str, dict[str, Any]] | None:
    """The table that describes what a VPC is born with, if there is one."""
    alone = len(builder.document.names("vpc")) == 1
    for name, one in builder.document.objects(kind):
        if one.get("default") and one.get("vpc", vpc if alone else None) == vpc:
            return name, one
    return None


def _subnets(builder: Builder) -> None:
    for name, one in builder.objects("subnet"):
        with builder.making("subnet", name, subnet=one.get("id")):
            subnet = builder.cloud.create_subnet(
                builder.only("vpc", one),
                one["cidr"],
                name=called(name, one),
                broadcast=one.get("broadcast", False),
                ipv6_cidr=one.get("ipv6_cidr"),
            )
            builder.made("subnet", name, subnet.id)
            if "network_acl" in one:
                acl_id = builder.reference("network_acl", one["network_acl"], "network_acl")
                builder.cloud.associate_acl(acl_id, subnet.id)


def _machines(builder: Builder) -> None:
    for name, one in builder.objects("cvm"):
        with builder.making("cvm", name, cvm=one.get("id"), eni=one.get("eni_id"), mac=one.get("mac")):
            cvm, eni = builder.cloud.create_cvm(
                builder.only("subnet", one),
                name=called(name, one),
                instance_type=one.get("instance_type"),
                **_of_eni(builder, one),
            )
            builder.made("cvm", name, cvm.id)
            _more_addresses(builder, eni.id, one)
    for name, one in builder.objects("eni"):
        with builder.making("eni", name, eni=one.get("id"), mac=one.get("mac")):
            eni = builder.cloud.create_eni(builder.only("subnet", one), name=called(name, one), **_of_eni(builder, one))
            builder.made("eni", name, eni.id)
            _more_addresses(builder, eni.id, one)
            if "cvm" in one:
                builder.cloud.attach_eni(eni.id, builder.reference("cvm", one["cvm"], "cvm"))


def _of_eni(builder: Builder, one: Mapping[str, Any]) -> dict[str, Any]:
    groups = one.get("security_groups")
    if groups is not None:
        groups = [builder.reference("security_group", group, "security_groups", at) for at, group in enumerate(groups)]
    return {"private_ip": one.get("private_ip"), "ipv6": one.get("ipv6"), "groups": groups}


def _more_addresses(builder: Builder, eni_id: str, one: Mapping[str, Any]) -> None:
    for address in one.get("secondary_ips", ()):
        builder.cloud.assign_address(eni_id, address)
    if one.get("ipv6_addresses"):
        builder.cloud.assign_ipv6_addresses(eni_id, one["ipv6_addresses"])


def _flow_logs(builder: Builder) -> None:
    for name, one in builder.objects("flow_log"):
        with builder.making("flow_log", name, flow_log=one.get("id")):
            resource = builder.reference(("cvm", "eni", "subnet", "vpc", "ccn"), one["on"], "on")
            if resource in builder.cloud.cvms:
                enis = (eni for eni in builder.cloud.enis.values() if eni.cvm_id == resource and eni.primary)
                resource = next(enis).id
            topics = builder.document.names("topic")
            if "topic" not in one and len(topics) != 1:
                raise Wrong(f"topic is missing; {nearest('', topics)}")
            topic = one.get("topic", topics[0] if topics else "")
            if topic not in topics:
                raise Wrong(f"there is no topic {topic!r}; {nearest(topic, topics)}", "topic")
            more = {key: one[key] for key in ("traffic", "interval_s", "tags", "description", "region") if key in one}
            log = builder.cloud.create_flow_log(
                resource,
                topic_id=builder.topic_of(topic),
                now_s=one.get("created", builder.now_s),
                name=called(name, one),
                **more,
            )
            builder.made("flow_log", name, log.id)
            if not one.get("enabled", True):
                builder.cloud.set_flow_log_enabled(log.id, False)
