"""The link is slow: who takes the bandwidth?

::

    VPC 10.4.0.0/16
    +- subnet 10.4.1.0/24 [flow log] -+     +- subnet 10.4.2.0/24 --+
    |  web1 .11   web2 .12            | --> |  db    .10  UDP 5432  |
    |  web3 .13   web4 .14            |     |  dns   .53  UDP 53    |
    |                                 |     |  store .80  UDP 873   |
    +---------------------------------+     +-----------------------+

    first window:   each asks db, 20 datagrams of 1000 bytes
    second window:  the same; web2 asks dns 2500 times, web3 copies 3 MB

Look at: two rankings of the same records. By packets web2 leads, by bytes web3 does, and it is bytes that fill a link.
The flow log is on the senders' subnet alone, so no packet is counted twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab


def run(story: Story, lab: Lab) -> None:
    story.step("Four web servers, and what they use; a flow log on the web servers' subnet")
    vpc = lab.create_vpc("10.4.0.0/16", name="demo")
    front, back = vpc.create_subnet("10.4.1.0/24"), vpc.create_subnet("10.4.2.0/24")
    webs = [front.run_instance(f"web{number}", private_ip=f"10.4.1.1{number}") for number in (1, 2, 3, 4)]
    db = back.run_instance("db", private_ip="10.4.2.10")
    dns = back.run_instance("dns", private_ip="10.4.2.53")
    store = back.run_instance("store", private_ip="10.4.2.80")
    topic = lab.logs.create_topic("web", logset="demo")
    front.create_flow_log("web", topic=topic)

    story.step("First capture window: an ordinary one")
    first = int(lab.clock.now)
    for web in webs:
        web.udp(db, 5432, bytes=972, packets=20)
    lab.clock.advance(seconds=lab.profile.window_s)

    story.step("Second capture window: users say that it is slow")
    second = int(lab.clock.now)
    _, asker, hog, _ = webs
    for web in webs:
        web.udp(db, 5432, bytes=972, packets=20)
    asker.udp(dns, 53, bytes=12, packets=2500)
    hog.udp(store, 873, bytes=1472, packets=2000)

    story.later("how much did each window carry?")
    bits = f"sum(bytes) * 8 / {lab.profile.window_s}"
    rows = story.search(
        topic,
        f'log-status:OK | select "start", sum(packets) as packets, {bits} as bits_per_s group by "start" order by 1',
    )
    window_s = lab.profile.window_s
    carried = {row["start"]: (row["packets"], row["bits_per_s"]) for row in rows}
    # A window's mean: 80 packets of 1000 bytes; then 2500 of 40 and 2000 of 1500 more.
    wanted = {first: (80, 80_000 * 8 // window_s), second: (4580, 3_180_000 * 8 // window_s)}
    story.check("the second carries forty times as many bits", carried, wanted)

    story.step("Who sends most packets, and who most bytes?")
    sent = f"log-status:OK AND start:{second} | select srcaddr, sum(packets) as packets, sum(bytes) as bytes"
    rows = story.search(topic, f"{sent} group by srcaddr order by packets desc, srcaddr")
    story.check("by packets: web2", (rows[0]["srcaddr"], rows[0]["packets"]), (asker.ip, 2520))
    rows = story.search(topic, f"{sent} group by srcaddr order by bytes desc, srcaddr")
    story.check("by bytes: web3", (rows[0]["srcaddr"], rows[0]["bytes"]), (hog.ip, 3_020_000))
    share = round(100 * rows[0]["bytes"] / sum(row["bytes"] for row in rows))
    story.check(f"it has {share} % of all bytes", share, 95)

    story.step("What is it that web3 sends?")
    found = story.search(topic, f"start:{second} AND srcaddr:{hog.ip}")
    same = {"srcaddr": hog.ip, "protocol": 17, "action": "ACCEPT", "log-status": "OK"}
    copy = {**same, "dstaddr": store.ip, "dstport": 873, "packets": 2000, "bytes": 3_000_000}
    story.expect(found, copy, {**same, "dstaddr": db.ip, "dstport": 5432, "packets": 20, "bytes": 20_000})
    story.note("a copy to port 873 of store, in the middle of the day")

    story.step("Was it there before?")
    story.expect(story.search(topic, f"dstport:873 AND start:{first}"))
    story.learnt(
        "Rank by bytes for a full link, by packets for a machine that is busy with small ones: they are two rankings.",
        "bits/s of a window are its bytes * 8 / its length; a burst within the window is not seen.",
        "Put the flow log on one side, or every packet within the VPC is counted twice.",
    )


SCENARIO = Scenario("bandwidth-hog", "One server fills the link: which, and with what", run, BOTH_CLOUDS)
