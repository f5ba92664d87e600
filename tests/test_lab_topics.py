"""Topics of a lab: kept in lab time, and read by others while the lab writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator import Lab, LabError, read_logs
from emulator.logs.dashboard import dashboard

pytestmark = pytest.mark.kernel

START_S = 1_704_067_200


def test_rows_are_kept_as_long_as_the_lab_s_clock_says(tmp_path: Path) -> None:
    with Lab(start=START_S, data=tmp_path) as lab:
        a = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24").run_instance("A")
        topic = lab.logs.create_topic("short", retention_days=2)
        a.eni.create_flow_log(topic=topic)
        lab.clock.advance(days=5)
        found = topic.search()
        assert {record["log-status"] for record in found} == {"NODATA"}
        # A record's time is its window's end; windows of the last ten minutes wait for their publication.
        assert [found[0].time, found[-1].time] == [START_S + 3 * 86_400, START_S + 5 * 86_400 - 300]
        lab.clock.advance(minutes=5)
        assert topic.search()[0].time == START_S + 3 * 86_400 + 300
        assert topic.usage.collected == topic.usage.written > topic.usage.stored
        assert lab.logs.bill.usd > 0

        with pytest.raises(
            LabError, match="in use by this process; one lab at a time writes a folder, others may read it"
        ):
            Lab(data=tmp_path)
        with read_logs(tmp_path) as logs:
            # Expired rows are let go once an hour; until then a reader, which has no clock, still sees them.
            assert 0 <= len(logs.topic("short").search()) - len(topic.search()) <= 12
    with read_logs(tmp_path) as logs:
        assert logs.topic("short").search("log-status:NODATA | select count(*) as n")[0]["n"] > 500


ASKED = [("tencent", "__RULE__", "tencent-eni"), ("alibaba", "__rule__", "alibaba-rejection")]


@pytest.mark.parametrize(("profile", "key", "board"), ASKED)
def test_the_deciding_rule_is_asked_for_by_a_key_of_its_own(profile: str, key: str, board: str, tmp_path: Path) -> None:
    with Lab(profile, data=tmp_path) as lab:
        vpc = lab.create_vpc("10.16.0.0/16")
        subnet = vpc.create_subnet("10.16.0.0/24")
        group = vpc.create_security_group("web")
        group.allow("ingress", protocol="icmp")
        group.deny("ingress", protocol="udp", port="53")
        a, b = subnet.run_instance("A"), subnet.run_instance("B", security_groups=[group])
        topic = lab.logs.create_topic("flows", logset="demo")
        b.eni.create_flow_log(topic=topic)
        a.ping(b, count=1)
        a.udp(b, 53, packets=2)
        lab.clock.advance(minutes=20)

        (record,) = topic.search("action:REJECT")
        rule = record.meta["decided_by"]
        assert lab.explain(record).text.endswith(rule)
        assert group.id in rule
        assert key not in record
        from_log = f"* | select {key} as rule, action, sum(packets) as n from log where {key} is not null"
        assert {"rule": rule, "action": "REJECT", "n": 2} in topic.search(f"{from_log} group by {key}, action")
        assert topic.search(f"{key}:{group.id} AND {key}:udp") == [record]
        assert topic.search(f"NOT {key}:* AND action:*") == []
        assert key not in topic.search("* | select * from log limit 1")[0]
        panel = next(panel for panel in dashboard(board, tmp_path).panels if "which rule" in panel.title)
        assert topic.search(panel.query) == [{"rule": rule, "packets": 2, "records": 1}]
    with Lab(profile, data=tmp_path) as lab:  # the rules are gone, what was written is not
        assert lab.logs.topic("flows").search("action:REJECT")[0].meta["decided_by"] == rule


def test_other_logs_have_no_deciding_rule() -> None:
    with Lab() as lab:
        topic = lab.logs.create_topic("app", index={"n": "long"})
        topic.write([{"n": 1}])
        assert topic.search("__RULE__:a") == []
        assert topic.search("* | select n, __RULE__ as r") == [{"n": 1, "r": None}]
