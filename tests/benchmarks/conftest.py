"""Benchmarks: the figures that the documents quote, run by ``tox run -e bench``, that is ``pytest tests/benchmarks``.

Collected only when this folder is named (``norecursedirs`` in pyproject.toml), and never in parallel. What is asserted
are ratios within one run; times depend on the machine and are kept, with the rest of what was measured, in
``benchmarks.json``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this one: --import-mode=importlib adds nothing

from measure import Figures

_FIGURES = pytest.StashKey[Figures]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bench-json",
        metavar="FOLDER",
        default=os.environ.get("VPCLAB_BENCH_JSON", "."),
        help="where benchmarks.json is kept (default: $VPCLAB_BENCH_JSON, else the working directory)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "bench: measures; run by `tox run -e bench`")
    config.stash[_FIGURES] = Figures(Path(config.getoption("--bench-json")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from emulator import doctor

    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    if here and config.getoption("numprocesses", None):
        raise pytest.UsageError("benchmarks measure, so they do not run in parallel: leave out -n")
    lacking = doctor.missing() if here else None
    for item in here:
        item.add_marker(pytest.mark.bench)
        if lacking is not None:
            item.add_marker(pytest.mark.skip(reason=f"vpclab: {lacking.name}: {lacking.found}; {lacking.way_out}"))


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where each benchmark notes what it measured."""
    return pytestconfig.stash[_FIGURES].opened()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[_FIGURES]
    if figures.noted:
        terminalreporter.section("figures")
        terminalreporter.write("\n".join([*figures.lines(), f"kept in {figures.path}", ""]))
