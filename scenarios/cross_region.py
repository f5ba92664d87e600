"""Two regions, one network: what a flow log between regions sees that an ENI's does not.

::

    region of the lab                            region far away
    VPC 10.10.0.0/16                             VPC 10.20.0.0/16
    +- subnet 10.10.1.0/24 -+                    +- subnet 10.20.1.0/24 -+
    |  app 10.10.1.10       | ----  CCN  ------> |  db 10.20.1.10        |
    |  [flow log]           | <--- [flow log] -- |  [flow log]           |
    +-----------------------+    in each region  +-----------------------+

Look at: before the CCN joins them the app's packets have a record at the app and nowhere else. Then the same packets
are counted at four places, and all agree. Only the records of the CCN (at Alibaba Cloud: CEN) name the regions, and
they name no rule: nothing is judged there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

FAR = {"tencent": "ap-singapore", "alibaba": "ap-southeast-1"}
FIELDS = {"tencent": ("srcregionid", "dstregionid"), "alibaba": ("src-region-id", "dst-region-id")}
"""What the providers call the regions in a record."""
CCN_WINDOW_S = 60


def run(story: Story, lab: Lab) -> None:
    story.step("An application here, a database in another region, and flow logs on both ENIs")
    far = FAR[lab.profile.provider]
    here = lab.create_vpc("10.10.0.0/16", name="here")
    there = lab.create_vpc("10.20.0.0/16", name="there", region=far)
    app = here.create_subnet("10.10.1.0/24").run_instance("app", private_ip="10.10.1.10")
    open_group = there.create_security_group("db")
    open_group.allow("ingress", protocol="icmp")
    open_group.allow("ingress", protocol="tcp", port=3306)
    db = there.create_subnet("10.20.1.0/24").run_instance("db", private_ip="10.20.1.10", security_groups=[open_group])
    topic = lab.logs.create_topic("enis", logset="demo")
    app.eni.create_flow_log("app", topic=topic)
    db.eni.create_flow_log("db", topic=topic)
    story.note(f"app is in {here.region}, db in {there.region}")

    story.step("Not joined yet: the app pings the database")
    story.check("no reply", app.ping(db, count=2, wait_s=0.1).received, 0)

    story.step("A CCN joins the two VPCs; a flow log on it in each region")
    ccn = lab.create_ccn("backbone")
    for vpc in (here, there):
        ccn.attach(vpc)
    logs = {region: lab.logs.create_topic(f"ccn-{region}", logset="demo") for region in (here.region, far)}
    for region, ccn_topic in logs.items():
        ccn.create_flow_log(f"ccn-{region}", topic=ccn_topic, region=region, interval_s=CCN_WINDOW_S)
    joined = int(lab.clock.now)
    reply = app.ping(db, count=3)
    story.command(f"app$ ping -c 3 {db.ip}", reply.stdout)
    story.check("three replies, and one router on the way", (reply.received, reply.stdout.count("ttl=63")), (3, 3))
    app.tcp(db, 3306, bytes=1000, answer=14480)

    story.later("the records of the two ENIs")
    # There: SYN, ACK, 1000 bytes, ten ACKs for ten pieces of 1448, FIN, ACK. Back: SYN-ACK, ACK, the pieces, FIN, ACK.
    sent, got = 60 + 14 * 52 + 1000, 60 + 13 * 52 + 14480
    asked = {"srcaddr": app.ip, "dstaddr": db.ip, "protocol": 6, "packets": 15, "bytes": sent}
    told = {"srcaddr": db.ip, "dstaddr": app.ip, "protocol": 6, "packets": 14, "bytes": got}
    request = {"srcaddr": app.ip, "dstaddr": db.ip, "protocol": 1, "packets": 3, "bytes": 252}
    answer = {"srcaddr": db.ip, "dstaddr": app.ip, "protocol": 1, "packets": 3, "bytes": 252}
    found = story.search(topic, f"dstaddr:{db.ip} AND protocol:1")
    by_eni = {lab.explain(record).eni_id: 0 for record in found}
    for record in found:
        by_eni[lab.explain(record).eni_id] += record["packets"]
    story.check("five requests left the app, three came to the database", by_eni, {app.eni.id: 5, db.eni.id: 3})
    story.note("the two of before have a record at the app's ENI only: there was no way")

    for region, ccn_topic in logs.items():
        story.step(f"The record of the CCN in {region}")
        found = story.search(ccn_topic, f"{app.ip} AND start:{joined}")
        source, destination = FIELDS[lab.profile.provider]
        out, back = {source: here.region, destination: far}, {source: far, destination: here.region}
        wanted: list[dict[str, Any]] = [{**asked, **out}, {**told, **back}, {**request, **out}, {**answer, **back}]
        story.expect(found, *wanted)
    story.check("between regions no rule decides", lab.explain(found[0]).rule, None)

    story.step("How many bytes between the regions, each way?")
    rows = story.search(logs[far], f'{app.ip} | select "{source}" as region, sum(bytes) as bytes group by 1 order by 1')
    ways = {here.region: sent + 252, far: got + 252}
    story.check("by the region that sent them", {row["region"]: row["bytes"] for row in rows}, ways)
    story.learnt(
        "What passes between regions is in the flow log of the CCN, in each of the two regions: read one of them.",
        "Its window is a minute, and it names regions; who let a packet through is told by the ENIs' records.",
        "An ACCEPT at the sender's ENI alone: there was no way, or a rule at the other end. Look for a record there.",
    )


SCENARIO = Scenario("cross-region", "Two regions joined: what is counted between them", run, BOTH_CLOUDS)
