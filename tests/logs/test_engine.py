"""The engine: what becomes of a database that can answer no more."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from emulator.logs import engine as module
from emulator.logs.engine import Engine, EngineRefused

TABLE = pa.table({"a": [1, 2]})
QUERY = 'SELECT sum(a) AS s FROM "vpclab rows"'


class Broken:
    """A connection of a database that was invalidated by an error of its own."""

    def cursor(self) -> Broken:
        return self

    def register(self, *_: Any) -> None:
        raise duckdb.FatalException("FATAL Error: database has been invalidated because of a previous fatal error")

    def close(self) -> None:
        pass


def test_a_database_that_broke_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = module._opened
    connections: list[Any] = [Broken()]
    monkeypatch.setattr(module, "_opened", lambda *given: connections.pop() if connections else opened(*given))
    engine = Engine()
    try:
        with pytest.raises(EngineRefused, match="invalidated"):
            engine.table(TABLE, QUERY, [])
        assert engine.table(TABLE, QUERY, [])["s"].to_pylist() == [3]
    finally:
        engine.close()
