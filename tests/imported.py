"""What the processes of ``warm.py`` have imported: what vpclab's commands do."""

from __future__ import annotations

import importlib
from contextlib import redirect_stdout, suppress
from io import StringIO

from emulator.cli import app

for name in (
    "duckdb",
    "emulator.asserting",
    "emulator.capture.collector",
    "emulator.capture.recovery",
    "emulator.doctor",
    "emulator.labfiles.topics",
    "emulator.labfiles.writing",
    "emulator.lab",
    "emulator.logs.lucene",
    "emulator.logs.service",
    "emulator.logs.sql",
    "emulator.services.desk",
    "emulator.shell.commands",
    "emulator.shell.prompt",
    "emulator.stage",
    "numpy.ma",
    "pytest",
    "tests.warm",
):
    importlib.import_module(name)

with redirect_stdout(StringIO()), suppress(SystemExit):
    app(["scenario", "list"])  # typer imports more when it reads arguments
