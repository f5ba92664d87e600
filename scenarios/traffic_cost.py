"""What crosses regions is paid for: which pairs cause it, and what moving one of them saves.

::

    region of the lab, VPC 10.10.0.0/16          far away, VPC 10.20.0.0/16
    +- 10.10.1.0/24 -----------------+           +- 10.20.1.0/24 -------------+
    |  web    .10  --> cache .20     |           |                            |
    |              ------------------|--- CCN ---|-->  logs    .20  UDP 514   |
    |              ------------------| [flow log]|-->  stock   .30  UDP 3306  |
    |  orders .11  ------------------|-----------|-->  stock                  |
    +--------------------------------+           +----------------------------+

Look at: the flow log of the CCN (Alibaba Cloud: CEN) has nothing of what stays in a region, so every byte in it costs.
Of three pairs one makes up nine tenths, and it is not the one that people talk about. Then the logs get a collector
next to the web server, and the same minute is measured again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

FAR = {"tencent": "ap-singapore", "alibaba": "ap-southeast-1"}
REGIONS = {"tencent": ("srcregionid", "dstregionid"), "alibaba": ("src-region-id", "dst-region-id")}
WINDOW_S, DAY_S = 60, 86_400
PRICE_PER_GB = 0.5
"""In whatever currency: the trainer's own contract. What regions cost differs by pair and by customer."""


def run(story: Story, lab: Lab) -> None:
    source, destination = REGIONS[lab.profile.provider]
    far = FAR[lab.profile.provider]
    story.step("Two regions, joined by a CCN with a flow log")
    here = lab.create_vpc("10.10.0.0/16", name="here")
    there = lab.create_vpc("10.20.0.0/16", name="there", region=far)
    near, distant = here.create_subnet("10.10.1.0/24"), there.create_subnet("10.20.1.0/24")
    open_group = there.create_security_group("services")
    open_group.allow("ingress", protocol="udp")
    web = near.run_instance("web", private_ip="10.10.1.10")
    orders = near.run_instance("orders", private_ip="10.10.1.11")
    cache = near.run_instance("cache", private_ip="10.10.1.20")
    logs = distant.run_instance("logs", private_ip="10.20.1.20", security_groups=[open_group])
    stock = distant.run_instance("stock", private_ip="10.20.1.30", security_groups=[open_group])
    ccn = lab.create_ccn("backbone")
    for vpc in (here, there):
        ccn.attach(vpc)
    topic = lab.logs.create_topic("between", logset="demo")
    ccn.create_flow_log("between", topic=topic, interval_s=WINDOW_S)

    def minute(collector: Any) -> int:
        """A minute as it always is; lab time at its start."""
        began = int(lab.clock.now)
        web.udp(cache, 6379, bytes=972, packets=500)
        web.udp(collector, 514, bytes=1172, packets=300)
        web.udp(stock, 3306, bytes=472, packets=50)
        orders.udp(stock, 3306, bytes=472, packets=30)
        lab.clock.advance(seconds=WINDOW_S)
        return began

    def crossing(began: int) -> dict[tuple[str, str], int]:
        """Bytes between regions by pair, most first."""
        rows = story.search(
            topic,
            "srcaddr:10.10.1.* | select srcaddr, dstaddr, sum(packets) as packets, sum(bytes) as bytes"
            f' where "{source}" <> "{destination}" and "start" = {began} group by srcaddr, dstaddr order by bytes desc',
        )
        return {(row["srcaddr"], row["dstaddr"]): row["bytes"] for row in rows}

    story.step("A minute of work")
    before = minute(logs)
    story.later("which pairs cause bytes between the regions?")
    pairs = crossing(before)
    # Datagrams of 1200 and of 500 bytes.
    wanted = {(web.ip, logs.ip): 360_000, (web.ip, stock.ip): 25_000, (orders.ip, stock.ip): 15_000}
    story.check("three pairs", pairs, wanted)
    story.check("the log lines are 90 % of it", round(100 * pairs[web.ip, logs.ip] / sum(pairs.values())), 90)
    story.note("web sends 500,000 bytes to cache as well: in one region, so they are not here and cost nothing")

    story.step("A month of such minutes")
    month = {pair: size * 30 * DAY_S / WINDOW_S / 1e9 for pair, size in pairs.items()}
    story.table(
        f"at {PRICE_PER_GB} for a GB",
        [
            {"from": one, "to": other, "GB": f"{size:.2f}", "price": f"{size * PRICE_PER_GB:.2f}"}
            for (one, other), size in month.items()
        ],
    )
    story.check("17.28 GB in all", round(sum(month.values()), 2), 17.28)

    story.step(
        "A collector of logs next to the web server, which compresses and sends on at night; the same minute again"
    )
    collector = near.run_instance("collector", private_ip="10.10.1.30")
    after = minute(collector)
    story.later("what is left?")
    pairs = crossing(after)
    story.check("the two pairs that need the stock", pairs, {pair: wanted[pair] for pair in list(wanted)[1:]})
    left = sum(pairs.values()) / sum(wanted.values())
    story.check("a tenth", left, 0.1)
    story.note(
        f"saved: {(1 - left) * sum(month.values()) * PRICE_PER_GB:.2f} of {sum(month.values()) * PRICE_PER_GB:.2f}"
    )
    story.learnt(
        "Between regions count bytes by pair: one pair is usually most of the bill, and often it is logs or backups.",
        "Move the end that many speak to last: stock has two callers, logs had one.",
        "Measure the same minute before and after: the saving is a number, not a hope.",
    )


SCENARIO = Scenario("traffic-cost", "Which pairs cross regions, what moving one saves", run, BOTH_CLOUDS)
