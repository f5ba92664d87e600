"""An import of 100,000 packets: what a cloud would have logged of them."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from statistics import median

import measure
import numpy as np
from measure import Figures

from emulator.hindsight.recording import record
from emulator.providers import PROFILES

PACKETS, FLOWS, ROUNDS = 100_000, 5_000, 5
AT_MOST_S = 2.0
MAGIC, RAW_IP = 0xA1B2C3D4, 101


def capture(path: Path) -> None:
    """TCP both ways between one ENI and 5,000 ports of others, 100 packets a second."""
    packet = np.dtype(
        [
            *((name, "<u4") for name in ("seconds", "fraction", "kept", "length")),
            ("ip", "S12"),
            ("src", ">u4"),
            ("dst", ">u4"),
            ("sport", ">u2"),
            ("dport", ">u2"),
            ("tcp", "S8"),
            ("offset", "u1"),
            ("flags", "u1"),
            ("rest", "S6"),
        ]
    )
    made = np.zeros(PACKETS, packet)
    number = np.arange(PACKETS)
    flow, out = number * 7919 % FLOWS, number % 2 == 0
    made["seconds"], made["kept"], made["length"] = 1_704_067_200 + number // 100, 40, 40
    made["ip"] = struct.pack(">BBHHHBB", 0x45, 0, 40, 1, 0, 64, 6)
    here, there = 0x0A000005, 0x0A000100 + flow % 200
    made["src"], made["dst"] = np.where(out, here, there), np.where(out, there, here)
    made["sport"], made["dport"] = np.where(out, 1024 + flow, 443), np.where(out, 443, 1024 + flow)
    made["offset"], made["flags"] = 0x50, 0x10
    path.write_bytes(struct.pack("<IHHiIII", MAGIC, 2, 4, 0, 0, 65_535, RAW_IP) + made.tobytes())


def test_an_import_of_100_000_packets(figures: Figures, tmp_path: Path) -> None:
    capture(tmp_path / "a.pcap")
    took, processor = [], []
    for _ in range(ROUNDS):
        begun, used = measure.now(), time.process_time()
        told = record(tmp_path / "a.pcap", PROFILES["alibaba"], ["10.0.0.5"])
        took.append(measure.now() - begun)
        processor.append(time.process_time() - used)
    figures.note("import", packets=PACKETS, flows=2 * FLOWS, median_s=median(took), processor_s=median(processor))

    assert sum(one or 0 for one in told.records["packets"].to_pylist()) == PACKETS
    assert median(processor) <= AT_MOST_S  # one thread: on a machine of its own no more passes on the clock
