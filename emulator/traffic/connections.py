"""TCP, segment by segment, so that beforehand it is known how many packets a conversation has.

Every segment is acknowledged by a packet of its own: the end that has read it says so at once (TCP_QUICKACK), before
the next one is sent. A conversation is::

    SYN, SYN-ACK, ACK    for each piece of data a segment and its ACK    FIN, ACK, FIN, ACK
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from typing import Literal

from emulator.traffic.outcome import ACK, RST, SYN, Exchange, Tally, segment

_TOTAL_RETRANSMITTED = 100
"""Where tcpi_total_retrans is in struct tcp_info (linux/tcp.h)."""
_SOCKETS_AT_ONCE = 256

Port = Literal["open", "closed", "filtered"]


def converse(
    client: socket.socket,
    listener: socket.socket,
    address: tuple[str, int],
    turns: Iterable[tuple[bytes, bytes]],
    wait_s: float,
) -> Exchange:
    """Connect to ``listener``, which listens at ``address``, say and be told something in turns, and part.

    ``wait_s`` is how long silence is waited through, in seconds; the kernel sends a SYN again after one.
    """
    refused = _connect(client, address, wait_s)
    if refused is not None:
        return refused
    served, _ = listener.accept()
    with closing(served):
        sent, received, heard = SYN + ACK, SYN, b""
        for end in (client, served):
            end.settimeout(wait_s * 10)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for said, told in turns:
            there, acknowledged = _say(client, served, said)
            back, confirmed = _say(served, client, told)
            sent, received, heard = sent + there + confirmed, received + acknowledged + back, heard + told
        for one, other in ((client, served), (served, client)):
            one.shutdown(socket.SHUT_WR)
            other.recv(1)
            _acknowledge(other)
        again = _retransmitted(client)
        return Exchange("answered", sent + ACK + ACK, received + ACK + ACK, heard, again)


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
    return Exchange("answered", None, None, bytes(heard), _retransmitted(client))


def _connect(client: socket.socket, address: tuple[str, int], wait_s: float) -> Exchange | None:
    """None where it is connected, else what came of it."""
    client.setblocking(False)
    client.connect_ex(address)
    waiting = select.poll()
    waiting.register(client, select.POLLOUT)
    if not waiting.poll(wait_s * 1000):
        return Exchange("silent", SYN, Tally(), retransmitted=_retransmitted(client))
    error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error == errno.ECONNREFUSED:
        return Exchange("refused", SYN, RST)
    if error:
        raise OSError(error, f"connect to {address[0]} port {address[1]}")
    return None


def _say(speaker: socket.socket, listener: socket.socket, data: bytes) -> tuple[Tally, Tally]:
    """Pass data on; what the speaker sent and what the listener answered."""
    most = speaker.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    said, answered = Tally(), Tally()
    for at in range(0, len(data), most):
        piece = data[at : at + most]
        speaker.sendall(piece)
        left = len(piece)
        while left:
            left -= len(listener.recv(left)) or left
        _acknowledge(listener)
        said, answered = said + segment(len(piece)), answered + ACK
    return said, answered


def _acknowledge(end: socket.socket) -> None:
    """Send the acknowledgement that the kernel would hold back for 40 ms, if it has not gone yet."""
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _retransmitted(end: socket.socket) -> int:
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANSMITTED + 4)
    return int(struct.unpack_from("=L", info, _TOTAL_RETRANSMITTED)[0])


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
                knock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
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
