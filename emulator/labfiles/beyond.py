"""What of a document lies beyond one VPC: ways to the internet, and VPCs joined."""

from __future__ import annotations

from typing import Any

from emulator.labfiles.builder import Builder, Wrong, called

TARGETS = ("nat_gateway", "internet_gateway", "peering", "ccn")
"""Kinds that routes lead to."""


def build_beyond(builder: Builder) -> None:
    """Routes come before what a CCN teaches, which leaves out where there is one; those to it once its VPC is in."""
    for part in (_gateways, _eips, _entries, _peerings, _route_tables, _ccns, _internet_hosts):
        part(builder)


def _gateways(builder: Builder) -> None:
    for name, one in builder.objects("internet_gateway"):
        with builder.making("internet_gateway", name, internet_gateway=one.get("id")):
            igw = builder.cloud.create_internet_gateway(builder.only("vpc", one), name=called(name, one))
            builder.made("internet_gateway", name, igw.id)
    for name, one in builder.objects("nat_gateway"):
        with builder.making("nat_gateway", name, nat_gateway=one.get("id")):
            nat = builder.cloud.create_nat_gateway(builder.only("vpc", one), name=called(name, one))
            builder.made("nat_gateway", name, nat.id)


def _eips(builder: Builder) -> None:
    for name, one in builder.objects("eip"):
        with builder.making("eip", name, eip=one.get("id")):
            eip = builder.cloud.allocate_eip(name=called(name, one), region=one.get("region"), ip=one.get("address"))
            builder.made("eip", name, eip.id)
            if "target" in one:
                target = builder.reference(("cvm", "eni", "nat_gateway"), one["target"], "target")
                builder.cloud.associate_eip(eip.id, target, one.get("private_ip"))


def _entries(builder: Builder) -> None:
    """SNAT and DNAT, which name EIPs that are bound by now."""
    for name, one in builder.objects("nat_gateway"):
        if ("nat_gateway", name) not in builder.ids:
            continue
        nat_id = builder.ids["nat_gateway", name]
        for number, entry in enumerate(one.get("snat", ())):
            with builder.making("nat_gateway", name, "snat", number, snat_entry=entry.get("id")):
                source, eips = entry["source"], entry.get("eips")
                if source in builder.document.data.get("subnet", {}):
                    source = builder.reference("subnet", source, "source")
                if eips is not None:
                    eips = [builder.reference("eip", eip, "eips", index) for index, eip in enumerate(eips)]
                builder.cloud.add_snat_entry(nat_id, source, eips)
        for number, entry in enumerate(one.get("port_forwards", ())):
            with builder.making("nat_gateway", name, "port_forwards", number, port_forward=entry.get("id")):
                builder.cloud.add_port_forward(
                    nat_id,
                    entry["protocol"],
                    builder.reference("eip", entry["eip"], "eip"),
                    entry["port"],
                    entry["private_ip"],
                    entry.get("private_port"),
                )


def _peerings(builder: Builder) -> None:
    for name, one in builder.objects("peering"):
        with builder.making("peering", name, peering=one.get("id")):
            peering = builder.cloud.create_peering(
                builder.reference("vpc", one["vpc"], "vpc"),
                builder.reference("vpc", one["peer"], "peer"),
                name=called(name, one),
                bandwidth_mbps=one.get("bandwidth_mbps"),
            )
            builder.made("peering", name, peering.id)


def _ccns(builder: Builder) -> None:
    for name, one in builder.objects("ccn"):
        with builder.making("ccn", name, ccn=one.get("id")):
            builder.made("ccn", name, builder.cloud.create_ccn(name=called(name, one)).id)
        if ("ccn", name) in builder.ids:
            _fill_ccn(builder, name, one)
    joined = {vpc_id for ccn in builder.cloud.ccns.values() for vpc_id in ccn.vpcs}
    for name, one in builder.objects("route_table"):
        table_id = builder.ids.get(("route_table", name))
        if table_id is not None and builder.cloud.route_tables[table_id].vpc_id not in joined:
            _write_routes(builder, name, one, to_ccns=True)  # which the cloud refuses


def _fill_ccn(builder: Builder, name: str, one: dict[str, Any]) -> None:
    ccn_id = builder.ids["ccn", name]
    for number, entry in enumerate(one.get("vpcs", ())):
        with builder.making("ccn", name, "vpcs", number, ccn_attachment=entry.get("id")):
            vpc_id = builder.reference("vpc", entry["vpc"], "vpc")
            builder.cloud.attach_vpc(ccn_id, vpc_id)
            for table, written in builder.objects("route_table"):
                table_id = builder.ids.get(("route_table", table))
                if table_id is not None and builder.cloud.route_tables[table_id].vpc_id == vpc_id:
                    _write_routes(builder, table, written, to_ccns=True)
    for number, cap in enumerate(one.get("caps", ())):
        with builder.making("ccn", name, "caps", number):
            one_region, other = cap["between"]
            builder.cloud.set_ccn_bandwidth(ccn_id, one_region, other, cap["mbps"])


def _internet_hosts(builder: Builder) -> None:
    for name, one in builder.objects("internet_host"):
        with builder.making("internet_host", name, internet_host=one.get("id")):
            host = builder.cloud.create_internet_host(
                name=called(name, one), region=one.get("region"), ip=one.get("ip")
            )
            builder.made("internet_host", name, host.id)


def _route_tables(builder: Builder) -> None:
    for name, one in builder.objects("route_table"):
        with builder.making("route_table", name, route_table=one.get("id")):
            if not one.get("default"):
                table = builder.cloud.create_route_table(builder.only("vpc", one), name=called(name, one))
                builder.made("route_table", name, table.id)
            elif ("route_table", name) not in builder.ids:
                builder.only("vpc", one)
                raise Wrong("it is the second default route table of its VPC", "default")
        if ("route_table", name) in builder.ids and "routes" in one:
            table_id = builder.ids["route_table", name]
            for route in builder.cloud.route_tables[table_id].routes:  # that a NAT gateway brought with it
                builder.cloud.remove_route(table_id, route.cidr)
            _write_routes(builder, name, one, to_ccns=False)
    for name, one in builder.objects("subnet"):
        if "route_table" in one and ("subnet", name) in builder.ids:
            with builder.making("subnet", name):
                table_id = builder.reference("route_table", one["route_table"], "route_table")
                builder.cloud.associate_route_table(table_id, builder.ids["subnet", name])


def _write_routes(builder: Builder, name: str, one: dict[str, Any], *, to_ccns: bool) -> None:
    ccns = builder.document.data.get("ccn", {})
    for number, route in enumerate(one.get("routes", ())):
        if (route["to"].removeprefix("ccn.") in ccns) == to_ccns:
            with builder.making("route_table", name, "routes", number):
                target = builder.reference(TARGETS, route["to"], "to")
                builder.cloud.add_route(builder.ids["route_table", name], route["cidr"], target)
