"""A security group that grew for years: which rules does anybody need, and which are too wide?

::

    VPC 10.8.0.0/16
    +- subnet 10.8.1.0/24 -------+       +- subnet 10.8.2.0/24 ---------------+
    |  client1 .11, client2 .12  |   443 |  web 10.8.2.10  [flow log]         |
    |  bastion .20               |    22 |  group "grown", all from anywhere: |
    |  balancer .30              |  8080 |  443, 22, 8000-8999, 21, udp 161   |
    |  stranger .66              |  22 ! |  group "proposed":                 |
    |                            |8443 ! |  443, 22 from .20, 8080 from .30   |
    +----------------------------+       +------------------------------------+

Look at: each record knows the rule that decided, so rules without a record are those that nobody hits, and the sources
and ports behind a rule say how wide it has to be. What is proposed is judged on the history before it meets a user:
exactly the stranger's records would change. Then it is bound, the same traffic comes, and the records are as foretold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab


def run(story: Story, lab: Lab) -> None:
    story.step("A web server with a group that grew, and everybody who speaks to it")
    vpc = lab.create_vpc("10.8.0.0/16", name="demo")
    front, back = vpc.create_subnet("10.8.1.0/24"), vpc.create_subnet("10.8.2.0/24")
    grown, proposed = vpc.create_security_group("grown"), vpc.create_security_group("proposed")
    for protocol, port in (("tcp", "443"), ("tcp", "22"), ("tcp", "8000-8999"), ("tcp", "21"), ("udp", "161")):
        grown.allow("ingress", protocol=protocol, port=port)
    web = back.run_instance("web", private_ip="10.8.2.10", security_groups=[grown])
    addresses = {"client1": 11, "client2": 12, "bastion": 20, "balancer": 30, "stranger": 66}
    cvms = {name: front.run_instance(name, private_ip=f"10.8.1.{number}") for name, number in addresses.items()}
    topic = lab.logs.create_topic("web", logset="demo")
    web.eni.create_flow_log("web", topic=topic)
    story.rules(grown)

    def an_hour() -> dict[str, str]:
        """Everybody does what they do; what became of each attempt."""
        attempts = [("client1", 443), ("client2", 443), ("bastion", 22), ("balancer", 8080), ("stranger", 22)]
        outcomes = {
            f"{name} {port}": cvms[name].tcp(web, port, bytes=200, wait_s=0.3).outcome for name, port in attempts
        }
        found = cvms["stranger"].scan(web, [23, 8443], wait_s=0.3)
        return {**outcomes, "stranger 23": found[23], "stranger 8443": found[8443]}

    story.step("An hour of history")
    outcomes = an_hour()
    story.table("attempts", [{"who, port": name, "outcome": outcome} for name, outcome in outcomes.items()])
    story.check("the stranger is let at 22", outcomes["stranger 22"], "answered")
    story.check("and hears from 8443 that nobody listens", outcomes["stranger 8443"], "closed")
    story.later("which rules decided?")
    history = topic.search("log-status:OK")
    past = grown.replay(history)
    story.check("by these rules every record says what it says", past.changed, ())
    rows = []
    for rule, records in past.decided.items():
        asked = [record for record in records if record["dstaddr"] == web.ip]
        sources = sorted({record["srcaddr"] for record in asked})
        ports = sorted({record["dstport"] for record in asked})
        rows.append({"rule": str(rule), "ports": str(ports), "sources": ", ".join(sources)})
    story.table("the rules of grown, and what they were needed for", rows)
    unused = [rule.ports for rule in past.unused]
    story.check("two rules decide nothing: 21 and 161", unused, [((21, 21),), ((161, 161),)])
    needed = [row["ports"] for row in rows]
    story.check("of a thousand ports two were asked", needed, ["[443]", "[22]", "[8080, 8443]", "[]", "[]"])

    story.step("Proposed: what is needed, from where it is needed")
    proposed.allow("ingress", protocol="tcp", port=443)
    proposed.allow("ingress", protocol="tcp", port=22, cidr=f"{cvms['bastion'].ip}/32")
    proposed.allow("ingress", protocol="tcp", port=8080, cidr=f"{cvms['balancer'].ip}/32")
    story.rules(proposed)

    story.step("Proof by replay: what would it have said of this history?")
    foretold = proposed.replay(history, instead_of=grown)
    for one in foretold.changed:
        story.note(str(one))
    changed = sorted((one.record["srcaddr"], one.record["dstport"], str(one.action)) for one in foretold.changed
                     if one.record["dstaddr"] == web.ip)  # fmt: skip
    stranger = cvms["stranger"].ip
    story.check(
        "rejected: the stranger's two, nobody else", changed, [(stranger, 22, "REJECT"), (stranger, 8443, "REJECT")]
    )
    answers = [(one.record["dstaddr"], one.action) for one in foretold.changed if one.record["srcaddr"] == web.ip]
    story.check("and the server would not have answered them", answers, [(stranger, None)] * 2)
    story.check("every rule is needed", foretold.unused, ())

    story.step("It is bound, and the same hour comes again")
    web.eni.set_security_groups([proposed])
    again = an_hour()
    changed_outcomes = {name: outcome for name, outcome in again.items() if outcome != outcomes[name]}
    silent = {"stranger 22": "silent", "stranger 8443": "filtered"}
    story.check("nobody but the stranger notices", changed_outcomes, silent)
    bound = story.later("as foretold?")
    knock = {"srcaddr": stranger, "dstaddr": web.ip, "protocol": 6, "packets": 1, "bytes": 60, "action": "REJECT"}
    found = story.search(topic, f"{stranger} AND log-status:OK", start=bound)
    story.expect(found, *({**knock, "dstport": port} for port in (22, 23, 8443)))
    story.learnt(
        "A rule that decided nothing for as long as you keep logs is a candidate: ask its owner, then remove it.",
        "A rule is too wide where its records have few sources or ports: narrow it to those.",
        "Replay what you propose on the history: what changes must be what you want to change.",
    )


SCENARIO = Scenario("policy-optimisation", "Rules nobody hits, rules too wide, and a proof", run, BOTH_CLOUDS)
