"""``a >> b``: the way from one end to another, as expectations of records name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.resources.base import Addressed


class End:
    """Mixed into what packets come from and go to."""

    def __rshift__(self, other: Addressed[Any] | str) -> Way:
        return Way(self, other)

    def __rrshift__(self, other: str) -> Way:
        return Way(other, self)


@dataclass(frozen=True)
class Way:
    """From ``source`` to ``destination``: a CVM, ENI, EIP or host of the internet (all its addresses), or an address or
    network as text."""

    source: End | str
    destination: End | str

    def __str__(self) -> str:
        return f"{_said(self.source)} >> {_said(self.destination)}"


def _said(end: End | str) -> str:
    return end if isinstance(end, str) else str(getattr(end, "name", "") or getattr(end, "id", end))
