"""A CVM with two ENIs and three addresses: which of them does a record show?

::

    VPC 10.0.0.0/16
    +- subnet 10.0.1.0/24, front ----------+
    |  client 10.0.1.10                    |      gateway
    |      |                               |      +---------------------+
    |      +-- 1 ping, 10.0.1.20 ----------|----->|  eth0 10.0.1.20     |
    |      +-- 2 pings, 10.0.1.21 ---------|----->|       10.0.1.21     |
    |      |                               |      |       [flow log]    |
    +------|-------------------------------+      |                     |
    +------|-- subnet 10.0.2.0/24, back ---+      |                     |
    |      +-- 3 pings, 10.0.2.20 ---------|----->|  eth1 10.0.2.20     |
    |                                      |      |       [flow log]    |
    +--------------------------------------+      +---------------------+

Look at: the address in a record is the one that was on the wire, be it primary or secondary; the ENI is the one that it
passed. One machine is two ENIs and three addresses: who counts by address counts three, who counts by ENI two, and a
flow log on one ENI does not see the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

PINGS = {"10.0.1.20": 1, "10.0.1.21": 2, "10.0.2.20": 3}


def run(story: Story, lab: Lab) -> None:
    from emulator.testing import exactly, expect

    story.step("A machine with two ENIs, the first with two addresses")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    front, back = vpc.create_subnet("10.0.1.0/24", name="front"), vpc.create_subnet("10.0.2.0/24", name="back")
    group = vpc.create_security_group("open")
    group.allow("ingress")
    group.allow("egress")
    client = front.run_instance("client", private_ip="10.0.1.10", security_groups=[group])
    gateway = front.run_instance("gateway", private_ip="10.0.1.20", security_groups=[group])
    first = gateway.eni
    first.assign_private_ip("10.0.1.21")
    second = back.create_eni("second", private_ip="10.0.2.20", security_groups=[group])
    second.attach(gateway)
    story.check("one CVM, three addresses", gateway.ips, list(PINGS))
    topic = lab.logs.create_topic("gateway", logset="demo")
    for eni in (first, second):
        eni.create_flow_log(eni.name, topic=topic)

    story.step("The client pings each address, and the machine pings back by its default route")
    for address, count in PINGS.items():
        story.check(f"{address} answers", client.ping(address, count=count).received, count)
    story.check("the client answers", gateway.ping(client, count=4).received, 4)

    story.later("which ENI saw which address?")
    told = []
    for address, count in PINGS.items():
        eni = second if address == second.ip else first
        own = 4 if address == first.ip else 0
        told.append(expect(client >> address).icmp().on(eni).accept(packets=count + own))
        told.append(expect(address >> client).icmp().on(eni).accept(packets=count + own))
    exactly(*told)
    to_gateway = " OR ".join(f"dstaddr:{address}" for address in PINGS)
    found = story.search(topic, to_gateway)
    where = {record["dstaddr"]: lab.explain(record).eni_id for record in found}
    story.check(
        "two by the first, one by the second", where, {**dict.fromkeys(first.ips, first.id), second.ip: second.id}
    )
    story.note("what the machine sent of its own accord left by eth0 under its primary address")

    story.step("How many machines were that?")
    rows = story.search(topic, f"{to_gateway} | SELECT count(DISTINCT dstaddr) AS addresses, sum(packets) AS packets")
    story.check(
        "by address: three", [dict(row) for row in rows], [{"addresses": 3, "packets": sum(PINGS.values()) + 4}]
    )

    story.step("The second address moves to another machine; the first ENI's records go on")
    first.unassign_private_ip("10.0.1.21")
    spare = front.run_instance("spare", private_ip="10.0.1.21", security_groups=[group])
    story.check("it answers under its new owner", client.ping(spare, count=5).received, 5)
    now = story.later("and now?")
    found = story.search(topic, "10.0.1.21", start=now)
    story.expect(found)
    story.note("an address is a name for a while: what it means is told by the ENI beside it, and by the time")

    story.learnt(
        "A record shows the address that was on the wire and the ENI that it passed; count machines by neither.",
        "A flow log on one ENI of a machine is half the story: log the subnet, or the VPC.",
    )


SCENARIO = Scenario("multi-eni", "Two ENIs, three addresses: what records show", run, BOTH_CLOUDS)
