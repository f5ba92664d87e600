"""SSH is accepted, remote desktop is rejected: one security group, one open port.

::

    VPC 172.31.0.0/16
    +- subnet 172.31.16.0/24 ----------------------------------------------+
    |                                                                      |
    |   client                   20641 ---> 22     server 172.31.16.21     |
    |   172.31.16.139            49761 --X  3389   security group "ssh":   |
    |   [flow log]                                 allow ingress tcp 22    |
    |                                              [flow log]              |
    +----------------------------------------------------------------------+

Look at: the same packet in two ledgers. The client's ENI let the connection to port 3389 out, so its record says
ACCEPT; the server's ENI dropped it, so its record says REJECT. The client learns nothing: a security group drops in
silence.
"""

from __future__ import annotations

import select
import socket
import struct
from typing import TYPE_CHECKING

from scenarios.story import Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

BANNER = b"SSH-2.0-vpclab\r\n"
SYN_BYTES, ACK_BYTES = 60, 52
"""IP total length of a packet without content, with Linux's TCP options of a first packet and of a later one."""


def run(story: Story, lab: Lab) -> None:
    story.step("A server whose security group opens TCP port 22 and nothing else")
    vpc = lab.create_vpc("172.31.0.0/16", name="demo")
    subnet = vpc.create_subnet("172.31.16.0/24")
    ssh = vpc.create_security_group("ssh")
    ssh.allow("ingress", protocol="tcp", port=22)
    client = subnet.run_instance("client", private_ip="172.31.16.139")
    server = subnet.run_instance("server", private_ip="172.31.16.21", security_groups=[ssh])
    story.rules(ssh)

    story.step("Flow logs on both ENIs, all traffic, one topic")
    topic = lab.logs.create_topic("connections", logset="demo")
    client.eni.create_flow_log("client", topic=topic)
    server.eni.create_flow_log("server", topic=topic)

    story.step("The client tries remote desktop, then SSH")
    with server.socket() as listener, client.socket() as rdp, client.socket() as shell:
        listener.bind((server.ip, 22))
        listener.listen()
        rdp.bind((client.ip, 49761))
        rdp.setblocking(False)
        rdp.connect_ex((server.ip, 3389))  # sends its first packet and does not wait for an answer
        shell.bind((client.ip, 20641))
        shell.settimeout(10)
        shell.connect((server.ip, 22))
        peer, _ = listener.accept()
        with peer:
            peer.sendall(BANNER)
            story.check("port 22 answers with the server's banner", shell.recv(100), BANNER)
            # Closed by reset, which is one packet; a FIN and its answer may be two or three.
            shell.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            shell.close()
            select.select([peer], [], [], 10)
        story.check("port 3389 says nothing, not even no", select.select([], [rdp], [], 0)[1], [])

    wait_s = lab.profile.window_s + lab.profile.delay_s
    story.step(f"{wait_s // 60} minutes later: the SSH connection")
    lab.clock.advance(seconds=wait_s)
    there = {"srcaddr": client.ip, "dstaddr": server.ip, "protocol": 6, "log-status": "OK"}
    back = {"srcaddr": server.ip, "dstaddr": client.ip, "protocol": 6, "log-status": "OK"}
    # There: SYN, ACK, the banner's ACK, RST. Back: SYN-ACK, the banner.
    asked = {"srcport": 20641, "dstport": 22, "packets": 4, "bytes": SYN_BYTES + 3 * ACK_BYTES, "action": "ACCEPT"}
    told_bytes = SYN_BYTES + ACK_BYTES + len(BANNER)
    told = {"srcport": 22, "dstport": 20641, "packets": 2, "bytes": told_bytes, "action": "ACCEPT"}
    found = story.search(topic, "srcport:22 OR dstport:22")
    story.expect(found, *[{**there, **asked}] * 2, *[{**back, **told}] * 2)
    story.note("four records: two directions, seen by two ENIs")

    story.step("The attempt at remote desktop")
    wanted = {"ACCEPT": client.eni.id, "REJECT": server.eni.id}
    knock = {**there, "srcport": 49761, "dstport": 3389, "packets": 1, "bytes": SYN_BYTES}
    found = story.search(topic, "dstport:3389")
    story.expect(found, {**knock, "action": "ACCEPT"}, {**knock, "action": "REJECT"})
    says = {record["action"]: lab.explain(record).eni_id for record in found}
    story.check("ACCEPT is what the client's ENI says, REJECT the server's", says, wanted)

    story.step("Was there anything else?")
    story.expect(story.search(topic, "log-status:OK NOT dstport:22 NOT srcport:22 NOT dstport:3389"))

    story.learnt(
        "ACCEPT at the sender does not say that a packet arrived: look at both ENIs.",
        "A security group drops in silence; only the record says that somebody knocked.",
    )


SCENARIO = Scenario("ssh-accepted-rdp-rejected", "One open port: 22 is accepted, 3389 is rejected", run)
