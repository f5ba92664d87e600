"""Elements and counters of the ruleset as netlink messages: changed in one small transaction, and read.

``nft -f`` first reads what there is; with 400 ENIs that makes an added element take 3 ms. A batch of messages takes 0.1
ms, and it is one transaction as well: either all of it holds or nothing. After linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address

from emulator.cloud.model import Address
from emulator.fabric import wire
from emulator.fabric.ruleset import TABLE
from emulator.fabric.wire import ACK, CREATE, DUMP, REQUEST, attribute, nested, string

_NFTABLES, _BATCH_BEGIN, _BATCH_END, _INET = 10, 0x10, 0x11, 1
_NEWSETELEM, _GETSETELEM, _DELSETELEM, _NEWOBJ, _GETOBJ = (_NFTABLES << 8 | kind for kind in (12, 13, 14, 18, 19))
_OF_NFTABLES = struct.pack("=BB", 0, 0) + struct.pack(">H", _NFTABLES)  # struct nfgenmsg
_JUMP = struct.pack(">i", -3)
_MOST_IN_A_MESSAGE = 400
"""A nested attribute holds 64 KB."""


def index_key(index: int) -> bytes:
    """The key of the maps from interface to verdict."""
    return struct.pack("=L", index)


def owner_key(index: int, address: Address) -> bytes:
    """The key of the set of owned addresses: interface and source address."""
    return struct.pack("=L", index) + address.packed


def service_key(address: IPv4Address, protocol: int, port: int) -> bytes:
    """The key of the set of services."""
    return address.packed + struct.pack(">B3xH2x", protocol, port)


class Batch:
    """Additions and deletions of elements, to be sent as one transaction with protocol NETFILTER."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._messages)

    def add(self, name: str, keys: Iterable[bytes]) -> Batch:
        """Add elements to a set."""
        return self._change(_NEWSETELEM, CREATE, name, [_element(key) for key in keys])

    def jump(self, name: str, chains: Mapping[int, str]) -> Batch:
        """Add elements interface index → ``jump chain`` to a map."""
        return self._change(_NEWSETELEM, CREATE, name, [_element(index_key(i), chain) for i, chain in chains.items()])

    def delete(self, name: str, keys: Iterable[bytes]) -> Batch:
        return self._change(_DELSETELEM, 0, name, [_element(key) for key in keys])

    def delete_jumps(self, name: str, indexes: Iterable[int]) -> Batch:
        return self.delete(name, [index_key(index) for index in indexes])

    def flush(self, names: Iterable[str]) -> Batch:
        """Delete all elements of these sets."""
        for name in names:
            self._append(_DELSETELEM, 0, _named(name))
        return self

    def request(self) -> bytes:
        """The whole transaction; the kernel acknowledges the last message, or refuses all of them."""
        begin = wire.message(_BATCH_BEGIN, REQUEST, 0, _OF_NFTABLES)
        end = wire.message(_BATCH_END, REQUEST, len(self._messages) + 1, _OF_NFTABLES)
        last = bytearray(self._messages[-1])
        struct.pack_into("=H", last, 6, struct.unpack_from("=H", last, 6)[0] | ACK)
        return b"".join((begin, *self._messages[:-1], last, end))

    def _change(self, kind: int, flags: int, name: str, elements: list[bytes]) -> Batch:
        for at in range(0, len(elements), _MOST_IN_A_MESSAGE):
            self._append(kind, flags, _named(name) + nested(3, b"".join(elements[at : at + _MOST_IN_A_MESSAGE])))
        return self

    def _append(self, kind: int, flags: int, body: bytes) -> None:
        self._messages.append(wire.message(kind, REQUEST | flags, len(self._messages) + 1, body))


def _named(name: str, family: int = _INET) -> bytes:
    """A set, map or counter of the table of a family."""
    return struct.pack("=BBH", family, 0, 0) + string(1, TABLE.split()[1]) + string(2, name)


def _element(key: bytes, chain: str | None = None) -> bytes:
    body = nested(1, attribute(1, key))
    if chain is not None:
        body += nested(2, nested(2, attribute(1, _JUMP) + string(2, chain)))
    return nested(1, body)


def dump_request(name: str, family: int = _INET) -> bytes:
    """Ask for all elements of a set of the table of a family (protocol NETFILTER)."""
    return wire.message(_GETSETELEM, REQUEST | DUMP, 1, _named(name, family))


def counter_request(name: str) -> bytes:
    """Ask for a named counter (protocol NETFILTER)."""
    return wire.message(_GETOBJ, REQUEST | ACK, 1, _named(name) + attribute(3, struct.pack(">L", 1)))


def lists(answer: memoryview) -> Iterator[tuple[int, int, int]]:
    """(flags of the message, first byte, end) of each list of elements in a dump."""
    for kind, flags, at, end in wire.messages(answer):
        if kind == _NEWSETELEM:
            yield from ((flags, a, b) for name, a, b in wire.attributes(answer, at + 4, end) if name == 3)


def decode_counts(answer: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """(key, packets, bytes) of the elements of a small set of any key."""
    for _, at, end in lists(answer):
        for _, element, behind in wire.attributes(answer, at, end):
            yield _count(answer, element, behind)


def _count(answer: memoryview, at: int, end: int) -> tuple[bytes, int, int]:
    key, values = b"", (0, 0)
    for kind, a, b in wire.attributes(answer, at, end):
        if kind == 1:  # NFTA_SET_ELEM_KEY > NFTA_DATA_VALUE
            key = bytes(answer[a + 4 : b])
        elif kind == 7:  # NFTA_SET_ELEM_EXPR > NFTA_EXPR_DATA
            values = next((_counter(answer, c, d) for name, c, d in wire.attributes(answer, a, b) if name == 2), values)
    return key, *values


def decode_counter(answer: memoryview) -> tuple[int, int]:
    """(packets, bytes) of a named counter."""
    for kind, _, at, end in wire.messages(answer):
        if kind == _NEWOBJ:
            for name, a, b in wire.attributes(answer, at + 4, end):
                if name == 4:  # NFTA_OBJ_DATA
                    return _counter(answer, a, b)
    return 0, 0


def _counter(answer: memoryview, at: int, end: int) -> tuple[int, int]:
    """(packets, bytes): NFTA_COUNTER_PACKETS and NFTA_COUNTER_BYTES."""
    values = {kind: int(struct.unpack_from(">Q", answer, a)[0]) for kind, a, _ in wire.attributes(answer, at, end)}
    return values.get(2, 0), values.get(1, 0)
