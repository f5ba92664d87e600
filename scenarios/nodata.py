"""NODATA, no record, and a record that was filtered out: three kinds of silence.

::

    VPC 10.0.0.0/16
    +- subnet 10.0.1.0/24 ---------------------------------------------+
    |                                                                  |
    |  client 10.0.1.10 --- TCP 22 --X  shut 10.0.1.20                 |
    |                                   group "shut" lets nothing in   |
    |                                   [flow log: ACCEPT only]        |
    |                                                                  |
    |                                   idle 10.0.1.30                 |
    |                                   [flow log: ALL]                |
    +------------------------------------------------------------------+

Look at: an idle ENI says NODATA, in every window. An ENI that only rejects, under a log of what is accepted, says
nothing at all: packets did pass, so it is not NODATA, and none is to be recorded. A log that was disabled says nothing
either. And who counts records counts NODATA as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

EMPTY = {"log-status": "NODATA", "srcaddr": None, "dstport": None, "packets": None, "bytes": None, "action": None}


def run(story: Story, lab: Lab) -> None:
    story.step("An idle CVM under a log of everything, a shut one under a log of what is accepted")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.0.1.0/24")
    group = vpc.create_security_group("shut")
    group.deny("ingress")
    story.rules(group)
    client = subnet.run_instance("client", private_ip="10.0.1.10")
    shut = subnet.run_instance("shut", private_ip="10.0.1.20", security_groups=[group])
    idle = subnet.run_instance("idle", private_ip="10.0.1.30")
    topic = lab.logs.create_topic("silence", logset="demo")
    shut.eni.create_flow_log("accepted", topic=topic, traffic="ACCEPT")
    log = idle.eni.create_flow_log("everything", topic=topic)

    story.step("The client knocks at the shut one, three times; nobody speaks to the idle one")
    tried = client.scan(shut, [22, 80, 443], wait_s=0)
    story.check("it heard nothing", set(tried.values()), {"filtered"})
    first = story.later("what is there?")
    found = story.search(topic, "*", end=first + lab.profile.window_s + 1)
    story.expect(found, {**EMPTY, "start": first, "end": first + lab.profile.window_s})
    story.check("it is the idle one's", lab.explain(found[0]).eni_id, idle.eni.id)
    story.note("the shut one saw three packets: that is not NODATA. They were rejected: that is not ACCEPT")

    story.step("In the next windows the client knocks again, and is let in once")
    second = int(lab.clock.now)
    rule = group.rules[0]
    group.remove(rule)
    group.allow("ingress", protocol="tcp", port=22)
    seen = client.tcp(shut, 22)
    story.check("it was answered", seen.outcome, "answered")
    log.disable()
    story.later("the flow log of the idle one was disabled meanwhile")
    shown = story.search(topic, f"dstaddr:{shut.ip} OR srcaddr:{shut.ip}", start=second)
    # There: SYN, ACK, FIN, ACK. Back: SYN-ACK, ACK and FIN.
    story.expect(shown, {"dstaddr": shut.ip, "packets": 4}, {"srcaddr": shut.ip, "packets": 3})
    lab.clock.advance(seconds=2 * lab.profile.window_s)
    later = [one for one in topic.search("log-status:NODATA") if lab.explain(one).eni_id == idle.eni.id]
    story.check("since then the idle one says nothing", max(one["start"] for one in later) <= second, True)
    silent = [one for one in topic.search("log-status:NODATA") if lab.explain(one).eni_id == shut.eni.id]
    story.check("the shut one says NODATA, now that nobody knocks", bool(silent), True)

    story.step("How much passed on the day?")
    rows = story.search(topic, "* | SELECT count(*) AS records, count(packets) AS flows, sum(packets) AS packets")
    told = len(topic.search("*"))
    story.check("records that are no flows were counted, too", [dict(row) for row in rows],
                [{"records": told, "flows": 2, "packets": 7}])  # fmt: skip
    story.note("so begin with log-status:OK, or count what NODATA does not have")

    story.learnt(
        "NODATA: the ENI was watched and idle. No record: nobody watched, or the log does not want what passed.",
        "A consumer has to read rows without addresses and numbers, and must not count them as traffic.",
    )


SCENARIO = Scenario("nodata", "Three kinds of silence", run, BOTH_CLOUDS)
