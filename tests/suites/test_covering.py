"""``pytest --vpclab-cov``, in a project of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from projects import run

from emulator.pytest_plugin import need_kernel

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("project")

TESTS = """
import pytest

def server(lab):
    web = lab.find("demo").create_security_group("web")
    web.allow("ingress", protocol="icmp")
    web.allow("ingress", protocol="tcp", port=443)
    return lab.find("subnet").run_instance("server", security_groups=[web])

@pytest.fixture
def client(lab):
    return lab.create_vpc("10.16.0.0/16", name="demo").create_subnet("10.16.0.0/24", name="subnet").run_instance("A")

@pytest.mark.parametrize("count", [1, 2])
def test_pings(lab, client, count):
    assert client.ping(server(lab), count=count).received == count

def test_nothing():
    pass
"""


@pytest.mark.kernel
@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_the_rules_of_a_run(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    """One that a fixture makes for two tests is one rule; the lab of a test is covered as that of the fixture."""
    need_kernel()
    pytester.makepyfile(test_rules=TESTS)

    result = run(pytester, "--vpclab-cov-json", "cov.json", "--vpclab-cov-fail-under", "60", *options)

    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*vpclab rule coverage*",
            "made at*in*rule*status*packets*replies",
            "test_rules.py:5*web*allow ingress icmp from*both ways*3*3",
            "test_rules.py:6*web*allow ingress tcp port 443*never*0*0",
            "2 rules: 1 both ways, 0 one way, 0 decided, 1 never; 50 % decided a packet",
            "FAIL: 50 % of the rules decided a packet, wanted 60 %",
        ]
    )
    told = json.loads(Path("cov.json").read_text())
    assert (told["percent"], told["unread_vpcs"]) == (50, 0)
    (pings,) = (row for row in told["rules"] if "icmp" in row["rule"])
    assert pings == {
        "place": "test_rules.py:5",
        "stage": "security group",
        "owner": "web",
        "rule": "allow ingress icmp from anywhere",
        "allows": True,
        "default": False,
        "packets": 3,
        "replies": 3,
        "labs": 2,
        "status": "both ways",
    }


def test_a_run_without_rules(pytester: pytest.Pytester) -> None:
    """Nothing to cover is no failure."""
    pytester.makepyfile("def test_nothing(): pass")
    result = run(pytester, "--vpclab-cov", "--vpclab-cov-fail-under=100")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["0 rules: *; 100 % decided a packet"])


def test_a_file_that_cannot_be_written(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    result = run(pytester, "--vpclab-cov-json=missing/cov.json")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*--vpclab-cov-json=*missing/cov.json: No such file or directory*"])
