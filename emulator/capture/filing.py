"""Where finished records go: into the spool, under a key of their own, until their publish delay is over."""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc

from emulator.capture.spool import Spool


class Filing:
    """``tag`` names the lab, ``delay_s`` is what passes between a window's end and its publication."""

    def __init__(self, spool: Spool, tag: str, delay_s: int) -> None:
        self._spool, self._tag, self._delay_s = spool, tag, delay_s
        self._written = 0

    def put(self, end: int, topic_id: str, form: str, table: pa.Table) -> None:
        """File the records of windows that end at ``end``, for a topic, in a record form."""
        if table.num_rows:
            self._written += 1
            self._spool.put(end + self._delay_s, topic_id, form, table, f"{self._tag}-{end}-{self._written}")

    def put_idle(self, until_s: float, topic_id: str, form: str, table: pa.Table) -> None:
        """File the rows of many windows, closed at once: what is due by ``until_s`` is one entry."""
        due_by = math.floor(until_s) - self._delay_s
        table = table.sort_by("end")
        over = table.filter(pc.less_equal(table["end"], due_by))
        self.put(due_by, topic_id, form, over)
        for end in sorted({end.as_py() for end in table["end"].slice(over.num_rows).unique()}):
            self.put(end, topic_id, form, table.filter(pc.equal(table["end"], end)))
