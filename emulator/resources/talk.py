"""What a machine sends of its own accord: connections, datagrams, scans, floods, packets that were made elsewhere."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing
from ipaddress import ip_address
from os import PathLike
from typing import TYPE_CHECKING, Any

from emulator.errors import GuestError, InvalidValue
from emulator.traffic import connections, datagrams, packets
from emulator.traffic.conversation import Conversation
from emulator.traffic.ears import Ear, Key
from emulator.traffic.outcome import Exchange, Tally

if TYPE_CHECKING:
    from emulator.resources.base import Addressed
    from emulator.resources.machine import Machine, PingResult

    Other = Addressed[Any] | str

_BY_WORD = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_WAIT_S = 0.9
"""Silence is waited through so long: the kernel sends a SYN again after a second."""
_MOST_UDP = 65_507
_SAYS = {"refused": "refuses", "silent": "says nothing"}


class Talk:
    """Mixed into machines. Where the other end is a machine, ENI or EIP of the lab it is served as well, so nothing has
    to listen there; where it is an address, only what listens there answers.

    Packets and bytes of what they return are those that records show; they follow from the arguments.
    """

    def tcp(self, other: Other, port: int, *, bytes: int = 0, answer: int = 0, wait_s: float = _WAIT_S) -> Exchange:
        """Connect, send so many bytes, get so many as an answer, and part: a packet for each piece of data of 1,448
        bytes at most, one for its acknowledgement, and seven for coming and going."""
        _check(self, port=(port, 1, 65_535), bytes=(bytes, 0, 1 << 30), answer=(answer, 0, 1 << 30))
        return self._converse(other, port, b"\0" * bytes, b"\0" * answer, wait_s)

    def connect(self, other: Addressed[Any], port: int, *, wait_s: float = _WAIT_S) -> Conversation:
        """A TCP connection that stays open, over as many capture windows as one likes, until it is closed: three
        packets to come, for each ``say`` as many as ``tcp`` sends for the same bytes, four to part.

        Raises GuestError where the other end refuses or is silent for ``wait_s``.
        """
        _check(self, port=(port, 1, 65_535))
        opened = self._meet(other, port, wait_s)
        if isinstance(opened, Exchange):
            raise GuestError(
                f"{self._here_is.name} cannot connect to {other!r} port {port}: it {_SAYS[opened.outcome]}"
            )
        return opened

    def udp(
        self,
        other: Other,
        port: int,
        *,
        bytes: int = 1,
        packets: int = 1,
        answer: int | None = None,
        wait_s: float = _WAIT_S,
    ) -> Exchange:
        """Send datagrams with so many bytes of data each, and get an answer of so many to each, or none."""
        _check(self, port=(port, 1, 65_535), bytes=(bytes, 0, _MOST_UDP), packets=(packets, 1, 1 << 30))
        _check(self, answer=(answer or 0, 0, _MOST_UDP))
        return self._ask(other, port, b"\0" * bytes, None if answer is None else b"\0" * answer, packets, wait_s)

    def http(self, other: Other, port: int = 80, *, path: str = "/", status: int = 200, body: bytes = b"") -> Exchange:
        """GET a path; the other end answers with this status and body. ``data`` is the whole answer."""
        _check_kind(self, path=(path, str), body=(body, bytes))
        _check(self, port=(port, 1, 65_535), status=(status, 100, 599))
        address, _ = self._end(other)
        request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return self._converse(other, port, request.encode(), head.encode() + body, _WAIT_S)

    def dns(self, other: Other, name: str, address: str | None = "192.0.2.1", *, port: int = 53) -> Exchange:
        """Ask for a name's A or AAAA record; the other end answers with this address, or that there is none."""
        _check(self, port=(port, 1, 65_535))
        _check_kind(self, name=(name, str))
        query, told = packets.dns(name, address)
        return self._ask(other, port, query, told, 1, _WAIT_S)

    def icmp(self, other: Other, *, packets: int = 1) -> PingResult:
        """Echo requests: another name for ``ping``."""
        return self._here_is.ping(other, count=packets)

    def scan(self, other: Other, ports: Iterable[int], *, wait_s: float = _WAIT_S) -> dict[int, connections.Port]:
        """Knock at TCP ports: "open", "closed" or "filtered". A SYN each, and ACK and RST to one that is open."""
        _check_kind(self, ports=(ports, Iterable))
        _check_wait(self, wait_s)
        wanted = list(ports)
        for port in wanted:
            _check(self, port=(port, 1, 65_535))
        address, _ = self._end(other)
        return connections.scan(lambda: self._open(address, socket.SOCK_STREAM), address, wanted, wait_s)

    def flood(self, other: Other, port: int = 9, *, rate: float, seconds: float, bytes: int = 32) -> Tally:
        """``rate`` datagrams a second of wall time, ``rate * seconds`` in all; what was sent."""
        _check(self, port=(port, 1, 65_535), bytes=(bytes, 0, _MOST_UDP))
        for name, value in (("rate", rate), ("seconds", seconds)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise _refused(self, f"{name}={value!r}: give a number above 0", value)
        address, there = self._end(other)
        if there is not None:
            there._ear(socket.SOCK_DGRAM, port, address)
        with closing(self._open(address, socket.SOCK_DGRAM)) as mouth:
            return datagrams.flood(mouth, (address, port), b"\0" * bytes, rate, seconds)

    def send(self, made: Any) -> Tally:
        """IP packets made elsewhere, one or several: scapy's, dpkt's or bytes; any source. What the kernel fills in:
        checksum and identification of an IPv4 header where they are 0."""
        given = made if isinstance(made, list | tuple) else [made]
        with closing(packets.Mouth(self._here_is.socket)) as mouth:
            sizes = [mouth.send(packets.of_ip(one)) for one in given]
        return Tally(len(sizes), sum(sizes))

    def replay(self, path: str | PathLike[str], *, addresses: Mapping[str, str] | None = None) -> Tally:
        """Send the IP packets of a capture (pcap or pcapng), in order, as fast as they go; ``addresses`` says which of
        its addresses become which. Checksums are made anew. Needs the extra ``scapy``.

        Refused where none of its packets has an address of this machine as source: all would be dropped as forged.
        """
        _check_kind(self, path=(path, str | PathLike), addresses=(addresses, Mapping | None))
        own = set(self._here_is.ips)
        return self.send(packets.of_capture(path, dict(addresses or {}), own, self._here_is.name))

    def listen(self, port: int, *, protocol: str = "tcp") -> Ear:
        """Open a port, for IPv6 as well where the machine has it, until it is closed or the machine goes: connections
        are accepted, what they say is not read."""
        _check(self, port=(port, 1, 65_535))
        _check_kind(self, protocol=(protocol, str))
        if protocol not in _BY_WORD:
            raise _refused(self, f"protocol={protocol!r}: give tcp or udp", protocol)
        machine = self._here_is
        return self._ear(_BY_WORD[protocol], port, *(machine.ipv6_addresses[:1] or [machine.ip]))

    # parts -------------------------------------------------------------------------------------------

    @property
    def _here_is(self) -> Machine[Any]:
        from emulator.resources.machine import Machine

        assert isinstance(self, Machine)
        return self

    def _open(self, address: str, kind: int) -> socket.socket:
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        return self._here_is.socket(family, kind)

    def _end(self, other: Other) -> tuple[str, Machine[Any] | None]:
        """The address of the other end, and the machine of this lab that answers there, if it is known."""
        from emulator.resources.base import Addressed

        if isinstance(other, Addressed):
            self._here_is._here(other, Addressed)
            return other.ip, other.machine
        try:
            return str(ip_address(other)), None
        except ValueError:
            raise _refused(self, f"to {other!r}: give a machine, an ENI, an EIP or an address", other) from None

    def _ear(self, kind: int, port: int, address: str) -> Ear:
        machine = self._here_is
        key: Key = (machine.id, kind, port)
        try:
            found = machine._lab.ears.find(key)
            return found or machine._lab.ears.open(
                key, lambda: self._open(address, kind), "::" if ":" in address else ""
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise GuestError(
                f"port {port} of {machine.id} ({machine.name}) is taken by a program; give the address to speak to it"
            ) from None

    def _converse(self, other: Other, port: int, said: bytes, told: bytes, wait_s: float) -> Exchange:
        address, there = self._end(other)
        if there is None:
            _check_wait(self, wait_s)
            with closing(self._open(address, socket.SOCK_STREAM)) as client:
                return connections.speak(client, (address, port), said, wait_s)
        opened = self._meet(other, port, wait_s)
        return opened if isinstance(opened, Exchange) else connections.converse(opened, said, told)

    def _meet(self, other: Other, port: int, wait_s: float) -> Conversation | Exchange:
        """A connection to a port of a machine of the lab, which is opened for it where nothing has; what came of it
        where there is none."""
        _check_wait(self, wait_s)
        address, there = self._end(other)
        if there is None:
            raise _refused(self, f"connect to {other!r}: give a machine of the lab, an ENI or an EIP", other)
        known = there._lab.ears.find((there.id, socket.SOCK_STREAM, port))
        ear = known or there._ear(socket.SOCK_STREAM, port, address)
        client = self._open(address, socket.SOCK_STREAM)
        try:
            opened = connections.meet(client, ear.socket, (address, port), wait_s)
        except BaseException:
            client.close()
            raise
        finally:
            if known is None:
                ear.close()
        if isinstance(opened, Exchange):
            client.close()
        else:
            there._lab.ears.hold(opened, (self._here_is.id, there.id))
        return opened

    def _ask(self, other: Other, port: int, said: bytes, told: bytes | None, count: int, wait_s: float) -> Exchange:
        _check_wait(self, wait_s)
        address, there = self._end(other)
        with closing(self._open(address, socket.SOCK_DGRAM)) as client:
            if there is None:
                return datagrams.speak(client, (address, port), said, count, wait_s)
            ear = there._ear(socket.SOCK_DGRAM, port, address)
            return datagrams.ask(client, ear.socket, (address, port), said, told, count, wait_s)


def _check(at: Talk, **numbers: tuple[object, int, int]) -> None:
    for name, (value, least, most) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _refused(at, f"{name}={value!r}: give a whole number from {least} to {most}", value)


def _check_kind(at: Talk, **values: tuple[object, Any]) -> None:
    for name, (value, kind) in values.items():
        if not isinstance(value, kind):
            raise _refused(at, f"{name}={value!r}: give {getattr(kind, '__name__', kind)}", value)


def _check_wait(at: Talk, wait_s: object) -> None:
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not 0 <= wait_s < 3600:
        raise _refused(at, f"wait_s={wait_s!r}: give seconds from 0 to an hour", wait_s)


def _refused(at: Talk, message: str, value: object) -> InvalidValue:
    machine = at._here_is
    return InvalidValue(
        f"traffic of {machine.id} ({machine.name}), {message}",
        code="InvalidParameterValue",
        reason="traffic",
        object=machine.id,
        value=value,
    )
