"""The provider's flow-log report: an index and dashboards, switched on in one step."""

from __future__ import annotations

from collections.abc import Mapping

REPORT_DASHBOARDS: Mapping[str, tuple[str, ...]] = {
    "tencent": ("{topic} ENI flow log - advanced analysis",),
    "alibaba": (
        "{topic}-vpc_flow_log_overview_cn",
        "{topic}-vpc_flow_log_traffic_cn",
        "{topic}-vpc_flow_log_rejection_cn",
    ),
}
"""By provider: one for each flow-log topic (tencent.md §5.8), three for each Logstore (alibaba.md §5.8)."""

REPORT_DAYS: Mapping[str, int] = {"alibaba": 7}
"""By provider: what the retention becomes when the report is switched on (alibaba.md §4)."""
