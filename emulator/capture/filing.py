"""Where finished records go: into the spool, under a key of their own, until their publish delay is over."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from emulator.capture.spool import Spool


class Filing:
    """``tag`` names the lab, ``delay_s`` is what passes between a window's end and its publication, and ``ordered``
    says of a topic how many of its next publications are to go wrong."""

    def __init__(self, spool: Spool, tag: str, delay_s: int, ordered: Callable[[str], int]) -> None:
        self._spool, self._tag, self._delay_s, self._ordered = spool, tag, delay_s, ordered
        self._written = 0

    def put(self, end: int, topic_id: str, form: str, table: pa.Table) -> None:
        """File the records of windows that end at ``end``, for a topic, in a record form."""
        if table.num_rows:
            self._written += 1
            self._spool.put(end + self._delay_s, topic_id, form, table, f"{self._tag}-{end}-{self._written}")

    def put_idle(self, until_s: float, topic_id: str, form: str, table: pa.Table) -> None:
        """File the rows of many windows, closed at once: what is due by ``until_s`` is one entry, but for windows whose
        publication is to go wrong."""
        due_by = math.floor(until_s) - self._delay_s
        ends = sorted(pc.unique(table["end"]).to_pylist())
        ordered = self._ordered(topic_id)
        alone = [at for at, end in enumerate(ends) if at < ordered or end > due_by]
        for at in alone:
            self.put(ends[at], topic_id, form, table.filter(pc.equal(table["end"], ends[at])))
        rest = pa.array([ends[at] for at in alone], table.schema.field("end").type)
        together = table.filter(pc.invert(pc.is_in(table["end"], rest)))
        self.put(due_by, topic_id, form, together.sort_by("end"))
