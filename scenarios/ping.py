"""A pings B nine times, and the flow log of A's ENI tells.

The sample case of the documentation: two CVMs in one subnet, a flow log "Accept" on the ENI of A alone.

::

    VPC 10.16.0.0/16
    +- subnet 10.16.0.0/24 ----------------------------+
    |                                                  |
    |   A 10.16.0.22  ---- 9 echo requests --->  B     |
    |   [flow log]    <--- 9 echo replies ----   10.16.0.40
    |                                                  |
    +--------------------------------------------------+

Look at: a connection is two records, one for each direction; the counts are those of ping itself; nothing can be
found before the capture window has ended and the publish delay has passed; a search for an address alone finds it on
either side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab


def run(story: Story, lab: Lab) -> None:
    story.step("A VPC, a subnet, and two CVMs in it")
    vpc = lab.create_vpc("10.16.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.16.0.0/24")
    a = subnet.run_instance("A", private_ip="10.16.0.22")
    b = subnet.run_instance("B", private_ip="10.16.0.40")
    story.note(f"A is {a.ip} on {a.eni.id}, B is {b.ip} on {b.eni.id}")
    story.rules(vpc.default_security_group)

    story.step("A flow log of what is accepted, on A's ENI only")
    topic = lab.logs.create_topic("accept", logset="demo")
    log = a.eni.create_flow_log("ping", topic=topic, traffic="ACCEPT")
    story.note(f"{log.id} ({log.name}) writes into topic {topic.name} of {topic.logset}")

    story.step("A pings B, nine times")
    reply = a.ping(b, count=9)
    story.command(f"A$ ping -c 9 {b.ip}", reply.stdout)
    story.check("nine requests, nine replies", (reply.transmitted, reply.received), (9, 9))
    story.check("the hop limit is 64: no router is seen within a VPC", reply.stdout.count("ttl=64"), 9)

    window_s, delay_s = lab.profile.window_s, lab.profile.delay_s
    minutes = (window_s // 60, delay_s // 60)
    story.step("Time passes: {} minutes of capture window, {} minutes until its records are published".format(*minutes))
    lab.clock.advance(seconds=window_s + delay_s - 1)
    story.check("one second earlier there is nothing to be found", len(topic.search("*")), 0)
    lab.clock.advance(seconds=1)
    start = int(lab.clock.now) - window_s - delay_s

    story.step("Search for B's address")
    same = {"protocol": 1, "packets": 9, "bytes": 756, "start": start, "end": start + window_s}
    request = {"srcaddr": a.ip, "dstaddr": b.ip, "action": "ACCEPT", "log-status": "OK", **same}
    answer = {"srcaddr": b.ip, "dstaddr": a.ip, "action": "ACCEPT", "log-status": "OK", **same}
    found = story.search(topic, b.ip)
    story.expect(found, request, answer)
    if found[0]["dstport"] is not None:
        story.note("ICMP has no ports: srcport is its identifier, dstport type * 256 + code: 2048 a request, 0 a reply")
    story.note("9 packets of 84 bytes are 756: 20 of IP, 8 of ICMP, 56 of content; the Ethernet header is not counted")

    story.step("Search for what went to B")
    found = story.search(topic, f"dstaddr:{b.ip}")
    story.expect(found, request)

    story.step("Why was it accepted?")
    why = lab.explain(found[0])
    story.note(str(why))
    story.check("it left A's ENI", (why.eni_id, why.direction), (a.eni.id, "out"))
    story.check("a security group let it", (why.stage, why.action), ("security group", "ACCEPT"))

    story.learnt(
        "A connection is two records for each ENI under a flow log: one for each direction.",
        "A record can be found once its capture window has ended and the publish delay has passed, not before.",
    )


SCENARIO = Scenario("ping", "A pings B nine times, and the records tell", run)
