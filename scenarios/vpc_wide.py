"""One flow log for a whole VPC, a CVM that comes later included.

::

    VPC 10.0.0.0/16  [flow log]
    +- subnet 10.0.1.0/24 ---+     +- subnet 10.0.2.0/24 ---+
    |  A 10.0.1.10           |     |  C 10.0.2.10           |
    |  B 10.0.1.11           |     |  created in the second |
    |                        |     |  capture window        |
    +------------------------+     +------------------------+

    first window:   A pings B, twice
    second window:  A pings C, three times

Look at: every ENI has its own records, so each ping is there twice in each direction; C is logged from its first
packet though nobody created a flow log for it; an ENI that saw no packet says so with NODATA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scenarios.story import LOGS_ON_VPCS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab


def pinged(asker: str, asked: str, count: int) -> list[dict[str, Any]]:
    """The two records of a ping, as any one ENI has them."""
    same = {"protocol": 1, "packets": count, "bytes": 84 * count, "action": "ACCEPT", "log-status": "OK"}
    return [{"srcaddr": asker, "dstaddr": asked, **same}, {"srcaddr": asked, "dstaddr": asker, **same}]


def run(story: Story, lab: Lab) -> None:
    story.step("A VPC with two CVMs, and one flow log on the VPC")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    front = vpc.create_subnet("10.0.1.0/24", name="front")
    back = vpc.create_subnet("10.0.2.0/24", name="back")
    a = front.run_instance("A", private_ip="10.0.1.10")
    b = front.run_instance("B", private_ip="10.0.1.11")
    topic = lab.logs.create_topic("everything", logset="demo")
    vpc.create_flow_log("everything", topic=topic)
    first = int(lab.clock.now)

    story.step("First capture window: A pings B, twice")
    reply = a.ping(b, count=2)
    story.command(f"A$ ping -c 2 {b.ip}", reply.stdout)
    story.check("two requests, two replies", (reply.transmitted, reply.received), (2, 2))
    lab.clock.advance(seconds=lab.profile.window_s)
    second = int(lab.clock.now)

    story.step("Second capture window: C is created in the other subnet, and A pings it, three times")
    c = back.run_instance("C", private_ip="10.0.2.10")
    reply = a.ping(c, count=3)
    story.command(f"A$ ping -c 3 {c.ip}", reply.stdout)
    story.check("three requests, three replies", (reply.transmitted, reply.received), (3, 3))

    lab.clock.advance(seconds=lab.profile.window_s + lab.profile.delay_s)
    story.step("The records of the first window: A and B saw the same")
    found = story.search(topic, f"start:{first}")
    story.expect(found, *pinged(a.ip, b.ip, 2) * 2)
    story.check("two of each ENI", sorted(lab.explain(one).eni_id for one in found), sorted([a.eni.id, b.eni.id] * 2))

    story.step("The records of the second window: C is there, and B had nothing to tell")
    found = story.search(topic, f"start:{second}")
    story.expect(found, *pinged(a.ip, c.ip, 3) * 2, {"log-status": "NODATA", "srcaddr": None, "packets": None})
    (idle,) = (record for record in found if record["log-status"] == "NODATA")
    story.check("NODATA is B's", lab.explain(idle).eni_id, b.eni.id)

    story.learnt(
        "A flow log on a VPC covers what is created later, from its first packet.",
        "NODATA says that an ENI was there and idle; no record at all would say that nobody looked.",
    )


SCENARIO = Scenario("vpc-wide", "A VPC's flow log covers the CVM created later", run, LOGS_ON_VPCS)
