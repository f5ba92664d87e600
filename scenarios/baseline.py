"""What is usual here? A baseline from six windows of history, and what deviates from it in the seventh.

::

    VPC 10.6.0.0/16
    +- subnet 10.6.1.0/24 ------------------------------------------------+
    |                                    history              today       |
    |  web 10.6.1.10  -->  db      .20   18 to 22 packets     23          |
    |  [flow log]     -->  cache   .21   50                   50          |
    |                 -->  mail    .22   4 to 6               40   !      |
    |                 -->  backup  .23   10                   none !      |
    |                 -->  ledger  .24   never                3    !      |
    +---------------------------------------------------------------------+

Look at: what is usual is a mean and a spread for each peer, not one number for all. 23 packets to db are within three
times the spread, 40 to mail are not. What never came before and what no longer comes deviates as well, and only a
baseline knows it: today's records alone show nothing odd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

PEERS = {"db": 3306, "cache": 6379, "mail": 25, "backup": 873, "ledger": 9000}
HISTORY = {
    "db": (20, 22, 18, 21, 19, 20),
    "cache": (50,) * 6,
    "mail": (5, 5, 6, 5, 4, 5),
    "backup": (10,) * 6,
}
TODAY = {"db": 23, "cache": 50, "mail": 40, "ledger": 3}
SPREADS = 3
LEAST_SPREAD = 1.0
"""What was always the same may differ by so many packets, before it is multiplied."""


def run(story: Story, lab: Lab) -> None:
    story.step("A web server and what it speaks to; a flow log on its ENI")
    vpc = lab.create_vpc("10.6.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.6.1.0/24")
    web = subnet.run_instance("web", private_ip="10.6.1.10")
    peers = {name: subnet.run_instance(name, private_ip=f"10.6.1.{at}") for at, name in enumerate(PEERS, 20)}
    names = {peer.ip: name for name, peer in peers.items()}
    topic = lab.logs.create_topic("web", logset="demo")
    web.eni.create_flow_log("web", topic=topic)

    story.step("Six capture windows pass as usual")
    for window in range(6):
        for name, counts in HISTORY.items():
            web.udp(peers[name], PEERS[name], bytes=72, packets=counts[window])
        lab.clock.advance(seconds=lab.profile.window_s)
    today = int(lab.clock.now)

    story.step("And a seventh: today")
    for name, count in TODAY.items():
        web.udp(peers[name], PEERS[name], bytes=72, packets=count)

    story.later("the baseline, from everything before today")
    rows = story.search(
        topic,
        "action:ACCEPT | select dstaddr, dstport, count(*) as windows, avg(packets) as usual, stddev(packets) as spread"
        f' where "start" < {today} group by dstaddr, dstport order by dstaddr',
    )
    baseline = {names[row["dstaddr"]]: (row["usual"], row["spread"]) for row in rows}
    story.check("four peers in each of six windows", [row["windows"] for row in rows], [6] * 4)
    usual = {name: (mean, round(spread, 2)) for name, (mean, spread) in baseline.items()}
    wanted = {"db": (20.0, 1.41), "cache": (50.0, 0.0), "mail": (5.0, 0.63), "backup": (10.0, 0.0)}
    story.check("mean and spread of each", usual, wanted)

    story.step("Today beside it")
    found = story.search(topic, f"start:{today} AND action:ACCEPT")
    same = {"srcaddr": web.ip, "protocol": 17, "log-status": "OK"}
    story.expect(
        found,
        *(
            {**same, "dstaddr": peers[name].ip, "dstport": PEERS[name], "packets": count, "bytes": 100 * count}
            for name, count in TODAY.items()
        ),
    )
    seen = {names[record["dstaddr"]]: record["packets"] for record in found}
    table = []
    for name in PEERS:
        mean, spread = baseline.get(name, (0.0, 0.0))
        most = mean + SPREADS * max(spread, LEAST_SPREAD)
        least = mean - SPREADS * max(spread, LEAST_SPREAD)
        packets = seen.get(name, 0)
        verdict = "new" if name not in baseline else "silent" if not packets else ""
        verdict = verdict or ("deviates" if not least <= packets <= most else "usual")
        table.append({"peer": name, "today": packets, "from": round(least, 1), "to": round(most, 1), "says": verdict})
    story.table(f"mean -/+ {SPREADS} spreads", table)
    flagged = {row["peer"]: row["says"] for row in table if row["says"] != "usual"}
    story.check("three deviate", flagged, {"mail": "deviates", "backup": "silent", "ledger": "new"})
    story.check("db has more than ever, and is usual", seen["db"] > max(HISTORY["db"]) and "db" not in flagged, True)
    story.learnt(
        "A baseline is for each pair: one threshold for all would flag cache every day and mail never.",
        "Silence deviates, too: nobody sees a backup that stopped by looking at the records that there are.",
        "Allow what never varied a little: with a spread of 0 the first packet more would be an alarm.",
    )


SCENARIO = Scenario("baseline", "Six windows say what is usual, one deviates", run, BOTH_CLOUDS)
