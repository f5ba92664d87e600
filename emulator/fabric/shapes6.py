"""Flow tables of IPv6: their shapes of key, and what an entry is decoded into. Pure.

As tables.py has them for IPv4, but for what stands in front of the upper protocol: extension headers move it, so its
number and place are the kernel's (``meta l4proto``, ``@th``), which walks over them.
"""

from __future__ import annotations

import numpy as np

from emulator.cloud.model import PORTS_PROTOCOLS
from emulator.fabric.families import IPV6
from emulator.fabric.ruleset import PORTS
from emulator.fabric.tables import FLAGGED, Shape

FLOW6 = np.dtype(
    [
        ("mark", "u4"),
        ("protocol", "u1"),
        ("saddr_net", "u8"),
        ("saddr", "u8"),
        ("daddr_net", "u8"),
        ("daddr", "u8"),
        ("sport", "u2"),
        ("dport", "u2"),
        ("packets", "i8"),
        ("bytes", "i8"),
        ("flags", "i2"),
    ]
)
"""As tables.FLOW; an address is its first 64 bits (``_net``) and its last. For ICMPv6 sport is the identifier, dport
``type << 8 | code``. Bytes are those of the whole packet, the header of 40 included."""


def tuple_fields(dtype: np.dtype[np.void]) -> tuple[str, ...]:
    """The fields of the 5-tuple in flows of either family."""
    return tuple(name for name in dtype.names or () if name not in ("mark", "packets", "bytes", "flags"))


_ICMPV6 = 58
_PORTS_AND_ICMP = ", ".join(str(number) for number in sorted(PORTS_PROTOCOLS | {_ICMPV6}))
_ENDS = "ip6 saddr . ip6 daddr"


def _key(*fields: tuple[str, str, int], size: int) -> np.dtype[np.void]:
    names, formats, offsets = zip(*fields, strict=True)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def _ends(at: int) -> tuple[tuple[str, str, int], ...]:
    names = ("saddr_net", "saddr", "daddr_net", "daddr")
    return tuple((name, ">u8", at + 8 * number) for number, name in enumerate(names))


SHAPES6: tuple[Shape, ...] = (
    Shape(
        "P",
        f"meta l4proto {{ {PORTS} }}",
        f"meta mark . meta l4proto . {_ENDS} . @th,0,32",
        _key(
            *(("mark", "=u4", 0), ("protocol", "u1", 4), *_ends(8), ("sport", ">u2", 40), ("dport", ">u2", 42)), size=44
        ),
        flow=FLOW6,
        family=IPV6,
    ),
    Shape(
        "I",
        f"meta l4proto {_ICMPV6}",
        f"meta mark . {_ENDS} . @th,32,16 . @th,0,16",
        _key(("mark", "=u4", 0), *_ends(4), ("sport", ">u2", 36), ("dport", ">u2", 40), size=44),
        protocol=_ICMPV6,
        flow=FLOW6,
        family=IPV6,
    ),
    Shape(
        "R",
        f"meta l4proto != {{ {_PORTS_AND_ICMP} }}",
        f"meta mark . meta l4proto . {_ENDS}",
        _key(("mark", "=u4", 0), ("protocol", "u1", 4), *_ends(8), size=40),
        flow=FLOW6,
        family=IPV6,
    ),
)

TCP_FLAGS6 = Shape(
    "T",
    f"meta l4proto 6 {FLAGGED}",
    f"meta mark . {_ENDS} . @th,0,32 . @th,104,8",
    _key(*(("mark", "=u4", 0), *_ends(4), ("sport", ">u2", 36), ("dport", ">u2", 38), ("flags", "u1", 40)), size=44),
    protocol=6,
    flow=FLOW6,
    family=IPV6,
    aside=True,
)


def shapes6(*, tcp_flags: bool) -> tuple[Shape, ...]:
    """The shapes of an ENI's sets for IPv6."""
    return (TCP_FLAGS6, *SHAPES6) if tcp_flags else SHAPES6
