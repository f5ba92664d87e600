"""Queries for engines on other machines: the compiler's own statements, in Spark's or Trino's SQL.

``conditions.py``  what the compiler says to DuckDB of stored rows, said to another engine
``kinds.py``       what a part of a query is: a number, text, a time
``target.py``      one engine's dialect: how its SQL is written, and what it computes for each function
``spark.py``, ``spark_times.py``, ``trino.py``
                   the functions of each, as tables of text; what is in none is refused by its name
``engines.py``     all of them, by name
``cluster.py``     a Spark cluster, asked through Spark Connect
"""
