"""Another format begins in a topic that was read by position.

::

    region one                                     region two
    VPC 10.1.0.0/16                                VPC 10.2.0.0/16
    +---------------------+                        +---------------------+
    |  app 10.1.0.10      |------ CCN / CEN -------|  db 10.2.0.10       |
    |  [flow log, ENI]    |   [flow log, CCN]      |                     |
    +--------|------------+          |             +---------------------+
             v                       v  from the second window on
         topic "everything": two formats, fields in another order

Look at: a reader that learnt on the first day at which position the packets are reads protocol numbers or times for
packets, and says nothing. One that reads by name is right about each record, and still counts every packet twice, for
both formats tell of it. And what the index does not know cannot be searched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator import QueryError
from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

ENI_FIELDS, CCN_FIELDS = {"interface-id", "eni-id"}, {"ccnid", "cen-id"}
"""What providers call who recorded it: either says which format a record has."""


def run(story: Story, lab: Lab) -> None:
    story.step("Two VPCs in two regions, joined; a flow log on the ENI of the application")
    far = next(region for region in lab.profile.regions if region != lab.profile.default_region)
    one, two = lab.create_vpc("10.1.0.0/16", name="one"), lab.create_vpc("10.2.0.0/16", name="two", region=far)
    app = one.create_subnet("10.1.0.0/24").run_instance("app", private_ip="10.1.0.10")
    group = two.create_security_group("db")
    group.allow("ingress", protocol="icmp")
    db = two.create_subnet("10.2.0.0/24").run_instance("db", private_ip="10.2.0.10", security_groups=[group])
    ccn = lab.create_ccn("backbone")
    for vpc in (one, two):
        ccn.attach(vpc)
    topic = lab.logs.create_topic("everything", logset="demo")
    app.eni.create_flow_log("app", topic=topic)

    story.step("The first day: two pings, and somebody writes a reader")
    story.check("both are answered", app.ping(db, count=2).received, 2)
    story.later("what is there?")
    flows = "log-status:OK"
    found = story.search(topic, flows)
    eni_record = {"protocol": 1, "packets": 2, "bytes": 168, "action": "ACCEPT"}
    story.expect(found, *({"srcaddr": here, **eni_record} for here in (app.ip, db.ip)))
    place = list(found[0]).index("packets")
    story.note(f"packets are in column {place + 1} of {len(found[0])}")
    by_place = [int(record.line.split()[place]) for record in found]
    story.check("the reader adds up 4 packets", sum(by_place), 4)

    story.step("Somebody lets the CCN's flow log write into the same topic")
    ccn.create_flow_log("backbone", topic=topic, region=one.region, interval_s=lab.profile.window_s)
    story.check("three pings are answered", app.ping(db, count=3).received, 3)
    second = story.later("what does the reader say of these six packets?")
    found = topic.search(app.ip, start=second)
    for record in found:
        story.note(record.line)
    by_place = [int(record.line.split()[place]) for record in found]
    story.note(f"in column {place + 1} it reads {by_place}")
    story.check("that is not 6, and nothing complained", sum(by_place) == 6, False)

    story.step("And one that reads by name?")
    story.check("each record is understood", [record["packets"] for record in found], [3] * 4)
    formats = [{name for name in (*ENI_FIELDS, *CCN_FIELDS) if name in record} for record in found]
    story.check("but there are two formats, which tell of the same packets", len(set(map(frozenset, formats))), 2)
    of_eni = [record["packets"] for record in found if ENI_FIELDS & record.keys()]
    story.check("one of them says 6", sum(of_eni), 6)

    story.step("What crossed to the other region? Only the new format has the field")
    region = next(name for record in found for name in record if name.startswith("src") and "region" in name)
    try:
        topic.search(f"{region}:{far}")
    except QueryError as error:
        story.note(str(error).partition(";")[0])
    else:
        raise AssertionError(f"{region} was searched although it is in no index")
    topic.modify_index({"srcaddr": "text", "dstaddr": "text", "packets": "long", "log-status": "text", region: "text"})
    topic.reindex()
    crossed = {"srcaddr": db.ip, "dstaddr": app.ip, region: far, "packets": 3}
    story.expect(story.search(topic, f"{region}:{far}"), crossed)

    story.learnt(
        "Read fields by name, never by position; what you do not know, keep or refuse, but do not guess.",
        "One topic for one format: else every sum has to say which records it is about, and the index has to grow.",
    )


SCENARIO = Scenario("format-change", "Another format begins in a topic", run, BOTH_CLOUDS)
