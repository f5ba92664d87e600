"""Where addresses are, by an MMDB in place of the shipped table."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from emulator.errors import LabError, RequirementMissing
from emulator.logs import QueryLimits, Topic

QUERY = (
    "* | select srcaddr, ip_to_country(srcaddr) as country, ip_to_country_code(srcaddr) as code,"
    " ip_to_province(srcaddr) as province, ip_to_city(srcaddr, 'en') as city, ip_to_provider(srcaddr) as provider,"
    " ip_to_geo(srcaddr) as geo, count(*) as n group by srcaddr order by srcaddr"
)
UNKNOWN = {"country": None, "code": None, "province": None, "city": None, "provider": None, "geo": None}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-City")
    place = {
        "country": {"iso_code": "FR", "names": {"en": "France"}},
        "subdivisions": [{"names": {"en": "Brittany"}}],
        "city": {"names": {"en": "Brest"}},
        "location": {"latitude": 48.4, "longitude": -4.5},
        "isp": "Example",
    }
    writer.insert_network(IPSet(["10.16.0.22/32"]), place)
    writer.insert_network(IPSet(["2001:db8::/32"]), {"country": {"iso_code": "SG"}})
    writer.to_db_file(str(tmp_path / "places.mmdb"))
    return tmp_path / "places.mmdb"


@pytest.mark.parametrize("limits", [None, QueryLimits()], ids=["here", "in the worker"])
def test_a_database_says_where_addresses_are(flows: Topic, database: Path, limits: QueryLimits | None) -> None:
    before = flows.search(QUERY, limits=limits)
    assert {record["srcaddr"]: record["country"] for record in before}["2001:db8::1"] == "Singapore"
    flows._service.geography = str(database)  # type: ignore[assignment]
    brest = {"country": "France", "code": "FR", "province": "Brittany", "city": "Brest", "provider": "Example"}
    assert flows.search(QUERY, limits=limits) == [
        {"srcaddr": "10.16.0.22", **brest, "geo": "48.4,-4.5", "n": 2},
        {"srcaddr": "10.16.0.40", **UNKNOWN, "n": 1},
        {"srcaddr": "2001:db8::1", **UNKNOWN, "code": "SG", "n": 1},
        {"srcaddr": None, **UNKNOWN, "n": 1},
    ]
    flows._service.geography = None
    assert flows.search(QUERY, limits=limits) == before


def test_what_is_no_database_is_refused(flows: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_text("no database")
    for wrong in ("text", "none"):
        with pytest.raises(LabError, match="is no MMDB"):
            flows._service.geography = tmp_path / wrong
    assert flows._service.geography is None
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(RequirementMissing, match=r"vpclab\[geo\]"):
        flows._service.geography = tmp_path / "other"
