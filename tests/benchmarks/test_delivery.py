"""Delivery: records shipped to Parquet files of a folder, against pyarrow that writes the same rows by itself.

``VPCLAB_BENCH_RECORDS=10000000`` for more than the million of the default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

import generator
import measure
import pyarrow as pa
import pyarrow.parquet as pq
from measure import Figures

from emulator.delivery import Folder
from emulator.logs import LogService
from emulator.logs.folder import FolderStore
from emulator.providers import profile

RECORDS = int(os.environ.get("VPCLAB_BENCH_RECORDS", "1000000"))
ROUNDS = 5
ALONE = 4.0
"""Ours also reads the rows from the store, which takes longer than to write them, in order, and flushes to disk."""


def windows() -> Iterator[pa.Table]:
    return generator.windows(RECORDS)


def test_records_to_parquet_in_a_folder(tmp_path: Path, figures: Figures) -> None:
    numbers = count()
    with LogService(profile=profile("tencent"), now=lambda: 0.0, folder=tmp_path / "data") as service:
        topic = service.create_topic("flows")
        for number, window in enumerate(windows()):
            topic.append(window, key=str(number))
        store = service.store
        assert isinstance(store, FolderStore)
        store.compacted()

        def ours() -> float:
            to = Folder(tmp_path / f"out-{next(numbers)}", format="parquet", compression="zstd", size=1 << 40)
            delivery = topic.deliver(to, start="earliest")
            took = measure.timed(service.deliver)
            assert delivery.records == RECORDS
            delivery.delete()
            return took

        table = pa.concat_tables(windows())
        visible = table.select([name for name in table.column_names if not name.startswith("_vpclab_")])

        def alone() -> float:
            path = tmp_path / f"alone-{next(numbers)}.parquet"
            return measure.timed(lambda: pq.write_table(visible, path, compression="zstd"))

        runs = measure.in_turns(ROUNDS, ours=ours, alone=alone)
    ratio = measure.ratio(runs["ours"], runs["alone"])
    rate = RECORDS / median(runs["ours"])
    figures.note("delivered to Parquet", records=RECORDS, records_a_second=rate, ratio_to_pyarrow=ratio)
    assert ratio <= ALONE
