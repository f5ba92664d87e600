"""``--vpclab-evidence``: a folder for each test that fails, with its labs' packets, records and rules."""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest

from emulator.suites.evidence import Recorder, folder_name
from emulator.watching import WATCHERS

PROPERTY = "vpclab-evidence"
"""The property of a failed test, in JUnit's XML too, that says where its folder is."""


class Recording:
    """A plugin that is there while ``--vpclab-evidence FOLDER`` is given."""

    def __init__(self, folder: str) -> None:
        if find_spec("scapy") is None:
            raise pytest.UsageError("--vpclab-evidence writes captures with scapy: pip install 'vpclab[scapy]'")
        self._folder = Path(folder).absolute()  # a test may change the folder
        self._recorder = Recorder()
        WATCHERS.append(self._recorder)

    def pytest_unconfigure(self) -> None:
        WATCHERS.remove(self._recorder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._recorder.pending = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when != "setup" or not report.passed:
            self._recorder.pending = False
        place = self._folder / folder_name(item.nodeid)
        if report.passed and report.when == "call":
            self._recorder.clear(place)
        if report.failed and len(self._recorder):
            try:
                self._recorder.write(place, report.longreprtext, report.when)
            except Exception as wrong:  # evidence must never hide the failure that it is of
                report.sections.append(("vpclab: no evidence could be kept", f"{place}: {wrong!r}"))
            else:
                item.user_properties.append((PROPERTY, str(place)))
                report.user_properties.append((PROPERTY, str(place)))
                report.sections.append(("vpclab: evidence", str(place)))
        if report.when == "teardown":
            self._recorder.forget_closed()
        return report
