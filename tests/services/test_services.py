"""What the provider's services say: metadata, DNS and NTP, without a kernel."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any

import pytest
from dnslib import RCODE, DNSRecord

from emulator.cloud.account import Cloud
from emulator.providers import profile
from emulator.services import metadata, names, timing

A, B = "10.16.0.22", "10.16.0.40"


@pytest.fixture(params=["tencent", "alibaba"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    cloud = Cloud(profile(request.param))
    vpc = cloud.create_vpc("10.16.0.0/16", name="demo")
    subnet = cloud.create_subnet(vpc.id, "10.16.0.0/24")
    for name, address in (("A", A), ("B", B)):
        cloud.create_cvm(subnet.id, name=name, private_ip=address)
    return cloud


def vpc_id(cloud: Cloud) -> str:
    return next(iter(cloud.vpcs))


# metadata ----------------------------------------------------------------------------------------------


def page(cloud: Cloud, path: str, asker: str = A) -> str | None:
    return metadata.answer(cloud, vpc_id(cloud), IPv4Address(asker), metadata.ROOT + path)


def leaves(cloud: Cloud, path: str = "") -> dict[str, str]:
    """Every value in the tree, found as a program finds them: by walking the folders."""
    found: dict[str, str] = {}
    for name in str(page(cloud, path)).splitlines():
        if name.endswith("/"):
            found |= leaves(cloud, f"{path}/{name[:-1]}")
        else:
            found[f"{path}/{name}"] = str(page(cloud, f"{path}/{name}"))
    return found


def test_every_fact_is_found_by_walking_the_tree(cloud: Cloud) -> None:
    services, found = cloud.profile.services, leaves(cloud)
    (eni,) = (eni for eni in cloud.enis.values() if str(eni.address) == A)

    private = {"tencent": "/local-ipv4", "alibaba": "/private-ipv4"}[cloud.profile.provider]
    region = {"tencent": "/placement/region", "alibaba": "/region-id"}[cloud.profile.provider]
    assert found["/instance-id"] == eni.cvm_id
    assert found["/mac"] == eni.mac
    assert found[private] == A
    assert found[region] == cloud.profile.default_region
    with_value = [path for path, fact in services.facts.items() if fact != "public_address"]
    own = [path for path, fact in services.eni_facts.items() if fact != "public_address"]
    assert set(found) == {f"/{path}" for path in with_value} | {
        "/" + path.format(mac=eni.mac, address=eni.address) for path in own
    }


def test_who_asks_decides_what_it_is_told(cloud: Cloud) -> None:
    assert page(cloud, "/instance-id", A) != page(cloud, "/instance-id", B)


@pytest.mark.parametrize(
    ("path", "asker"),
    [
        pytest.param("/nope", A, id="no such path"),
        pytest.param("/instance-id/more", A, id="behind a value"),
        pytest.param("/insta", A, id="half a name"),
        pytest.param("/instance-id", "10.16.0.99", id="an address that nobody has"),
    ],
)
def test_nothing_is_there(cloud: Cloud, path: str, asker: str) -> None:
    assert page(cloud, path, asker) is None


@pytest.mark.parametrize("path", ["", "/latest", "/latest/user-data", "/latest/meta-data-and-more/instance-id"])
def test_nothing_is_beside_it(cloud: Cloud, path: str) -> None:
    assert metadata.answer(cloud, vpc_id(cloud), IPv4Address(A), path) is None


# DNS ---------------------------------------------------------------------------------------------------


def ask(cloud: Cloud, name: str, kind: str = "A") -> Any:
    answer = names.answer(cloud, vpc_id(cloud), DNSRecord.question(name, kind).pack())
    assert answer is not None
    return DNSRecord.parse(answer)


@pytest.mark.parametrize("name", ["B", "b", "b.", "its id"])
def test_a_cvm_has_a_name(cloud: Cloud, name: str) -> None:
    wanted = next(cvm.id for cvm in cloud.cvms.values() if cvm.name == "B") if name == "its id" else name
    reply = ask(cloud, wanted)

    assert (reply.header.rcode, reply.short()) == (RCODE.NOERROR, B)


def test_so_have_the_services(cloud: Cloud) -> None:
    for name, address in cloud.profile.services.names.items():
        assert ask(cloud, name).short() == str(address)


def test_an_address_has_the_name_of_its_cvm(cloud: Cloud) -> None:
    assert ask(cloud, "40.0.16.10.in-addr.arpa", "PTR").short() == "b."


@pytest.mark.parametrize(
    ("name", "kind"), [("example.com", "A"), ("99.0.16.10.in-addr.arpa", "PTR"), ("example.com", "AAAA")]
)
def test_nothing_else_exists(cloud: Cloud, name: str, kind: str) -> None:
    reply = ask(cloud, name, kind)

    assert (reply.header.rcode, reply.rr) == (RCODE.NXDOMAIN, [])


def test_a_name_without_an_ipv6_address_exists(cloud: Cloud) -> None:
    reply = ask(cloud, "B", "AAAA")

    assert (reply.header.rcode, reply.rr) == (RCODE.NOERROR, [])


@pytest.mark.parametrize("asked", [b"", b"no question", ask], ids=["nothing", "noise", "an answer"])
def test_what_is_no_question_has_no_answer(cloud: Cloud, asked: Any) -> None:
    message = bytes(asked(cloud, "B").pack()) if callable(asked) else asked
    assert names.answer(cloud, vpc_id(cloud), message) is None


def test_a_cvm_of_another_vpc_is_unknown(cloud: Cloud) -> None:
    other = cloud.create_vpc("10.17.0.0/16")
    answer = names.answer(cloud, other.id, DNSRecord.question("B").pack())

    assert DNSRecord.parse(answer).header.rcode == RCODE.NXDOMAIN


# NTP ---------------------------------------------------------------------------------------------------


def test_the_time_is_the_labs() -> None:
    asked = bytes([0x23]) + bytes(39) + b"its time"
    answer = timing.answer(1_763_000_010.5, asked)

    assert answer is not None
    head, stratum = answer[:2]
    assert (head, stratum, answer[24:32]) == (0x24, 1, b"its time")
    for at in (32, 40):
        seconds, fraction = struct.unpack_from(">LL", answer, at)
        assert (seconds - 2_208_988_800, fraction) == (1_763_000_010, 2**31)


@pytest.mark.parametrize("asked", [b"", bytes([0x23]) * 47, bytes([0x24]) * 48], ids=["nothing", "short", "a server"])
def test_what_is_no_client_has_no_answer(asked: bytes) -> None:
    assert timing.answer(0.0, asked) is None
