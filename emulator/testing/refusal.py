"""How an expectation that can never hold is refused, before any record is looked at."""

from __future__ import annotations

from emulator.errors import InvalidValue


def refused(message: str, value: object) -> InvalidValue:
    return InvalidValue(message, code="InvalidParameterValue", reason="expectation", value=value)
