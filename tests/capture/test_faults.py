"""Publishes that go wrong on order, in a process that is killed meanwhile: nothing is lost, and nothing is twice that
was not ordered so."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from emulator.capture.faults import Faults, Order, PublishFault
from emulator.capture.spool import Spool

WINDOWS = {600: "first", 900: "second", 1200: "third"}
ROWS = 3


class Killed(BaseException):
    """No step of the process comes after it."""


class Life:
    """A topic that outlives its processes, and knows the keys of what it took; and the steps that a process takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: dict[str, list[int]] = {}
        self.steps, self.kill_at = 0, 0
        for name in ("rename", "unlink"):
            monkeypatch.setattr(Path, name, self._counted(getattr(Path, name)))

    def append(self, topic_id: str, form: str, table: pa.Table, key: str, due_s: int) -> None:
        self._step()
        self.taken.setdefault(key, table["n"].to_pylist())

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.kill_at:
            raise Killed

    def _counted(self, does: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self._step()
            return does(*args, **options)

        return counted


@pytest.mark.parametrize("fault", ["late", "cut", "reordered", "duplicated"])
def test_a_kill_between_any_two_steps(fault: PublishFault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life, kill_at, ended = Life(monkeypatch), 0, False
    while not ended:
        kill_at += 1
        folder = tmp_path / str(kill_at)
        life.taken, life.kill_at = {}, 0
        spool = Spool(folder)
        for number, (due_s, key) in enumerate(WINDOWS.items()):
            rows = range(number * ROWS, number * ROWS + ROWS)
            spool.put(due_s, "topic", "tencent", pa.table({"n": list(rows)}), key)
        faults = Faults(spool)
        faults.orders.append(Order(fault, 2, 60, None))
        life.steps, life.kill_at = 0, kill_at
        try:
            for now_s in (600, 960, 9999):
                faults.publish(now_s, life.append)
            ended = True
        except Killed:
            life.kill_at = 0
            Faults(Spool(folder)).publish(9999, life.append)
        times = collections.Counter(n for rows in life.taken.values() for n in rows)
        assert set(times) == set(range(len(WINDOWS) * ROWS)), f"killed before step {kill_at}"
        assert set(times.values()) == {1} or fault == "duplicated", f"killed before step {kill_at}"
        assert list(folder.iterdir()) == []
    assert kill_at > len(WINDOWS)


def test_what_waits_when_authorization_is_gone_never_comes() -> None:
    taken: list[str] = []
    spool = Spool()
    spool.put(600, "topic", "tencent", pa.table({"n": [1]}), "waits")
    faults = Faults(spool)
    faults.orders.append(Order("reordered", 2, 0, None))
    faults.publish(600, lambda *given: taken.append(given[3]))
    faults.authorized = False
    faults.cancel(lambda *given: taken.append(given[3]))
    assert (taken, spool.next_due()) == ([], None)
