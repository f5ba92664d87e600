"""Kernel entries to records: merging them, and what each column holds."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.capture import schema
from emulator.fabric import marks
from emulator.fabric.shapes6 import FLOW6
from emulator.fabric.tables import FLOW, UNKNOWN_FLAGS

CONSTANTS = {
    "lab": "lab-1",
    "flow_log_id": "fl-1",
    "account_id": "1251762227",
    "region": "ap-guangzhou",
    "vpc_id": "vpc-1",
    "subnet_id": "subnet-1",
    "cvm_id": "ins-1",
    "eni_id": "eni-1",
    "start": 300,
    "end": 600,
}

# Few values, so that equal keys are common.
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(
            [rule | way | verdict for rule in (1, 2, 65_535) for way in (0, marks.IN) for verdict in (0, marks.REJECT)]
        ),
        st.sampled_from([1, 6, 17, 47]),
        st.sampled_from([0x0A000001, 0xFFFFFFFF]),
        st.sampled_from([0x0A000002, 0]),
        st.sampled_from([0, 65_535]),
        st.sampled_from([0, 443]),
        st.integers(1, 2**40),
        st.integers(20, 2**50),
    ),
    max_size=40,
)


def flows(entries: list[tuple[int, ...]]) -> schema.Flows:
    """Entries without flags, of tables that keep none."""
    return np.array([(*entry, UNKNOWN_FLAGS) for entry in entries], FLOW)


def by_dict(entries: list[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[int, int, int]]:
    """The same by a dict: (key without rule) → (rule of the most packets, packets, bytes)."""
    sums: dict[tuple[int, ...], dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for mark, *rest, packets, size in entries:
        of_rule = sums[(mark & ~marks.RULE, *rest)][mark & marks.RULE]
        of_rule[0] += packets
        of_rule[1] += size
    merged = {}
    for key, rules in sums.items():
        rule = max(rules, key=lambda number: (rules[number][0], -number))
        merged[key] = rule, sum(one[0] for one in rules.values()), sum(one[1] for one in rules.values())
    return merged


@given(entries=ENTRIES, cut=st.integers(0, 40))
def test_merging_is_a_sum_by_key(entries: list[tuple[int, ...]], cut: int) -> None:
    merged = schema.merge([flows(entries[:cut]), flows(entries[cut:])])

    found = {
        (int(mark) & ~marks.RULE, *map(int, rest)): (int(mark) & marks.RULE, int(packets), int(size))
        for mark, *rest, packets, size, _ in merged.tolist()
    }
    assert found == by_dict(entries)
    assert len(found) == len(merged)


@given(entries=ENTRIES, data=st.data())
def test_the_order_and_the_cuts_of_entries_do_not_matter(entries: list[tuple[int, ...]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(entries))
    cut = data.draw(st.integers(0, len(entries)))

    assert (
        schema.merge([flows(entries)]).tolist() == schema.merge([flows(shuffled[cut:]), flows(shuffled[:cut])]).tolist()
    )


def test_the_rule_that_saw_most_packets_stays_over_several_cuts() -> None:
    one = [(1, 6, 1, 2, 3, 4, 3, 120), (2, 6, 1, 2, 3, 4, 5, 200)]
    two = [(1, 6, 1, 2, 3, 4, 3, 120)]

    (entry,) = schema.merge([flows(one), flows(two)])

    assert (int(entry["mark"]), int(entry["packets"]), int(entry["bytes"])) == (1, 11, 440)


def test_nothing_merges_to_nothing() -> None:
    assert len(schema.merge([flows([]), flows([])])) == 0


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_addresses_are_written_as_python_writes_them(addresses: list[int]) -> None:
    assert schema.dotted(np.array(addresses, "u4")).to_pylist() == [str(IPv4Address(one)) for one in addresses]


@pytest.mark.parametrize(
    ("protocol", "ports", "icmp"),
    [
        pytest.param(6, True, False, id="tcp"),
        pytest.param(17, True, False, id="udp"),
        pytest.param(33, True, False, id="dccp"),
        pytest.param(132, True, False, id="sctp"),
        pytest.param(136, True, False, id="udp-lite"),
        pytest.param(1, False, True, id="icmp"),
        pytest.param(0, False, False, id="hop-by-hop"),
        pytest.param(47, False, False, id="gre"),
        pytest.param(50, False, False, id="esp"),
        pytest.param(58, False, False, id="icmpv6 in IPv4"),
        pytest.param(255, False, False, id="reserved"),
    ],
)
def test_only_what_a_protocol_has_is_filled_in(protocol: int, ports: bool, icmp: bool) -> None:
    (row,) = schema.records(flows([(7, protocol, 1, 2, 1000, 2048, 1, 84)]), CONSTANTS).to_pylist()

    assert (row["srcport"], row["dstport"]) == ((1000, 2048) if ports else (None, None))
    assert (row["icmp_id"], row["icmp_type_code"]) == ((1000, 2048) if icmp else (None, None))
    assert row["protocol"] == protocol


@pytest.mark.parametrize(
    ("mark", "direction", "action", "rule"),
    [
        pytest.param(5, "out", "ACCEPT", 5, id="out accepted"),
        pytest.param(5 | marks.IN, "in", "ACCEPT", 5, id="in accepted"),
        pytest.param(65_535 | marks.REJECT, "out", "REJECT", 65_535, id="out rejected"),
        pytest.param(1 | marks.IN | marks.REJECT, "in", "REJECT", 1, id="in rejected"),
    ],
)
def test_the_mark_tells_direction_action_and_rule(mark: int, direction: str, action: str, rule: int) -> None:
    (row,) = schema.records(flows([(mark, 6, 1, 2, 3, 4, 2, 80)]), CONSTANTS).to_pylist()

    assert (row["direction"], row["action"], row["rule"], row["log_status"]) == (direction, action, rule, "OK")


def test_a_record_has_every_column_of_the_schema() -> None:
    table = schema.records(flows([(5, 6, 0x0A100016, 0x0A100028, 1, 2, 3, 4)]), CONSTANTS)

    assert table.schema == schema.RECORD
    assert table.to_pylist() == [
        {
            **CONSTANTS,
            "direction": "out",
            "ip_version": 4,
            "protocol": 6,
            "srcaddr": "10.16.0.22",
            "dstaddr": "10.16.0.40",
            "srcport": 1,
            "dstport": 2,
            "icmp_id": None,
            "icmp_type_code": None,
            "packets": 3,
            "bytes": 4,
            "action": "ACCEPT",
            "log_status": "OK",
            "tcp_flags": None,
            "rule": 5,
            "path": None,
            "skipped": None,
        }
    ]


def test_remarks_are_rows_without_packets() -> None:
    rows = schema.remarks(
        [{**CONSTANTS, "log_status": "NODATA"}, {**CONSTANTS, "log_status": "SKIPDATA", "skipped": 9}]
    )

    assert rows.schema == schema.RECORD
    assert [row["log_status"] for row in rows.to_pylist()] == ["NODATA", "SKIPDATA"]
    assert all(row["packets"] is row["srcaddr"] is row["action"] is None for row in rows.to_pylist())


def test_idle_windows_are_a_row_each() -> None:
    rows = schema.idle(range(600, 1201, 300), 300, {**CONSTANTS, "start": 0, "end": 0}).to_pylist()

    assert [(row["start"], row["end"], row["log_status"]) for row in rows] == [
        (300, 600, "NODATA"),
        (600, 900, "NODATA"),
        (900, 1200, "NODATA"),
    ]
    assert all(row["packets"] is row["direction"] is None for row in rows)


def test_flags_of_the_form_without_icmp_numbers_leave_the_original_alone() -> None:
    one = flows([(5, 1, 1, 2, 77, 2048, 9, 756), (5, 17, 1, 2, 77, 2048, 1, 28)])

    plain = schema.without_icmp_numbers(one)

    assert plain[["sport", "dport"]].tolist() == [(0, 0), (77, 2048)]
    assert one[["sport", "dport"]].tolist() == [(77, 2048), (77, 2048)]


def halves(address: str) -> tuple[int, int]:
    number = int(IPv6Address(address))
    return number >> 64, number & 2**64 - 1


def flows6(*entries: tuple[int, int, str, str, int, int, int, int]) -> schema.Flows:
    made = [
        (mark, protocol, *halves(src), *halves(dst), *rest, UNKNOWN_FLAGS)
        for mark, protocol, src, dst, *rest in entries
    ]
    return np.array(made, FLOW6)


def test_flows_of_ipv6_become_records() -> None:
    one, other = "2001:db8::16", "2001:db8:0:1::28"
    found = flows6(
        (5 | marks.IN, 58, one, other, 0x1234, 0x8000, 2, 208),
        (5 | marks.IN, 58, one, other, 0x1234, 0x8000, 1, 104),
        (7 | marks.REJECT, 17, other, one, 53, 1, 1, 48),
        (7, 1, other, one, 0, 0, 1, 40),
    )
    rows = schema.records(schema.merge([found[:2], found[2:]]), CONSTANTS).to_pylist()
    told = ("ip_version", "protocol", "srcaddr", "srcport", "icmp_id", "icmp_type_code", "packets", "bytes", "action")
    assert [tuple(row[name] for name in told) for row in rows] == [
        (6, 1, other, None, None, None, 1, 40, "ACCEPT"),
        (6, 17, other, 53, None, None, 1, 48, "REJECT"),
        (6, 58, one, None, 0x1234, 0x8000, 3, 312, "ACCEPT"),
    ]


def test_icmpv6_of_one_way_is_one_record_where_no_numbers_are_shown() -> None:
    found = flows6(
        (5, 58, "2001:db8::1", "2001:db8::2", 1, 0x8000, 1, 104),
        (5, 58, "2001:db8::1", "2001:db8::2", 2, 0x0104, 1, 90),
    )
    merged = schema.merge([schema.without_icmp_numbers(found)])
    assert merged[["packets", "bytes"]].tolist() == [(2, 194)]
