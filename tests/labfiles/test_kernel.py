"""Labs from files, on a kernel: the documented example, and a lab that is saved and opened again."""

from __future__ import annotations

import re

import pytest

from emulator.errors import LabError, LabFileError
from emulator.labfiles.opening import describe
from emulator.pytest_plugin import need_kernel
from tests import warm
from tests.children import REPOSITORY, environment

EXAMPLE = (REPOSITORY / "docs/lab-files.md").read_text()

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def kernel():
    need_kernel()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", EXAMPLE, re.DOTALL)[1]


def test_the_documented_example(tmp_path):
    (tmp_path / "shop.toml").write_text(block("toml"))
    bare = {"PYTHONPATH": environment()["PYTHONPATH"], "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = warm.python("-W", "error", "-c", block("python"), cwd=tmp_path, env=bare)
    assert (done.stderr, done.stdout) == ("", block("text"))


FULL = """
profile = "{profile}"
start = 1704067200
include = ["rules.toml"]
[vpc.one]
cidr = "10.1.0.0/16"
ipv6_cidr = "2001:db8:0:100::/56"
[vpc.two]
cidr = "10.2.0.0/16"
[subnet.a]
vpc = "one"
cidr = "10.1.0.0/24"
ipv6_cidr = true
[subnet.b]
vpc = "two"
cidr = "10.2.0.0/24"
[cvm.A]
subnet = "a"
ipv6 = true
security_groups = ["open"]
secondary_ips = ["10.1.0.77"]
[cvm.A2]
subnet = "a"
ipv6 = true
security_groups = ["open"]
[eni.more]
subnet = "a"
cvm = "A2"
security_groups = ["shut"]
[cvm.B]
subnet = "b"
[peering.both]
vpc = "one"
peer = "two"
[route_table.of-one]
vpc = "one"
default = true
routes = [{{ cidr = "10.2.0.0/16", to = "both" }}]
[route_table.of-two]
vpc = "two"
default = true
routes = [{{ cidr = "10.1.0.0/16", to = "both" }}]
[eip.public]
target = "A"
[internet_host.visitor]
[topic.one]
report = true
[topic.bare]
report = false
[topic.own]
index = {{ port = "long", note = "text" }}
full_text = true
[flow_log.one]
on = "one"
topic = "one"
[flow_log.of-more]
on = "more"
topic = "bare"
"""
RULES = """
[security_group.open]
vpc = "one"
rules = [{ allow = "ingress" }, { allow = "egress" }]
[security_group.shut]
vpc = "one"
rules = []
[security_group.two]
vpc = "two"
default = true
rules = [{ allow = "ingress" }, { allow = "egress" }]
"""


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_a_lab_that_is_saved_and_opened_again(profile, tmp_path):
    from emulator import Lab

    (tmp_path / "lab.toml").write_text(FULL.format(profile=profile))
    (tmp_path / "rules.toml").write_text(RULES)
    with Lab.from_file(tmp_path / "lab.toml") as lab:
        look(lab)
        lab.clock.advance(minutes=15)
        records = lab.logs.topic("one").search("*")
        assert records
        lab.logs.topic("own").write([{"port": 443, "note": "hello world"}])
        lab.save(tmp_path / "saved.toml", data=tmp_path / "records")
        told = describe(lab, "records")
    with Lab.from_file(tmp_path / "saved.toml") as again:
        assert describe(again, "records") == told
        assert [one.line for one in again.logs.topic("one").search("*")] == [one.line for one in records]
        assert again.logs.topic("own").search("hello")[0]["port"] == 443
        assert again.logs.topic("bare").index is None
        look(again)
        again.clock.advance(minutes=15)
        assert len(again.logs.topic("one").search("*")) > len(records)
        again.audit().check()
        with pytest.raises(LabError, match="is not empty; give a folder that is not there yet"):
            again.save(tmp_path / "other.toml", data=tmp_path / "records")
        with pytest.raises(LabError, match="is not in the folder of the file"):
            again.save(tmp_path / "other.toml", data=tmp_path.parent / "elsewhere")
        assert not (tmp_path / "other.toml").exists()
    other = "alibaba" if profile == "tencent" else "tencent"
    with Lab.from_file(tmp_path / "lab.toml", profile=other, start=0) as lab:
        assert (lab.profile.name, lab.clock.now) == (other, 0)
        look(lab)


def look(lab):
    """Packets pass as the file says: both families, further ENIs, another VPC, the internet."""
    a, a2, b, visitor = (lab.find(name) for name in ("A", "A2", "B", "visitor"))
    assert a.ping(a2).received == 1
    assert a.ping(a2, ipv6=True).received == 1
    assert a2.ping("10.1.0.77").received == 1
    assert a.ping(b).received == 1
    assert visitor.ping(lab.find("public")).received == 1
    assert a.ping(lab.find("more"), wait_s=0.1).received == 0


def test_what_is_wrong_opens_nothing(tmp_path):
    from emulator import Lab

    path = tmp_path / "lab.toml"
    path.write_text('data = "records"\n[cvm.A]\n')
    with pytest.raises(LabFileError, match=r"lab\.toml:2: cvm A: subnet is missing; and the file has no subnet"):
        Lab.from_file(path)
    path.write_text('data = "../records"\n')
    with pytest.raises(LabFileError, match=r"lab\.toml:1: \.\./records is not in the folder of the file"):
        Lab.from_file(path)
    assert [one.name for one in tmp_path.iterdir()] == ["lab.toml"]
    with Lab() as lab, pytest.raises(LabError, match=r"save to /nowhere/lab\.toml: No such file"):
        lab.save("/nowhere/lab.toml")
