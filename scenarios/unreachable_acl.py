"""The application cannot reach its database any more: the network ACL. The failure is saved, and opened again.

::

    VPC 10.9.0.0/16
    +- subnet 10.9.1.0/24 -+              +- subnet 10.9.2.0/24, ACL "edge" ---+
    |                      |   SYN -----> |  in:  all                          |
    |  app 10.9.1.10       |              |                    db 10.9.2.10    |
    |                      |   X SYN-ACK  |  out: no TCP to 32768-65535, new!  |
    |                      |              |       all                          |
    +----------------------+              +------------------------------------+
                                              [flow log] on the VPC

Look at: the request came in, ACCEPT at both ends, and the database did answer; its answer goes to the port that the
application asked from, which lies where somebody closed "ports that we do not serve". A security group would have known
the answer for what it is. The failure is saved with its records and opened again, where the repair is tried first.
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

    story.step("An application, a database behind an ACL that lets everything through, one flow log for the VPC")
    vpc = lab.create_vpc("10.9.0.0/16", name="shop")
    apps, data = vpc.create_subnet("10.9.1.0/24", name="apps"), vpc.create_subnet("10.9.2.0/24", name="data")
    app, db = apps.run_instance("app", private_ip="10.9.1.10"), data.run_instance("db", private_ip="10.9.2.10")
    edge = vpc.create_network_acl("edge")
    for direction in ("ingress", "egress"):
        edge.allow(direction, priority=1)
    edge.associate(data)
    topic = lab.logs.create_topic("shop", logset="demo")
    vpc.create_flow_log("shop", topic=topic)
    story.check("the application reaches the database", app.tcp(db, 3306, bytes=100).outcome, "answered")

    story.later("the window of before is closed")
    story.step("Somebody closes ports that no server of theirs serves")
    hardened = edge.deny("egress", protocol="tcp", port="32768-65535", priority=1)
    story.rules(edge)
    story.check("the application hears nothing", app.tcp(db, 3306, bytes=100, wait_s=0.1).outcome, "silent")

    failed = story.later("how far did it come?")
    same = {"protocol": 6, "packets": 1, "bytes": 60, "log-status": "OK"}
    asked = {**same, "srcaddr": app.ip, "dstaddr": db.ip, "dstport": 3306, "action": "ACCEPT"}
    answer = {**same, "srcaddr": db.ip, "dstaddr": app.ip, "srcport": 3306, "action": "REJECT"}
    found = story.search(topic, "log-status:OK", start=failed)
    story.expect(found, asked, asked, answer)
    (rejected,) = (record for record in found if record["action"] == "REJECT")
    why = lab.explain(rejected)
    story.check("the answer was stopped where it left the database", why.eni_id, db.eni.id)
    story.check("by the network ACL", (why.stage, why.owner_id), ("network ACL", edge.id))
    story.check(f"by its new rule: {hardened}", why.rule, hardened)
    story.note(f"the answer goes to port {rejected['dstport']}, from which the application asked")

    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "failure.toml"
        story.step("The state is saved: topology, rules and records")
        lab.save(file, data=file.parent / "records")
        acl = file.read_text().partition("[network_acl.")[2].partition("\n\n")[0]
        story.command("failure.toml, of the ACL:", f"[network_acl.{acl}")

        story.step("It is opened again, by somebody else, later")
        with Lab.from_file(file) as copy:
            there: list[Any] = [copy.find(one.id) for one in (app, db, edge)]
            app_there, db_there, edge_there = there
            again = copy.logs.topic("shop", logset="demo").search("log-status:OK", start=failed)
            story.check("the three records are there", again.lines, found.lines)
            outcome = app_there.tcp(db_there, 3306, bytes=100, wait_s=0.1).outcome
            story.check("and so is the failure", outcome, "silent")
            (found_there,) = (rule for rule in edge_there.rules if rule.id == hardened.id)
            story.check("with the rule that made it", str(found_there), str(hardened))

            story.step("Two repairs are tried there")
            edge_there.allow("egress", protocol="tcp", port="32768-60999", cidr=f"{app.ip}/32", priority=1)
            outcome = app_there.tcp(db_there, 3306, bytes=100).outcome
            story.check("one: what goes back to the application is let out before the rule", outcome, "answered")
            edge_there.remove(hardened.id)
            outcome = app_there.tcp(db_there, 3306, bytes=100).outcome
            story.check("two: the rule goes", outcome, "answered")

    story.step("The rule goes here, for security groups keep servers from what they need not reach")
    edge.remove(hardened)
    story.check("the application reaches the database", app.tcp(db, 3306, bytes=100).outcome, "answered")
    repaired = story.later("the records of the repair")
    there_and_back = [{**asked, "packets": 5, "bytes": 368}, {**answer, "packets": 4, "bytes": 216, "action": "ACCEPT"}]
    story.expect(story.search(topic, "log-status:OK", start=repaired), *there_and_back * 2)
    story.learnt(
        "Request ACCEPT at both ends, answer REJECT where it left: that is an ACL, for it knows no connections.",
        "Answers go to ports from 32768 up: a rule that closes them cuts every client off.",
        "A saved failure has the rule in it; the copy shows which of two repairs is right.",
    )


SCENARIO = Scenario("unreachable-acl", "An ACL rejects answers; saved, opened, repaired", run, BOTH_CLOUDS)
