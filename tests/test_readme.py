"""The README: its commands exist, its profiles are all, its ways out are those of the doctor."""

from __future__ import annotations

import os
import re

import pytest
from typer.testing import CliRunner

from emulator import doctor
from emulator.cli import app
from emulator.providers import PROFILES
from tests.children import REPOSITORY

README = REPOSITORY / "README.md"


def test_its_commands_exist() -> None:
    commands = set(re.findall(r"^\| `vpclab (\w+)(?: ([a-z]+))?", README.read_text(), re.MULTILINE))
    scenarios = {("scenario", "list"), ("scenario", "run")}
    assert commands == scenarios | {(name, "") for name in ("demo", "schema", "import", "shell", "dashboard", "doctor")}
    for command in commands:
        assert CliRunner().invoke(app, [*filter(None, command), "--help"]).exit_code == 0
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
