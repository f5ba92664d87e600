"""A scenario of the user's own: a Python file with a ``SCENARIO``."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from scenarios.mistakes import mistake_in
from scenarios.story import Scenario


def scenario_in(path: Path) -> Scenario:
    """The file's ``SCENARIO``; raises ValueError with what is wrong with the file, and where."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    spec = spec_from_file_location(f"scenario_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file; its name ends in .py")
    module = sys.modules[spec.name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(mistake_in(str(path), error)) from None
    scenario = getattr(module, "SCENARIO", None)
    if not isinstance(scenario, Scenario):
        raise ValueError(f'{path} has no scenario; it ends with SCENARIO = Scenario("its-name", "its title", run)')
    return scenario
