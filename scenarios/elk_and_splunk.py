"""Flow logs on their way to the two stores that most people have: an ELK and a Splunk.

::

    visitor 10.4.2.20
        |  TCP 443     |  UDP 53
        v              X
    +- subnet 10.4.1.0/24 [flow log] -+      topic "web"
    |  web 10.4.1.10                  | -->      |
    |  group "web": in: TCP 443       |          +--> Elasticsearch, by the ECS
    +---------------------------------+          +--> Splunk, event collector

Look at: the same record, in the words of each store; what happens when a store takes records and the answer gets lost:
Elasticsearch has each once, for documents have ids, and Splunk has them twice; what a withdrawn token stops, and that
nothing is missing afterwards.

Two small servers on loopback stand for the stores. With VPCLAB_ELASTICSEARCH_URL (and VPCLAB_ELASTICSEARCH_API_KEY) or
VPCLAB_SPLUNK_URL and VPCLAB_SPLUNK_TOKEN the records go to real ones instead.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab
    from scenarios import receivers

INDEX = "logs-vpcflow-lab"
SHOWN = ("@timestamp", "source.ip", "destination.ip", "destination.port", "network.transport", "event.outcome")


def run(story: Story, lab: Lab) -> None:
    from scenarios import receivers  # needs an HTTP server, which naming a scenario does not

    with receivers.Elasticsearch() as elk, receivers.Splunk() as splunk:
        tell(story, lab, elk, splunk)


def tell(story: Story, lab: Lab, elk: receivers.Elasticsearch, splunk: receivers.Splunk) -> None:
    from emulator.delivery import Elasticsearch, Splunk

    story.step("A web server that is open for HTTPS alone, and a flow log on its subnet")
    vpc = lab.create_vpc("10.4.0.0/16", name="demo")
    inside, outside = vpc.create_subnet("10.4.1.0/24"), vpc.create_subnet("10.4.2.0/24")
    group = vpc.create_security_group("web")
    group.allow("ingress", protocol="tcp", port=443)
    web = inside.run_instance("web", private_ip="10.4.1.10", security_groups=[group])
    visitor = outside.run_instance("visitor", private_ip="10.4.2.20")
    topic = lab.logs.create_topic("web", logset="demo")
    inside.create_flow_log("web", topic=topic)
    story.rules(group)

    story.step("The topic is delivered to an Elasticsearch and to a Splunk")
    elk_url = os.environ.get("VPCLAB_ELASTICSEARCH_URL", elk.url)
    key = os.environ.get("VPCLAB_ELASTICSEARCH_API_KEY")
    splunk_url = os.environ.get("VPCLAB_SPLUNK_URL", splunk.url)
    token = os.environ.get("VPCLAB_SPLUNK_TOKEN", splunk.token)
    indexed = topic.deliver(Elasticsearch(elk_url, index=INDEX, fields="ecs", api_key=key, timeout_s=10), "elk")
    collected = topic.deliver(Splunk(splunk_url, token=token, timeout_s=10), "splunk")
    deliveries = (indexed, collected)

    def documents() -> list[dict[str, Any]]:
        return list(elk.indices.get(INDEX, {}).values())

    def missing() -> list[int]:
        """How many of the topic's records each store has not been told to have; idle windows are records, too."""
        return [len(topic.search()) - one.records for one in deliveries]

    story.step("A visitor asks for a page, and knocks at another door")
    visitor.tcp(web, 443, bytes=200, answer=2000)
    visitor.udp(web, 53, packets=3, wait_s=0.05)
    story.later("what arrived?")
    found = story.search(topic, "log-status:OK")
    story.check("three records, and each store took them", (len(found), missing()), (3, [0, 0]))
    if elk_url == elk.url:
        story.table("documents in Elasticsearch", [{name: one[name] for name in SHOWN} for one in documents()])
        refused = [one for one in documents() if one["event.outcome"] == "failure"]
        story.check("what was refused can be found", [one["destination.port"] for one in refused], [53])
    if splunk_url == splunk.url:
        events = [{"time": one["time"], **one["event"]} for one in splunk.events]
        shown = ("time", "srcaddr", "dstaddr", "dstport", "packets", "action")
        story.table("events in Splunk", [{name: one[name] for name in shown} for one in events])
        told = [{name: value for name, value in one.items() if value is not None} for one in found]
        story.check("the same records, word for word", [one["event"] for one in splunk.events], told)

    story.step("Both stores take the next records, and the line breaks before they say so")
    lab.faults.target_closes(delivery=indexed)
    lab.faults.target_closes(delivery=collected)
    visitor.tcp(web, 443, bytes=200, answer=2000)
    story.later("both deliveries tried again, a second later")
    story.check("now both are known to have all", missing(), [0, 0])
    if elk_url == elk.url:
        story.check("in Elasticsearch each is there once", len(documents()), len(topic.search()))
    if splunk_url == splunk.url:
        twice = len(splunk.events) - len(topic.search())
        story.check(f"in Splunk {twice} came twice", twice > 0, True)

    story.step("Somebody withdraws Splunk's token")
    lab.faults.target_answers(403, requests=None, delivery=collected)
    visitor.udp(web, 53, packets=3, wait_s=0.05)
    story.later("one delivery goes on, the other waits for a person")
    story.note(f"splunk is {collected.state}, {collected.code}: {collected.error}")
    story.check("Elasticsearch has all, Splunk lags behind", [lag > 0 for lag in missing()], [False, True])
    lab.faults.mend_targets(collected)
    collected.restart()
    lab.clock.advance(seconds=1)
    story.check("restarted, it goes on where it stood", (collected.state, missing()), ("running", [0, 0]))
    story.learnt(
        "Delivery is at least once: where a store knows no ids, count by ids of your own.",
        "Watch the state of a delivery, not the store: a store that gets nothing looks like a quiet network.",
    )


SCENARIO = Scenario("elk-and-splunk", "Records in an ELK and a Splunk", run, BOTH_CLOUDS)
