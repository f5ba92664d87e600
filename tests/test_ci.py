"""docs/ci.md: its snippets can be parsed, and what they say is what the README and ``vpclab doctor`` say."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any, ClassVar

import yaml

from emulator import doctor
from emulator.pytest_plugin import pytest_addoption
from tests.children import REPOSITORY
from tests.documents import blocks

PAGE = REPOSITORY / "docs" / "ci.md"
README = (REPOSITORY / "README.md").read_text()
NEEDED = {"nftables", "bubblewrap", "iputils-ping", "util-linux"}


def snippet(language: str, beginning: str = "") -> str:
    (found,) = (one.code for one in blocks(PAGE) if one.language == language and one.code.startswith(beginning))
    return found


def commands() -> Iterator[str]:
    """Every command line of the page and of the Containerfile."""
    github, gitlab = github_job(), yaml.safe_load(snippet("yaml", "# .gitlab-ci.yml"))["tests"]
    yield from (step["run"] for step in github["steps"] if "run" in step)
    yield from (*gitlab["before_script"], *gitlab["script"])
    yield from re.findall(r"^ +sh '(.*)'$", snippet("groovy"), re.MULTILINE)
    for one in blocks(PAGE):
        if one.language == "sh":
            yield from one.code.replace("\\\n", " ").splitlines()
    container = (REPOSITORY / "Containerfile").read_text().replace("\\\n", " ")
    yield from re.findall(r"^RUN (.*)$", container, re.MULTILINE)


def github_job() -> dict[str, Any]:
    workflow = yaml.safe_load(snippet("yaml", "# .github"))
    assert set(workflow) == {"name", True, "jobs"}  # YAML takes "on" for a truth
    job: dict[str, Any] = workflow["jobs"]["tests"]
    return job


def simple(command: str) -> list[list[str]]:
    """The words of each simple command of a line."""
    return [shlex.split(part) for part in command.split("&&")]


EACH = [words for command in commands() for words in simple(command)]


def test_every_runner_requires_the_kernel_and_keeps_evidence() -> None:
    gitlab = yaml.safe_load(snippet("yaml", "# .gitlab-ci.yml"))["tests"]
    for environment in (github_job()["env"], gitlab["variables"]):
        assert environment == {"VPCLAB_REQUIRE_KERNEL": "1"}
    assert "environment { VPCLAB_REQUIRE_KERNEL = '1' }" in snippet("groovy")
    runs = [words for words in EACH if words[0].endswith("pytest")]
    assert len(runs) == 4
    assert all("--junitxml=report.xml" in words and "evidence" in words for words in runs)
    assert sum(words[-1] == "doctor" for words in EACH) == 3
    assert gitlab["artifacts"]["paths"] == ["evidence"]
    assert github_job()["steps"][-1]["with"]["path"].split() == ["report.xml", "evidence"]


def test_what_is_installed_is_what_the_readme_names() -> None:
    (named,) = re.findall(r"^sudo apt-get install (.*)$", README, re.MULTILINE)
    assert set(named.split()) == NEEDED
    installs = [words for words in EACH if "apt-get" in words and "install" in words]
    assert len(installs) == 3
    for words in installs:
        packages = {word for word in words[words.index("install") + 1 :] if not word.startswith("-")}
        assert packages - {"python3-venv"} == NEEDED


def test_ways_out_are_the_doctors() -> None:
    """The README's are, which another test holds against the doctor."""
    table = PAGE.read_text()
    for name, _, allowing in doctor._SYSCTLS:
        told = f"sudo sysctl -w {name}={allowing}"
        if told in README:
            assert f"`{told}`" in table
    assert f"`{doctor._DOCKER}`" in table
    assert doctor._DOCKER in snippet("groovy")
    (run,) = (" ".join(words) for words in EACH if words[:2] == ["docker", "run"])
    assert doctor._DOCKER in run
    docker = tomllib.loads(snippet("toml"))["runners"][0]["docker"]
    assert " ".join(f"--security-opt {one}" for one in docker["security_opt"]) == doctor._DOCKER
    rights = " ".join(f"--cap-add {one}" for one in docker["cap_add"])
    assert rights in table
    assert rights in README


def test_options_exist() -> None:
    class Options:
        names: ClassVar[set[str]] = set()

        def getgroup(self, *_: str) -> Options:
            return self

        def addoption(self, name: str, **_: Any) -> None:
            self.names.add(name)

        def addini(self, *_: Any, **__: Any) -> None:
            pass

    pytest_addoption(Options())  # type: ignore[arg-type]
    named = set(re.findall(r"--vpclab-[\w-]+", PAGE.read_text()))
    assert {"--vpclab-evidence", "--vpclab-cov", "--vpclab-summary"} <= named <= Options.names
