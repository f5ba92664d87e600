"""Ids and MAC addresses: they look like the provider's, never meet, and are the same in every run.

The n-th id of a kind is ``(offset + n * step) mod 36**length`` written in base 36. The step has no factor in common
with 36, so a kind's ids repeat only after all ``36**length`` of them; the offset comes from the seed and the kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from math import gcd

from emulator.cloud.profile import Profile

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_GOLDEN = 618_033_988_749_894_848, 10**18
"""The golden ratio's fraction: multiples of it lie far apart, so that ids differ in their first characters too."""

_MACS = 2**24


class Ids:
    """Gives out ids and MACs; what was given is never given again, not even after a rollback."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self._profile = profile
        self._seed = seed
        self._given: Counter[str] = Counter()
        self._prescribed: dict[str, list[str | None]] = {}
        self._reserved: frozenset[str] = frozenset()

    def reserve(self, ids: Iterable[str]) -> None:
        """Give these ids and MACs only where they are prescribed."""
        self._reserved |= frozenset(ids)

    def prescribe(self, ids: Mapping[str, Sequence[str | None]]) -> None:
        """By kind (``mac`` too) the next ids of it, None for any, in place of what was prescribed before."""
        self._prescribed = {kind: list(several) for kind, several in ids.items()}

    def new(self, kind: str) -> str:
        """The next id of ``kind``, a key of ``profile.id_prefixes``."""
        return self._next(kind, self._generated)

    def new_mac(self) -> str:
        return self._next("mac", self._generated_mac)

    def _next(self, kind: str, generated: Callable[[str], str]) -> str:
        waiting = self._prescribed.get(kind)
        prescribed = waiting.pop(0) if waiting else None
        return prescribed or next(one for one in map(generated, repeat(kind)) if one not in self._reserved)

    def _generated(self, kind: str) -> str:
        size = 36**self._profile.id_length
        value = self._scattered(kind, size)
        digits = []
        for _ in range(self._profile.id_length):
            value, digit = divmod(value, 36)
            digits.append(_DIGITS[digit])
        return self._profile.id_prefixes[kind] + "".join(reversed(digits))

    def _generated_mac(self, kind: str) -> str:
        octets = self._scattered(kind, _MACS).to_bytes(3, "big")
        return f"{self._profile.mac_prefix}:{octets[0]:02x}:{octets[1]:02x}:{octets[2]:02x}"

    def _scattered(self, kind: str, size: int) -> int:
        count = self._given[kind]
        self._given[kind] += 1
        offset = int.from_bytes(blake2b(f"{self._seed}/{kind}".encode(), digest_size=16).digest(), "big")
        step = size * _GOLDEN[0] // _GOLDEN[1]
        while gcd(step, size) != 1:
            step += 1
        return (offset + count * step) % size
