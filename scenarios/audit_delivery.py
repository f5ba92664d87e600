"""Records kept for years: the log service forgets after a week, the bucket when the law says so.

::

    VPC 10.8.0.0/16
    +- subnet 10.8.1.0/24 ----+   topic ledger     bucket (COS, OSS)
    |                         |   7 days           3 years, by a lifecycle rule
    |  teller 10.8.1.10       |
    |    | TCP 1433           |      delivery
    |    v                    | --> ----------->  audit/dt=2024-01-01/...json.gz
    |  ledger  [flow log]     |
    +-------------------------+

Without a bucket at hand a folder stands for it. With VPCLAB_BUCKETS, the address of a store that speaks S3, and keys in
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY the records go there: to audit-1250000000 at Tencent, audit at Alibaba.

Look at: three clocks for one record. It can be searched after minutes, it is in the bucket when the delivery's interval
is over, and it is gone from the topic long before somebody asks for it. What nobody delivered by then does not exist.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab
    from emulator.delivery import Cos, Folder, Oss

WEEK, YEARS = 7, 3
BUCKETS = "VPCLAB_BUCKETS"
ARCHIVE = {"format": "json", "compression": "gzip", "prefix": "audit/dt=%Y-%m-%d/", "expire_days": YEARS * 365}


def run(story: Story, lab: Lab) -> None:
    with tempfile.TemporaryDirectory(prefix="vpclab-audit-") as folder:
        keep(story, lab, target(lab.profile.provider, folder))


def target(provider: str, folder: str) -> Cos | Oss | Folder:
    """Where the records are kept."""
    from emulator.delivery import Cos, Folder, Oss  # these need pyarrow, which naming a scenario does not

    wanted: dict[str, Any] = dict(ARCHIVE)
    if BUCKETS not in os.environ:
        return Folder(folder, **wanted)
    keys = {"access_key": os.environ["AWS_ACCESS_KEY_ID"], "secret_key": os.environ["AWS_SECRET_ACCESS_KEY"]}
    wanted.update(keys, endpoint=os.environ[BUCKETS])
    return Cos("audit-1250000000", **wanted) if provider == "tencent" else Oss("audit", **wanted)


def keep(story: Story, lab: Lab, to: Cos | Oss | Folder) -> None:
    story.step(f"A ledger whose connections are logged, in a topic that keeps records for {WEEK} days")
    vpc = lab.create_vpc("10.8.0.0/16", name="bank")
    subnet = vpc.create_subnet("10.8.1.0/24")
    guarded = vpc.create_security_group("ledger")
    guarded.allow("ingress", protocol="tcp", port=1433)
    guarded.allow("egress")
    teller = subnet.run_instance("teller", private_ip="10.8.1.10")
    ledger = subnet.run_instance("ledger", private_ip="10.8.1.20", security_groups=[guarded])
    topic = lab.logs.create_topic("ledger", logset="bank", retention_days=WEEK)
    log = ledger.eni.create_flow_log("ledger", topic=topic)

    story.step(f"A delivery to an archive, where each object stays for {YEARS} years")
    delivery = topic.deliver(to=to, name="audit", flow_logs=[log])
    story.note(f"it ships when a record has waited for {to.interval_s:g} s, or {to.size >> 20} MB have come together")

    story.step("A teller asks the ledger, somebody tries another door")
    story.check("the ledger answered", teller.tcp(ledger, 1433, bytes=200, answer=900).outcome, "answered")
    story.check("the other door is shut", teller.tcp(ledger, 22, wait_s=0.1).outcome, "silent")
    story.later("what does the topic have?")
    tcp = {"protocol": 6, "log-status": "OK"}
    asked = {"srcaddr": teller.ip, "dstaddr": ledger.ip, "dstport": 1433, "action": "ACCEPT", **tcp}
    answered = {"srcaddr": ledger.ip, "dstaddr": teller.ip, "srcport": 1433, "action": "ACCEPT", **tcp}
    tried = {"srcaddr": teller.ip, "dstaddr": ledger.ip, "dstport": 22, "action": "REJECT", **tcp}
    found = story.search(topic, "protocol:6")
    story.expect(found, asked, answered, tried)
    story.check("the archive has nothing yet", (delivery.records, delivery.lag.records), (0, 3))

    story.step("The interval passes")
    lab.clock.advance(seconds=to.interval_s)
    (kept,) = delivery.objects
    story.check("one object of three records", (kept.records, delivery.state), (3, "running"))
    story.note(f"{kept.name}, {kept.size} bytes")

    story.step("The ledger is closed down; a year later an auditor asks what happened on that day")
    log.delete()
    lab.clock.advance(days=365)
    story.check("the topic knows nothing", len(topic.search("*")), 0)
    story.check("the archive still has the day", delivery.objects[0], kept)
    if (folder := getattr(to, "path", None)) is not None:
        lines = gzip.decompress((Path(folder) / kept.name).read_bytes()).splitlines()
        archived = [{key: value for key, value in json.loads(line).items() if key != "__time__"} for line in lines]
        story.table("the auditor reads, with gzip and JSON alone", archived)
        in_order = sorted(archived, key=str)
        story.check("they are the records that were searched then", in_order, sorted(map(dict, found), key=str))

    story.step(f"After {YEARS} years nobody may keep them any longer")
    lab.clock.advance(days=365)
    story.check("two years: still there", delivery.objects[0], kept)
    lab.clock.advance(days=366)
    story.check("three years: removed", delivery.objects, [])
    story.learnt(
        "Retention of the log service and of the archive are two decisions: one for searching, one for the law.",
        "A delivery ships what is written while it exists: begin it on the day of the flow log, not of the audit.",
        "Partitions by day (dt=…) let a reader open one object instead of three years of them.",
    )


SCENARIO = Scenario("audit-delivery", "Records are kept for years, then removed", run, BOTH_CLOUDS)
