"""`vpclab import`, as its users run it, where no kernel is needed."""

from __future__ import annotations

import json

import dpkt
import pyarrow.parquet as pq
import pytest

from tests import warm
from tests.children import environment

START_S = 1_704_067_200
RULES = """
[security_group.web]
rules = [{ allow = "ingress", protocol = "udp", port = "53" }, { allow = "egress" }]
"""
LAB = """
[vpc.one]
cidr = "10.0.0.0/16"
[vpc.two]
cidr = "10.9.0.0/16"
[subnet.a]
vpc = "one"
cidr = "10.0.0.0/24"
[subnet.b]
vpc = "two"
cidr = "10.9.0.0/24"
"""


def udp(src, dst, dport, sport=4000, size=0):
    ends = {"src": bytes(map(int, src.split("."))), "dst": bytes(map(int, dst.split(".")))}
    ip = dpkt.ip.IP(**ends, p=17, data=dpkt.udp.UDP(sport=sport, dport=dport, ulen=8 + size, data=bytes(size)))
    ip.len = len(ip)
    return bytes(ip)


@pytest.fixture
def files(tmp_path):
    def write(packets, **texts):
        with (tmp_path / "a.pcap").open("wb") as file:
            writer = dpkt.pcap.Writer(file, linktype=101)
            for at, packet in packets:
                writer.writepkt(packet, ts=START_S + at)
        for name, text in texts.items():
            (tmp_path / f"{name}.toml").write_text(text)
        return tmp_path

    return write


def vpclab(folder, *args):
    return warm.python("-m", "emulator.cli", "import", "a.pcap", *args, cwd=folder, env=environment())


PACKETS = [
    (0, udp("10.0.0.9", "10.0.0.5", 53)),
    (1, udp("10.0.0.5", "10.0.0.9", 4000, 53, 100)),
    (2, udp("10.0.0.9", "10.0.0.5", 5353)),
    (3, udp("192.0.2.1", "192.0.2.2", 1)),
    (900, udp("10.0.0.9", "10.0.0.5", 53)),
]


def test_lines(files):
    done = vpclab(files(PACKETS, sg=RULES), "--eni", "10.0.0.5", "--rules", "sg.toml")
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 3)[3] for line in done.stdout.splitlines()]
    assert lines == [
        "10.0.0.5 10.0.0.9 53 4000 17 1 128 1704067200 1704067500 ACCEPT OK",
        "10.0.0.9 10.0.0.5 4000 53 17 1 28 1704067200 1704067500 ACCEPT OK",
        "10.0.0.9 10.0.0.5 4000 5353 17 1 28 1704067200 1704067500 REJECT OK",
        "- - - - - - - 1704067500 1704067800 - NODATA",
        "- - - - - - - 1704067800 1704068100 - NODATA",
        "10.0.0.9 10.0.0.5 4000 53 17 1 28 1704068100 1704068400 ACCEPT OK",
    ]
    said = "1 packets are of other addresses, 192.0.2.1, 192.0.2.2, and were left out"
    assert done.stderr == f"vpclab: {said}\n"


def test_json_and_parquet(files):
    folder = files(PACKETS[:3], sg=RULES)
    options = (
        "--eni",
        "10.0.0.5",
        "--eni",
        "10.0.0.9",
        "--rules",
        "sg.toml",
        "--format",
        "alibaba",
        "--interval",
        "60",
    )
    told = json.loads(vpclab(folder, *options, "--json", "--parquet", "r.parquet").stdout)
    found = {(one["direction"], one["dstport"], one["action"]) for one in told["records"]}
    # Both are members of one group, which accept from each other.
    assert found == {(way, port, "ACCEPT") for way in ("in", "out") for port in (53, 4000, 5353)}
    assert {one["end"] - one["start"] for one in told["records"]} == {60}
    assert pq.read_table(folder / "r.parquet").to_pylist() == told["records"]
    assert told["remarks"] == []


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        (["--eni", "ten"], "ENI 'ten': give its private address, like 10.0.0.5", 1),
        (["--eni", "10.0.0.77"], "no packet of a.pcap is from or to 10.0.0.77; there are 10.0.0.5, 10.0.0.9", 1),
        (["--eni", "10.0.0.5", "--format", "aws"], "there is no profile 'aws'; there are alibaba", 2),
        (["--eni", "10.0.0.5", "--interval", "7"], "interval 7 s: tencent has windows of 300 seconds", 1),
        (["--eni", "8.8.8.8"], "8.8.0.0/16", 1),
        (["--eni", "10.0.0.5", "--eni", "10.9.0.5"], "lie far apart: describe their VPC and subnets", 1),
        (["--eni", "10.0.0.5", "--eni", "10.9.0.5", "--rules", "lab.toml"], "are in two VPCs", 1),
        (["--eni", "10.0.7.5", "--rules", "lab.toml"], "ENI 10.0.7.5 lies in no subnet of lab.toml", 1),
        (["--eni", "2001:db8::1"], "ENIs with IPv6 addresses need a lab file", 1),
        (["--eni", "10.0.0.5", "--rules", "no.toml"], "no.toml cannot be read: No such file", 1),
        (["--eni", "10.0.0.5", "--parquet", "/no/where"], "/no/where could not be written", 1),
        ([], "Missing option '--eni'", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong(files, args, said, code):
    done = vpclab(files(PACKETS, lab=LAB), *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_capture_that_is_cut_off(files):
    folder = files(PACKETS)
    data = (folder / "a.pcap").read_bytes()
    (folder / "a.pcap").write_bytes(data[:-5])
    done = vpclab(folder, "--eni", "10.0.0.5")
    assert done.returncode == 0
    assert "vpclab: a.pcap is cut off behind packet 4; what comes before was read" in done.stderr.splitlines()
    assert len(done.stdout.splitlines()) == 3
