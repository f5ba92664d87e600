"""EIPs, NAT gateways, route tables and the lab's internet in the kernel: who is seen under which address, and what the
records say."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import pytest

from emulator.cloud.gateways import chosen
from emulator.cloud.verdict import Packet
from emulator.errors import KernelRefused

pytestmark = pytest.mark.kernel

PROFILES = ("tencent", "alibaba")
REGION = {"tencent": "ap-singapore", "alibaba": "ap-southeast-1"}
PORT = 4789


@dataclass
class Post:
    """Sends single UDP datagrams and tells under which address they arrive."""

    wire: Any

    def seen(self, sender: Any, receiver: Any, dst: str, port: int = PORT, source: str | None = None) -> str | None:
        """The address under which ``receiver`` gets what ``sender`` sends to ``dst``; None where nothing arrives."""
        with closing(receiver.socket(type=socket.SOCK_DGRAM)) as ear, closing(self._mouth(sender, source)) as mouth:
            ear.bind(("", PORT))
            mouth.sendto(b"?", (dst, port))
            return self._hear(ear)

    def answered(self, sender: Any, receiver: Any, dst: str, port: int = PORT) -> tuple[str | None, str | None]:
        """As ``seen``, and under which address the answer comes back."""
        with closing(receiver.socket(type=socket.SOCK_DGRAM)) as ear, closing(self._mouth(sender)) as mouth:
            ear.bind(("", PORT))
            mouth.sendto(b"?", (dst, port))
            self._drain()
            _, peer = ear.recvfrom(9)
            ear.sendto(b"!", peer)
            return peer[0], self._hear(mouth)

    def _mouth(self, sender: Any, source: str | None = None) -> socket.socket:
        mouth: socket.socket = sender.socket(type=socket.SOCK_DGRAM)
        mouth.bind((source or "", 0))
        return mouth

    def _hear(self, ear: socket.socket) -> str | None:
        self._drain()
        ear.setblocking(False)
        with suppress(BlockingIOError):
            return str(ear.recvfrom(9)[1][0])
        return None

    def _drain(self) -> None:
        for _ in range(3):  # up to twelve hops
            self.wire.drain()


@pytest.fixture(scope="session")
def post(wire: Any) -> Post:
    return Post(wire)


@pytest.fixture(params=PROFILES)
def site(request: pytest.FixtureRequest, build: Callable[..., Any]) -> Any:
    site = build(request.param)
    site.log(site.vpc)
    if request.param == "alibaba":
        site.vpc.default_security_group.allow("ingress")
    return site


def visitor(site: Any, name: str = "visitor") -> Any:
    return site.lab.internet.host(name, region=REGION[site.lab.profile.name])


def bound(site: Any, target: Any, *args: Any) -> Any:
    eip = site.lab.allocate_address()
    eip.associate(target, *args)
    return eip


def ends(records: list[Any], eni: Any) -> set[tuple[str, str, str, str]]:
    """(direction, source, destination, action) of UDP and TCP records of an ENI."""
    return {
        (record.meta["direction"], record["srcaddr"], record["dstaddr"], record["action"])
        for record in records
        if record.meta["eni_id"] == eni.id and record["protocol"] in (6, 17)
    }


def test_an_eip_stands_for_a_private_address_both_ways(site: Any, post: Post) -> None:
    guest, eip = visitor(site), bound(site, site.a)

    assert post.answered(guest, site.a, eip.ip) == (guest.ip, eip.ip)
    assert post.answered(site.a, guest, guest.ip) == (eip.ip, guest.ip)
    assert post.seen(site.b, guest, guest.ip) is None

    there = {("in", guest.ip, site.a.ip, "ACCEPT"), ("out", site.a.ip, guest.ip, "ACCEPT")}
    site.lab.audit().check()
    records = site.records()
    assert ends(records, site.a.eni) == there
    assert ends(records, site.b.eni) == {("out", site.b.ip, guest.ip, "ACCEPT")}, "it left, and nobody led it on"


def test_rules_judge_the_visitors_public_address(site: Any, post: Post) -> None:
    bad, good = visitor(site, "bad"), visitor(site, "good")
    eip = bound(site, site.a)
    site.vpc.default_security_group.deny("ingress", cidr=f"{bad.ip}/32", priority=0 if is_list(site) else 1)
    acl = site.vpc.create_network_acl("acl")
    for direction in ("ingress", "egress"):
        acl.allow(direction)

    assert post.seen(good, site.a, eip.ip) == good.ip
    assert post.seen(bad, site.a, eip.ip) is None
    acl.deny("ingress", cidr=f"{good.ip}/32", priority=1)
    acl.associate(site.web)
    assert post.seen(good, site.a, eip.ip) is None
    acl.disassociate(site.web)
    assert post.seen(good, site.a, eip.ip) == good.ip

    site.lab.audit().check()
    found = ends(site.records(), site.a.eni)
    assert found == {("in", good.ip, site.a.ip, word) for word in ("ACCEPT", "REJECT")} | {
        ("in", bad.ip, site.a.ip, "REJECT")
    }


def is_list(site: Any) -> bool:
    return not site.lab.profile.pooled_groups


def test_a_nat_gateway_lends_its_addresses(site: Any, post: Post) -> None:
    guest, nat = visitor(site), site.vpc.create_nat_gateway("nat")
    eips = [bound(site, nat) for _ in range(3)]
    table = site.vpc.create_route_table("private")
    table.add_route("0.0.0.0/0", nat)
    table.associate(site.web)
    if site.lab.profile.snat_needs_entry:
        assert post.seen(site.a, guest, guest.ip) is None, "no entry names it"
        nat.add_snat(site.web)
    nat.forward_port("udp", eips[0], 53, site.a.ip, PORT)

    public = [IPv4Address(eip.ip) for eip in eips]
    for cvm in (site.a, site.b):
        mine = str(chosen(IPv4Address(cvm.ip), public))
        assert post.answered(cvm, guest, guest.ip) == (mine, guest.ip)
    assert post.answered(guest, site.a, eips[0].ip, 53) == (guest.ip, eips[0].ip)
    assert post.seen(guest, site.a, eips[1].ip, 53) is None, "no such port is forwarded"
    if not site.lab.profile.nat_routes_itself:
        assert post.seen(site.c, guest, guest.ip) is None, "its subnet has no route there"

    site.lab.audit().check()
    records = site.records()
    assert ends(records, site.a.eni) == {
        ("out", site.a.ip, guest.ip, "ACCEPT"),
        ("in", guest.ip, site.a.ip, "ACCEPT"),
    }
    assert not {address for record in records for address in (record["srcaddr"],)} & {eip.ip for eip in eips}


def test_who_goes_first_of_an_eip_and_a_nat_gateway(site: Any, post: Post) -> None:
    guest, nat, eip = visitor(site), site.vpc.create_nat_gateway(), bound(site, site.a)
    shared = bound(site, nat)
    if site.lab.profile.snat_needs_entry:
        nat.add_snat(site.web)
    else:
        site.vpc.route_table.add_route("0.0.0.0/0", nat)

    first = eip if site.lab.profile.eip_before_nat else shared
    assert post.seen(site.a, guest, guest.ip) == first.ip
    assert post.seen(site.b, guest, guest.ip) == shared.ip
    assert post.answered(guest, site.a, eip.ip) == (guest.ip, eip.ip), "an answer goes back as the question came"


def test_a_secondary_address_and_its_eip(site: Any, post: Post) -> None:
    guest, second = visitor(site), site.a.eni.assign_private_ip("10.16.0.99")
    eips = bound(site, site.a), bound(site, site.a.eni, second)

    assert post.seen(site.b, site.a, second) == site.b.ip
    assert post.seen(site.a, site.b, site.b.ip, source=second) == second
    assert [post.seen(guest, site.a, eip.ip) for eip in eips] == [guest.ip, guest.ip]
    assert post.seen(site.a, guest, guest.ip, source=second) == eips[1].ip
    assert site.a.eni.ips == [site.a.ip, second]
    eips[1].disassociate()
    site.a.eni.unassign_private_ip(second)
    assert post.seen(site.b, site.a, second) is None
    site.lab.audit().check()

    assert ends(site.records(), site.a.eni) == {
        ("in", site.b.ip, second, "ACCEPT"),
        ("out", second, site.b.ip, "ACCEPT"),
        ("in", guest.ip, site.a.ip, "ACCEPT"),
        ("in", guest.ip, second, "ACCEPT"),
        ("out", second, guest.ip, "ACCEPT"),
    }


def test_a_second_enis_secondary_address_leaves_by_that_eni(site: Any, post: Post) -> None:
    eni = site.db.create_eni("second")
    first, late = eni.assign_private_ip(), site.a.eni.assign_private_ip()
    eni.attach(site.a)
    last = eni.assign_private_ip()

    for source in (eni.ip, first, last):
        assert post.seen(site.a, site.c, site.c.ip, source=source) == source
    assert post.seen(site.a, site.c, site.c.ip, source=late) == late
    site.lab.audit().check()
    eni.detach()
    assert post.seen(site.b, site.a, last) is None

    records = site.records()
    assert {one[1] for one in ends(records, eni)} == {eni.ip, first, last}
    assert {one[1] for one in ends(records, site.a.eni)} == {late}


def test_an_eip_that_is_off_leads_nowhere_and_connections_by_it_end(site: Any, post: Post) -> None:
    guest, eip = visitor(site), bound(site, site.a)
    with closing(site.a.socket(type=socket.SOCK_DGRAM)) as mouth, closing(guest.socket(type=socket.SOCK_DGRAM)) as ear:
        ear.bind(("", PORT))
        mouth.sendto(b"1", (guest.ip, PORT))
        assert post._hear(ear) == eip.ip
        eip.disassociate()
        mouth.sendto(b"2", (guest.ip, PORT))
        assert post._hear(ear) is None
        eip.associate(site.b)
        mouth.sendto(b"3", (guest.ip, PORT))
        assert post._hear(ear) is None
    assert post.answered(guest, site.b, eip.ip) == (guest.ip, eip.ip)


def test_two_eips_talk_to_each_other_under_their_public_addresses(site: Any, post: Post) -> None:
    one, other = bound(site, site.a), bound(site, site.c)
    far = site.lab.create_vpc("10.16.0.0/16", name="twin").create_subnet("10.16.0.0/24").run_instance("D")
    if site.lab.profile.name == "alibaba":
        site.lab.find("twin").default_security_group.allow("ingress")
    third = bound(site, far)

    assert post.answered(site.a, site.c, other.ip) == (one.ip, other.ip), "within one VPC"
    assert post.answered(site.a, far, third.ip) == (one.ip, third.ip), "between VPCs of equal blocks"
    site.lab.audit().check()
    records = site.records()
    assert ("out", site.a.ip, other.ip, "ACCEPT") in ends(records, site.a.eni)
    assert ("in", one.ip, site.c.ip, "ACCEPT") in ends(records, site.c.eni)


def test_every_hop_outside_is_seen_and_none_inside(site: Any) -> None:
    guest, eip = visitor(site), bound(site, site.a)

    def hops(machine: Any, dst: str) -> list[str]:
        tries = [machine.run(["ping", "-n", "-c1", "-t", str(ttl), "-W2", dst]).stdout for ttl in (1, 2, 3)]
        return ["expired" if "Time to live exceeded" in said else "arrived" for said in tries]

    assert hops(guest, eip.ip) == hops(site.a, guest.ip) == ["expired", "expired", "arrived"]
    assert "ttl=62" in guest.ping(eip).stdout
    assert "ttl=64" in site.a.ping(site.c).stdout
    site.lab.audit().check()


def test_the_internet_knows_no_private_addresses(site: Any, post: Post, wire: Any) -> None:
    guest, eip = visitor(site), bound(site, site.a)
    with wire.listening(site.a, 17) as heard:
        wire.send(guest, site.a.ip, 17, wire.udp(1, 1))
        for forged in ("10.16.0.40", "10.99.0.1", "192.168.7.7", "172.31.0.1", "127.0.0.1"):
            wire.send(guest, eip.ip, 17, wire.udp(2, 2), src=forged)
        wire.send(guest, eip.ip, 17, wire.udp(3, 3), src="9.9.9.9")
        post._drain()
        packets = [(packet[12:16], packet[20:22]) for packet in heard()]

    assert packets == [(socket.inet_aton("9.9.9.9"), b"\0\3")], "a forged public source does arrive, as on any internet"


def test_hosts_reach_each_other_by_name_and_listen(site: Any, post: Post) -> None:
    one, other = visitor(site, "alpha"), site.lab.internet.host("beta", ip="8.8.8.8")

    assert post.answered(one, other, "8.8.8.8") == (one.ip, "8.8.8.8")
    assert one.run(["getent", "hosts", "beta"]).stdout.split()[0] == "8.8.8.8"
    assert [host.name for host in site.lab.internet.hosts] == ["alpha", "beta"]
    assert site.lab.net.get("beta").cmd("hostname").strip() == "beta"
    other.delete()
    assert post.seen(one, one, "8.8.8.8") is None


def test_an_internet_gateway_decides_who_uses_an_eip(build: Callable[..., Any], post: Post) -> None:
    site = build("alibaba")
    site.vpc.default_security_group.allow("ingress")
    guest, eip, twin = visitor(site), bound(site, site.a), bound(site, site.c)
    gateway = site.vpc.create_internet_gateway("gateway")
    assert post.seen(site.a, guest, guest.ip) is None
    table = site.vpc.create_route_table("public")
    table.add_route("0.0.0.0/0", gateway)
    table.associate(site.web)

    assert post.seen(site.a, guest, guest.ip) == eip.ip
    assert post.seen(site.b, guest, guest.ip) is None, "it has no EIP"
    assert post.seen(site.c, guest, guest.ip) is None, "its subnet has no route"
    table.disassociate(site.web)
    table.delete()
    gateway.delete()
    assert post.seen(site.c, guest, guest.ip) == twin.ip


def test_nothing_stays_when_all_is_taken_back(build: Callable[..., Any], post: Post) -> None:
    site = build()
    lab = site.lab
    before = set(lab.fabric.keeper.spaces())
    guest, nat, table = visitor(site), site.vpc.create_nat_gateway(), site.vpc.create_route_table()
    eip, shared = bound(site, site.a), bound(site, nat)
    table.add_route("0.0.0.0/0", nat)
    table.associate(site.db)
    assert post.seen(site.c, guest, guest.ip) == shared.ip
    assert len(set(lab.fabric.keeper.spaces()) - before) == 4

    table.disassociate(site.db)
    for thing in (table, guest):
        thing.delete()
    shared.disassociate()
    nat.delete()
    eip.disassociate()

    assert set(lab.fabric.keeper.spaces()) == before
    assert post.seen(site.a, site.c, site.c.ip) == site.a.ip


def test_explanations_name_who_stands_for_whom(site: Any, post: Post) -> None:
    guest, nat, eip = visitor(site), site.vpc.create_nat_gateway(), bound(site, site.a)
    shared, lab = bound(site, nat), site.lab
    table = site.vpc.create_route_table()
    table.add_route("0.0.0.0/0", nat)
    table.associate(site.db)
    if lab.profile.snat_needs_entry:
        nat.add_snat(site.db)
    assert post.seen(site.a, guest, guest.ip) == eip.ip
    assert post.seen(site.c, site.a, eip.ip) == shared.ip
    records = site.records()

    def why(cvm: Any, far: str) -> str:
        record = next(one for one in records if far in (one["srcaddr"], one["dstaddr"]) and one["protocol"] == 17
                      and one.meta["eni_id"] == cvm.eni.id)  # fmt: skip
        return str(lab.explain(record).difference)

    host = f"{guest.ip} is host visitor ({guest.id}) on the internet, in {guest.region}"
    assert why(site.a, guest.ip) == f"{host}; outside, {site.a.ip} is {eip.ip} (EIP {eip.id})"
    assert why(site.c, eip.ip) == (
        f"{eip.ip} is EIP {eip.id}, which stands for {site.a.ip} of {site.a.eni.id}: the record there has {site.a.ip} "
        f"and {shared.ip}; outside, {site.c.ip} is {shared.ip} (NAT gateway {nat.id})"
    )
    assert why(site.a, shared.ip).startswith(f"{shared.ip} is EIP {shared.id} of {nat.id}")
    packet = Packet(IPv4Address(site.b.ip), IPv4Address("9.9.9.9"), 17, 1, 1)
    assert lab.explain(packet).difference == "nobody in the VPC has 9.9.9.9"


def test_alibabas_records_tell_by_which_way_a_packet_left(build: Callable[..., Any], post: Post) -> None:
    site = build("alibaba")
    lab, guest = site.lab, visitor(site)
    site.log(site.vpc)
    site.vpc.default_security_group.allow("ingress")
    nat, eip = site.vpc.create_nat_gateway(), bound(site, site.a)
    bound(site, nat)
    nat.add_snat(site.web)
    far = lab.create_vpc("10.17.0.0/16", name="far")
    peering = site.vpc.create_peering(far)
    site.vpc.route_table.add_route("10.17.0.0/16", peering)
    ccn = lab.create_ccn()
    for vpc in (site.vpc, lab.create_vpc("10.18.0.0/16")):
        ccn.attach(vpc)
    for cvm, dst in (
        (site.a, site.c.ip), (site.a, guest.ip), (site.b, guest.ip), (site.b, "10.17.0.9"), (site.b, "10.18.0.9"),
    ):  # fmt: skip
        post.seen(cvm, guest, dst)
    assert post.seen(guest, site.a, eip.ip) == guest.ip

    records = [record for record in site.records() if record["protocol"] == 17]
    paths = {
        (record["srcaddr"], record["dstaddr"]): record["traffic_path"]
        for record in records
        if record["direction"] == "out"
    }
    assert paths == {
        (site.a.ip, site.c.ip): 2,
        (site.a.ip, guest.ip): 15,
        (site.b.ip, guest.ip): 7,
        (site.b.ip, "10.17.0.9"): 17,
        (site.b.ip, "10.18.0.9"): 8,
    }
    assert {record["traffic_path"] for record in records if record["direction"] == "in"} == {None}


@pytest.mark.parametrize(
    "step", ["cables.Cable.lay", "routers.Router.write", "routers.Router.lead", "visitors.Visitors.plugged"]
)
def test_what_the_kernel_refuses_is_taken_back_whole(
    build: Callable[..., Any], post: Post, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    site = build()
    lab = site.lab
    guest, other = visitor(site), bound(site, site.b)
    eip, nat = lab.allocate_address(), site.vpc.create_nat_gateway()
    cloud = [dict(table) for table in lab.cloud.snapshot().tables]
    spaces = set(lab.fabric.keeper.spaces())

    def refuse(*_: Any) -> None:
        raise KernelRefused("not today", errno=1, request=step)

    ask = (lambda: visitor(site, "late")) if "visitors" in step else (lambda: site.vpc.create_nat_gateway())
    if step.endswith(("lead", "write")):
        ask = lambda: eip.associate(nat)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(f"emulator.fabric.{step}", refuse)
        with pytest.raises(KernelRefused, match="not today"):
            ask()
    assert [dict(table) for table in lab.cloud.snapshot().tables] == cloud

    assert post.seen(guest, site.b, other.ip) == guest.ip, "what stood still stands"
    ask()
    ask_again = visitor(site, "last")
    assert set(lab.fabric.keeper.spaces()) >= spaces
    assert post.seen(ask_again, site.b, other.ip) == ask_again.ip


def test_more_borders_than_replies_can_be_told_apart(build: Callable[..., Any], post: Post) -> None:
    site = build(quotas={"nat_gateways": 20})
    guest, gateways = visitor(site), [site.vpc.create_nat_gateway() for _ in range(17)]
    shared = bound(site, gateways[-1])
    site.vpc.route_table.add_route("0.0.0.0/0", gateways[-1])

    assert post.answered(site.a, guest, guest.ip) == (shared.ip, guest.ip)


def test_datagrams_in_fragments_pass_borders_and_balance(site: Any, post: Post) -> None:
    guest, eip = visitor(site), bound(site, site.a)
    with closing(guest.socket(type=socket.SOCK_DGRAM)) as mouth, closing(site.a.socket(type=socket.SOCK_DGRAM)) as ear:
        ear.bind((site.a.ip, PORT))
        mouth.sendto(b"x" * 4000, (eip.ip, PORT))
        post._drain()
        data, peer = ear.recvfrom(5000)
        ear.sendto(data, peer)
        post._drain()
        assert len(mouth.recv(5000)) == 4000
    site.lab.audit().check()
    found = {
        (record.meta["direction"], record["packets"], record["bytes"])
        for record in site.records(site.a.eni)
        if record["protocol"] == 17
    }
    assert found == {("in", 3, 4068), ("out", 3, 4068)}
