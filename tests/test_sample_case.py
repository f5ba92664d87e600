"""The documentation's sample case: CVM A pings CVM B, and a flow log "Accept" on A's ENI tells of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from emulator.lab import Lab
from emulator.logs.topic import Topic
from emulator.resources import Cvm, PingResult

pytestmark = pytest.mark.kernel

PROFILES = {"tencent": (300, 600), "tencent-2020": (600, 900), "alibaba": (600, 900), "alibaba-2019": (600, 900)}
"""Capture window, and what it takes at most from the first packet's window's start until its record can be searched."""

BASE = 1_763_000_400
"""The start of a window of any length."""


@dataclass
class Sample:
    lab: Lab
    a: Cvm
    b: Cvm
    topic: Topic
    reply: PingResult


@pytest.fixture
def play(open_lab: Callable[..., Lab]) -> Callable[..., Sample]:
    def make(profile: str, start: float = BASE) -> Sample:
        lab = open_lab(profile, start=start)
        vpc = lab.create_vpc("10.16.0.0/16", name="demo")
        subnet = vpc.create_subnet("10.16.0.0/24")
        a = subnet.run_instance("A", private_ip="10.16.0.22")
        b = subnet.run_instance("B", private_ip="10.16.0.40")
        topic = lab.logs.create_topic("accept", logset="demo")
        a.eni.create_flow_log("ping", topic=topic, traffic="ACCEPT")
        return Sample(lab, a, b, topic, a.ping(b, count=9))

    return make


@pytest.mark.parametrize("profile", PROFILES)
def test_nine_pings_are_two_records(play: Callable[..., Sample], profile: str) -> None:
    sample = play(profile)
    window_s, wait_s = PROFILES[profile]

    sample.lab.clock.advance(seconds=wait_s)
    request, reply = sample.topic.search("10.16.0.40")

    assert (sample.reply.transmitted, sample.reply.received) == (9, 9)
    assert set(re.findall(r"ttl=(\d+)", sample.reply.stdout)) == {"64"}
    same = {"packets": 9, "bytes": 756, "protocol": 1, "action": "ACCEPT", "log-status": "OK"}
    bounds = {"start": BASE, "end": BASE + window_s}
    for record, ends in ((request, ("10.16.0.22", "10.16.0.40")), (reply, ("10.16.0.40", "10.16.0.22"))):
        assert {key: record[key] for key in (*same, *bounds)} == {**same, **bounds}
        assert (record["srcaddr"], record["dstaddr"]) == ends
        assert record.time == BASE + window_s
    of_one = "dstaddr: 10.16.0.40" if profile.startswith("alibaba") else "dstaddr:10.16.0.40"
    assert sample.topic.search(of_one) == [request]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("offset", [0.0, 0.5, 59.0, 299.0])
def test_a_record_is_there_from_its_windows_end_and_delay_on_and_never_before(
    play: Callable[..., Sample], profile: str, offset: float
) -> None:
    sample = play(profile, BASE + offset)
    _, wait_s = PROFILES[profile]

    sample.lab.clock.advance(seconds=wait_s - offset - 0.25)
    assert sample.topic.search() == []
    sample.lab.clock.advance(seconds=0.25)
    assert len(sample.topic.search()) == 2


def test_tencents_line(play: Callable[..., Sample]) -> None:
    sample = play("tencent")

    sample.lab.clock.advance(minutes=10)
    request, reply = sample.topic.search("10.16.0.40")

    ident = request["srcport"]
    ends = f"{BASE} {BASE + 300} ACCEPT OK"
    assert request.line == f"2 1251762227 {sample.a.eni.id} 10.16.0.22 10.16.0.40 {ident} 2048 1 9 756 {ends}"
    assert reply.line == f"2 1251762227 {sample.a.eni.id} 10.16.0.40 10.16.0.22 {ident} 0 1 9 756 {ends}"


@pytest.mark.parametrize(("profile", "more"), [("alibaba", " cn-hangzhou - "), ("alibaba-2019", "")])
def test_alibabas_line(play: Callable[..., Sample], profile: str, more: str) -> None:
    sample = play(profile)

    sample.lab.clock.advance(minutes=15)
    request, reply = sample.topic.search("10.16.0.40")

    eni = sample.a.eni.model
    head = f"1 {eni.subnet_id} {eni.cvm_id} {eni.vpc_id} 1379426105883714 {eni.id}"
    tail = f"9 756 {BASE} {BASE + 600} OK ACCEPT{more}"
    assert request.line == f"{head} 10.16.0.22 - 10.16.0.40 - 1 out {tail}{'2' if more else ''}"
    assert reply.line == f"{head} 10.16.0.40 - 10.16.0.22 - 1 in {tail}{'-' if more else ''}"


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("tencent", r"ACCEPT of what left \S+: security group \S+ \(default\), default rule sgr-\w+: allow egress all"),
        ("alibaba", r"ACCEPT of what left \S+: no rule of its security groups matched, default rule.*allow egress all"),
    ],
)
def test_explain_names_the_deciding_rule(play: Callable[..., Sample], profile: str, said: str) -> None:
    sample = play(profile)

    sample.lab.clock.advance(minutes=15)
    request, reply = (sample.lab.explain(record) for record in sample.topic.search("10.16.0.40"))

    assert re.match(said, str(request))
    assert (request.direction, request.stage, request.current) == ("out", "security group", True)
    assert (reply.direction, reply.rule) == ("in", request.rule)
    assert "the other way" in str(reply)
