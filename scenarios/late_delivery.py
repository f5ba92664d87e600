"""Records that come late, and records that come twice.

::

    capture window    |  1   |  2   |  3   |             VPC 10.0.0.0/16
    A pings B         |  2x  |  3x  |  4x  |             +- 10.0.1.0/24 -+
    what arrives             |  1   |  -   |  3, 3 ... 2 |  A [flow log] |
                                                         |  B            |
                                                         +---------------+

A consumer that remembers up to which record time it has read never sees what arrives later with an older time. One that
adds up whatever arrives counts some of it twice.

Look at: what three consumers make of the same records: one by time, one by arrival, and one that looks back and knows a
flow again by its ENI, 5-tuple, action and window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, START_S, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

PINGS = (2, 3, 4)
"""In each window."""
LATE_MINUTES = 20


def run(story: Story, lab: Lab) -> None:
    story.step("Two CVMs, a flow log, and three consumers of its topic")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.0.1.0/24")
    a, b = subnet.run_instance("A", private_ip="10.0.1.10"), subnet.run_instance("B", private_ip="10.0.1.20")
    topic = lab.logs.create_topic("pings", logset="demo")
    a.eni.create_flow_log("pings", topic=topic)
    query, window_s, delay_s = f"dstaddr:{b.ip}", lab.profile.window_s, lab.profile.delay_s
    tail = topic.tail(query)
    read_to, counts, seen = int(lab.clock.now), {"by time": 0, "by arrival": 0}, {}

    def read() -> None:
        """What each consumer makes of what is there now."""
        nonlocal read_to
        now = int(lab.clock.now)
        counts["by time"] += sum(one["packets"] for one in topic.search(query, start=read_to, end=now))
        counts["by arrival"] += sum(one["packets"] for one in tail.read())
        seen.update({one.line: one["packets"] for one in topic.search(query)})
        read_to = now
        told = {**counts, "looking back": sum(seen.values()), "truth": sum(PINGS)}
        story.table(f"{(now - START_S) // 60} minutes after the beginning", [told])

    story.step("The first window passes, and the second")
    a.ping(b, count=PINGS[0])
    lab.clock.advance(seconds=window_s)
    a.ping(b, count=PINGS[1])
    lab.clock.advance(seconds=window_s)
    read()
    story.check("all have the first window", (*counts.values(), sum(seen.values())), (2, 2, 2))

    story.step(f"The records of the second window will be {LATE_MINUTES} minutes late, those of the third come twice")
    lab.faults.late(minutes=LATE_MINUTES)
    lab.faults.duplicated()
    a.ping(b, count=PINGS[2])
    lab.clock.advance(seconds=delay_s)
    read()
    story.check("nothing came", (*counts.values(), sum(seen.values())), (2, 2, 2))

    story.step("The third window is published")
    lab.clock.advance(seconds=window_s)
    read()
    story.check("two consumers count it twice", (*counts.values(), sum(seen.values())), (10, 10, 6))

    story.step("The second window arrives")
    lab.clock.advance(minutes=LATE_MINUTES)
    read()
    story.check("by time it is missed; who looks back is right", (*counts.values(), sum(seen.values())), (10, 13, 9))
    found = story.search(topic, query)
    request = {"srcaddr": a.ip, "dstaddr": b.ip, "action": "ACCEPT", "log-status": "OK"}
    story.expect(found, *({**request, "packets": packets} for packets in (*PINGS, PINGS[2])))

    story.learnt(
        "A record's time is its window, not its arrival: read again from further back than the latest may be late.",
        "Delivery is at least once: a record is the same if ENI, 5-tuple, action and window are.",
    )


SCENARIO = Scenario("late-delivery", "Records that come late, or twice", run, BOTH_CLOUDS)
