"""The snippets of a page of documentation, and how one is run as its reader would.

A Python block is run, and prints what the text block behind it says; so does a shell block that calls ``vpclab``. A
block whose first line is ``# NAME`` with an ending is a file of that page, there for all its snippets: ``test_*.py``
is run by pytest.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests import children, warm


@dataclass(frozen=True)
class Snippet:
    """A block and the text block behind it, if any."""

    page: Path
    line: int
    language: str
    code: str
    output: str | None

    @property
    def file(self) -> str | None:
        """The name of the file that it is."""
        first = re.match(r"# ([\w.-]+\.\w+)\n", self.code)
        return first and first[1]

    @property
    def runs(self) -> bool:
        if self.language == "sh":
            return self.output is not None and self.code.startswith("vpclab ")
        return self.language == "python" and (self.file is None or self.file.startswith("test_"))

    @property
    def commands(self) -> list[list[str]]:
        """Of Python."""
        if self.language == "sh":
            lines = self.code.replace("\\\n", " ").splitlines()
            return [["-m", "emulator.cli", *shlex.split(line, comments=True)[1:]] for line in lines]
        if self.file is None:
            return [["-W", "error", "-c", self.code]]
        plugin = ["-p", "emulator.pytest_plugin"]  # wherever it is installed
        return [["-m", "pytest", "-p", "no:cacheprovider", "-q", *plugin, self.file]]


def blocks(page: Path) -> list[Snippet]:
    """All blocks of a page that are not the output of another one."""
    text = page.read_text()
    found = re.finditer(r"```(\w+)\n(.*?)```(?:\n\n```text\n(.*?)```)?", text, re.DOTALL)
    return [Snippet(page, text.count("\n", 0, one.start()) + 1, *one.group(1, 2, 3)) for one in found]


def snippets(page: Path) -> list[Snippet]:
    return [block for block in blocks(page) if block.runs]


def check(snippet: Snippet, folder: Path) -> None:
    """Run it in a folder where the page's files are, and compare what it prints."""
    for block in blocks(snippet.page):
        if block.file and (block.file == snippet.file or not block.file.startswith("test_")):
            (folder / block.file).write_text(block.code)
    ours = children.environment(COLUMNS="120", NO_COLOR="1").items()
    environment = {name: value for name, value in ours if not name.startswith(("PYTEST_", "CI", "GITHUB_"))}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins beside ours take longer to import than a lab
    said: list[str] = []
    for command in snippet.commands:
        done = warm.python(*command, cwd=folder, env=environment, timeout=120)
        said += steady(done.stdout)
        if snippet.file is None:
            assert done.stderr == ""
    wanted = steady(snippet.output or "")
    if snippet.file is None:
        assert said == wanted
    elif wanted and "passed" not in wanted[-1]:
        at = said.index(wanted[0])
        assert said[at : at + len(wanted)] == wanted
    else:
        assert re.match(wanted[-1] if wanted else r"\d+ passed in", said[-1]), "\n".join(said)


def steady(text: str) -> list[str]:
    """What varies from run to run made equal: unix seconds and the identifier of a ping."""
    text = re.sub(r"\b1[67]\d{8}\b", "TIME", text)
    text = re.sub(r"(\d+\.\d+\.\d+\.\d+) \d+ (2048|0) 1 ", r"\1 ID \2 1 ", text)
    return [line.rstrip() for line in text.splitlines()]
