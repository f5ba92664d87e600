"""``lab.net`` as Mininet's users know a network: nodes, commands, pings, links, the CLI."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import CommandNotFound, GuestError, InvalidValue, LabError, NotFound, Unsupported

if sys.platform == "linux":
    from mininet.cli import CLI
    from mininet.log import MininetLogger, lg
    from mininet.net import Mininet
    from mininet.node import Host, Node

pytestmark = pytest.mark.kernel


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What Mininet prints, which goes through a handler that remembers the first standard output it saw."""
    text = io.StringIO()
    assert isinstance(lg, MininetLogger)
    for handler in lg.handlers:
        monkeypatch.setattr(handler, "stream", text)
    return text


@pytest.fixture
def cli(printed: io.StringIO, tmp_path: Path) -> Callable[..., str]:
    """Runs a script in Mininet's CLI and returns what it printed."""

    def run(net: Any, *lines: str) -> str:
        script = tmp_path / "script"
        script.write_text("\n".join(lines) + "\n")
        with open(os.devnull) as stdin:
            CLI(net, stdin=stdin, script=str(script))
        return printed.getvalue()

    return run


# commands --------------------------------------------------------------------------------------------


def test_the_network_and_its_nodes_are_mininets(shared: Any) -> None:
    net = shared.lab.net
    assert isinstance(net, Mininet)
    assert isinstance(net.get("A"), Host)
    assert isinstance(net.get("demo"), Node)
    assert [host.name for host in net.hosts] == ["A", "B"]
    assert [switch.name for switch in net.switches] == ["demo"]
    assert net.controllers == []


def test_cmd_runs_in_the_nodes_network(shared: Any) -> None:
    a = shared.lab.net.get("A")
    assert re.search(r"eth0.*inet 10\.16\.0\.22/24", a.cmd("ip a"), re.DOTALL)
    assert a.cmd("echo", "one", 2) == "one 2\r\n"
    assert a.cmd("ping -c1 " + shared.b.ip).count("bytes from") == 1
    a.cmd("x=5")
    assert a.cmd("echo $x").strip() == "5"  # one shell for all
    assert a.cmd("hostname").strip() == "A"
    assert a.cmd("") == ""
    assert a.cmd("false; echo $?").strip() == "1"


def test_long_output_comes_whole(shared: Any) -> None:
    lines = shared.lab.net.get("A").cmd("seq 20000").split()
    assert lines == [str(number) for number in range(1, 20_001)]


def test_a_background_job_of_the_shell_lives_on(pair: Any, running: Any) -> None:
    a = pair.lab.net.get("A")
    a.cmd("sleep 1000 &")
    job = str(a.lastPid)
    # At first it is still the shell that was forked.
    running.until(lambda: job in a.cmd("pgrep -xf 'sleep 1000'").split(), "the job is there")
    assert pair.a.run(["kill", job]).returncode == 0


def test_popen_and_pexec(shared: Any) -> None:
    a = shared.lab.net.get("A")
    with a.popen(f"ping -c 2 -i 0.05 {shared.b.ip}") as process:
        assert process.stdout.read().count(b"bytes from") == 2
    assert process.returncode == 0
    with a.popen(["cat"], stdin=subprocess.PIPE) as process:
        assert process.communicate(b"hello")[0] == b"hello"
    with a.popen("echo", "one", 2) as process:
        assert process.stdout.read() == b"one 2\n"
    with a.popen("echo $((1 + 1)) | tr 2 3", shell=True) as process:
        assert process.stdout.read() == b"3\n"
    assert a.pexec("echo hello") == ("hello\n", "", 0)
    out, err, status = a.pexec(["sh", "-c", "echo oops >&2; exit 3"])
    assert (out, err, status) == ("", "oops\n", 3)
    with pytest.raises(CommandNotFound, match="A has no command 'no-such-thing'"):
        a.popen("no-such-thing now")


def test_sendcmd_monitor_and_waitoutput(shared: Any) -> None:
    a = shared.lab.net.get("A")
    a.sendCmd("echo one; read x; echo got $x")
    assert a.waiting
    seen = ""
    while "one" not in seen:
        seen += a.monitor()
    assert a.monitor(timeoutms=1) == ""
    a.write("two\n")
    assert "got two" in a.waitOutput()
    assert not a.waiting
    assert a.cmd("echo three").strip() == "three"


def test_sendint_interrupts_what_runs(shared: Any) -> None:
    a = shared.lab.net.get("A")
    a.sendCmd(f"ping -i 0.05 {shared.b.ip}")
    seen = ""
    while seen.count("bytes from") < 2:
        seen += a.monitor()
    a.sendInt()
    assert "packets transmitted" in a.waitOutput()
    assert a.cmd("echo after").strip() == "after"


def test_net_monitor_follows_several_nodes(pair: Any) -> None:
    net = pair.lab.net
    a, b = net.get("A", "B")
    for host in (a, b):
        host.sendCmd(f"echo from {host.name}; echo last")
    seen = set()
    for host, line in net.monitor([a, b], timeoutms=20_000):
        assert host is not None, f"only {seen}"
        seen.add((host.name, line.strip()))
        if {("A", "from A"), ("B", "from B")} <= seen:
            break


def test_a_shell_that_ends_is_told_and_started_anew(shared: Any) -> None:
    a = shared.lab.net.get("A")
    assert a.cmd("echo before").strip() == "before"
    with pytest.raises(GuestError, match="the shell of A ended"):
        a.cmd("exit")
    assert a.cmd("echo after").strip() == "after"
    with pytest.raises(GuestError, match="the shell of A ended"):
        a.cmd("kill -9 $$")
    assert a.cmd("echo again").strip() == "again"
    a.terminate()
    assert a.cmd("echo and again").strip() == "and again"


def test_the_vpcs_own_node_runs_commands_too(shared: Any) -> None:
    router = shared.lab.net.get("demo")
    links = router.cmd("ip -br link")
    assert all(eni.id in links for eni in (shared.a.eni, shared.b.eni))
    assert router.cmd("cat /proc/sys/net/ipv4/ip_forward").strip() == "1"


# pings -----------------------------------------------------------------------------------------------


def test_pingall_pingpair_and_ping(pair: Any, printed: io.StringIO) -> None:
    pair.vpc.create_subnet("10.16.1.0/24").run_instance("C")
    net = pair.lab.net
    assert net.pingAll() == 0
    assert "A -> B C" in printed.getvalue()
    assert "0% dropped (6/6 received)" in printed.getvalue()
    assert net.pingPair() == 0
    assert net.ping(net.get("A", "C"), timeout="1") == 0
    assert len(net.pingAllFull()) == 6


def test_pingall_counts_what_the_cloud_drops(pair: Any, printed: io.StringIO) -> None:
    group = pair.vpc.create_security_group("closed")
    pair.b.eni.set_security_groups([group])
    assert pair.lab.net.pingAll(timeout="0.2") == 100


# nodes, links, interfaces ----------------------------------------------------------------------------


def test_names_ids_length_and_iteration(shared: Any) -> None:
    net, a = shared.lab.net, shared.a
    assert len(net) == 3
    assert list(net) == net.keys() == ["A", "B", "demo"]
    assert dict(net.items())["B"] is net["B"] is net.get(shared.b.id)
    assert net.values() == [net["A"], net["B"], net["demo"]]
    assert "A" in net
    assert a.id in net
    assert shared.vpc.id in net
    assert "C" not in net
    assert net.get("B", "A") == [net["B"], net["A"]]
    assert net.getNodeByName("A") is net["A"]
    with pytest.raises(NotFound, match="no node 'C' in this network; there are: A, B, demo"):
        net.get("C")


def test_names_that_repeat_are_found_by_id(pair: Any) -> None:
    again = pair.subnet.run_instance("A")
    net = pair.lab.net
    assert again.id != pair.a.id
    assert net.get(again.id).cmd("ip -br a show eth0").split()[2] == f"{again.ip}/24"
    assert net.get(pair.a.id).IP() == pair.a.ip
    assert "A" not in net
    assert sorted(net) == sorted([pair.a.id, again.id, "B", "demo"])
    with pytest.raises(InvalidValue, match="2 nodes have the name 'A'; ask for one by id") as refused:
        net.get("A")
    assert pair.a.id in str(refused.value)
    assert again.id in str(refused.value)
    again.terminate()
    assert net.get("A").id == pair.a.id


def test_links_and_interfaces(shared: Any) -> None:
    net = shared.lab.net
    a, router = net.get("A", "demo")
    assert len(net.links) == 2
    (link,) = net.linksBetween(a, router)
    assert link.status() == "(OK OK)"
    ((mine, its),) = a.connectionsTo(router)
    assert str(mine) == "eth0"
    assert str(its) == shared.a.eni.id
    assert (a.IP(), a.MAC()) == (shared.a.ip, shared.a.eni.mac)
    assert (mine.updateIP(), mine.updateMAC()) == (shared.a.ip, shared.a.eni.mac)
    assert a.intfNames() == ["eth0"]
    assert a.intfIsUp()
    assert its.isUp()
    assert "A: eth0:10.16.0.22" in repr(a)


def test_the_network_follows_the_cloud(pair: Any) -> None:
    net = pair.lab.net
    c = pair.subnet.run_instance("C")
    eni = pair.subnet.create_eni("second")
    eni.attach(c)
    node = net.get("C")
    assert node.intfNames() == ["eth0", "eth1"]
    assert node.IP("eth1") == eni.ip
    assert len(net.links) == 4
    eni.detach()
    assert node.intfNames() == ["eth0"]
    assert len(net.links) == 3
    assert node.cmd("true") == ""
    c.terminate()
    assert list(net) == ["A", "B", "demo"]
    assert len(net.links) == 2
    with pytest.raises(LabError, match="C was terminated, or its lab was closed"):
        node.cmd("hostname")
    with pytest.raises(LabError, match="C was terminated"):
        node.popen("hostname")


def test_the_nodes_of_a_closed_lab_run_nothing_even_when_their_namespace_number_is_used_again(
    two: Callable[[], Any],
) -> None:
    pair = two()
    node = pair.lab.net.get("A")
    assert node.cmd("hostname").strip() == "A"
    pair.lab.close()
    after = two()
    assert node.ns in after.lab.fabric.keeper.spaces()
    for attempt in (lambda: node.cmd("hostname"), lambda: node.popen("hostname"), lambda: node.pexec("hostname")):
        with pytest.raises(LabError, match="A was terminated, or its lab was closed"):
            attempt()


# what Mininet's users must do otherwise --------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "way_out"),
    [
        pytest.param(lambda net: net.addHost("h3"), r"subnet.run_instance\('h3'\)", id="addHost"),
        pytest.param(lambda net: net.addHost("h3", ip="10.0.0.3"), "subnet.run_instance", id="addHost with params"),
        pytest.param(lambda net: net.addSwitch("s1"), r"lab.create_vpc", id="addSwitch"),
        pytest.param(lambda net: net.addLink(net["A"], net["B"]), r"subnet.create_eni\(\)", id="addLink"),
        pytest.param(lambda net: net.addController("c0"), "security groups", id="addController"),
        pytest.param(lambda net: net.addNAT(), "no way to the host", id="addNAT"),
        pytest.param(lambda net: net.delHost(net["A"]), r"cvm.terminate\(\)", id="delHost"),
        pytest.param(lambda net: net.delSwitch(net["demo"]), r"vpc.delete\(\)", id="delSwitch"),
        pytest.param(lambda net: net.delNode(net["A"]), r"cvm.terminate\(\)", id="delNode"),
        pytest.param(lambda net: net.__delitem__("A"), r"cvm.terminate\(\)", id="del"),
        pytest.param(lambda net: net.delLink(net.links[0]), r"eni.detach\(\)", id="delLink"),
        pytest.param(lambda net: net.delLinkBetween(net["A"], net["demo"]), r"eni.detach\(\)", id="delLinkBetween"),
        pytest.param(lambda net: net["A"].setIP("10.0.0.1"), "belong to its VPC", id="setIP"),
        pytest.param(lambda net: net["A"].setMAC("02:00:00:00:00:01"), "belong to its VPC", id="setMAC"),
    ],
)
def test_what_belongs_to_the_cloud_is_refused_with_the_way_out(
    shared: Any, attempt: Callable[[Any], object], way_out: str
) -> None:
    net = shared.lab.net
    with pytest.raises((LabError, Unsupported), match=way_out):
        attempt(net)
    assert list(net) == ["A", "B", "demo"]
    assert len(net.links) == 2
    assert shared.a.ping(shared.b).received == 1


def test_starting_and_stopping_are_the_labs(shared: Any) -> None:
    net = shared.lab.net
    net.build()
    net.start()
    net.stop()
    assert shared.a.ping(shared.b).received == 1


# the CLI ---------------------------------------------------------------------------------------------


def test_cli_shows_the_network(shared: Any, cli: Callable[..., str]) -> None:
    said = cli(shared.lab.net, "nodes", "net", "dump", "intfs", "links", "ports")
    assert "available nodes are: \nA B demo\n" in said
    assert f"A eth0:{shared.a.eni.id}" in said
    assert f"<CvmHost A: eth0:{shared.a.ip} pid=" in said
    assert "<VpcRouter demo: " in said
    assert "B: eth0\n" in said
    assert f"{shared.b.eni.id}<->eth0 (OK OK)" in said


def test_cli_runs_commands_in_nodes(shared: Any, cli: Callable[..., str]) -> None:
    said = cli(shared.lab.net, "A hostname", "A ping -c1 B", "B echo A is at A", "pingall", "noecho A echo quiet")
    assert said.startswith("A\r\n") or "\nA\r\n" in said
    assert f"64 bytes from {shared.b.ip}" in said
    assert f"{shared.a.ip} is at {shared.a.ip}" in said
    assert "0% dropped (2/2 received)" in said
    assert "quiet" in said


def test_cli_evaluates_python(shared: Any, cli: Callable[..., str]) -> None:
    said = cli(shared.lab.net, "py A.IP()", "py net.get('B').cmd('hostname')", "px print(A.name)", "py 1 / 0")
    assert f"{shared.a.ip}\n" in said
    assert "B\r\n" in said
    assert "division by zero" in said


def test_cli_survives_mistakes(shared: Any, cli: Callable[..., str]) -> None:
    said = cli(shared.lab.net, "nonsense", "A", "link A demo down", "A echo alive", "switch demo stop", "nodes")
    assert "Unknown command: nonsense" in said
    assert "enter a command for node: A" in said
    assert "eni.detach()" in said
    assert "alive" in said
    assert "available nodes are: \nA B demo\n" in said
    assert shared.a.ping(shared.b).received == 1
