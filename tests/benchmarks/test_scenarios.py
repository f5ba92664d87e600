"""All scenarios under all profiles, by pytest, with one worker and with two; how long each alone takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import measure
from measure import Figures

ROOT = Path(__file__).parents[2]
WITHIN_S = 60.0
"""All of them, on two processors; kept as a figure, asserted with the room that a loaded machine needs."""
ROOM = 3
AT_LEAST = 1.6
"""Two workers : one."""
EACH_S = 3.0
FLOODS = ("skipdata", "broadcast-storm")
"""They take what the flood takes."""
ROUNDS = 3

_TESTS = "tests/test_scenarios.py::test_it_holds"
_DURATION = re.compile(r"^([\d.]+)s call +\S+\[(\S+)-(\w+)\]$", re.MULTILINE)


def test_all_scenarios(figures: Figures) -> None:
    said: list[str] = []

    def run(workers: int) -> float:
        command = [sys.executable, "-m", "pytest", _TESTS, "-q", "-n", str(workers), "-p", "no:cacheprovider"]
        asked = [*command, "--durations=0"]
        return measure.timed(
            lambda: said.append(subprocess.run(asked, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)
        )

    took = measure.in_turns(ROUNDS, one=lambda: run(1), two=lambda: run(2))
    each = {f"{name} {profile}": float(seconds) for seconds, name, profile in _DURATION.findall(said[-1])}
    slow = {name: seconds for name, seconds in each.items() if seconds > EACH_S and not name.startswith(FLOODS)}
    ratio = measure.ratio(took["one"], took["two"])
    figures.note(
        "scenarios",
        runs=len(each),
        one_worker_s=median(took["one"]),
        two_workers_s=median(took["two"]),
        ratio=ratio,
        longest_s=max(each.values()),
    )
    assert len(each) > 50
    assert ratio >= AT_LEAST
    assert median(took["two"]) <= WITHIN_S * ROOM
    assert not slow
