"""A link between two regions fills up: seen before it drops, then widened, then relieved.

::

    region of the lab                              region far away
    +- 10.10.1.0/24 ---------+     CCN, capped     +- 10.20.1.0/24 --+
    |  app .10               |  == 0.1 Mbit/s ==>  |  db .10         |
    |    orders   UDP 5001   |     [flow log]      |                 |
    |    pictures UDP 5002   |                     |                 |
    +------------------------+                     +-----------------+

A cap of 0.1 Mbit/s lets 12,500 bytes through in a second. Each minute here has one busy second, so a minute's bytes
beside 12,500 are the load.

Look at: three minutes of growth without a single loss, which is when one has to look; then losses that no ENI's record
calls REJECT, for what leaves is counted before the cap: Tencent Cloud's CCN says REJECT, Alibaba Cloud's CEN says only
what went in and what came out. A wider link passes all. A narrow one passes what matters if the rest stays at home.
"""

from __future__ import annotations

from contextlib import closing
from socket import SOCK_DGRAM
from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

FAR = {"tencent": "ap-singapore", "alibaba": "ap-southeast-1"}
ARRIVED = {"tencent": "action:ACCEPT", "alibaba": "direction:out"}
"""In the far region's log: what came out of the link."""
ENTERED = {"tencent": "log-status:OK", "alibaba": 'direction:"in"'}
"""In the own region's: what went in."""
ORDERS, PICTURES, DATA = 5001, 5002, bytes(972)
IN_A_SECOND, ALARM = 12_500, 40
WINDOW_S = 60


def run(story: Story, lab: Lab) -> None:
    far = FAR[lab.profile.provider]
    story.step("Two regions joined by a CCN with a cap of 0.1 Mbit/s and a flow log")
    here = lab.create_vpc("10.10.0.0/16", name="here")
    there = lab.create_vpc("10.20.0.0/16", name="there", region=far)
    group, open_group = here.create_security_group("app"), there.create_security_group("db")
    group.allow("egress", protocol="udp", port=ORDERS)
    pictures = group.allow("egress", protocol="udp", port=PICTURES)
    open_group.allow("ingress", protocol="udp")
    app = here.create_subnet("10.10.1.0/24").run_instance("app", private_ip="10.10.1.10", security_groups=[group])
    db = there.create_subnet("10.20.1.0/24").run_instance("db", private_ip="10.20.1.10", security_groups=[open_group])
    ccn = lab.create_ccn("backbone")
    for vpc in (here, there):
        ccn.attach(vpc)
    ccn.set_bandwidth(here.region, far, 0.1)
    topic, entered = (lab.logs.create_topic(name, logset="demo") for name in ("came-out", "went-in"))
    ccn.create_flow_log("came-out", topic=topic, region=far, interval_s=WINDOW_S)
    ccn.create_flow_log("went-in", topic=entered, region=here.region, interval_s=WINDOW_S)
    for port in (ORDERS, PICTURES):
        db.listen(port, protocol="udp")

    def burst(orders: int, each: int) -> int:
        """One minute with one busy second: so many orders, each with pictures; lab time at its start."""
        began = int(lab.clock.now)
        with closing(app.socket(type=SOCK_DGRAM)) as mouth:
            for _ in range(orders):
                for port in (PICTURES,) * each + (ORDERS,):
                    mouth.sendto(DATA, (db.ip, port))
        lab.clock.advance(seconds=WINDOW_S)
        return began

    def arrived(began: int) -> dict[int, int]:
        """Packets that came through in that minute, by port."""
        lab.clock.advance(seconds=lab.profile.delay_s)
        query = f"{ARRIVED[lab.profile.provider]} AND start:{began} | select dstport, sum(packets) as packets"
        return {row["dstport"]: row["packets"] for row in story.search(topic, f"{query} group by dstport order by 1")}

    story.step("Three minutes of growth: 2, 4 and 6 orders")
    minutes = [burst(orders, 0) for orders in (2, 4, 6)]
    lab.clock.advance(seconds=lab.profile.delay_s)
    load = f'select "start", sum(bytes) as bytes, sum(bytes) * 100 / {IN_A_SECOND} as load group by "start" order by 1'
    rows = story.search(topic, f"{ARRIVED[lab.profile.provider]} | {load}")
    loads = [(row["start"], row["bytes"], row["load"]) for row in rows]
    wanted = [(minutes[0], 2000, 16), (minutes[1], 4000, 32), (minutes[2], 6000, 48)]
    story.check("16, 32, 48 % of what the link takes, nothing lost", loads, wanted)
    story.check(
        f"the alarm at {ALARM} % rings in the third", [load > ALARM for _, _, load in loads], [False, False, True]
    )
    story.note("at this pace the link is full in four minutes: time to ask what comes")

    story.step("Nobody listened: a sale, 10 orders with three pictures each")
    began = burst(10, 3)
    sale = arrived(began)
    passed = sum(sale.values())
    story.note(f"{passed} of 40 datagrams came through, {sale.get(ORDERS, 0)} of 10 orders")
    story.check("orders were lost", sale.get(ORDERS, 0) < 10, True)
    story.check("some came through, not all", 0 < passed < 40, True)
    sent = story.search(entered, f"{ENTERED[lab.profile.provider]} AND start:{began} | select sum(packets) as packets")
    story.check("all 40 went in", sent[0]["packets"], 40)

    story.step("Expansion: 10 Mbit/s, and the same sale")
    ccn.set_bandwidth(here.region, far, 10)
    story.check("all 40 come through", arrived(burst(10, 3)), {ORDERS: 10, PICTURES: 30})

    story.step("Degradation: the old link, and pictures stay at home; the same sale")
    ccn.set_bandwidth(here.region, far, 0.1)
    group.remove(pictures)
    group.deny("egress", protocol="udp", port=PICTURES)
    story.rules(group)
    story.check("all 10 orders come through", arrived(burst(10, 3)), {ORDERS: 10})
    story.learnt(
        "A link tells before it is full: look at the load of its busiest moment, not at losses.",
        "ENIs do not see what a capped link drops: compare what went in with what came out, or read the CCN's REJECT.",
        "Wider is the simple way; to keep at home what can wait costs nothing and saves what matters.",
    )


SCENARIO = Scenario("bottleneck", "A capped link is found before it drops", run, BOTH_CLOUDS)
