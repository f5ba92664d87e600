"""A kill between any two steps of a delivery: no record is left out, and none is there twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import environment
from tests.logs.delivery.seaweed import Seaweed


def killed(folder: Path, where: str, kills: int) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("steps.py")), str(folder), where, str(kills)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"of {kills} killed" in done.stdout


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.long)])
def test_in_a_folder(kills: int, tmp_path: Path) -> None:
    killed(tmp_path / "data", str(tmp_path / "out"), kills)


def test_in_a_bucket(server: Seaweed, tmp_path: Path) -> None:
    server.make_bucket("killed")
    try:
        killed(tmp_path / "data", server.endpoint, 8)
    finally:
        server.remove_bucket("killed")
