"""More flows than a window has room for: SKIPDATA.

::

    VPC 10.0.0.0/16
    +- subnet 10.0.1.0/24 -----------------------------------------+
    |                                                              |
    |  worm 10.0.1.10  --- 80,000 UDP packets, each to another --> |   nobody
    |  [flow log]          port: as many flows                     |   10.0.1.99
    |                                                              |
    |  quiet 10.0.1.20 --- 1 packet ------------------------------>|
    |  [flow log]                                                  |
    +--------------------------------------------------------------+

An ENI's table holds 65,535 flows in a window. What finds no room is not recorded, and a row of its own says so.

Look at: the sum over the records, which is too small; the SKIPDATA row, which does not tell by how much; explain and
the audit, which do; and the other ENI, which loses nothing.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

FLOWS, ROOM = 80_000, 65_535
"""Enough that the table fills up even where the kernel, busy with others, had no counter for some of the first."""

NOBODY = "10.0.1.99"


def datagrams(source: str, count: int) -> list[bytes]:
    """UDP packets without content, each from another port; the kernel adds the checksums."""
    addresses = socket.inet_aton(source) + socket.inet_aton(NOBODY)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    ports = ((1 + number % 60_000, 1 + number // 60_000) for number in range(count))
    return [head + struct.pack(">HHHH", source_port, port, 8, 0) for source_port, port in ports]


def run(story: Story, lab: Lab) -> None:
    story.step("Two CVMs under flow logs")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.0.1.0/24")
    worm, quiet = (
        subnet.run_instance("worm", private_ip="10.0.1.10"),
        subnet.run_instance("quiet", private_ip="10.0.1.20"),
    )
    topic = lab.logs.create_topic("flows", logset="demo")
    for cvm in (worm, quiet):
        cvm.eni.create_flow_log(cvm.name, topic=topic)

    story.step(f"The worm opens {FLOWS:,} flows within one window, the other CVM one")
    sent = worm.send(datagrams(worm.ip, FLOWS))
    quiet.send(datagrams(quiet.ip, 1))
    story.check("so many packets left", (sent.packets, sent.bytes), (FLOWS, 28 * FLOWS))

    first = story.later("what do the records say?")
    window = {"start": first, "end": first + lab.profile.window_s + 1}
    rows = story.search(topic, f"srcaddr:{worm.ip} | SELECT count(*) AS flows, sum(packets) AS packets", **window)
    story.check(f"there is room for {ROOM:,} flows", [dict(row) for row in rows], [{"flows": ROOM, "packets": ROOM}])

    story.step("Which ENIs were skipped in this window?")
    skipped = story.search(topic, "log-status:SKIPDATA", **window)
    nothing = dict.fromkeys(("srcaddr", "dstaddr", "packets", "bytes", "action"))
    story.expect(skipped, {"log-status": "SKIPDATA", "start": first, **nothing})
    story.check("the worm's", lab.explain(skipped[0]).eni_id, worm.eni.id)
    story.note(str(lab.explain(skipped[0])))
    story.check("that is the rest", f"{FLOWS - ROOM} packets" in str(lab.explain(skipped[0])), True)
    story.expect(story.search(topic, f"srcaddr:{quiet.ip}"), {"packets": 1, "bytes": 28, "log-status": "OK"})

    story.step("The next window is whole again")
    second = int(lab.clock.now)
    worm.send(datagrams(worm.ip, 3))
    story.later("and now?")
    story.expect(story.search(topic, f"srcaddr:{worm.ip}", start=second), *[{"packets": 1, "log-status": "OK"}] * 3)
    story.check("no packet is missing in the books", lab.audit().ok, True)

    story.learnt(
        "A sum over records is a lower bound wherever SKIPDATA stands beside them: look for it before you compare.",
        "Whoever floods, hides: alert on SKIPDATA itself. lab.faults.skipdata(eni) makes one without a flood.",
    )


SCENARIO = Scenario("skipdata", "More flows than a window has room for", run, BOTH_CLOUDS)
