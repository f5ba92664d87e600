"""A session of the shell: what its commands share, and how one line is run."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.text import Text

from emulator.cloud.names import nearest
from emulator.errors import VpclabError

if TYPE_CHECKING:
    from emulator.fabric.pcap import Capture
    from emulator.lab import Lab
    from emulator.logs.topic import Topic
    from emulator.resources.machine import Machine
    from emulator.screen import Screen

COMMENT = "#"


class WrongCommand(Exception):
    """A line that is no command, or not written as one; the message is one line."""


class Leave(Exception):
    """The user wants to leave."""


@dataclass(frozen=True)
class Command:
    """``run`` gets the session and what stands behind the command's name, as it was typed."""

    name: str
    usage: str
    about: str
    run: Callable[[Session, str], None]


@dataclass
class Session:
    """One user in one lab. ``records`` were shown last, counted from 1; ``captures`` run, by the name of their
    machine."""

    lab: Lab
    screen: Screen
    records: list[Any] = field(default_factory=list)
    captures: dict[str, Capture] = field(default_factory=dict)
    topic_name: str | None = None
    commands: dict[str, Command] = field(init=False)

    def __post_init__(self) -> None:
        from emulator.shell.commands import COMMANDS
        from emulator.shell.nodes import Nodes

        self.nodes = Nodes(self)
        self.commands = {one.name: one for one in (*COMMANDS, *self.nodes.commands)}

    def run(self, line: str) -> None:
        """Run one line.

        :raises WrongCommand: it is none; VpclabError: it failed; Leave: it was the last
        """
        first, _, rest = line.strip().partition(" ")
        if not first or first.startswith(COMMENT):
            return
        machine = self.machine(first) if first not in self.commands else None
        if machine is not None:
            self.nodes.run(machine, rest.strip())
        elif first in self.commands:
            self.commands[first].run(self, rest.strip())
        else:
            known = [*self.commands, *self.machine_names()]
            raise WrongCommand(f"there is no command {first!r}; {nearest(first, known)} (help lists them)")

    def close(self) -> None:
        """End captures that still run; one that fails does not keep the others."""
        while self.captures:
            with contextlib.suppress(VpclabError):
                self.captures.popitem()[1].__exit__(None, None, None)

    # what commands ask for ---------------------------------------------------------------------------

    def say(self, text: str | Text) -> None:
        """Print; a terminal wraps what is longer than a line, nothing is cut."""
        self.screen.console.print(text, soft_wrap=True)

    def machine_names(self) -> list[str]:
        return list(self.lab.net)[: len(self.lab.net.hosts)]

    def machine(self, name: str) -> Machine[Any] | None:
        """A CVM or a host of the internet by name or id."""
        from emulator.resources import Cvm, InternetHost

        for kind, table in ((Cvm, self.lab.cloud.cvms), (InternetHost, self.lab.cloud.internet_hosts)):
            found = [one.id for one in table.values() if name in (one.id, one.name)]
            if len(found) == 1:
                return kind(self.lab, found[0])
        return None

    def named_machine(self, name: str) -> Machine[Any]:
        found = self.machine(name)
        if found is None:
            raise WrongCommand(f"there is no machine {name!r}; {nearest(name, self.machine_names())}")
        return found

    @property
    def topic(self) -> Topic:
        """The topic that is searched: the one chosen, else the first."""
        topics = self.lab.logs.topics()
        chosen = [one for one in topics if self.topic_name in (None, one.name)]
        if not chosen:
            raise WrongCommand("the lab has no topic: describe one in its file, with a flow log")
        return chosen[0]


def words(text: str, usage: str, least: int, most: int) -> list[str]:
    """What was typed behind a command, as a shell splits it; so many words."""
    try:
        found = shlex.split(text)
    except ValueError as error:
        raise WrongCommand(f"{error}: {usage}") from None
    if not least <= len(found) <= most:
        raise WrongCommand(f"write {usage}")
    return found


def number(word: str, what: str, numbers: Sequence[int] | range) -> int:
    """A whole number among these."""
    if not word.isdecimal() or int(word) not in numbers:
        there = f"{numbers[0]} to {numbers[-1]}" if numbers else "there is none yet"
        raise WrongCommand(f"{what} {word!r}: give its number, {there}")
    return int(word)
