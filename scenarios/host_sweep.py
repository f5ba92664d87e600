"""Somebody asks forty addresses whether they are there.

A worm that has come in looks for its next victims: one echo request to each address of the subnet. Each victim sees one
packet, which is nothing; only all ENIs together show a sweep.

::

    VPC 10.1.0.0/16  [flow log]
    +- subnet 10.1.1.0/24 ---------------------------------------------------+
    |                                                                        |
    |  laptop 10.1.1.66   asks .10, .11, .12 ... .49, each once              |
    |                                                                        |
    |  files .10   mail .11   web .12        answer                          |
    |  vault .13   group "vault": no ICMP    is silent                       |
    |  monitor .90 asks the four it knows, five times each: that is its job  |
    +------------------------------------------------------------------------+

Look at: how many different addresses one source asks, not how many packets it sends; 36 of the 40 requests have a
record at their sender only, for nobody has these addresses; the answers tell what the worm knows now.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

REQUEST = b"\x08\0\0\0\0\0\0\x01" + b"?" * 32
"""Type 8, then code, checksum and identifier, which the kernel fills in; 60 bytes with the header of IP."""
SWEPT = [f"10.1.1.{number}" for number in range(10, 50)]
HOSTS_MOST = 10
"""Whoever asks more addresses than this in one window is looked at."""


def run(story: Story, lab: Lab) -> None:
    from emulator.testing import exactly, expect  # needs numpy, which naming a scenario does not

    story.step("Four servers, a monitor and a laptop in one subnet; one flow log for the VPC")
    vpc = lab.create_vpc("10.1.0.0/16", name="office")
    subnet = vpc.create_subnet("10.1.1.0/24")
    shut = vpc.create_security_group("vault")
    shut.allow("ingress", protocol="tcp", port=443)
    known = [subnet.run_instance(name, private_ip=f"10.1.1.1{at}") for at, name in enumerate(["files", "mail", "web"])]
    vault = subnet.run_instance("vault", private_ip="10.1.1.13", security_groups=[shut])
    laptop = subnet.run_instance("laptop", private_ip="10.1.1.66")
    monitor = subnet.run_instance("monitor", private_ip="10.1.1.90")
    topic = lab.logs.create_topic("office", logset="demo")
    vpc.create_flow_log("office", topic=topic)

    story.step("The monitor does its work, the laptop sweeps")
    for server in known:
        story.check(f"{server.name} answers the monitor", monitor.ping(server, count=5).received, 5)
    story.check("vault does not", monitor.ping(vault, count=5, wait_s=0.1).received, 0)
    with laptop.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sweep:
        for address in SWEPT:
            sweep.sendto(REQUEST, (address, 0))
        sweep.settimeout(5)
        answered = sorted(sweep.recvfrom(100)[1][0] for _ in known)
    story.check("three answer the laptop", answered, [server.ip for server in known])

    story.later("who asked how many addresses?")
    asked = "log-status:OK AND protocol:1 | select srcaddr, count(distinct dstaddr) as hosts, max(packets) as most"
    rows = story.search(topic, f"{asked} group by srcaddr order by hosts desc, srcaddr limit 2")
    story.check("laptop 40, one packet each", dict(rows[0]), {"srcaddr": laptop.ip, "hosts": 40, "most": 1})
    story.check("monitor 4, more packets", dict(rows[1]), {"srcaddr": monitor.ip, "hosts": 4, "most": 5})
    rows = story.search(topic, f"{asked} group by srcaddr having count(distinct dstaddr) > {HOSTS_MOST}")
    story.check("the rule finds the laptop and leaves the monitor alone", [row["srcaddr"] for row in rows], [laptop.ip])

    story.step("What does it know now?")
    answer = {"dstaddr": laptop.ip, "protocol": 1, "packets": 1, "bytes": 60, "action": "ACCEPT", "log-status": "OK"}
    found = story.search(topic, f"dstaddr:{laptop.ip} AND protocol:1")
    story.expect(found, *[{"srcaddr": server.ip, **answer} for server in known] * 2)
    story.note("three servers are there, each seen at both ENIs; of vault it knows as little as of an empty address")

    story.step("Was there anything else?")
    swept = [expect(laptop >> "10.1.1.0/24").icmp().on(laptop.eni).accept(packets=40, bytes=2400)]
    swept += [expect(laptop >> server).icmp().accept(packets=1) for server in known]
    swept += [expect(server >> laptop).icmp().accept(packets=1) for server in known]
    swept += [expect(monitor >> server).icmp().accept(packets=5) for server in known]
    swept += [expect(server >> monitor).icmp().accept(packets=5) for server in known]
    refused = [expect(asker >> vault).icmp().reject() for asker in (laptop, monitor)]
    exactly(*swept, *refused, expect(monitor >> vault).icmp().on(monitor.eni).accept(packets=5))
    story.note("no: every record belongs to the sweep or to the monitor")
    story.learnt(
        "A sweep is many addresses from one source: count distinct destinations, over all ENIs, for each window.",
        "A rule on packets or bytes would have found the monitor instead.",
        "A request that has a record at its sender alone went to an address that nobody has.",
    )


SCENARIO = Scenario("host-sweep", "One laptop asks forty addresses, once each", run, BOTH_CLOUDS)
