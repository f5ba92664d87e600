"""Packets that were made elsewhere: by scapy, by hand, captured before."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import ip_address
from os import PathLike, fspath
from typing import Any

from emulator.errors import InvalidValue, RequirementMissing

_V4_HEADER, _V6_HEADER = 20, 40


class Mouth:
    """Raw sockets of a CVM, opened as they are needed."""

    def __init__(self, open_socket: Callable[[int, int, int], socket.socket]) -> None:
        self._open_socket = open_socket
        self._open: dict[int, socket.socket] = {}

    def send(self, packet: bytes) -> int:
        """Send one IP packet to where it says; how long it is."""
        four = packet[0] >> 4 == 4
        family = socket.AF_INET if four else socket.AF_INET6
        if family not in self._open:
            self._open[family] = self._open_socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self._open[family].setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        to = packet[16:20] if four else packet[24:40]
        self._open[family].sendto(packet, (socket.inet_ntop(family, to), 0))
        return len(packet)

    def close(self) -> None:
        for one in self._open.values():
            one.close()


def of_ip(made: Any) -> bytes:
    """The bytes of an IP packet: of a scapy packet its IP layer, else of what it is as bytes."""
    if hasattr(made, "haslayer"):
        layer = next((name for name in ("IP", "IPv6") if made.haslayer(name)), None)
        return bytes(made[layer] if layer else b"") or _refuse(made)
    raw = bytes(made) if isinstance(made, bytes | bytearray | memoryview) or hasattr(made, "__bytes__") else b""
    if len(raw) >= _V4_HEADER and raw[0] >> 4 == 4 and int.from_bytes(raw[2:4], "big") in (0, len(raw)):
        return raw
    if len(raw) >= _V6_HEADER and raw[0] >> 4 == 6 and int.from_bytes(raw[4:6], "big") == len(raw) - _V6_HEADER:
        return raw
    return _refuse(made)


def _refuse(made: object) -> bytes:
    text = repr(made)
    raise _refused(f"{text[:80]}: this is no IP packet; give scapy's, or bytes that begin with an IP header", made)


def of_capture(path: str | PathLike[str], addresses: Mapping[str, str], own: Collection[str], sender: str) -> list[Any]:
    """The IP packets of a capture as scapy has them, with ``addresses`` put in; ``own`` are those of who sends."""
    for text in (*addresses, *addresses.values()):
        _check_address(text, f"addresses={dict(addresses)!r}")
    found = list(_packets_in(fspath(path)))
    for packet in found:
        _readdress(packet, addresses)
    sources = list(dict.fromkeys(_ip(packet).src for packet in found))
    if not set(sources) & set(own):
        some = ", ".join(sources[:5]) or "no IP packet"
        raise _refused(
            f"replay of {fspath(path)} from {sender} ({', '.join(sorted(own))}): its sources are {some}, so each "
            "packet would be dropped as forged; say which address becomes which by addresses={'…': '…'}",
            path,
        )
    return found


def _check_address(text: object, where: str) -> None:
    try:
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is no text")
        ip_address(text)
    except ValueError as error:
        raise _refused(f"{where}: {error}", text) from None


def _packets_in(path: str) -> Iterator[Any]:
    _need_scapy("replay")
    from scapy.error import Scapy_Exception
    from scapy.layers.inet6 import IPv6  # noqa: F401 - with inet, the layers that a frame can hold
    from scapy.utils import PcapReader

    try:
        with open(path, "rb") as file, PcapReader(file) as reader:
            for number, packet in enumerate(reader, 1):
                if packet.wirelen not in (None, len(packet.original)):
                    kept, whole = len(packet.original), packet.wirelen
                    raise _refused(f"replay of {path}: packet {number} is cut off, {kept} of {whole} bytes", path)
                if _ip(packet) is not None:
                    yield packet
    except (Scapy_Exception, OSError) as error:
        raise _refused(f"replay of {path}: this is no capture that can be read: {error}", path) from None


def _ip(packet: Any) -> Any:
    return packet.getlayer("IP") or packet.getlayer("IPv6")


def _readdress(packet: Any, addresses: Mapping[str, str]) -> None:
    ip = _ip(packet)
    ip.src, ip.dst = addresses.get(ip.src, ip.src), addresses.get(ip.dst, ip.dst)
    for layer in (ip, ip.payload):
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                delattr(layer, name)


def dns(name: str, address: str | None) -> tuple[bytes, bytes]:
    """The question for a name's address, and the answer: this one, or that there is no such name."""
    _need_scapy("dns")
    from scapy.layers.dns import DNS, DNSQR, DNSRR

    if address is not None:
        _check_address(address, f"dns({name!r}, {address!r})")
    kind = "A" if address is None or ip_address(address).version == 4 else "AAAA"
    question = DNSQR(qname=name, qtype=kind)
    answer = {"rcode": 3} if address is None else {"an": DNSRR(rrname=name, type=kind, rdata=address, ttl=60)}
    return bytes(DNS(rd=1, qd=question)), bytes(DNS(qr=1, rd=1, ra=1, qd=question, **answer))


def _need_scapy(what: str) -> None:
    try:
        import scapy  # noqa: F401
    except ImportError:
        raise RequirementMissing(f"{what} needs scapy", way_out="pip install 'vpclab[scapy]'") from None


def _refused(message: str, value: object) -> InvalidValue:
    return InvalidValue(message, code="InvalidParameterValue", reason="traffic", value=value)
