"""The shape of a lab file: our reading of the schema agrees with jsonschema's."""

from __future__ import annotations

import copy
import random
from datetime import date
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.labfiles.checking import problems, schema
from emulator.labfiles.rules import RULE_KEYS
from emulator.providers import PROFILES

DATA: dict[str, Any] = {
    "profile": "alibaba",
    "quotas": {"vpcs": 3},
    "include": ["other.toml"],
    "vpc": {"demo": {"cidr": "10.0.0.0/16", "ipv6_cidr": True}},
    "subnet": {"web": {"cidr": "10.0.0.0/24", "vpc": "demo"}},
    "security_group": {"web": {"rules": [{"allow": "ingress", "port": 443, "protocol": "tcp"}, {"deny": "egress"}]}},
    "cvm": {"A": {"subnet": "web", "security_groups": ["web"]}},
    "nat_gateway": {"out": {"snat": [{"source": "web"}], "port_forwards": []}},
    "ccn": {"all": {"vpcs": [{"vpc": "demo"}], "caps": [{"between": ["a", "b"], "mbps": 1.5}]}},
    "topic": {"all": {"index": {"a": "long", "b": {"kind": "text"}}, "full_text": True, "retention_days": 0}},
    "flow_log": {"all": {"on": "demo", "tags": {"team": "blue"}, "interval_s": 60}},
}
VALUES = [True, 1, -1, 1.0, 0.5, "ingress", "tencent", "no", [], ["x"], [{}], {}, {"a": 1}, date(2026, 1, 1)]
KEYS = ["cidr", "cidrs", "rules", "vpcs", "x", "kind", "allow"]


def mutated(data: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """The same with some value changed, added or gone."""
    data = copy.deepcopy(data)
    for _ in range(dice.randint(1, 3)):
        spot: Any = data
        while isinstance(spot, dict | list) and spot and dice.random() < 0.75:
            step = dice.choice([*spot] if isinstance(spot, dict) else range(len(spot)))
            if not isinstance(spot[step], dict | list) or not spot[step]:
                break
            spot = spot[step]
        if isinstance(spot, list):
            spot.append(dice.choice(VALUES))
        elif spot and dice.random() < 0.5:
            key = dice.choice([*spot])
            spot[key] = dice.choice(VALUES)
            if dice.random() < 0.3:
                del spot[key]
        else:
            spot[dice.choice(KEYS)] = dice.choice(VALUES)
    return data


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["properties"]["profile"]["enum"] == list(PROFILES)
    assert set(RULE_KEYS) < set(schema()["$defs"]["rules"]["items"]["properties"])
    assert problems(DATA) == []


@given(st.integers(0, 2**32).map(random.Random))
def test_law_we_read_the_schema_as_jsonschema_does(dice):
    data = mutated(DATA, dice)
    theirs = list(jsonschema.Draft202012Validator(schema()).iter_errors(data))
    assert bool(problems(data)) == bool(theirs)


@pytest.mark.parametrize(
    ("data", "place", "said"),
    [
        ({"cvn": {}}, ("cvn",), "unknown key 'cvn'; did you mean c"),
        (
            {"cvm": {"A": {"prive_ip": "x"}}},
            ("cvm", "A", "prive_ip"),
            "unknown key 'prive_ip'; did you mean private_ip?",
        ),
        ({"cvm": {"A": 1}}, ("cvm", "A"), "A is a table, not 1"),
        ({"cvm": {"A": {"ipv6": "yes"}}}, ("cvm", "A", "ipv6"), "ipv6 is true or false, not 'yes'"),
        ({"profile": "tencnt"}, ("profile",), "there is no profile 'tencnt'; did you mean tencent"),
        ({"quotas": {"vpcs": -1}}, ("quotas", "vpcs"), "vpcs is at least 0, not -1"),
        ({"vpc": {"a": {}}}, ("vpc", "a"), "cidr is missing"),
        (
            {"security_group": {"w": {"rules": [{"allow": "ingres"}]}}},
            ("security_group", "w", "rules", 0, "allow"),
            "there is no allow 'ingres'; did you mean ingress",
        ),
        ({"include": [1]}, ("include", 0), "entry 1 of include is a text, not 1"),
        (
            {"ccn": {"a": {"caps": [{"between": ["a"], "mbps": 1}]}}},
            ("ccn", "a", "caps", 0, "between"),
            "between has 1 entries, not 2",
        ),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_is_said(data, place, said):
    (problem,) = problems(data)
    assert problem.place == place
    assert problem.message.startswith(said)
