"""The terminal: what the command line prints, as people read it.

On a terminal tables fit its width and a spinner shows what takes longer than a second; into a file or a pipe nothing
is ever folded or cut and nothing moves. Own text is ASCII; record lines are printed as they are, so that they can be
copied and searched for.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from itertools import groupby
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.status import Status
from rich.text import Text

UNFOLDED = 1_000_000
"""Columns of what is no terminal."""
BUSY_AFTER_S = 1.0
NARROW = ("#", "srcaddr", "srcport", "dstaddr", "dstport", "protocol", "packets", "bytes", "action", "log-status")
"""The fields that a table keeps, the last ones least, where a terminal has no room for all."""
_INDENT = 3
_FLOWS = 8
"""Of a step's flows so many are shown."""


class Screen:
    """Prints to standard output; as a story's teller each thing at once."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        # Rich takes a width as final only beside a height: FORCE_COLOR with TERM=dumb would fold at 80 columns.
        width, height = (None, None) if self.terminal else (UNFOLDED, 25)
        self.console = Console(width=width, height=height, markup=False, highlight=False, emoji=False)
        self._doing = "starting"
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._status: Status | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.idle()
        finally:
            if self.terminal and not self.console.is_dumb_terminal:
                self.console.show_cursor(True)  # an interrupt may have hit the spinner between hiding and showing it

    # what a story tells ------------------------------------------------------------------------------

    def title(self, title: str, situation: str = "") -> None:
        """``situation`` is prose, which is folded to the width, and drawings, which are indented and are not."""
        self.say(Text(title, style="bold"))
        for paragraph in situation.split("\n\n"):
            self.say("")
            drawing = paragraph.startswith(" ")
            self.say(paragraph if drawing else " ".join(paragraph.splitlines()), whole=drawing)

    def step(self, number: int, text: str) -> None:
        self._doing = text
        self.say("")
        self.say(Text(f"{number}. {text}", style="bold cyan"))

    def note(self, text: str) -> None:
        self.say(text, indent=_INDENT)

    def command(self, prompt: str, output: str) -> None:
        self.say(Text(prompt, style="bold"), indent=_INDENT, whole=True)
        self.say(Text(output.strip("\n"), style="dim"), indent=_INDENT, whole=True)

    def rules(self, owner: str, rules: Sequence[str]) -> None:
        self.say(f"{owner}:", indent=_INDENT)
        for number, rule in enumerate(rules, 1):
            self.say(f"{number}. {rule}", indent=2 * _INDENT)

    def records(self, question: str, records: Sequence[dict[str, Any]], reasons: Sequence[str]) -> None:
        """A table, then each record as its whole line with the rule behind it."""
        self.say(Text(f"search {question}", style="bold"), indent=_INDENT, whole=True)
        if not records:
            self.say("nothing was found", indent=_INDENT)
            return
        self.say(self.fitting(records), indent=_INDENT, whole=True)
        for record, reason in zip(records, reasons, strict=True):
            self.say("")
            self.say(str(getattr(record, "line", record)), indent=_INDENT, whole=True)
            self.say(Text(reason, style="dim"), indent=2 * _INDENT)

    def table(self, title: str, rows: Sequence[dict[str, Any]]) -> None:
        self.say(Text(title, style="bold"), indent=_INDENT, whole=True)
        names = list(rows[0]) if rows else []
        self.say(grid(names, rows) if rows else "nothing was found", indent=_INDENT, whole=True)

    def packets(self, flows: Sequence[dict[str, Any]], lost: int) -> None:
        """What was sent in a step and what arrived; ``lost`` is how many more packets nobody has looked at."""
        if flows:
            self.table("packets of this step, as the VPC saw them", list(flows[:_FLOWS]))
        if len(flows) > _FLOWS:
            self.note(f"... and {len(flows) - _FLOWS} more flows")
        if lost:
            self.note(f"... and {lost} more packets")

    def fact(self, text: str) -> None:
        self.say(Text.assemble(("[ok] ", "green"), text), indent=_INDENT)

    def contents(self, scenarios: Sequence[Mapping[str, Any]]) -> None:
        """What `scenario list` prints: a line for each, under the name of its group."""
        width = max(len(one["name"]) for one in scenarios)
        for group, found in groupby(scenarios, lambda one: one["group"]):
            self.say(Text(group, style="bold"))
            for one in found:
                clouds = {profile.partition("-")[0] for profile in one["profiles"]}
                only = f" ({clouds.pop()} only)" if len(clouds) == 1 else ""
                self.say(f"{one['name']:{width}}  {one['title']}{only}", indent=2, whole=True)
            self.say("")
        self.say("Each runs under tencent and alibaba, where nothing else is said.")

    # how it is printed -------------------------------------------------------------------------------

    def say(self, text: str | Text, *, indent: int = 0, whole: bool = False) -> None:
        """Print a text; ``whole``: not folded on a terminal either, the terminal wraps it."""
        self.idle()
        text = text if isinstance(text, Text) else Text(text)
        if whole:
            lines = [Text.assemble(" " * indent, line) if line else line for line in text.split("\n", allow_blank=True)]
            self.console.print(Text("\n").join(lines), soft_wrap=True)
        else:
            self.console.print(Padding(text, (0, 0, 0, indent), expand=False) if text else "")
        self.busy(self._doing)

    def busy(self, doing: str) -> None:
        """Something is under way that may take long."""
        self.idle()
        self._doing = doing
        if self.terminal and not self.console.is_dumb_terminal:
            self._timer = threading.Timer(BUSY_AFTER_S, self._spin)
            self._timer.daemon = True
            self._timer.start()

    def idle(self) -> None:
        """Nothing is under way any more: no spinner."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._status is not None:
                self._status.stop()
                self._status = None

    def _spin(self) -> None:
        with self._lock:
            if self._timer is threading.current_thread():
                self._status = Status(self._doing, console=self.console)
                self._status.start()

    def fitting(self, records: Sequence[dict[str, Any]]) -> Text:
        """A table of the records with as many fields as the width has room for."""
        names = list(dict.fromkeys(name for record in records for name in record))
        room = self.console.width - _INDENT
        if _width(grid(names, records)) > room:
            names = [name for name in NARROW if name in names] or names
        while len(names) > 1 and _width(grid(names, records)) > room:
            names.pop()
        return grid(names, records)


def grid(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> Text:
    """A table of these fields, numbers to the right, ``-`` for what has no value; no line ends in blanks."""
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        texts = [name, *("-" if value is None else str(value) for value in values)]
        width = max(map(len, texts))
        number = any(isinstance(value, int) for value in values)
        columns.append([text.rjust(width) if number else text.ljust(width) for text in texts])
    head, *body = (" ".join(cells).rstrip() for cells in zip(*columns, strict=True))
    return Text("\n").join([Text(head, style="bold"), *map(Text, body)])


def _width(table: Text) -> int:
    return max(len(line) for line in table.plain.splitlines())
