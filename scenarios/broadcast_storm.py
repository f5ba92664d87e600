"""A broadcast storm: everybody shouts. Who began?

One faulty machine broadcasts without end; two others answer each broadcast that they hear with one of their own, and
soon all three look alike. The subnet has broadcast on, which only Tencent Cloud offers.

::

    VPC 10.5.0.0/16  [flow log]
    +- subnet 10.5.1.0/24, broadcast on --------------------------------+
    |                                                                   |
    |  scanner .10   root: 100 broadcasts to 10.5.1.255 in each window  |
    |  relay1  .11   from the second window on: one for each one heard  |
    |  relay2  .12   the same                                           |
    |  quiet1  .13   quiet2 .14   hear all of it                        |
    +-------------------------------------------------------------------+

Look at: in the storm's window all three shouters have 100 packets each; the window before tells who shouted first. One
packet sent is four received, so a broadcast costs as many times as there are neighbours.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from scenarios.story import Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

EVERYBODY, PORT, SHOUTS = "10.5.1.255", 137, 100


def run(story: Story, lab: Lab) -> None:
    from emulator.testing import expect  # needs numpy, which naming a scenario does not

    story.step("Five CVMs in a subnet with broadcast, and a flow log for the VPC")
    vpc = lab.create_vpc("10.5.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.5.1.0/24", broadcast=True)
    names = ("scanner", "relay1", "relay2", "quiet1", "quiet2")
    cvms = [subnet.run_instance(name, private_ip=f"10.5.1.{at}") for at, name in enumerate(names, 10)]
    shouters = scanner, *relays = cvms[:3]
    topic = lab.logs.create_topic("office", logset="demo")
    vpc.create_flow_log("office", topic=topic)

    # The sockets of the faulty programs: what is heard on the port is what was shouted to everybody.
    sockets = {cvm.name: cvm.socket(type=socket.SOCK_DGRAM) for cvm in shouters}
    for cvm in shouters:
        sockets[cvm.name].setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sockets[cvm.name].bind(("", PORT))
        sockets[cvm.name].settimeout(5)

    def shout(count: int) -> None:
        for _ in range(count):
            sockets[scanner.name].sendto(b"who is there?", (EVERYBODY, PORT))

    story.step("First capture window: one machine shouts")
    first = int(lab.clock.now)
    shout(SHOUTS)
    lab.clock.advance(seconds=lab.profile.window_s)
    second = int(lab.clock.now)

    story.step("Second capture window: two others have begun to answer each shout with one of their own")
    heard = {relay.name: [sockets[relay.name].recv(100) for _ in range(SHOUTS)] for relay in relays}
    for name, shouts in heard.items():
        for one_shout in shouts:
            sockets[name].sendto(one_shout, (EVERYBODY, PORT))
    shout(SHOUTS)

    story.later("who shouts?")
    shouted = f"dstaddr:{EVERYBODY} AND action:ACCEPT | select srcaddr, max(packets) as sent, sum(packets) as counted"
    rows = story.search(topic, f'{shouted} where "start" = {second} group by srcaddr order by srcaddr')
    one = {"sent": SHOUTS, "counted": 5 * SHOUTS}
    story.check("all three alike", [dict(row) for row in rows], [{"srcaddr": cvm.ip, **one} for cvm in shouters])
    story.note("counted once at the sender and once at each of the four that heard it")
    rows = story.search(topic, f'{shouted}, min("start") as since group by srcaddr order by since, srcaddr')
    story.check("scanner shouts since the window before", rows[0]["srcaddr"], scanner.ip)
    story.check("the others came later", [row["since"] for row in rows], [first, second, second])

    story.step("Its first records")
    found = story.search(topic, f"start:{first} AND log-status:OK")
    size = SHOUTS * (28 + len(b"who is there?"))
    shout_of = {"srcaddr": scanner.ip, "dstaddr": EVERYBODY, "protocol": 17, "dstport": PORT, "action": "ACCEPT"}
    story.expect(found, *[{**shout_of, "packets": SHOUTS, "bytes": size}] * 5)

    story.step("The root is shut up: a group that lets nothing out")
    mute = vpc.create_security_group("mute")
    nothing = mute.deny("egress")
    scanner.eni.set_security_groups([mute])
    shut = int(lab.clock.now)
    shout(SHOUTS)
    story.later("is it quiet?")
    after = [record for record in topic.search(start=shut) if record["start"] >= shut]
    expect(scanner >> EVERYBODY, records=after).udp(PORT).on(scanner.eni).reject(packets=SHOUTS, bytes=size, by=nothing)
    expect(scanner >> EVERYBODY, records=after).on(cvms[3].eni).never()
    story.expect(story.search(topic, f"action:REJECT AND start:{shut}"), {**shout_of, "action": "REJECT"})
    for one_socket in sockets.values():
        one_socket.close()
    story.learnt(
        "In a storm all look alike: order the shouters by the window in which each began.",
        "A broadcast is counted at each neighbour: 100 sent are 500 in the records of five.",
        "Stop the root first; who only answers falls silent by itself.",
    )


SCENARIO = Scenario("broadcast-storm", "Everybody shouts: who began?", run, ("tencent",))
