"""Forty passwords in a minute, an administrator at work, and a deployment.

::

    internet                                  VPC 10.0.0.0/16
    guesser  198.51.100.66                    +- subnet 10.0.1.0/24 --------+
      40 connections, all in one minute --+   |  servers that everybody     |
    admin    198.51.100.7                 |   |  may reach by SSH, one for  |
      1 connection, 10 minutes            +-->|  each window length that    |
    deploy   198.51.100.8                 |   |  the provider offers        |
      12 connections, much content      --+   |  [flow logs]                |
                                              +-----------------------------+

A failed login is a short connection with a few kilobytes. A record is no connection, though: it is what one connection
did in one window. An administrator who types now and then leaves a short record in each.

Look at: whom the count of short records accuses in windows of a minute; the source ports, which tell connections apart
in windows of any length; the rate, which a long window thins out until the attack is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story
from scenarios.truth import Score, check_recorded, hidden_in, judge, tallies, watch

if TYPE_CHECKING:
    from emulator import Lab

MINUTES, ATTACK, DEPLOYMENT = 10, 3, 6
"""How long it all takes, and in which minutes they happen."""
TRIES, FILES = 40, 12
MANY = 8

SHORT = "dstport:22 AND action:ACCEPT | SELECT srcaddr WHERE bytes < 5000"
RECORDS = f"{SHORT} GROUP BY srcaddr HAVING count(*) >= {MANY}"
CONNECTIONS = f"{SHORT} GROUP BY srcaddr HAVING count(DISTINCT srcport) >= {MANY}"
RATE = f'{SHORT} GROUP BY srcaddr, "start", "end" HAVING count(DISTINCT srcport) * 60 >= {MANY} * ("end" - "start")'


def run(story: Story, lab: Lab) -> None:
    story.step("Servers that answer SSH to everybody, each with a flow log")
    vpc = lab.create_vpc("10.0.0.0/16", name="demo")
    subnet = vpc.create_subnet("10.0.1.0/24")
    group = vpc.create_security_group("ssh")
    group.allow("ingress", protocol="tcp", port=22)
    group.allow("egress")
    story.rules(group)
    watched = watch(lab, subnet, "srcaddr", security_groups=[group])
    guesser = lab.internet.host("guesser", ip="198.51.100.66")
    admin = lab.internet.host("admin", ip="198.51.100.7")
    deploy = lab.internet.host("deploy", ip="198.51.100.8")

    story.step(f"{MINUTES} minutes: the admin types; {TRIES} guesses in minute {ATTACK}, a deployment in {DEPLOYMENT}")
    sessions = [admin.connect(one.eip, 22) for one in watched]
    for minute in range(MINUTES):
        for one, session in zip(watched, sessions, strict=True):
            session.say(200, answer=1200)
            if minute == ATTACK:
                for _ in range(TRIES):
                    guess = guesser.tcp(one.eip, 22, bytes=1500, answer=900)
                    one.truth.bad(guess, guesser.ip)
            if minute == DEPLOYMENT:
                for _ in range(FILES):
                    one.truth.good(deploy.tcp(one.eip, 22, bytes=20_000), deploy.ip)
        if minute < MINUTES - 1:
            lab.clock.advance(seconds=60)
    for one, session in zip(watched, sessions, strict=True):
        session.close()
        one.truth.good(session.sent.packets, admin.ip)
    lab.clock.advance(seconds=60 + max(lab.profile.windows_s) + lab.profile.delay_s)
    check_recorded(story, watched)

    bad, typed = TRIES * tallies(guess)[0].packets, sessions[0].sent.packets
    windows_s = [one.window_s for one in watched]
    right = Score(found=bad, missed=0, false_alarms=0)
    story.step(f"Who left {MANY} short records?")
    wanted = {window_s: Score(bad, 0, typed if MINUTES * 60 // window_s >= MANY else 0) for window_s in windows_s}
    story.check("many short windows make one long session many records", judge(story, watched, RECORDS), wanted)

    story.step(f"Who made {MANY} short connections? Their source ports tell")
    story.check("the guesser, and nobody else", judge(story, watched, CONNECTIONS), dict.fromkeys(windows_s, right))

    story.step(f"And who made {MANY} a minute, as far as one window knows?")
    hidden = [window_s for window_s in windows_s if MANY * window_s > TRIES * 60]
    wanted = {window_s: Score(0, bad, 0) if window_s in hidden else right for window_s in windows_s}
    story.check("a long window thins a short attack out", judge(story, watched, RATE), wanted)
    hidden_in(story, f"longer than {TRIES * 60 // MANY} s", hidden)

    story.learnt(
        "A record is what one connection did in one window: count connections by their source ports.",
        "A rate is an average over the window; what lasts a minute needs windows of minutes, or a count.",
    )


SCENARIO = Scenario("ssh-brute-force", "Forty guesses, an administrator, a deployment", run, BOTH_CLOUDS)
