"""The engines elsewhere, by the name of their dialect."""

from __future__ import annotations

from emulator.logs.elsewhere.target import Target


def target_of(dialect: str) -> Target:
    """What is known of an engine."""
    if dialect == "trino":
        from emulator.logs.elsewhere.trino import TRINO

        return TRINO
    from emulator.logs.elsewhere.spark import SPARK

    return SPARK
