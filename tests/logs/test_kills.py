"""kill -9 at random instants while batches are written, delivered and compacted: nothing is lost, nothing is twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import environment


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.long)])
def test_kills_lose_nothing_and_double_nothing(kills: int, tmp_path: Path) -> None:
    program = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "logs"), str(kills), str(os.getpid())],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{kills} kills")
