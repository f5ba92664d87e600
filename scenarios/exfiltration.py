"""Data leaves by the company's own storage provider, a backup stays inside, telemetry leaves all the time.

::

    VPC 10.0.0.0/16                                  internet
    +- subnet 10.0.1.0/24 ------------------+
    |  hosts, one for each window length    |       storage    198.51.100.66
    |  that the provider offers [flow logs] |--+--> 60 kB fetched each minute,
    |      |                                |  |    400 kB sent in minute 3
    |      | 400 kB in minute 3             |  |
    |      v                                |  +--> telemetry  198.51.100.7
    |  backup 10.0.2.10                     |       2 kB sent each minute
    +---------------------------------------+

No list of bad addresses helps: the thief uses what the hosts use anyway. What gives him away is the direction: for
once more goes up than comes down.

Look at: precision, which falls with the length of the windows as honest packets are summed up with his, until the
downloads of a long window outweigh his upload. What a window has summed up cannot be taken apart again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story
from scenarios.truth import Score, check_recorded, hidden_in, judge, tallies, watch

if TYPE_CHECKING:
    from emulator import Lab

MINUTES, THEFT = 10, 3
MUCH = 50_000

OUTWARD = "ip_to_domain(srcaddr) = 'intranet'"
SENT = (
    f'log-status:OK | SELECT dstaddr, "start" WHERE {OUTWARD} GROUP BY dstaddr, "start" HAVING sum(bytes) >= {4 * MUCH}'
)
SURPLUS = (
    f'log-status:OK | SELECT if({OUTWARD}, dstaddr, srcaddr) AS dstaddr, "start" '
    "WHERE ip_to_domain(srcaddr) <> ip_to_domain(dstaddr) "
    f'GROUP BY 1, "start" HAVING sum(if({OUTWARD}, bytes, -bytes)) >= {MUCH}'
)


def run(story: Story, lab: Lab) -> None:
    story.step("Hosts with a flow log each, and a backup server in the next subnet")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    group = vpc.create_security_group("open")
    group.allow("ingress")
    group.allow("egress")
    watched = watch(lab, vpc.create_subnet("10.0.1.0/24"), "dstaddr", "start", security_groups=[group])
    backup = vpc.create_subnet("10.0.2.0/24").run_instance("backup", private_ip="10.0.2.10", security_groups=[group])
    storage = lab.internet.host("storage", ip="198.51.100.66")
    telemetry = lab.internet.host("telemetry", ip="198.51.100.7")

    story.step(f"{MINUTES} minutes of work; in minute {THEFT} a backup, and the theft")
    for minute in range(MINUTES):
        now = int(lab.clock.now)
        for one in watched:
            start = now - now % one.window_s
            fetched = one.cvm.tcp(storage, 443, bytes=500, answer=60_000)
            one.truth.good(fetched, storage.ip, start)
            told = one.cvm.tcp(telemetry, 443, bytes=2_000)
            one.truth.good(told, telemetry.ip, start)
            if minute == THEFT:
                stolen = one.cvm.tcp(storage, 443, bytes=400_000)
                one.truth.bad(stolen, storage.ip, start)
                saved = one.cvm.tcp(backup, 873, bytes=400_000)
                one.truth.good(saved, backup.ip, start)
        lab.clock.advance(seconds=60)
    lab.clock.advance(seconds=max(lab.profile.windows_s) + lab.profile.delay_s)
    check_recorded(story, watched)
    windows_s = [one.window_s for one in watched]
    work = {window_s: min(MINUTES, window_s // 60) for window_s in windows_s}
    (up, down), (theft, acknowledged), (copy, _) = map(tallies, (fetched, stolen, saved))
    mixed = {window_s: up.packets * minutes for window_s, minutes in work.items()}
    story.step("Who was sent much in one window?")
    wanted = {window_s: Score(theft.packets, 0, mixed[window_s] + copy.packets) for window_s in windows_s}
    story.check("the storage, and the backup server as well", judge(story, watched, SENT), wanted)

    story.step("To whom outside did more go than came from there?")
    surplus, deficit = theft.bytes - acknowledged.bytes, down.bytes - up.bytes
    hidden = [window_s for window_s in windows_s if surplus - work[window_s] * deficit < MUCH]
    wanted = {
        window_s: Score(0, theft.packets, 0) if window_s in hidden else Score(theft.packets, 0, mixed[window_s])
        for window_s in windows_s
    }
    story.check("the theft, and what its window has mixed with it", judge(story, watched, SURPLUS), wanted)
    hidden_in(story, f"of {(surplus - MUCH) // deficit + 1} minutes or longer", hidden)

    story.learnt(
        "Honest and stolen bytes to one address are one sum: the longer the window, the less it says.",
        "Look at directions, not only at addresses: thieves use what is allowed.",
    )


SCENARIO = Scenario("exfiltration", "Theft by way of a storage that everybody uses", run, BOTH_CLOUDS)
