"""A lab in which many packets are sent at once, and what was recorded of them is compared with the reference.

CVMs answer nothing. Packets are frames put on the CVM's own link, so that nothing but the VPC has a say in them. The
connection table is emptied before each volley, so that its packets begin connections.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import nfdump

from emulator.capture.windows import window_end
from emulator.cloud.model import PORTS_PROTOCOLS, Address, Eni, Rule
from emulator.cloud.verdict import Judge, Judgement, Packet
from emulator.fabric import netlink, wire

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
ECHO = {(4, ICMP): 8 << 8, (6, ICMPV6): 128 << 8}  # type << 8 | code of what is sent
AT_ONCE = 8  # groups and ACLs in one transaction
RX_DROPPED = 6  # in struct rtnl_link_stats64
DEAF = "table inet deaf {\n chain input {\n  type filter hook input priority 0; policy drop;\n }\n}\n"
FORGET_ALL = wire.message(1 << 8 | 2, wire.REQUEST | wire.ACK, 1, struct.pack("=BBH", 0, 0, 0))  # IPCTNL_MSG_CT_DELETE

Key = tuple[int, str, str, str, int, str, int | None, str, int | None]
"""(start of the window, ENI, direction, action, protocol, source, port, destination, port); of ICMP the identifier and
type << 8 | code."""


@dataclass(frozen=True)
class Told:
    """What is said of a flow; ``rule`` is the number of the one that decided."""

    rule: int
    packets: int
    bytes: int


class Ground:
    """A lab with one VPC: volleys of packets and windows follow each other, and :meth:`compare` looks at the records of
    all of them, at the ENIs of what :meth:`record` was called for."""

    def __init__(self, lab: Any, drain: Callable[[], None]) -> None:
        self.lab, self._drain = lab, drain
        self.vpc = lab.create_vpc("10.16.0.0/16", name="ground")
        self.topic = lab.logs.create_topic("flows", logset="proof")
        self.sent = self.metered = self.unmetered = 0
        self.aside: Counter[str] = Counter()
        self._dropped = 0
        self.recorded: list[str] = []
        self._captures: dict[tuple[int, str], Path] = {}
        self._sockets: list[socket.socket] = []
        self._links: dict[Address, tuple[socket.socket, bytes]] = {}
        self._wanted: dict[Key, Counter[tuple[int, int]]] = {}
        self._skipped: dict[tuple[int, str], int] = {}
        self._compared_to = 0
        self._icmp_is_one = lab.profile.provider == "alibaba"

    def close(self) -> None:
        """Close the senders' sockets; the lab is another's."""
        for link in self._sockets:
            link.close()

    def record(self, resource: Any) -> None:
        resource.create_flow_log(topic=self.topic)
        self.recorded.append(resource.id)

    @property
    def enis(self) -> list[Eni]:
        """Those at CVMs."""
        return [eni for eni in self.lab.cloud.enis.values() if eni.cvm_id is not None]

    def change(self, change: Callable[[Any], object]) -> None:
        """Change rules of any security groups and ACLs at once, in a few transactions of the kernel: an ordinary user's
        socket has no room for all of it."""
        cloud = self.lab.cloud

        def realise(fabric: Any, _: object) -> None:
            lists = {eni.groups for eni in self.enis}
            users = Counter(group_id for groups in lists for group_id in groups)
            # A list is rewritten whole: one of its groups will do, that which is in the fewest of them.
            owners = [*dict.fromkeys(min(groups, key=lambda one: users[one]) for groups in sorted(lists)), *cloud.acls]
            for at in range(0, len(owners), AT_ONCE):
                fabric.rules_changed(*owners[at : at + AT_ONCE])

        self.lab._change(change, realise, self.vpc.id)

    def volley(self, packets: Iterable[Packet]) -> None:
        """Send packets, each the first of its connection, and answers to the datagrams among them that arrive."""
        self._prepare()
        ns = self.lab.fabric.vpcs[self.vpc.id].ns
        netlink.send(self.lab.fabric.keeper, [(ns, netlink.NETFILTER, FORGET_ALL)], "forget all connections")
        judge = Judge(self.lab.cloud)
        for packet in packets:
            verdict = judge.verdict(packet, vpc_id=self.vpc.id)
            size = self._send(packet)
            for end in (verdict.at_source, verdict.at_destination):
                self._want(packet, size, end)
            if packet.protocol == UDP and verdict.delivered:
                answer = Packet(packet.dst, packet.src, UDP, packet.dst_port, packet.src_port)
                back = judge.verdict(answer, established=True, vpc_id=self.vpc.id)
                size = self._send(answer)
                # The rule that let a connection through at an ENI is named for its answers there, too.
                self._want(answer, size, back.at_source, verdict.at_destination)
                self._want(answer, size, back.at_destination, verdict.at_source)
        self._drain()

    @contextmanager
    def captured(self, eni: Eni, path: Path) -> Iterator[None]:
        """Capture at an ENI all that this window sees, which begins before the block and ends behind it."""
        self._captures[self._window, eni.id] = path
        with self.lab.find(eni.id).capture(path):
            yield

    @property
    def _window(self) -> int:
        """Where the open window began."""
        return window_end(self.lab.clock.now, self.lab.profile.window_s) - self.lab.profile.window_s

    def pass_window(self) -> None:
        self.lab.clock.advance(seconds=self.lab.profile.window_s)

    def compare(self) -> None:
        """Raise AssertionError where a record is not what the reference says, or the books do not balance."""
        wanted, self._wanted = self._wanted, {}
        found = self._found()
        lost = self._lost()
        if lost:
            self._forgive(wanted, found, lost)
        self._excuse_skipped(wanted, found)
        expected = {key: told(counts) for key, counts in wanted.items()}
        if found != expected:
            raise AssertionError(self._differences(expected, found))
        self._compare_captures(found, lost)
        self.lab.audit().check()

    def _lost(self) -> int:
        """Packets that links lost since the last comparison: a processor's queue holds 1,000 of whosesoever, and what
        comes when it is full never reaches the VPC."""
        before, self._dropped = self._dropped, self._dropped_in(self.lab.fabric.vpcs[self.vpc.id].ns)
        return self._dropped - before

    def _dropped_in(self, ns: int) -> int:
        """Packets that the links of a namespace did not take in."""
        step = (ns, netlink.ROUTE, netlink.get_statistics())
        answer = netlink.send(self.lab.fabric.keeper, [step], "read the links' counters")[0]
        return sum(one[RX_DROPPED] for one in netlink.statistics(answer).values())

    @staticmethod
    def _forgive(wanted: dict[Key, Counter[tuple[int, int]]], found: dict[Key, Told], lost: int) -> None:
        """Take back flows of which exactly what was lost is missing, at the sender, and thus at the receiver."""
        missing = {
            key: counts.total() - (found[key].packets if key in found else 0)
            for key, counts in wanted.items()
            if key not in found or found[key].packets < counts.total()
        }
        sent = {(key[0], *key[4:]) for key in missing if key[2] == "out"}
        assert sum(missing[key] for key in missing if key[2] == "out") == lost, f"links lost {lost} packets: {missing}"
        assert sent >= {(key[0], *key[4:]) for key in missing}, "some were lost behind the sender's ENI"
        for key in missing:
            del wanted[key]
            found.pop(key, None)

    def _excuse_skipped(self, wanted: dict[Key, Counter[tuple[int, int]]], found: dict[Key, Told]) -> None:
        """Take back flows for which the kernel had no memory: exactly as many packets as SKIPDATA tells of."""
        skipped, self._skipped = self._skipped, {}
        for place, count in skipped.items():
            missing = [key for key in wanted.keys() - found.keys() if key[:2] == place]
            assert sum(wanted[key].total() for key in missing) == count, f"{count} packets were skipped at {place}"
            for key in missing:
                del wanted[key]

    def _compare_captures(self, found: dict[Key, Told], lost: int) -> None:
        """What nfpcapd counts at the CVM's end is what it sent, and of what was sent to it what was accepted; where
        links lost packets, nobody can tell which of them a capture saw."""
        captures, self._captures = self._captures, {}
        for at, metered in zip(captures, nfdump.metered(captures.values()), strict=True):
            if lost or self._dropped_in(self.lab.fabric.cvm(self.lab.cloud.enis[at[1]].cvm_id).ns):
                self.unmetered += 1
                continue
            passed: list[nfdump.Counted] = []
            for (start, eni_id, way, action, protocol, src, one, dst, two), says in found.items():
                if (start, eni_id) == at and (way, action) != ("in", "REJECT"):
                    kind = ECHO.get((ip_address(src).version, protocol), two)
                    passed.append(((protocol, src, one, dst, kind), says.packets, says.bytes))
            expected, aside = nfdump.comparable(passed)
            assert metered == expected, f"nfpcapd at {at} counts otherwise than the records"
            self.metered += sum(packets for packets, _ in metered.values())
            self.aside += aside

    def _prepare(self) -> None:
        """New CVMs become deaf, and get a socket at their link."""
        fabric = self.lab.fabric
        for eni in self.enis:
            if not self._links.keys() >= set(eni.addresses):
                node = fabric.cvm(eni.cvm_id)
                fabric.keeper.nft(node.ns, DEAF)
                link = fabric.keeper.socket(node.ns, socket.AF_PACKET, socket.SOCK_RAW)
                link.bind((f"eth{eni.device}", 0))
                router = fabric.vpcs[eni.vpc_id].attached[eni.id].link.intf1.mac
                head = bytes.fromhex((router + eni.mac).replace(":", ""))
                self._sockets.append(link)
                self._links.update(dict.fromkeys(eni.addresses, (link, head)))

    def _send(self, packet: Packet) -> int:
        """Put a packet on its sender's link; its IP total length."""
        link, ethernet = self._links[packet.src]
        data = ip_packet(packet)
        link.send(ethernet + (b"\x08\0" if packet.src.version == 4 else b"\x86\xdd") + data)
        self.sent += 1
        return len(data)

    def _want(self, packet: Packet, size: int, end: Judgement | None, connection: Judgement | None = None) -> None:
        if end is not None and self._is_recorded(end.eni_id):
            way = "out" if end.direction == "egress" else "in"
            action = "ACCEPT" if end.action == "allow" else "REJECT"
            counts = self._wanted.setdefault((self._window, end.eni_id, way, action, *self._flow(packet)), Counter())
            counts[(end.rule or group_rule(connection)).number, size] += 1

    def _is_recorded(self, eni_id: str) -> bool:
        eni = self.lab.cloud.enis[eni_id]
        return not {eni_id, eni.subnet_id, eni.vpc_id}.isdisjoint(self.recorded)

    def _flow(self, packet: Packet) -> tuple[int, str, int | None, str, int | None]:
        one: int | None = packet.src_port
        two: int | None = packet.dst_port
        echo = ECHO.get((packet.src.version, packet.protocol))
        if echo is not None:
            one, two = (None, None) if self._icmp_is_one else (packet.src_port, echo)
        elif packet.protocol not in PORTS_PROTOCOLS:
            one = two = None
        return packet.protocol, str(packet.src), one, str(packet.dst), two

    def _found(self) -> dict[Key, Told]:
        """What was recorded since the last comparison."""
        lab = self.lab
        self.pass_window()
        lab.clock.advance(seconds=lab.profile.delay_s)
        found: dict[Key, Told] = {}
        for record in self.topic.search(start=self._compared_to):
            self._compared_to = max(self._compared_to, record.time + 1)
            if record["log-status"] == "SKIPDATA":
                self._skipped[record["start"], record.meta["eni_id"]] = record.meta["skipped"]
            if record["log-status"] == "OK":
                fields = [record[name] for name in ("protocol", "srcaddr", "srcport", "dstaddr", "dstport")]
                meta = record.meta
                key = (record["start"], meta["eni_id"], meta["direction"], record["action"], *fields)
                assert key not in found, f"two records of one flow: {key}"
                found[key] = Told(meta["rule"], record["packets"], record["bytes"])
        return found

    def _differences(self, expected: dict[Key, Told], found: dict[Key, Told]) -> str:
        """A few of the flows that differ, with the rules that are named."""
        differing = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
        lines = [f"{len(differing)} of {len(expected)} flows differ"]
        for key in sorted(differing, key=str)[:5]:
            lines.append(f"{key}:")
            for who, says in (("the reference", expected.get(key)), ("the record", found.get(key))):
                origin = says and self.lab.cloud.rule_origin(self.vpc.id, says.rule)
                rule = origin and f"{origin.stage} {origin.owner_id}, priority {origin.rule.priority}: {origin.rule}"
                lines.append(f"  {who}: {says} ({rule})")
        return "\n".join(lines)


def told(counts: Counter[tuple[int, int]]) -> Told:
    """One record of what several rules decided alike: it names the one with the most packets, the smaller of equals."""
    by_rule: Counter[int] = Counter()
    for (rule, _), packets in counts.items():
        by_rule[rule] += packets
    rule = min(by_rule, key=lambda number: (-by_rule[number], number))
    return Told(rule, counts.total(), sum(size * packets for (_, size), packets in counts.items()))


def group_rule(judgement: Judgement | None) -> Rule:
    """The rule of the groups that let a connection through."""
    assert judgement is not None
    return next(step.rule for step in judgement.steps if step.stage == "security group" and step.rule is not None)


def ip_packet(packet: Packet) -> bytes:
    """The packet as it is on the wire, with 8 bytes of data where there may be some."""
    ports = struct.pack(">HH", packet.src_port, packet.dst_port)
    if packet.protocol == TCP:
        body = summed(packet, ports + struct.pack(">IIBBHHH", 0, 0, 5 << 4, 2, 65_535, 0, 0), 16)
    elif packet.protocol == UDP:
        body = summed(packet, ports + struct.pack(">HH8x", 16, 0), 6)
    elif (echo := ECHO.get((packet.src.version, packet.protocol))) is not None:
        body = summed(packet, struct.pack(">HHHH8x", echo, 0, packet.src_port, 1), 2)
    elif packet.protocol in PORTS_PROTOCOLS:
        body = ports + bytes(16)
    else:
        body = bytes(16)
    addresses = packet.src.packed + packet.dst.packed
    if packet.src.version == 6:
        return struct.pack(">LHBB", 6 << 28, len(body), packet.protocol, 64) + addresses + body
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, packet.protocol, 0) + addresses
    return head[:10] + checksum(head) + head[12:] + body


def summed(packet: Packet, body: bytes, at: int) -> bytes:
    """A payload with its checksum, which of all but ICMP covers addresses, too."""
    pseudo = b""
    if packet.protocol != ICMP:
        pseudo = packet.src.packed + packet.dst.packed + struct.pack(">LL", len(body), packet.protocol)
    return body[:at] + checksum(pseudo + body) + body[at + 2 :]


def checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
