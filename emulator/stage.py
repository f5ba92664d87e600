"""The stage: a screen for a class. It waits for a key between steps, and before anything scrolls off.

Lines are folded by words, whatever they are, so that a terminal of 80 columns wraps none; no colours and nothing dim,
only bold, so that a projector and NO_COLOR show what there is. Where the output is no terminal it is a screen that
waits for lines.
"""

from __future__ import annotations

import os
import shutil
import sys

from rich.text import Text

from emulator.screen import Screen

_HANGING = 2
"""Columns by which a folded line's rest is indented further."""
_PROMPT = "-- enter: go on   ?: keys --"
_MORE = "-- enter: go on with this step   ?: keys --"
_KEYS = "-- enter, space: go on   c: no more stops   q: leave   Ctrl-C: break off --"
_ON = {b"\r", b"\n", b" ", b"\x1b[6~", b"\x1b[C", b"\x1b[B"}
"""Enter and space; page down, right and down, which the remote controls of lecturers send."""
_LEAST_ROWS = 5


class Stage(Screen):
    def __init__(self) -> None:
        super().__init__()
        self._waits = True
        self._rows = 0
        self._heading = ""
        self._told = False

    def title(self, title: str, situation: str = "") -> None:
        self._rows, self._heading, self._told = 0, title, bool(situation)
        super().title(title, situation)

    def step(self, number: int, text: str) -> None:
        if number > 1 or self._told:
            self._pause(_PROMPT)
        self._heading = f"{number}. {text}"
        super().step(number, text)

    def say(self, text: str | Text, *, indent: int = 0, whole: bool = False) -> None:
        if not self.terminal:
            super().say(text, indent=indent, whole=whole)
            return
        self.idle()
        text = text if isinstance(text, Text) else Text(text)
        bold = "bold" in str(text.style) or any("bold" in str(span.style) for span in text.spans)
        for line in text.plain.split("\n"):
            hanging = _HANGING if whole or indent else 0
            for number, part in enumerate(self._folded(line, indent, hanging)):
                self._line(" " * (indent + hanging * (number > 0)) + part if part else "", bold)
        self.busy(self._doing)

    def _folded(self, line: str, indent: int, hanging: int) -> list[str]:
        room = _size().columns - 1 - indent
        if len(line) <= room:
            return [line]
        start = len(line) - len(line.lstrip())
        parts = Text(line.lstrip()).wrap(self.console, max(10, room - hanging - start), overflow="fold")
        return [" " * start + part.plain.rstrip() for part in parts]

    def _line(self, line: str, bold: bool) -> None:
        if self._rows >= max(_LEAST_ROWS, _size().lines) - 1:
            self._pause(_MORE)
            if self._waits:
                self._line(f"{self._heading} (continued)"[: _size().columns - 1], bold=True)
        self._rows += 1
        self.console.print(Text(line, style="bold" if bold else ""), soft_wrap=True)

    def _pause(self, prompt: str) -> None:
        self._rows = 0
        if not self._waits:
            return
        self.idle()
        self._waits = _wait(prompt)


def _size() -> os.terminal_size:
    """As it is now; rich takes a terminal without escape sequences for one of 25 lines."""
    return shutil.get_terminal_size()


def _wait(prompt: str) -> bool:
    """Wait for a key (of a terminal) or a line (of anything else); False when nobody is there to give one, or wants to
    be asked no more. ``q`` ends the program."""
    try:
        handle = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    if not os.isatty(handle):
        line = sys.stdin.readline()
        if line.strip() == "q":
            raise SystemExit(0)
        return line not in ("", "c\n")
    import termios
    import tty

    sys.stdout.flush()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)  # Ctrl-C still interrupts
        while True:
            _show(prompt)
            key = os.read(handle, 16)  # of an arrow key all its bytes
            _show(" " * len(prompt))
            if key in (b"", b"\x04", b"c"):
                return False
            if key == b"q":
                raise SystemExit(0)
            if key in _ON:
                return True
            prompt = _KEYS
    finally:
        termios.tcsetattr(handle, termios.TCSAFLUSH, before)
        _show(" " * len(prompt))
        _show("")


def _show(text: str) -> None:
    """In place of what the line says; a terminal that knows no escape sequences can do that, too."""
    sys.stderr.write(f"\r{text}")
    sys.stderr.flush()
