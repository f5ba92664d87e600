"""Ground truth and scores of the attack scenarios, without a lab."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.truth import Score, Truth

NAMES = "abcdef"
SENT = st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1)


def truth_of(sent: dict[str, tuple[int, int]]) -> Truth:
    truth = Truth("srcaddr")
    for name, (bad, good) in sent.items():
        truth.bad(bad, name)
        truth.good(good, name)
    return truth


@pytest.mark.parametrize(
    ("flagged", "wanted", "precision", "recall"),
    [
        ([], Score(0, 10, 0), None, 0.0),
        (["scanner"], Score(10, 0, 0), 1.0, 1.0),
        (["scanner", "checker"], Score(10, 0, 30), 0.25, 1.0),
        (["checker"], Score(0, 10, 30), 0.0, 0.0),
        (["scanner", "scanner"], Score(10, 0, 0), 1.0, 1.0),
    ],
    ids=["nobody", "right", "too many", "wrong", "twice"],
)
def test_scores(flagged: Sequence[str], wanted: Score, precision: float | None, recall: float) -> None:
    truth = truth_of({"scanner": (10, 0), "checker": (0, 30)})
    score = truth.score([{"srcaddr": name, "packets": 1} for name in flagged])
    assert (score, score.precision, score.recall) == (wanted, precision, recall)


def test_who_sent_nothing_cannot_be_accused() -> None:
    truth = truth_of({"scanner": (10, 0)})
    with pytest.raises(AssertionError, match="flagged, but they sent nothing"):
        truth.score([{"srcaddr": "victim"}])


@given(sent=SENT, data=st.data())
def test_every_packet_is_judged_once(sent: dict[str, tuple[int, int]], data: st.DataObject) -> None:
    """Flagged and not flagged together are all packets, and more accused never means less found."""
    truth = truth_of(sent)
    present = sorted(name for name, packets in sent.items() if sum(packets))
    accused = data.draw(st.sets(st.sampled_from(present))) if present else set()
    some = truth.score([{"srcaddr": name} for name in accused])
    rest = truth.score([{"srcaddr": name} for name in set(present) - accused])
    bad, good = (sum(packets[at] for packets in sent.values()) for at in (0, 1))
    assert some.found + some.missed == bad
    assert some.found + rest.found == bad
    assert some.false_alarms + rest.false_alarms == good
