"""Malware calls home every ten minutes; cron fetches updates, about as often.

::

    VPC 10.0.0.0/16                                   internet
    +- subnet 10.0.1.0/24 --------------------+
    |  infected hosts, one for each window    |       home     198.51.100.66
    |  length that the provider offers        |--+--> every 600 s, to the second
    |  [flow logs]                            |  |
    |                                         |  +--> updates  198.51.100.7
    +-----------------------------------------+       every 600 s or so, by cron
                                                      with a random delay

Both talk a little, again and again, to one address. The beacon gives itself away by its rhythm: the time from one
record to the next is always the same.

Look at: the gaps between windows, which SQL finds with lag(). A record tells the window and not the moment, so a
window as long as the rhythm hides it: then whoever talks now and then is in every window, cron and all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story
from scenarios.truth import Score, check_recorded, hidden_in, judge, tallies, watch

if TYPE_CHECKING:
    from emulator import Lab

PERIOD_S, BEACON_S = 600, 15
"""The beacon comes so long after each period's beginning."""
DELAYS_S = (30, 250, 410, 90, 330, 500, 180)
"""What cron waits for, each time."""
MANY = 5

TO_443 = "dstport:443 AND log-status:OK"
OFTEN = f'{TO_443} | SELECT dstaddr GROUP BY dstaddr HAVING count(DISTINCT "start") >= {MANY}'
GAPS = 'SELECT dstaddr, "start" - lag("start") OVER (PARTITION BY dstaddr ORDER BY "start") AS gap'
RHYTHM = (
    f"{TO_443} | SELECT dstaddr, max(gap) AS gap FROM ({GAPS}) GROUP BY dstaddr "
    f"HAVING count(gap) >= {MANY} AND max(gap) = min(gap)"
)


def run(story: Story, lab: Lab) -> None:
    story.step("Hosts with public addresses, each with a flow log")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.0.1.0/24")
    watched = watch(lab, subnet, "dstaddr")
    home = lab.internet.host("home", ip="198.51.100.66")
    updates = lab.internet.host("updates", ip="198.51.100.7")

    story.step(f"{len(DELAYS_S) * PERIOD_S // 60} minutes pass: a beacon every {PERIOD_S} s, cron with its delays")
    began = int(lab.clock.now)
    for number, delay_s in enumerate(DELAYS_S):
        lab.clock.advance(seconds=began + number * PERIOD_S + BEACON_S - lab.clock.now)
        for one in watched:
            call = one.cvm.tcp(home, 443, bytes=300, answer=100)
            one.truth.bad(call, home.ip)
        lab.clock.advance(seconds=delay_s - BEACON_S)
        for one in watched:
            fetch = one.cvm.tcp(updates, 443, bytes=300, answer=4000)
            one.truth.good(fetch, updates.ip)
    lab.clock.advance(seconds=PERIOD_S + max(lab.profile.windows_s) + lab.profile.delay_s)
    check_recorded(story, watched)

    times, windows_s = len(DELAYS_S), [one.window_s for one in watched]
    bad, good = (tallies(each)[0].packets * times for each in (call, fetch))
    both = Score(found=bad, missed=0, false_alarms=good)
    right = Score(found=bad, missed=0, false_alarms=0)
    story.step("Who is talked to again and again?")
    story.check("cron's server is accused as well", judge(story, watched, OFTEN), dict.fromkeys(windows_s, both))

    story.step("Who is talked to in an even rhythm?")
    hidden = [window_s for window_s in windows_s if window_s >= PERIOD_S]
    wanted = {window_s: both if window_s in hidden else right for window_s in windows_s}
    story.check("home, where windows are shorter than the rhythm", judge(story, watched, RHYTHM), wanted)
    hidden_in(story, f"of {PERIOD_S} s or longer, where cron has the same rhythm", hidden)

    story.learnt(
        "A rhythm can be seen in records as long as some windows are empty: beacons need short windows.",
        "Even gaps tell a program from a program with a random delay; how often they talk does not.",
    )


SCENARIO = Scenario("beacon", "Malware calls home in a rhythm, cron without one", run, BOTH_CLOUDS)
