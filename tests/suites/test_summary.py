"""``--vpclab-summary``: a run in Markdown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from projects import CLOUD, run

from emulator.pytest_plugin import need_kernel

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("project")

TESTS = """
import pytest

def test_passes(): pass
def test_skips(): pytest.skip("no")
@pytest.mark.xfail
def test_fails_as_expected(): assert False
@pytest.mark.parametrize("word", ["<b>", "```"])
def test_fails(word): assert word == ""
@pytest.fixture
def broken(): raise ValueError("broken")
def test_errs(broken): pass
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_any_run(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    """Whatever is said in a failure stays text."""
    pytester.makepyfile(test_it=TESTS)
    Path("run.md").write_text("of another run")
    run(pytester, "--vpclab-summary", "run.md", *options)
    text = Path("run.md").read_text()
    assert text.startswith("## Tests with vpclab\n\n| passed | failed | error | skipped |\n| --- | --- | --- | --- |\n")
    assert "| 1 | 2 | 1 | 2 |" in text
    assert "<code>test_it.py::test_fails[&lt;b>]</code>" in text
    assert text.count("````text\n") == 1
    assert "<code>test_it.py::test_errs</code> (setup)" in text
    assert text.count("<details>") == text.count("</details>") == 3


@pytest.mark.kernel
def test_what_github_asks_for(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added to what other steps said, with the records of what failed; of a run without labs nothing is said."""
    need_kernel()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", os.path.abspath("step.md"))
    Path("step.md").write_text("# Build\n")
    pytester.makepyfile(test_it=TESTS)
    run(pytester)
    assert Path("step.md").read_text() == "# Build\n"

    pytester.makepyfile(test_it=CLOUD + "def test_it(rows): assert rows[0]['packets'] == 8")
    run(pytester, "--vpclab-cov", "-n", "1")
    text = Path("step.md").read_text()
    assert text.startswith("# Build\n## Tests with vpclab\n")
    assert "10.16.0.22 10.16.0.40" in text
    assert "why: ACCEPT of what left eni-" in text
    assert "### Rule coverage\n\n```text\n0 rules: " in text


def test_a_file_that_cannot_be_written(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = run(pytester, "--vpclab-summary", "missing/run.md")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["vpclab: no summary in */missing/run.md: No such file or directory"])
