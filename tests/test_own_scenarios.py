"""A user's own scenario: a file that runs like those of the package, and mistakes in it told in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from emulator.cli import app
from scenarios.own import scenario_in

STORY = '''"""A step and a fact."""
from scenarios import Scenario


def run(story, lab):
    story.step("One")
    {line}


SCENARIO = Scenario("mine", "Mine", run)
'''


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("SCENARIO =\n", "mine.py, line 1: invalid syntax", id="no Python"),
        pytest.param("\n1 / 0\n", "mine.py, line 2: ZeroDivisionError: division by zero", id="a mistake"),
        pytest.param("SCENARIO = 1\n", "has no scenario", id="no scenario"),
        pytest.param(None, "there is no file", id="no file"),
    ],
)
def test_a_file_that_is_none(text: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    done = CliRunner().invoke(app, ["scenario", "run", str(file)])
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_its_situation_is_its_docstring(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STORY.format(line="pass"))
    assert scenario_in(file).situation == "A step and a fact."


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("story.check('it is', 1, 1)", "mine: every fact held", id="holds"),
        pytest.param("story.check('it is', 1, 2)", "it is: wanted 2, found 1", id="does not hold"),
        pytest.param("lab.no_such_thing()", "mine.py, line 7: AttributeError", id="a mistake"),
    ],
)
def test_it_runs(line: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STORY.format(line=line))
    done = CliRunner().invoke(app, ["scenario", "run", str(file)])
    assert done.exit_code == ("held" not in says)
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
