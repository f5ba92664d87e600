"""Whether a document has the shape that ``schema.json`` says, with the nearest right word where it has not. Pure.

The schema is JSON Schema, so that editors can use it too; here as much of it is read as it uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from emulator.cloud.names import nearest
from emulator.positions import Place

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_WORDS = {
    "object": "a table",
    "array": "a list",
    "string": "a text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}


@dataclass(frozen=True)
class Problem:
    """What is wrong at a place of a document."""

    place: Place
    message: str


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of lab files."""
    text = files("emulator.labfiles").joinpath("schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def problems(data: Mapping[str, Any]) -> list[Problem]:
    """Everything about ``data`` that the schema does not allow, in the order of the document."""
    return list(_problems(data, schema(), ()))


def _problems(value: Any, rule: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    if "$ref" in rule:
        rule = schema()["$defs"][rule["$ref"].rpartition("/")[2]]
    types = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
    if not any(_is(value, one) for one in types):
        wanted = " or ".join(_WORDS[one] for one in types)
        yield Problem(place, f"{_last(place)} is {wanted}, not {_shown(value)}")
    elif isinstance(value, dict) and "object" in types:
        yield from _in_table(value, rule, place)
    elif isinstance(value, list):
        low, high = rule.get("minItems", 0), rule.get("maxItems", len(value))
        if not low <= len(value) <= high:
            yield Problem(place, f"{_last(place)} has {len(value)} entries, not {low}")
        for index, one in enumerate(value):
            yield from _problems(one, rule["items"], (*place, index))
    elif value not in rule.get("enum", [value]):
        yield Problem(place, f"there is no {_last(place)} {value!r}; {nearest(str(value), rule['enum'])}")
    elif value < rule.get("minimum", value):
        yield Problem(place, f"{_last(place)} is at least {rule['minimum']}, not {value}")


def _in_table(table: dict[str, Any], rule: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    known, others = rule.get("properties", {}), rule["additionalProperties"]
    for key, value in table.items():
        if key in known:
            yield from _problems(value, known[key], (*place, key))
        elif others is False:
            yield Problem((*place, key), f"unknown key {key!r}; {nearest(key, known)}")
        else:
            yield from _problems(value, others, (*place, key))
    for key in rule.get("required", ()):
        if key not in table:
            yield Problem(place, f"{key} is missing")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _last(place: Place) -> str:
    """What a problem is about, in words."""
    if not place:
        return "a lab file"
    return f"entry {place[-1] + 1} of {_last(place[:-1])}" if isinstance(place[-1], int) else str(place[-1])


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, dict) else "a table"
    return text if len(text) <= 60 else text[:57] + "..."
