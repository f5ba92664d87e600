"""Guests: what a command in a CVM sees, what it keeps, what it cannot do, and how it ends."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import CommandNotFound, GuestError, LabClosed, LabError, RequestRefused

pytestmark = pytest.mark.kernel

ROOT = os.geteuid() == 0
AT_ONCE_S = 5.0


def lines(cvm: Any, command: str, **options: Any) -> list[str]:
    result = cvm.run(command, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


# a machine of its own -----------------------------------------------------------------------------------


def test_hostname_and_user(shared: Any) -> None:
    assert lines(shared.a, "hostname") == ["A"]
    assert lines(shared.b, "hostname") == ["B"]
    assert lines(shared.a, "id -u; id -g; echo $HOME $USER $HOSTNAME") == ["0", "0", "/tmp root A"]
    assert lines(shared.a, "uname -n") == ["A"]


def test_a_name_that_no_host_can_have_is_a_cvms_all_the_same(pair: Any) -> None:
    c = pair.subnet.run_instance("web server №1 (日本)")
    assert c.run(["hostname"], check=True).stdout == "cvm\n"
    assert c.ping("A").received == 1
    assert c.id in pair.a.run("cat /etc/hosts").stdout
    assert "№" not in pair.a.run("cat /etc/hosts").stdout


def test_etc_hosts_knows_the_labs_names_and_those_that_come_later(pair: Any) -> None:
    def table() -> dict[str, str]:
        return {name: address for address, *names in map(str.split, lines(pair.a, "cat /etc/hosts")) for name in names}

    assert table() == {
        "localhost": "127.0.0.1",
        "A": pair.a.ip,
        "B": pair.b.ip,
        pair.a.id: pair.a.ip,
        pair.b.id: pair.b.ip,
    }
    server = pair.a.popen("until grep -q '\\bC\\b' /etc/hosts; do :; done; ping -c1 C", stdout=subprocess.PIPE)
    c = pair.subnet.run_instance("C")  # while a pod and a command in it are running
    assert b"1 received" in server.communicate(timeout=AT_ONCE_S)[0]
    assert table()["C"] == c.ip
    assert pair.a.ping("C").received == 1
    assert c.ping("A").received == 1
    c.terminate()
    assert "C" not in table()
    other = pair.lab.create_vpc("10.99.0.0/16").create_subnet("10.99.0.0/24").run_instance("X")
    assert "X" not in table()
    assert "A" not in other.run("cat /etc/hosts").stdout.split()


def test_an_unknown_name_fails_at_once(shared: Any) -> None:
    begun = time.monotonic()
    assert shared.a.run(["ping", "-c1", "example.com"]).returncode != 0
    assert time.monotonic() - begun < AT_ONCE_S


def test_process_ids_are_its_own(shared: Any) -> None:
    shared.a.run(["true"])
    seen = lines(shared.a, "ls /proc | grep -x '[0-9]*'")
    assert 1 < len(seen) < 10
    assert "1" in seen
    assert str(os.getpid()) not in seen
    assert "vpclab-keeper" not in shared.a.run("cat /proc/[0-9]*/comm").stdout
    assert lines(shared.a, "echo $PPID") == ["0"]
    mine = lines(shared.a, "sleep 1000 >/dev/null 2>&1 & echo $!")[0]
    assert "sleep" in lines(shared.a, f"cat /proc/{mine}/comm")
    assert shared.b.run(f"cat /proc/{mine}/comm").stdout != "sleep\n"
    assert shared.a.run(["kill", mine]).returncode == 0


def test_tmp_and_run_are_its_own_and_last(pair: Any) -> None:
    marker = Path("/tmp/vpclab-test-marker")
    pair.a.run(f"echo mine > {marker}; echo too > /run/marker; mkdir -p /tmp/deep/er; echo $$ > /dev/shm/x", check=True)
    assert lines(pair.a, f"cat {marker} /run/marker; ls -d /tmp/deep/er") == ["mine", "too", "/tmp/deep/er"]
    assert not marker.exists()
    assert pair.b.run(["ls", str(marker)]).returncode != 0
    assert pair.b.run(["ls", "/run/marker"]).returncode != 0
    assert lines(pair.b, "ls /tmp /run | grep -c marker; true") == ["0"]
    assert lines(pair.a, "stat -c %a /tmp") == ["1777"]
    assert lines(pair.a, "mount | grep -c ' on /tmp '") == ["1"]
    pair.a.terminate()
    again = pair.subnet.run_instance("A", private_ip="10.16.0.22")
    assert again.run(["ls", str(marker)]).returncode != 0


def test_the_rest_is_read_only(shared: Any, tmp_path: Path) -> None:
    places = ["/", "/etc", "/usr", "/usr/bin", "/var", "/opt", "/var/log", os.path.dirname(sys.executable), "/boot"]
    for place in places:
        assert shared.a.run(f"echo x > {place}/vpclab-test").returncode != 0, place
        assert not os.path.exists(f"{place}/vpclab-test")
    assert shared.a.run("chmod 777 /etc/passwd").returncode != 0
    assert shared.a.run("rm -f /etc/hostname").returncode != 0 or not os.path.exists("/etc/hostname")
    assert shared.a.run("echo 10.0.0.1 evil >> /etc/hosts").returncode != 0


@pytest.mark.parametrize("path", ["/root", "/home", "/sys", "/mnt", "/media", "/var/tmp"])
def test_homes_and_the_like_are_empty(shared: Any, path: str) -> None:
    if not os.path.isdir(path):
        pytest.skip(f"this machine has no {path}")
    visible = {sys.prefix, sys.base_prefix, os.getcwd(), str(Path(__file__).parents[2])}
    inside = {one for one in visible if one.startswith(path + "/")}
    seen = lines(shared.a, f"ls -A {path}")
    assert set(seen) <= {one[len(path) + 1 :].partition("/")[0] for one in inside}


def secrets() -> list[str]:
    """Files under /etc that not everybody may read, and the shadow ones that no guest may ever read."""
    found = [path for path in ("/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/sudoers") if os.path.exists(path)]
    for folder, names, files in os.walk("/etc"):
        names[:] = [name for name in names if not os.path.islink(os.path.join(folder, name))]
        for name in files:
            with contextlib.suppress(OSError):
                mode = os.lstat(os.path.join(folder, name)).st_mode
                if stat.S_ISREG(mode) and not mode & stat.S_IROTH:
                    found.append(os.path.join(folder, name))
    return sorted(set(found))


def test_secrets_are_masked(shared: Any) -> None:
    paths = secrets()
    assert "/etc/shadow" in paths
    read = shared.a.run(["cat", *paths])
    assert read.stdout == ""


@pytest.mark.parametrize("folder", ["/etc", "/var", "/usr", "/"])
def test_a_working_directory_does_not_lay_secrets_bare(pair: Any, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.chdir(folder)
    assert lines(pair.a, "pwd") == [folder]
    assert pair.a.run(["cat", *secrets()]).stdout == ""
    shown = {Path(one).parts[2] for one in (sys.prefix, sys.base_prefix) if one.startswith("/root/")}  # Python itself
    assert set(pair.a.run("ls -A /root").stdout.split()) <= shown


@pytest.mark.skipif(not ROOT, reason="an ordinary user's guests may read what the user may")
def test_what_only_root_may_read_is_masked_for_roots_guests(pair: Any, tmp_path: Path) -> None:
    closed = [entry.path for entry in os.scandir("/") if entry.is_dir(follow_symlinks=False)]
    closed = [path for path in closed if not os.stat(path).st_mode & stat.S_IROTH]
    assert "/root" in closed
    for path in closed:
        if not any(one.startswith(path + "/") for one in (os.getcwd(), sys.prefix, sys.base_prefix)):
            assert pair.a.run(["ls", "-A", path]).stdout == "", path


def test_the_callers_environment_stays_with_the_caller(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_TOKEN", "hunter2")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("TMPDIR", "/var/nowhere")
    seen = dict(line.partition("=")[::2] for line in lines(shared.a, "env"))
    assert "hunter2" not in seen.values()
    assert not {"CLOUD_TOKEN", "SSH_AUTH_SOCK", "TMPDIR"} & set(seen)
    assert seen["LC_TIME"] == "C"
    process = shared.a.popen("echo $WORD $HOME $PATH", env={"WORD": "given", "HOME": "/run"}, stdout=subprocess.PIPE)
    with process:
        word, home, path = process.stdout.read().split()
    assert (word, home) == (b"given", b"/run")
    assert b"/usr/bin" in path


# what it cannot do -----------------------------------------------------------------------------------------

CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW = 1 << 10, 1 << 12, 1 << 13


def capabilities(cvm: Any, **options: Any) -> dict[str, int]:
    return {
        line.split(":")[0]: int(line.split()[1], 16) for line in lines(cvm, "grep ^Cap /proc/self/status", **options)
    }


def test_no_capability_but_two(shared: Any) -> None:
    held = capabilities(shared.a)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert held[name] == CAP_NET_RAW | CAP_NET_BIND_SERVICE
    assert held["CapInh"] == held["CapAmb"] == 0
    assert lines(shared.a, "grep NoNewPrivs /proc/self/status") == ["NoNewPrivs:\t1"]
    assert capabilities(shared.a, net_admin=True)["CapEff"] == CAP_NET_RAW | CAP_NET_BIND_SERVICE | CAP_NET_ADMIN
    assert capabilities(shared.a)["CapEff"] == CAP_NET_RAW | CAP_NET_BIND_SERVICE
    for line in lines(shared.a, "grep CapEff /proc/1/status"):
        assert int(line.split()[1], 16) == 0


ESCAPES = {
    "mount": "mount -t tmpfs x /mnt",
    "remount": "mount -o remount,rw /",
    "unmount a mask": "umount /root || umount /sys || umount /tmp",
    "new mounts": "unshare -m true",
    "new mounts in a user namespace": "unshare -Urm umount /sys",
    "the mask in a user namespace": "unshare -Urm sh -c 'umount -l /root && ls -A /root'",
    "the network in a user namespace": "unshare -Ur ip link set eth0 down",
    "the namespaces of pid 1": "nsenter -t 1 -m true",
    "all namespaces of pid 1": "nsenter -t 1 -a true",
    "sysctl of the machine": "echo x > /proc/sys/kernel/core_pattern",
    "sysctl of the network": "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "sysrq": "echo h > /proc/sysrq-trigger",
    "a device": "mknod /tmp/disk b 254 0 && head -c1 /tmp/disk",
    "a character device": "mknod /tmp/mem c 1 1",
    "chroot": "chroot /proc/1/root true",
    "the link": "ip link set eth0 down",
    "an address": "ip addr add 10.16.0.99/24 dev eth0",
    "a route": "ip route add 192.0.2.0/24 dev eth0",
    "another MAC": "ip link set eth0 address 02:00:00:00:00:99",
    "a neighbour": "ip neigh add 10.16.0.40 lladdr 02:00:00:00:00:99 dev eth0",
    "a ruleset": "nft add table ip evil",
    "the hostname": "hostname evil",
    "the clock": "date -s 2001-01-01",
    "another user": "setpriv --reuid 1 --clear-groups true",
    "ownership": "touch /tmp/f && chown 1:1 /tmp/f",
    "priority": "nice -n -5 true && test $(nice -n -5 nice) -lt 0",
    "the kernel log": "dmesg",
    "kernel memory": "head -c1 /proc/kcore | grep -q .",
    "a module": "modprobe dummy && ip link add d0 type dummy",
    "reboot": "kill -1 1 && sleep 0.2 && test ! -e /proc/1",
    "a setuid program": "cp /bin/sh /tmp/s && chmod 4755 /tmp/s && mount -t tmpfs x /mnt",
    "raised capabilities": "setpriv --inh-caps +net_admin --ambient-caps +net_admin true",
}


@pytest.mark.parametrize("command", ESCAPES.values(), ids=ESCAPES.keys())
def test_an_escape_fails(shared: Any, command: str) -> None:
    watched = [Path(path) for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward")]
    before = [path.read_text() for path in watched] + [os.uname().nodename]
    assert shared.a.run(command, timeout=20).returncode != 0
    assert [path.read_text() for path in watched] + [os.uname().nodename] == before
    assert shared.a.ping(shared.b).received == 1


def test_offloads_stay_off_without_net_admin(shared: Any) -> None:
    """Turned on, they would let one buffer stand for many packets."""
    switch = """
import fcntl, socket, struct, sys
ETHTOOL_GTSO, ETHTOOL_STSO, ETHTOOL_GGSO, ETHTOOL_SGSO, SIOCETHTOOL = 0x1e, 0x1f, 0x23, 0x24, 0x8946
import array
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    for get, put in ((ETHTOOL_GTSO, ETHTOOL_STSO), (ETHTOOL_GGSO, ETHTOOL_SGSO)):
        for command, value in ((put, 1), (get, 0)):
            data = array.array("I", [command, value])
            request = struct.pack("16sP", b"eth0", data.buffer_info()[0])
            try:
                fcntl.ioctl(one, SIOCETHTOOL, request)
                print(command, data[1])
            except OSError as error:
                print(command, error.errno)
"""
    said = lines(shared.a, f"{sys.executable} -I - <<'END'\n{switch}\nEND")
    assert said == ["31 1", "30 0", "36 1", "35 0"]  # EPERM to switch, and off


def test_processes_of_the_host_are_out_of_reach(shared: Any, running: Any) -> None:
    with subprocess.Popen(["sleep", "1000"]) as victim:
        try:
            for attempt in (f"kill -9 {victim.pid}", f"cat /proc/{victim.pid}/maps", "kill -9 -- -1; true"):
                shared.a.run(attempt)
            assert running.alive(victim.pid)
            assert running.alive(shared.lab.fabric.keeper.pid)
        finally:
            victim.kill()
    assert lines(shared.a, "hostname") == ["A"]


def test_killing_all_that_it_can_see_costs_a_guest_nothing_but_its_own(pair: Any) -> None:
    pair.a.run("echo kept > /tmp/kept")
    pair.a.run("sleep 1000 >/dev/null 2>&1 &")
    pair.a.run("kill -9 -1")
    assert lines(pair.a, "cat /tmp/kept") == ["kept"]
    assert lines(pair.a, "pgrep -c sleep") == ["1"]  # the pod's own
    assert pair.b.ping(pair.a).received == 1


def test_a_pod_that_was_killed_from_outside_starts_anew(own_keeper: None, two: Callable[[], Any], running: Any) -> None:
    """By the kernel when memory ran out, say. What would enter the old pid might enter a stranger."""
    pair = two()
    pair.a.run("echo kept > /tmp/kept")
    pod = running.family(pair.lab.fabric.keeper.pid)
    for pid in pod:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    running.until(lambda: not any(map(running.alive, pod)), "the pod is gone")
    assert lines(pair.a, "hostname; ls /tmp/kept || echo empty") == ["A", "empty"]
    assert pair.b.ping(pair.a).received == 1


def test_a_guest_cannot_slip_into_what_prepares_the_next_command(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until setpriv has run, a command has the keeper's powers: nothing that a guest can write may take part."""
    writable = ["/tmp/bin", "/root/bin", "/home/bin", "/var/tmp/bin"]
    monkeypatch.setenv("PATH", ":".join([*writable, os.environ["PATH"]]))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/tmp/lib")
    monkeypatch.setenv("LD_PRELOAD", "/tmp/lib/evil.so")
    evil = "#!/bin/sh\\ngrep CapEff /proc/self/status > /run/evil\\n"
    for folder in writable:
        pair.a.run(f"mkdir -p {folder}")
        for name in ("setpriv", "env", "nsenter", "bwrap"):
            pair.a.run(f"printf '{evil}' > {folder}/{name}; chmod 755 {folder}/{name}")
    assert pair.a.run(["hostname"]).stdout == "A\n"
    assert pair.a.run("cat /run/evil").stdout == ""
    assert pair.a.run("env").stdout == ""  # within the guest its own programs come first, without any power
    assert int(pair.a.run("cat /run/evil").stdout.split()[1], 16) == CAP_NET_RAW | CAP_NET_BIND_SERVICE
    assert "ld.so: object '/tmp/lib/evil.so'" in pair.a.run(["/bin/true"]).stderr.replace("ERROR: ", "")
    assert pair.a.run(["hostname"]).stderr.count("evil.so") == 1  # the command alone, not what prepares it


def test_a_guest_has_no_terminal_of_the_callers(pair: Any, running: Any) -> None:
    """With one it could type there (TIOCSTI)."""
    assert pair.a.run("exec 3</dev/tty").returncode != 0
    with pair.a.popen(["sleep", "1000"]) as process:
        assert os.getsid(process.pid) == process.pid
        process.kill()


def test_a_guest_inherits_no_descriptor(pair: Any, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as stream:
        os.set_inheritable(stream.fileno(), True)
        listed = lines(pair.a, "ls -l /proc/self/fd | sed -n 's/.* //p'")
    assert not [target for target in listed if "secret" in target or target.startswith(("socket:", "net:"))]
    assert len(listed) <= 5


def test_net_admin_reaches_its_own_network_only(pair: Any) -> None:
    before = Path("/proc/net/dev").read_text().count("\n")
    assert lines(pair.a, "ip link add d0 type veth peer name d1; ip -br link | wc -l", net_admin=True) == ["4"]
    assert Path("/proc/net/dev").read_text().count("\n") == before
    assert pair.a.run("mount -t tmpfs x /mnt", net_admin=True).returncode != 0
    assert pair.a.run("nsenter -t 1 -m true", net_admin=True).returncode != 0
    assert pair.b.run("ip -br link | wc -l").stdout == "2\n"


# commands ------------------------------------------------------------------------------------------------------


def test_lists_are_executed_and_strings_go_to_a_shell(shared: Any) -> None:
    assert shared.a.run(["echo", "$HOME; *", ""]).stdout == "$HOME; * \n"
    assert shared.a.run("echo $((6 * 7)) | cat").stdout == "42\n"
    assert shared.a.run(("echo", "a", Path("/tmp"))).stdout == "a /tmp\n"
    assert shared.a.run(["sh", "-c", "exit 3"]).returncode == 3
    assert shared.a.run("printf 'a\\r\\nb\\377'").stdout == "a\nb\ufffd"


def test_input_output_and_status(shared: Any) -> None:
    result = shared.a.run("cat; echo oops >&2; exit 5", input="hello\nwörld\n")
    assert (result.stdout, result.stderr, result.returncode) == ("hello\nwörld\n", "oops\n", 5)
    assert result.args == "cat; echo oops >&2; exit 5"
    long = "".join(f"{number}\n" for number in range(100_000))
    assert shared.a.run(["cat"], input=long).stdout == long
    assert shared.a.run(["true"], input=long).returncode == 0  # nobody reads it
    assert shared.a.run(["cat"]).stdout == ""  # no input is empty input


def test_check_raises_with_the_output(shared: Any) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        shared.a.run("echo said; exit 4", check=True)
    assert (failed.value.returncode, failed.value.stdout) == (4, "said\n")
    assert shared.a.run("true", check=True).returncode == 0


@pytest.mark.parametrize("name", ["no-such-command", "/usr/bin/no-such-command", "/nowhere/at/all"])
def test_a_command_that_does_not_exist_is_told(shared: Any, name: str) -> None:
    with pytest.raises(CommandNotFound, match=f"A has no command '{name}': a CVM sees the programs of this machine"):
        shared.a.run([name, "x"])
    with pytest.raises(CommandNotFound):
        shared.a.popen([name])


def test_a_command_in_the_cvms_own_folders_is_looked_for_there(pair: Any) -> None:
    assert pair.a.run(["/tmp/tool"]).returncode == 127
    pair.a.run("printf '#!/bin/sh\\necho made here\\n' > /tmp/tool; chmod +x /tmp/tool", check=True)
    assert pair.a.run(["/tmp/tool"]).stdout == "made here\n"
    pair.a.run("cp /tmp/tool '/tmp/a=b'", check=True)
    assert pair.a.run(["/tmp/a=b"]).stdout == "made here\n"


@pytest.mark.skipif(not ROOT, reason="only root has programs in /root")
def test_a_program_in_a_hidden_folder_is_no_command(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(f"/root/.vpclab-test-{os.getpid()}")
    folder.mkdir()
    try:
        (folder / "hidden-tool").write_text("#!/bin/sh\n")
        (folder / "hidden-tool").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        with pytest.raises(CommandNotFound):
            pair.a.run(["hidden-tool"])
    finally:
        (folder / "hidden-tool").unlink()
        folder.rmdir()


@pytest.mark.parametrize("command", ["", "   ", [], [""], ["a\0b"], "echo a\0b", ["echo", "\0"]])
def test_what_is_no_command_is_refused(shared: Any, command: Any) -> None:
    with pytest.raises(GuestError, match=r"there is no command in|cannot hold a NUL"):
        shared.a.run(command)


def test_options_of_popen_work_as_in_subprocess(shared: Any) -> None:
    with shared.a.popen("pwd", cwd="/usr", stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.read() == "/usr\n"
    with shared.a.popen(["echo $0 $1", "one", "two"], shell=True, stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b"one two\n"
    with shared.a.popen(["sh", "-c", "echo out; echo err >&2"], stdout=-1, stderr=subprocess.STDOUT) as process:
        assert process.communicate()[0] == b"out\nerr\n"
    reading, writing = os.pipe()
    try:
        with shared.a.popen(f"echo through >/proc/self/fd/{writing}", pass_fds=[writing]) as process:
            assert process.wait() == 0
        assert os.read(reading, 100) == b"through\n"
    finally:
        os.close(reading)
        os.close(writing)


def test_a_background_process_lives_on_across_commands_and_ends_with_the_cvm(
    own_keeper: None, two: Callable[[], Any], running: Any
) -> None:
    pair = two()
    begun = time.monotonic()
    assert pair.a.run("sleep 1000 & echo started").stdout == "started\n"  # though it still holds the pipe
    assert pair.a.run("(while :; do echo noise; echo more >&2; done) &").returncode == 0
    assert time.monotonic() - begun < AT_ONCE_S
    assert lines(pair.a, "pgrep -fc 'sleep 100[0]|echo nois[e]'") == ["2"]
    assert lines(pair.a, "hostname") == ["A"]
    keeper = pair.lab.fabric.keeper.pid
    before = running.family(keeper)
    pair.a.terminate()
    running.until(lambda: not any(map(running.alive, before)), "everything in A's pod ends with A")
    pair.b.run("sleep 1000 &")
    before = running.family(keeper)
    assert before
    pair.lab.close()
    running.until(lambda: not any(map(running.alive, before)), "everything ends with the lab")


def test_a_server_in_the_background_goes_on_writing(pair: Any, running: Any) -> None:
    pair.b.run(f"{sys.executable} -I -m http.server 8080 --directory /usr/share &")
    fetch = f"""{sys.executable} -I -c 'import urllib.request as u; print(u.urlopen("http://B:8080/").status)'"""
    running.until(lambda: pair.a.run(fetch).stdout == "200\n", "the server answers")
    for _ in range(3):
        assert pair.a.run(fetch).stdout == "200\n"  # each one is a line in its log


def test_timeout_ends_the_command_even_when_a_child_holds_its_output(shared: Any, running: Any) -> None:
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired) as expired:
        shared.a.run("echo before; sleep 1000; echo after", timeout=0.3)
    with pytest.raises(subprocess.TimeoutExpired):
        shared.a.run("sleep 1000 | cat", timeout=0.3)
    with pytest.raises(subprocess.TimeoutExpired):
        shared.a.run("trap '' TERM INT HUP; sleep 1000", timeout=0.3)
    assert 0.9 < time.monotonic() - begun < AT_ONCE_S
    assert expired.value.cmd == "echo before; sleep 1000; echo after"
    assert expired.value.output == "before\n"
    running.until(lambda: shared.a.run("pgrep -f 'sleep 100[0]'").stdout == "", "no child of them is left")


def test_signals_reach_the_command(shared: Any, running: Any) -> None:
    def ping() -> Any:
        process = shared.a.popen(["ping", "-i", "0.05", shared.b.ip], stdout=subprocess.PIPE, text=True)
        while "bytes from" not in process.stdout.readline():
            pass
        return process

    with ping() as process:
        process.send_signal(signal.SIGINT)
        assert "packets transmitted" in process.stdout.read()
        assert process.wait() == 0
    with ping() as process:
        process.terminate()
        assert process.wait(AT_ONCE_S) == -signal.SIGTERM
    with ping() as process:
        process.kill()
        assert process.wait(AT_ONCE_S) == -signal.SIGKILL
        process.kill()  # once more is no error
        process.send_signal(signal.SIGINT)
    with shared.a.popen(
        "trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.01; done", stdout=-1
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.read() == b"caught\n"
        assert process.wait() == 7
    running.until(lambda: shared.a.run("pgrep ping").stdout == "", "no ping is left")


def test_a_command_ends_with_the_process_that_carries_it(shared: Any, running: Any) -> None:
    """Whoever kills by pid, as a supervisor does, ends the command with it."""
    with shared.a.popen(["ping", "-i", "0.05", shared.b.ip], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        running.until(lambda: shared.a.run("pgrep ping").stdout == "", "ping is gone")


def test_ctrl_c_in_the_caller_ends_the_command(shared: Any, running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        running.until(lambda: shared.b.run(["true"]).returncode == 0, "something else happens meanwhile")
        raise KeyboardInterrupt

    from emulator.fabric.processes import GuestProcess

    with monkeypatch.context() as patched:
        finish = GuestProcess.finish

        def finish_or_not(self: Any, *args: Any) -> Any:
            return interrupt() if "77777" in self.args else finish(self, *args)

        patched.setattr(GuestProcess, "finish", finish_or_not)
        with pytest.raises(KeyboardInterrupt):
            shared.a.run(["sleep", "77777"])
    running.until(lambda: shared.a.run("pgrep -f 'sleep 7777[7]'").stdout == "", "the command is gone")


def test_many_commands_at_once(shared: Any) -> None:
    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(lambda number: shared.a.run(["echo", str(number)]).stdout, range(64)))
    assert said == [f"{number}\n" for number in range(64)]


def test_a_pod_starts_once_however_many_ask(pair: Any, running: Any) -> None:
    barrier = threading.Barrier(8)

    def ask(_: int) -> str:
        barrier.wait(20)
        return str(pair.a.run("echo $PPID; cat /proc/sys/kernel/random/boot_id; ls -i /tmp -d").stdout)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert lines(pair.a, "pgrep -xc sleep") == ["1"]


def test_a_hundred_runs_leave_nothing_open_and_nobody(pair: Any, running: Any) -> None:
    pair.a.run(["true"])
    keeper = pair.lab.fabric.keeper.pid
    state = lambda: (  # noqa: E731
        running.descriptors(),
        running.descriptors(keeper),
        len(running.children(os.getpid())),
        threading.active_count(),
    )
    before = state()
    for number in range(100):
        if number % 10 == 0:
            pair.a.run("echo x; sleep 0.01 &")
        else:
            pair.a.run(["true"], check=True)
    running.until(lambda: state() == before, "all is as it was")
    running.until(lambda: lines(pair.a, "pgrep -xc sleep") == ["1"], "the background jobs have ended")
    assert "Z" not in "".join(lines(pair.a, "ps -eo stat="))


# the working directory ------------------------------------------------------------------------------------------


def test_a_working_directory_is_seen_wherever_it_lies(
    two: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert str(tmp_path).startswith("/tmp/")
    work = tmp_path / "a project"
    work.mkdir()
    (work / "data.txt").write_text("here\n")
    monkeypatch.chdir(work)
    pair = two()
    assert lines(pair.a, "pwd; cat data.txt") == [str(work), "here"]
    assert pair.a.run("echo x > data.txt").returncode != 0
    assert pair.a.run("echo x > new").returncode != 0
    assert lines(pair.a, f"ls -A {tmp_path}") == ["a project"]  # and nothing beside it
    assert pair.a.run("echo x > /tmp/beside").returncode == 0


def test_a_working_directory_that_is_made_later_is_not_guessed_at(
    pair: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert lines(pair.a, "true; pwd") == [os.getcwd() if os.getcwd() != "/tmp" else "/"]
    monkeypatch.chdir(tmp_path)
    assert lines(pair.a, "pwd") == ["/"]
    monkeypatch.chdir("/usr/share")
    assert lines(pair.a, "pwd") == ["/usr/share"]


@pytest.mark.parametrize("place", ["/tmp", "/", "/run", "/proc", "home", "parent of a home", "gone", "/var/tmp"])
def test_a_working_directory_that_would_show_too_much_is_not_shown(
    two: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    home = tmp_path / "homes" / "me"
    home.mkdir(parents=True)
    (home / "diary").write_text("dear diary")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir({"home": home, "parent of a home": home.parent, "gone": home}.get(place, place))
    if place == "gone":
        (home / "diary").unlink()
        home.rmdir()
    pair = two()
    assert lines(pair.a, "pwd") == ["/"]
    assert "diary" not in pair.a.run(f"cat {home}/diary; ls -RA {tmp_path}").stdout
    assert pair.a.ping(pair.b).received == 1


@pytest.mark.parametrize("root_only", [False, True])
def test_a_home_anywhere_is_masked_and_a_project_in_it_is_shown(
    two: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root_only: bool
) -> None:
    home = tmp_path / "me"
    project = home / "project"
    project.mkdir(parents=True)
    (home / ".netrc").write_text("password")
    (project / "main.py").write_text("print('hello')")
    if root_only:
        home.chmod(0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(project)
    pair = two()
    assert lines(pair.a, f"pwd; {sys.executable} main.py; ls -A {home}") == [str(project), "hello", "project"]
    assert pair.a.run(f"cat {home}/.netrc").stdout == ""


@pytest.mark.skipif(not ROOT, reason="only root has a folder under /root")
def test_a_project_of_roots_is_shown(two: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(f"/root/.vpclab-project-{os.getpid()}")
    folder.mkdir(mode=0o700)
    try:
        (folder / "file").write_text("mine")
        monkeypatch.chdir(folder)
        pair = two()
        assert lines(pair.a, "pwd; cat file") == [str(folder), "mine"]
        assert folder.name in lines(pair.a, "ls -A /root")
        assert pair.a.run("echo x > file").returncode != 0
    finally:
        (folder / "file").unlink()
        folder.rmdir()


def test_the_running_python_works_in_a_guest(shared: Any) -> None:
    said = lines(shared.a, f"{sys.executable} -c 'import sys, numpy; print(sys.prefix, numpy.__version__)'")
    import numpy

    assert said == [f"{sys.prefix} {numpy.__version__}"]


def test_a_python_under_tmp_works_too(needs_kernel: None, running: Any, tmp_path: Path) -> None:
    """An environment that lies where guests have a folder of their own, its interpreter by way of a symbolic link."""
    links = tmp_path / "links"
    links.mkdir()
    (links / "python3").symlink_to(os.path.realpath(sys.executable))
    venv = tmp_path / "venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to(links / "python3")
    home = os.path.dirname(os.path.realpath(sys.executable))
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
    paths = [path for path in sys.path if "site-packages" in path]
    script = """
import sys
from emulator import Lab
with Lab() as lab:
    a = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24").run_instance("A")
    assert sys.prefix.startswith("/tmp/"), sys.prefix
    print(a.call(lambda: 6 * 7))
"""
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [str(venv / "python"), str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**running.environment(), "PYTHONPATH": ":".join([running.environment()["PYTHONPATH"], *paths])},
        timeout=running.BOUND_S,
    )
    assert done.stdout == "42\n", done.stderr


# ends --------------------------------------------------------------------------------------------------------------


def test_a_cvm_that_is_gone_and_a_lab_that_is_closed_run_nothing(two: Callable[[], Any]) -> None:
    pair = two()
    pair.b.run(["true"])
    pair.b.terminate()
    for attempt in (lambda: pair.b.run(["true"]), lambda: pair.b.popen("true"), lambda: pair.b.ping(pair.a)):
        with pytest.raises((RequestRefused, LabError)):
            attempt()
    pair.lab.close()
    for attempt in (lambda: pair.a.run(["true"]), lambda: pair.a.call(len, "x"), lambda: pair.a.socket()):
        with pytest.raises(LabClosed):
            attempt()


def test_a_command_that_runs_ends_when_its_cvm_does(two: Callable[[], Any]) -> None:
    pair = two()
    first = pair.a.popen(["sleep", "1000"])
    second = pair.b.popen("trap '' TERM HUP INT; sleep 1000")
    pair.a.terminate()
    with first:
        assert first.wait(AT_ONCE_S) != 0
    assert second.poll() is None
    pair.lab.close()
    with second:
        assert second.wait(AT_ONCE_S) != 0


def test_an_account_of_this_machine_is_no_secret_but_its_home_is(shared: Any) -> None:
    me = pwd.getpwuid(os.geteuid())
    assert me.pw_name in shared.a.run("cat /etc/passwd").stdout
    if os.path.isdir(me.pw_dir) and me.pw_dir != "/":
        seen = set(shared.a.run(["ls", "-A", me.pw_dir]).stdout.split())
        shown = {sys.prefix, sys.base_prefix, os.getcwd()}
        assert seen <= {os.path.relpath(one, me.pw_dir).partition("/")[0] for one in shown}


def test_what_a_pod_shows_is_what_the_documentation_says(shared: Any) -> None:
    mounts = [line.split() for line in lines(shared.a, "cat /proc/self/mounts")]
    writable = {target for _, target, kind, options, *_ in mounts if "rw" in options.split(",") and kind == "tmpfs"}
    top = {re.sub(r"^/([^/]+).*", r"/\1", target) for target in writable}
    assert top <= {"/tmp", "/run", "/root", "/home", "/sys", "/mnt", "/media", "/var", "/dev", "/proc", "/"} | {
        "/" + Path(os.path.expanduser("~")).parts[1] if len(Path(os.path.expanduser("~")).parts) > 1 else "/root"
    } | {"/lost+found", "/boot", "/old_root", "/opt", "/srv", "/etc"}
