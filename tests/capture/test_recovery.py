"""A killed lab with a data folder loses nothing that the kernel counted: the next lab on the folder brings it in."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulator import Lab, LabError
from tests.children import environment

pytestmark = pytest.mark.kernel

START_S = 1_800_000_000

KILLED = f"""
import os, signal, socket, sys
from emulator import Lab
lab = Lab(data=sys.argv[1], start={START_S})
vpc = lab.create_vpc("10.0.0.0/16", ipv6_cidr=True)
subnet = vpc.create_subnet("10.0.1.0/24", ipv6_cidr=True)
a, b = subnet.run_instances(["A", "B"], ipv6=True)
topic = lab.logs.create_topic("x")
vpc.create_flow_log(topic=topic)
a.ping(b, count=3)
lab.clock.advance(minutes=5)
a.ping(b, count=4)
a.ping(b, count=6, ipv6=True)
a.eni.create_flow_log(topic=topic)  # cuts the open window: one part is read, the rest still in the kernel
a.ping(b, count=5)
a.ping(b, count=7, ipv6=True)
with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"x" * 4000, (b.ip, 9))  # three fragments
a.ping(b)  # they have gone through
print(lab.fabric.keeper.pid, a.eni.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _killed_lab(folder: Path) -> tuple[int, str]:
    """Run a lab that is killed in its second window; its keeper's pid and A's ENI."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(folder)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, eni_id = done.stdout.split()
    return int(pid), eni_id


def _ended(pid: int) -> bool:
    """Whether a process ends within ten seconds; one that only waits to be reaped by init has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)


def test_the_open_window_survives_a_kill(tmp_path: Path) -> None:
    """Three, four, five and one requests in two windows, of which the lab lived to close the first."""
    keeper, eni_id = _killed_lab(tmp_path)
    with Lab(data=tmp_path, start=START_S + 300) as lab:
        topic = lab.logs.topic("x")
        assert not topic.search(), "nothing was due when the lab was killed"
        lab.clock.advance(minutes=5)
        query = f"dstport:2048 AND interface-id:{eni_id}"
        assert [row["packets"] for row in topic.search(query)] == [3]
        why = lab.explain(topic.search(query)[0])
        assert why.rule is None, "the rules of this lab have the same numbers"
        assert why.text == f"{eni_id}: an earlier lab on this data folder counted this, and its rules went with it"
        lab.clock.advance(minutes=5)
        rows = topic.search(query)
        # All pings under the VPC's flow log, the later ones once more under the ENI's own.
        assert sorted(row["packets"] for row in rows) == [1, 1, 3, 4, 5, 5]
        in_pieces = topic.search(f"dstport:9 AND protocol:17 AND interface-id:{eni_id}")
        assert [(row["packets"], row["bytes"]) for row in in_pieces] == [(3, 4068)] * 2
        of_ipv6 = topic.search(f"dstport:32768 AND interface-id:{eni_id}")
        assert sorted(row["packets"] for row in of_ipv6) == [6, 7, 7]
        assert {(row["start"], row["end"]) for row in rows} == {
            (START_S, START_S + 300),
            (START_S + 300, START_S + 600),
        }
    assert _ended(keeper), "the keeper that lingered is gone once its tables were read"
    assert not (tmp_path / "keeper.sock").exists()


def test_a_second_recovery_finds_nothing_more(tmp_path: Path) -> None:
    _killed_lab(tmp_path)
    for _ in range(2):
        with Lab(data=tmp_path, start=START_S + 1200) as lab:
            assert sum(row["packets"] for row in lab.logs.topic("x").search("dstport:2048 AND log-status:OK")) == 32


def test_without_a_keeper_what_was_read_is_still_there(tmp_path: Path) -> None:
    """The closed window was on disk, and of the open one the part that was read before."""
    keeper, eni_id = _killed_lab(tmp_path)
    os.kill(keeper, signal.SIGKILL)
    with Lab(data=tmp_path, start=START_S + 1200) as lab:
        rows = lab.logs.topic("x").search(f"dstport:2048 AND interface-id:{eni_id}")
        assert [row["packets"] for row in rows] == [3, 4]


def test_two_labs_cannot_share_a_folder(tmp_path: Path) -> None:
    with Lab(data=tmp_path), pytest.raises(LabError, match="in use by"):
        Lab(data=tmp_path)
