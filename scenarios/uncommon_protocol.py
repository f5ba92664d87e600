"""What is neither TCP, UDP nor ICMP: a tunnel that nobody ordered.

::

    VPC 10.3.0.0/16
    +- subnet 10.3.1.0/24 [flow log] -+     +- subnet 10.3.2.0/24 ------------+
    |                                 | --> |  db    10.3.2.10   TCP 3306     |
    |  app 10.3.1.10                  | --> |  dns   10.3.2.53   UDP 53, ICMP |
    |  group "app":                   | ==> |  odd   10.3.2.99   GRE          |
    |  in: TCP, UDP, ICMP, out: all   | <X= |                    ESP          |
    +---------------------------------+     +---------------------------------+

Look at: a table by protocol number is one line of SQL and short in every healthy network; GRE has no ports, so rules
and alarms that are about ports never see it; 20 packets of a tunnel carry more than all the rest.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

GRE, ESP = 47, 50
NAMES = {1: "ICMP", 6: "TCP", 17: "UDP", GRE: "GRE", ESP: "ESP"}
"""IANA's."""


def run(story: Story, lab: Lab) -> None:
    from emulator.testing import exactly, expect  # needs numpy, which naming a scenario does not

    story.step("An application, what it needs, and a machine that nobody knows; a flow log on the application's subnet")
    vpc = lab.create_vpc("10.3.0.0/16", name="demo")
    inside, others = vpc.create_subnet("10.3.1.0/24"), vpc.create_subnet("10.3.2.0/24")
    group = vpc.create_security_group("app")
    for protocol in ("tcp", "udp", "icmp"):
        group.allow("ingress", protocol=protocol)
    everything = group.allow("egress")
    lets_in = vpc.create_security_group("others")
    lets_in.allow("ingress")
    lets_in.allow("egress")
    app = inside.run_instance("app", private_ip="10.3.1.10", security_groups=[group])
    db, dns, odd = (
        others.run_instance(name, private_ip=f"10.3.2.{number}", security_groups=[lets_in])
        for name, number in (("db", 10), ("dns", 53), ("odd", 99))
    )
    topic = lab.logs.create_topic("app", logset="demo")
    inside.create_flow_log("app", topic=topic)
    story.rules(group)

    story.step("An ordinary day: a query of a database, five names, three pings")
    app.tcp(db, 3306, bytes=1000, answer=2896)
    app.udp(dns, 53, bytes=40, packets=5, answer=100)
    app.icmp(dns, packets=3)

    story.step("And beside it 20 packets of GRE out, 4 of ESP in")
    tunnel = app.socket(socket.AF_INET, socket.SOCK_RAW, GRE)
    with (
        tunnel,
        odd.socket(socket.AF_INET, socket.SOCK_RAW, GRE),
        odd.socket(socket.AF_INET, socket.SOCK_RAW, ESP) as esp,
    ):
        for _ in range(20):
            tunnel.sendto(bytes(1400), (odd.ip, 0))
        for _ in range(4):
            esp.sendto(bytes(100), (app.ip, 0))

    story.later("which protocols were there?")
    by_protocol = "select protocol, action, sum(packets) as packets, sum(bytes) as bytes group by protocol, action"
    rows = story.search(topic, f"log-status:OK | {by_protocol} order by bytes desc")
    story.note(", ".join(f"{row['protocol']} is {NAMES[row['protocol']]}" for row in rows))
    table = [(NAMES[row["protocol"]], row["action"], row["packets"], row["bytes"]) for row in rows]
    # TCP: 7 packets there (60 + 6 * 52 + 1000 bytes), 6 back (60 + 5 * 52 + 2896). A packet of the tunnel: 1420 bytes.
    wanted = [("GRE", "ACCEPT", 20, 28400), ("TCP", "ACCEPT", 13, 4588), ("UDP", "ACCEPT", 10, 980)]
    wanted += [("ICMP", "ACCEPT", 6, 504), ("ESP", "REJECT", 4, 480)]
    story.check("five protocols, GRE before all others", table, wanted)

    story.step("What is not TCP, UDP or ICMP?")
    found = story.search(topic, "log-status:OK NOT protocol:6 NOT protocol:17 NOT protocol:1")
    out = {"srcaddr": app.ip, "dstaddr": odd.ip, "protocol": GRE, "packets": 20, "bytes": 28400, "action": "ACCEPT"}
    came = {"srcaddr": odd.ip, "dstaddr": app.ip, "protocol": ESP, "packets": 4, "bytes": 480, "action": "REJECT"}
    story.expect(found, {**out, "dstport": None}, {**came, "dstport": None})
    (tunnelled,) = (record for record in found if record["protocol"] == GRE)
    story.check("the rule that let it out is that for everything", lab.explain(tunnelled).rule, everything)

    story.step("The group lets out what the application needs, and the tunnel tries again")
    group.remove(everything)
    for protocol in ("tcp", "udp", "icmp"):
        group.allow("egress", protocol=protocol)
    no_tunnel = group.deny("egress", protocol="gre")
    with app.socket(socket.AF_INET, socket.SOCK_RAW, GRE) as tunnel:
        tunnel.sendto(bytes(1400), (odd.ip, 0))
    app.tcp(db, 3306, bytes=1000, answer=2896)

    shut = story.later("is the tunnel shut, and the application well?")
    story.search(topic, f"log-status:OK | {by_protocol}", start=shut)
    after = topic.search(start=shut)
    stopped = expect(app >> odd, records=after).protocol(GRE).reject(packets=1, bytes=1420, by=no_tunnel)
    query = expect(app >> db, records=after).tcp(3306).accept(packets=7, bytes=1372)
    exactly(stopped, query, expect(db >> app, records=after).tcp(source=3306).accept(packets=6, bytes=3216))
    story.learnt(
        "Group by protocol number once a day: what is not 1, 6 or 17 is a conversation with somebody.",
        "A rule for all protocols is wider than it looks: it lets tunnels out, which have no ports.",
    )


SCENARIO = Scenario("uncommon-protocol", "A tunnel that no rule on ports can see", run, BOTH_CLOUDS)
