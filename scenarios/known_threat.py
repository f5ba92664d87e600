"""An address that a list of threats names: who called, and who was called.

::

    VPC 10.2.0.0/16                               internet
    +- subnet 10.2.0.0/24 -------------+
    |                                  |     <--  customer       TCP 443
    |  shop 10.2.0.10  with an EIP     |     <X-  scanner (*)    TCP 22
    |  security group "shop":          |     -->  control (*)    TCP 8443
    |  in: TCP 443, out: everything    |
    |  [flow log]                      |          (*) on the list
    +----------------------------------+

Look at: two hits with one list, and only one of them matters. That somebody from the list knocks and is rejected is the
weather of the internet; that a server of one's own calls such an address and is let is an incident. The records show
the shop's private address, for they are made where the ENI is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

SCANNER, CONTROL = "198.51.100.66", "192.0.2.13"
THREATS = (SCANNER, CONTROL, "198.51.100.250")
"""The list; of the last one nothing is ever seen."""


def run(story: Story, lab: Lab) -> None:
    story.step("A shop on the internet, a customer, and two that are on a list of threats")
    vpc = lab.create_vpc("10.2.0.0/16", name="shop")
    group = vpc.create_security_group("shop")
    group.allow("ingress", protocol="tcp", port=443)
    group.allow("egress")
    shop = vpc.create_subnet("10.2.0.0/24").run_instance("shop", private_ip="10.2.0.10", security_groups=[group])
    eip = lab.allocate_address("shop")
    eip.associate(shop)
    customer = lab.internet.host("customer", ip="198.51.100.7")
    scanner, control = lab.internet.host("scanner", ip=SCANNER), lab.internet.host("control", ip=CONTROL)
    topic = lab.logs.create_topic("shop", logset="demo")
    shop.eni.create_flow_log("shop", topic=topic)
    story.rules(group)

    story.step("The customer buys, the scanner knocks, and something in the shop calls its master")
    bought = customer.tcp(eip, 443, bytes=300, answer=2000)
    knocked = scanner.scan(eip, [22], wait_s=0.1)
    called = shop.tcp(control, 8443, bytes=512, answer=100)
    story.check("the customer was served", bought.outcome, "answered")
    story.check("the scanner heard nothing", knocked, {22: "filtered"})
    story.check("the call was answered", called.outcome, "answered")

    story.later("who of the list is in the records?")
    listed = " OR ".join(f"srcaddr:{address} OR dstaddr:{address}" for address in THREATS)
    tcp = {"protocol": 6, "log-status": "OK"}
    knock = {"srcaddr": SCANNER, "dstaddr": shop.ip, "dstport": 22, "packets": 1, "bytes": 60, "action": "REJECT"}
    # There: SYN, ACK, 512 bytes, the answer's ACK, FIN, ACK. Back: SYN-ACK, ACK, 100 bytes, FIN, ACK.
    call = {"srcaddr": shop.ip, "dstaddr": CONTROL, "dstport": 8443, "packets": 6, "bytes": 832, "action": "ACCEPT"}
    told = {"srcaddr": CONTROL, "dstaddr": shop.ip, "srcport": 8443, "packets": 5, "bytes": 368, "action": "ACCEPT"}
    found = story.search(topic, listed)
    story.expect(found, *({**one, **tcp} for one in (knock, call, told)))

    story.step("Which of them is an incident?")
    story.note("a REJECT of what comes: the group did its work")
    story.note("an ACCEPT of what goes there: somebody inside asked, and was answered")
    calls = " OR ".join(f"dstaddr:{address}" for address in THREATS)
    found = story.search(topic, f"action:ACCEPT AND ({calls}) | select srcaddr, dstaddr, dstport, sum(bytes) as bytes "
                         "group by srcaddr, dstaddr, dstport")  # fmt: skip
    incident = {"srcaddr": shop.ip, "dstaddr": CONTROL, "dstport": 8443, "bytes": 832}
    story.check("one machine is to be looked at", [dict(row) for row in found], [incident])

    story.step("It is put into quarantine: a group that lets nothing in or out")
    quarantine = vpc.create_security_group("quarantine")
    quarantine.deny("ingress")
    silence = quarantine.deny("egress")
    shop.eni.set_security_groups([quarantine])
    story.rules(quarantine)
    story.check("its next call is not answered", shop.tcp(control, 8443, wait_s=0.1).outcome, "silent")

    quarantined = story.later("did it try?")
    found = story.search(topic, listed, start=quarantined)
    story.expect(found, {**call, **tcp, "packets": 1, "bytes": 60, "action": "REJECT"})
    story.check("the quarantine stopped it", lab.explain(found[0]).rule, silence)
    story.learnt(
        "A list of threats finds many that knock; look first for an ACCEPT towards an address of the list.",
        "Outgoing rules that let everything out let the call out, too: a server needs few destinations.",
        "In quarantine the flow log goes on: what the machine still tries is evidence.",
    )


SCENARIO = Scenario("known-threat", "A server calls an address from a list of threats", run, BOTH_CLOUDS)
