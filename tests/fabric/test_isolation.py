"""Nothing of a lab is seen outside, nothing outside is changed, and labs that run at once never meet."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import warm

pytestmark = pytest.mark.kernel

CHANGING = (
    *("net.netfilter.nf_conntrack_count", "net.ipv4.tcp_fastopen_key", "net.netfilter.nf_log"),
    *("net.ipv4.tcp_mem", "net.core.flow_limit"),
)


def sysctls() -> dict[str, str]:
    """What stands under /proc/sys/net, but for what counts or is secret."""
    found = {}
    for folder, _, names in os.walk("/proc/sys/net"):
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                found[path] = Path(path).read_text()
    return {
        path: text
        for path, text in found.items()
        if not path.removeprefix("/proc/sys/").replace("/", ".").startswith(CHANGING)
    }


def host() -> dict[str, Any]:
    """What a lab must leave as it is."""
    seen: dict[str, Any] = {"sysctls": sysctls(), "links": sorted(socket.if_nameindex())}
    seen["mounts"] = Path("/proc/self/mounts").read_text()
    seen["routes"] = Path("/proc/net/route").read_text()
    seen["namespaces"] = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    for folder in ("/run/netns", "/var/run/netns", "/etc/netns"):
        seen[folder] = sorted(os.listdir(folder)) if os.path.isdir(folder) else None
    if os.geteuid() == 0:
        nft = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
        seen["tables"] = nft.stdout
    return seen


@pytest.fixture
def host_ear() -> Iterator[Callable[[], list[bytes]]]:
    """Everything that passes in the host's own network namespace; only root may listen there."""
    if os.geteuid() != 0:
        pytest.skip("only root can listen in the host's own namespace")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as ear:

        def heard() -> list[bytes]:
            frames = []
            while select.select([ear], [], [], 0)[0]:
                frames.append(ear.recv(70_000))
            return frames

        yield heard


def test_the_host_stays_as_it_is(two: Callable[[], Any]) -> None:
    before = host()
    pair = two()
    second = pair.subnet.create_eni()
    second.attach(pair.b)
    pair.vpc.create_network_acl("acl").associate(pair.subnet)
    pair.a.ping(pair.b, wait_s=0.1)
    pair.vpc.create_flow_log(topic=pair.lab.logs.create_topic("t"))
    pair.lab.clock.advance(minutes=20)
    pair.lab.net.get("A").cmd("true")
    during = host()
    pair.lab.close()
    after = host()
    assert during == before
    assert after == before


def test_no_packet_of_a_lab_is_seen_in_the_hosts_namespace(
    host_ear: Callable[[], list[bytes]], two: Callable[[], Any]
) -> None:
    marks = [os.urandom(8) for _ in range(3)]
    with socket.socket(type=socket.SOCK_DGRAM) as canary:
        canary.bind(("127.0.0.1", 0))
        pair = two()
        canary.sendto(marks[0], canary.getsockname())
        with pair.a.socket(type=socket.SOCK_DGRAM) as one:
            for target in (pair.b.ip, "10.16.0.255", "255.255.255.255", "224.0.0.1", "8.8.8.8", "127.0.0.1"):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                with contextlib.suppress(OSError):
                    one.sendto(marks[1], (target, 7))
        assert pair.a.ping(pair.b, count=3).received == 3
        pair.lab.close()
        canary.sendto(marks[2], canary.getsockname())
    heard = b"".join(host_ear())
    assert marks[0] in heard  # the canaries
    assert marks[2] in heard
    assert marks[1] not in heard
    assert socket.inet_aton("10.16.0.40") not in heard


def test_a_lab_cannot_reach_the_hosts_services(pair: Any) -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        port = server.getsockname()[1]
        for address in ("127.0.0.1", "10.16.0.1", "localhost"):
            with pair.a.socket() as client:
                client.settimeout(0.2)
                with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
                    client.connect((address if address != "localhost" else "127.0.0.1", port))
    abstract = f"\0vpclab-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(abstract)
        server.listen()
        reach = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('\\0' + sys.argv[1])"
        tried = pair.a.run([sys.executable, "-I", "-c", reach, abstract[1:]])
        assert "ConnectionRefusedError" in tried.stderr


# labs at once ---------------------------------------------------------------------------------------------


STORY = """
def story(name="demo", count=3):
    from emulator import Lab
    with Lab(start=1_763_000_010) as lab:
        vpc = lab.create_vpc("10.16.0.0/16", name=name)
        subnet = vpc.create_subnet("10.16.0.0/24")
        a = subnet.run_instance("A", private_ip="10.16.0.22")
        b = subnet.run_instance("B", private_ip="10.16.0.40")
        topic = lab.logs.create_topic("flows")
        vpc.create_flow_log(topic=topic)
        reply = a.ping(b, count=count)
        lab.clock.advance(minutes=15)
        rows = [dict(row) for row in topic.search("*")]
        for row in rows:
            row.pop("srcport", None), row.pop("dstport", None)  # ping's identifier is its process id
        return reply.received, sorted(map(str, rows))
"""


def test_two_labs_at_once_in_one_process_never_meet(two: Callable[[], Any], tmp_path: Path) -> None:
    one, other = two(), two()
    assert one.lab.fabric.keeper is other.lab.fabric.keeper
    assert one.a.ip == other.a.ip
    topics = [pair.lab.logs.create_topic("flows") for pair in (one, other)]
    for pair, topic in zip((one, other), topics, strict=True):
        pair.vpc.create_flow_log(topic=topic)
    with other.a.eni.capture(tmp_path / "other.pcap") as capture:
        assert one.a.ping(one.b, count=4).received == 4
    assert capture.packets == 0
    assert other.a.ping(other.b, count=2).received == 2
    for pair, topic, count in ((one, topics[0], 4), (other, topics[1], 2)):
        pair.lab.clock.advance(minutes=15)
        rows = topic.search("protocol:1")
        assert {row["packets"] for row in rows} == {count}
        assert len(rows) == 4
    one.lab.close()
    assert other.a.ping(other.b).received == 1


def test_threads_with_labs_of_their_own_get_the_same_records(needs_kernel: None) -> None:
    space: dict[str, Any] = {}
    exec(STORY, space)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: space["story"](), range(4)))
    assert results == [results[0]] * 4
    assert results[0][0] == 3
    assert sum("'OK'" in row for row in results[0][1]) == 4


def test_six_processes_at_once_get_the_same_records_and_leave_nothing(needs_kernel: None, running: Any) -> None:
    ending = """
import json, os
for _ in range(6):
    if os.fork() == 0:
        result = story()
        from emulator.fabric import client
        os.write(1, json.dumps([client.keeper().pid, *result]).encode() + b"\\n")
        os._exit(0)
for _ in range(6):
    os.wait()
"""
    done = warm.python("-c", STORY + ending, env=running.environment())
    assert done.stderr == ""
    told = [json.loads(line) for line in done.stdout.splitlines()]
    keepers = [keeper for keeper, _, _ in told]
    assert len(set(keepers)) == 6
    assert [received for _, received, _ in told] == [3] * 6
    assert [rows for _, _, rows in told] == [told[0][2]] * 6
    assert sum("'OK'" in row for row in told[0][2]) == 4
    running.until(lambda: not any(map(running.alive, keepers)), "no keeper is left")


def test_what_is_left_after_a_lab_is_nothing(own_keeper: None, two: Callable[[], Any], running: Any) -> None:
    pair = two()
    keeper = pair.lab.fabric.keeper
    spaces = [os.readlink(f"/proc/{keeper.pid}/fd/{ns}") for ns in keeper.spaces()]
    pair.a.run("sleep 1000 &")
    pair.lab.net.get("B").cmd("sleep 1000 &")
    talking = pair.a.popen(["ping", "-q", pair.b.ip], stdout=subprocess.DEVNULL)
    held_by = {os.getpid(), talking.pid, keeper.pid, *running.family(keeper.pid)}
    assert running.holders(spaces, held_by)
    pair.lab.close()
    talking.wait(running.BOUND_S)
    running.until(lambda: not running.family(keeper.pid), "no guest is left")
    running.until(lambda: not running.holders(spaces, held_by), "no namespace is left")
    assert keeper.spaces() == {}
