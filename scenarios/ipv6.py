"""IPv6 beside IPv4: the rule that was written for one family, and the query that knows one.

::

    VPC 10.0.0.0/16 and an IPv6 block of the provider's
    +- subnet 10.0.1.0/24, dual stack -------------------------------------+
    |                                                                      |
    |  client 10.0.1.10 ---- TCP 22, IPv4 --X   server 10.0.1.20           |
    |         IPv6      ---- TCP 22, IPv6 --->         IPv6  [flow log]    |
    |                                           group "server":            |
    |                                             1. deny tcp 22 from      |
    |                                                0.0.0.0/0             |
    |                                             2. allow everything      |
    +----------------------------------------------------------------------+

Look at: 0.0.0.0/0 is everybody only as long as there is one family. The same service, refused under one address and
open under the other; records of both in one topic; a query for networks that finds half of them; ICMPv6, which is
protocol 58 and not 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab


def run(story: Story, lab: Lab) -> None:
    from emulator.testing import exactly, expect

    story.step("A dual-stack subnet, and a server that is closed for SSH, or so its owner thinks")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo", ipv6_cidr=True)
    subnet = vpc.create_subnet("10.0.1.0/24", ipv6_cidr=True)
    group = vpc.create_security_group("server")
    closed = group.deny("ingress", protocol="tcp", port=22, cidr="0.0.0.0/0")
    rest = group.allow("ingress")
    story.rules(group)
    client = subnet.run_instance("client", private_ip="10.0.1.10", ipv6=True)
    server = subnet.run_instance("server", private_ip="10.0.1.20", ipv6=True, security_groups=[group])
    (six,), (asks,) = server.ipv6_addresses, client.ipv6_addresses
    story.note(f"the server is {server.ip} and {six}")
    topic = lab.logs.create_topic("server", logset="demo")
    server.eni.create_flow_log("server", topic=topic)

    story.step("The client tries SSH under both addresses, and pings both")
    with server.listen(22):
        tried = {"IPv4": client.scan(server.ip, [22], wait_s=0.1), "IPv6": client.scan(six, [22])}
    story.check("closed for one family, open for the other", tried, {"IPv4": {22: "filtered"}, "IPv6": {22: "open"}})
    answered = client.ping(server, count=2).received, client.ping(server, count=3, ipv6=True).received
    story.check("both answer pings", answered, (2, 3))

    story.later("what was recorded?")
    found = story.search(topic, "dstport:22")
    story.expect(
        found,
        {"srcaddr": client.ip, "dstaddr": server.ip, "protocol": 6, "packets": 1, "bytes": 60, "action": "REJECT"},
        # SYN, ACK, RST, each with 20 bytes of header more.
        {"srcaddr": asks, "dstaddr": six, "protocol": 6, "packets": 3, "bytes": 80 + 72 + 72, "action": "ACCEPT"},
    )
    (let,) = (record for record in found if record["action"] == "ACCEPT")
    story.check("by the second rule, which names no network", lab.explain(let).rule, rest)
    told = [
        expect(client.ip >> server).tcp(22).reject(packets=1, by=closed),
        expect(asks >> server).tcp(22).accept(packets=3),
        expect(server >> asks).tcp(source=22).accept(packets=1),
    ]
    for here, there in ((client.ip, server.ip), (asks, six)):
        told += [expect(here >> server).protocol(1 if "." in there else 58).accept(packets=2 if "." in there else 3)]
        told += [expect(server >> here).protocol(1 if "." in there else 58).accept(packets=2 if "." in there else 3)]
    exactly(*told)

    story.step("Who spoke to the server, by network?")
    rows = story.search(topic, f"dstaddr:{server.ip} OR dstaddr:\"{six}\" | SELECT ip_prefix(srcaddr, 24) AS network, "
                        "sum(packets) AS packets GROUP BY 1 ORDER BY 2")  # fmt: skip
    networks = [{"network": "10.0.1.0/24", "packets": 3}, {"network": None, "packets": 6}]
    story.check("ip_prefix knows IPv4 only", [dict(row) for row in rows], networks)
    pings = story.search(topic, "protocol:1 | SELECT sum(packets) AS packets")
    both = story.search(topic, "protocol:1 OR protocol:58 | SELECT sum(packets) AS packets")
    story.check("pings: 4 packets, and 10 with those of IPv6", (pings[0]["packets"], both[0]["packets"]), (4, 10))

    story.step("The rule is written again, without a network")
    for rule in (closed, rest):
        group.remove(rule)
    group.deny("ingress", protocol="tcp", port=22)
    group.allow("ingress")
    with server.listen(22):
        tried = {"IPv4": client.scan(server.ip, [22], wait_s=0.1), "IPv6": client.scan(six, [22], wait_s=0.1)}
    story.check("closed for both", tried, {"IPv4": {22: "filtered"}, "IPv6": {22: "filtered"}})

    story.learnt(
        "0.0.0.0/0 is not everybody: write rules for both families, or without a network.",
        "Queries that cut, compare or group addresses have to know both; ICMPv6 is protocol 58.",
    )


SCENARIO = Scenario("ipv6", "A rule for IPv4, a server with both families", run, BOTH_CLOUDS)
