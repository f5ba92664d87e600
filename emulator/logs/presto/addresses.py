"""IP addresses: networks, and where they are.

Addresses are text, as they are stored; IPv4 alone has networks here (``ip_prefix`` of an IPv6 address is null). Where
an address is comes from a small table of what RFC 5737 and RFC 3849 keep for documentation, so that examples have
something to show; what is not in it is nowhere: null.
"""

from __future__ import annotations

from typing import NamedTuple

from emulator.logs.presto.functions import Function, table


class Place(NamedTuple):
    """Where the addresses that begin with ``prefix`` are said to be."""

    prefix: str
    country: str
    code: str
    province: str
    city: str
    provider: str
    latitude: float
    longitude: float


PLACES = (
    Place("192.0.2.", "United States", "US", "California", "Los Angeles", "TEST-NET-1", 34.05, -118.24),
    Place("198.51.100.", "Germany", "DE", "Hesse", "Frankfurt am Main", "TEST-NET-2", 50.11, 8.68),
    Place("203.0.113.", "China", "CN", "Guangdong", "Guangzhou", "TEST-NET-3", 23.13, 113.26),
    Place("2001:db8:", "Singapore", "SG", "Singapore", "Singapore", "DOCUMENTATION", 1.35, 103.82),
)
"""Made up: nobody may use these addresses (RFC 5737, RFC 3849)."""

_INSIDE = r"^(10\.|127\.|169\.254\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|f[cdCD]|fe[89abAB]|::1$)"

_NUMBERS = r"""
ip4(x) = CASE WHEN regexp_full_match(x, '[0-9]{1,3}([.][0-9]{1,3}){3}')
    THEN CAST(TRY_CAST(split_part(x, '.', 1) AS UTINYINT) AS BIGINT) * 16777216
    + CAST(TRY_CAST(split_part(x, '.', 2) AS UTINYINT) AS BIGINT) * 65536
    + CAST(TRY_CAST(split_part(x, '.', 3) AS UTINYINT) AS BIGINT) * 256
    + CAST(TRY_CAST(split_part(x, '.', 4) AS UTINYINT) AS BIGINT) END
ip4_text(n) = (n >> 24) || '.' || ((n >> 16) & 255) || '.' || ((n >> 8) & 255) || '.' || (n & 255)
ip4_size(b) = CASE WHEN b BETWEEN 0 AND 32 THEN CAST(1 AS BIGINT) << (32 - CAST(b AS INTEGER)) END
cidr_first(c) = vpclab_ip4(split_part(c, '/', 1)) - vpclab_ip4(split_part(c, '/', 1)) % vpclab_cidr_size(c)
is_ip6(x) = regexp_full_match(x, '({h}:){7}{h}') OR (regexp_full_match(x, '({h}(:{h})*)?::({h}(:{h})*)?')
    AND len(regexp_extract_all(x, '{h}')) < 8)
cidr_size(c) = vpclab_ip4_size(TRY_CAST(CASE WHEN contains(c, '/') THEN split_part(c, '/', 2) ELSE '32' END AS INTEGER))
"""

INTERNAL = table(_NUMBERS, h="[0-9a-fA-F]{1,4}")
"""What the functions are built from; no query can call them."""

_NETWORKS = r"""
ip_prefix(x, b) = vpclab_ip4_text(vpclab_ip4(x) - vpclab_ip4(x) % vpclab_ip4_size(b)) || '/' || b
ip_subnet_max(c) = vpclab_ip4_text(vpclab_cidr_first(c) + vpclab_cidr_size(c) - 1)
ip_subnet_min(c) = vpclab_ip4_text(vpclab_cidr_first(c))
ip_subnet_range(c) = [vpclab_ip4_text(vpclab_cidr_first(c)),
    vpclab_ip4_text(vpclab_cidr_first(c) + vpclab_cidr_size(c) - 1)]
is_prefix_subnet_of(c, d) = vpclab_cidr_first(d) >= vpclab_cidr_first(c)
    AND vpclab_cidr_first(d) + vpclab_cidr_size(d) <= vpclab_cidr_first(c) + vpclab_cidr_size(c)
is_subnet_of(c, x) = vpclab_ip4(x) >= vpclab_cidr_first(c)
    AND vpclab_ip4(x) < vpclab_cidr_first(c) + vpclab_cidr_size(c)
ip_to_domain(x) = CASE WHEN vpclab_ip4(x) IS NULL AND NOT vpclab_is_ip6(regexp_replace(x, ':{v4}$', ':0:0'))
    THEN 'invalid' WHEN regexp_matches(x, '{inside}') THEN 'intranet'
    WHEN x IS NOT NULL THEN 'internet' END
"""


def places_text(starts_with: str = "starts_with") -> str:
    """A table of the functions that say where an address is; ``starts_with`` is what the engine calls that."""
    told = {
        "ip_to_country": [place.country for place in PLACES],
        "ip_to_country_code": [place.code for place in PLACES],
        "ip_to_province": [place.province for place in PLACES],
        "ip_to_city": [place.city for place in PLACES],
        "ip_to_provider": [place.provider for place in PLACES],
        "ip_to_geo": [f"{place.latitude},{place.longitude}" for place in PLACES],
        "ip_to_city_geo": [f"{place.latitude},{place.longitude}" for place in PLACES],
    }
    lines = []
    for name, values in told.items():
        told_by = zip(PLACES, values, strict=True)
        cases = [f"WHEN {starts_with}(x, '{place.prefix}') THEN '{value}'" for place, value in told_by]
        case = f"CASE {' '.join(cases)} END"
        lines += [f"{name}(x) = {case}", f"{name}(x, language) = {case}"]
    return "\n".join(lines)


def from_database(place_of: str) -> dict[str, Function]:
    """The same functions by a database: ``place_of`` is what DuckDB knows it by."""
    names = table(places_text())
    lines = [f"{name}(x) = {place_of}(x, '{name}')\n{name}(x, language) = {place_of}(x, '{name}')" for name in names]
    return table("\n".join(lines), f"{place_of}_")


FUNCTIONS: dict[str, Function] = {
    **table(_NETWORKS, inside=_INSIDE, v4="[0-9]{1,3}([.][0-9]{1,3}){3}"),
    **table(places_text()),
}
