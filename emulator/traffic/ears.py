"""Ports of CVMs that this program keeps open, and connections between them.

A UDP port that was spoken to stays open: a datagram that is late would else be answered by "port unreachable", and that
would be recorded. Everything is closed with the CVM, for a socket keeps its network alive.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from weakref import WeakKeyDictionary

from emulator.traffic.conversation import Conversation

Key = tuple[str, int, int]
"""(CVM, SOCK_STREAM or SOCK_DGRAM, port)."""


class Ear:
    """An open port, for a ``with`` block or until :meth:`close`; connections are completed by the kernel."""

    def __init__(self, ears: Ears, key: Key, socket: socket.socket) -> None:
        self._ears, self._key, self.socket = ears, key, socket

    @property
    def port(self) -> int:
        return self._key[2]

    def close(self) -> None:
        """The port is closed from now on."""
        self._ears.close(self._key)

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Ears:
    """All open ports of a lab, and all conversations."""

    def __init__(self) -> None:
        self._open: dict[Key, Ear] = {}
        self._held: WeakKeyDictionary[Conversation, tuple[str, str]] = WeakKeyDictionary()

    def find(self, key: Key) -> Ear | None:
        return self._open.get(key)

    def open(self, key: Key, make: Callable[[], socket.socket], address: str) -> Ear:
        """Bind a port of a CVM, on all its addresses of the family of ``address``; raises OSError where it is taken."""
        made = make()
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, key[2]))
            if key[1] == socket.SOCK_STREAM:
                made.listen(socket.SOMAXCONN)
        except BaseException:
            made.close()
            raise
        self._open[key] = Ear(self, key, made)
        return self._open[key]

    def close(self, key: Key) -> None:
        ear = self._open.pop(key, None)
        if ear is not None:
            ear.socket.close()

    def hold(self, conversation: Conversation, ends: tuple[str, str]) -> None:
        """End it with either of the machines that it is between."""
        self._held[conversation] = ends

    def close_all(self, cvm_id: str | None = None) -> None:
        """Those of one CVM, or of the lab."""
        for held in [held for held, ends in self._held.items() if cvm_id is None or cvm_id in ends]:
            held.abort()
        for key in [key for key in self._open if cvm_id in (None, key[0])]:
            self.close(key)
