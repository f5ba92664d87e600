"""What a lab needs of this machine: one probe each, with the way out where something is missing.

``vpclab doctor`` prints these; the pytest plugin and a lab that cannot start name the first that fails. What can be
tried is tried: a child process asks the kernel for what the keeper will ask, in namespaces that end with it::

    probes() ── python -I -S doctor.py ── namespaces, mounts, sysctls, veth, nftables with flow tables, bwrap
                                          → a JSON object: "" for what worked, what went wrong for the rest

Standard library only, so that it answers where nothing else can be imported. Nothing that a caller uses raises.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_REC_PRIVATE = 0x4000 | 0x40000
PR_SET_DUMPABLE = 4
RTM_NEWLINK, NLM_F_REQUEST_ACK_EXCL_CREATE = 16, 0x1 | 0x4 | 0x200 | 0x400
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND = 3, 18, 1

_TIMEOUT_S = 10.0
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
"""Where programs may lie that an ordinary user's PATH does not name."""

_PROGRAMS = {"bwrap": "bubblewrap", "nsenter": "util-linux", "setpriv": "util-linux", "ping": "iputils-ping"}
"""Programs that guests are run with, and their Debian packages."""

_RULES = {
    "nftables": "add table inet vpclab\nadd chain inet vpclab c { type filter hook forward priority 0; }",
    "conntrack": "add rule inet vpclab c ct state established ct mark set meta mark",
    "flow tables": "add set inet vpclab f { typeof meta mark . meta l4proto . ip saddr . th sport; flags dynamic; }\n"
    "add rule inet vpclab c update @f { meta mark . meta l4proto . ip saddr . th sport counter }",
}
"""What a VPC's ruleset is made of; each builds on the ones before it."""

_KERNEL_PARTS = {
    "veth": "the module veth (CONFIG_VETH)",
    "nftables": "the module nf_tables (CONFIG_NF_TABLES_INET)",
    "conntrack": "the module nft_ct (CONFIG_NFT_CT, CONFIG_NF_CONNTRACK_MARK)",
    "flow tables": "nftables 1.0.6 and Linux 5.18, or newer",
}

_DOCKER = "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
_SYSCTLS = (
    ("kernel.unprivileged_userns_clone", "0", "1"),  # Debian's, and older Ubuntu's
    ("user.max_user_namespaces", "0", "10000"),
    ("user.max_net_namespaces", "0", "10000"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),  # Ubuntu's since 23.10
)
"""What keeps an ordinary user from namespaces: name, the value that forbids them, one that allows them."""


@dataclass(frozen=True)
class Probe:
    """One thing that a lab needs: ``found`` says what is there or what went wrong, ``way_out`` what to do about it."""

    name: str
    ok: bool
    found: str
    way_out: str = ""


def missing() -> Probe | None:
    """The first probe that fails; None where a lab can run."""
    return next((probe for probe in probes() if not probe.ok), None)


def probes() -> list[Probe]:
    """All probes, in the order in which a lab would meet them."""
    system = platform.system()
    if system != "Linux":
        way_out = "labs need Linux; vpclab's Vagrantfile makes one on other systems: vagrant up"
        return [Probe("linux", False, system or "an unknown system", way_out)]
    tried = try_in_child()
    return [
        Probe("linux", True, platform.release()),
        _python(),
        *(_permitted(name, tried) for name in ("namespaces", "mounts", "sysctls")),
        _feature("veth", tried),
        _library(tried),
        *(_feature(name, tried) for name in _RULES),
        *(_program(name) for name in _PROGRAMS),
        _permitted("sandbox", tried),
    ]


def _python() -> Probe:
    ok = sys.version_info >= (3, 11)
    return Probe("python", ok, platform.python_version(), "" if ok else "use Python 3.11 or newer")


def _permitted(name: str, tried: Mapping[str, str]) -> Probe:
    """What any kernel can do and this one may forbid."""
    error = tried.get(name)
    if error == "":
        return Probe(name, True, tried.get("how", "works"))
    return _not_tried(name, tried) if error is None else Probe(name, False, error, permission())


def _feature(name: str, tried: Mapping[str, str]) -> Probe:
    """A part of the kernel."""
    error = tried.get(name)
    if error == "":
        return Probe(name, True, "works")
    if error is None:
        return _not_tried(name, tried)
    return Probe(name, False, error, f"this needs {_KERNEL_PARTS[name]}; Debian 12's own kernel and nftables have it")


def _library(tried: Mapping[str, str]) -> Probe:
    error = tried.get("libnftables")
    if error == "":
        return Probe("libnftables", True, tried.get("version") or "libnftables.so.1")
    if error is None:
        return _not_tried("libnftables", tried)
    return Probe("libnftables", False, error, "sudo apt-get install libnftables1")


def _not_tried(name: str, tried: Mapping[str, str]) -> Probe:
    cause = next((other for other, error in tried.items() if error and other not in ("how", "version")), "bwrap")
    return Probe(name, False, "not tried", f"see {cause} first")


def _program(name: str) -> Probe:
    path = find_program(name)
    return Probe(name, path is not None, path or "not found", "" if path else f"sudo apt-get install {_PROGRAMS[name]}")


def find_program(name: str) -> str | None:
    """The path of a system program, also where only root's PATH leads."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}".lstrip(":"))


def permission(read: Callable[[str], str] | None = None, uid: int | None = None) -> str:
    """What to do where the kernel refuses this user what it could do, by the first cause that is found.

    ``read`` gives a file's text, ``""`` where there is none.
    """
    read, uid = read or read_text, os.getuid() if uid is None else uid
    if uid != 0:
        for name, forbidding, allowing in _SYSCTLS:
            if read(f"/proc/sys/{name.replace('.', '/')}") == forbidding:
                return f"sudo sysctl -w {name}={allowing}, or run as root"
    mounts = read("/proc/self/mountinfo")
    if mounts and not any(line.split()[4:5] == ["/"] for line in mounts.splitlines()):
        return "the kernel refuses a chroot this; enter the tree with systemd-nspawn, or with unshare and pivot_root"
    if contained(read):
        rights = "--cap-add SYS_ADMIN --cap-add NET_ADMIN " if uid == 0 else ""
        return f"this container forbids it; start it with: docker run {rights}{_DOCKER}"
    if "Seccomp:\t2" in read("/proc/self/status"):
        return "a seccomp filter forbids it, of a service or a sandbox; run outside of it"
    if uid == 0:
        return "root lacks CAP_SYS_ADMIN or CAP_NET_ADMIN here; run as an ordinary user, or outside of what took them"
    return "run as root"


def contained(read: Callable[[str], str]) -> bool:
    """True in a container of Docker, Podman or Kubernetes."""
    marked = os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")
    return marked or any(word in read("/proc/1/cgroup") for word in ("docker", "kubepods", "containerd", "libpod"))


def read_text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def try_in_child() -> dict[str, str]:
    """What happened when a child process tried what a lab does: ``""`` for what worked, a sentence for what did not."""
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            cwd="/",
            text=True,
            errors="replace",
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"namespaces": f"the probe could not run: {error}"}
    try:
        return {str(name): str(found) for name, found in json.loads(child.stdout).items()}
    except (ValueError, AttributeError):
        last = child.stderr.strip().rpartition("\n")[2]
        return {"namespaces": f"the probe ended with status {child.returncode}: {last}"}


# In the child ----------------------------------------------------------------------------------------------------


def try_here() -> dict[str, str]:
    """Move this process into namespaces of its own and try there what a lab does, until a permission is refused."""
    tried = {"how": ""}
    attempts: tuple[tuple[str, Callable[[], str | None]], ...] = (
        ("namespaces", enter_namespaces),
        ("mounts", make_mounts_private),
        ("sysctls", write_sysctl),
    )
    for name, attempt in attempts:
        try:
            tried["how"] = attempt() or tried["how"]
            tried[name] = ""
        except OSError as error:
            tried[name] = str(error.strerror or error)
            return tried
    try:
        make_veth()
        tried["veth"] = ""
    except OSError as error:
        tried["veth"] = str(error.strerror or error)
    tried |= try_rules()
    if bwrap := find_program("bwrap"):
        tried["sandbox"] = try_sandbox(bwrap)
    return tried


def _check(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter_namespaces() -> str:
    """Network and mount namespace, in a user namespace where that is needed, as the keeper does; returns which."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != -1:
        return "as root"
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    _check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET), "a user and network namespace was refused")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        try:
            Path(f"/proc/self/{name}").write_text(text)
        except OSError as error:
            raise OSError(error.errno, f"the user namespace's {name} was refused: {error.strerror}") from error
    return "in a user namespace"


def make_mounts_private() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None), "making mounts private was refused")
    _check(libc.mount(b"vpclab", b"/sys", b"tmpfs", 0, b"mode=755"), "mounting a tmpfs was refused")


def write_sysctl() -> None:
    name = "/proc/sys/net/ipv4/ip_forward"
    try:
        Path(name).write_text("1")
    except OSError as error:
        raise OSError(error.errno, f"writing {name} was refused: {error.strerror}") from error


def make_veth() -> None:
    def attribute(kind: int, data: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)

    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth\0"))
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(IFLA_IFNAME, b"probe\0") + info
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.settimeout(_TIMEOUT_S)
        head = struct.pack("=LHHLL", 16 + len(body), RTM_NEWLINK, NLM_F_REQUEST_ACK_EXCL_CREATE, 1, 0)
        link.sendto(head + body, (0, 0))
        number = -struct.unpack_from("=i", link.recv(4096), 16)[0]
    if number:
        raise OSError(number, f"a veth pair was refused: {os.strerror(number)}")


def try_rules() -> dict[str, str]:
    """libnftables, and each part of a VPC's ruleset up to the first that is refused."""
    try:
        nft = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        return {"libnftables": str(error)}
    nft.nft_ctx_new.restype = ctypes.c_void_p
    nft.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    context = ctypes.c_void_p(nft.nft_ctx_new(0))
    nft.nft_ctx_buffer_output(context)
    nft.nft_ctx_buffer_error(context)
    tried = {"libnftables": "", "version": _nft_version()}
    for name, rules in _RULES.items():
        tried[name] = ""
        if nft.nft_run_cmd_from_buffer(context, rules.encode()):
            text = nft.nft_ctx_get_error_buffer(context).decode(errors="replace").strip()
            tried[name] = text.partition("\n")[0] or "refused without a word"
            break
    return tried


def _nft_version() -> str:
    """``nft --version`` speaks for the library, which has no call for it; a lab does not need the program itself."""
    nft = find_program("nft")
    if nft is None:
        return ""
    try:
        answer = subprocess.run([nft, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.decode(errors="replace").strip()


def try_sandbox(bwrap: str) -> str:
    """A sandbox as guests get it; a container whose /proc is masked refuses the new one."""
    argv = [bwrap, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "probe", "--cap-drop", "ALL"]
    argv += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--", "true"]
    try:
        answer = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        return f"bwrap could not run: {error}"
    return answer.stderr.decode(errors="replace").strip().partition("\n")[0] if answer.returncode else ""


if __name__ == "__main__":
    print(json.dumps(try_here()))
