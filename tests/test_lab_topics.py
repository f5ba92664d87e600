"""Topics of a lab: kept in lab time, and read by others while the lab writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator import Lab, LabError, read_logs

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
