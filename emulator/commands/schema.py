"""``vpclab schema``: what an editor needs to check and complete lab files."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON schema of lab files, for editors."""
    import json

    from emulator.labfiles.checking import schema as of_lab_files

    print(json.dumps(of_lab_files(), indent=2, ensure_ascii=False))
