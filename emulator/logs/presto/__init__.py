"""The SQL dialect of both providers, which is Presto's with functions of their own, for DuckDB.

``dialect.py``    how sqlglot reads it: every function stays a call by name
``functions.py``  the functions there are, by provider; what is not among them is refused
``scalars.py``, ``arrays.py``, ``times.py``, ``addresses.py``, ``aggregates.py``
                  these functions, as tables of text
``casts.py``      what CAST means
``rewrite.py``    a tree of the one dialect becomes one of the other
"""
