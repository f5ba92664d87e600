"""Packets at full speed out of Python: frames made beforehand, handed to the kernel a thousand a call (sendmmsg)."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import measure

if TYPE_CHECKING:
    from emulator.lab import Lab
    from emulator.resources import Cvm, Vpc

PORT = 9
"""Where the receiver listens and never reads."""


class _Part(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr"""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("_padding", ctypes.c_int),
        ("sent", ctypes.c_uint),
    )


class Sender:
    """Sends the same frames again and again through a packet socket. ``sent`` counts them."""

    def __init__(self, link: socket.socket, frames: Sequence[bytes]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._link, self._count, self.sent = link, len(frames), 0
        self._bytes = ctypes.create_string_buffer(b"".join(frames))
        self._parts, self._messages = (_Part * len(frames))(), (_Message * len(frames))()
        at = ctypes.addressof(self._bytes)
        for number, frame in enumerate(frames):
            self._parts[number] = _Part(at, len(frame))
            self._messages[number].parts = ctypes.addressof(self._parts[number])
            self._messages[number].part_count = 1
            at += len(frame)

    def send(self, times: int = 1) -> None:
        """All frames, ``times`` times over. A packet's whole way to the receiver is gone when this returns: there is
        no queue on it, the kernel takes it along in the call that sends."""
        for _ in range(times):
            done = 0
            while done < self._count:
                at = ctypes.byref(self._messages, done * ctypes.sizeof(_Message))
                accepted = self._libc.sendmmsg(self._link.fileno(), at, self._count - done, 0)
                if accepted < 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                done += accepted
        self.sent += times * self._count

    def close(self) -> None:
        self._link.close()

    def cost(self, times: int) -> Cost:
        """Send, and say what a packet cost."""
        wall, processor = time.perf_counter(), time.thread_time()
        self.send(times)
        wall, processor = time.perf_counter() - wall, time.thread_time() - processor
        return Cost(wall / times / self._count, processor / times / self._count)


@dataclass(frozen=True)
class Cost:
    """Seconds a packet: of the clock on the wall, and of the processor."""

    wall_s: float
    processor_s: float


@dataclass(frozen=True)
class Path:
    """Two CVMs of one VPC, and a sender from one to the other."""

    vpc: Vpc
    sending: Cvm
    receiving: Cvm
    sender: Sender
    sink: socket.socket

    def __enter__(self) -> Path:
        return self

    def __exit__(self, *_: object) -> None:
        self.sender.close()
        self.sink.close()

    def arrived(self) -> int:
        """Packets that the receiver's link has taken in, by the kernel's own counter."""
        for line in self.receiving.run(["cat", "/proc/net/dev"], check=True).stdout.splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == "eth0":
                return int(numbers.split()[1])
        raise LookupError("the receiver has no eth0")


class Compared:
    """What in_turns measured. ``ratio``: the speed with what is tried, of the speed without it."""

    def __init__(self, costs: dict[str, list[Cost]]) -> None:
        walls = {name: [cost.wall_s for cost in found] for name, found in costs.items()}
        charged = {name: [cost.processor_s for cost in found] for name, found in costs.items()}
        # Some kernels charge nobody for what they do in soft interrupts, which is most of a packet's way.
        if max(cost.processor_s / cost.wall_s for cost in costs["without"]) < 0.8:
            charged = walls
        self.ratio = measure.ratio(charged["without"], charged["with_"])
        self.wall_ratio = measure.ratio(walls["without"], walls["with_"])
        self.kpps = {name: 1e-3 / median(found) for name, found in charged.items()}


def in_turns(rounds: int, passes: int, *, without: Path, with_: Path) -> Compared:
    """Both paths send all their frames ``passes`` times a round."""
    costs: dict[str, list[Cost]] = {"without": [], "with_": []}

    def cost(name: str, path: Path) -> float:
        costs[name].append(path.sender.cost(passes))
        return costs[name][-1].wall_s

    without.sender.send(passes)
    with_.sender.send(passes)
    measure.in_turns(rounds, without=lambda: cost("without", without), with_=lambda: cost("with_", with_))
    return Compared(costs)


def path(lab: Lab, vpc: Vpc, sending: Cvm, receiving: Cvm, flows: Iterable[tuple[int, int]]) -> Path:
    """A path for 60-byte UDP (IP total length), one frame for each ``(source port, destination port)``.

    The receiver has a socket with the smallest of buffers: what it takes no more is dropped without an answer.
    """
    fabric = lab.fabric.vpcs[vpc.id]
    router = fabric.attached[sending.eni.id].link.intf1.mac
    link = sending.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind(("eth0", 0))
    sink = receiving.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sink.bind(("0.0.0.0", PORT))
    frames = [frame(sending.eni.mac, router, sending.ip, receiving.ip, *ports) for ports in flows]
    return Path(vpc, sending, receiving, Sender(link, frames), sink)


def thousand_flows() -> list[tuple[int, int]]:
    return [(10_000 + number, PORT) for number in range(1000)]


def frame(source_mac: str, mac: str, source: str, destination: str, sport: int, dport: int) -> bytes:
    """An Ethernet frame with a UDP datagram in 60 bytes of IP, without a checksum of UDP."""
    ethernet = bytes.fromhex((mac + source_mac).replace(":", "")) + b"\x08\0"
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 60, 0, 0x4000, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return ethernet + head[:10] + struct.pack("!H", checksum) + head[12:] + struct.pack("!4H32x", sport, dport, 40, 0)
