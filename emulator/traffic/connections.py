"""TCP connections: asked for, refused, met by silence; and knocks at many ports."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Literal

from emulator.traffic.conversation import RESET, Conversation, retransmitted
from emulator.traffic.outcome import RST, SYN, Exchange, Tally

_SOCKETS_AT_ONCE = 256
_PATIENCE = 10
"""Times ``wait_s``: how long what was said on a connection may take, for the kernel sends again what was lost."""

Port = Literal["open", "closed", "filtered"]


def converse(opened: Conversation, said: bytes, told: bytes) -> Exchange:
    """Say something, be told something, and part; what the whole conversation was."""
    with opened:
        turn = opened.exchange(said, told)
    if opened.broken:
        return replace(turn, outcome="silent", sent=None, received=None, data=b"")
    return replace(turn, sent=opened.sent, received=opened.received, retransmitted=opened.retransmitted)


def meet(
    client: socket.socket, listener: socket.socket, address: tuple[str, int], wait_s: float
) -> Conversation | Exchange:
    """Connect to ``listener``, which listens at ``address``; what came of it where that did not work.

    ``wait_s`` is how long silence is waited through, in seconds; the kernel sends a SYN again after one.
    """
    refused = _connect(client, address, wait_s)
    if refused is not None:
        return refused
    served, _ = listener.accept()
    return Conversation(client, served, wait_s * _PATIENCE)


def speak(client: socket.socket, address: tuple[str, int], said: bytes, wait_s: float) -> Exchange:
    """Connect to whatever listens there, say something and part; how its answers are cut is its own affair, so of an
    exchange that was answered only ``data`` is known: what it said until it closed or was silent."""
    refused = _connect(client, address, wait_s)
    if refused is not None:
        return refused
    client.settimeout(wait_s)
    heard = bytearray()
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        while piece := client.recv(65_536):
            heard += piece
    return Exchange("answered", None, None, bytes(heard), retransmitted(client))


def _connect(client: socket.socket, address: tuple[str, int], wait_s: float) -> Exchange | None:
    """None where it is connected, else what came of it."""
    client.setblocking(False)
    client.connect_ex(address)
    waiting = select.poll()
    waiting.register(client, select.POLLOUT)
    if not waiting.poll(wait_s * 1000):
        return Exchange("silent", SYN, Tally(), retransmitted=retransmitted(client))
    error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error == errno.ECONNREFUSED:
        return Exchange("refused", SYN, RST)
    if error:
        raise OSError(error, f"connect to {address[0]} port {address[1]}")
    return None


def scan(
    open_socket: Callable[[], socket.socket], address: str, ports: Sequence[int], wait_s: float
) -> dict[int, Port]:
    """Knock at each port: SYN; an open one gets ACK and RST after its answer. Filtered is what says nothing within
    ``wait_s``."""
    found: dict[int, Port] = dict.fromkeys(ports, "filtered")
    for at in range(0, len(ports), _SOCKETS_AT_ONCE):
        with ExitStack() as stack:
            waiting, knocks = select.poll(), dict[int, tuple[int, socket.socket]]()
            for port in ports[at : at + _SOCKETS_AT_ONCE]:
                knock = stack.enter_context(closing(open_socket()))
                knock.setblocking(False)
                knock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                knock.connect_ex((address, port))
                waiting.register(knock, select.POLLOUT)
                knocks[knock.fileno()] = port, knock
            deadline = time.monotonic() + wait_s
            while knocks and (ready := waiting.poll(max(0.0, deadline - time.monotonic()) * 1000)):
                for number, _ in ready:
                    port, knock = knocks.pop(number)
                    waiting.unregister(number)
                    found[port] = "closed" if knock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else "open"
    return found
