"""Small accounts to ask questions of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from emulator.cloud.account import Cloud
from emulator.cloud.model import Cvm, Eni, Subnet, Vpc
from emulator.providers import profile


@dataclass
class Small:
    """One VPC 10.16.0.0/16 with a subnet 10.16.0.0/24 and a CVM A at 10.16.0.22."""

    cloud: Cloud
    vpc: Vpc
    subnet: Subnet
    cvm: Cvm
    eni: Eni


def small(name: str) -> Small:
    cloud = Cloud(profile(name))
    vpc = cloud.create_vpc("10.16.0.0/16", name="demo")
    subnet = cloud.create_subnet(vpc.id, "10.16.0.0/24", name="web")
    cvm, eni = cloud.create_cvm(subnet.id, name="A", private_ip="10.16.0.22")
    return Small(cloud, vpc, subnet, cvm, eni)


@pytest.fixture(scope="session")
def make() -> Callable[[str], Small]:
    """Builds a fresh one of the profile named."""
    return small


@pytest.fixture
def tencent() -> Small:
    return small("tencent")


@pytest.fixture
def alibaba() -> Small:
    return small("alibaba")
