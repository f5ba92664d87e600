"""Objects of another lab, and values of no sensible type, given to every method that takes something: always a refusal
that says what to give instead, with the provider's code, never a traceback of ours, and nothing changed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emulator.errors import NotFound, VpclabError

pytestmark = pytest.mark.kernel

PROFILES = ("tencent", "alibaba")
MISSING = ("ResourceNotFound", "ResourceNotFound")


def furnish(site: Any) -> dict[str, Any]:
    """One object of every kind, by its kind."""
    lab = site.lab
    lists = lab.create_address_template if lab.profile.name == "tencent" else lab.create_prefix_list
    return {
        "lab": lab,
        "logs": lab.logs,
        "topic": site.topic,
        "vpc": site.vpc,
        "subnet": site.web,
        "cvm": site.a,
        "eni": site.web.create_eni("spare"),
        "group": site.vpc.create_security_group("group"),
        "acl": site.vpc.create_network_acl("acl"),
        "list": lists("list", entries=["10.16.9.0/24"]),
        "log": site.a.eni.create_flow_log("log", topic=site.topic),
        "internet": lab.internet,
        "host": lab.internet.host("visitor"),
        "eip": lab.allocate_address("eip"),
        "nat": site.vpc.create_nat_gateway("nat"),
        "table": site.vpc.create_route_table("table"),
        "peering": site.vpc.create_peering(lab.create_vpc("10.17.0.0/16", name="far"), "peering"),
        "ccn": lab.create_ccn("ccn"),
    }


@pytest.fixture(scope="module")
def pairs(
    open_module_lab: Callable[..., Any], furnished: Callable[[Any], Any]
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """For each provider what one lab has, and what another has under the same names and ids."""
    return {
        profile: tuple(furnish(furnished(open_module_lab(profile))) for _ in range(2))  # type: ignore[misc]
        for profile in PROFILES
    }


def tables(there: dict[str, Any]) -> list[dict[str, Any]]:
    cloud = there["lab"].cloud
    return (
        [
            dict(table)
            for table in (cloud.vpcs, cloud.subnets, cloud.cvms, cloud.enis, cloud.groups, cloud.acls, cloud.templates)
        ]
        + [dict(table) for table in (cloud.eips, cloud.nat_gateways, cloud.route_tables, cloud.peerings, cloud.ccns)]
        + [dict(cloud.flow_logs), {topic.id: topic for topic in there["logs"].topics()}]
    )


# what is asked of an object here, with something there; what the refusal is about
STRANGERS: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], Any], str]] = {
    "groups of an ENI": (lambda here, there: here["eni"].set_security_groups([there["group"]]), "group"),
    "one group of an ENI": (lambda here, there: here["eni"].set_security_groups(there["group"]), "group"),
    "a CVM for an ENI": (lambda here, there: here["eni"].attach(there["cvm"]), "cvm"),
    "groups of a CVM": (lambda here, there: here["subnet"].run_instance(security_groups=[there["group"]]), "group"),
    "groups of CVMs": (lambda here, there: here["subnet"].run_instances(2, security_groups=[there["group"]]), "group"),
    "groups of a new ENI": (lambda here, there: here["subnet"].create_eni(security_groups=[there["group"]]), "group"),
    "a subnet for an ACL": (lambda here, there: here["acl"].associate(there["subnet"]), "subnet"),
    "a subnet off an ACL": (lambda here, there: here["acl"].disassociate(there["subnet"]), "subnet"),
    "a group in a rule": (lambda here, there: here["group"].allow("ingress", cidr=there["group"]), "group"),
    "a list in a rule": (lambda here, there: here["group"].deny("egress", cidr=there["list"]), "list"),
    "a list for ports": (lambda here, there: here["group"].deny("egress", port=there["list"]), "list"),
    "a list in a list": (lambda here, there: here["list"].add(there["list"]), "list"),
    "a list out of a list": (lambda here, there: here["list"].remove(there["list"]), "list"),
    "a list of lists": (lambda here, there: here["lab"].create_address_group(templates=[there["list"]]), "list"),
    "a CVM for an EIP": (lambda here, there: here["eip"].associate(there["cvm"]), "cvm"),
    "a NAT gateway for an EIP": (lambda here, there: here["eip"].associate(there["nat"]), "nat"),
    "an EIP for a port": (lambda here, there: here["nat"].forward_port("tcp", there["eip"], 80, "10.16.0.22"), "eip"),
    "an EIP for a subnet": (lambda here, there: here["nat"].add_snat("10.16.0.0/24", [there["eip"]]), "eip"),
    "a subnet for a NAT gateway": (lambda here, there: here["nat"].add_snat(there["subnet"]), "subnet"),
    "a subnet for a route table": (lambda here, there: here["table"].associate(there["subnet"]), "subnet"),
    "a subnet off a route table": (lambda here, there: here["table"].disassociate(there["subnet"]), "subnet"),
    "a gateway for a route": (lambda here, there: here["table"].add_route("9.0.0.0/8", there["nat"]), "nat"),
    "a VPC for a peering": (lambda here, there: here["vpc"].create_peering(there["vpc"]), "vpc"),
    "a VPC for a CCN": (lambda here, there: here["ccn"].attach(there["vpc"]), "vpc"),
    "a VPC off a CCN": (lambda here, there: here["ccn"].detach(there["vpc"]), "vpc"),
    "a ping of a host": (lambda here, there: here["host"].ping(there["host"]), "host"),
    "a ping of a CVM": (lambda here, there: here["cvm"].ping(there["cvm"]), "cvm"),
    "a ping of an ENI": (lambda here, there: here["cvm"].ping(there["eni"]), "eni"),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", STRANGERS)
def test_an_object_of_another_lab_is_refused(pairs: dict[str, Any], profile: str, case: str) -> None:
    here, there = pairs[profile]
    ask, stranger = STRANGERS[case]
    assert here[stranger].id == there[stranger].id, "by its id alone it would be taken for ours"
    before = tables(here), tables(there)

    with pytest.raises(NotFound, match="belongs to another lab; give one of this lab") as refused:
        ask(here, there)

    assert refused.value.code == MISSING[PROFILES.index(profile)]
    assert refused.value.value is there[stranger]
    assert (tables(here), tables(there)) == before


@pytest.mark.parametrize("profile", PROFILES)
def test_a_topic_of_another_lab_is_refused(pairs: dict[str, Any], profile: str) -> None:
    here, there = pairs[profile]
    before = tables(here), tables(there)

    for ask in (
        lambda: here["vpc"].create_flow_log(topic=there["topic"]),
        lambda: here["logs"].delete_topic(there["topic"]),
    ):
        with pytest.raises(NotFound, match="give one of") as refused:
            ask()
        assert refused.value.code == here["lab"].profile.code("topic.missing")
    assert (tables(here), tables(there)) == before


@pytest.mark.parametrize("profile", PROFILES)
def test_a_record_of_another_lab_is_not_explained(pairs: dict[str, Any], profile: str) -> None:
    """Its rule numbers mean something else here."""
    here, there = pairs[profile]
    there["lab"].clock.advance(minutes=15)
    record = there["topic"].search()[0]

    assert there["lab"].explain(record).eni_id == record.meta["eni_id"]
    with pytest.raises(
        NotFound, match=r"no flow record of this lab: .*; give one that topic.search returned"
    ) as refused:
        here["lab"].explain(record)
    assert refused.value.code == here["lab"].profile.code("record.missing")


SENSIBLE = {"direction": "ingress", "cidr": "10.17.0.0/24", "names": 1, "entries": ["10.1.0.0/16"], "rule": "none"}
"""What is given for the other required parameters of a method; "x" where nothing is listed."""

NOT_ASKED = {"close", "delete", "terminate", "popen", "run", "call", "socket", "capture", "topic_id"} | {
    "scan",
    "count_read",
    "save",
}
"""Ends of what the others need, what runs programs as ``subprocess`` does, what a search asks of its topic, and what
writes files."""


def calls(there: dict[str, Any], values: list[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every public method of every object, each of its parameters in turn with every value."""
    for kind, thing in there.items():
        for name, method in inspect.getmembers(thing, inspect.ismethod):
            if name.startswith("_") or name in NOT_ASKED:
                continue
            parameters = inspect.signature(method).parameters.values()
            for asked in parameters:
                for value in values:
                    given = {
                        other.name: SENSIBLE.get(other.name, there.get(other.name, "x"))
                        for other in parameters
                        if other.default is other.empty and other.kind not in (other.VAR_POSITIONAL, other.VAR_KEYWORD)
                    }
                    what = f"{kind}.{name}({asked.name}={value!r})"
                    if asked.kind is asked.VAR_POSITIONAL:
                        yield what, lambda method=method, value=value: method(value)
                    elif asked.kind is not asked.VAR_KEYWORD:
                        given[asked.name] = value
                        yield what, lambda method=method, given=given: method(**given)


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_of_no_sensible_type_is_taken_or_refused(
    open_lab: Callable[..., Any], furnished: Callable[[Any], Any], pairs: dict[str, Any], profile: str
) -> None:
    here, there = furnish(furnished(open_lab(profile))), pairs[profile][1]
    values = [None, "", 2.5, object(), [there["group"]]]
    tried, refused = 0, 0
    for what, call in calls(here, values):
        tried += 1
        try:
            call()
        except VpclabError as error:
            assert str(error)
            refused += 1
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
    assert refused > tried / 2 > 200
    assert here["cvm"].ping(here["lab"].find("B")).received == 1
