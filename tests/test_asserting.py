"""Explanations of failing assertions, on records that were made by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest

from emulator.asserting import Failure, describe_records, explain_comparison, explain_set, is_records, unmatched
from emulator.logs.records import Record, Records


def record(**fields: Any) -> Record:
    return Record({"srcaddr": "10.0.0.1", "dstaddr": "10.0.0.2", "packets": 9, "action": "ACCEPT", **fields}, id="1-0")


def records(*found: Record) -> Records:
    return Records(found, pa.table({"packets": [one["packets"] for one in found]}))


def why(one: Record) -> str:
    return f"rule of {one['packets']}"


def nowhere() -> Iterable[tuple[str, Record]]:
    return []


def explained(operator: str, left: object, right: object) -> Failure:
    failure = explain_comparison(operator, left, right, why, nowhere)
    assert failure is not None
    return failure


def test_a_record_and_a_dict() -> None:
    failure = explained("==", record(), {**record(), "packets": 8})
    assert failure.summary == "1 record found, 1 wanted: 1 missing, 1 not wanted"
    assert "  nearest: 10.0.0.1 10.0.0.2 9 ACCEPT" in failure.lines
    assert "  packets: 9, wanted 8" in failure.lines
    assert "  why: rule of 9" in failure.lines
    assert failure.brief == ["nearest: 10.0.0.1 10.0.0.2 9 ACCEPT", "packets: 9, wanted 8", "why: rule of 9"]


def test_the_sides_may_be_swapped() -> None:
    wanted = {**record(), "packets": 8}
    assert explained("==", wanted, record()) == explained("==", record(), wanted)


def test_records_and_a_list() -> None:
    found = records(record(packets=1), record(packets=2), record(packets=3, action="REJECT"))
    wanted = [dict(record(packets=1)), dict(record(packets=4, action="REJECT"))]
    lines = explained("==", found, wanted).lines
    assert [line for line in lines if "packets:" in line] == ["  packets: 3, wanted 4"]
    assert "unexpected: 10.0.0.1 10.0.0.2 2 ACCEPT" in lines
    assert "  why: rule of 2" in lines


def test_a_dict_in_records() -> None:
    failure = explained("in", {**record(), "dstaddr": "10.0.0.9"}, records(record(), record(packets=2)))
    assert failure.summary == "2 records found, 1 wanted: 1 missing"
    assert [line for line in failure.lines if "wanted" in line] == ["  dstaddr: '10.0.0.2', wanted '10.0.0.9'"]


def test_a_dict_not_in_records() -> None:
    failure = explained("not in", dict(record()), records(record(), record(packets=2)))
    assert failure.lines == ["found: 10.0.0.1 10.0.0.2 9 ACCEPT", "why: rule of 9"]


def test_another_order() -> None:
    found = records(record(packets=1), record(packets=2))
    failure = explained("==", found, [dict(one) for one in reversed(found)])
    assert failure.summary == "the same records in another order"


def test_fields_that_are_missing_or_more() -> None:
    lines = explained("==", record(), {"srcadr": "10.0.0.1"}).lines
    (line,) = (line for line in lines if "no such field" in line)
    assert line == (
        "  srcadr: no such field (it has srcaddr); not in what is wanted: srcaddr, dstaddr, packets, action"
    )
    partial = explained("==", record(), {"packets": 9}).lines
    assert any("a record equals a dict of all its fields only" in line for line in partial)


def test_text_and_number_are_told_apart() -> None:
    assert "  packets: 9, wanted '9'" in explained("==", record(), {**record(), "packets": "9"}).lines


def test_nothing_found_looks_elsewhere() -> None:
    places = [("far", record(action="REJECT")), ("near", record())]
    failure = explain_comparison("==", records(), [{**record(), "packets": 8}], why, lambda: places)
    assert failure is not None
    assert failure.brief[0] == "no record was found"
    assert "  nearest in topic near: 10.0.0.1 10.0.0.2 9 ACCEPT" in failure.lines
    assert not any("topic far" in line for line in failure.lines)


def test_partial_wishes_are_paired_with_care() -> None:
    """The first wish fits both records; it must not take the only one that fits the second."""
    found = [record(packets=1), record(packets=2)]
    wanted: list[dict[str, Any]] = [{"action": "ACCEPT"}, {"packets": 1}]
    assert unmatched(found, wanted, partial=True) == ([], [])
    assert explain_set(found, wanted, why, nowhere, partial=True) is None
    assert explain_set(found, wanted[:1], why, nowhere, partial=True) is not None
    assert explain_set(found, [*wanted, {}], why, nowhere, partial=True) is not None


def test_equal_records_are_counted() -> None:
    twice = [record(), record()]
    assert unmatched(twice, [dict(record())]) == ([], [record()])
    assert unmatched(twice, [dict(record())] * 3) == ([dict(record())], [])


def test_a_full_window_is_explained_soon() -> None:
    found = [record(packets=number) for number in range(65_535)]
    failure = explain_set(found, [dict(one) for one in found[1:]], why, nowhere)
    assert failure is not None
    assert failure.lines == ["unexpected: 10.0.0.1 10.0.0.2 0 ACCEPT", "  why: rule of 0"]


def test_long_lists_are_counted() -> None:
    failure = explained("==", records(*(record(packets=number) for number in range(30))), [])
    assert failure.lines[-1] == "... and 20 more unexpected"
    assert describe_records("rows", [record()] * 12, why)[-1] == "... and 2 more not shown"


@pytest.mark.parametrize(
    ("operator", "left", "right"),
    [
        ("==", 1, 2),
        ("==", [], []),
        ("==", [{"a": 1}], [{"a": 2}]),
        ("==", record(), 5),
        ("==", records(), "text"),
        ("!=", record(), record()),
        ("<", records(), records()),
        ("in", 5, records()),
        ("in", {"a": 1}, [{"a": 2}]),
        ("==", records(record()), [1]),
    ],
    ids=str,
)
def test_what_is_no_comparison_of_records(operator: str, left: object, right: object) -> None:
    assert explain_comparison(operator, left, right, why, nowhere) is None


def test_what_records_are() -> None:
    assert is_records(records())
    assert is_records([record()])
    assert not is_records([])
    assert not is_records([record(), {}])
    assert not is_records("text")
