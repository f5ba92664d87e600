"""What is written of a cloud builds an equal one."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from emulator.labfiles.document import parse
from emulator.labfiles.opening import cloud_of
from emulator.labfiles.writing import Writer
from emulator.providers import PROFILES, profile

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside this one: --import-mode=importlib adds nothing

from clouds import TABLES, contents, random_cloud

TOPICS = {"one": "one", "two": "two"}


@given(
    name=st.sampled_from(sorted(PROFILES)),
    dice=st.integers(0, 2**32).map(random.Random),
    requests=st.integers(0, 120),
)
def test_law_a_cloud_that_was_written_is_built_again(name, dice, requests):
    cloud = random_cloud(name, dice, requests)
    written = Writer(cloud, TOPICS).document()
    document = parse(tomli_w.dumps({**written, "topic": {key: {} for key in TOPICS}}))
    again = cloud_of(document, profile(name))
    assert contents(again) == contents(cloud)
    assert Writer(again, TOPICS).document() == written


@pytest.mark.parametrize("name", ["tencent", "alibaba"])
def test_chance_makes_everything(name):
    """What the law is about: each kind of object, in one of a few clouds."""
    clouds = [random_cloud(name, random.Random(seed), 120) for seed in range(20)]
    missing = {table for table in TABLES if not any(getattr(cloud, table) for cloud in clouds)}
    assert missing == ({"internet_gateways"} if name == "tencent" else set())
    for cloud in clouds:  # ids that are given later are none of those in a file
        document = parse(tomli_w.dumps({**Writer(cloud, TOPICS).document(), "topic": {key: {} for key in TOPICS}}))
        again = cloud_of(document, profile(name))
        known = {id for table in TABLES for id in getattr(again, table)}
        fresh = again.create_vpc("10.200.0.0/16", ipv6_cidr=None)
        assert {fresh.id, fresh.default_group_id}.isdisjoint(known)
