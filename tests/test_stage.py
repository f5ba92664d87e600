"""``--step``, on a terminal of 80 columns and 24 lines, as a class sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyte
import pytest
from commands import COMMAND, Terminal, injected
from scapy.all import ICMP, IP, TCP, UDP, Ether, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, Raw, fragment

from emulator.pytest_plugin import need_kernel
from emulator.suites.passing import flows
from emulator.suites.taps import Frame

PROMPT = b"?: keys --"
COLUMNS, LINES = 80, 24
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def pages(argv: list[str], **env: str) -> Iterator[list[str]]:
    """What the terminal shows at each prompt, and at last when the command has ended well; a key goes on."""
    terminal, screen = Terminal(argv, **env), pyte.HistoryScreen(COLUMNS, LINES, history=10_000)
    stream, at, began = pyte.ByteStream(screen), 0, 0
    while True:
        try:
            after = terminal.read_until(PROMPT, at)
        except AssertionError:
            break
        printed = terminal.output[at:after]
        stream.feed(printed)
        assert began >= len(screen.history.top), "something has scrolled off that nobody could read"
        widest = max(map(len, re.split(rb"[\r\n]", ESCAPE.sub(b"", printed))))
        assert widest < COLUMNS, "the terminal has wrapped a line"
        began = len(screen.history.top) + screen.cursor.y
        yield [line.rstrip() for line in screen.display]
        terminal.press(b"\r")
        at = after
    stream.feed(terminal.output[at:])
    assert terminal.end() == 0
    yield [line.rstrip() for line in screen.display]


@pytest.mark.kernel
@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["colours", "NO_COLOR", "dumb"])
def test_the_ping_for_a_class(env: dict[str, str]) -> None:
    """Each step with its command, packets, records and rule; the situation before the first."""
    need_kernel()
    shown = list(pages([*COMMAND, "scenario", "run", "ping", "--step"], **env))

    assert shown[0][0] == "ping, under tencent"
    assert "    +- subnet 10.16.0.0/24 ----------------------------+" in shown[0]
    ends = [next(line for line in reversed(page) if line) for page in shown]
    assert set(ends[:-1]) == {"-- enter: go on   ?: keys --"}
    pinged = next(page for page in shown if "3. A pings B, nine times" in page)
    for line in (
        "   A$ ping -c 9 10.16.0.40",
        "   [ok] nine requests, nine replies",
        "   icmp     10.16.0.22 10.16.0.40     9       9",
        "   icmp     10.16.0.40 10.16.0.22     9       9",
    ):
        assert line in pinged
    found = next(page for page in shown if "5. Search for B's address" in page)
    record = next(at for at, line in enumerate(found) if line.startswith("   2 1251762227 eni-"))
    assert len(f"{found[record]} {found[record + 1]}".split()) == 14
    assert found[record + 2].startswith("      ACCEPT of what left eni-")
    assert ends[-1].startswith("ping: every fact held")


LONG = """
def run(story, lab):
    story.step("a long step")
    for number in range(60):
        story.note(f"note {number} " + "word " * 20)
"""


@pytest.mark.kernel
def test_a_step_longer_than_the_screen() -> None:
    """It stops before anything scrolls off, says which step goes on, and folds between words."""
    need_kernel()
    shown = list(pages([*injected(LONG), "scenario", "run", "injected", "--step"]))
    seen = [line for page in shown for line in page]
    assert {int(line.split()[1]) for line in seen if line.startswith("   note ")} == set(range(60))
    assert {word for line in seen if "note" not in line and "word" in line for word in line.split()} == {"word"}
    assert "1. a long step (continued)" in seen
    assert "-- enter: go on with this step   ?: keys --" in seen


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("keys", "said"),
    [(b"q", b"this is 1"), (b"?q", b"c: no more stops"), (b"c", b"this is 3")],
    ids=["leave", "help", "no more stops"],
)
def test_keys(keys: bytes, said: bytes) -> None:
    need_kernel()
    steps = "def run(story, lab):\n  for number in range(4): story.step(f'this is {number}')\n"
    terminal = Terminal([*injected(steps), "scenario", "run", "injected", "--step"])
    at = terminal.read_until(PROMPT)
    terminal.press(b" ")
    at = terminal.read_until(PROMPT, at)
    for number in range(len(keys)):
        terminal.press(keys[number : number + 1])
        at = terminal.read_until(b"--" if number + 1 < len(keys) else b"\r", at)
    assert terminal.end() == 0
    assert said in terminal.output
    assert terminal.output.count(PROMPT) == 2
    assert (b"this is 2" in terminal.output) == (keys == b"c")


def test_packets_by_flow() -> None:
    """Both families, ports where the protocol has them, fragments after the first without; nothing of ARP."""
    whole = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=5, dport=53) / Raw(bytes(2_000))
    six = IPv6(src="2001:db8::1", dst="2001:db8::2")
    sent = [
        IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(),
        *fragment(whole, 1_000),
        IP(src="10.0.0.1", dst="10.0.0.2", options=[b"\x01\x01\x01\x01"]) / TCP(sport=9, dport=443),
        six / IPv6ExtHdrHopByHop() / TCP(sport=9, dport=443),
        six / IPv6ExtHdrFragment(nh=17, offset=100) / Raw(bytes(16)),
        six / IPv6ExtHdrFragment(nh=17, offset=0, m=1) / UDP(sport=5, dport=53),
    ]
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    frames = [Frame(0, "eni-1", True, bytes(ether / one)) for one in sent]
    frames += [frames[0]._replace(sent=False), Frame(0, "eni-1", True, bytes(12) + b"\x08\x06" + bytes(28))]
    four, v6 = ("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")
    assert [tuple(row.values()) for row in flows(frames)] == [
        ("icmp", *four, 1, 1),
        ("udp", "10.0.0.1:5", "10.0.0.2:53", 1, 0),
        ("udp", *four, 2, 0),
        ("tcp", "10.0.0.1:9", "10.0.0.2:443", 1, 0),
        ("tcp", "[2001:db8::1]:9", "[2001:db8::2]:443", 1, 0),
        ("udp", *v6, 1, 0),
        ("udp", "[2001:db8::1]:5", "[2001:db8::2]:53", 1, 0),
    ]
