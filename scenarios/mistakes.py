"""A mistake in the code of a story, told in one line."""

from __future__ import annotations

import traceback


def mistake_in(file: str, error: Exception) -> str:
    """What went wrong, and in which line of the file; of a file that Python could not read, where."""
    if isinstance(error, SyntaxError):
        return f"{file}, line {error.lineno}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}, line {lines[-1] if lines else 1}: {type(error).__name__}: {error}"
