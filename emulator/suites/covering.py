"""Rule coverage of a pytest run: collected in each process, added up and printed where the run is controlled."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emulator.suites.coverage import Coverage, sorted_rules, status
from emulator.watching import WATCHERS

if TYPE_CHECKING:
    from rich.table import Table

_TOLD = "vpclab_cov"
"""The key under which a worker of pytest-xdist and its controller tell each other."""
_MOST = 200
"""Rules that the terminal shows."""
_LEAST_WIDTH = 120
"""A place and a rule have room in it; a narrower terminal wraps, for CI's logs are no terminals."""


class Covering:
    """A plugin that is there while ``--vpclab-cov`` or one of its kin is given."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        # A worker's own may be another: it is found by the arguments, which are not the same there.
        self.coverage = Coverage(getattr(config, "workerinput", {}).get(_TOLD, config.rootpath))
        file = config.getoption("vpclab_cov_json")
        self._file = None if file is None else Path(file).absolute()  # a test may change the folder
        WATCHERS.append(self.coverage)

    def pytest_unconfigure(self) -> None:
        WATCHERS.remove(self.coverage)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.coverage.finish()
        told: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if told is not None:
            told[_TOLD] = self.coverage.to_json()
            return
        if self._file is not None:
            try:
                self._file.write_text(json.dumps(self.coverage.to_json(), indent=2, ensure_ascii=False) + "\n")
            except OSError as wrong:
                raise pytest.UsageError(f"--vpclab-cov-json={self._file}: {wrong.strerror}") from None
        if self._too_low() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[_TOLD] = str(self._config.rootpath)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist has ended; one that was killed tells nothing."""
        told = getattr(node, "workeroutput", {}).get(_TOLD)
        if told is None:
            self.coverage.unread += 1
        else:
            self.coverage.merge(told)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("vpclab rule coverage")
        terminalreporter.write(self.text(terminalreporter._tw.fullwidth))
        if self._too_low():
            wanted = self._config.getoption("vpclab_cov_fail_under")
            terminalreporter.write_line(
                f"FAIL: {self.coverage.percent:.0f} % of the rules decided a packet, wanted {wanted:g} %", red=True
            )

    def text(self, width: int) -> str:
        """The table of the rules that tests wrote, and the sums."""
        from rich.console import Console

        told = self.coverage.to_json()
        counts, defaults = told["counts"], [row for row in told["rules"] if row["default"]]
        total, shown = sum(counts.values()), io.StringIO()
        if total:
            console = Console(
                file=shown, width=max(width, _LEAST_WIDTH), color_system=None, emoji=False, highlight=False
            )
            console.print(self._table(), markup=False)
        if total > _MOST:
            shown.write(f"... and {total - _MOST} more rules; --vpclab-cov-json FILE has them all\n")
        sums = ", ".join(f"{number} {word}" for word, number in counts.items())
        shown.write(f"{total} rules: {sums}; {told['percent']:.0f} % decided a packet\n")
        used = sum(row["status"] != "never" for row in defaults)
        shown.write(f"of {len(defaults)} rules that came by themselves {used} decided a packet\n")
        if self.coverage.unread:
            shown.write(f"{self.coverage.unread} VPCs or workers were gone before they could be read\n")
        return shown.getvalue()

    def _table(self) -> Table:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="")
        for name in ("made at", "in", "rule", "status"):
            table.add_column(name, overflow="fold", no_wrap=name != "rule")
        for name in ("packets", "replies"):
            table.add_column(name, justify="right", no_wrap=True)
        written = [(made, hits) for made, hits in sorted_rules(self.coverage.rules) if not made.default]
        for made, hits in written[:_MOST]:
            row = (made.place, made.owner, made.rule, status(made, hits), str(hits.packets), str(hits.replies))
            table.add_row(*map(plain, row))
        return table

    def _too_low(self) -> bool:
        wanted = self._config.getoption("vpclab_cov_fail_under")
        return wanted is not None and self.coverage.percent < wanted


def plain(text: str) -> Any:
    """Text in which rich finds no markup."""
    from rich.text import Text

    return Text(text)
