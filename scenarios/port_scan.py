"""A slow port scan from the internet, and a health checker that looks like one.

::

    internet                              VPC 10.0.0.0/16
    scanner  198.51.100.66                +- subnet 10.0.1.0/24 ---------------+
      5 new ports every two minutes --+   |  web servers, security group:      |
                                      +-->|    allow ingress tcp 80, 443       |
    checker  198.51.100.7             |   |  one for each window length that   |
      80, 443 and 8080, each time   --+   |  the provider offers  [flow logs]  |
                                          +------------------------------------+

Both knock at closed ports again and again, so who counts refusals finds both. What tells them apart is how many
different ports they try.

Look at: precision and recall of both queries; the windows in which the scan cannot be seen. It is slow, so a short
window holds too few of its knocks: what a rule looks for within a window has to happen within a window. Over the whole
time the same rule finds it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story
from scenarios.truth import Score, check_recorded, hidden_in, judge, watch

if TYPE_CHECKING:
    from emulator import Lab

ROUNDS, EVERY_S, NEW_PORTS = 10, 120, 5
MOVED = 8080
"""Closed since the service there was moved; nobody told the checker."""
OPEN_PACKETS = 3
"""Of who knocks at an open port: SYN, ACK, RST."""
MANY = 8

REFUSALS = f"action:REJECT AND protocol:6 | SELECT srcaddr GROUP BY srcaddr HAVING count(*) >= {MANY}"
PORTS = f"action:REJECT AND protocol:6 | SELECT srcaddr GROUP BY srcaddr HAVING count(DISTINCT dstport) >= {MANY}"
PORTS_IN_A_WINDOW = PORTS.replace("GROUP BY srcaddr", 'GROUP BY srcaddr, "start"')


def run(story: Story, lab: Lab) -> None:
    story.step("Web servers that open two ports, with public addresses and a flow log each")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.0.1.0/24")
    group = vpc.create_security_group("web")
    group.allow("ingress", protocol="tcp", port="80,443")
    story.rules(group)
    watched = watch(lab, subnet, "srcaddr", security_groups=[group])
    for one in watched:
        for port in (80, 443):
            one.cvm.listen(port)
    scanner = lab.internet.host("scanner", ip="198.51.100.66")
    checker = lab.internet.host("checker", ip="198.51.100.7")

    minutes = ROUNDS * EVERY_S // 60
    story.step(
        f"For {minutes} minutes, every {EVERY_S} s: {NEW_PORTS} new ports by the scanner, the same 3 by the checker"
    )
    for number in range(ROUNDS):
        new = range(1000 + NEW_PORTS * number, 1000 + NEW_PORTS * (number + 1))
        for one in watched:
            scanner.scan(one.eip, new, wait_s=0)
            one.truth.bad(len(new), scanner.ip)
            found = checker.scan(one.eip, (80, 443))
            checker.scan(one.eip, [MOVED], wait_s=0)
            one.truth.good(2 * OPEN_PACKETS + 1, checker.ip)
        lab.clock.advance(seconds=EVERY_S)
    story.check("80 and 443 answered", found, {80: "open", 443: "open"})
    lab.clock.advance(seconds=max(lab.profile.windows_s) + lab.profile.delay_s)
    check_recorded(story, watched)

    bad, good = ROUNDS * NEW_PORTS, ROUNDS * (2 * OPEN_PACKETS + 1)
    windows_s = [one.window_s for one in watched]
    story.step(f"Who was refused {MANY} times?")
    both = Score(found=bad, missed=0, false_alarms=good)
    story.check("the checker is accused as well", judge(story, watched, REFUSALS), dict.fromkeys(windows_s, both))

    story.step(f"Who was refused at {MANY} different ports?")
    right = Score(found=bad, missed=0, false_alarms=0)
    story.check("the scanner, and nobody else", judge(story, watched, PORTS), dict.fromkeys(windows_s, right))

    story.step("And if a rule looks at each window by itself, as those do that run whenever records arrive?")
    hidden = [window_s for window_s in windows_s if window_s // EVERY_S * NEW_PORTS < MANY]
    wanted = {window_s: Score(0, bad, 0) if window_s in hidden else right for window_s in windows_s}
    story.check(f"a window needs {MANY} of its knocks", judge(story, watched, PORTS_IN_A_WINDOW), wanted)
    hidden_in(story, f"shorter than {MANY * EVERY_S // NEW_PORTS} s", hidden)

    story.learnt(
        "Count what differs (ports), not what is common (refusals): the benign ones knock as well.",
        "A rule that sees one window at a time misses what is slower than its window: keep a longer memory.",
    )


SCENARIO = Scenario("port-scan", "A slow scan, and a health checker like it", run, BOTH_CLOUDS)
