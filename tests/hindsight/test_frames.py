"""Capture files: formats, byte orders, link types, and what is none or not whole."""

from __future__ import annotations

import io
import struct

import dpkt
import pytest

from emulator.errors import LabError
from emulator.hindsight.frames import LINK_TYPES, read
from emulator.hindsight.packets import packets

IP = dpkt.ip.IP(src=b"\x0a\0\0\x05", dst=b"\x0a\0\0\x06", p=17, data=dpkt.udp.UDP(sport=1, dport=53, ulen=8))
IP.len = len(IP)
PACKET = bytes(IP)
HEADS = {
    0: struct.pack("=I", 2),
    1: bytes(12) + b"\x08\x00",
    12: b"",
    14: b"",
    101: b"",
    108: struct.pack(">I", 2),
    113: bytes(14) + b"\x08\x00",
    228: b"",
    229: b"",
    276: b"\x08\x00" + bytes(18),
}


def pcap(frames, link_type=1, order="<", magic=0xA1B2C3D4, unit=1):
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, link_type)
    for number, frame in enumerate(frames):
        data += struct.pack(order + "IIII", 1_704_067_200 + number, 500_000 * unit, len(frame), len(frame)) + frame
    return data


@pytest.fixture
def written(tmp_path):
    def write(data):
        (tmp_path / "a.pcap").write_bytes(data)
        return tmp_path / "a.pcap"

    return write


@pytest.mark.parametrize("link_type", LINK_TYPES, ids=LINK_TYPES.get)
def test_link_types(link_type, written):
    found = packets(read(written(pcap([HEADS[link_type] + PACKET], link_type)))).found
    assert [(int(one["saddr"]), int(one["dport"]), int(one["bytes"])) for one in found] == [(0x0A000005, 53, 28)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1), (0xA1B23C4D, 1000)], ids=["micro", "nano"])
def test_byte_orders_and_fractions(order, magic, unit, written):
    frames = read(written(pcap([HEADS[1] + PACKET] * 3, 1, order, magic, unit)))
    assert frames.times.tolist() == [1_704_067_200.5, 1_704_067_201.5, 1_704_067_202.5]
    assert len(packets(frames).found) == 3


def test_tags_of_vlans(written):
    frame = bytes(12) + b"\x88\xa8\x00\x01\x81\x00\x00\x02\x08\x00" + PACKET
    assert len(packets(read(written(pcap([frame])))).found) == 1


def test_pcapng(written):
    file = io.BytesIO()
    writer = dpkt.pcapng.Writer(file)
    for number in range(3):
        writer.writepkt(HEADS[1] + PACKET, ts=1_704_067_200 + number)
    whole = file.getvalue()
    frames = read(written(whole))
    assert frames.times.tolist() == [1_704_067_200.0, 1_704_067_201.0, 1_704_067_202.0]
    assert len(packets(frames).found) == 3
    assert not frames.cut
    short = read(written(whole[:-20]))
    assert (len(short.times), short.cut) == (2, True)


@pytest.mark.parametrize("missing", [1, 30, 43, 44, 50], ids=lambda missing: f"{missing} bytes")
def test_a_file_that_is_cut_off(missing, written):
    """Within a packet, and within the header before it."""
    frames = read(written(pcap([HEADS[1] + PACKET] * 3)[:-missing]))
    assert (len(frames.times), frames.cut) == (2, True)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no capture file, neither pcap nor pcapng"),
        (b"GIF89a" * 20, "is no capture file, neither pcap nor pcapng"),
        (pcap([]), "has no packet"),
        (pcap([])[:10], "has no packet: it is cut off in the first"),
        (pcap([PACKET])[:-1], "has no packet: it is cut off in the first"),
        (pcap([PACKET], 105), "is of link type 105; IP packets are found in BSD loopback"),
    ],
    ids=["empty", "a picture", "no packet", "half a header", "half a packet", "radio"],
)
def test_what_is_no_capture(data, said, written):
    with pytest.raises(LabError, match=said):
        read(written(data))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(LabError, match=r"nothing\.pcap cannot be read: No such file"):
        read(tmp_path / "nothing.pcap")


def test_what_is_left_out(written):
    """Counted, by the reason."""
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    solicitation = dpkt.ip6.IP6(src=bytes(16), dst=bytes(16), nxt=58, data=b"\x87" + bytes(23))
    solicitation.plen = 24
    six = bytes(12) + b"\x86\xdd" + bytes(solicitation)
    cut = HEADS[1] + PACKET[:22]
    found = packets(read(written(pcap([arp, six, cut, HEADS[1] + PACKET]))))
    assert len(found.found) == 1
    assert found.remarks == {
        "no IP packets": 1,
        "cut off by the capture before their ports, or malformed": 1,
        "neighbour discovery": 1,
    }
