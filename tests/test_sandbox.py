"""What runs in a CVM: its own machine as far as it can see, nothing of the host's, and gone when the CVM goes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import pytest

from emulator import CommandNotFound, GuestError, Lab

pytestmark = pytest.mark.kernel

NET_BIND_SERVICE, NET_ADMIN, NET_RAW = 10, 12, 13


class Two:
    """A 10.0.1.2 and B 10.0.1.3 in one subnet."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.subnet = lab.create_vpc("10.0.0.0/16").create_subnet("10.0.1.0/24")
        self.a, self.b = self.subnet.run_instance("A"), self.subnet.run_instance("B")


@pytest.fixture
def two(open_lab: Callable[..., Lab]) -> Two:
    return Two(open_lab())


@pytest.fixture(scope="module")
def both(open_module_lab: Callable[..., Lab]) -> Two:
    return Two(open_module_lab())


def said(result: subprocess.CompletedProcess[str]) -> str:
    return result.stdout.strip()


def test_a_cvm_is_a_machine_of_its_own(both: Two) -> None:
    assert said(both.a.run(["hostname"])) == "A"
    assert said(both.b.run("hostname")) == "B"
    assert both.a.run(["ping", "-c", "1", "B"]).returncode == 0
    assert "10.0.1.3 B" in both.a.run(["cat", "/etc/hosts"]).stdout


def test_a_later_cvm_is_known_to_those_that_run(two: Two) -> None:
    assert "C" not in said(two.a.run(["cat", "/etc/hosts"])).split()
    two.subnet.run_instance("C")
    assert "C" in said(two.a.run(["cat", "/etc/hosts"])).split()


def test_no_process_of_the_host_is_seen(both: Two) -> None:
    pids = [int(name) for name in said(both.a.run(["ls", "/proc"])).split() if name.isdigit()]
    assert 1 in pids
    assert len(pids) < 12
    assert str(os.getpid()) not in said(both.a.run("cat /proc/[0-9]*/status | grep -i vpclab-keeper; true"))


def test_private_folders_last_as_long_as_the_cvm_and_are_nobody_elses(two: Two) -> None:
    two.a.run("echo mine > /tmp/note; echo too > /run/note", check=True)
    assert said(two.a.run("cat /tmp/note /run/note")) == "mine\ntoo"
    assert two.b.run("cat /tmp/note").returncode != 0
    assert not Path("/tmp/note").exists()


@pytest.mark.parametrize("folder", ["/", "/usr", "/etc", "/var", "/opt", "/dev/shm/..", "/proc/sys/kernel"])
def test_the_rest_is_read_only(both: Two, folder: str) -> None:
    result = both.a.run(["sh", "-c", 'echo x > "$1/vpclab-was-here"', "sh", folder])
    if folder.startswith("/dev"):  # the CVM's own
        assert not Path("/dev/vpclab-was-here").exists()
    else:
        assert result.returncode != 0
        assert not Path(folder, "vpclab-was-here").exists()


@pytest.mark.parametrize("secret", ["/etc/shadow", "/etc/gshadow"])
def test_secrets_are_masked(both: Two, secret: str) -> None:
    assert both.a.run(["cat", secret]).stdout == ""


@pytest.mark.parametrize("folder", ["/home", "/sys", "/mnt"])
def test_homes_and_sys_are_empty(both: Two, folder: str) -> None:
    if Path(folder).is_dir():
        visible = [entry for entry in said(both.a.run(["ls", folder])).split() if entry]
        working = Path.cwd()
        assert [entry for entry in visible if not working.is_relative_to(Path(folder, entry))] == []


def _capabilities(both: Two, **options: Any) -> dict[str, int]:
    status = both.a.run(["cat", "/proc/self/status"], **options).stdout
    return {name: int(value, 16) for name, value in re.findall(r"(Cap\w+):\s+(\w+)", status)}


def test_a_guest_has_two_capabilities_and_one_more_on_demand(both: Two) -> None:
    plain = 1 << NET_RAW | 1 << NET_BIND_SERVICE
    assert _capabilities(both) == {"CapInh": 0, "CapPrm": plain, "CapEff": plain, "CapBnd": plain, "CapAmb": 0}
    assert _capabilities(both, net_admin=True)["CapEff"] == plain | 1 << NET_ADMIN
    assert both.a.run(["ip", "link", "set", "eth0", "mtu", "1400"]).returncode != 0


@pytest.mark.parametrize(
    "attempt",
    [
        ["mount", "-t", "tmpfs", "x", "/mnt"],
        ["umount", "/proc"],
        ["unshare", "--net", "true"],
        ["nsenter", "--target", "1", "--net", "ip", "link", "set", "eth0", "down"],
        ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
        ["sh", "-c", "echo b > /proc/sysrq-trigger"],
        ["sh", "-c", "echo x > /proc/sys/kernel/hostname"],
        ["sh", "-c", "cat /proc/sys/vm/swappiness > /tmp/as-it-is; cat /tmp/as-it-is > /proc/sys/vm/swappiness"],
        ["sh", "-c", "cat /proc/sys/kernel/core_pattern > /tmp/core; cat /tmp/core > /proc/sys/kernel/core_pattern"],
        ["chroot", "/proc/1/root", "cat", "/etc/hostname"],
        ["mknod", "/tmp/disk", "b", "8", "0"],
        ["date", "--set", "2001-01-01"],
        ["hostname", "mine"],
    ],
    ids=lambda attempt: " ".join(attempt)[:40],
)
def test_ways_out_are_shut(both: Two, attempt: list[str]) -> None:
    assert both.a.run(attempt).returncode != 0


def test_host_processes_are_out_of_reach(both: Two) -> None:
    """The pid of this test's process means nothing in the CVM."""
    assert both.a.run(["kill", "-0", str(os.getpid())]).returncode != 0


def test_background_processes_live_until_the_cvm_goes(two: Two) -> None:
    two.a.run("sleep 1000 >/dev/null 2>&1 &", check=True)
    assert "sleep 1000" in two.a.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    init = two.lab.fabric.cvm(two.a.id).pod._start()
    handle = os.pidfd_open(init)
    try:
        two.a.terminate()
        import select

        assert select.select([handle], [], [], 10)[0], "the pod's init has ended, and with it all its processes"
    finally:
        os.close(handle)


def test_signals_reach_the_command(both: Two) -> None:
    ping = both.a.popen(["ping", "-i", "0.002", "10.0.1.3"], stdout=subprocess.PIPE, text=True)
    with ping:
        assert ping.stdout is not None
        for line in ping.stdout:
            if "bytes from" in line:
                break
        ping.send_signal(signal.SIGINT)
        rest = ping.stdout.read()
    assert "packets transmitted" in rest


def test_a_timeout_ends_the_command_although_a_grandchild_holds_the_pipe(both: Two) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        both.a.run("sleep 1000 & sleep 1000", timeout=0.5)


def test_check_input_and_results(both: Two) -> None:
    assert both.a.run(["cat"], input="hello").stdout == "hello"
    assert both.a.run("exit 3").returncode == 3
    with pytest.raises(subprocess.CalledProcessError):
        both.a.run(["false"], check=True)


def test_a_command_that_is_not_there(both: Two) -> None:
    with pytest.raises(CommandNotFound, match="A has no command 'no-such-command'"):
        both.a.run(["no-such-command"])
    for nothing in ([], [""], ["a\0b"]):
        with pytest.raises(GuestError):
            both.a.run(nothing)


def test_python_in_a_cvm(both: Two) -> None:
    offset = 40
    assert both.a.call(lambda x: x + offset, 2) == 42
    assert both.a.call(socket.gethostname) == "A"
    with pytest.raises(ZeroDivisionError):
        both.a.call(lambda: 1 / 0)
    with pytest.raises(GuestError, match="within"):
        both.a.call(__import__("time").sleep, 60, timeout=0.5)


def test_scapy_in_a_cvm(both: Two) -> None:
    def echo(address: str) -> int:
        from scapy.layers.inet import ICMP, IP
        from scapy.sendrecv import sr1

        reply = sr1(IP(dst=address) / ICMP(id=7), timeout=5, verbose=False)
        return int(reply[ICMP].type)

    assert both.a.call(echo, "10.0.1.3") == 0


def test_sockets_of_a_cvm(both: Two) -> None:
    with both.b.socket(type=socket.SOCK_DGRAM) as there, both.a.socket(type=socket.SOCK_DGRAM) as here:
        there.bind(("10.0.1.3", 53))
        there.settimeout(5)
        here.sendto(b"query", ("10.0.1.3", 53))
        data, (sender, _) = there.recvfrom(100)
    assert (data, sender) == (b"query", "10.0.1.2")


def test_a_capture_holds_both_directions_and_every_packet(two: Two, tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    two.a.ping(two.b)  # addresses are resolved before
    with two.a.eni.capture(file) as capture:
        with two.b.socket(type=socket.SOCK_DGRAM) as there, two.a.socket(type=socket.SOCK_DGRAM) as here:
            there.bind(("10.0.1.3", 9))
            for number in range(20_000):
                here.sendto(number.to_bytes(4, "big"), ("10.0.1.3", 9))
        assert two.a.ping(two.b, count=3).received == 3
    with file.open("rb") as stream:
        frames = list(dpkt.pcap.Reader(stream))
    packets = [dpkt.ethernet.Ethernet(data).data for _, data in frames]
    udp = [packet for packet in packets if isinstance(packet, dpkt.ip.IP) and isinstance(packet.data, dpkt.udp.UDP)]
    icmp = [packet for packet in packets if isinstance(packet, dpkt.ip.IP) and isinstance(packet.data, dpkt.icmp.ICMP)]
    assert [int.from_bytes(packet.data.data, "big") for packet in udp] == list(range(20_000))
    assert [packet.data.type for packet in icmp] == [8, 0] * 3
    assert (capture.packets, capture.lost) == (len(frames), 0)
    times = [time for time, _ in frames]
    assert times == sorted(times)


def test_a_capture_that_lost_packets_says_so(two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from emulator.fabric import pcap

    monkeypatch.setattr(pcap.Capture, "_take", lambda self: 0)  # nobody empties the ring
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with two.a.eni.capture(tmp_path / "a.pcap") as capture, two.a.socket(type=socket.SOCK_DGRAM) as here:
            for _ in range(pcap._FRAMES + 1000):
                here.sendto(b"x", ("10.0.1.3", 9))
    assert capture.lost >= 1000
    assert any(isinstance(one.message, pcap.CaptureLoss) for one in warned)


def test_captures_that_cannot_be(two: Two, tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="cannot write"), two.a.eni.capture(tmp_path / "missing" / "a.pcap"):
        pass
    eni = two.subnet.create_eni("spare")
    with pytest.raises(GuestError, match="attach it"):
        eni.capture(tmp_path / "a.pcap")


def test_nothing_of_a_lab_is_seen_outside(open_lab: Callable[..., Lab]) -> None:
    """Interfaces, mounts and sysctls of the host are as before, and so is this process."""

    def outside() -> dict[str, object]:
        sysctls = {
            str(path): path.read_text()
            for path in Path("/proc/sys/net/ipv4/conf").glob("*/*")
            if path.is_file() and os.access(path, os.R_OK)
        }
        return {
            "interfaces": socket.if_nameindex(),
            "mounts": Path("/proc/self/mounts").read_text(),
            "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in ("net", "mnt", "user", "pid")},
            "uid": (os.getuid(), os.geteuid()),
            "sysctls": sysctls,
        }

    before = outside()
    two = Two(open_lab())
    two.a.ping(two.b)
    assert outside() == before


def test_equal_labs_do_not_meet(open_lab: Callable[..., Lab]) -> None:
    """The same names and addresses in two labs, and in two VPCs of one: each ping is answered in its own."""
    one, other = Two(open_lab()), Two(open_lab())
    third = one.lab.create_vpc("10.0.0.0/16").create_subnet("10.0.1.0/24")
    third.run_instance("A")
    assert one.a.ping(one.b).received == 1
    other.b.terminate()
    assert other.a.ping("10.0.1.3", wait_s=0.2).received == 0
    assert one.a.ping(one.b).received == 1
