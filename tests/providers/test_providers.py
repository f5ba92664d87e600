"""Profiles: complete, consistent, and with a code for every refusal there is."""

from __future__ import annotations

import ast
import re
from ipaddress import IPv4Network
from pathlib import Path

import pytest

import emulator.cloud
from emulator.cloud.account import Cloud
from emulator.errors import InvalidValue, VpclabError
from emulator.providers import PROFILES, profile

OF_OTHER_ROOMS = {
    "topic.missing", "topic.duplicate", "topic.name", "logset.missing", "query", "query.unsupported", "index.missing",
    "index.duplicate", "write.key", "write.value", "write.time", "write.rows",
    "write.failed", "limit.range", "time.range",
    "region.unknown", "record.missing", "logset.duplicate", "logset.name", "cvm.count",
    "packet.addresses", "logset.in_use", "topic.days", "index.keys", "index.quota", "fault",
    "query.memory", "query.timeout", "query.size", "delivery.setting", "delivery.name", "delivery.duplicate",
    "delivery.missing", "delivery.denied", "delivery.internal", "delivery.gone", "delivery.kind",
}  # fmt: skip


def reasons_in_cloud() -> set[str]:
    """Every string in the source of ``emulator/cloud`` that has the shape of a reason."""
    found = set()
    for file in Path(emulator.cloud.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"\A[a-z0-9]+(?:_[a-z]+)*\.[a-z0-9]+(?:_[a-z]+)*\Z", node.value))
    return found


@pytest.mark.parametrize("name", PROFILES)
def test_every_reason_has_a_code(name):
    used = reasons_in_cloud()
    assert len(used) > 50
    assert {"vpc.range", "flow_log.exists", "cidr.ipv6"} <= used
    missing = (used | OF_OTHER_ROOMS) - set(profile(name).codes)
    assert not missing


def test_no_code_is_left_over():
    known = reasons_in_cloud() | OF_OTHER_ROOMS
    for name in PROFILES:
        assert not set(profile(name).codes) - known


def test_all_profiles_have_the_same_reasons_and_quotas():
    for field in ("codes", "quotas", "traffic_words", "id_prefixes"):
        assert len({frozenset(getattr(it, field)) for it in PROFILES.values()}) == 1


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_consistent(name):
    it = profile(name)
    assert it.name == name
    assert it.default_region in it.regions
    assert len(set(it.regions)) == len(it.regions)
    assert it.window_s in it.windows_s
    assert all(3600 % window == 0 for window in it.windows_s)
    assert len(set(it.id_prefixes.values())) == len(it.id_prefixes)
    assert all(IPv4Network(block) for block in it.vpc_networks + it.vpc_networks_refused)
    gateway = IPv4Network("10.0.0.0/24")[it.gateway_index]
    index = int(gateway) & 255
    assert index < it.reserved_first or index >= 256 - it.reserved_last
    assert Cloud(it).region == it.default_region
    assert set(it.traffic_words.values()) == {"ALL", "ACCEPT", "REJECT"}


@pytest.mark.parametrize(
    ("name", "windows", "window", "delay", "kinds", "form", "language"),
    [
        ("tencent", (300,), 300, 300, {"eni", "subnet", "vpc", "ccn"}, "tencent", "lucene"),
        ("tencent-2020", (600,), 600, 300, {"eni"}, "tencent", "lucene"),
        ("alibaba", (60, 300, 600), 600, 300, {"eni", "subnet", "vpc", "ccn"}, "alibaba", "sls"),
        ("alibaba-2019", (600,), 600, 300, {"eni", "subnet", "vpc"}, "alibaba-2019", "sls"),
    ],
)
def test_what_the_issue_fixes(name, windows, window, delay, kinds, form, language):
    it = profile(name)
    assert (it.windows_s, it.window_s, it.delay_s) == (windows, window, delay)
    assert (it.resource_types, it.record_form, it.language) == (kinds, form, language)


def test_regions():
    assert set(profile("alibaba-2019").regions) == {
        "cn-huhehaote", "ap-southeast-3", "ap-southeast-5", "eu-west-1", "ap-south-1",
    }  # fmt: skip
    assert profile("alibaba").default_region == "cn-hangzhou"
    assert profile("tencent").default_region == "ap-guangzhou"


@pytest.mark.parametrize("name", ["tencnt", "", None, [], "TENCENT"], ids=repr)
def test_an_unknown_profile(name):
    with pytest.raises(InvalidValue) as refused:
        profile(name)
    assert isinstance(refused.value, VpclabError)
    assert refused.value.code == "InvalidParameterValue"
    assert "tencent" in str(refused.value)
