"""Window arithmetic against brute force and against what a window is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.capture.windows import ends_between, window_end, window_start

LENGTHS = st.sampled_from((60, 300, 600))
NOWS = st.floats(0, 2**33) | st.integers(0, 2**33)


@given(now=NOWS, length=LENGTHS)
def test_every_instant_lies_in_exactly_one_window(now: float, length: int) -> None:
    start, end = window_start(now, length), window_end(now, length)

    assert start <= now < end
    assert (end - start, start % length) == (length, 0)


@given(number=st.integers(1, 2**33 // 600), length=LENGTHS)
def test_a_window_holds_its_start_and_not_its_end(number: int, length: int) -> None:
    end = number * length

    assert window_start(end, length) == end
    assert window_start(math.nextafter(end, 0), length) == end - length
    assert window_end(math.nextafter(end, 0), length) == end


@given(after=st.floats(0, 20_000), step=st.floats(0, 20_000), length=LENGTHS)
def test_ends_between_agrees_with_brute_force(after: float, step: float, length: int) -> None:
    until = after + step

    assert list(ends_between(after, until, length)) == [end for end in range(0, 41_000, length) if after < end <= until]


@given(cuts=st.lists(st.floats(0, 5_000), min_size=2, max_size=8).map(sorted), length=LENGTHS)
def test_steps_meet_every_end_once_however_time_is_cut(cuts: list[float], length: int) -> None:
    stepwise = [end for i in range(1, len(cuts)) for end in ends_between(cuts[i - 1], cuts[i], length)]

    assert stepwise == list(ends_between(cuts[0], cuts[-1], length))


@pytest.mark.parametrize(
    ("after", "until", "ends"),
    [
        pytest.param(0, 0, [], id="no time passes"),
        pytest.param(0, 299.999, [], id="just before the end"),
        pytest.param(0, 300, [300], id="the end itself"),
        pytest.param(300, 300, [], id="an end that was met already"),
        pytest.param(299.5, 900, [300, 600, 900], id="three"),
        pytest.param(1_763_000_010.25, 1_763_000_400, [1_763_000_100, 1_763_000_400], id="in our century"),
    ],
)
def test_ends(after: float, until: float, ends: list[int]) -> None:
    assert list(ends_between(after, until, 300)) == ends
