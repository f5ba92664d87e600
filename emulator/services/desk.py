"""Who answers: one thread of a lab for the services of all its VPCs, started with the first of them.

The sockets stand in the VPCs' namespaces and are handed over by the keeper; what a guest sends is handled one after the
other, a guest that dawdles is hung up on.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from ipaddress import IPv4Address

from emulator.cloud.account import Cloud
from emulator.cloud.services import DNS_PORT, METADATA_PORT, NTP_PORT

PATIENCE_S = 2.0
"""How long a guest's HTTP request may take."""

_MOST = 4096
"""Bytes of one question."""

_IP_PKTINFO = 8  # linux/in.h
_PKTINFO = struct.Struct("=i4s4s")


class Desk:
    """``open_doors(vpc_id)`` lets guests reach the services' addresses and returns what opens sockets there."""

    def __init__(
        self, cloud: Cloud, now: Callable[[], float], open_doors: Callable[[str], Callable[[int, int], socket.socket]]
    ) -> None:
        self._cloud, self._now, self._open_doors = cloud, now, open_doors
        self._selector = selectors.DefaultSelector()
        self._bell, self._listening = socket.socketpair()
        self._selector.register(self._listening, selectors.EVENT_READ, None)
        self._sockets: dict[str, list[socket.socket]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def attend(self, vpc_id: str) -> None:
        """Answer in a VPC from now on."""
        with self._lock:
            if vpc_id not in self._sockets:
                self._sockets[vpc_id] = opened = self._opened(vpc_id)
                for one in opened:
                    self._selector.register(one, selectors.EVENT_READ, vpc_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vpclab services", daemon=True)
                self._thread.start()

    def _opened(self, vpc_id: str) -> list[socket.socket]:
        opened, open_socket = list[socket.socket](), self._open_doors(vpc_id)
        try:
            for kind, port in (
                (socket.SOCK_STREAM, METADATA_PORT),
                (socket.SOCK_DGRAM, DNS_PORT),
                (socket.SOCK_DGRAM, NTP_PORT),
            ):
                one = open_socket(socket.AF_INET, kind)
                opened.append(one)
                one.setblocking(False)
                if kind == socket.SOCK_DGRAM:
                    one.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
                one.bind(("0.0.0.0", port))
                if kind == socket.SOCK_STREAM:
                    one.listen()
        except BaseException:
            for one in opened:
                one.close()
            raise
        return opened

    def leave(self, vpc_id: str) -> None:
        """A VPC is deleted."""
        with self._lock:
            for one in self._sockets.pop(vpc_id, []):
                self._selector.unregister(one)
                one.close()

    def close(self) -> None:
        """End the thread and close every socket. Closing twice is no error."""
        thread, self._thread = self._thread, None
        self._bell.close()
        if thread is not None:
            thread.join()
        for one in itertools.chain(*self._sockets.values()):
            one.close()
        self._sockets.clear()
        self._selector.close()
        self._listening.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listening:
                    return
                with self._lock, contextlib.suppress(OSError):  # a guest that has gone, a VPC that was just deleted
                    if isinstance(key.fileobj, socket.socket) and key.fileobj.fileno() >= 0:
                        self._handle(key.fileobj, key.data)

    def _handle(self, one: socket.socket, vpc_id: str) -> None:
        from emulator.services import names, pages, timing  # 80 ms that most labs never need

        if one.type == socket.SOCK_STREAM:
            connection, (address, _) = one.accept()
            with connection:
                hanging_up = threading.Timer(PATIENCE_S, _hang_up, [connection])
                hanging_up.start()
                try:
                    pages.answer(connection, self._cloud, vpc_id, IPv4Address(address))
                finally:
                    hanging_up.cancel()
            return
        asked, ancillary, _, asker = one.recvmsg(_MOST, socket.CMSG_SPACE(_PKTINFO.size))
        port = one.getsockname()[1]
        answer = names.answer(self._cloud, vpc_id, asked) if port == DNS_PORT else timing.answer(self._now(), asked)
        if answer is not None:
            to = next(_PKTINFO.unpack(data)[2] for _, kind, data in ancillary if kind == _IP_PKTINFO)
            back = (socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, to, bytes(4)))
            one.sendmsg([answer], [back], 0, asker)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has just ended by itself
        connection.shutdown(socket.SHUT_RDWR)
