"""Prefix lists and parameter templates: what they accept, what rules make of them, who holds on to them."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import get_args

import pytest

from emulator.cloud.model import TemplateKind
from emulator.cloud.verdict import Packet, matches
from emulator.errors import AlreadyExists, InUse, InvalidValue, NotFound, QuotaExceeded, RequestRefused, Unsupported
from emulator.providers import PROFILES

ADDRESS, SERVICE = ["10.0.0.1", "10.0.0.8-10.0.0.11", "10.0.1.0/24"], ["TCP:80,443", "udp:53", "TCP:3306-20000", "ICMP"]


def kinds(name):
    return ["prefix_list", "port_list"] if name.startswith("alibaba") else ["address_template", "service_template"]


@pytest.mark.parametrize(
    ("name", "kind", "written", "kept"),
    [
        ("tencent", "address_template", "10.0.0.1", "10.0.0.1"),
        ("tencent", "address_template", "10.0.0.1/32", "10.0.0.1"),
        ("tencent", "address_template", "10.0.0.1 - 10.0.0.100", "10.0.0.1-10.0.0.100"),
        ("tencent", "address_template", "10.0.0.1-10.0.0.1", "10.0.0.1"),
        ("tencent", "address_template", "10.0.1.0/24", "10.0.1.0/24"),
        ("tencent", "service_template", "TCP:80", "TCP:80"),
        ("tencent", "service_template", "tcp:443,80", "TCP:80,443"),
        ("tencent", "service_template", "TCP:3306-20000", "TCP:3306-20000"),
        ("tencent", "service_template", "UDP:all", "UDP:ALL"),
        ("tencent", "service_template", "icmp", "ICMP"),
        ("tencent", "service_template", "GRE", "GRE"),
        ("alibaba", "prefix_list", "10.0.0.1", "10.0.0.1/32"),
        ("alibaba", "prefix_list", "0.0.0.0/0", "0.0.0.0/0"),
        ("alibaba", "port_list", "443", "443"),
        ("alibaba", "port_list", " 8000-8100 ", "8000-8100"),
        ("alibaba", "port_list", "53-53", "53"),
    ],
)
def test_entries(make, name, kind, written, kept):
    cloud = make(name).cloud
    template = cloud.create_template(kind, [written])
    assert template.entries == (kept,)
    assert template.id.startswith(cloud.profile.id_prefixes[kind])
    with pytest.raises(AlreadyExists) as refused:
        cloud.add_entries(
            template.id, [{"service_template": "TCP:9", "port_list": "9"}.get(kind, "10.9.0.0/16"), written]
        )
    assert refused.value.reason == ("port_list.duplicate" if kind == "port_list" else "template.duplicate")
    assert cloud.templates[template.id] == template


@pytest.mark.parametrize(
    ("name", "kind", "written"),
    [
        ("tencent", "address_template", "10.0.0.9/24"),
        ("tencent", "address_template", "10.0.0.9-10.0.0.1"),
        ("tencent", "address_template", "10.0.0.1-"),
        ("tencent", "address_template", "everywhere"),
        ("tencent", "address_template", 7),
        ("tencent", "service_template", "TCP"),
        ("tencent", "service_template", "TCP:"),
        ("tencent", "service_template", "TCP:0"),
        ("tencent", "service_template", "ICMP:80"),
        ("tencent", "service_template", "ALL:80"),
        ("tencent", "service_template", "80"),
        ("alibaba", "prefix_list", "10.0.0.1-10.0.0.9"),
        ("alibaba", "prefix_list", "10.0.0.9/24"),
        ("alibaba", "port_list", "80,443"),
        ("alibaba", "port_list", "all"),
        ("alibaba", "port_list", "0"),
        ("alibaba", "port_list", "65536"),
        ("alibaba", "port_list", "9-1"),
        ("alibaba", "port_list", "TCP:80"),
        ("alibaba", "port_list", 443),
    ],
)
def test_entries_refused(make, name, kind, written):
    cloud = make(name).cloud
    with pytest.raises(InvalidValue) as refused:
        cloud.create_template(kind, [written])
    assert refused.value.code == cloud.profile.codes["port_list.entry" if kind == "port_list" else "template.entry"]
    assert not cloud.templates


@pytest.mark.parametrize("name", PROFILES)
def test_a_provider_refuses_what_it_does_not_have(make, name):
    cloud = make(name).cloud
    others = set(get_args(TemplateKind)) - cloud.profile.template_kinds
    assert others
    for kind in others:
        with pytest.raises(Unsupported) as refused:
            cloud.create_template(kind, ["10.0.0.1"])
        assert refused.value.code == cloud.profile.codes["template.unsupported"]


def test_a_group_of_templates_holds_templates_and_no_groups(tencent):
    cloud = tencent.cloud
    one, two = (cloud.create_template("address_template", [address]).id for address in ADDRESS[:2])
    web = cloud.create_template("service_template", SERVICE).id
    group = cloud.create_template("address_group", [one])
    assert cloud.add_entries(group.id, [two]).entries == (one, two)
    for wrong in (web, group.id):
        with pytest.raises(InvalidValue) as refused:
            cloud.add_entries(group.id, [wrong])
        assert refused.value.reason == "template.member"
    with pytest.raises(NotFound):
        cloud.add_entries(group.id, ["ipm-nobody00"])
    assert len(cloud.addresses_of(group.id)) == 2
    with pytest.raises(InUse) as refused:
        cloud.delete_template(one)
    assert refused.value.code == "ResourceInUse"
    cloud.remove_entries(group.id, [one])
    cloud.delete_template(one)
    with pytest.raises(InvalidValue, match="at least one entry"):
        cloud.remove_entries(group.id, [two])


def test_a_rule_means_every_entry_and_follows_them(tencent):
    cloud = tencent.cloud
    addresses = cloud.create_template("address_template", ADDRESS)
    services = cloud.create_template("service_template", SERVICE)
    group = cloud.create_group(tencent.vpc.id).id
    rule = cloud.add_rule(group, "ingress", "allow", cidr=addresses.id, port=services.id)
    assert (rule.peer, rule.service, rule.protocol, rule.ports) == (addresses.id, services.id, None, None)
    assert str(rule) == f"allow ingress service {services.id} from {addresses.id}"

    def meant(src, protocol, port=0):
        return matches(cloud, rule, Packet(IPv4Address(src), IPv4Address("10.16.0.22"), protocol, 1, port))

    assert [meant(f"10.0.0.{last}", 6, 80) for last in (1, 2, 7, 8, 11, 12)] == [True, False, False, True, True, False]
    assert [meant("10.0.1.9", *what) for what in ((6, 443), (6, 81), (17, 53), (17, 80), (1,), (47,))] == [
        True, False, True, False, True, False,
    ]  # fmt: skip
    cloud.add_entries(addresses.id, ["10.0.0.2"])
    cloud.remove_entries(services.id, ["TCP:443,80"])
    assert (meant("10.0.0.2", 17, 53), meant("10.0.0.2", 6, 80)) == (True, False)
    with pytest.raises(AlreadyExists):
        cloud.add_rule(group, "ingress", "allow", cidr=addresses.id, port=services.id)
    for template in (addresses, services):
        with pytest.raises(InUse):
            cloud.delete_template(template.id)
    cloud.remove_rule(group, rule.id)
    cloud.delete_template(addresses.id)
    assert cloud.find(services.id).kind == "service_template"


def test_a_port_list_is_the_ports_of_the_rules_protocol(alibaba):
    cloud = alibaba.cloud
    ports = cloud.create_template("port_list", ["443", "8000-8100", "8101"])
    group = cloud.create_group(alibaba.vpc.id).id
    rule = cloud.add_rule(group, "ingress", "allow", protocol="tcp", port=ports.id, cidr="10.0.0.0/24")
    other = cloud.add_rule(group, "egress", "deny", protocol="udp", port=ports.id)
    assert (rule.protocol, rule.ports, rule.service) == (6, None, ports.id)
    assert str(rule) == f"allow ingress tcp port {ports.id} from 10.0.0.0/24"
    assert cloud.add_rule(group, "egress", "deny", protocol="udp", port=ports.id) == other
    assert cloud.services_of(ports.id, 6) == ((6, ((443, 443), (8000, 8101))),)

    def meant(protocol, port, src="10.0.0.1"):
        return matches(cloud, rule, Packet(IPv4Address(src), IPv4Address("10.16.0.22"), protocol, 1, port))

    assert [meant(6, port) for port in (442, 443, 444, 7999, 8000, 8101, 8102)] == [
        False, True, False, False, True, True, False,
    ]  # fmt: skip
    assert not meant(17, 443)
    assert not meant(6, 443, "10.0.1.1")
    cloud.add_entries(ports.id, ["22"])
    cloud.remove_entries(ports.id, ["443-443"])
    assert (meant(6, 22), meant(6, 443)) == (True, False)
    cloud.remove_entries(ports.id, ["22", "8000-8100", "8101"])
    assert not any(meant(6, port) for port in (22, 8000))
    with pytest.raises(InUse) as refused:
        cloud.delete_template(ports.id)
    assert refused.value.code == "InvalidPortRangeListId.AssociationExist"
    cloud.remove_rule(group, rule.id)
    cloud.remove_rule(group, other.id)
    cloud.delete_template(ports.id)
    with pytest.raises(NotFound) as missing:
        cloud.add_rule(group, "ingress", "allow", protocol="tcp", port=ports.id)
    assert missing.value.code == "InvalidPortRangeListId.NotFound"


@pytest.mark.parametrize("protocol", [None, "icmp", "gre"])
def test_a_port_list_needs_a_protocol_with_ports(alibaba, protocol):
    cloud = alibaba.cloud
    ports = cloud.create_template("port_list", ["443"])
    group = cloud.create_group(alibaba.vpc.id)
    with pytest.raises(InvalidValue, match="say tcp or udp") as refused:
        cloud.add_rule(group.id, "ingress", "allow", protocol=protocol, port=ports.id)
    assert refused.value.code == "InvalidParam.ProtocolNotSupportPortRangeList"
    assert cloud.groups[group.id] == group


def test_a_list_counts_for_the_most_that_it_may_hold(alibaba):
    cloud = alibaba.cloud
    ports = cloud.create_template("port_list", ["443"], max_entries=2)
    networks = cloud.create_template("prefix_list", ["10.0.0.0/8"], max_entries=20)
    plain = cloud.create_template("port_list", ["443", "80"])
    group = cloud.create_group(alibaba.vpc.id).id
    rules = [
        cloud.add_rule(group, "ingress", "allow", protocol="tcp", port=ports.id),
        cloud.add_rule(group, "ingress", "allow", protocol="tcp", port=ports.id, cidr=networks.id),
        cloud.add_rule(group, "ingress", "allow", protocol="tcp", port=plain.id),
    ]
    assert [cloud.rule_weight(rule) for rule in rules] == [2, 40, 2]
    cloud.add_entries(ports.id, ["80"])
    with pytest.raises(QuotaExceeded) as refused:
        cloud.add_entries(ports.id, ["22"])
    assert refused.value.code == "LimitExceed.MaxEntries"
    cloud.quotas["expanded_rules"] = 44
    with pytest.raises(QuotaExceeded, match="would be 45, at most 44"):
        cloud.add_entries(plain.id, ["81"])  # the plain one grows by what it holds: 2 + 40 + 3


@pytest.mark.parametrize(
    ("kind", "most"),
    [("port_list", 0), ("port_list", 2001), ("port_list", "9"), ("port_list", True), ("prefix_list", 201)],
)
def test_the_most_that_a_list_may_hold_is_in_bounds(alibaba, kind, most):
    with pytest.raises(InvalidValue, match="give 1 to") as refused:
        alibaba.cloud.create_template(kind, [], max_entries=most)
    assert refused.value.code == "InvalidOperation.MaxEntriesCountExceed"
    assert not alibaba.cloud.templates


@pytest.mark.parametrize("name", ["tencent", "alibaba"])
def test_misuse_of_templates(make, name):
    there = make(name)
    cloud = there.cloud
    group, acl = cloud.create_group(there.vpc.id), cloud.create_acl(there.vpc.id)
    kind = kinds(name)[0]
    template = cloud.create_template(kind, ["10.0.0.0/24"])
    with pytest.raises(Unsupported) as refused:
        cloud.add_rule(acl.id, "ingress", "allow", cidr=template.id)
    assert refused.value.reason == "rule.template"
    with pytest.raises(NotFound):
        cloud.add_rule(group.id, "ingress", "allow", cidr=cloud.profile.id_prefixes[kind] + "nobody00")
    with pytest.raises(NotFound) as missing:
        cloud.remove_entries(template.id, ["10.0.1.0/24"])
    assert missing.value.reason == "template.entry_missing"
    if name == "tencent":
        service = cloud.create_template("service_template", ["TCP:80"])
        with pytest.raises(InvalidValue, match="says the protocols itself"):
            cloud.add_rule(group.id, "ingress", "allow", protocol="tcp", port=service.id)
        with pytest.raises(RequestRefused):
            cloud.add_rule(group.id, "ingress", "allow", cidr=service.id)
        with pytest.raises(InvalidValue):
            cloud.add_rule(group.id, "ingress", "allow", protocol="tcp", port=template.id)
    else:
        ports = cloud.create_template("port_list", ["80"])
        with pytest.raises(Unsupported, match="knows no lists") as refused:
            cloud.add_rule(acl.id, "ingress", "allow", protocol="tcp", port=ports.id)
        assert refused.value.code == "InvalidPortRange.Malformed"
        for wrong in ({"cidr": ports.id}, {"protocol": "tcp", "port": template.id}):
            with pytest.raises(InvalidValue):
                cloud.add_rule(group.id, "ingress", "allow", **wrong)
    assert cloud.groups[group.id].rules == ()


@pytest.mark.parametrize(("name", "most"), [("tencent", 20), ("alibaba", 200)])
def test_limits_of_templates(make, name, most):
    there = make(name)
    cloud, kind = there.cloud, kinds(name)[0]
    template = cloud.create_template(kind, [f"10.1.0.{last}" for last in range(most)])
    with pytest.raises(QuotaExceeded) as refused:
        cloud.add_entries(template.id, ["10.2.0.1"])
    assert refused.value.code == cloud.profile.codes["template.entries"]
    assert cloud.templates[template.id] == template
    cloud.quotas["templates"] = 1
    with pytest.raises(QuotaExceeded):
        cloud.create_template(kind, ["10.0.0.1"])


def test_lists_written_out_have_a_limit_too(tencent):
    cloud = tencent.cloud
    addresses = cloud.create_template("address_template", [f"10.1.0.{last}" for last in range(19)])
    services = cloud.create_template("service_template", [f"TCP:{port}" for port in range(1, 21)])
    group = cloud.create_group(tencent.vpc.id).id
    for protocol in range(5):
        cloud.add_rule(group, "egress", "allow", cidr=addresses.id, protocol=protocol)
    for action in ("allow", "deny"):
        cloud.add_rule(group, "ingress", action, cidr=addresses.id, port=services.id)
        cloud.add_rule(group, "egress", action, cidr=addresses.id, port=services.id)
    before = cloud.groups[group]
    cloud.quotas["expanded_rules"] = 4 * 380 + 5 * 19
    for refused_change in (
        lambda: cloud.add_rule(group, "ingress", "allow"),
        lambda: cloud.add_entries(addresses.id, ["10.2.0.1"]),
    ):
        with pytest.raises(QuotaExceeded) as refused:
            refused_change()
        assert refused.value.reason == "template.expansion"
    assert cloud.groups[group] == before
    assert cloud.templates[addresses.id] == addresses


def test_a_snapshot_holds_templates(tencent):
    cloud = tencent.cloud
    template = cloud.create_template("address_template", ["10.0.0.1"])
    saved = cloud.snapshot()
    cloud.add_entries(template.id, ["10.0.0.2"])
    cloud.restore(saved)
    assert cloud.templates == {template.id: template}
