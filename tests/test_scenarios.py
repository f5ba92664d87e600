"""Every scenario under every profile that it supports, and the shape that scenarios have."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emulator.providers import PROFILES
from emulator.pytest_plugin import need_kernel
from scenarios import SCENARIOS, Outcome, Scenario, Story, tell
from scenarios.story import LEARNT

if TYPE_CHECKING:
    from emulator import Lab

FOLDER = Path(inspect.getfile(Scenario)).parent
SHARED = {"story", "truth"}
EXPORTED = {"emulator", "emulator.delivery", "emulator.testing", "scenarios"}
PUBLIC = EXPORTED | {f"scenarios.{name}" for name in SHARED}
TITLE_MOST = 48
"""`vpclab scenario list` keeps to 80 columns."""
RUNS = [(name, profile) for name, scenario in SCENARIOS.items() for profile in scenario.profiles]
EVERY = pytest.mark.parametrize("name", SCENARIOS)


@pytest.fixture(autouse=True)
def kernel(request: pytest.FixtureRequest) -> None:
    """Tests of the kernel tier are skipped, with the way out, where there is none to test with."""
    if request.node.get_closest_marker("kernel"):
        need_kernel()


@pytest.mark.kernel
@pytest.mark.parametrize(("name", "profile"), RUNS, ids=["-".join(run) for run in RUNS])
def test_it_holds(name: str, profile: str) -> None:
    outcome = tell(SCENARIOS[name], profile)
    assert outcome.failure is None
    assert outcome.profile == profile
    facts = [event for step in outcome.steps for event in step["events"] if event["kind"] == "fact"]
    assert len(facts) >= 3
    assert outcome.steps[-1]["text"] == LEARNT
    assert outcome.steps[-1]["events"]


@pytest.mark.kernel
def test_a_fact_that_does_not_hold_is_explained() -> None:
    """The check that must fail: a scenario which expects one packet too many."""

    def run(story: Story, lab: Lab) -> None:
        story.step("A ping")
        subnet = lab.create_vpc("10.0.0.0/16", name="demo").create_subnet("10.0.1.0/24")
        a, b = subnet.run_instance("A"), subnet.run_instance("B")
        topic = lab.logs.create_topic("everything")
        a.eni.create_flow_log("everything", topic=topic)
        a.ping(b)
        lab.clock.advance(seconds=lab.profile.window_s + lab.profile.delay_s)
        story.expect(story.search(topic, f"dstaddr:{b.ip}"), {"packets": 2, "action": "ACCEPT"})

    outcome = tell(Scenario("wrong", "a wrong one", run))
    assert not outcome.passed
    assert outcome.failure is not None
    lines = outcome.failure.splitlines()
    assert lines[0] == "1 record found, 1 wanted: 1 missing, 1 not wanted"
    assert "  packets: 1, wanted 2" in lines
    assert any(line.startswith("  why: ACCEPT of what left eni-") for line in lines)


@pytest.mark.kernel
def test_checks_tell_what_was_found() -> None:
    def run(story: Story, lab: Lab) -> None:
        story.check("one is one", 1, 1)
        story.check("one is two", 1, 2)

    outcome = tell(Scenario("wrong", "a wrong one", run), "alibaba")
    assert outcome.failure == "one is two: wanted 2, found 1"
    assert outcome.steps[0]["events"] == [{"kind": "fact", "text": "one is one"}]


@EVERY
def test_its_shape(name: str) -> None:
    """40 to 120 lines, a title, a situation with a drawing that fits a terminal, and only public names."""
    scenario = SCENARIOS[name]
    assert scenario.name == name
    assert 0 < len(scenario.title) <= TITLE_MOST
    assert scenario.profiles
    assert set(scenario.profiles) <= set(PROFILES)
    path = FOLDER / f"{name.replace('-', '_')}.py"
    lines = path.read_text().splitlines()
    assert 40 <= len(lines) <= 120
    situation = scenario.situation
    assert "Look at:" in situation
    drawing = [line for line in situation.splitlines() if line.startswith("    ")]
    assert drawing
    assert max(map(len, drawing)) <= 80
    imported = imports(ast.parse(path.read_text()))
    assert imported - set(sys.stdlib_module_names) <= PUBLIC


def imports(tree: ast.Module) -> set[str]:
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return named | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@EVERY
def test_no_private_names(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name.replace('-', '_')}.py").read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not {attribute for attribute in used if attribute.startswith("_")}


def test_the_registry_has_every_module() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "mistakes", "own", *SHARED}
    assert modules == {name.replace("-", "_") for name in SCENARIOS}


def test_naming_them_is_cheap() -> None:
    code = "import sys, scenarios; print({'numpy', 'pyarrow', 'duckdb', 'mininet', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=FOLDER.parent, check=True)
    assert done.stdout == "set()\n"


def test_an_outcome_as_json() -> None:
    records: list[dict[str, Any]] = [{"packets": 1}, {"packets": 2}]
    searches = [
        {"kind": "records", "records": records, "lines": ["1", "2"]},
        {"kind": "records", "records": records[1:], "lines": ["2"]},
        {"kind": "note", "text": "nothing"},
    ]
    scenario = Scenario("some", "a title", lambda story, lab: None)
    outcome = Outcome(scenario, "tencent", [{"step": 1, "text": "one", "events": searches}], None, 0.25)
    assert outcome.to_json() == {
        "name": "some",
        "title": "a title",
        "profile": "tencent",
        "passed": True,
        "failure": None,
        "seconds": 0.25,
        "records": records,
        "lines": ["1", "2"],
        "steps": outcome.steps,
    }
