"""The command line, as its users run it: in a process of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import COMMAND, TIMEOUT_S, Terminal, environment, injected, vpclab

from emulator import screen as screen_module
from emulator.pytest_plugin import need_kernel
from emulator.screen import Screen, grid
from scenarios import GROUPS, SCENARIOS


@pytest.fixture(autouse=True)
def kernel(request: pytest.FixtureRequest) -> None:
    """Tests of the kernel tier are skipped, with the way out, where there is none to test with."""
    if request.node.get_closest_marker("kernel"):
        need_kernel()


# names and usage -------------------------------------------------------------------------------------


def test_help_is_cheap() -> None:
    code = (
        "import sys; sys.argv = ['vpclab', '--help']\n"
        "from emulator.cli import main\n"
        "try: main()\n"
        "finally: print({'numpy', 'pyarrow', 'duckdb', 'mininet', 'pyroute2', 'scenarios'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.endswith("set()\n")
    for word in ("demo", "doctor", "scenario", "--version"):
        assert word in done.stdout


def test_version() -> None:
    done = subprocess.run([*COMMAND, "--version"], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith("vpclab ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["demo", "--nothing"], "No such option: --nothing"),
        (["demo", "--profile", "tencnt"], "no profile 'tencnt'; did you mean tencent"),
        (["demo", "--profile", "aws"], "there are alibaba, alibaba-2019, tencent, tencent-2020"),
        (["scenario", "run"], "Missing argument"),
        (["scenario", "run", "pong"], "no scenario 'pong'; did you mean ping"),
        (["scenario", "run", "ping", "xyz"], "no scenario 'xyz'; there are "),
        (["scenario", "run", "vpc-wide", "--profile", "tencent-2020"], "runs under tencent, alibaba, alibaba-2019"),
        (["scenario", "run", "ping", "--step", "--json"], "--step and --json exclude each other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command(args: list[str], said: str) -> None:
    """Exit 2, before anything was run, and the message names what is right."""
    done = vpclab(*args)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_list_of_scenarios() -> None:
    done = vpclab("scenario", "list", env={"COLUMNS": "30"})
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line and not line.startswith(" ")][:-1] == list(GROUPS)
    lines = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == list(SCENARIOS)
    for one, line in zip(SCENARIOS.values(), lines, strict=True):
        assert one.title in line
        assert len(line) <= 80
        assert line.endswith("(tencent only)") == all(profile.startswith("tencent") for profile in one.profiles)
    listed = json.loads(vpclab("scenario", "list", "--json").stdout)
    assert [one["name"] for one in listed] == list(SCENARIOS)
    assert {one["name"]: one for one in listed}["vpc-wide"] == {
        "name": "vpc-wide",
        "group": "from the documentation",
        "title": SCENARIOS["vpc-wide"].title,
        "profiles": ["tencent", "alibaba", "alibaba-2019"],
    }


# the demo and the scenarios --------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_the_demo(profile: str) -> None:
    """Into a pipe nothing is folded or cut, whatever the environment says about columns and colours."""
    done = vpclab("demo", "--profile", profile, env={"COLUMNS": "20", "FORCE_COLOR": "1", "TERM": "dumb"})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [line.strip() for line in done.stdout.splitlines()]
    for words in (
        ("9 packets transmitted, 9 received",),
        ("ttl=64",),
        ("search accept: 10.16.0.40",),
        ("search accept: dstaddr:10.16.0.40",),
        ("srcaddr", "dstaddr", "packets", "bytes", "action", "log-status"),
        ("ACCEPT of what left eni-", "allow egress all to anywhere"),
    ):
        assert any(all(word in line for word in words) for line in lines), words
    if profile == "tencent":
        whole = [line.split() for line in lines if line.startswith("2 1251762227 eni-")]
        requests = [line for line in whole if line[3:5] == ["10.16.0.22", "10.16.0.40"]]
        replies = [line for line in whole if line[3:5] == ["10.16.0.40", "10.16.0.22"]]
        # Each once in the table and once as a line, in the first search; the request again in the second.
        assert (len(requests), len(replies)) == (4, 2)
        assert {tuple(line[6:]) for line in requests} == {
            ("2048", "1", "9", "756", "1704067200", "1704067500", "ACCEPT", "OK")
        }


@pytest.mark.kernel
def test_the_demo_as_json() -> None:
    done = vpclab("demo", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["name"], told["profile"], told["passed"], told["failure"]) == ("ping", "tencent", True, None)
    request, reply = told["records"]
    names = ("srcaddr", "dstaddr", "protocol", "packets", "bytes", "action", "log-status")
    assert {name: request[name] for name in names} == {
        "srcaddr": "10.16.0.22",
        "dstaddr": "10.16.0.40",
        "protocol": 1,
        "packets": 9,
        "bytes": 756,
        "action": "ACCEPT",
        "log-status": "OK",
    }
    assert (reply["srcaddr"], reply["dstaddr"], reply["packets"]) == ("10.16.0.40", "10.16.0.22", 9)
    assert told["lines"][0] == " ".join(str(value) for value in request.values())


@pytest.mark.kernel
def test_several_scenarios() -> None:
    names = ["ssh-accepted-rdp-rejected", "icmp-accepted-reply-rejected"]
    told = json.loads(vpclab("scenario", "run", *names, "--profile", "alibaba", "--json").stdout)
    assert [(one["name"], one["profile"], one["passed"]) for one in told] == [(name, "alibaba", True) for name in names]


WRONG = """
def run(story, lab):
    story.step("something")
    story.step("something that is wrong")
    story.check("one is two", 1, 2)
"""


@pytest.mark.kernel
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_a_scenario_that_fails(options: tuple[str, ...]) -> None:
    done = vpclab("scenario", "run", "injected", "ping", *options, command=injected(WRONG))
    assert done.returncode == 1
    assert done.stderr == "injected failed in step 2: something that is wrong\none is two: wanted 2, found 1\n"
    if options:
        assert [(one["passed"], one["failure"]) for one in json.loads(done.stdout)] == [
            (False, "one is two: wanted 2, found 1"),
            (True, None),
        ]
    else:
        assert "ping: every fact held" in done.stdout  # the others are run all the same


@pytest.mark.kernel
def test_what_a_lab_refuses() -> None:
    """A refusal is a message on standard error, never a traceback."""
    done = vpclab("scenario", "run", "injected", command=injected("def run(story, lab): lab.create_vpc('8.8.8.0/24')"))
    assert done.returncode == 1
    assert done.stderr.startswith("vpclab: ")
    assert "8.8.8.0/24" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.kernel
@pytest.mark.parametrize("args", [("demo",), ("demo", "--json")], ids=" ".join)
def test_a_reader_that_goes_away(args: tuple[str, ...]) -> None:
    process = subprocess.Popen([*COMMAND, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert b"Traceback" not in process.stderr.read()
    assert process.wait(TIMEOUT_S) in (0, 1)


# keys and signals ------------------------------------------------------------------------------------


PROMPT = b"-- enter: go on"
STEPS = "def run(story, lab):\n  for number in range(4): story.step(f'this is {number}')\n"


@pytest.mark.kernel
def test_step_waits_for_a_key() -> None:
    """Between steps, not before the first; an arrow key, which is three bytes, counts once."""
    terminal = Terminal([*injected(STEPS), "scenario", "run", "injected", "--step"])
    at = 0
    for number, keys in enumerate((b" ", b"\x1b[6~", b"\r")):
        at = terminal.read_until(PROMPT, at)
        assert f"this is {number}".encode() in terminal.output
        assert f"this is {number + 1}".encode() not in terminal.output
        terminal.press(keys)
    assert terminal.end() == 0
    assert terminal.output.count(PROMPT) == 3


@pytest.mark.kernel
def test_ctrl_c_at_a_step() -> None:
    terminal = Terminal([*injected(STEPS), "scenario", "run", "injected", "--step"], anew=True)
    at = terminal.read_until(PROMPT)
    assert not terminal.same_modes()
    terminal.press(b"\x03")
    terminal.read_until(b"  \r", at)
    assert terminal.same_modes()
    assert terminal.end() == 130
    assert b"Traceback" not in terminal.output


@pytest.mark.kernel
@pytest.mark.parametrize("input", [None, "", "\n"], ids=["nothing", "empty", "one line"])
def test_step_goes_on_where_nobody_presses(input: str | None) -> None:
    done = vpclab("scenario", "run", "injected", "--step", input=input, command=injected(STEPS))
    assert done.returncode == 0
    assert "this is 3" in done.stdout


SLEEPING = """
def run(story, lab):
    vm = lab.create_vpc("10.0.0.0/16", name="demo").create_subnet("10.0.1.0/24").run_instance("A")
    story.step("asleep")
    story.note(f"keeper {lab.fabric.keeper.pid}.")
    vm.run(["sleep", "600"])
"""


@pytest.mark.kernel
def test_ctrl_c_takes_everything_down() -> None:
    terminal = Terminal([*injected(SLEEPING), "scenario", "run", "injected"], anew=True)
    at = terminal.read_until(b"keeper ")
    keeper = int(terminal.output[at : terminal.read_until(b".", at) - 1])
    terminal.press(b"\x03")
    assert terminal.end() == 130
    assert b"Traceback" not in terminal.output
    deadline = time.monotonic() + 10
    while Path(f"/proc/{keeper}").exists():
        assert time.monotonic() < deadline, f"the keeper, process {keeper}, is still there"
        os.sched_yield()


@pytest.mark.kernel
def test_an_interrupt_anywhere() -> None:
    """Also without a terminal, while a lab opens and while a guest runs."""
    for after in ("", "step"):
        argv = [*injected(SLEEPING), "scenario", "run", "injected"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True)
        assert process.stdout is not None
        while after and "keeper" not in process.stdout.readline():
            assert process.poll() is None
        if not after:
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 130, out + err
        assert "Traceback" not in err


# doctor ----------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_doctor_here() -> None:
    done = vpclab("doctor")
    assert done.returncode == 0, done.stdout
    assert all(line.startswith("ok ") for line in done.stdout.split("\n\n")[0].splitlines())
    assert done.stdout.endswith("labs can run here\n")
    probes = json.loads(vpclab("doctor", "--json").stdout)
    assert all(probe["ok"] for probe in probes)
    assert set(probes[0]) == {"name", "ok", "found", "way_out"}


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_doctor_where_something_is_missing(options: tuple[str, ...]) -> None:
    code = """
from emulator import doctor
way = "sudo apt-get install " + "bubblewrap " * 30
doctor.probes = lambda: [doctor.Probe("linux", True, "6.18"), doctor.Probe("bwrap", False, "not found", way.strip())]
run = None
"""
    done = vpclab("doctor", *options, command=injected(code), env={"COLUMNS": "20"})
    assert done.returncode == 1
    if options:
        assert [probe["ok"] for probe in json.loads(done.stdout)] == [True, False]
    else:
        lines = [line.strip() for line in done.stdout.splitlines()]
        assert "MISSING  bwrap  not found" in lines
        assert "-> sudo apt-get install " + " ".join(["bubblewrap"] * 30) in lines
        assert lines[-1] == "labs cannot run here"


# the terminal ----------------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("plain", [False, True], ids=["colour", "no colour"])
def test_the_demo_in_a_terminal_of_80_columns(plain: bool) -> None:
    """The table fits, a record's line is still whole."""
    terminal = Terminal([*COMMAND, "demo", "--profile", "alibaba"], **({"NO_COLOR": "1"} if plain else {}))
    assert terminal.end() == 0
    text = terminal.output.decode()
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").splitlines()]
    assert ("\x1b[1;36m" in text) is not plain
    (head, *_) = (line for line in lines if "srcaddr" in line and "packets" in line)
    assert "vswitch-id" not in head
    assert any("vsw-" in line and "cn-hangzhou" in line for line in lines)


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_spinner_for_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    out = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(screen_module, "BUSY_AFTER_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    with Screen() as screen:
        screen.busy("counting sheep")
        deadline = time.monotonic() + 10
        while "counting sheep" not in out.getvalue():
            assert time.monotonic() < deadline, "no spinner was shown"
            os.sched_yield()
        screen.say("done")
    assert out.getvalue().index("counting sheep") < out.getvalue().index("done")


def test_no_spinner_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(screen_module, "BUSY_AFTER_S", 0.0)
    with Screen() as screen:
        screen.busy("counting sheep")
        assert screen._timer is None


def test_a_table() -> None:
    rows: list[dict[str, Any]] = [{"srcaddr": "10.0.0.1", "packets": 12345678}, {"srcaddr": None, "packets": 1}]
    assert grid(["srcaddr", "packets"], rows).plain.splitlines() == [
        "srcaddr   packets",
        "10.0.0.1 12345678",
        "-               1",
    ]
