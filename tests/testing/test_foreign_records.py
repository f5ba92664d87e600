"""Expectations of records from anywhere, as text and as numbers: no lab, no kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.errors import InvalidValue
from emulator.testing import ExpectationFailed, Way, at_least, at_most, between, exactly, expect

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def record(src: str, dst: str, eni: str, action: str = "ACCEPT", packets: int = 9, **more: Any) -> dict[str, Any]:
    fields = {"interface-id": eni, "srcaddr": src, "dstaddr": dst, "srcport": 4000, "dstport": 443, "protocol": 6}
    counted = {"packets": packets, "bytes": packets * 60, "start": 0, "end": 60, "action": action, "log-status": "OK"}
    return fields | counted | more


def nodata(eni: str, status: str = "NODATA") -> dict[str, Any]:
    nothing = dict.fromkeys(("srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "action"), "-")
    return {"interface-id": eni, "start": 0, "end": 60, "log-status": status, **nothing}


SENT = [record(A, B, "eni-a"), record(A, B, "eni-b")]
STOPPED = [record(A, B, "eni-a"), record(A, B, "eni-b", "REJECT")]
HALF = [record(A, B, "eni-a"), record(A, B, "eni-b", packets=5), record(A, B, "eni-b", "REJECT", 4)]
WINDOWS = [record(A, B, "eni-a", packets=4), record(A, B, "eni-a", packets=5, start=60, end=120)]


@pytest.mark.parametrize(
    ("records", "counts"),
    [
        pytest.param(SENT, {}, id="any number"),
        pytest.param(SENT, {"packets": 9, "bytes": 540}, id="exact"),
        pytest.param(SENT, {"packets": between(8, 9)}, id="between"),
        pytest.param(SENT, {"packets": at_least(9), "bytes": at_most(540)}, id="bounds"),
        pytest.param(WINDOWS, {"packets": 9}, id="summed over windows"),
        pytest.param(HALF, {}, id="accepted in part"),
    ],
)
def test_accepted(records: list[dict[str, Any]], counts: dict[str, Any]) -> None:
    found = expect(Way(A, B), records=records).tcp(443).accept(**counts)

    assert {one["action"] for one in found.records} == {"ACCEPT"}


@pytest.mark.parametrize(
    ("records", "counts", "said"),
    [
        pytest.param(SENT, {"packets": 8}, "packets: 9, wanted 8", id="another number"),
        pytest.param(STOPPED, {}, "counted at eni-b: ACCEPT 0 packets, 0 bytes, REJECT 9 packets", id="stopped"),
        pytest.param(HALF, {"packets": 9}, "counted at eni-b: ACCEPT 5 packets, 300 bytes", id="half of it"),
        pytest.param([], {}, "no record was found", id="nothing"),
        pytest.param([record(A, C, "eni-a")], {}, "dstaddr: '10.0.0.3', wanted '10.0.0.2'", id="elsewhere"),
    ],
)
def test_not_accepted(records: list[dict[str, Any]], counts: dict[str, Any], said: str) -> None:
    with pytest.raises(ExpectationFailed) as caught:
        expect(Way(A, B), records=records).tcp(443).accept(**counts)

    assert str(caught.value).startswith(f"expected {A} >> {B}, tcp, port 443: ACCEPT")
    assert said in str(caught.value)
    assert json.loads(caught.value.json()) == caught.value.report


def test_rejected_is_what_one_end_rejected() -> None:
    expect(Way(A, B), records=STOPPED).reject(packets=9)
    expect(Way(A, B), records=HALF).reject(packets=4)
    with pytest.raises(ExpectationFailed):
        expect(Way(A, B), records=SENT).reject()
    with pytest.raises(ExpectationFailed):
        expect(Way(A, B), records=STOPPED).on("eni-a").reject()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(lambda one: one.udp(443), id="protocol"),
        pytest.param(lambda one: one.tcp(444), id="port"),
        pytest.param(lambda one: one.tcp(source=4001), id="source port"),
        pytest.param(lambda one: one.on("eni-c"), id="eni"),
        pytest.param(lambda one: one.within((60, 120)), id="window"),
        pytest.param(lambda one: one.within(record(A, B, "x", start=30, end=90)), id="a record's window"),
    ],
)
def test_each_word_narrows(words: Any) -> None:
    expect(Way(A, B), records=SENT).tcp(443, source=4000).on("eni-a").within((0, 60)).accept()
    with pytest.raises(ExpectationFailed):
        words(expect(Way(A, B), records=SENT)).accept()


def test_ends_may_be_networks() -> None:
    expect(Way("10.0.0.0/30", "0.0.0.0/0"), records=SENT).accept(packets=9)


def test_text_and_dashes_as_in_an_exported_file() -> None:
    as_text = [{name: str(value) for name, value in one.items()} for one in SENT]

    expect(Way(A, B), records=[*as_text, nodata("eni-a")]).tcp(443).accept(packets=9)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        pytest.param([record(A, B, "eni-a")], "found: ", id="it was seen"),
        pytest.param([], "cannot be told: nothing at all was recorded", id="nothing was recorded"),
        pytest.param([nodata("eni-c"), nodata("eni-a", "SKIPDATA")], "where packets were skipped", id="skipped"),
        pytest.param([record(A, C, "eni-a", start=60, end=120)], "nothing at all", id="recorded at another time"),
    ],
)
def test_never_needs_canaries(records: list[dict[str, Any]], said: str) -> None:
    expect(Way(A, B), records=[record(A, C, "eni-a")]).within((0, 60)).never()
    expect(Way(A, B), records=[nodata("eni-a")]).within((0, 60)).never()
    with pytest.raises(ExpectationFailed, match=said):
        expect(Way(A, B), records=records).within((0, 60)).never()


def test_exactly_these_and_nothing_else() -> None:
    records = [*STOPPED, nodata("eni-c")]
    sent, stopped = expect(Way(A, B), records=records).on("eni-a"), expect(Way(A, B), records=records).on("eni-b")

    exactly(sent.accept(), stopped.reject())
    with pytest.raises(ExpectationFailed, match=r"unexpected: eni-b .* 443 6 9 540 0 60 REJECT OK"):
        exactly(sent.accept())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param(lambda: expect("a >> b"), "give a way", id="no way"),  # type: ignore[arg-type]
        pytest.param(lambda: expect(Way("10.0.0", B), records=SENT), "no address", id="no address"),
        pytest.param(lambda: expect(Way(A, 7), records=SENT), "no end of a way", id="no end"),  # type: ignore[arg-type]
        pytest.param(lambda: expect(Way(A, B)), "of which lab", id="no records"),
        pytest.param(lambda: expect(Way(A, B), records=[{"a": 1}]), "no flow record: it has no", id="no flow record"),
        pytest.param(lambda: expect(Way(A, B), records=[record(A, B, "e", packets="x")]), "a number", id="no number"),  # type: ignore[arg-type]
        pytest.param(lambda: expect(Way(A, B), records=SENT).tcp(65_536), "0 to 65535", id="no port"),
        pytest.param(lambda: expect(Way(A, B), records=SENT).within((5, 5)), "no window", id="no window"),
        pytest.param(lambda: expect(Way(A, B), records=SENT).accept(packets=0), "never", id="none accepted"),
        pytest.param(lambda: expect(Way(A, B), records=SENT).accept(packets=between(5, 4)), "5 to 4", id="empty range"),
        pytest.param(lambda: expect(Way(A, B), records=SENT).accept(packets=9.0), "whole", id="no whole number"),  # type: ignore[arg-type]
        pytest.param(lambda: expect(Way(A, B), records=[]).accept(packets=9, bytes=179), "never hold", id="too short"),
        pytest.param(lambda: expect(Way(A, B), records=SENT).accept(by="rule 1"), "give a rule", id="by nobody"),
        pytest.param(exactly, "give what expect", id="exactly nothing"),
    ],
)
def test_what_can_never_hold_is_refused_at_once(wrong: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        wrong()
