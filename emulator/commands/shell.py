"""``vpclab shell``: a prompt in the lab of a file."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer


def shell(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A lab file; without one the demo's lab.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="Another cloud than the file's.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="A folder that keeps the records.")] = None,
) -> None:
    """A prompt in the lab that a file describes.

    Reads commands from a terminal, or from a pipe; there the first that fails ends it.
    """
    from emulator.lab import Lab
    from emulator.shell.prompt import converse

    with as_file(files("emulator.shell").joinpath("demo.toml")) as demo:
        lab = Lab.from_file(file or demo, profile=profile, data=data)
    with lab:
        code = converse(lab)
    raise typer.Exit(code)
