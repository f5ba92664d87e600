"""``--vpclab-summary``: a run in Markdown, for the page of a CI job; also where GitHub asks for one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.pytest_plugin import GITHUB, OPENED_LABS, SECTION
from emulator.suites.recording import PROPERTY

_MOST_FAILURES, _MOST_LINES, _LONGEST = 20, 30, 300
_OUTCOMES = ("passed", "failed", "error", "skipped")


class Summary:
    """A plugin of the process that controls a run."""

    def __init__(self, config: pytest.Config, files: list[Path]) -> None:
        self._config, self._files = config, files
        self._counts: Counter[str] = Counter()
        self._failures: list[pytest.TestReport] = []
        self._labs = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._labs = self._labs or getattr(report, OPENED_LABS, False)
        if report.failed:
            self._failures.append(report)
            self._counts["failed" if report.when == "call" else "error"] += 1
        elif report.skipped or report.when == "call":
            self._counts[report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        asked = self._config.getoption("vpclab_summary") is not None
        if not asked and not self._labs:
            return
        text = "\n".join(self._lines()) + "\n"
        for file in self._files:
            try:
                with file.open("a" if str(file) == os.environ.get(GITHUB) else "w", encoding="utf-8") as out:
                    out.write(text)
            except OSError as wrong:
                terminalreporter.write_line(f"vpclab: no summary in {file}: {wrong.strerror}", red=True)

    def _lines(self) -> Iterator[str]:
        yield "## Tests with vpclab\n"
        yield f"| {' | '.join(_OUTCOMES)} |\n|{' --- |' * len(_OUTCOMES)}"
        yield f"| {' | '.join(str(self._counts[word]) for word in _OUTCOMES)} |"
        for report in self._failures[:_MOST_FAILURES]:
            yield from self._failure(report)
        if len(self._failures) > _MOST_FAILURES:
            yield f"\n... and {len(self._failures) - _MOST_FAILURES} more."
        covering = self._config.pluginmanager.get_plugin("vpclab-cov")
        if covering is not None:
            yield f"\n### Rule coverage\n\n{_fenced(covering.text(_LONGEST).rstrip())}"

    def _failure(self, report: pytest.TestReport) -> Iterator[str]:
        where = "" if report.when == "call" else f" ({report.when})"
        yield f"\n<details><summary><code>{_escaped(report.nodeid)}</code>{where}</summary>\n"
        crash = getattr(report.longrepr, "reprcrash", None)
        lines = str(crash.message if crash is not None else report.longrepr).splitlines()
        for name, text, _ in getattr(report.longrepr, "sections", ()):
            lines += ["", *text.splitlines()] if name == SECTION else []
        more = len(lines) - _MOST_LINES
        yield _fenced("\n".join([line[:_LONGEST] for line in lines[:_MOST_LINES]] + [f"... {more} lines"] * (more > 0)))
        for name, folder in dict.fromkeys(report.user_properties):
            if name == PROPERTY:
                yield f"\nPackets, records and rules: `{folder}`"
        yield "\n</details>"


def _fenced(text: str) -> str:
    """Text as it is, whatever it says."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def files(config: pytest.Config) -> list[Path]:
    """Where summaries of this process go; a worker of pytest-xdist writes none."""
    if hasattr(config, "workerinput"):
        return []
    named = [config.getoption("vpclab_summary"), os.environ.get(GITHUB)]
    return [Path(name).absolute() for name in named if name]
