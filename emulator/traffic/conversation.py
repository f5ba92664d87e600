"""A TCP connection with both ends in this program, segment by segment, so that its packets are known beforehand.

Every segment is acknowledged by a packet of its own: the end that has read it says so at once (TCP_QUICKACK), before
the next one is sent. A conversation is::

    SYN, SYN-ACK, ACK    for each piece of data a segment and its ACK    FIN, ACK, FIN, ACK
"""

from __future__ import annotations

import socket
import struct

from emulator.traffic.outcome import ACK, SYN, Exchange, Tally, segment

_TOTAL_RETRANSMITTED = 100
"""Where tcpi_total_retrans is in struct tcp_info (linux/tcp.h)."""
RESET = struct.pack("=ii", 1, 0)
"""SO_LINGER for a socket that is to close by RST."""


class Conversation:
    """A connection that is open, for a ``with`` block or until :meth:`close`.

    ``sent`` and ``received`` are all packets so far, of the end that began, but for what was ``retransmitted``. It is
    ``broken`` where something that was said got lost for good. ``wait_s`` is how long that is waited for.
    """

    def __init__(self, client: socket.socket, served: socket.socket, wait_s: float) -> None:
        self._ends = (client, served)
        self.broken = False
        self.sent, self.received, self.retransmitted = SYN + ACK, SYN, retransmitted(client)
        for end in self._ends:
            end.settimeout(wait_s)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, bytes: int = 0, answer: int = 0) -> Exchange:
        """Say so many bytes and be told so many; a packet for each piece of 1,448 at most, one for its acknowledgement.

        "silent" where that is stopped on its way: then the connection is of no more use, and how often the kernel
        sent it again is not known.
        """
        return self.exchange(b"\0" * bytes, b"\0" * answer)

    def exchange(self, said: bytes, told: bytes) -> Exchange:
        """The same with data of one's own."""
        client, served = self._ends
        before = self.sent, self.received
        try:
            self._pass(client, served, said)
            self._pass(served, client, told)
        except TimeoutError:
            self.broken = True
            return Exchange("silent", None, None, b"", retransmitted(client))
        return Exchange("answered", self.sent - before[0], self.received - before[1], told, retransmitted(client))

    @property
    def closed(self) -> bool:
        return self._ends[0].fileno() == -1

    def close(self) -> None:
        """Part: FIN and its acknowledgement, each way; by RST where the connection is broken. Twice is no error."""
        if self.closed:
            return
        client, served = self._ends
        try:
            if not self.broken:
                for one, other in ((client, served), (served, client)):
                    one.shutdown(socket.SHUT_WR)
                    other.recv(1)
                    _acknowledge(other)
                self.sent, self.received = self.sent + ACK + ACK, self.received + ACK + ACK
            self.retransmitted = retransmitted(client)
        except OSError:
            self.broken = True
        if self.broken:
            self.abort()
        for end in self._ends:
            end.close()

    def abort(self) -> None:
        """Part by RST."""
        for end in self._ends:
            if end.fileno() != -1:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.close()

    def _pass(self, speaker: socket.socket, listener: socket.socket, data: bytes) -> None:
        """Pass data on, and count its segments and their acknowledgements."""
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
        there, back = (said, answered) if speaker is self._ends[0] else (answered, said)
        self.sent, self.received = self.sent + there, self.received + back

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _acknowledge(end: socket.socket) -> None:
    """Send the acknowledgement that the kernel would hold back for 40 ms, if it has not gone yet."""
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def retransmitted(end: socket.socket) -> int:
    """How many segments a socket has sent again."""
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANSMITTED + 4)
    return int(struct.unpack_from("=L", info, _TOTAL_RETRANSMITTED)[0])
