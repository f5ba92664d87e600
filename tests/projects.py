"""Projects of vpclab's users: a folder with tests of their own, in which a pytest runs with the plugin installed."""

from __future__ import annotations

import importlib.metadata
import os
import time
from pathlib import Path

import pytest

from tests import warm
from tests.children import REPOSITORY, WITHOUT

CLOUD = """
import pytest

@pytest.fixture
def rows(lab):
    subnet = lab.create_vpc("10.16.0.0/16", name="demo").create_subnet("10.16.0.0/24")
    a = subnet.run_instance("A", private_ip="10.16.0.22")
    b = subnet.run_instance("B", private_ip="10.16.0.40")
    topic = lab.logs.create_topic("accept", logset="demo")
    a.eni.create_flow_log("ping", topic=topic, traffic="ACCEPT")
    assert a.ping(b, count=9).received == 9
    lab.clock.advance(minutes=15)
    return topic.search("10.16.0.40")
"""
"""A test file's beginning: A has pinged B nine times, and ``rows`` are the records."""


@pytest.fixture(scope="session")
def python_path(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What PYTHONPATH needs for a project to have vpclab installed; nothing where it is."""
    points = importlib.metadata.entry_points(group="pytest11", name="vpclab")
    if points:
        return []
    folder = tmp_path_factory.mktemp("installed")
    install(folder)
    return [str(folder), str(REPOSITORY)]


def install(folder: Path) -> None:
    """What an installation of vpclab tells pytest."""
    info = folder / "vpclab-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vpclab\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[pytest11]\nvpclab = emulator.pytest_plugin\n")


@pytest.fixture
def project(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a user's project; CI variables would keep pytest from cutting long explanations."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([WITHOUT, *request.getfixturevalue("python_path")]))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    for name in ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)


NOT_ASKED_FOR = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")
"""Plugins that happen to be installed beside vpclab, whose import takes longer than a lab."""


def run_anew(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """In a Python that has imported nothing."""
    return pytester.runpytest_subprocess(*NOT_ASKED_FOR, *args, timeout=120)


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    began = time.monotonic()
    options = [f"--basetemp={pytester.path / 'basetemp'}", *NOT_ASKED_FOR, *args]
    done = warm.python("-m", "pytest", *options, cwd=pytester.path, env=os.environ, timeout=120)
    print(done.stdout, done.stderr)  # for whoever reads why a test failed
    return pytest.RunResult(
        done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), time.monotonic() - began
    )
