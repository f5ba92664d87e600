"""The README: its snippets run and print what it says, its commands exist, its ways out are those of the doctor."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from emulator import doctor
from emulator.providers import PROFILES
from emulator.pytest_plugin import need_kernel

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"


@dataclass(frozen=True)
class Snippet:
    """A Python block and the text block behind it; ``file`` is its name where it is a test for pytest."""

    line: int
    code: str
    output: str

    @property
    def file(self) -> str | None:
        first = re.match(r"# (test_\w+\.py)\n", self.code)
        return first and first[1]


def snippets() -> list[Snippet]:
    text = README.read_text()
    found = re.finditer(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", text, re.DOTALL)
    return [Snippet(text.count("\n", 0, one.start()) + 1, one[1], one[2] or "") for one in found]


def steady(text: str) -> list[str]:
    """What varies from run to run made equal: unix seconds and the identifier of a ping."""
    text = re.sub(r"\b1[67]\d{8}\b", "TIME", text)
    return re.sub(r"(\d+\.\d+\.\d+\.\d+) \d+ (2048|0) 1 ", r"\1 ID \2 1 ", text).splitlines()


@pytest.fixture(autouse=True)
def kernel(request: pytest.FixtureRequest) -> None:
    """Tests of the kernel tier are skipped, with the way out, where there is none to test with."""
    if request.node.get_closest_marker("kernel"):
        need_kernel()


def test_every_snippet_is_found() -> None:
    assert README.read_text().count("```python") == len(snippets()) == 8


@pytest.mark.kernel
@pytest.mark.parametrize("snippet", snippets(), ids=lambda snippet: f"line {snippet.line}")
def test_a_snippet(snippet: Snippet, tmp_path: Path) -> None:
    if snippet.file is None:
        command = [sys.executable, "-W", "error", "-c", snippet.code]
    else:
        (tmp_path / snippet.file).write_text(snippet.code)
        plugin = ["-p", "emulator.pytest_plugin", "-p", "no:vpclab"]  # wherever it is installed
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *plugin]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CI"))}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said, wanted = steady(done.stdout), steady(snippet.output)
    assert wanted
    if snippet.file is None:
        assert done.stderr == ""
        assert said == wanted
    elif "passed" in snippet.output:
        assert said[-1].startswith(wanted[-1]), done.stdout
    else:
        at = said.index(wanted[0])
        assert said[at : at + len(wanted)] == wanted


def test_its_commands_exist() -> None:
    commands = set(re.findall(r"^\| `vpclab (\w+)(?: ([a-z]+))?", README.read_text(), re.MULTILINE))
    scenarios = {("scenario", "list"), ("scenario", "run")}
    assert commands == scenarios | {(name, "") for name in ("demo", "schema", "dashboard", "doctor")}
    for command in commands:
        shown = [sys.executable, "-m", "emulator.cli", *filter(None, command), "--help"]
        assert subprocess.run(shown, cwd=REPOSITORY, capture_output=True, timeout=60).returncode == 0
    run = (REPOSITORY / "run").read_text()
    for word in re.findall(r"^\./run (\w+)", README.read_text(), re.MULTILINE):
        assert f"./run {word} " in run


def test_its_profiles_are_all() -> None:
    (named,) = re.findall(r"^Profiles: .*?\n\n", README.read_text(), re.MULTILINE | re.DOTALL)
    assert list(re.findall(r"`([\w-]+)`", named)) == list(PROFILES)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/1/cgroup", "0::/docker/4711"),
    ],
    ids=["AppArmor", "Debian", "Docker"],
)
def test_its_ways_out_are_the_doctors(file: str, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: False)  # no mark of the container that the tests may run in
    way_out = doctor.permission(lambda path: content if path == file else "", uid=1000)
    (told,) = re.findall(r"(?:sudo sysctl|docker run).*?(?=,|$)", way_out)
    assert f"`{told}`" in README.read_text()
