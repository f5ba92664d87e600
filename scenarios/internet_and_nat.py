"""One web server, one NAT gateway, two machines behind it: which addresses are in the records?

::

    VPC 10.0.0.0/16                                          internet
    +- subnet 10.0.1.0/24 ----------------+
    |  web 10.0.1.10          [flow log]  |--- EIP --------<--- visitor
    +-------------------------------------+
    +- subnet 10.0.2.0/24 ----------------+
    |  one 10.0.2.10          [flow log]  |--+
    |  two 10.0.2.20          [flow log]  |--+-- NAT gateway -> updates
    +-------------------------------------+         EIP

Look at: public addresses of one's own are in no record. An ENI has private ones, and address translation happens
beyond it; what is in the records is the other side's public address. So two machines that the world sees as one are
two in the records, and a public address from a complaint is found by explain and not by a search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab


def run(story: Story, lab: Lab) -> None:
    from emulator.testing import exactly, expect

    story.step("A web server with an EIP; two machines behind a NAT gateway; a flow log on each ENI")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    front, back = vpc.create_subnet("10.0.1.0/24", name="front"), vpc.create_subnet("10.0.2.0/24", name="back")
    group = vpc.create_security_group("web")
    group.allow("ingress", protocol="tcp", port=443)
    web = front.run_instance("web", private_ip="10.0.1.10", security_groups=[group])
    one, two = (back.run_instance(name, private_ip=ip) for name, ip in (("one", "10.0.2.10"), ("two", "10.0.2.20")))
    public = lab.allocate_address("web")
    public.associate(web)
    gateway, shared = vpc.create_nat_gateway("way-out"), lab.allocate_address("way-out")
    shared.associate(gateway)
    gateway.add_snat(back, shared)
    table = vpc.create_route_table("behind-nat")
    table.add_route("0.0.0.0/0", gateway)
    table.associate(back)
    topic = lab.logs.create_topic("internet", logset="demo")
    for cvm in (web, one, two):
        cvm.eni.create_flow_log(cvm.name, topic=topic)
    visitor, updates = lab.internet.host("visitor"), lab.internet.host("updates")
    story.note(f"web is {web.ip} and {public.ip}; one is {one.ip}, two is {two.ip}, both are {shared.ip} outside")

    story.step("The visitor looks at a page; both machines fetch their updates")
    visited = visitor.tcp(public, 443, bytes=100, answer=2000)
    fetched = [cvm.tcp(updates, 80, bytes=100, answer=4000) for cvm in (one, two)]
    story.check("all were answered", {each.outcome for each in (visited, *fetched)}, {"answered"})

    story.later("what does the web server's ENI say?")
    found = story.search(topic, "dstport:443 OR srcport:443")
    tcp = {"protocol": 6, "action": "ACCEPT", "log-status": "OK"}
    story.expect(
        found,
        {"srcaddr": visitor.ip, "dstaddr": web.ip, "dstport": 443, **tcp},
        {"srcaddr": web.ip, "dstaddr": visitor.ip, "srcport": 443, **tcp},
    )
    why = lab.explain(found[0]).in_full
    story.note(why.splitlines()[-1])
    story.check("the whole explanation knows the EIP", f"outside, {web.ip} is {public.ip}" in why, True)

    story.step("And those of the two behind the gateway?")
    told = [expect(visitor >> web).tcp(443).accept(), expect(web >> visitor).tcp(source=443).accept()]
    for cvm in (one, two):
        told += [expect(cvm >> updates).tcp(80).on(cvm.eni).accept(), expect(updates >> cvm).tcp(source=80).accept()]
    exactly(*told)
    found = story.search(topic, f"dstaddr:{updates.ip}")
    story.expect(found, *({"srcaddr": cvm.ip, "dstaddr": updates.ip, "dstport": 80, **tcp} for cvm in (one, two)))

    story.step("A complaint names the public address: who was it?")
    story.expect(story.search(topic, f"{shared.ip} OR {public.ip}"))
    for record in found:
        seen_as = f"outside, {record['srcaddr']} is {shared.ip}"
        story.check(f"{record['srcaddr']} was seen as it", seen_as in lab.explain(record).in_full, True)
    story.note("with the time, and the port that the other side saw, only the gateway's own log could tell them apart")

    story.learnt(
        "Records show private addresses of one's own ENI and public ones of the other side, before and behind NAT.",
        "Search for the other side's address; keep the list of EIPs and gateways beside the records.",
    )


SCENARIO = Scenario("internet-and-nat", "Which addresses records show behind NAT", run, BOTH_CLOUDS)
