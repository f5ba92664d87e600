"""A rule that changes within a capture window: ACCEPT and REJECT side by side.

::

    VPC 10.0.0.0/16
    +- subnet 10.0.1.0/24 ----------------------------------------------+
    |                                                                   |
    |   probe 10.0.1.10                            server 10.0.1.20     |
    |     SSH connection, open all the time  --->  22     [flow log]    |
    |     UDP, 3 datagrams, then 2           --->  5000                 |
    |     another SSH connection, afterwards --X   22                   |
    |                                                                   |
    +-------------------------------------------------------------------+

    one capture window:  |-- allowed ----------|-- denied --------------|

Look at: the UDP flow has two records with the same 5-tuple and window that differ in nothing but action and counts, and
none tells when the rule changed. The open connection stays ACCEPT, for security groups judge a connection at its
beginning; only a new one is refused.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab


def run(story: Story, lab: Lab) -> None:
    story.step("A server whose group lets SSH and UDP port 5000 in")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.0.1.0/24")
    group = vpc.create_security_group("server")
    rules = [group.allow("ingress", protocol="tcp", port=22), group.allow("ingress", protocol="udp", port=5000)]
    story.rules(group)
    probe = subnet.run_instance("probe", private_ip="10.0.1.10")
    server = subnet.run_instance("server", private_ip="10.0.1.20", security_groups=[group])
    topic = lab.logs.create_topic("server", logset="demo")
    server.eni.create_flow_log("server", topic=topic)

    with (
        server.listen(5000, protocol="udp"),
        probe.connect(server, 22) as session,
        probe.socket(type=socket.SOCK_DGRAM) as mouth,
    ):
        mouth.bind((probe.ip, 4000))
        story.step("An SSH connection is opened, three datagrams are sent")
        before = session.say(100, answer=100)
        for _ in range(3):
            mouth.sendto(b"reading", (server.ip, 5000))

        story.step("Two minutes later both rules are removed; everything goes on as if nothing had happened")
        lab.clock.advance(minutes=2)
        for rule in rules:
            group.remove(rule)
        after = session.say(100, answer=100)
        for _ in range(2):
            mouth.sendto(b"reading", (server.ip, 5000))
        again = probe.scan(server, [22], wait_s=0.1)
    story.check(
        "the open connection was answered, before and after", (before.outcome, after.outcome), ("answered",) * 2
    )
    story.check("a new one is not", again, {22: "filtered"})

    lab.clock.advance(minutes=-2 + lab.profile.window_s / 60)
    first = int(lab.clock.now) - lab.profile.window_s
    lab.clock.advance(seconds=lab.profile.delay_s)
    story.step("The window in which it happened: the datagrams")
    udp = {"srcport": 4000, "dstport": 5000, "protocol": 17, "start": first, "log-status": "OK"}
    found = story.search(topic, "dstport:5000")
    story.expect(
        found,
        {**udp, "action": "ACCEPT", "packets": 3, "bytes": 3 * 35},
        {**udp, "action": "REJECT", "packets": 2, "bytes": 2 * 35},
    )
    story.note("who takes the 5-tuple and the window for a key keeps one of them, and loses the other")

    story.step("The connections: the open one, and the new one")
    found = story.search(topic, "dstport:22")
    open_one, new = {"action": "ACCEPT", "packets": 8}, {"action": "REJECT", "packets": 1}
    story.expect(found, *({"srcaddr": probe.ip, "dstport": 22, "log-status": "OK", **one} for one in (open_one, new)))
    (refused,) = (record for record in found if record["action"] == "REJECT")
    why = lab.explain(refused)
    story.note(str(why))
    story.check("no rule lets it in any more", "no rule of its security groups matched" in str(why), True)
    (accepted,) = (record for record in found if record["action"] == "ACCEPT")
    story.check("the open one was let in by a rule that is gone", lab.explain(accepted).rule, rules[0])

    story.learnt(
        "Action is part of a record's key: one flow may be accepted and rejected in one window.",
        "A rule that is removed does not end what it let in: REJECT shows new connections only.",
    )


SCENARIO = Scenario("rule-change-mid-window", "ACCEPT and REJECT of one flow in one window", run, BOTH_CLOUDS)
