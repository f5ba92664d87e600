"""What rows count as on the bill, against their values written as text one by one."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from emulator.logs.index import Field, FullText, Index
from emulator.logs.meter import BLOCK, TIME_BYTES, measured
from emulator.logs.store import Usage

NUMBERS = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=30)


@given(NUMBERS, st.lists(st.none() | st.text(max_size=5), min_size=30, max_size=30), st.data())
def test_a_row_counts_its_keys_and_its_values_as_text(
    numbers: list[int | None], words: list[str | None], data: st.DataObject
) -> None:
    words = words[: len(numbers)]
    rows = pa.table(
        {
            "packets": pa.array(numbers, pa.int64()),
            "note": pa.array(words, pa.string()),
            "__time__": pa.array([0] * len(numbers), pa.int64()),
            "_vpclab_rule": pa.array(numbers, pa.int64()),
        }
    )
    first, end = sorted(data.draw(st.integers(0, len(numbers))) for _ in range(2))
    rows = pa.concat_tables([rows.slice(first, end - first), rows.slice(end)])
    numbers, words = numbers[first:], words[first:]
    sizes = {
        name: sum(len(name) + len(str(value).encode()) for value in values if value is not None)
        for name, values in (("packets", numbers), ("note", words))
    }

    usage = measured(rows, Index({"packets": Field("long")}), collected=False)

    assert usage.written == sum(sizes.values()) + TIME_BYTES * len(numbers)
    assert (usage.collected, usage.indexed) == (0, sizes["packets"])
    everything = measured(rows, Index({}, FullText(" ")), collected=True)
    assert everything == Usage(collected=usage.written, written=usage.written, indexed=usage.written)
    assert measured(rows, None, collected=False) == Usage(written=usage.written)


def test_many_numbers_count_as_the_few_that_they_are_made_of() -> None:
    few = pa.chunked_array([pa.array([None, -(2**63), -10, -9, 0, 9, 10, 99, 100, 10**18 - 1, 10**18])])
    copies = BLOCK // len(few) + 1
    rows, times = (pa.table({"n": pa.concat_arrays(few.chunks * count)}) for count in (1, copies))
    once, often = (measured(table, None, collected=False).written - TIME_BYTES * len(table) for table in (rows, times))
    assert often == once * copies


def test_doubles_count_as_they_are_written() -> None:
    rows = pa.table({"d": [0.5, None, -1e300]})
    assert measured(rows, None, collected=False).written == 3 * TIME_BYTES + len("d0.5d-1e+300")
