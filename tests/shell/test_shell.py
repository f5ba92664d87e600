"""`vpclab shell`, from a pipe and at a terminal."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, TIMEOUT_S, Terminal, environment, vpclab
from rich.console import Console

from emulator.errors import VpclabError
from emulator.pytest_plugin import need_kernel
from emulator.screen import Screen
from tests.children import REPOSITORY

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def kernel():
    need_kernel()


def script(*lines, args=()):
    return vpclab("shell", *args, input="".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Every command once, in one lab."""
    need_kernel()
    folder = tmp_path_factory.mktemp("shell")
    done = script(
        "# a comment",
        "",
        "topology",
        "A ping B 2",
        "A tcp B 80 100",
        "sg web allow tcp 80-90 from 10.16.0.22/32",
        "A tcp B 80 100",
        "sg web remove 1",
        "A ping B",
        "A run echo 'from the guest'; exit 3",
        "A ip -4 addr show eth0",
        "nodes",
        "net",
        "pingall",
        f"capture B {folder}/b.pcap",
        "A tcp B 81",
        "capture B",
        "advance 5m",
        "advance 300",
        "search dstport:80",
        "explain 1",
        "records",
        "search * | select count(*) as n",
        "topic",
        "audit",
        f"save {folder}/lab.toml {folder}/data",
        "help",
    )
    assert (done.returncode, done.stderr) == (0, "")
    again = script("search dstport:80", "sg web", "exit", "no such line", args=[f"{folder}/lab.toml"])
    assert (again.returncode, again.stderr) == (0, "")
    return done.stdout, again.stdout


SAID = [
    "CVM A  10.16.0.22  in web  [logged: ping]",
    "2 packets transmitted, 2 received",
    "silent: ",
    "answered: 5 packets (368 bytes) out, 4 packets",
    "  2. allow ingress tcp port 80-90 from 10.16.0.22/32",
    "1 packets transmitted, 0 received",
    "from the guest",
    "exit code 3",
    "inet 10.16.0.22",
    "available nodes are",
    "A eth0:eni-",
    "*** Results: 100% dropped (0/2 received)",
    "capturing at B into ",
    "lab time is 1704067800",
    "ACCEPT of what left eni-lozm8mib: security group sg-x3iuhvud (web)",
    "* demo/records",
    "the books balance",
    "saved to ",
    "advance 10m (s, m, h, d)",
]


def test_every_command_once(told):
    first, again = told
    assert [line for line in SAID if line not in first] == []

    # A saved lab goes on.
    found = [line.split() for line in first.splitlines() if " 80 " in line and line.endswith("OK")]
    assert found
    assert [line.split() for line in again.splitlines() if line.endswith("OK")] == found[: len(again.splitlines()) - 3]
    assert "1. allow ingress tcp port 80-90 from 10.16.0.22/32" in again


@pytest.fixture(scope="module")
def session():
    """One in the demo's lab, that prints to nobody."""
    need_kernel()
    from emulator import Lab
    from emulator.shell import session as module

    with Lab.from_file(REPOSITORY / "emulator/shell/demo.toml") as lab:
        screen = Screen()
        screen.console = Console(file=io.StringIO())
        yield module.Session(lab, screen)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("serch x", "there is no command 'serch'; did you mean search"),
        ("A", "say what A is to do: A ping B"),
        ("A ping C", "nothing is called 'C'"),
        ("A ping B many", "count 'many': give its number, 1 to "),
        ("A ping B 1 2", "write A ping B [COUNT]"),
        ("A ping web", "web has no address"),
        ("A tcp B 0", "port '0': give its number, 1 to 65535"),
        ("A run", "write A run COMMAND"),
        ("advance soon", "'soon' is no span of time; write advance 10m"),
        ("advance 9999d", "give a number of at most a year"),
        ("explain 1", "record '1': give its number, there is none yet"),
        ("search (((", "line 1:4: the query ends where"),
        ("sg wbe", "there is no security group 'wbe'; did you mean web?"),
        ("sg web alow tcp", "'alow': did you mean allow?"),
        ("sg web allow tcp 99999", "99999 is no port"),
        ("sg web remove 9", "rule '9': give its number, 1 to 2"),
        ("acl x", "there is no network ACL 'x'; there are none yet"),
        ("topic x", "there is no topic 'x'; there are records"),
        ("capture C", "there is no machine 'C'; there are A, B"),
        ("save", "write save FILE [FOLDER]"),
        ("save /no/such/folder/x", "save to /no/such/folder/x: No such file"),
        ("help advanc", "there is no command 'advanc'; did you mean advance?"),
    ],
    ids=lambda value: value if len(value) < 24 else "",
)
def test_a_line_that_is_wrong(session, line, said):
    """One line, which names what is right."""
    from emulator.shell.session import WrongCommand

    with pytest.raises((WrongCommand, VpclabError)) as refused:
        session.run(line)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_words_that_may_come_next(session):
    from emulator.shell.prompt import next_words

    assert {"A", "B", "advance", "pingall"} <= set(next_words(session, []))
    assert next_words(session, ["A"]) == ["ping", "run", "tcp", "udp"]
    assert next_words(session, ["A", "ping"]) == ["A", "B"]
    assert next_words(session, ["sg"]) == ["default", "web"]
    assert next_words(session, ["sg", "web"]) == ["allow", "deny", "remove"]
    assert "tcp" in next_words(session, ["sg", "web", "allow"])
    assert "srcaddr:" in next_words(session, ["search"])
    assert next_words(session, ["nodes"]) == []


@pytest.mark.parametrize(("line", "code"), [("serch", 2), ("save /no/such/folder/x", 1)], ids=["wrong", "failed"])
def test_a_script_ends_at_its_first_failure(line, code):
    done = script("topic", line, "A run echo still here")
    assert (done.returncode, done.stdout) == (code, "* demo/records\n")
    assert done.stderr.startswith("vpclab: line 2: ")
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_wrong(tmp_path):
    (tmp_path / "lab.toml").write_text("[cvm.A]\nsubnet = 'web'\n")
    done = vpclab("shell", str(tmp_path / "lab.toml"), input="")
    assert done.returncode == 1
    assert done.stderr.endswith("lab.toml:2: cvm A: there is no subnet 'web'; there are none yet\n")


def test_an_interrupt_of_a_script():
    process = subprocess.Popen(
        [*COMMAND, "shell"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("A run echo ready; sleep 600\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (130, "")


PROMPT = b"vpclab>"


def test_at_a_terminal(tmp_path):
    """Completion, history, failures that do not end it, Ctrl-C that ends a command and not the shell, Ctrl-D that
    leaves; everything is taken down and the terminal is as it was."""
    state = {"XDG_STATE_HOME": str(tmp_path), "PROMPT_TOOLKIT_NO_CPR": "1"}
    terminal = Terminal([*COMMAND, "shell"], anew=True, **state)

    def ask(keys, wanted):
        at = len(terminal.output)
        terminal.press(keys)
        return terminal.read_until(PROMPT, terminal.read_until(wanted, at))

    terminal.read_until(PROMPT, terminal.read_until(b"Ctrl-D leaves"))
    ask(b"serch\r", b"did you mean search")
    at = len(terminal.output)
    terminal.press(b"adva\t")
    terminal.read_until(b"nce", at)
    ask(b" 10m\r", b"lab time is 1704067800")
    ask(b"A run sleep 631 &\r", b"\r\n")
    at = len(terminal.output)
    terminal.press(b"A run echo r''eady; sleep 600\r")
    terminal.read_until(b"ready\r\n", at)
    terminal.press(b"\x03")
    terminal.read_until(PROMPT, terminal.read_until(b"interrupted", at))
    at = len(terminal.output)
    terminal.press(b"A ping -i 0.1 B\r")
    terminal.read_until(b"bytes from", at)
    terminal.press(b"\x03")
    terminal.read_until(PROMPT, terminal.read_until(b"packets transmitted", at))
    ask(b"half a line\x03", b"\r\n")
    ask(b"py open('/proc/self/status').read().split('PPid')[0][:6]\r", b"Name:")
    terminal.press(b"\x04")
    assert terminal.end() == 0
    assert b"Traceback" not in terminal.output
    assert "advance 10m" in (tmp_path / "vpclab/history").read_text()
    assert os.stat(tmp_path / "vpclab/history").st_mode & 0o077 == 0
    left = [one for one in Path("/proc").glob("[0-9]*/cmdline") if runs(one, b"sleep\0631\0")]
    assert not left


def runs(cmdline, command):
    """Whether a process runs this command."""
    try:
        return cmdline.read_bytes() == command
    except OSError:
        return False
