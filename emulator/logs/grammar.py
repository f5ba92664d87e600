"""luqum's parser without its side effects.

At its first import luqum has ply write tables into its own package folder, print that it does so, and leave a file
open: a traceback under warnings as errors, and again in every process where that folder cannot be written. Tables made
in memory cost 40 ms once a process.
"""

from __future__ import annotations

import functools

from ply import yacc

_make = yacc.yacc
yacc.yacc = functools.partial(_make, write_tables=False, debug=False, errorlog=yacc.NullLogger())
try:
    from luqum.thread import parse
finally:
    yacc.yacc = _make

__all__ = ["parse"]
