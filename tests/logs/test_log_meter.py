"""What rows count as on the bill, against their values written as text one by one."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from emulator.logs.index import Field, Index
from emulator.logs.meter import TIME_BYTES, measured

NUMBERS = st.lists(st.none() | st.integers(-(2**63) + 1, 2**63 - 1), max_size=6)


@given(NUMBERS, st.lists(st.none() | st.text(max_size=5), min_size=6, max_size=6))
def test_a_row_counts_its_keys_and_its_values_as_text(numbers: list[int | None], words: list[str | None]) -> None:
    words = words[: len(numbers)]
    rows = pa.table(
        {
            "packets": pa.array(numbers, pa.int64()),
            "note": pa.array(words, pa.string()),
            "__time__": pa.array([0] * len(numbers), pa.int64()),
            "_vpclab_rule": pa.array(numbers, pa.int64()),
        }
    )
    sizes = {
        name: sum(len(name) + len(str(value).encode()) for value in values if value is not None)
        for name, values in (("packets", numbers), ("note", words))
    }

    usage = measured(rows, Index({"packets": Field("long")}), collected=False)

    assert usage.written == sum(sizes.values()) + TIME_BYTES * len(numbers)
    assert (usage.collected, usage.indexed) == (0, sizes["packets"])
