"""The application cannot reach its database any more: the security group. The failure is saved, and opened again.

::

    VPC 10.9.0.0/16
    +- subnet 10.9.1.0/24 -+        +- subnet 10.9.2.0/24 ---------------------+
    |  app1 10.9.1.10      | -- ok  |  db 10.9.2.10                            |
    |  app2 10.9.1.20      | --X    |  group "db": TCP 3306 from 10.9.1.0/28   |
    |  [flow log]          |        |  [flow log]          was from /24        |
    +----------------------+        +------------------------------------------+

Look at: app2's own record says ACCEPT, for nothing stopped the packet there; the database's says REJECT, and which
rule did not let it. Topology, rules and records go into a file at the moment of the failure. Whoever opens it has the
same failure on packets of their own, and tries the repair there, while nobody touches production.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab


def run(story: Story, lab: Lab) -> None:
    from emulator import Lab  # needs numpy, which naming a scenario does not
    from emulator.testing import expect

    story.step("Two application servers, a database, and a group that lets the servers' subnet in")
    vpc = lab.create_vpc("10.9.0.0/16", name="shop")
    apps, data = vpc.create_subnet("10.9.1.0/24", name="apps"), vpc.create_subnet("10.9.2.0/24", name="data")
    group = vpc.create_security_group("db")
    whole = group.allow("ingress", protocol="tcp", port=3306, cidr=apps.cidr)
    app1, app2 = (apps.run_instance(f"app{number}", private_ip=f"10.9.1.{number}0") for number in (1, 2))
    db = data.run_instance("db", private_ip="10.9.2.10", security_groups=[group])
    topic = lab.logs.create_topic("shop", logset="demo")
    for cvm in (app1, app2, db):
        cvm.eni.create_flow_log(cvm.name, topic=topic)
    both = [cvm.tcp(db, 3306, bytes=100).outcome for cvm in (app1, app2)]
    story.check("both reach the database", both, ["answered", "answered"])

    story.step("Somebody tightens the rule: of the subnet's 256 addresses 16 are left")
    group.remove(whole)
    group.allow("ingress", protocol="tcp", port=3306, cidr="10.9.1.0/28")
    story.rules(group)
    tightened = story.later("the window of before is closed")
    both = [cvm.tcp(db, 3306, bytes=100, wait_s=0.3).outcome for cvm in (app1, app2)]
    story.check("app1 reaches it, app2 hears nothing", both, ["answered", "silent"])

    failed = story.later("what do the records say of app2?")
    knock = {"srcaddr": app2.ip, "dstaddr": db.ip, "dstport": 3306, "protocol": 6, "packets": 1, "bytes": 60}
    found = story.search(topic, app2.ip, start=failed)
    story.expect(found, {**knock, "action": "ACCEPT"}, {**knock, "action": "REJECT"})
    expect(app2 >> db, records=found).tcp(3306).on(app2.eni).accept(packets=1)
    expect(app2 >> db, records=found).tcp(3306).on(db.eni).reject(packets=1)
    (rejected,) = (record for record in found if record["action"] == "REJECT")
    why = lab.explain(rejected)
    story.check("no rule of the database's group matched", (why.stage, why.owner_id), ("security group", ""))
    story.check("before it was let", len(topic.search(f"{app2.ip} AND action:REJECT", end=tightened)), 0)

    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "failure.toml"
        story.step("The state is saved: topology, rules and records")
        lab.save(file, data=file.parent / "records")
        story.note(f"{len(file.read_text().splitlines())} lines of TOML, and a folder of records beside them")

        story.step("It is opened again, by somebody else, later")
        with Lab.from_file(file) as copy:
            again = copy.logs.topic("shop", logset="demo")
            same = [record.line for record in again.search(app2.ip, start=failed)]
            story.check("the records are there", same, found.lines)
            there: dict[str, Any] = {cvm.name: copy.find(cvm.id) for cvm in (app1, app2, db)}
            silent = there["app2"].tcp(there["db"], 3306, bytes=100, wait_s=0.1).outcome
            story.check("and so is the failure", silent, "silent")

            story.step("The repair is tried there")
            group_there: Any = copy.find(group.id)
            group_there.allow("ingress", protocol="tcp", port=3306, cidr=f"{app2.ip}/32")
            outcomes = [there[cvm].tcp(there["db"], 3306, bytes=100).outcome for cvm in ("app1", "app2")]
            story.check("both reach the database", outcomes, ["answered", "answered"])
            story.check("others do not", there["app2"].scan(there["db"], [22], wait_s=0.1), {22: "filtered"})

    story.step("And then made here")
    group.allow("ingress", protocol="tcp", port=3306, cidr=f"{app2.ip}/32")
    story.rules(group)
    story.check("app2 reaches the database", app2.tcp(db, 3306, bytes=100).outcome, "answered")
    repaired = story.later("the record of the repair")
    found = story.search(topic, f"{app2.ip} AND dstport:3306", start=repaired)
    story.expect(found, *[{**knock, "packets": 5, "bytes": 60 + 4 * 52 + 100, "action": "ACCEPT"}] * 2)
    story.learnt(
        "Unreachable: look at both ends. ACCEPT where it left and REJECT where it came is a rule at the other end.",
        "Where no rule is named, none matched: look for one that should have, and at its addresses.",
        "Save a failure before it is repaired; the copy is where a repair may go wrong.",
    )


SCENARIO = Scenario("unreachable-security-group", "A group rejects; saved, opened again, repaired", run, BOTH_CLOUDS)
