"""Two labs at once in one process, six processes at once: the same records, nothing shared, nothing left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import measure
import story
from measure import Figures

import emulator
from emulator.fabric.client import keeper

PROCESSES = 6
PATIENCE_S = 10.0


def test_labs_at_once_do_not_meet_and_leave_nothing(figures: Figures) -> None:
    story.story()
    before = what_is_here()
    begun = measure.now()
    alone = story.story()
    one_s = measure.now() - begun
    begun = measure.now()
    two = two_labs()
    two_s = measure.now() - begun
    begun = measure.now()
    six, keepers = six_processes()
    six_s = measure.now() - begun
    gone_s = until_gone(keepers)
    figures.note("at once", one_lab_s=one_s, two_labs_s=two_s, six_processes_s=six_s, gone_after_s=gone_s)

    assert len(alone) == 2  # the datagrams where they left A, and where they reached B
    assert all(line.split()[8] == str(story.DATAGRAMS) for line in alone)
    assert two == [alone] * 2
    assert six == [alone] * PROCESSES
    assert len(set(keepers)) == PROCESSES
    assert what_is_here() == before


def two_labs() -> list[list[str]]:
    """Records of two labs in threads of this process, which stand at the same time."""
    both = threading.Barrier(2, timeout=PATIENCE_S)
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda _: story.story(both.wait), range(2)))


def six_processes() -> tuple[list[list[str]], list[int]]:
    """Records of as many processes, whose labs stand at the same time, and the process ids of their keepers."""
    command = [sys.executable, "-W", "ignore", story.__file__]
    env = {**os.environ, "PYTHONPATH": str(Path(emulator.__file__).parents[1])}  # installed or not
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(PROCESSES)
    ]
    keepers = [json.loads(one.stdout.readline()) for one in running if one.stdout is not None]
    return [json.loads(one.communicate("\n")[0]) for one in running], keepers


def until_gone(processes: list[int]) -> float:
    """Seconds until none of these keepers is there any more."""
    begun = measure.now()
    while any(is_keeper(pid) for pid in processes):
        assert measure.now() - begun < PATIENCE_S, "keepers outlive their callers"
        time.sleep(0.01)
    return measure.now() - begun


def is_keeper(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "vpclab-keeper"
    except OSError:
        return False


def what_is_here() -> dict[str, object]:
    """What a lab must not leave behind: namespaces at the keeper, links, mounts, children of this process."""
    return {
        "namespaces": keeper().spaces(),
        "links": sorted(one.name for one in Path("/sys/class/net").iterdir()),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "children": sorted(
            child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()
        ),
    }
