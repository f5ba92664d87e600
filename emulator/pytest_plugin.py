"""The pytest plugin: a fresh lab for each test that asks for one, and assertions on records that explain themselves.

It loads by itself where vpclab is installed (``-p no:vpclab`` turns it off) and imports nothing of a lab before a
test uses one.

================== ==================================================================================
``lab``            fixture: a fresh ``Lab`` for the test, manual clock, lab time from ``START_S`` on
``lab_module``     fixture: one such lab for all tests of a module
--vpclab-profile   the cloud of both: tencent (default), tencent-2020, alibaba, alibaba-2019
--vpclab-no-audit  leaves out ``lab.audit()`` at the end of both; also as ``vpclab_audit = false`` in pytest's ini file
--vpclab-cov       tells which rules of all labs decided a packet (suites/covering.py)
--vpclab-evidence  packets, records and rules of the labs of tests that fail (suites/recording.py)
--vpclab-summary   a summary in Markdown; without it GitHub's step summary gets one where a lab was opened
================== ==================================================================================

Where the machine cannot give a lab what it needs the fixtures skip, naming cause and way out; with
VPCLAB_REQUIRE_KERNEL=1 in the environment they fail instead, so that a CI suite cannot pass by skipping.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from _pytest._code.code import ExceptionChainRepr

if TYPE_CHECKING:
    from emulator.asserting import Failure
    from emulator.lab import Lab
    from emulator.logs.records import Record
    from emulator.logs.topic import Topic

START_S = 1_704_067_200
"""Where the fixtures' lab time begins: 2024-01-01 00:00 UTC, the start of a capture window of any length."""
REQUIRE = "VPCLAB_REQUIRE_KERNEL"
GITHUB = "GITHUB_STEP_SUMMARY"
"""GitHub names a file in it, to which each step of a job may add Markdown."""
OPENED_LABS = "vpclab_labs"
"""The attribute of a report that says that its process has opened labs; pytest-xdist carries it along."""

_PREFIX = "vpclab: "
_BRIEF = (8, 600)
"""Lines and characters that pytest prints of an explanation without -vv (it cuts at 8 lines or 640 characters)."""
SECTION = "vpclab: records and the rules that decided"
"""The section of a failure that tells of records."""
_BELOW = f"(the whole comparison: below, under '{SECTION}')"
_SEARCHED = 2_000
"""Of each topic, at most so many records are looked through for the nearest."""
_SHOWN = 3
_failure = pytest.StashKey["Failure"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vpclab", "vpclab: an emulated cloud for each test")
    group.addoption(
        "--vpclab-profile", metavar="NAME", help="the cloud of the fixtures lab and lab_module (default: tencent)"
    )
    group.addoption("--vpclab-no-audit", action="store_true", help="do not audit the fixtures' labs at their end")
    group.addoption("--vpclab-cov", action="store_true", help="tell which rules of all labs decided a packet")
    group.addoption("--vpclab-cov-json", metavar="FILE", help="the same as JSON (implies --vpclab-cov)")
    group.addoption(
        "--vpclab-cov-fail-under",
        metavar="PERCENT",
        type=float,
        help="fail where fewer of the rules decided a packet (implies --vpclab-cov)",
    )
    group.addoption(
        "--vpclab-evidence", metavar="FOLDER", help="keep packets, records and rules of the labs of tests that fail"
    )
    group.addoption(
        "--vpclab-summary", metavar="FILE", help="write a summary in Markdown ($GITHUB_STEP_SUMMARY gets it anyway)"
    )
    parser.addini("vpclab_audit", "audit the labs of the fixtures at their end", type="bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    if any(config.getoption(f"vpclab_cov{more}") not in (None, False) for more in ("", "_json", "_fail_under")):
        from emulator.suites.covering import Covering

        config.pluginmanager.register(Covering(config), "vpclab-cov")
    if config.getoption("vpclab_summary") is not None or os.environ.get(GITHUB):
        from emulator.suites import summary

        if summary.files(config):
            config.pluginmanager.register(summary.Summary(config, summary.files(config)), "vpclab-summary")
    if config.getoption("vpclab_evidence") is not None:
        from emulator.suites.recording import Recording

        config.pluginmanager.register(Recording(config.getoption("vpclab_evidence")), "vpclab-evidence")
    name = config.getoption("vpclab_profile")
    if name is None:
        return
    from emulator.providers import PROFILES

    if name not in PROFILES:
        raise pytest.UsageError(f"--vpclab-profile={name}: there is no such profile; there are {', '.join(PROFILES)}")


# fixtures --------------------------------------------------------------------------------------------


@pytest.fixture
def lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    """A fresh vpclab Lab: private sandbox, manual clock from START_S on, closed after the test."""
    with _open(pytestconfig) as lab:
        yield lab
        _audit(pytestconfig, lab)


@pytest.fixture(scope="module")
def lab_module(pytestconfig: pytest.Config) -> Iterator[Lab]:
    """A vpclab Lab that the tests of one module share."""
    with _open(pytestconfig) as lab:
        yield lab
        _audit(pytestconfig, lab)


def _audit(config: pytest.Config, lab: Lab) -> None:
    """Fail the test whose records are not what was on the wire; a lab that is gone or counts nothing has no books."""
    if config.getoption("vpclab_no_audit") or not config.getini("vpclab_audit"):
        return
    if lab.closed or not lab.fabric.keeper.alive:
        return
    from emulator import AuditFailed

    try:
        lab.audit().check()
    except AuditFailed as failed:
        pytest.fail(f"{_PREFIX}{failed}", pytrace=False)


def _open(config: pytest.Config) -> Lab:
    """A lab, or a skip or failure that says what the machine lacks."""
    need_kernel()
    from emulator import Lab, RequirementMissing

    try:
        return Lab(config.getoption("vpclab_profile") or "tencent", start=START_S)
    except RequirementMissing as missing:
        _give_up(str(missing))


def need_kernel() -> None:
    """Skip (or fail) the test that runs where this machine cannot run a lab; for tests that open labs themselves."""
    lacking = _lacking()
    if lacking is not None:
        _give_up(lacking)


def _give_up(lacking: str) -> NoReturn:
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{_PREFIX}{lacking} ({REQUIRE}=1 forbids to skip)", pytrace=False)
    pytest.skip(f"{_PREFIX}{lacking}")


@cache
def _lacking() -> str | None:
    """What this machine lacks for a lab, and the way out; None where it lacks nothing. Probed once."""
    from emulator import doctor

    probe = doctor.missing()
    return None if probe is None else f"{probe.name}: {probe.found}; {probe.way_out}"


# assertions that teach ---------------------------------------------------------------------------------


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """Explain a comparison of records: briefly here, in full in a section of the report where pytest would cut it."""
    if "emulator.logs.records" not in sys.modules:
        return None
    with contextlib.suppress(Exception):  # an explanation must never hide the failure that it explains
        from emulator.asserting import explain_comparison

        labs = _Labs()
        failure = explain_comparison(op, left, right, labs.why, labs.stored)
        if failure is None:
            return None
        config.stash[_failure] = failure
        lines = [failure.summary, *failure.lines]
        return lines if _fits(lines) else _shortened([failure.summary, *failure.brief, _BELOW])
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and report.longrepr[2].startswith(f"Skipped: {_PREFIX}"):
        # One place for all of them, so that pytest's summary tells the cause once.
        report.longrepr = (__file__, _open.__code__.co_firstlineno, report.longrepr[2])
    failure = item.config.stash.get(_failure, None)
    if failure is not None:
        del item.config.stash[_failure]
    if report.failed and call.excinfo is not None and "emulator.logs.records" in sys.modules:
        with contextlib.suppress(Exception):
            lines = _lesson(call.excinfo, failure)
            if lines:
                _add_section(report, "\n".join(lines))
    if call.when == "teardown":
        _forget_closed()
        if "emulator.lab" in sys.modules:
            setattr(report, OPENED_LABS, True)
    return report


def _add_section(report: pytest.TestReport, text: str) -> None:
    """To the failure itself where it has sections, so that JUnit's XML has it, too."""
    if isinstance(report.longrepr, ExceptionChainRepr):
        report.longrepr.addsection(SECTION, text, "-")
    else:
        report.sections.append((SECTION, text))


def _lesson(error: pytest.ExceptionInfo[BaseException], failure: Failure | None) -> list[str]:
    """What the report of a failed assertion says about records, beyond what the assertion itself says."""
    unpacking = error.errisinstance(ValueError) and "to unpack" in str(error.value)
    if not error.errisinstance(AssertionError) and not unpacking:
        return []
    labs = _Labs()
    if failure is None or failure.summary not in str(error.value):
        return _at_hand(error, labs) or labs.describe()
    whole = [failure.summary, *failure.lines]
    lines = [] if _fits(whole) else whole
    return lines if "why: " in str(failure) else [*lines, *labs.describe()]


def _at_hand(error: pytest.ExceptionInfo[BaseException], labs: _Labs) -> list[str]:
    """The records that the assertion or the variables of the frames that it passed hold, innermost first."""
    from emulator.asserting import describe_records, is_records
    from emulator.logs.records import Record

    lines: list[str] = []
    seen: list[object] = []
    for entry in reversed(error.traceback):
        # pytest keeps the parts of a rewritten assertion in variables of such names.
        for name, value in sorted(entry.frame.f_locals.items(), key=lambda item: not item[0].startswith("@py_")):
            records = [value] if isinstance(value, Record) else value
            if not is_records(records) or not records or any(value is other for other in seen):
                continue
            seen.append(value)
            lines += describe_records("in the assertion" if name.startswith("@py_") else name, records, labs.why)
            if len(seen) == _SHOWN:
                return lines
    return lines


class _Labs:
    """The labs of this process, asked about the records of one failure; what a topic holds is read once."""

    def __init__(self) -> None:
        module: Any = sys.modules.get("emulator.lab")
        self.all: list[Lab] = [] if module is None else list(module.LABS)
        self.open = [lab for lab in self.all if not lab.logs.closed]
        self._held: dict[tuple[int, int], dict[str, list[Record]]] = {}

    def stored(self) -> Iterator[tuple[str, Record]]:
        """Records of every topic of every open lab, with the topic's name."""
        for lab in self.open:
            for topic in _searchable(lab):
                yield from ((topic.name, record) for record in topic.search("*", limit=_SEARCHED))

    def describe(self) -> list[str]:
        """What the topics hold, or why they hold nothing yet."""
        from emulator.asserting import describe_records

        topics: dict[str, list[Record]] = {}
        for name, record in self.stored():
            topics.setdefault(name, []).append(record)
        if topics:
            return [
                line
                for name, records in topics.items()
                for line in describe_records(f"topic {name}", records, self.why)
            ]
        return [
            f"no topic holds records at lab time {lab.clock.now:.0f}: those of a capture window can be found "
            f"{lab.profile.delay_s} s after its end (lab.clock.advance)"
            for lab in self.open
            if lab.describe_flow_logs()[1]
        ]

    def why(self, record: Record) -> str | None:
        """What the lab of a record says about it; None where that lab is not known.

        Labs give equal ids, so the record itself is looked for; a closed lab is believed where no open one has it.
        """
        from emulator import VpclabError

        asked = [lab for lab in self.open if self._holds(lab, record)]
        asked = asked or [lab for lab in self.all if lab.logs.closed]
        answers: set[str] = set()
        for lab in asked:
            with contextlib.suppress(VpclabError):
                answers.add(str(lab.explain(record)))
        return answers.pop() if len(answers) == 1 else None

    def _holds(self, lab: Lab, record: Record) -> bool:
        if record.time is None:
            return False
        key = id(lab), record.time
        if key not in self._held:
            held = self._held[key] = {}
            for topic in _searchable(lab):
                for other in topic.search("*", start=record.time, end=record.time + 1):
                    held.setdefault(other.id, []).append(other)
        return record in self._held[key].get(record.id, [])


def _searchable(lab: Lab) -> list[Topic]:
    return [topic for topic in lab.logs.topics() if topic.index is not None]


def _forget_closed() -> None:
    """The traceback of a failed test keeps its labs; they must not be asked about the records of later tests."""
    module: Any = sys.modules.get("emulator.lab")
    for lab in [] if module is None else list(module.LABS):
        if lab.logs.closed:
            module.LABS.discard(lab)


def _fits(lines: list[str]) -> bool:
    return len(lines) <= _BRIEF[0] and sum(map(len, lines)) <= _BRIEF[1]


def _shortened(lines: list[str]) -> list[str]:
    """``lines``, the longest of them cut until pytest prints them all."""
    lines = list(lines)
    while (over := sum(map(len, lines)) - _BRIEF[1]) > 0:
        at = max(range(len(lines)), key=lambda at: len(lines[at]))
        lines[at] = f"{lines[at][: max(20, len(lines[at]) - over - 3)]}..."
        if len(lines[at]) <= 23:
            break
    return lines
