"""Commands about time, records, explanations, captures and files."""

from __future__ import annotations

import re
from pathlib import Path

from rich.text import Text

from emulator.cloud.names import nearest
from emulator.resources import Cvm
from emulator.shell.drawing import draw
from emulator.shell.rules import acl, sg
from emulator.shell.session import Command, Leave, Session, WrongCommand, number, words

LATEST = 20
"""Records that ``records`` shows."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")


def advance(session: Session, rest: str) -> None:
    (span,) = words(rest, ADVANCE, 1, 1)
    if span.isdecimal():
        seconds = float(span)
    elif _SPAN.fullmatch(span):
        seconds = sum(float(count) * _UNITS[unit] for count, unit in re.findall(r"([\d.]+)([smhd])", span))
    else:
        raise WrongCommand(f"{span!r} is no span of time; write {ADVANCE}")
    session.lab.clock.advance(seconds=seconds)
    session.say(f"lab time is {session.lab.clock.now:.0f}")


def search(session: Session, rest: str) -> None:
    _show(session, rest or "*")


def records(session: Session, rest: str) -> None:
    words(rest, "records", 0, 0)
    _show(session, "*", latest=True)


def _show(session: Session, query: str, *, latest: bool = False) -> None:
    """Search, and show what is found with numbers for ``explain``."""
    topic = session.topic
    found = topic.search(query, limit=LATEST, newest_first=True)[::-1] if latest else list(topic.search(query))
    session.records = list(found)
    if not found:
        profile = session.lab.profile
        session.say(
            f"nothing was found in {topic.name}; records come {profile.delay_s} s behind the end of their window "
            f"of {profile.window_s} s: advance"
        )
        return
    session.say(session.screen.fitting([{"#": place, **record} for place, record in enumerate(found, 1)]))


def explain(session: Session, rest: str) -> None:
    (word,) = words(rest, "explain NUMBER", 1, 1)
    place = number(word, "record", range(1, len(session.records) + 1))
    session.say(session.lab.explain(session.records[place - 1]).in_full)


def topic(session: Session, rest: str) -> None:
    found = words(rest, "topic [NAME]", 0, 1)
    names = [one.name for one in session.lab.logs.topics()]
    if found and found[0] not in names:
        raise WrongCommand(f"there is no topic {found[0]!r}; {nearest(found[0], names)}")
    session.topic_name = found[0] if found else session.topic_name
    chosen = session.topic
    for one in session.lab.logs.topics():
        session.say(f"{'*' if one is chosen else ' '} {one.logset}/{one.name}")


def topology(session: Session, rest: str) -> None:
    words(rest, "topology", 0, 0)
    session.screen.console.print(draw(session.lab))


def capture(session: Session, rest: str) -> None:
    """The first ``capture A`` begins, the second ends."""
    name, *file = words(rest, CAPTURE, 1, 2)
    machine = session.named_machine(name)
    if name in session.captures:
        running = session.captures.pop(name)
        running.__exit__(None, None, None)
        session.say(f"{running.packets} packets in {running.path}")
        return
    if not isinstance(machine, Cvm):
        raise WrongCommand(f"{name} is on the internet; captures are taken at CVMs")
    running = machine.eni.capture(file[0] if file else f"{name}.pcap")
    running.__enter__()
    session.captures[name] = running
    session.say(f"capturing at {name} into {running.path}; capture {name} ends it")


def audit(session: Session, rest: str) -> None:
    words(rest, "audit", 0, 0)
    session.say(session.lab.audit().check().text)


def save(session: Session, rest: str) -> None:
    file, *data = words(rest, SAVE, 1, 2)
    session.lab.save(file, data=data[0] if data else None)
    session.say(f"saved to {Path(file)}" + (f", records to {Path(data[0])}" if data else ""))


def help_(session: Session, rest: str) -> None:
    asked = words(rest, "help [COMMAND]", 0, 1)
    if asked and asked[0] not in session.commands:
        raise WrongCommand(f"there is no command {asked[0]!r}; {nearest(asked[0], session.commands)}")
    shown = [session.commands[asked[0]]] if asked else list(session.commands.values())
    lines = [(one.usage, one.about) for one in shown]
    if not asked:
        lines = [*session.nodes.usage, *lines]
    width = max(len(usage) for usage, _ in lines)
    for usage, about in lines:
        session.say(Text.assemble((usage.ljust(width), "bold"), "  ", about))


def leave(session: Session, rest: str) -> None:
    raise Leave


ADVANCE, CAPTURE, SAVE = "advance 10m (s, m, h, d)", "capture A [FILE]", "save FILE [FOLDER]"

COMMANDS = (
    Command("advance", ADVANCE, "let lab time pass: windows close, records are published", advance),
    Command("search", "search QUERY", "in the topic's own language, with SQL behind |", search),
    Command("records", "records", f"the latest {LATEST} records", records),
    Command("explain", "explain 3", "which rule decided the third record that was shown last", explain),
    Command("topic", "topic [NAME]", "the topics; choose the one that is searched", topic),
    Command("sg", "sg web allow tcp 443", "change or list (sg web) a security group", sg),
    Command("acl", "acl web deny egress all", "change or list a network ACL", acl),
    Command("topology", "topology", "draw what there is", topology),
    Command("capture", CAPTURE, "begin a capture at A; the same again ends it", capture),
    Command("audit", "audit", "hold the records against the kernel's own counters", audit),
    Command("save", SAVE, "write a lab file, and with a folder the records", save),
    Command("help", "help [COMMAND]", "this", help_),
    Command("exit", "exit", "leave (as Ctrl-D does); everything is taken down", leave),
    Command("quit", "quit", "the same", leave),
)
