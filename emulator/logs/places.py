"""Where addresses are, by a database in MaxMind's format that the user brings in place of the shipped table."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from emulator.errors import LabError, RequirementMissing


class Places:
    """One database, open; ``column`` is what DuckDB calls."""

    def __init__(self, path: Path) -> None:
        try:
            import maxminddb
        except ImportError:
            raise RequirementMissing("places by an MMDB need maxminddb", way_out="pip install 'vpclab[geo]'") from None
        try:
            self._reader = maxminddb.open_database(str(path))
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as wrong:
            raise LabError(f"{path} is no MMDB: {wrong}") from None

    def column(self, addresses: pa.Array, what: pa.Array) -> pa.Array:
        """For each address the one fact that ``what`` names in all its rows; null where nothing is known."""
        if len(addresses) == 0:
            return pa.array([], pa.string())
        if isinstance(addresses, pa.ChunkedArray):
            addresses = addresses.combine_chunks()
        told = _FACTS[what[0].as_py()]
        coded = addresses.dictionary_encode()
        facts = pa.array([self._fact(address, told) for address in coded.dictionary.to_pylist()], pa.string())
        return facts.take(coded.indices)

    def _fact(self, address: str, told: Callable[[Any], Any]) -> str | None:
        try:
            found = told(self._reader.get(address))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return None
        return None if found is None else str(found)


@functools.lru_cache(maxsize=8)
def places(path: Path) -> Places:
    """The database in this file, opened once."""
    return Places(path)


_FACTS: dict[str, Callable[[Any], Any]] = {
    "ip_to_country": lambda place: place["country"]["names"]["en"],
    "ip_to_country_code": lambda place: place["country"]["iso_code"],
    "ip_to_province": lambda place: place["subdivisions"][0]["names"]["en"],
    "ip_to_city": lambda place: place["city"]["names"]["en"],
    "ip_to_provider": lambda place: (
        place.get("isp") or place.get("organization") or place.get("autonomous_system_organization")
    ),
    "ip_to_geo": lambda place: f"{place['location']['latitude']},{place['location']['longitude']}",
    "ip_to_city_geo": lambda place: f"{place['location']['latitude']},{place['location']['longitude']}",
}
"""Where each function finds its fact in a record of GeoIP2's layout."""
