"""The environment of Python processes that tests start: vpclab without the extra ``pandas``.

pyarrow imports pandas wherever it is installed, with the first array that it makes, and that takes as long as a lab.
"""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WITHOUT = str(REPOSITORY / "tests" / "without")
"""A folder that stands in the way of pandas."""


def environment(**more: str) -> dict[str, str]:
    """This process's, with the repository's vpclab, and ``more``."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([WITHOUT, str(REPOSITORY)]), **more}
