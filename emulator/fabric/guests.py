"""Guests: commands that run in a CVM, and the sandbox around them.

::

    caller ── nsenter ── setpriv ── env ── the command        its own child, a real Popen
    keeper ── bwrap ── init (pid 1 of the pod)                 one pod for each CVM, started at its first command

A pod is what makes a namespace a machine of its own: hostname, /etc/hosts, process ids, private /tmp and /run that last
as long as the CVM. The rest of the file system is the host's, read-only, without homes, secrets and /sys. A guest has
no capability but NET_RAW and NET_BIND_SERVICE, in its own network namespace; NET_ADMIN on demand, for with it a guest
can spoil the count. It has no terminal of the caller's, and of the caller's environment only what programs need to run.
A command dies with the nsenter that the caller holds (its parent-death signal), everything dies with the pod, and the
pod with the keeper.

Until setpriv has run, a command has the keeper's powers in a file system that guests write into. So what runs until
then is named by absolute path, and no variable that tells the loader where to look reaches it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from emulator.errors import CommandNotFound, GuestError, KeeperLost, KernelRefused, LabError, RequirementMissing
from emulator.fabric.client import KeeperClient
from emulator.fabric.processes import GuestProcess

CAPABILITIES = ("net_raw", "net_bind_service")
_GUARD = "net_broadcast"
"""A capability that the kernel never asks for. Whoever lacks it may not trace who has it."""
_PRIVATE = ("/root", "/home", "/sys", "/mnt", "/media", "/var/tmp")
"""Folders that a guest sees empty."""
_SEARCHED = ("/", "/etc", "/opt", "/srv", "/var", "/var/lib", "/var/log", "/var/spool", "/var/cache", "/boot")
"""Where root's secrets lie: what others may not read there is masked (a guest of root has root's user id, though no
power)."""
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/dev", "/nix")
"""Without these nothing runs, whoever may read them."""
_NEVER = ("/run", "/proc", "/sys", "/dev")
"""Guests have their own; a working directory there shows nothing of the host's (sockets in /run/user, say)."""
_PROC_FIXED = ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs")
_PROC_MASKED = (
    *("/proc/sysrq-trigger", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"),
    *("/proc/latency_stats", "/proc/acpi", "/proc/asound", "/proc/scsi"),
)
"""Parts of /proc that belong to the whole machine. A guest of root has root's user id, and many of them ask for no more
(/proc/sys/kernel/core_pattern, say); bwrap covers only what looks writable from the outside."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INIT = "echo ready >&@ready; exec @ready>&-; while :; do sleep infinity & wait $!; done"
"""Pid 1 of a pod: no guest can kill it, and a shell that waits for one child reaps whatever else is left to it."""
_KEPT = ("PATH", "LANG", "LANGUAGE", "TERM", "TZ", "COLUMNS", "LINES", "NO_COLOR", "VIRTUAL_ENV", "CONDA_PREFIX")
_KEPT_PREFIXES = ("LC_", "LD_", "PYTHON")
"""What a guest gets of the caller's environment; there may be tokens in the rest."""


class Pod:
    """The sandbox of one namespace, started when first needed and again where a guest has ended it."""

    def __init__(self, keeper: KeeperClient, ns: int, hostname: str, hosts: Callable[[], str]) -> None:
        self._keeper, self._ns, self._hostname, self._hosts = keeper, ns, hostname, hosts
        self._pid, self._pidfd = 0, -1
        self._view = View((), ())
        self._lock = threading.Lock()
        self._retired = False

    def command(
        self,
        command: Sequence[str],
        *,
        more: Sequence[str] = (),
        folder: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> list[str]:
        """The argv that runs ``command`` in the pod, as a child of the caller.

        ``more`` capabilities than usual; ``variables`` are set for the command alone.
        """
        pid = self._start()
        capabilities = ",".join(f"+{name}" for name in (*CAPABILITIES, *more))
        user = ["--user", "--preserve-credentials"] if self._keeper.made_user else []
        settings = [f"{name}={value}" for name, value in (variables or {}).items()]
        if "=" in command[0]:
            command = ["sh", "-c", 'exec "$0" "$@"', *command]  # env would take it for a variable
        return [
            *(tool("nsenter"), f"--target={pid}", *user, "--mount", "--uts", "--ipc", "--net", "--pid", "--"),
            *(tool("setpriv"), "--pdeathsig", "KILL", "--no-new-privs", "--inh-caps", "-all"),
            *("--bounding-set", f"-all,{capabilities}", "--"),
            *(tool("env"), "-C", folder or self._folder(), "--", *settings, *command),
        ]

    def popen(
        self, command: Sequence[str] | str, *, net_admin: bool = False, guarded: bool = False, **options: Any
    ) -> GuestProcess:
        """Start a command: a list is executed, a string goes to ``sh -c``; ``options`` as for ``subprocess.Popen``.

        ``cwd`` is a folder of the CVM, ``env`` all that the command gets besides HOME, USER and the like. A ``guarded``
        command cannot be traced by other guests.
        """
        shell = options.pop("shell", False) or isinstance(command, str)
        argv = [command] if isinstance(command, str) else [os.fspath(part) for part in command]
        if not argv or not argv[0].strip():
            raise GuestError(f"{self._hostname}: there is no command in {command!r}")
        if any("\0" in part for part in argv):
            raise GuestError(f"{self._hostname}: a command cannot hold a NUL character: {command!r}")
        if shell:
            argv = ["sh", "-c", *argv]
        env = self._environment(options.pop("env", None))
        loader = {name: env.pop(name) for name in list(env) if name.startswith("LD_")}
        folder = options.pop("cwd", None)
        found = self._find(argv[0], env["PATH"])
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("start_new_session", True)  # with the caller's terminal a guest could type there
        more = [name for name, wanted in (("net_admin", net_admin), (_GUARD, guarded)) if wanted]
        wrapped = self.command(argv, more=more, folder=None if folder is None else os.fspath(folder), variables=loader)
        try:
            return GuestProcess(wrapped, env=env, **options)
        except OSError as error:
            raise GuestError(f"{self._hostname}: cannot run {found}: {error.strerror}") from error

    def shows(self, path: str) -> bool:
        """Whether guests see this path of the host, and cannot write there."""
        self._start()
        return self._view.shows(os.path.realpath(path))

    def check(self) -> None:
        """Raise KeeperLost where that is why a command failed: everything in the pod ended with the keeper."""
        self._keeper.check()

    def close(self, *, for_good: bool = False, ended: bool = False) -> None:
        """End everything in the pod, if it has not ``ended``; the next command starts it anew, unless ``for_good``."""
        with self._lock:
            self._retired |= for_good
            self._end(ended)

    def _end(self, ended: bool = False) -> None:
        if self._pid:
            os.close(self._pidfd)
            pid, self._pid, self._pidfd = self._pid, 0, -1
            if not ended:
                with contextlib.suppress(KeeperLost):  # then it has ended already
                    self._keeper.end_pod(pid)

    def _environment(self, given: Mapping[str, str] | None) -> dict[str, str]:
        if given is None:
            env = {
                name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)
            }
        else:
            env = dict(given)
        env["PATH"] = f"{env.get('PATH', '')}:{_PATH}".lstrip(":")
        return {"HOME": "/tmp", "USER": "root", "LOGNAME": "root", "HOSTNAME": self._hostname, **env}

    def _find(self, name: str, path: str) -> str:
        """Refuse a command that cannot exist; what may lie in the pod's private folders is left to the pod."""
        if "/" in name:
            absent = os.path.isabs(name) and self.shows(name) and not os.path.exists(name)
            known = [] if absent else [name]
        else:
            places = (shutil.which(name, path=folder) for folder in path.split(":") if folder)
            known = [place for place in places if place is not None and self.shows(place)]
        if not known:
            raise CommandNotFound(
                f"{self._hostname} has no command {name!r}: a CVM sees the programs of this machine; install it here"
            )
        return known[0]

    def _folder(self) -> str:
        """The caller's working directory where guests see it, else the root."""
        try:
            folder = os.getcwd()
        except OSError:
            return "/"
        return folder if self.shows(folder) else "/"

    def _start(self) -> int:
        """The pid of a pod that is alive: whoever enters a pid that is no longer the pod's enters something else."""
        with self._lock:
            if self._retired:
                raise LabError(f"{self._hostname} was terminated, or its lab was closed: nothing can run there")
            self._keeper.check()
            if self._pid and select.select([self._pidfd], [], [], 0)[0]:
                self._end()
            if not self._pid:
                argv, self._view = sandbox(self._hostname, self._hosts())
                let_ping(self._keeper, self._ns)
                try:
                    pid = self._keeper.start_pod(self._ns, argv)
                except KernelRefused as error:
                    raise GuestError(
                        f"the sandbox of {self._hostname} did not start: {error}; `vpclab doctor` probes what it needs"
                    ) from error
                try:
                    self._pidfd = os.pidfd_open(pid)
                except OSError as error:
                    self._keeper.end_pod(pid)
                    raise GuestError(f"cannot hold the sandbox of {self._hostname}: {error.strerror}") from error
                self._pid = pid
            return self._pid


def let_ping(keeper: KeeperClient, ns: int) -> None:
    """Ping needs no capability in this namespace. Not done when it is made: a lab has more CVMs than CVMs that ping."""
    keeper.sysctl(ns, {"net/ipv4/ping_group_range": "0 0"})


@dataclass(frozen=True)
class View:
    """What a guest sees of the host's files: all but ``hidden`` folders, and in those the ``visible`` ones."""

    hidden: tuple[str, ...]
    visible: tuple[str, ...]

    def shows(self, path: str) -> bool:
        return any(is_within(path, one) for one in self.visible) or not self.hides(path)

    def hides(self, path: str) -> bool:
        return any(is_within(path, one) for one in self.hidden)


def sandbox(hostname: str, hosts: str) -> tuple[list[str], View]:
    """The bwrap command of a pod, and what it shows of the host."""
    argv = [
        *(tool("bwrap"), "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--as-pid-1", "--hostname", hostname, "--die-with-parent", "--info-fd", "@info", "--cap-drop", "ALL"),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *("--perms", "1777", "--tmpfs", "/tmp", "--perms", "755", "--tmpfs", "/run"),
    ]
    for path in _PROC_FIXED:
        if os.path.exists(path):
            argv += ["--ro-bind", path, path]
    for path in _PROC_MASKED:
        if os.path.exists(path):
            argv += ["--tmpfs", path] if os.path.isdir(path) else ["--ro-bind", "/dev/null", path]
    private, masked = private_folders(), [one for one in secrets() if os.path.exists(one)]
    for folder in private:
        if folder not in ("/tmp", "/run") and os.path.isdir(folder):
            argv += ["--tmpfs", folder]
    for secret in masked:
        argv += ["--tmpfs", secret] if os.path.isdir(secret) else ["--ro-bind", "/dev/null", secret]
    argv += ["--ro-bind", hosts, "/etc/hosts"]
    if os.path.isfile("/etc/resolv.conf") and not os.path.islink("/etc/resolv.conf"):
        argv += ["--ro-bind", "/dev/null", "/etc/resolv.conf"]  # an unknown name fails at once
    view = View((*private, *masked, "/proc", "/dev"), ())
    view = replace(view, visible=tuple(folder for folder in visible_folders() if view.hides(folder)))
    for folder in view.visible:
        argv += ["--ro-bind", folder, folder]
    return [*argv, "--", "sh", "-c", _INIT], view


def private_folders() -> tuple[str, ...]:
    """The folders that are a guest's own: empty at first, and where it may write."""
    home = os.path.realpath(os.path.expanduser("~"))
    found = {os.path.realpath(one) for one in _PRIVATE}
    if home != "/" and os.path.isdir(home) and not any(is_within(one, home) for one in _SYSTEM):
        found.add(home)
    return ("/tmp", "/run", *sorted(one for one in found if not any(is_within(one, tmp) for tmp in ("/tmp", "/run"))))


def visible_folders() -> tuple[str, ...]:
    """The running Python, vpclab itself and the working directory, unless that is a home, /tmp, /run or a parent of
    one."""
    closed = (*private_folders(), os.path.realpath(os.path.expanduser("~")))
    code = str(Path(__file__).resolve().parents[2])
    wanted = [sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))]
    for folder in (code, _working_directory()):
        if (
            folder is not None
            and os.path.dirname(folder) != "/home"
            and not any(is_within(one, folder) for one in closed)
            and not any(is_within(folder, one) for one in _NEVER)
        ):
            wanted.append(folder)
    folders = sorted({os.path.realpath(one) for one in wanted if os.path.isdir(one)} - {"/"})
    return tuple(folders)


def _working_directory() -> str | None:
    try:
        return os.path.realpath(os.getcwd())
    except OSError:
        return None


@lru_cache(maxsize=1)
def secrets() -> tuple[str, ...]:
    """Files and folders that others may not read, in the places where systems keep such; empty for an ordinary user."""
    if os.geteuid() != 0:
        return ()
    found: list[str] = []
    for base in _SEARCHED:
        for folder, names, files in os.walk(base):
            closed = [name for name in names if not _open_to_all(os.path.join(folder, name), 0o5)]
            found += [os.path.join(folder, name) for name in closed]
            found += [os.path.join(folder, name) for name in files if not _open_to_all(os.path.join(folder, name), 0o4)]
            names[:] = [name for name in names if name not in closed] if base == "/etc" else []
    return tuple(sorted(set(found) - set(_SYSTEM)))


def _open_to_all(path: str, bits: int) -> bool:
    try:
        return os.path.islink(path) or os.stat(path).st_mode & bits == bits
    except OSError:
        return True


def is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def tool(name: str) -> str:
    """The path of a system program that guests need, or :class:`RequirementMissing` with the way to get it."""
    path = shutil.which(name, path=f"{_PATH}:{os.environ.get('PATH', '')}")
    if path is None:
        package = {"bwrap": "bubblewrap", "ping": "iputils-ping", "env": "coreutils"}.get(name, "util-linux")
        raise RequirementMissing(f"{name} is not on this machine", way_out=f"apt-get install {package}")
    return path
