"""Where lines come from: a terminal, with completion and history, or whatever standard input is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.cloud.rules import PROTOCOLS
from emulator.errors import VpclabError
from emulator.screen import Screen
from emulator.shell.session import Leave, Session, WrongCommand

if TYPE_CHECKING:
    from emulator.lab import Lab

PROMPT = "vpclab> "
FAILED, WRONG = 1, 2


def history_file() -> Path:
    """In the user's state folder (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(state) / "vpclab" / "history"


def converse(lab: Lab) -> int:
    """Run lines until there are no more; the exit code. At a terminal failures are told and the next line is read, in a
    script the first one ends it."""
    session = Session(lab, Screen())
    try:
        return _at_terminal(session) if sys.stdin.isatty() else _from_script(session)
    finally:
        session.close()


def _from_script(session: Session) -> int:
    for place, line in enumerate(sys.stdin, 1):
        try:
            session.run(line)
        except Leave:
            break
        except (VpclabError, WrongCommand) as error:
            sys.stdout.flush()
            print(f"vpclab: line {place}: {error}", file=sys.stderr)
            return WRONG if isinstance(error, WrongCommand) else FAILED
    return 0


def _at_terminal(session: Session) -> int:
    session.say("help lists the commands, Ctrl-D leaves")
    read = _reader(session)
    while True:
        try:
            session.run(read())
        except (EOFError, Leave):
            return 0
        except KeyboardInterrupt:
            session.say("interrupted")
        except (VpclabError, WrongCommand) as error:
            session.say(str(error))


def _reader(session: Session) -> Any:
    """What asks for one line."""
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    except ImportError:
        session.say("completion and history need prompt_toolkit: pip install 'vpclab[shell]'")
        return lambda: input(PROMPT)
    asked: PromptSession[str] = PromptSession(
        history=_history(),
        completer=_completer(session),
        complete_while_typing=False,
        auto_suggest=AutoSuggestFromHistory(),
    )
    return lambda: asked.prompt(PROMPT)


def _history() -> Any:
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    file = history_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a"):
            file.chmod(0o600)
    except OSError:
        return InMemoryHistory()  # a user without a home
    return FileHistory(file)


def _completer(session: Session) -> Any:
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.document import Document

    class Words(Completer):
        """The words that may come next."""

        def get_completions(self, document: Document, event: object) -> Iterator[Completion]:
            typed = document.text_before_cursor.split(" ")
            for word in next_words(session, [one for one in typed[:-1] if one]):
                if word.startswith(typed[-1]):
                    yield Completion(word, -len(typed[-1]))

    return Words()


def next_words(session: Session, before: list[str]) -> list[str]:
    """What may stand behind the words before."""
    machines = session.machine_names()
    if not before:
        return sorted([*session.commands, *machines])
    if before[0] in machines:
        return ["ping", "run", "tcp", "udp"] if len(before) == 1 else machines
    if before[0] in ("sg", "acl"):
        cloud = session.lab.cloud
        names = [one.name for one in (cloud.groups if before[0] == "sg" else cloud.acls).values()]
        steps = (sorted(set(names)), ["allow", "deny", "remove"])
        parts = ["ingress", "egress", *PROTOCOLS, "from", "to", "priority"]
        return steps[len(before) - 1] if len(before) <= len(steps) else parts
    topics = session.lab.logs.topics()
    index = session.topic.index if topics else None
    known = {
        "search": [f"{key}:" for key in index.fields] if index else [],
        "explain": [str(place) for place in range(1, len(session.records) + 1)],
        "topic": [one.name for one in topics],
        "capture": machines,
        "help": list(session.commands),
        "advance": ["1m", "10m", "15m", "1h"],
    }
    return known.get(before[0], [])
