"""What may be written, what is refused, and that a key writes once."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue
from emulator.logs import LogService, Topic
from emulator.logs.rows import stored_rows
from emulator.providers import profile

NOW = 1_700_000_000
"""Lab time of the log service under test."""


@pytest.fixture
def topic(service: LogService) -> Topic:
    return service.create_topic("app", index={"a": "text", "n": "long", "d": "double"})


def test_rows_are_there_when_write_returns(topic: Topic) -> None:
    assert topic.write([{"a": "x", "n": 1, "__time__": 5}, {"d": 0.5, "__time__": 6.9}, {"a": None}]) == 3
    found = topic.search()
    assert found == [
        {"a": "x", "n": 1, "d": None},
        {"a": None, "n": None, "d": 0.5},
        {"a": None, "n": None, "d": None},
    ]
    assert [record.time for record in found] == [5, 6, NOW]


class _Stream:
    """What speaks Arrow as polars does."""

    def __init__(self, table: pa.Table) -> None:
        self.__arrow_c_stream__ = table.__arrow_c_stream__


@pytest.mark.parametrize(
    "rows",
    [
        pa.table({"a": ["x", None], "n": pa.array([1, 2], pa.uint8()), "d": pa.array([1.5, None], pa.float32())}),
        pa.table({"a": pa.array(["x", None]).dictionary_encode(), "n": [1, 2], "d": [1.5, None]}),
        pa.table({"a": pa.array(["x", None], pa.large_string()), "n": [1, 2], "d": [1.5, None]}),
        pa.RecordBatch.from_pylist([{"a": "x", "n": 1, "d": 1.5}, {"a": None, "n": 2, "d": None}]),
        [{"a": "x", "n": np.int32(1), "d": np.float64(1.5)}, {"a": np.str_("") or None, "n": 2, "d": None}],
        pa.table({"a": pa.array(["x", None], pa.string_view()), "n": [1, 2], "d": [1.5, None]}),
        _Stream(pa.table({"a": ["x", None], "n": [1, 2], "d": [1.5, None]})),
        pd.DataFrame({"a": ["w", "x", None], "n": [0, 1, 2], "d": [0.5, 1.5, None]}).query("n > 0"),
    ],
    ids=["narrow", "dictionary", "large", "batch", "numpy", "view", "stream", "frame of picked rows"],
)
def test_arrow_and_numpy_are_brought_to_the_stored_types(topic: Topic, rows: Any) -> None:
    assert topic.write(rows) == 2
    assert topic.search() == [{"a": "x", "n": 1, "d": 1.5}, {"a": None, "n": 2, "d": None}]
    assert [record.time for record in topic.search()] == [NOW, NOW]
    assert topic.search("n:2 AND NOT a:*", language="lucene") == [{"a": None, "n": 2, "d": None}]


@pytest.mark.parametrize(
    "rows", [[{"n": None, "new": None}], pa.table({"n": [None], "new": [None]})], ids=["dicts", "arrow"]
)
def test_a_key_without_a_value_has_no_type_that_later_rows_must_have(topic: Topic, rows: Any) -> None:
    topic.write([{"n": 1}])
    assert topic.write(rows) == 1
    assert topic.write([{"n": 2, "new": 3}]) == 1
    assert topic.search("n:*", language="lucene") == [{"n": 1}, {"n": 2, "new": 3}]
    assert len(topic.search()) == 3


KINDS = {
    "n": st.none() | st.integers(0, 127),
    "a": st.none() | st.text(max_size=5),
    "__time__": st.integers(0, 127),
    "_vpclab_rule": st.none() | st.integers(-128, 127),
}
TYPES = {
    "n": [pa.int8(), pa.uint32(), pa.int64(), pa.uint64()],
    "a": [pa.string(), pa.large_string()],
    "__time__": [pa.int64(), pa.int32()],
    "_vpclab_rule": [pa.int64(), pa.int32()],
}


@given(st.lists(st.fixed_dictionaries(KINDS), max_size=6), st.permutations(list(KINDS)), st.data())
def test_a_table_is_stored_value_by_value_whatever_its_types_and_their_order(
    rows: list[dict[str, Any]], names: list[str], data: st.DataObject
) -> None:
    fields = [
        pa.field(name, data.draw(st.sampled_from(TYPES[name])), metadata=data.draw(st.sampled_from([None, {"k": "v"}])))
        for name in names
    ]
    first = data.draw(st.integers(0, len(rows)))
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields)).slice(first)
    stored = stored_rows(table, NOW, profile("tencent"), hidden=True)
    assert stored.to_pylist() == rows[first:]
    kept = ["__time__", *(name for name in names if name != "__time__")]
    types = {name: pa.string() if name == "a" else pa.int64() for name in kept}
    assert stored.schema.equals(pa.schema(list(types.items())), check_metadata=True)
    with pytest.raises(InvalidValue, match="start with _"):
        stored_rows(table, NOW, profile("tencent"))


@pytest.mark.filterwarnings("ignore:app has flow records and other logs")
def test_the_same_key_writes_once(topic: Topic) -> None:
    assert topic.write([{"a": "x"}], key="k1") == 1
    assert topic.write([{"a": "x"}], key="k1") == 0
    assert topic.write([{"a": "x"}], key="k2") == 1
    assert topic.write([{"a": "x"}]) == 1
    table = pa.table({"__time__": [1], "a": ["x"]})
    assert topic.append(table, key="k2") is False
    assert topic.append(table, key="k3") is True
    assert len(topic.search("a:x")) == 4


@pytest.mark.parametrize("key", [5, b"k", ["k"], "\ud800"])
def test_a_key_that_is_no_text_is_refused(topic: Topic, key: Any) -> None:
    with pytest.raises(InvalidValue, match="a key is text"):
        topic.write([{"a": "x"}], key=key)


def test_a_key_is_its_topics_own(service: LogService, topic: Topic) -> None:
    other = service.create_topic("other", index={"a": "text"})
    assert topic.write([{"a": "x"}], key="k") == other.write([{"a": "x"}], key="k") == 1


@pytest.mark.parametrize("rows", [[], (), pa.table({"a": pa.array([], pa.string())})], ids=["list", "tuple", "table"])
def test_nothing_is_written_of_nothing(topic: Topic, rows: Any) -> None:
    assert topic.write(rows, key="k") == 0
    assert topic.search() == []
    assert topic.write([{"a": "x"}], key="k") == 1


REFUSED: dict[str, tuple[Any, str, str]] = {
    "no rows": (5, "write.value", "not int"),
    "text": ("a", "write.value", "not str"),
    "one dict": ({"a": "x"}, "write.value", "not dict"),
    "a Series": (pd.Series([1]), "write.value", "not Series: "),
    "a frame of everything": (pd.DataFrame({"a": ["x", 1]}), "write.value", "not DataFrame: .*column a"),
    "a row that is none": ([{"a": "x"}, "y"], "write.value", "row 1 is str"),
    "_ first": ([{"_a": "x"}], "write.key", "start with _"),
    "hidden": ([{"_vpclab_rule": 1}], "write.key", "start with _"),
    "hidden in arrow": (pa.table({"_vpclab_rule": [1]}), "write.key", "start with _"),
    "empty key": ([{"": "x"}], "write.key", "not empty"),
    "key no text": ([{5: "x"}], "write.key", "is text"),
    "key not printable": ([{"a\nb": "x"}], "write.key", "printable"),
    "key too long": ([{"ä" * 65: "x"}], "write.key", "128 bytes"),
    "key twice": (pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["n", "n"]), "write.key", "two columns"),
    "int, then text": ([{"n": 1}, {"n": "x"}], "write.value", "row 1: n is str, an earlier row has int"),
    "text, then float": ([{"a": "1"}, {"a": None}, {"a": 0.5}], "write.value", "row 2: a is float"),
    "bool": ([{"a": True}], "write.value", "row 0: a is bool"),
    "bytes": ([{"a": b"x"}], "write.value", "a is bytes"),
    "decimal": ([{"a": Decimal(1)}], "write.value", "a is Decimal"),
    "list": ([{"a": ["x"]}], "write.value", "a is list"),
    "dict": ([{"a": {"b": 1}}], "write.value", "a is dict"),
    "not finite": ([{"d": math.nan}], "write.value", "not finite"),
    "not finite in arrow": (pa.table({"d": [math.inf]}), "write.value", "not finite"),
    "too large": ([{"n": 1 << 63}], "write.value", "does not fit a long"),
    "too large in arrow": (pa.table({"n": pa.array([1 << 63], pa.uint64())}), "write.value", "does not fit a long"),
    "bool in arrow": (pa.table({"a": [True]}), "write.value", "a is bool"),
    "list in arrow": (pa.table({"a": [["x"]]}), "write.value", "a is list"),
    "timestamp in arrow": (pa.table({"a": pa.array([1], pa.timestamp("s"))}), "write.value", "a is timestamp"),
    "no Unicode": ([{"a": "\ud800"}], "write.value", "no Unicode"),
    "value too long": ([{"a": "x"}, {"a": "ä" * (1 << 19) + "x"}], "write.rows", "1048576 are the most"),
    "value too long in arrow": (pa.table({"a": ["x" * ((1 << 20) + 1)]}), "write.rows", "1048577 bytes"),
    "time negative": ([{"__time__": -1}], "write.time", "not -1"),
    "time in ms": ([{"__time__": NOW * 1000}], "write.time", "unix seconds"),
    "time no number": ([{"__time__": "now"}], "write.time", "not 'now'"),
    "time NaN": ([{"__time__": math.nan}], "write.time", "not nan"),
    "time bool": ([{"__time__": True}], "write.time", "not True"),
    "time null in arrow": (pa.table({"__time__": [1, None]}), "write.time", "1 nulls"),
    "time float in arrow": (pa.table({"__time__": [1.5]}), "write.time", "column is double"),
    "time in ms in arrow": (pa.table({"__time__": [5, NOW * 1000]}), "write.time", f"not {NOW * 1000}"),
    "time beyond long in arrow": (pa.table({"__time__": pa.array([1 << 63], pa.uint64())}), "write.time", "up to"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_rows_are_refused_whole(topic: Topic, profile: Profile, case: str) -> None:
    rows, reason, message = REFUSED[case]
    with pytest.raises(InvalidValue, match=message) as refused:
        topic.write(rows)
    assert (refused.value.reason, refused.value.code) == (reason, profile.code(reason))
    assert refused.value.object == topic.id
    assert topic.search() == []


def test_a_key_keeps_its_type_over_writes(topic: Topic) -> None:
    topic.write([{"a": "x", "n": 1}])
    for rows, message in (([{"a": 5}], "a is int64, but app has it as string"), ([{"n": "5"}], "n is string")):
        with pytest.raises(InvalidValue, match=message) as refused:
            topic.write(rows)
        assert refused.value.reason == "write.value"
    topic.write([{"a": None, "n": 0.5}])
    assert topic.search("n:1", language="lucene") == [{"a": "x", "n": 1}]
    assert topic.search("n:*", language="lucene") == [{"a": "x", "n": 1}]


def test_sources_that_disagree_about_a_type_are_kept_as_text(topic: Topic) -> None:
    topic.append(pa.table({"__time__": [1, 1], "n": ["7", "x"]}), key="text")
    topic.append(pa.table({"__time__": [2, 2], "n": [8, None]}), key="numbers")
    assert [record["n"] for record in topic.search()] == ["7", "x", "8", None]
    assert [record["n"] for record in topic.search("n:>6", language="lucene")] == ["7", "8"]
    assert topic.search("* | select sum(n) as n") == [{"n": 15}]
