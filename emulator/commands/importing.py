"""``vpclab import``: what a cloud would have logged of a capture file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def import_capture(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A pcap or pcapng file.")],
    eni: Annotated[
        list[str], typer.Option("--eni", metavar="ADDRESS", help="The address of an ENI; may be given several times.")
    ],
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="A lab file with its security groups.")
    ] = None,
    profile: Annotated[str, typer.Option("--format", metavar="PROFILE", help="The cloud.")] = "tencent",
    interval_s: Annotated[int | None, typer.Option("--interval", metavar="SECONDS", help="The capture window.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write the records there instead.")
    ] = None,
) -> None:
    """What a cloud would have logged of captured packets.

    Needs no kernel: the rules of a lab file are asked about each flow, and the packets' own times make the windows.
    """
    from emulator.cloud.names import nearest
    from emulator.providers import PROFILES

    if profile not in PROFILES:
        print(f"vpclab: there is no profile {profile!r}; {nearest(profile, PROFILES)}", file=sys.stderr)
        raise typer.Exit(2)
    from emulator.capture import forms
    from emulator.hindsight.recording import record

    told = record(file, PROFILES[profile], eni, rules=rules, interval_s=interval_s)
    if parquet is not None:
        _write(told.records, parquet)
    if as_json:
        print(json.dumps({"records": told.records.to_pylist(), "remarks": told.remarks}, indent=2))
        return
    for remark in told.remarks:
        print(f"vpclab: {remark}", file=sys.stderr)
    if parquet is None:
        sys.stdout.writelines(f"{line}\n" for line in forms.lines(told.records))


def _write(records: object, path: Path) -> None:
    from pyarrow import ArrowException
    from pyarrow.parquet import write_table

    from emulator.errors import LabError

    try:
        write_table(records, path)
    except (OSError, ArrowException) as error:
        raise LabError(f"{path} could not be written: {error}") from error
