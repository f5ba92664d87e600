"""Forged sources: a CVM cannot forge, the internet can, and records say what the packet said.

::

    VPC 10.1.0.0/16                  internet           VPC 10.0.0.0/16
    +-------------------------+                         +---------------------+
    |  shop  [flow log]       |  minutes 0 and 5        |  log collector      |
    |  logs by its public   --|--EIP-------------+      |  [flow log]         |
    |  address                |                  +-EIP->|    in: udp 514 from |
    +-------------------------+  minutes 2, 7    |      |    the shop's EIP   |
                                 forger ---------+      +---------------------+
                                 "I am the shop"
    a shop and a collector for each window length that the provider offers

Both VPCs are ours. The collector's group trusts the shop's address, so who forges it is let in: a datagram is not
answered, nobody notices.

Look at: what the shop itself forges is in no record, only in the audit; what the forger sends is in the collector's
records, with the shop's address, and not in the shop's own. In a window in which the shop spoke as well it has an
alibi.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story
from scenarios.truth import Score, hidden_in, judge, watch

if TYPE_CHECKING:
    from emulator import Lab

MINUTES, HONEST, FORGED = 10, (0, 5), (2, 7)
LINES = 6
"""Log lines at a time: a datagram each."""

ONCE = 'dstport:514 | SELECT "start" GROUP BY "start" HAVING count(DISTINCT "{eni}") = 1'
UNEVEN = (
    'dstport:514 | SELECT "start" FROM (SELECT "start", sum(packets) AS seen GROUP BY "start", "{eni}") '
    'GROUP BY "start" HAVING count(*) = 1 OR max(seen) <> min(seen)'
)


def datagram(source: str, destination: str) -> bytes:
    """A log line in UDP that says it comes from ``source``; the kernel adds the checksum."""
    content = struct.pack(">HHHH", 514, 514, 8 + 20, 0) + bytes(20)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(content), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses + content


def run(story: Story, lab: Lab) -> None:
    from emulator.testing import exactly, expect

    story.step("Log collectors that take what comes from the shops' public addresses")
    vpc, other = (lab.create_vpc(f"10.{number}.0.0/16", name=name) for number, name in ((0, "logs"), (1, "shops")))
    group = vpc.create_security_group("collector")
    watched = watch(lab, vpc.create_subnet("10.0.1.0/24"), "start", security_groups=[group])
    shops = other.create_subnet("10.1.1.0/24").run_instances([f"shop-{one.window_s}" for one in watched])
    eips = [lab.allocate_address(shop.name) for shop in shops]
    for one, shop, eip in zip(watched, shops, eips, strict=True):
        eip.associate(shop)
        group.allow("ingress", protocol="udp", port=514, cidr=eip.ip)
        shop.eni.create_flow_log(shop.name, topic=one.topic, interval_s=one.window_s)
    story.rules(group)
    forger = lab.internet.host("forger", ip="198.51.100.66")

    story.step("A shop pretends to be another machine")
    for one, shop in zip(watched, shops, strict=True):
        shop.send([datagram("198.51.100.7", one.eip.ip)] * LINES)
    story.check("that is dropped where it leaves; the audit knows", lab.audit().spoofed, LINES * len(shops))

    story.step(f"{MINUTES} minutes: a shop sends {LINES} lines in {HONEST}, the forger as many in {FORGED}")
    for minute in range(MINUTES):
        now = int(lab.clock.now)
        for one, shop, eip in zip(watched, shops, eips, strict=True):
            start = now - now % one.window_s
            if minute in HONEST:
                shop.udp(one.eip, 514, bytes=20, packets=LINES)
                one.truth.good(LINES, start)
            if minute in FORGED:
                forger.send([datagram(eip.ip, one.eip.ip)] * LINES)
                one.truth.bad(LINES, start)
        lab.clock.advance(seconds=60)
    lab.clock.advance(seconds=max(lab.profile.windows_s) + lab.profile.delay_s)
    sent, forged, told = LINES * len(HONEST), LINES * len(FORGED), []
    for one, shop, eip in zip(watched, shops, eips, strict=True):
        told += [expect(shop >> one.eip).udp(514).on(shop.eni).accept(packets=sent)]
        told += [expect(eip >> one.cvm).udp(514).on(one.cvm.eni).accept(packets=sent + forged, by=group)]
    exactly(*told)
    story.note(f"a collector has {sent + forged} lines of its shop, the shop {sent}; of 198.51.100.7 nobody has any")

    windows_s = [one.window_s for one in watched]
    eni = next(name for name in ("interface-id", "eni-id") if name in watched[0].topic.search(limit=1)[0])
    hidden = [
        window_s
        for window_s in windows_s
        if any(f * 60 // window_s == h * 60 // window_s for f in FORGED for h in HONEST)
    ]
    story.step("In which windows did lines come that no shop had sent?")
    wanted = {window_s: Score(0, forged, 0) if window_s in hidden else Score(forged, 0, 0) for window_s in windows_s}
    story.check("the forger's, where the shop was silent", judge(story, watched, ONCE.format(eni=eni)), wanted)
    hidden_in(story, "that the shop used as well", hidden)

    story.step("In which windows did more lines come than had been sent?")
    wanted = {window_s: Score(forged, 0, sent if window_s in hidden else 0) for window_s in windows_s}
    story.check("the forger's, whoever spoke as well", judge(story, watched, UNEVEN.format(eni=eni)), wanted)

    story.learnt(
        "A source address in a record is what the packet said; the other ENI's record is the witness.",
        "Compare packets of both ends, not whether there are any: an alibi may be shared.",
        "A group that trusts an address trusts whoever writes it.",
    )


SCENARIO = Scenario("spoofing", "Forged sources: by a CVM, from the internet", run, BOTH_CLOUDS)
