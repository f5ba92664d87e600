"""Lab time without a lab: what settles when, and what is no time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.capture.windows import ends_between
from emulator.clock import FASTEST, LONGEST_ADVANCE_S, Clock, check_speed
from emulator.errors import ClockError, LabClosed

START = 1_763_000_010.0
BOUND_S = 20.0


class Events:
    """Something that happens every ``every_s`` seconds of lab time, and notes when it was told."""

    def __init__(self, every_s: int | None = 300) -> None:
        self.every_s, self.seen = every_s, START
        self.told: list[float] = []
        self.happened: list[int] = []
        self.changed = threading.Condition()
        self.refuse: Exception | None = None

    def settle(self, now_s: float) -> None:
        with self.changed:
            self.told.append(now_s)
            if self.refuse is not None:
                self.changed.notify_all()
                raise self.refuse
            if self.every_s is not None:
                self.happened += ends_between(self.seen, now_s, self.every_s)
            self.seen = max(self.seen, now_s)
            self.changed.notify_all()

    def next_event(self) -> int | None:
        return None if self.every_s is None else ends_between(self.seen, self.seen + self.every_s, self.every_s)[0]

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, BOUND_S), f"nothing came in {BOUND_S} s: {self.told}"


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[Clock, Events]]]:
    clocks = []

    def make(speed: float | None = None, every_s: int | None = 300) -> tuple[Clock, Events]:
        events = Events(every_s)
        clock = Clock(START, speed=speed, settle=events.settle, next_event=events.next_event, lock=threading.RLock())
        clocks.append(clock)
        return clock, events

    yield make
    for clock in clocks:
        clock.close()


def test_a_manual_clock_stands_still(start: Callable[..., tuple[Clock, Events]]) -> None:
    clock, events = start()

    assert clock.now == clock.now == START
    assert events.told == []


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        pytest.param({"seconds": 1}, 1, id="seconds"),
        pytest.param({"seconds": 0.25}, 0.25, id="a part of one"),
        pytest.param({"minutes": 15}, 900, id="minutes"),
        pytest.param({"hours": 2}, 7200, id="hours"),
        pytest.param({"days": 366}, LONGEST_ADVANCE_S, id="a year"),
        pytest.param({"days": 1, "hours": 1, "minutes": 1, "seconds": 1}, 90_061, id="all together"),
        pytest.param({"minutes": 5, "seconds": -30}, 270, id="five minutes less thirty seconds"),
        pytest.param({}, 0, id="nothing"),
    ],
)
def test_it_moves_by_what_it_is_told(
    start: Callable[..., tuple[Clock, Events]], step: dict[str, float], seconds: float
) -> None:
    clock, events = start()

    clock.advance(**step)

    assert clock.now == START + seconds
    assert events.told == [START + seconds]


def test_an_advance_over_many_events_meets_each_once_and_in_order(start: Callable[..., tuple[Clock, Events]]) -> None:
    clock, events = start()

    for minutes in (1, 60, 0, 3, 90):
        clock.advance(minutes=minutes)

    assert events.happened == list(range(1_763_000_100, int(clock.now) + 1, 300))


@pytest.mark.parametrize(
    "step",
    [
        pytest.param({"seconds": -1}, id="backwards"),
        pytest.param({"minutes": 1, "seconds": -61}, id="backwards in sum"),
        pytest.param({"seconds": float("nan")}, id="nan"),
        pytest.param({"minutes": float("inf")}, id="for ever"),
        pytest.param({"minutes": float("-inf")}, id="for ever backwards"),
        pytest.param({"seconds": True}, id="a truth"),
        pytest.param({"seconds": "900"}, id="text"),
        pytest.param({"seconds": None}, id="none"),
        pytest.param({"seconds": Fraction(1, 2)}, id="a fraction"),
        pytest.param({"days": 365_250}, id="a thousand years"),
        pytest.param({"days": 366, "seconds": 1}, id="a second more than a year"),
        pytest.param({"seconds": 10**400}, id="more than a float holds"),
        pytest.param({"days": 1e308}, id="a float that overflows"),
    ],
)
def test_what_is_no_step_is_refused_and_nothing_moves(
    start: Callable[..., tuple[Clock, Events]], step: dict[str, float]
) -> None:
    clock, events = start()

    with pytest.raises(ClockError, match="advance"):
        clock.advance(**step)

    assert clock.now == START
    assert events.told == []


@given(steps=st.lists(st.floats(0, 4000), max_size=8))
def test_events_do_not_depend_on_the_steps(steps: list[float]) -> None:
    events = Events()
    clock = Clock(START, settle=events.settle, next_event=events.next_event, lock=threading.RLock())

    for step in steps:
        clock.advance(seconds=step)

    assert events.happened == list(ends_between(START, clock.now, 300))


def test_time_stands_where_settling_failed_and_it_can_be_tried_again(
    start: Callable[..., tuple[Clock, Events]],
) -> None:
    clock, events = start()
    events.refuse = OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        clock.advance(minutes=10)
    assert clock.now == START
    events.refuse = None
    clock.advance(minutes=10)

    assert events.happened == [1_763_000_100, 1_763_000_400]


def test_a_running_clock_meets_its_events_by_itself(start: Callable[..., tuple[Clock, Events]]) -> None:
    clock, events = start(speed=10_000)

    events.wait(lambda: len(events.happened) >= 5)

    assert events.happened[:5] == list(range(1_763_000_100, 1_763_001_301, 300))
    assert clock.now >= events.happened[-1]


def test_a_running_clock_can_be_advanced_as_well(start: Callable[..., tuple[Clock, Events]]) -> None:
    clock, events = start(speed=0.001)

    clock.advance(hours=1)

    assert START + 3600 <= clock.now < START + 3660
    assert events.happened == list(range(1_763_000_100, 1_763_003_401, 300))
    events.wait(lambda: events.told[-1] >= START + 3600)


def test_a_running_clock_without_events_waits_to_be_woken(start: Callable[..., tuple[Clock, Events]]) -> None:
    clock, events = start(speed=100_000, every_s=None)

    with clock._changed:
        events.every_s = 300
        clock.wake()

    events.wait(lambda: len(events.happened) >= 2)


def test_what_stopped_a_running_clock_is_told_to_the_next_caller(start: Callable[..., tuple[Clock, Events]]) -> None:
    clock, events = start(speed=100_000, every_s=None)
    with clock._changed:
        events.refuse, events.every_s = OSError("disk full"), 300
        clock.wake()
    events.wait(lambda: bool(events.told))

    with pytest.raises(ClockError, match="stopped: disk full"):
        clock.advance(seconds=1)


def test_a_closed_clock_says_so_and_may_be_closed_again(start: Callable[..., tuple[Clock, Events]]) -> None:
    for speed in (None, 1000.0):
        clock, _ = start(speed=speed)
        clock.close()
        clock.close()

        with pytest.raises(LabClosed, match="open a new lab"):
            clock.advance(seconds=1)


@pytest.mark.parametrize(
    "speed", [0, -1, float("nan"), float("inf"), 10**400, FASTEST * 1.01, True, "fast", Fraction(1, 2)], ids=str
)
def test_what_is_no_speed_is_refused(speed: object) -> None:
    with pytest.raises(ClockError, match="speed="):
        check_speed(speed)  # type: ignore[arg-type]


@pytest.mark.parametrize(("speed", "taken"), [(None, None), (1, 1.0), (0.5, 0.5), (FASTEST, FASTEST), (5e-324, 5e-324)])
def test_what_is_a_speed_is_taken(speed: float | None, taken: float | None) -> None:
    assert check_speed(speed) == taken
