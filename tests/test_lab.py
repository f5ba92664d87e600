"""A lab's life: what it starts with, what it says when it is closed, and that a refused change leaves no trace."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from emulator import Lab
from emulator.errors import ClockError, InvalidValue, KernelRefused, LabClosed, LabError, RequestRefused, Unsupported
from emulator.fabric.client import KeeperClient
from emulator.providers import PROFILES

# what a lab starts with, refused before anything is built ----------------------------------------------


@pytest.mark.parametrize(
    "start",
    [-1, float("nan"), float("inf"), 2**33, 10**400, True, "2024-01-01", b"0"],
    ids=["before 1970", "nan", "inf", "far", "too large for a float", "a truth", "text", "bytes"],
)
def test_what_is_no_start_is_refused(start: Any) -> None:
    with pytest.raises(ClockError, match="start="):
        Lab(start=start)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf"), "fast", True])
def test_what_is_no_speed_is_refused(speed: Any) -> None:
    with pytest.raises(ClockError, match="speed="):
        Lab(speed=speed)


@pytest.mark.parametrize("name", ["tencnet", "", None, 7, ["tencent"]])
def test_an_unknown_profile_is_refused_with_the_nearest(name: Any) -> None:
    with pytest.raises(InvalidValue, match="tencent") as refused:
        Lab(name)
    assert refused.value.value == name


@pytest.mark.parametrize(
    ("profile", "region"), [("tencent", "cn-hangzhou"), ("alibaba", "ap-guangzhou"), ("tencent", "")]
)
def test_a_region_of_another_cloud_is_refused(profile: str, region: str) -> None:
    with pytest.raises(Unsupported, match="no region") as refused:
        Lab(profile, region=region)
    assert refused.value.code == PROFILES[profile].code("region.unknown")


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("start", "now"), [(0, 0.0), (1_763_000_010, 1_763_000_010.0), (1_763_000_010.25, 1_763_000_010.25)]
)
def test_lab_time_begins_at_start(open_lab: Callable[..., Lab], start: float, now: float) -> None:
    assert open_lab(start=start).clock.now == now


@pytest.mark.kernel
def test_lab_time_begins_now_where_nothing_is_said(open_lab: Callable[..., Lab]) -> None:
    before = time.time()
    lab = open_lab(start=None)

    assert before <= lab.clock.now <= time.time()
    assert lab.clock.now == lab.clock.now


@pytest.mark.kernel
def test_a_lab_without_an_argument(open_lab: Callable[..., Lab]) -> None:
    open_lab()  # skips where there can be none
    with Lab() as lab:
        assert (lab.profile.name, lab.cloud.region, lab.clock.speed) == ("tencent", "ap-guangzhou", None)


# closing ---------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_closing_twice_is_no_error_and_entering_twice_is(open_lab: Callable[..., Lab]) -> None:
    lab = open_lab()
    with pytest.raises(LabError, match="already entered"), lab:
        pass
    lab.close()
    lab.close()
    with pytest.raises(LabClosed, match="open a new one"), lab:
        pass


@pytest.mark.kernel
def test_a_closed_lab_says_so_whatever_is_asked(build: Callable[..., Any], tmp_path: Any) -> None:
    site = build()
    lab, eni = site.lab, site.a.eni
    group, acl, spare = site.vpc.create_security_group(), site.vpc.create_network_acl(), site.web.create_eni()
    (log,) = site.log(eni)
    lab.close()

    def capture() -> None:
        with eni.capture(tmp_path / "x.pcap"):
            pass

    uses: list[Callable[[], Any]] = [
        lambda: lab.create_vpc("10.0.0.0/16"),
        lambda: lab.find("A"),
        lab.describe_flow_logs,
        lambda: lab.clock.advance(minutes=1),
        lambda: lab.logs.create_topic("t"),
        lambda: lab.logs.topic("flows"),
        lambda: site.vpc.create_subnet("10.16.2.0/24"),
        site.vpc.create_security_group,
        site.vpc.create_network_acl,
        site.vpc.delete,
        site.web.run_instance,
        site.web.create_eni,
        site.web.delete,
        lambda: group.allow("ingress"),
        group.delete,
        lambda: acl.associate(site.web),
        lambda: acl.deny("egress"),
        lambda: eni.create_flow_log(topic=site.topic),
        lambda: eni.set_security_groups([group]),
        lambda: spare.attach(site.b),
        spare.delete,
        capture,
        lambda: log.modify(name="x"),
        log.enable,
        log.disable,
        log.delete,
        lambda: site.a.run(["true"]),
        lambda: site.a.popen(["true"]),
        lambda: site.a.ping(site.b),
        lambda: site.a.call(int),
        site.a.socket,
        site.a.terminate,
        site.topic.search,
        lambda: site.topic.write([{"a": 1}]),
    ]
    for use in uses:
        with pytest.raises(LabClosed):
            use()
    assert "closed" in repr(lab)


@pytest.mark.kernel
def test_a_lab_is_closed_by_an_error_in_its_block_and_the_error_stays(open_lab: Callable[..., Lab]) -> None:
    lab = open_lab()
    inner = Lab(start=0)
    with pytest.raises(ZeroDivisionError), inner:
        raise ZeroDivisionError
    with pytest.raises(LabClosed):
        inner.create_vpc("10.0.0.0/16")
    assert lab.create_vpc("10.0.0.0/16").cidr == "10.0.0.0/16"


@pytest.mark.kernel
def test_two_labs_do_not_meet(open_lab: Callable[..., Lab], wire: Any) -> None:
    labs = [open_lab(), open_lab("alibaba")]
    for lab in labs:
        a, b = (lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24").run_instance() for _ in range(2))
        assert a.ip == b.ip, "two VPCs may overlap"
        assert a.ping(b).received == 1, "that is itself"
    assert {len(lab.net.hosts) for lab in labs} == {2}
    assert not set(labs[0].cloud.enis) & set(labs[1].cloud.enis)
    handle = labs[0].find(next(iter(labs[0].cloud.cvms)))
    assert handle != labs[1].find(next(iter(labs[1].cloud.cvms)))


@pytest.mark.kernel
def test_threads_may_share_a_lab(build: Callable[..., Any]) -> None:
    site = build()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            cvm = site.db.run_instance(f"T{number}")
            assert cvm.ping(site.a).received == 1
            cvm.terminate()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    site.lab.clock.advance(minutes=30)
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(site.lab.net.hosts) == 3


# a refusal leaves no trace -----------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[str]]]:
    """Makes the keeper's n-th request from now on fail, once; what is returned lists the requests that were made."""
    real, made = KeeperClient.request, list[str]()
    fail_at = [0]

    def request(self: KeeperClient, verb: str, *args: Any, **arguments: Any) -> Any:
        made.append(verb)
        if len(made) == fail_at[0]:
            raise KernelRefused(f"injected into {verb}", request=verb)
        return real(self, verb, *args, **arguments)

    def arm(number: int) -> list[str]:
        made.clear()
        fail_at[0] = number
        return made

    monkeypatch.setattr(KeeperClient, "request", request)
    yield arm
    arm(0)


def picture(site: Any) -> dict[str, Any]:
    """Everything of a lab that a refused change could have touched."""
    cloud, fabric = site.lab.cloud, site.lab.fabric
    tables = ("vpcs", "subnets", "cvms", "enis", "groups", "acls", "flow_logs")
    return {
        "cloud": {name: dict(getattr(cloud, name)) for name in tables},
        "hosts": sorted(site.lab.net),
        "links": len(site.lab.net.links),
        "namespaces": len([tag for tag in fabric.keeper.spaces().values() if tag == fabric.tag]),
        "attached": {vpc: sorted(one.attached) for vpc, one in fabric.vpcs.items()},
        "counted": {vpc: len(one.accounts.generations) for vpc, one in fabric.vpcs.items()},
    }


def changes(site: Any) -> dict[str, Callable[[], Any]]:
    """Changes that build something; each can be made once."""
    guarded = site.vpc.create_security_group("guarded")
    guarded.allow("egress")
    friends = site.vpc.create_security_group("friends")
    acl = site.vpc.create_network_acl("acl")
    for direction in ("ingress", "egress"):
        acl.allow(direction, protocol="icmp")
    spare = site.web.create_eni("spare", private_ip="10.16.0.77", security_groups=[guarded])
    pair = [site.vpc.default_security_group, guarded]
    return {
        "a VPC": lambda: site.lab.create_vpc("10.17.0.0/16", name="new"),
        "a CVM": lambda: site.web.run_instance("new", private_ip="10.16.0.90", security_groups=pair),
        "several CVMs": lambda: site.web.run_instances([f"many{number}" for number in range(20)]),
        "an ENI": lambda: site.web.create_eni("late", security_groups=[friends]),
        "an attachment": lambda: spare.attach(site.b),
        "a rule": lambda: site.vpc.default_security_group.allow("ingress", protocol="udp", port=53, cidr=friends),
        "other groups": lambda: site.a.eni.set_security_groups([guarded, site.vpc.default_security_group]),
        "an ACL": lambda: acl.associate(site.db),
        "an ACL's rule": lambda: acl.deny("ingress", protocol="udp"),
        "a flow log on an ENI": lambda: site.a.eni.create_flow_log("of-eni", topic=site.topic),
        "a flow log on the VPC": lambda: site.vpc.create_flow_log("of-vpc", topic=site.topic),
        "IPv6 for the VPC": lambda: site.vpc.assign_ipv6_cidr(),
        "IPv6 for a subnet with an ACL": lambda: site.db.assign_ipv6_cidr(),
        "IPv6 addresses": lambda: site.c.eni.assign_ipv6_addresses(2),
        "a CVM with IPv6": lambda: site.db.run_instance("six", ipv6=True),
    }


@pytest.mark.kernel
@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
@pytest.mark.parametrize("logged", [False, True], ids=["unlogged", "logged"])
def test_a_change_that_the_kernel_refuses_half_way_leaves_nothing_and_can_be_tried_again(
    build: Callable[..., Any], wire: Any, failing: Callable[[int], list[str]], profile: str, logged: bool
) -> None:
    """Each request of each change fails once."""
    site = build(profile)
    if logged:
        site.log(site.web, site.db)
    for name, change in changes(site).items():
        before, refused = picture(site), 0
        for number in range(1, 60):
            made = failing(number)
            try:
                change()
            except LabError:
                refused += 1
                failing(0)
                assert picture(site) == before, f"{name}: {made[:number]}"
            else:
                break
        else:
            pytest.fail(f"{name} did not end")
        failing(0)
        assert refused == number - 1 >= 1 or name == "an ENI", f"{name}: {made}"

    assert site.a.ping(site.b, count=2).received == 2
    assert site.a.ping(site.c, count=2).received == 2, "ICMP passes the ACL"
    assert site.a.ping("10.16.0.90").received == 1
    assert site.a.ping(site.lab.net.get("many19").IP()).received == 1
    assert site.lab.find("six").ping(site.c, ipv6=True).received == 1
    wire.send(site.b, site.a.ip, 47, b"x")
    records = site.records(site.a.eni)
    assert {47: 1}.items() <= {record["protocol"]: record["packets"] for record in records}.items()


@pytest.mark.kernel
def test_an_address_is_free_again_after_a_refused_start(
    build: Callable[..., Any], failing: Callable[[int], list[str]]
) -> None:
    site = build()
    failing(2)
    with pytest.raises(KernelRefused):
        site.web.run_instance("D", private_ip="10.16.0.99")
    failing(0)

    assert site.lab.net.hosts == [site.lab.net.get(name) for name in "ABC"]
    d = site.web.run_instance("D", private_ip="10.16.0.99")
    assert d.ip == "10.16.0.99"
    assert site.a.ping(d).received == 1


@pytest.mark.kernel
def test_a_cvm_that_was_not_started_is_no_member_of_its_groups(
    build: Callable[..., Any], wire: Any, failing: Callable[[int], list[str]]
) -> None:
    site = build()
    site.log(site.a.eni)
    friends, sender = site.vpc.create_security_group("friends"), site.vpc.create_security_group("sender")
    sender.allow("egress", cidr=friends)
    site.a.eni.set_security_groups([sender])
    ports = set()
    for number in range(1, 60):
        failing(number)
        with contextlib.suppress(LabError):
            site.web.run_instance("D", private_ip="10.16.0.90", security_groups=[friends])
        failing(0)
        if "D" in site.lab.net:
            break
        wire.send(site.a, "10.16.0.90", 17, wire.udp(1, number))
        ports.add(number)

    rejected = {record["dstport"] for record in site.records() if record["action"] == "REJECT"}
    assert rejected == ports >= {1, 2, 3}


@pytest.mark.kernel
@pytest.mark.parametrize("what", ["terminate", "detach", "disable", "delete"])
def test_what_fails_while_it_is_taken_down_can_be_tried_again(
    build: Callable[..., Any], wire: Any, failing: Callable[[int], list[str]], what: str
) -> None:
    for number in range(1, 30):
        site = build()
        (log,) = site.log(site.vpc)
        spare = site.web.create_eni("spare")
        spare.attach(site.a)
        wire.send(site.a, site.b.ip, 47, b"x")
        take_down = {
            "terminate": site.a.terminate,
            "detach": spare.detach,
            "disable": log.disable,
            "delete": log.delete,
        }[what]
        eni = site.a.eni
        made = failing(number)
        try:
            take_down()
        except LabError:
            failing(0)
            with contextlib.suppress(RequestRefused):  # the first time may have gone far enough
                take_down()
        failing(0)
        assert len(site.lab.net.hosts) == (2 if what == "terminate" else 3)
        assert (spare.cvm is None) == (what in ("terminate", "detach"))
        assert [record["packets"] for record in site.records(eni) if record["protocol"] == 47] == [1], made[:number]
        if len(made) < number:
            break
        site.lab.close()
    else:
        pytest.fail(f"{what} did not end")


@pytest.mark.kernel
def test_a_failed_window_end_loses_nothing(
    build: Callable[..., Any], wire: Any, failing: Callable[[int], list[str]]
) -> None:
    site = build()
    site.log(site.vpc)
    sent = 0
    for number in range(1, 12):
        wire.send(site.a, site.b.ip, 47, b"x")
        sent += 1
        failing(number)
        try:
            site.lab.clock.advance(minutes=5)
        except LabError:
            failing(0)
            site.lab.clock.advance(minutes=5)
        failing(0)
    site.lab.clock.advance(minutes=20)

    for eni in (site.a.eni, site.b.eni):
        records = [record for record in site.topic.search() if record.meta["eni_id"] == eni.id]
        assert sum(record["packets"] for record in records if record["protocol"] == 47) == sent
        assert len({record["start"] for record in records}) == 14


@pytest.mark.kernel
def test_refused_requests_change_nothing(build: Callable[..., Any]) -> None:
    site = build()
    before = picture(site)

    for bad in (
        lambda: site.web.run_instance("D", private_ip=site.a.ip),
        lambda: site.web.run_instance("D" * 500),
        lambda: site.web.create_eni(private_ip=IPv4Address("10.16.0.0")),
        lambda: site.lab.create_vpc("10.0.0.0/33"),
        lambda: site.a.eni.detach(),
        lambda: site.a.eni.set_security_groups([]),
    ):
        with pytest.raises(RequestRefused):
            bad()
    assert picture(site) == before


# a data folder ---------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_records_that_wait_outlive_their_lab(
    open_lab: Callable[..., Lab], furnished: Any, wire: Any, tmp_path: Any
) -> None:
    """A window has ended, its records are not due yet: a later lab on the folder publishes them, once."""
    site = furnished(Lab(start=wire.START_S, data=tmp_path))
    site.log(site.a.eni)
    wire.send(site.a, site.b.ip, 47, b"x")
    site.lab.clock.advance(minutes=5)
    assert site.topic.search() == []
    now = site.lab.clock.now
    site.lab.close()

    lab = open_lab(start=now, data=tmp_path)
    topic = lab.logs.topic("flows", logset="test")
    assert topic.search() == []
    lab.clock.advance(minutes=5)
    (before,) = topic.search("protocol:47")
    lab.close()
    (after,) = open_lab(start=now + 3600, data=tmp_path).logs.topic("flows").search("protocol:47")

    assert (before["protocol"], before["packets"]) == (47, 1)
    assert (after, after.id) == (before, before.id)


@pytest.mark.parametrize(
    ("quotas", "said"),
    [
        ({"flowlogs": 5}, r"'flowlogs'.*: tencent has no such quota; there are flow_logs, vpcs"),
        ({"vpcs": -1}, r"'vpcs'.*=-1: give a whole number of vpcs"),
        ({"vpcs": "many"}, "='many': give a whole number"),
        ({"vpcs": True}, "=True: give a whole number"),
    ],
)
def test_a_quota_that_there_is_not_is_refused(quotas: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError, match=said):
        Lab(quotas=quotas)


@pytest.mark.kernel
def test_a_vpc_of_many_cvms_is_logged_and_no_longer(build: Callable[..., Any]) -> None:
    """More tables than one transaction of an ordinary user holds."""
    site = build("alibaba", quotas={"group_rules": 1000})
    cvms = site.db.run_instances(120)
    log = site.vpc.create_flow_log(topic=site.topic)
    assert site.a.ping(cvms[-1], count=3).received == 3
    records = site.records(cvms[-1].eni)
    assert {record["packets"] for record in records if record["log-status"] == "OK"} == {3}
    log.delete()
    assert not any(vpc.accounts.generations for vpc in site.lab.fabric.vpcs.values())


@pytest.mark.kernel
def test_a_long_change_that_is_refused_half_way_changes_nothing(
    build: Callable[..., Any], failing: Callable[[int], list[str]]
) -> None:
    site = build("alibaba", quotas={"group_rules": 1000})
    group = site.vpc.create_security_group("long")
    for number in range(600):
        group.allow("ingress", protocol="tcp", port=1 + number, cidr=f"10.{number % 250}.{number // 250}.0/24")
    group.allow("ingress", protocol="icmp")
    for number in range(1, 60):
        failing(number)
        try:
            site.b.eni.set_security_groups([group])
        except LabError:
            failing(0)
            assert site.b.eni.security_groups == [site.vpc.default_security_group]
            assert site.a.ping(site.b).received == 1
        else:
            break
    failing(0)
    assert number > 3, "several transactions"
    assert site.a.ping(site.b).received == 1
