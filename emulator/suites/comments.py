"""What is said of each frame of a trace: what became of it at the ENI, by which rule, and which record counted it.

Where a record counted it, the rule is the kernel's own word. Otherwise it is judged by the rules as they are now, and
that is said. Records of one flow follow each other in time, so the first of them counted the first frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from emulator.cloud.verdict import Packet
from emulator.errors import VpclabError
from emulator.explain import look_at, packet_in, packet_of
from emulator.suites.taps import Frame

if TYPE_CHECKING:
    from emulator.lab import Lab
    from emulator.logs.records import Record

_ICMP = 1
_Key = tuple[str, str, Packet, tuple[int, int] | None]


class Comments:
    """``enis`` are the ENIs by the names of their interfaces, ``records`` those of the lab with their topics' names."""

    def __init__(self, lab: Lab, vpc_id: str, enis: Mapping[str, str], records: Iterable[tuple[str, Record]]) -> None:
        self._lab, self._vpc_id, self._enis = lab, vpc_id, enis
        self._counting: dict[_Key, list[tuple[str, Record]]] = {}
        for topic, record in records:
            packet = packet_in(record)
            if packet is not None and record.meta.get("vpc_id") == vpc_id:
                key = record.meta["eni_id"], record.meta["direction"], packet, _icmp_numbers(record)
                self._counting.setdefault(key, []).append((topic, record))
        for found in self._counting.values():
            found.sort(key=lambda one: int(one[1]["start"]))
        self._counted: dict[tuple[_Key, str], int] = {}
        self._delivered: set[Packet] = set()
        self._pieces: dict[tuple[str, str, int, int], Packet] = {}

    def of(self, frames: Iterable[Frame]) -> Iterator[tuple[Ether, list[str]]]:
        """Each frame as a packet, with what is to be said of it, in order."""
        for frame in frames:
            ether = Ether(frame.data)
            packet, eni_id = self._packet(ether), self._enis.get(frame.interface)
            yield ether, [] if packet is None or eni_id is None else self._say(frame, ether, packet, eni_id)

    def _packet(self, ether: Ether) -> Packet | None:
        """What rules judge: of a later fragment its datagram's ports."""
        packet = packet_of(ether)
        if packet is None or IP not in ether:
            return packet
        ip = ether[IP]
        if ip.frag or ip.flags.MF:
            datagram = (ip.src, ip.dst, ip.proto, ip.id)
            return self._pieces.setdefault(datagram, packet) if ip.frag == 0 else self._pieces.get(datagram, packet)
        return packet

    def _say(self, frame: Frame, ether: Ether, packet: Packet, eni_id: str) -> list[str]:
        way = "out" if frame.sent else "in"
        back = Packet(packet.dst, packet.src, packet.protocol, packet.dst_port, packet.src_port)
        established = back in self._delivered
        if not frame.sent:
            self._delivered.add(packet)
        eni = self._lab.cloud.enis.get(eni_id)
        if frame.sent and eni is not None and packet.src not in eni.addresses:
            return [f"dropped at {eni_id}: {packet.src} is not an address of it, so this is in no record"]
        found = self._records_of(eni_id, way, packet, ether)
        said = self._told(found) or [self._judged(eni_id, way, packet, established), self._unrecorded(eni_id)]
        return [*said, *self._refused_there(packet, ether, established)] if frame.sent else said

    def _refused_there(self, packet: Packet, ether: Ether, established: bool) -> list[str]:
        """Of what the ENI that it goes to rejects there is no frame there."""
        here = ((eni.id, eni.addresses) for eni in self._lab.cloud.enis.values() if eni.vpc_id == self._vpc_id)
        there = next((eni_id for eni_id, addresses in here if packet.dst in addresses), None)
        if there is None:
            return []
        found = self._records_of(there, "in", packet, ether, only="REJECT")
        if found:
            return self._told(found)
        judged = self._judged(there, "in", packet, established)
        return [judged, self._unrecorded(there)] if ": REJECT" in judged else []

    def _told(self, found: list[tuple[str, Record]]) -> list[str]:
        explained = list(dict.fromkeys(str(self._lab.explain(record)) for _, record in found))
        return [*explained, *(f"record in topic {topic}: {record.line}" for topic, record in found)]

    def _records_of(
        self, eni_id: str, way: str, packet: Packet, ether: Ether, only: str = ""
    ) -> list[tuple[str, Record]]:
        """The records of the window that counted this packet, each frame asked about once; several where flow logs
        wrote copies or the rules changed. ``only`` those of this action."""
        numbers = (ether[ICMP].id or 0, ether[ICMP].type << 8 | ether[ICMP].code) if ICMP in ether else None
        keys: list[_Key] = [(eni_id, way, packet, numbers), (eni_id, way, packet, None)]
        key = next((key for key in keys if key in self._counting), None)
        if key is None:
            return []
        records = [(topic, record) for topic, record in self._counting[key] if only in ("", record["action"])]
        seen = self._counted[key, only] = self._counted.get((key, only), 0) + 1
        for start in dict.fromkeys(record["start"] for _, record in records):
            of_window = [(topic, record) for topic, record in records if record["start"] == start]
            copies: dict[Any, int] = {}
            for _, record in of_window:
                log = record.meta.get("flow_log_id")
                copies[log] = copies.get(log, 0) + record["packets"]
            seen -= max(copies.values())
            if seen <= 0:
                return of_window
        return []

    def _judged(self, eni_id: str, way: str, packet: Packet, established: bool) -> str:
        try:
            look = look_at(self._lab.cloud, packet, eni_id, way, established)
        except (ValueError, VpclabError) as unknown:
            return f"{eni_id} {way}: {unknown}"
        return f"{eni_id} {way}: no rule of this VPC judges it" if look is None else str(look)

    def _unrecorded(self, eni_id: str) -> str:
        logs = self._lab.cloud.flow_logs_covering(eni_id) if eni_id in self._lab.cloud.enis else ()
        return "in no record that can be found yet" if logs else f"in no record: no flow log covers {eni_id}"


def _icmp_numbers(record: Record) -> tuple[int, int] | None:
    """Identifier, and type << 8 | code, of a record that shows them."""
    if record["protocol"] != _ICMP or record.get("srcport") is None or record.get("dstport") is None:
        return None
    return int(record["srcport"]), int(record["dstport"])
