"""The functions there are: what a query may call, and what DuckDB is asked instead.

A table is text, one function a line: its name and arguments as Presto has them and, where DuckDB's function of that
name means something else or does not exist, what is to be computed instead::

    abs(x)
    strpos(x, y)
    split_part(x, d, i) = CASE WHEN i <= len(string_split(x, d)) THEN split_part(x, d, i) END
    date_trunc(u, x BIGINT) = ...        one line for each type that an argument may have

Such a line becomes a macro of DuckDB's when a query first needs it. What stands in no table does not exist: this is
the allow-list of functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

_LINE = re.compile(r"(?P<name>\w+)\((?P<arguments>[^)]*)\)(?: = (?P<body>.+))?")

MACRO = "vpclab_"
"""What the names of our macros begin with; no query can call them by that, for no table has them."""


_ARGUMENT = re.compile(r"(\w+)(?: (\w+))?")


@dataclass(frozen=True)
class Form:
    """What is computed for a call with these arguments; ``kinds`` has "" where any will do."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    body: str

    @property
    def overload(self) -> str:
        """As a macro of DuckDB's has it."""
        arguments = [" ".join(one).strip() for one in zip(self.names, self.kinds, strict=True)]
        return f"({', '.join(arguments)}) AS ({self.body})"

    def takes(self, kinds: Sequence[str]) -> bool:
        """Whether it is for arguments of these kinds."""
        return len(self.names) == len(kinds) and all(
            wanted in ("", kind) for wanted, kind in zip(self.kinds, kinds, strict=True)
        )


@dataclass(frozen=True)
class Function:
    """One function of the dialect.

    ``target``     what DuckDB is to call
    ``arguments``  how many it may have
    ``kind``       ``aggregate`` may stand before OVER, ``window`` must
    ``forms``      the definition of ``target``, where it is a macro of ours
    """

    name: str
    target: str
    arguments: frozenset[int]
    kind: Literal["scalar", "aggregate", "window"] = "scalar"
    forms: tuple[Form, ...] = ()

    @property
    def macro(self) -> str:
        """What defines ``target``; "" where it is DuckDB's own."""
        if not self.forms:
            return ""
        return f"CREATE MACRO {self.target}{', '.join(form.overload for form in self.forms)}"

    def by_kind(self, count: int) -> bool:
        """Whether what is computed of so many arguments is chosen by their kinds."""
        return sum(len(form.kinds) == count for form in self.forms) > 1

    def of(self, kinds: Sequence[str]) -> tuple[Function, Form] | None:
        """The same for arguments of these kinds alone, so that there is nothing to choose; and what was chosen."""
        form = next((form for form in self.forms if form.takes(kinds)), None)
        if form is None:
            return None
        target = "_".join((self.target, "of", *(kind.lower() or "any" for kind in form.kinds)))
        return replace(self, target=target, forms=(replace(form, kinds=("",) * len(form.kinds)),)), form


def table(text: str, prefix: str = "", **values: object) -> dict[str, Function]:
    """The functions of a table. ``values`` replace ``{name}`` in it; ``prefix`` keeps macros of two tables apart."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    forms: dict[str, list[Form]] = {}
    for name, form in lines(text):
        forms.setdefault(name, []).append(form)
    return {name: _function(name, several, prefix) for name, several in forms.items()}


def lines(text: str) -> Iterator[tuple[str, Form]]:
    """The name and the form (its body ``""`` without one) of each line of a table."""
    for line in re.sub(r"\n +", " ", text.strip()).split("\n"):
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"no line of a function table: {line}")
        takes = [_ARGUMENT.fullmatch(one.strip()) for one in found["arguments"].split(",") if one]
        names, kinds = (tuple(one[at] or "" for one in takes if one) for at in (1, 2))
        yield found["name"], Form(names, kinds, found["body"] or "")


def _function(name: str, forms: list[Form], prefix: str) -> Function:
    arities = frozenset(len(form.names) for form in forms)
    macros = tuple(form for form in forms if form.body)
    if not macros:
        return Function(name, name, arities)
    if {len(form.names) for form in macros} != arities:
        raise ValueError(f"{name} is DuckDB's with one number of arguments and a macro with another")
    return Function(name, MACRO + prefix + name, arities, forms=macros)


def renamed(text: str, kind: Literal["scalar", "aggregate", "window"]) -> dict[str, Function]:
    """Functions that DuckDB has under another name, one a line: ``max_by(2, 3) arg_max_null``, numbers of arguments."""
    functions = {}
    for line in text.strip().split("\n"):
        found = re.fullmatch(r"(\w+)\(([\d, ]+)\) ?(\w*)", line)
        if found is None:
            raise ValueError(f"no line of a table of names: {line}")
        arities = frozenset(int(number) for number in found[2].split(","))
        functions[found[1]] = Function(found[1], found[3] or found[1], arities, kind)
    return functions


def as_aggregates(functions: Mapping[str, Function]) -> dict[str, Function]:
    """Macros that hold aggregates: they compute over rows, but cannot stand before OVER."""
    return {name: replace(function, kind="aggregate") for name, function in functions.items()}


def functions_of(provider: str, place_of: str = "") -> Mapping[str, Function]:
    """Every function that the SQL of a provider may call, by its name in lower case.

    ``place_of``  what DuckDB knows a database of places by; without it the shipped table says where addresses are
    """
    from emulator.logs.presto import addresses, aggregates, arrays, scalars, times

    return {
        **scalars.FUNCTIONS,
        **arrays.FUNCTIONS,
        **addresses.FUNCTIONS,
        **(addresses.from_database(place_of) if place_of else {}),
        **aggregates.FUNCTIONS,
        **(times.SLS if provider == "alibaba" else times.CLS),
    }
