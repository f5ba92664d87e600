"""A ping that nobody answers: the request was accepted, the reply was not.

Security groups are stateful: who may ask gets the answer. Network ACLs are not: they judge the reply as a packet of
its own.

::

    VPC 172.31.0.0/16
    +- subnet clients -+             +- subnet servers, behind ACL edge ------+
    |                  |             |                                        |
    |  client          |   request   |  in:  allow all         server         |
    |  172.31.9.12  ---|-------------|--------------------> 172.31.16.139     |
    |                  |             |  out: deny icmp        [flow log]      |
    |                  |             |      X <------------  reply            |
    +------------------+             +----------------------------------------+

Look at: two records of one ping, ACCEPT for the request and REJECT for the reply, and the rule that each of them
names. Then the rule of the ACL goes, and the same ping is two times ACCEPT. Both CVMs in one subnet would not show
this: ACLs judge what crosses a subnet's border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab


def run(story: Story, lab: Lab) -> None:
    story.step("Two subnets; the servers' subnet is behind a network ACL that lets no ICMP out")
    vpc = lab.create_vpc("172.31.0.0/16", name="demo")
    clients = vpc.create_subnet("172.31.9.0/24", name="clients")
    servers = vpc.create_subnet("172.31.16.0/24", name="servers")
    client = clients.run_instance("client", private_ip="172.31.9.12")
    server = servers.run_instance("server", private_ip="172.31.16.139")
    edge = vpc.create_network_acl("edge")
    edge.allow("ingress")
    deny = edge.deny("egress", protocol="icmp", priority=1)
    edge.allow("egress", priority=2)
    edge.associate(servers)
    story.rules(vpc.default_security_group)
    story.rules(edge)

    story.step("A flow log on the server's ENI, all traffic")
    topic = lab.logs.create_topic("server", logset="demo")
    server.eni.create_flow_log("server", topic=topic)

    story.step("The client pings the server, four times")
    silence = client.ping(server, count=4, wait_s=0.2)
    story.command(f"client$ ping -c 4 {server.ip}", silence.stdout)
    story.check("four requests, no reply", (silence.transmitted, silence.received), (4, 0))

    wait_s = lab.profile.window_s + lab.profile.delay_s
    story.step(f"{wait_s // 60} minutes later: what did the server's ENI see?")
    lab.clock.advance(seconds=wait_s)
    same = {"protocol": 1, "packets": 4, "bytes": 336, "log-status": "OK"}
    request = {"srcaddr": client.ip, "dstaddr": server.ip, "action": "ACCEPT", **same}
    reply = {"srcaddr": server.ip, "dstaddr": client.ip, **same}
    found = story.search(topic, client.ip)
    story.expect(found, request, {**reply, "action": "REJECT"})
    story.note("the server did answer: its replies were dropped on the way out, in silence")

    story.step("Which rule rejected the reply?")
    (rejected,) = (record for record in found if record["action"] == "REJECT")
    why = lab.explain(rejected)
    story.note(str(why))
    story.check("network ACL edge did", (why.stage, why.owner_id), ("network ACL", edge.id))
    story.check(f"by its rule: {deny}", why.rule, deny)

    story.step("The rule is removed, and the client pings again")
    edge.remove(deny)
    answered = client.ping(server, count=4)
    story.command(f"client$ ping -c 4 {server.ip}", answered.stdout)
    story.check("four requests, four replies", (answered.transmitted, answered.received), (4, 4))
    now = int(lab.clock.now)
    lab.clock.advance(seconds=wait_s)
    story.expect(story.search(topic, client.ip, start=now), request, {**reply, "action": "ACCEPT"})

    story.learnt(
        "Who has a request without an answer looks for the answer's record, at the ENI that sent it.",
        "Security groups know connections, network ACLs do not: an ACL needs a rule for each direction.",
    )


SCENARIO = Scenario("icmp-accepted-reply-rejected", "Request accepted, reply rejected by the ACL", run)
