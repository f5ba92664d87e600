"""IPv6 addresses as text, in vectors, against the standard library's."""

from __future__ import annotations

from ipaddress import IPv6Address

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emulator.capture.compressed import compressed

GROUP = st.sampled_from([0, 0, 0, 1, 0xABC, 0xFFFF]) | st.integers(0, 0xFFFF)
ADDRESSES = st.lists(GROUP, min_size=8, max_size=8).map(
    lambda groups: IPv6Address(sum(group << 112 - 16 * number for number, group in enumerate(groups)))
)


def texts(addresses: list[IPv6Address]) -> list[str]:
    numbers = [int(address) for address in addresses]
    high, low = (np.array(half, "u8") for half in ([n >> 64 for n in numbers], [n & 2**64 - 1 for n in numbers]))
    return compressed(high, low).to_pylist()


@given(st.lists(ADDRESSES, max_size=20))
@example([IPv6Address(text) for text in ("::", "::1", "1::", "1:0:0:2::3", "1::2:0:0:3:0", "0:1:2:3:4:5:6:7")])
def test_law_they_are_written_as_the_standard_library_writes_them(addresses: list[IPv6Address]) -> None:
    addresses = [address for address in addresses if address.ipv4_mapped is None]  # which newer Pythons write in dots
    assert texts(addresses) == [str(address) for address in addresses]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ],
    ids=["leading zeros", "one zero", "the longer run", "the first of equals"],
)
def test_rfc_5952(address: str, text: str) -> None:
    assert texts([IPv6Address(address)]) == [text]
