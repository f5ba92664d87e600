"""UDP, a datagram at a time."""

from __future__ import annotations

import contextlib
import socket
import time

from emulator.traffic.outcome import Exchange, Tally, Verdict, datagram

_MOST = 65_535
_AHEAD_S = 0.002
"""A flood waits where it is further ahead of its rate than this."""


def ask(
    client: socket.socket,
    server: socket.socket,
    address: tuple[str, int],
    say: bytes,
    answer: bytes | None,
    count: int,
    wait_s: float,
) -> Exchange:
    """Send ``count`` datagrams to ``server``, which is bound to ``address`` and answers each, unless that is None;
    after a silence of ``wait_s`` the rest is sent without waiting."""
    client.settimeout(wait_s)
    server.settimeout(wait_s)
    received, heard, arrived = Tally(), b"", 0
    for number in range(count):
        client.sendto(say, address)
        if arrived < number:
            continue
        with contextlib.suppress(TimeoutError):
            _, sender = server.recvfrom(_MOST)
            if answer is not None:
                server.sendto(answer, sender)
                told = client.recv(_MOST)
                received, heard = received + datagram(len(told)), heard + told
            arrived += 1
    outcome: Verdict = "answered" if arrived == count else "silent"
    return Exchange(outcome, _times(datagram(len(say)), count), received, heard)


def speak(client: socket.socket, address: tuple[str, int], say: bytes, count: int, wait_s: float) -> Exchange:
    """Send datagrams to whatever listens there, and hear what comes back until it is silent."""
    client.settimeout(wait_s)
    client.connect(address)
    received, heard, refused = Tally(), b"", False
    try:
        for _ in range(count):
            client.send(say)
        while True:
            told = client.recv(_MOST)
            received, heard = received + datagram(len(told)), heard + told
    except ConnectionRefusedError:
        refused = True
    except TimeoutError:
        pass
    outcome: Verdict = "refused" if refused else "answered" if received.packets else "silent"
    return Exchange(outcome, _times(datagram(len(say)), count), received, heard)


def flood(client: socket.socket, address: tuple[str, int], say: bytes, rate: float, seconds: float) -> Tally:
    """``rate * seconds`` datagrams, evenly spread; later where the machine is slower, never fewer."""
    count, began = round(rate * seconds), time.monotonic()
    for number in range(count):
        ahead = number / rate - (time.monotonic() - began)
        if ahead > _AHEAD_S:
            time.sleep(ahead)
        client.sendto(say, address)
    return _times(datagram(len(say)), count)


def _times(one: Tally, count: int) -> Tally:
    return Tally(one.packets * count, one.bytes * count)
