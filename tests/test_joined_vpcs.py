"""Peerings and CCNs in the kernel: who reaches whom, which records that makes, and what a cap drops."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from emulator.errors import InUse, RequestRefused

pytestmark = pytest.mark.kernel

PROFILES = ("tencent", "alibaba")
ELSEWHERE = {"tencent": "ap-singapore", "alibaba": "ap-southeast-1"}
PORT = 4789


@dataclass
class Joined:
    """VPCs 10.1.0.0/16 and 10.2.0.0/16 here, 10.3.0.0/16 in another region; in each a CVM at .0.10; one flow log on
    each."""

    lab: Any
    vpcs: list[Any]
    cvms: list[Any]
    topic: Any
    wire: Any

    def route(self, one: int, other: int, target: Any) -> None:
        self.vpcs[one].route_table.add_route(self.vpcs[other].cidr, target)

    def got(self, sender: int, receiver: int, count: int = 1, size: int = 1) -> int:
        """How many of so many datagrams arrive."""
        cvm, peer = self.cvms[sender], self.cvms[receiver]
        with (
            closing(cvm.socket(type=socket.SOCK_DGRAM)) as mouth,
            closing(peer.socket(type=socket.SOCK_DGRAM)) as ear,
        ):
            ear.bind((peer.ip, PORT))
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            mouth.bind((cvm.ip, 0))
            for _ in range(count):
                mouth.sendto(b"x" * size, (peer.ip, PORT))
                if count > 1 and _ % 100 == 99:
                    self.wire.drain()
            self.drain()
            ear.setblocking(False)
            found = 0
            with suppress(BlockingIOError):
                while ear.recv(1 << 12):
                    found += 1
            return found

    def drain(self) -> None:
        for _ in range(3):
            self.wire.drain()

    def records(self, cvm: int) -> set[tuple[str, str, str, str]]:
        """(direction, source, destination, action) of a CVM's UDP records once its window is published."""
        found = self.topic.search()
        return {
            (record.meta["direction"], record["srcaddr"], record["dstaddr"], record["action"])
            for record in found
            if record.meta["eni_id"] == self.cvms[cvm].eni.id and record["protocol"] == 17
        }


@pytest.fixture(params=PROFILES)
def joined(request: pytest.FixtureRequest, open_lab: Callable[..., Any], wire: Any) -> Joined:
    lab = open_lab(request.param)
    regions = [None, None, ELSEWHERE[request.param]]
    vpcs = [lab.create_vpc(f"10.{n}.0.0/16", name=f"vpc{n}", region=region) for n, region in enumerate(regions, 1)]
    cvms = []
    for number, vpc in enumerate(vpcs, 1):
        subnet = vpc.create_subnet(f"10.{number}.0.0/24")
        cvms.append(subnet.run_instance(f"cvm{number}", private_ip=f"10.{number}.0.10"))
        if request.param == "alibaba":
            vpc.default_security_group.allow("ingress")
    topic = lab.logs.create_topic("flows", logset="test")
    for vpc in vpcs:
        vpc.create_flow_log(topic=topic)
    return Joined(lab, vpcs, cvms, topic, wire)


def test_a_peering_needs_routes_on_both_sides_and_is_judged_at_both(joined: Joined) -> None:
    first, second = (cvm.ip for cvm in joined.cvms[:2])
    peering = joined.vpcs[0].create_peering(joined.vpcs[1], "peering")
    assert joined.got(0, 1) == 0, "no route there"
    joined.route(0, 1, peering)
    assert joined.got(0, 1) == 1
    assert joined.got(1, 0) == 0, "no route back"
    joined.route(1, 0, peering)
    assert joined.cvms[1].ping(joined.cvms[0]).received == 1
    assert "ttl=63" in joined.cvms[1].ping(joined.cvms[0]).stdout, "the router between them takes one"
    priority = 1 if joined.lab.profile.pooled_groups else 0
    joined.vpcs[1].default_security_group.deny("ingress", protocol="udp", cidr="10.1.0.0/16", priority=priority)
    assert joined.got(0, 1) == 0

    joined.lab.audit().check()
    joined.lab.clock.advance(minutes=15)
    assert joined.records(0) == {("out", first, second, "ACCEPT")}
    (sent, *_) = [one for one in joined.topic.search() if one["srcaddr"] == first and one.meta["direction"] == "out"]
    behind = f"{second} is {joined.cvms[1].eni.id} (cvm2-eth0) in VPC {joined.vpcs[1].id}, behind {peering.id}"
    assert joined.lab.explain(sent).difference.startswith(behind)
    answered = {("out", second, first, "ACCEPT")}
    assert joined.records(1) == {("in", first, second, word) for word in ("ACCEPT", "REJECT")} | answered


def test_a_peering_leads_to_the_peer_only(joined: Joined) -> None:
    """Nothing passes through a VPC: what comes by a peering reaches ENIs there, or nobody."""
    near = joined.vpcs[0].create_peering(joined.vpcs[1])
    far = joined.vpcs[1].create_peering(joined.vpcs[2])
    joined.route(0, 1, near)
    joined.route(1, 0, near)
    joined.route(1, 2, far)
    joined.route(2, 1, far)
    if not joined.lab.profile.peer_routes_inside:
        joined.route(0, 2, near)
        joined.route(2, 0, far)
    assert [joined.got(0, 1), joined.got(1, 2), joined.got(0, 2)] == [1, 1, 0]
    joined.lab.audit().check()


@pytest.mark.parametrize("by", ["peering", "ccn"])
def test_what_is_over_the_cap_is_dropped_and_counted_before_it(joined: Joined, by: str) -> None:
    """1 Mbit/s lets 1.1 s of it, 137,500 bytes, through at once: 133 of these datagrams of 1,028 bytes, and few more
    while they are sent."""
    if by == "peering":
        joint = joined.vpcs[0].create_peering(joined.vpcs[2], bandwidth_mbps=1)
        joined.route(0, 2, joint)
        joined.route(2, 0, joint)
    else:
        joint = joined.lab.create_ccn()
        for vpc in joined.vpcs:
            joint.attach(vpc)
        joint.set_bandwidth(joined.vpcs[0].region, joined.vpcs[2].region, 1)
        assert joined.got(0, 1, 200, 1000) == 200, "within a region there is no cap"
    arrived = joined.got(0, 2, 400, 1000)
    assert 133 <= arrived < 300
    if by == "peering":
        joint.set_bandwidth(None)
    else:
        joint.set_bandwidth(joined.vpcs[2].region, joined.vpcs[0].region, None)
    assert joined.got(2, 0, 200, 1000) == 200

    joined.lab.audit().check()
    joined.lab.clock.advance(minutes=15)
    sums = {
        (record.meta["eni_id"], record.meta["direction"]): record["packets"]
        for record in joined.topic.search()
        if record["protocol"] == 17 and joined.cvms[2].ip == record["dstaddr"]
    }
    sender, receiver = joined.cvms[0].eni.id, joined.cvms[2].eni.id
    assert sums == {(sender, "out"): 400, (receiver, "in"): arrived}


def test_a_ccn_joins_all_and_parts_again(joined: Joined) -> None:
    ccn = joined.lab.create_ccn("ccn")
    for vpc in joined.vpcs:
        ccn.attach(vpc)
    pairs = [(one, other) for one in range(3) for other in range(3) if one != other]
    assert [joined.got(*pair) for pair in pairs] == [1] * 6
    assert [vpc.name for vpc in ccn.vpcs] == ["vpc1", "vpc2", "vpc3"]
    ccn.detach(joined.vpcs[1])
    assert {pair: joined.got(*pair) for pair in pairs} == {pair: int(1 not in pair) for pair in pairs}
    for vpc in ccn.vpcs:
        ccn.detach(vpc)
    ccn.delete()
    assert [joined.got(*pair) for pair in pairs] == [0] * 6
    joined.lab.audit().check()


def test_of_equal_blocks_the_first_in_a_ccn_is_reached(joined: Joined) -> None:
    twin = joined.lab.create_vpc("10.2.0.0/16", name="twin")
    cvm = twin.create_subnet("10.2.0.0/24").run_instance("twin", private_ip="10.2.0.10")
    ccn = joined.lab.create_ccn()
    for vpc in (joined.vpcs[0], joined.vpcs[1], twin):
        ccn.attach(vpc)
    joined.cvms.append(cvm)
    assert joined.got(0, 1) == 1
    assert joined.got(3, 0) == 1, "what the second one sends arrives; the answer goes to the first"
    assert cvm.ping(joined.cvms[0], wait_s=0.1).received == 0


def told(records: list[Any], *fields: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(record[name] for name in fields) for record in records), key=str)


def in_a_ccn(joined: Joined) -> tuple[Any, list[str]]:
    ccn = joined.lab.create_ccn("ccn")
    for vpc in joined.vpcs:
        ccn.attach(vpc)
    return ccn, [vpc.region for vpc in joined.vpcs]


@pytest.mark.parametrize("joined", ["tencent"], indirect=True)
def test_tencents_log_of_a_ccn_tells_what_passes_between_regions(joined: Joined) -> None:
    (ccn, regions), lab = in_a_ccn(joined), joined.lab
    topics = {region: lab.logs.create_topic(region, logset="ccn") for region in (regions[0], regions[2])}
    for region, topic in topics.items():
        ccn.create_flow_log(f"log-{region}", topic=topic, region=region)
    assert joined.got(0, 1, 5) == 5
    assert joined.got(0, 2, 7) == 7
    ccn.set_bandwidth(regions[2], regions[0], 1)
    arrived = joined.got(2, 0, 300, 1000)
    assert joined.got(0, 2, 1, 4000) == 1
    joined.cvms[0].ping(joined.cvms[2], count=2)
    lab.audit().check()
    lab.clock.advance(minutes=6)

    here, there = (cvm.ip for cvm in (joined.cvms[0], joined.cvms[2]))
    names = ("srcaddr", "dstaddr", "protocol", "packets", "bytes", "action", "srcregionid", "dstregionid")
    expected = [
        (here, there, 17, 7, 7 * 29, "ACCEPT", regions[0], regions[2]),
        (here, there, 17, 1, 4028, "ACCEPT", regions[0], regions[2]),  # three fragments count as their datagram
        (there, here, 17, arrived, arrived * 1028, "ACCEPT", regions[2], regions[0]),
        (there, here, 17, 300 - arrived, (300 - arrived) * 1028, "REJECT", regions[2], regions[0]),
        (here, there, 1, 2, 168, "ACCEPT", regions[0], regions[2]),
        (there, here, 1, 2, 168, "ACCEPT", regions[2], regions[0]),
    ]
    for region, topic in topics.items():
        records = topic.search("log-status:OK")
        assert told(records, *names) == sorted(expected, key=str), "each region's log tells the same of the two"
        assert {(record["ccnid"], record["region-id"]) for record in records} == {(ccn.id, region)}
        assert {record["end"] - record["start"] for record in records} == {60}
        assert {record["dstport"] for record in records if record["protocol"] == 1} == {None}
    assert [topic.search("action:REJECT").line.split()[1] for topic in topics.values()] == [regions[0]] * 2
    (dropped,) = topics[regions[0]].search("action:REJECT")
    assert f"over the bandwidth of {ccn.id} from {regions[2]} to {regions[0]}" in str(lab.explain(dropped))


@pytest.mark.parametrize("joined", ["alibaba"], indirect=True)
def test_alibabas_log_of_a_cen_tells_what_passes_each_attachment(joined: Joined) -> None:
    (cen, regions), lab = in_a_ccn(joined), joined.lab
    topic = lab.logs.create_topic("cen", logset="cen")
    cen.create_flow_log("log", topic=topic, region=regions[0], interval_s=60)
    attachments = list(cen.model.vpcs.values())
    assert joined.got(0, 1, 5) == 5
    assert joined.got(2, 0, 7) == 7
    lab.clock.advance(minutes=6)

    first, second, third = (cvm.ip for cvm in joined.cvms)
    near, far = regions[0], regions[2]
    names = ("attachment-id", "direction", "srcaddr", "dstaddr", "src-region-id", "dst-region-id", "packets")
    assert told(topic.search(), *names) == sorted(
        [
            (attachments[0], "in", first, second, near, near, 5),
            (attachments[1], "out", first, second, near, near, 5),
            (attachments[0], "out", third, first, far, near, 7),
        ],
        key=str,
    )
    assert {record["cen-id"] for record in topic.search()} == {cen.id}
    passed = f"it passed {cen.id} from {near} to {near}; no rule of yours decides there"
    assert str(lab.explain(topic.search(f"dstaddr:{second}")[0])) == passed


@pytest.mark.parametrize("joined", ["alibaba"], indirect=True)
def test_a_cens_log_that_was_off_for_a_while(joined: Joined) -> None:
    (cen, regions), lab = in_a_ccn(joined), joined.lab
    topic = lab.logs.create_topic("cen", logset="cen")
    log = cen.create_flow_log("log", topic=topic, region=regions[2], interval_s=60)
    joined.cvms[0].ping(joined.cvms[2], count=1)
    log.disable()
    joined.cvms[0].ping(joined.cvms[2], count=2)
    log.enable()
    joined.cvms[0].ping(joined.cvms[2], count=4)
    lab.clock.advance(minutes=6)

    assert told(topic.search(), "direction", "packets") == [("in", 5), ("out", 5)]


@pytest.mark.parametrize("joined", ["tencent"], indirect=True)
def test_a_ccns_log_begins_ends_and_idles_exactly(joined: Joined) -> None:
    (ccn, regions), lab = in_a_ccn(joined), joined.lab
    topic = lab.logs.create_topic("ccn", logset="ccn")
    joined.got(0, 2, 2)
    log = ccn.create_flow_log("log", topic=topic, region=regions[0])
    joined.got(0, 2, 3)
    lab.clock.advance(minutes=3)
    joined.got(0, 2, 4)
    ccn.detach(joined.vpcs[2])
    lab.clock.advance(seconds=20)
    log.delete()
    ccn.attach(joined.vpcs[2])
    joined.got(0, 2, 5)
    lab.clock.advance(minutes=7)

    found = [(record["start"] % 3600 // 60, record["packets"]) for record in topic.search("log-status:OK")]
    start = found[0][0]
    assert found == [(start, 3), (start + 3, 4)]
    idle = [record["start"] % 3600 // 60 - start for record in topic.search("log-status:NODATA")]
    assert idle == [1, 2]


def test_flow_logs_on_ccns_that_are_refused(joined: Joined) -> None:
    (ccn, regions), lab = in_a_ccn(joined), joined.lab
    topic = lab.logs.create_topic("ccn", logset="ccn")
    log = ccn.create_flow_log("log", topic=topic, region=regions[0])
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: ccn.create_flow_log("far", topic=topic, region="mars"), "region.unknown"),
        (lambda: ccn.create_flow_log("odd", topic=topic, region=regions[2], interval_s=120), "flow_log.interval"),
        (lambda: lab.cloud.create_flow_log(ccn.id, topic_id="t", now_s=0, vpc_id=joined.vpcs[0].id), "flow_log.vpc"),
        (
            lambda: lab.cloud.create_flow_log(joined.vpcs[0].id, topic_id="t", now_s=0, region=regions[2]),
            "flow_log.region",
        ),
    ]
    if lab.profile.one_per_resource:
        cases.append((lambda: ccn.create_flow_log("twice", topic=topic, region=regions[0]), "flow_log.exists"))
        cases.append((log.disable, "flow_log.switch"))
    else:
        cases.append((lambda: ccn.create_flow_log("drop", topic=topic, traffic="Drop"), "flow_log.traffic"))
    for ask, reason in cases:
        before = dict(lab.cloud.flow_logs)
        with pytest.raises(RequestRefused) as refused:
            ask()
        assert (refused.value.reason, refused.value.code) == (reason, lab.profile.code(reason))
        assert lab.cloud.flow_logs == before
    for vpc in ccn.vpcs:
        ccn.detach(vpc)
    with pytest.raises(InUse) as in_use:
        ccn.delete()
    assert in_use.value.reason == "ccn.flow_log"


def test_the_books_tell_what_left_and_what_got_lost_between_vpcs(joined: Joined) -> None:
    (ccn, _), lab = in_a_ccn(joined), joined.lab
    assert joined.got(0, 1, 5) == 5
    audit = lab.audit().check()
    assert "5 left their VPC" in audit.text
    assert {eni.eni_id: eni.left for eni in audit.enis} == {
        joined.cvms[0].eni.id: 5, joined.cvms[1].eni.id: 0, joined.cvms[2].eni.id: 0,
    }  # fmt: skip
    joined.cvms[0].run(["ping", "-c1", "-W1", "-t1", joined.cvms[1].ip])
    lab.audit().check()

    router = lab.fabric.beyond._routers[ccn.id]
    lab.fabric.keeper.nft(router.ns, "insert rule inet vpc forward meta l4proto udp drop\n")
    assert joined.got(0, 1, 3) == 0
    failed = lab.audit()
    assert not failed.ok
    assert f"3 packets, 87 bytes accepted at {joined.cvms[0].eni.id} and not counted at {joined.cvms[1].eni.id}" in str(
        failed
    )


def test_the_books_see_what_leaves_uncounted(joined: Joined) -> None:
    in_a_ccn(joined)
    lab, fabric = joined.lab, joined.lab.fabric
    fabric.keeper.nft(fabric.vpcs[joined.vpcs[0].id].ns, "flush chain inet vpc leaving\n")
    assert joined.got(0, 1, 4) == 4
    assert "leaving: 0 packets, 0 bytes left the VPC; accepted to outside of 10.1.0.0/16 were 4 packets" in str(
        lab.audit()
    )
