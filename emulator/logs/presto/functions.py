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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

_LINE = re.compile(r"(?P<name>\w+)\((?P<arguments>[^)]*)\)(?: = (?P<body>.+))?")

MACRO = "vpclab_"
"""What the names of our macros begin with; no query can call them by that, for no table has them."""


@dataclass(frozen=True)
class Function:
    """One function of the dialect.

    ``target``     what DuckDB is to call
    ``arguments``  how many it may have
    ``kind``       ``aggregate`` may stand before OVER, ``window`` must
    ``macro``      the definition of ``target``, where it is one of ours
    """

    name: str
    target: str
    arguments: frozenset[int]
    kind: Literal["scalar", "aggregate", "window"] = "scalar"
    macro: str = ""


def table(text: str, prefix: str = "", **values: object) -> dict[str, Function]:
    """The functions of a table. ``values`` replace ``{name}`` in it; ``prefix`` keeps macros of two tables apart."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    bodies: dict[str, list[tuple[str, str]]] = {}
    arities: dict[str, set[int]] = {}
    for name, arguments, body in lines(text):
        arities.setdefault(name, set()).add(len(arguments.split(",")) if arguments else 0)
        if body:
            bodies.setdefault(name, []).append((arguments, body))
    return {name: _function(name, frozenset(arities[name]), bodies.get(name, []), prefix) for name in arities}


def lines(text: str) -> Iterator[tuple[str, str, str]]:
    """Name, arguments and body (``""`` without one) of each line of a table."""
    for line in re.sub(r"\n +", " ", text.strip()).split("\n"):
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"no line of a function table: {line}")
        yield found["name"], found["arguments"], found["body"] or ""


def _function(name: str, arities: frozenset[int], bodies: list[tuple[str, str]], prefix: str) -> Function:
    if not bodies:
        return Function(name, name, arities)
    if {len(arguments.split(",")) if arguments else 0 for arguments, _ in bodies} != arities:
        raise ValueError(f"{name} is DuckDB's with one number of arguments and a macro with another")
    target = MACRO + prefix + name
    overloads = ", ".join(f"({arguments}) AS ({body})" for arguments, body in bodies)
    return Function(name, target, arities, macro=f"CREATE MACRO {target}{overloads}")


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
