"""The proof: kernel, reference verdict, records and capture agree, packet for packet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this one: --import-mode=importlib adds nothing

from ground import Ground


@pytest.fixture
def ground(open_lab: Callable[..., Any], wire: Any) -> Iterator[Callable[..., Ground]]:
    """Makes a lab a ground for packets; arguments are the lab's."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(
            closing(Ground(open_lab(*arguments, **options), wire.drain))
        )
