"""The probes: what is said of a machine that lacks something, and that they never raise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emulator import doctor
from emulator.doctor import Probe, permission

MOUNTED = "21 1 254:0 / / rw,relatime - ext4 /dev/root rw"
IN_CHROOT = "40 21 0:5 / /proc rw - proc proc rw"
WORKS = {
    "how": "in a user namespace",
    "version": "nftables v1.0.6",
    **dict.fromkeys(("namespaces", "mounts", "sysctls", "veth", "libnftables", *doctor._RULES, "sandbox"), ""),
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is no container, whatever this one is."""
    monkeypatch.setattr(doctor.os.path, "exists", lambda path: False)


def probed(monkeypatch: pytest.MonkeyPatch, tried: dict[str, str]) -> dict[str, Probe]:
    """The probes of a Linux with all programs, on which a child tried this."""
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")
    monkeypatch.setattr(doctor, "try_in_child", lambda: tried)
    monkeypatch.setattr(doctor, "find_program", lambda name: f"/usr/bin/{name}")
    return {probe.name: probe for probe in doctor.probes()}


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("uid", "files", "way_out"),
    [
        pytest.param(
            1000, {"/proc/sys/kernel/unprivileged_userns_clone": "0"}, "unprivileged_userns_clone=1", id="debian-sysctl"
        ),
        pytest.param(1000, {"/proc/sys/user/max_user_namespaces": "0"}, "max_user_namespaces=10000", id="no-user-ns"),
        pytest.param(1000, {"/proc/sys/user/max_net_namespaces": "0"}, "max_net_namespaces=10000", id="no-net-ns"),
        pytest.param(
            1000,
            {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"},
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            id="ubuntu-apparmor",
        ),
        pytest.param(0, {"/proc/sys/user/max_user_namespaces": "0"}, "CAP_SYS_ADMIN", id="a-sysctl-not-of-root"),
        pytest.param(1000, {"/proc/self/mountinfo": IN_CHROOT}, "pivot_root", id="chroot"),
        pytest.param(0, {"/proc/self/mountinfo": IN_CHROOT}, "pivot_root", id="chroot-of-root"),
        pytest.param(1000, {"/proc/self/mountinfo": MOUNTED}, "run as root", id="no-chroot"),
        pytest.param(1000, {"/proc/1/cgroup": "0::/docker/f00"}, "seccomp=unconfined", id="docker"),
        pytest.param(0, {"/proc/1/cgroup": "0::/kubepods/f00"}, "--cap-add SYS_ADMIN", id="container-of-root"),
        pytest.param(1000, {"/proc/self/status": "Name:\tpython\nSeccomp:\t2"}, "seccomp filter", id="seccomp"),
        pytest.param(1000, {"/proc/self/status": "Name:\tpython\nSeccomp:\t0"}, "run as root", id="unknown"),
        pytest.param(0, {}, "CAP_NET_ADMIN", id="root-without-capabilities"),
    ],
)
def test_the_way_out_follows_the_cause(uid: int, files: dict[str, str], way_out: str) -> None:
    assert way_out in permission(lambda path: files.get(path, ""), uid)


@pytest.mark.usefixtures("bare")
def test_a_sysctl_that_allows_is_not_the_cause() -> None:
    values = {f"/proc/sys/{name.replace('.', '/')}": allowing for name, _, allowing in doctor._SYSCTLS}
    assert permission(lambda path: values.get(path, ""), 1000) == "run as root"


def test_everything_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = probed(monkeypatch, WORKS)
    assert [probe for probe in found.values() if not probe.ok or probe.way_out] == []
    assert doctor.missing() is None
    assert found["namespaces"].found == "in a user namespace"
    assert found["libnftables"].found == "nftables v1.0.6"


@pytest.mark.parametrize(
    ("name", "error", "way_out"),
    [
        pytest.param("namespaces", "refused: Operation not permitted", None, id="namespaces"),
        pytest.param("mounts", "refused: Permission denied", None, id="mounts"),
        pytest.param("sysctls", "refused: Read-only file system", None, id="sysctls"),
        pytest.param("sandbox", "bwrap: Can't mount proc", None, id="sandbox"),
        pytest.param("veth", "refused: Operation not supported", "CONFIG_VETH", id="veth"),
        pytest.param("libnftables", "cannot open shared object file", "apt-get install libnftables1", id="library"),
        pytest.param("nftables", "Operation not supported", "nf_tables", id="nftables"),
        pytest.param("conntrack", "No such file or directory", "nft_ct", id="conntrack"),
        pytest.param("flow tables", "syntax error, unexpected counter", "nftables 1.0.6", id="flow-tables"),
    ],
)
def test_what_fails_is_named_with_its_way_out(
    monkeypatch: pytest.MonkeyPatch, name: str, error: str, way_out: str | None
) -> None:
    """A child stops at the first refusal: what comes after it was not tried, and says so."""
    order = list(WORKS)
    tried = {key: WORKS[key] for key in order[: order.index(name)]} | {name: error}
    found = probed(monkeypatch, tried)
    assert (found[name].ok, found[name].found) == (False, error)
    assert (way_out or permission()) in found[name].way_out
    assert doctor.missing() == found[name]
    later = [found[key] for key in order[order.index(name) + 1 :] if key in found]
    assert all(not probe.ok and name in probe.way_out for probe in later)


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = {name: found for name, found in WORKS.items() if name != "sandbox"}
    monkeypatch.setattr(doctor, "try_in_child", lambda: tried)
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")
    monkeypatch.setattr(doctor, "_SBIN", "")
    monkeypatch.setenv("PATH", "/nonexistent")
    found = {probe.name: probe for probe in doctor.probes()}
    assert found["bwrap"] == Probe("bwrap", False, "not found", "sudo apt-get install bubblewrap")
    assert found["ping"].way_out == "sudo apt-get install iputils-ping"
    assert found["sandbox"] == Probe("sandbox", False, "not tried", "see bwrap first")


@pytest.mark.parametrize("system", ["Darwin", "Windows", ""])
def test_another_system_gets_one_answer(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(doctor.platform, "system", lambda: system)
    monkeypatch.setattr(doctor, "try_in_child", lambda: pytest.fail("nothing of Linux is tried"))
    (probe,) = doctor.probes()
    assert not probe.ok
    assert "Linux" in probe.way_out
    assert doctor.missing() == probe


@pytest.mark.parametrize(
    ("script", "found"),
    [
        pytest.param("exit 0", "ended with status 0", id="silent"),
        pytest.param("echo oops >&2; exit 3", "ended with status 3: oops", id="failing"),
        pytest.param("echo '[]'", "ended with status 0", id="no-object"),
        pytest.param("exec sleep 60", "timed out", id="hanging"),
        pytest.param(None, "could not run", id="missing"),
    ],
)
def test_a_child_that_misbehaves_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None, found: str
) -> None:
    interpreter = tmp_path / "python"
    if script is not None:
        interpreter.write_text(f"#!/bin/sh\n{script}\n")
        interpreter.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(interpreter))
    monkeypatch.setattr(doctor, "_TIMEOUT_S", 0.2)
    assert found in doctor.try_in_child()["namespaces"]


def test_it_answers_on_this_machine_whatever_it_is() -> None:
    names = [probe.name for probe in doctor.probes()]
    assert names[0] == "linux"
    assert len(names) == len(set(names))


def test_it_needs_nothing_but_the_standard_library() -> None:
    code = f"import runpy; names = runpy.run_path({doctor.__file__!r}); print(names['probes']()[0].name)"
    answer = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=30)
    assert (answer.stdout, answer.stderr) == ("linux\n", "")


@pytest.mark.kernel
def test_where_labs_run_nothing_is_missing() -> None:
    assert doctor.missing() is None


@pytest.mark.kernel
def test_nothing_is_left_of_the_probes() -> None:
    doctor.probes()
    assert "vpclab" not in Path("/proc/self/mountinfo").read_text()
    assert "probe:" not in Path("/proc/net/dev").read_text()
