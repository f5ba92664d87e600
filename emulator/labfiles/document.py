"""A lab file as read, with those that it includes: one tree of plain data, and where each part of it stands."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from emulator.errors import LabFileError
from emulator.labfiles import checking
from emulator.labfiles.checking import Problem
from emulator.positions import Place, line_of

SHOWN = 20
"""Problems that are told in full; of more it is said how many there are."""
LONGEST = 4 << 20
"""Bytes of a lab file; what is longer is none."""

OPTIONS = ("profile", "region", "start", "speed", "data", "quotas")
"""What stands above the tables."""


@dataclass(frozen=True)
class Source:
    """One file; ``name`` is how its user called it."""

    name: str
    text: str


@dataclass
class Document:
    """``data`` is what all files say together, checked against the schema; ``sources`` tells of each option and object
    from which it comes."""

    folder: Path
    data: dict[str, Any] = field(default_factory=dict)
    sources: dict[Place, Source] = field(default_factory=dict)

    def objects(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from self.data.get(kind, {}).items()

    def names(self, kind: str) -> list[str]:
        return list(self.data.get(kind, {}))

    def refuse(self, problems: Iterable[Problem]) -> LabFileError:
        """The exception that tells of all of them, a line each."""
        found = list(problems)
        lines = [self._line(problem) for problem in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"and {len(found) - SHOWN} more")
        return LabFileError("\n".join(lines), problems=found)

    def _line(self, problem: Problem) -> str:
        kind, *rest = problem.place or ("",)
        source = self.sources.get(problem.place[:2]) or self.sources[()]
        what = f"{str(kind).replace('_', ' ')} {rest[0]}: " if rest else ""
        entry = next((f"{one}, entry {index + 1}: " for one, index in _entries(rest)), "")
        return f"{source.name}:{line_of(source.text, problem.place)}: {what}{entry}{problem.message}"


def _entries(rest: list[str | int]) -> Iterator[tuple[str | int, int]]:
    for one, index in pairwise(rest):
        if isinstance(index, int):
            yield one, index


def read(path: str | os.PathLike[str]) -> Document:
    """A lab file and what it includes.

    :raises LabFileError: it cannot be read, is no TOML, or is not of the shape that the schema says
    """
    if not isinstance(path, str | os.PathLike):
        raise LabFileError(f"a lab file is named by its path, not by {path!r}")
    place = Path(path)
    document = Document(Path(os.path.realpath(place)).parent)
    found: list[Problem] = []
    _include(document, place, os.fspath(path), (), found)
    if found:
        raise document.refuse(found)
    return document


def parse(text: str, name: str = "lab file") -> Document:
    """A lab file without includes from its text."""
    document = Document(Path.cwd())
    found: list[Problem] = []
    _take(document, Source(name, text), found)
    if found:
        raise document.refuse(found)
    return document


def _include(document: Document, path: Path, name: str, chain: tuple[Path, ...], found: list[Problem]) -> None:
    real = Path(os.path.realpath(path))
    source = Source(name, _text(path, name))
    for number, one in enumerate(_take(document, source, found)):
        place: Place = ("include", number)
        inner = path.parent / one
        target = Path(os.path.realpath(inner))
        if target in (*chain, real):
            way = " > ".join(step.name for step in (*chain, real, target))
            message = f"{one} includes itself: {way}; take one of these lines out"
        elif not target.is_relative_to(document.folder):
            message = f"{one} is not in the folder {document.folder} of the first file, or below it"
        elif not target.is_file():
            message = f"there is no file {one}"
        else:
            _include(document, inner, os.path.join(os.path.dirname(name), one), (*chain, real), found)
            continue
        raise LabFileError(f"{name}:{line_of(source.text, place)}: {message}", problems=[Problem(place, message)])


def _text(path: Path, name: str) -> str:
    try:
        if path.stat().st_size > LONGEST:
            raise LabFileError(f"{name} has {path.stat().st_size} bytes; a lab file has at most {LONGEST}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is {error.object[error.start]:#04x}"
        raise LabFileError(f"{name} is no text in UTF-8: {wrong}") from None
    except (OSError, ValueError) as error:  # a name with a null byte in it
        raise LabFileError(f"{name} cannot be read: {getattr(error, 'strerror', error)}") from error


def _take(document: Document, source: Source, found: list[Problem]) -> list[str]:
    """Merge one file into the document; the files that it includes."""
    try:
        data = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+), column \d+", str(error))
        line = at[1] if at else source.text.count("\n") + 1
        raise LabFileError(f"{source.name}:{line}: this is no TOML: {error}") from None
    except RecursionError:
        raise LabFileError(f"{source.name}: its values are nested too deeply") from None
    document.sources.setdefault((), source)
    wrong = checking.problems(data)
    if wrong:
        raise Document(document.folder, data, {(): source}).refuse(wrong)
    for kind, value in data.items():
        if kind in (*OPTIONS, "include"):
            _once(document, (kind,), source, found)
            document.data[kind] = value
            continue
        for name, one in value.items():
            _once(document, (kind, name), source, found)
            document.data.setdefault(kind, {})[name] = one
    return list(data.get("include", []))


def _once(document: Document, place: Place, source: Source, found: list[Problem]) -> None:
    before = document.sources.get(place)
    if before is not None and place != ("include",):
        line = line_of(before.text, place)
        found.append(Problem(place, f"{source.name} has it, too; it is in {before.name}, line {line}, already"))
    document.sources[place] = source
